//! The demo: a shop with its own catalogue, and many orders that go through it side by side: paid, declined, called off, too late, sent back, and too many for
//! one item.
//!
//! Everything is derived from the seed and the number of orders, which also name the tenant. So the same demo again finds all its ids used and changes nothing, a demo
//! that was killed goes on where it stopped, and the totals do not depend on which order was faster.

mod catalogue;
mod fold;
mod gateway;
mod random;
mod report;
mod shopper;
mod stories;
mod totals;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use txn::{
    Fired, Gateway, Services, Tenant, Txn,
    core::{
        id::{HoldId, MovementId, OrderId, PaymentId},
        inventory::Receive,
    },
    store::{
        Clock, ManualClock, StoreAdmin, StoreLimits, SystemClock, memory::Memory, postgres::Postgres, sqlite::Sqlite,
    },
};

use crate::{open::StoreUrl, progress, replay::Seconds};
use catalogue::{CURRENCY, Plan};
use gateway::DemoGateway;
use shopper::{Deadlines, Shopper};

pub use report::text;
pub use totals::{Declined, Ended, Limited, LostAnswers, MoneyTotals, Refunds, Sent, Stocked, Totals};

/// Orders of one demo, at most: all of them are planned in memory.
pub const ORDERS_MAX: u64 = 100_000;
/// Orders when nothing is said.
pub const ORDERS_DEFAULT: u64 = 1_000;
/// The seed when nothing is said.
pub const SEED_DEFAULT: u64 = 1;

/// Orders under way at once.
const ORDERS_AT_ONCE: usize = 128;
/// How long a hold lasts, when it can run out. Short, as all times here: the store's time stays where the demo has moved it to.
const HOLD_LASTS: Duration = Duration::from_secs(60);
/// How long there is to pay, when that is limited.
const TIME_TO_PAY: Duration = Duration::from_secs(120);

/// Which demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    orders: u64,
    seed: u64,
}

impl Request {
    /// Checks what is asked for.
    ///
    /// # Errors
    /// A line that says how many orders are allowed.
    pub fn new(orders: u64, seed: u64) -> Result<Self, String> {
        if orders == 0 || orders > ORDERS_MAX {
            return Err(format!("--orders {orders}: 1 to {ORDERS_MAX} are allowed"));
        }
        Ok(Self { orders, seed })
    }

    /// How many orders.
    #[must_use]
    pub const fn orders(&self) -> u64 {
        self.orders
    }

    /// What everything is derived from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The tenant of this demo and no other.
    ///
    /// # Panics
    /// Never: the name is valid.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        Tenant::new(format!("demo-{}-{}", self.seed, self.orders)).expect("a word and two numbers are a tenant's name")
    }
}

/// A store whose clock the demo moves, so that time runs out for some orders without anybody waiting.
#[derive(Clone)]
pub struct DemoStore {
    store: Arc<dyn StoreAdmin>,
    clock: Arc<ManualClock>,
}

