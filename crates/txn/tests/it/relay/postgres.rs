//! A store on PostgreSQL for tests that are written for any store and know of no runtime: each call is done on one of our own. A server is given by `TXN_POSTGRES_URL`.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use tokio::runtime::Runtime;
use txn::{
    change::Timestamp,
    store::{
        Ask, Commit, Cursor, Erase, Error, Export, Health, LogPage, Page, Position, Purge, Purged, Query, Snapshot,
        postgres::Postgres,
    },
};

use super::*;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// Whoever drops a call leaves it to go on.
struct OnRuntime(Arc<Postgres>);

impl OnRuntime {
    async fn call<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        call: impl FnOnce(Arc<Postgres>) -> F,
    ) -> T {
        RUNTIME.spawn(call(Arc::clone(&self.0))).await.unwrap()
    }
}

#[async_trait]
impl Store for OnRuntime {
    async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
        self.call(|store| async move { store.commit(batch).await }).await
    }

    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
        self.call(|store| async move { store.get(asks).await }).await
    }

    async fn find(&self, tenant: &Tenant, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let (tenant, query, after) = (tenant.clone(), query.clone(), after.cloned());
        self.call(move |store| async move { store.find(&tenant, &query, after.as_ref(), limit).await }).await
    }

    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
        self.call(move |store| async move { store.read(after, limit).await }).await
    }

    async fn watch(&self, after: Position) -> Result<Position, Error> {
        self.call(move |store| async move { store.watch(after).await }).await
    }
}

#[async_trait]
impl StoreAdmin for OnRuntime {
    async fn export(&self) -> Result<Box<dyn Export>, Error> {
        let inner = self.call(|store| async move { store.export().await }).await?;
        Ok(Box::new(Rows(Some(inner))))
    }

    async fn health(&self) -> Result<Health, Error> {
        self.call(|store| async move { store.health().await }).await
    }

    async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error> {
        let tenant = tenant.clone();
        self.call(move |store| async move { store.erase(&tenant, what).await }).await
    }

    async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error> {
        self.call(move |store| async move { store.purge(what, before, max).await }).await
    }
}

struct Rows(Option<Box<dyn Export>>);

#[async_trait]
impl Export for Rows {
    async fn next(&mut self, max: usize) -> Result<Vec<txn::store::Row>, Error> {
        let mut inner = self.0.take().unwrap();
        let (inner, rows) = RUNTIME
            .spawn(async move {
                let rows = inner.next(max).await;
                (inner, rows)
            })
            .await
            .unwrap();
        self.0 = Some(inner);
        rows
    }
}

/// A new schema.
pub(crate) fn store(clock: &Arc<ManualClock>) -> Arc<dyn StoreAdmin> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let url = std::env::var("TXN_POSTGRES_URL");
    let url = url.expect("TXN_POSTGRES_URL is the URL of a server; `cargo xtask test` starts one");
    let started = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() % 10_000_000_000;
    let name = format!("r{}_{started}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let options = Postgres::options(&url).unwrap().schema(&name).readers(1).clock(Arc::clone(clock) as _);
    Arc::new(OnRuntime(Arc::new(RUNTIME.block_on(options.open()).unwrap())))
}
