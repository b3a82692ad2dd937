//! Several stores on one schema, as several processes have them: together they keep every promise that one keeps.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use pollster::block_on;
use txn_change::{Tenant, Timestamp};
use txn_store::{
    Ask, Clock, Commit, Cursor, Erase, Error, ErrorKind, Export, Health, LogPage, Outcome, Page, Position, Purge,
    Purged, Query, Snapshot, Store, StoreAdmin, StoreLimits,
    conformance::{Backend, Capabilities, Harness, isolation, run, scenarios},
    postgres::Postgres,
};

use super::server;

/// Stores that share a schema; every call goes to the next one.
struct Several {
    stores: Vec<Postgres>,
    next: AtomicUsize,
}

impl Several {
    fn next(&self) -> &Postgres {
        &self.stores[self.next.fetch_add(1, Ordering::SeqCst) % self.stores.len()]
    }
}

#[async_trait]
impl Store for Several {
    async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
        self.next().commit(batch).await
    }

    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
        self.next().get(asks).await
    }

    async fn find(&self, tenant: &Tenant, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.next().find(tenant, query, after, limit).await
    }

    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
        self.next().read(after, limit).await
    }

    async fn watch(&self, after: Position) -> Result<Position, Error> {
        self.next().watch(after).await
    }
}

#[async_trait]
impl StoreAdmin for Several {
    async fn export(&self) -> Result<Box<dyn Export>, Error> {
        self.next().export().await
    }

    async fn health(&self) -> Result<Health, Error> {
        self.next().health().await
    }

    async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error> {
        self.next().erase(tenant, what).await
    }

    async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error> {
        self.next().purge(what, before, max).await
    }
}

/// Every place is a schema, with so many stores on it.
struct InSchemas {
    prefix: String,
    stores: usize,
}

#[async_trait]
impl Backend for InSchemas {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true }
    }

    async fn open(
        &self,
        place: &str,
        clock: Arc<dyn Clock>,
        limits: StoreLimits,
    ) -> Result<Arc<dyn StoreAdmin>, Error> {
        let schema = format!("{}_{}", self.prefix, place.rsplit('-').next().unwrap());
        let mut stores = Vec::new();
        for _ in 0..self.stores {
            stores.push(server::open_with(&schema, clock.clone(), limits).await?);
        }
        Ok(match self.stores {
            1 => Arc::new(stores.remove(0)),
            _ => Arc::new(Several { stores, next: AtomicUsize::new(0) }),
        })
    }
}

pub(super) fn several(stores: usize) -> Harness {
    Harness::new(InSchemas { prefix: server::fresh_schema(), stores })
}

/// What is each store's own: its queue, and the head of the chain as it knows it.
const OF_ONE: [&str; 3] = [
    "receipts_state_a_chain_that_the_export_proves",
    "a_full_queue_is_overloaded_and_nothing_else",
    "many_writers_make_one_chain",
];

/// Each scenario of the suite, every call on another of three stores.
#[test]
fn several_stores_on_one_schema_pass_the_suite() {
    let harness = several(3);
    let of_all = scenarios().into_iter().filter(|scenario| !OF_ONE.contains(&scenario.name));
    let report = block_on(run(&harness, of_all, |line| println!("{line}")));
    assert!(report.is_passed(), "{report}");
}

/// Case F35. Writers that conflict, in several stores: nothing is lost, seen too early, or skewed.
#[test]
fn histories_over_several_stores_are_strictly_serializable() {
    let harness = several(3);
    for seed in 0..4 {
        let options =
            isolation::Options { seed, workers: 6, transactions: 400, keys: 4, ..isolation::Options::default() };
        let report = block_on(isolation::run(&harness, options)).unwrap();
        assert!(report.anomalies.is_empty(), "seed {seed}: {report}");
        println!("seed {seed}: {report}");
    }
}

/// Ten processes may start at once on a database that has never seen a store.
#[test]
fn stores_that_are_opened_at_once_make_one_schema() {
    let schema = server::fresh_schema();
    let opened: Vec<_> = (0..10).map(|_| server::RUNTIME.spawn(server::options(&schema).open())).collect();
    let stores: Vec<Postgres> =
        opened.into_iter().map(|opening| block_on(opening).unwrap().expect("each store opens")).collect();
    for store in &stores {
        assert_eq!(block_on(store.health()).unwrap().commits, 0);
    }
}

/// What is another program's is left alone, and what does not exist is not made when it must exist.
#[test]
fn a_schema_of_another_program_and_one_that_must_exist_are_refused() {
    let schema = server::fresh_schema();
    let missing = block_on(server::open(server::options(&schema).must_exist())).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Invalid, "{missing}");
    server::execute(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.theirs(a int)"));
    let foreign = block_on(server::open(server::options(&schema))).unwrap_err();
    assert!(foreign.to_string().contains("another program's"), "{foreign}");
    let schema = server::fresh_schema();
    drop(block_on(server::open(server::options(&schema))).unwrap());
    server::execute(&format!("UPDATE {schema}.txn_format SET version = 999"));
    let newer = block_on(server::open(server::options(&schema))).unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::Newer, "{newer}");
    assert!(newer.to_string().contains("999"), "{newer}");
}