impl DemoStore {
    /// Opens a store, making it when there is none.
    ///
    /// # Errors
    /// A line that says why it cannot be opened.
    pub async fn open(url: &StoreUrl) -> Result<Self, String> {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let store: Arc<dyn StoreAdmin> = match url {
            StoreUrl::Memory => Arc::new(Memory::with(Arc::clone(&clock) as _, StoreLimits::default())),
            StoreUrl::Sqlite(path) => {
                let opened = Sqlite::options(path).clock(Arc::clone(&clock) as _).open();
                Arc::new(opened.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            StoreUrl::Postgres(url) => {
                let options = Postgres::options(url).map_err(|error| error.to_string())?;
                let opened = options.clock(Arc::clone(&clock) as _).open().await;
                Arc::new(opened.map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { store, clock })
    }
}

/// What a demo came to.
#[derive(Debug, Clone, Serialize)]
pub struct Demo {
    /// Its tenant.
    pub tenant: String,
    /// Its totals, folded from the store.
    #[serde(flatten)]
    pub totals: Totals,
    /// Whether this run committed nothing.
    pub replayed: bool,
    /// How often this run called the gateway.
    pub gateway_calls: u64,
    /// From the start to the last durable commit.
    pub seconds: Seconds,
    /// Orders in that time.
    pub orders_per_second: Seconds,
}

/// Runs a demo.
///
/// # Errors
/// A line that says what failed; running again goes on.
pub async fn run(store: &DemoStore, request: Request) -> Result<Demo, String> {
    let started = Instant::now();
    let plan = Plan::of(request).map_err(|error| error.to_string())?;
    let commits_before = commits(store).await?;
    let gateway = Arc::new(DemoGateway::default());
    let txn = Txn::builder(Arc::clone(&store.store), Arc::clone(&gateway) as Arc<dyn Gateway>).build();
    let shop = txn.tenant(request.tenant());
    let deadlines = deadlines(store, &shop).await?;
    open_shop(&shop, &plan).await.map_err(|failure| failure.to_string())?;
    serve(&shop, &gateway, plan, deadlines).await?;
    for time in [deadlines.hold, deadlines.payment] {
        store.clock.set(time);
        run_out(&shop).await.map_err(|failure| failure.to_string())?;
    }
    let replayed = commits(store).await? == commits_before;
    let elapsed = if replayed { Duration::ZERO } else { started.elapsed() };
    Ok(Demo {
        tenant: request.tenant().to_string(),
        totals: Totals::fold(&txn, &shop).await?,
        replayed,
        gateway_calls: gateway.calls(),
        seconds: Seconds::of(elapsed),
        orders_per_second: Seconds::rate(if replayed { 0 } else { request.orders }, elapsed),
    })
}

async fn commits(store: &DemoStore) -> Result<u64, String> {
    store.store.health().await.map(|health| health.commits).map_err(|error| error.to_string())
}

/// When time runs out, from the store's time on: it may be ahead of the clock, since it never goes back.
async fn deadlines(store: &DemoStore, shop: &Services) -> Result<Deadlines, String> {
    let scope = shop.scope();
    let now = scope.get(scope.ask()).await.map_err(|error| error.to_string())?.now;
    store.clock.set(now);
    let after = |duration| now.after(duration).map_err(|error| error.to_string());
    Ok(Deadlines { hold: after(HOLD_LASTS)?, payment: after(TIME_TO_PAY)? })
}

async fn open_shop(shop: &Services, plan: &Plan) -> Result<(), txn::Failure> {
    shop.ledger().open_payment_accounts(CURRENCY).await?;
    let opening = Receive { id: MovementId::new("opening")?, lines: plan.opening.clone() };
    shop.inventory().receive(&opening).await?;
    Ok(())
}

async fn serve(shop: &Services, gateway: &Arc<DemoGateway>, plan: Plan, deadlines: Deadlines) -> Result<(), String> {
    let bar = progress::bar(plan.orders.len() as u64, "demo");
    let plan = Arc::new(plan);
    let tasks = (0..plan.orders.len()).map(|index| {
        let (shop, gateway, plan) = (shop.clone(), Arc::clone(gateway), Arc::clone(&plan));
        let task = tokio::spawn(async move { shopper(&shop, &gateway, &plan, deadlines, index).await });
        async move { task.await.map_err(|error| format!("a task ended early: {error}"))? }
    });
    let served = stream::iter(tasks).buffer_unordered(ORDERS_AT_ONCE);
    let ended = served.try_for_each(|()| async {
        bar.inc(1);
        Ok(())
    });
    let ended = ended.await;
    bar.finish_and_clear();
    ended
}

async fn shopper(
    shop: &Services,
    gateway: &DemoGateway,
    plan: &Plan,
    deadlines: Deadlines,
    index: usize,
) -> Result<(), String> {
    let Some(planned) = plan.orders.get(index) else { return Ok(()) };
    let name = format!("order-{}", index.saturating_add(1));
    let told = |error: &dyn std::fmt::Display| format!("{name}: {error}");
    let shopper = Shopper {
        shop,
        gateway,
        location: &plan.location,
        deadlines,
        planned,
        order: OrderId::new(&name).map_err(|error| told(&error))?,
        hold: HoldId::new(&name).map_err(|error| told(&error))?,
        payment: PaymentId::new(&name).map_err(|error| told(&error))?,
    };
    shopper.go().await.map_err(|error| told(&error))
}

/// Does what is due, until nothing is.
async fn run_out(shop: &Services) -> Result<(), txn::Failure> {
    loop {
        let Fired { effective, settled, postponed, failures, .. } = shop.timers().run_due().await?;
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure);
        }
        if (effective, settled, postponed) == (0, 0, 0) {
            break;
        }
    }
    Ok(())
}
