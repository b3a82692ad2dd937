//! Processes on every backend: a checkout with steps at a bank that does as it is told, over a store whose process may die at any commit.

pub(crate) mod bank;
mod crash;
mod desk;
mod events;
mod late;
pub(crate) mod mortal;
pub(crate) mod people;
pub(crate) mod shop;
mod steps;
pub(crate) mod versions;

use std::{sync::Arc, time::Duration};

use txn::{
    InertGateway, Services, Tenant, Txn,
    process::{
        CorrelationId, Ending, Incoming, IncomingId, Instance, Pass, Phase, Processes, Registry, RegistryBuilder, What,
    },
    store::{ManualClock, StoreAdmin, StoreLimits, memory::Memory, sqlite::Sqlite},
};

use bank::Bank;
use mortal::Mortal;
use shop::{Basket, Checkout, Event};

/// A shop on one backend.
pub(crate) struct World {
    txn: Txn,
    shop: Services,
    store: Arc<Mortal>,
    clock: Arc<ManualClock>,
    bank: Arc<Bank>,
    processes: Processes,
    _folder: Option<tempfile::TempDir>,
}

fn world(store: Arc<dyn StoreAdmin>, clock: Arc<ManualClock>, folder: Option<tempfile::TempDir>) -> World {
    let store = Arc::new(Mortal::new(store));
    let txn = Txn::builder(Arc::clone(&store) as _, Arc::new(InertGateway::default())).build();
    let shop = txn.tenant(Tenant::default());
    let bank = Arc::new(Bank::of(Arc::clone(&store)));
    let registry = steps(Registry::builder(), &bank).process(Checkout).unwrap().build().unwrap();
    let processes = Processes::new(&shop, registry);
    World { txn, shop, store, clock, bank, processes, _folder: folder }
}

pub(crate) fn steps(builder: RegistryBuilder, bank: &Arc<Bank>) -> RegistryBuilder {
    ["reserve", "authorise", "capture"]
        .into_iter()
        .fold(builder, |builder, name| builder.step(name, Arc::clone(bank) as _))
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2030-01-01T00:00:00Z".parse().unwrap()))
}

fn in_memory() -> World {
    let clock = clock();
    world(Arc::new(Memory::with(Arc::clone(&clock) as _, StoreLimits::default())), clock, None)
}

fn on_sqlite() -> World {
    let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
    let sqlite = Sqlite::options(folder.path().join("shop.db")).clock(Arc::clone(&clock) as _).open().unwrap();
    world(Arc::new(sqlite), clock, Some(folder))
}

/// Ways to make a world, one for each backend.
fn backends() -> Vec<fn() -> World> {
    vec![
        in_memory,
        on_sqlite,
        #[cfg(feature = "servers")]
        on_postgres,
    ]
}

#[cfg(feature = "servers")]
fn on_postgres() -> World {
    let clock = clock();
    world(crate::relay::postgres::store(&clock), clock, None)
}

fn on_all(test: impl AsyncFn(&World)) {
    for world in backends().into_iter().map(|make| make()) {
        pollster::block_on(async {
            test(&world).await;
            world.is_clean().await;
        });
    }
}

/// Runs calls side by side on threads of their own.
fn at_once<T: Send>(count: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let call = &call;
        let threads: Vec<_> = (0..count).map(|index| scope.spawn(move || call(index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

pub(crate) fn about(name: &str) -> CorrelationId {
    CorrelationId::new(name).unwrap()
}

pub(crate) fn incoming(name: &str, id: &str, event: Event) -> Incoming {
    let basket = Basket { total: "9.50 EUR".to_owned() };
    Incoming::new::<Checkout>(about(name), IncomingId::new(id).unwrap(), event, &basket).unwrap()
}

impl World {
    async fn tell(&self, name: &str, id: &str, event: Event) -> Ending {
        self.processes.handle(&incoming(name, id, event)).await.unwrap().value().unwrap().ending
    }

    async fn instance(&self, name: &str) -> Instance {
        self.processes.get("checkout", &about(name)).await.unwrap().unwrap()
    }

    async fn state(&self, name: &str) -> String {
        self.instance(name).await.state.unwrap_or_default()
    }

    /// Passes until nothing is done any more, the clock going on where something is due later, up to a day.
    async fn run(&self) -> Vec<Pass> {
        let runner = self.processes.runner();
        let mut passes = Vec::new();
        for _ in 0..200 {
            let pass = runner.run_once().await.unwrap();
            assert!(pass.failures.is_empty(), "{:?}", pass.failures);
            let (went_on, next) = (pass.did_something(), pass.next_due);
            passes.push(pass);
            match next {
                _ if went_on => {}
                Some(due) if due > self.now() => self.clock.set(due),
                _ => return passes,
            }
        }
        panic!("it does not come to rest");
    }

    /// Passes at this time only.
    async fn run_now(&self) {
        let runner = self.processes.runner();
        while runner.run_once().await.unwrap().did_something() {}
    }

    fn now(&self) -> txn::change::Timestamp {
        use txn::store::Clock;
        self.clock.now()
    }

    fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn lines(&self, name: &str) -> Vec<What> {
        let (mut lines, mut after) = (Vec::new(), None);
        loop {
            let page = self.processes.timeline("checkout", &about(name), after.as_ref(), 7).await.unwrap();
            lines.extend(page.lines.into_iter().map(|line| line.what));
            after = page.next;
            if after.is_none() {
                return lines;
            }
        }
    }

    /// How often an applied event wrote its record, and how many outgoing events there are.
    async fn effects(&self, name: &str) -> (u64, usize) {
        let tally = self.shop.scope().record(shop::tally_key(&about(name))).await.unwrap();
        let query = txn::store::Query::EventsByTerm(txn::store::Range::prefix(shop::told_of(&about(name))));
        let told = self.shop.scope().find(&query, None, 1_000).await.unwrap().items.len();
        (tally.map_or(0, |tally| tally.body.read::<shop::Tally>().unwrap().applied), told)
    }

    async fn is_clean(&self) {
        let report = self.txn.verify().await.unwrap();
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
    }
}

/// How often events were applied, as the timeline says.
fn applied(lines: &[What]) -> usize {
    lines.iter().filter(|what| matches!(what, What::Applied { .. })).count()
}

fn is_over(instance: &Instance) -> bool {
    matches!(instance.phase, Phase::Finished)
}
