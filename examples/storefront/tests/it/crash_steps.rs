//! A shop that dies after each step of placing an order, and at each moment of its talk with the gateway; then resumes.
//!
//! The process says in its side file that it has reached the point where it is to die, and waits there for the kill. The gateway is another program: what it has done
//! stands in a file of its own and outlives the shop.

use std::{collections::BTreeSet, env, fs, path::PathBuf, sync::Arc, thread};

use async_trait::async_trait;
use txn::{
    Failure, Gateway, GatewayCall, GatewayResult, Services, Ship, Tenant, Txn,
    core::{
        id::{HoldId, LocationId, MovementId, OrderId, PaymentId, Sku},
        inventory::{Demand, Item, Receive, Stock},
        ledger::Balance,
        money::{Currency, Money},
        order::{NewLine, Order, PlaceOrder},
        payment::{Payment, PaymentState},
        quantity::Quantity,
    },
    store::{Found, Query, StoreAdmin, memory::Memory, sqlite::Sqlite},
};

use crate::{
    process::{End, Process, wait_for},
    replays::block_on,
    side_file::{Known, SideFile},
};

const VARIABLE: &str = "STOREFRONT_TEST_STEPS";

/// Where a shop dies: after a step, or inside one while the gateway has not done it yet, or has.
const POINTS: [&str; 11] = [
    "set-up",
    "place",
    "reserve",
    "before-Authorise",
    "after-Authorise",
    "authorise",
    "before-Capture",
    "after-Capture",
    "capture",
    "ship",
    "deliver",
];

/// Dies at a point: reports it, and waits for the kill.
struct Fate {
    point: Option<String>,
    folder: PathBuf,
}

impl Fate {
    fn reached(&self, point: &str) {
        if self.point.as_deref() == Some(point) {
            SideFile::open(&self.folder.join("side")).line(point);
            loop {
                thread::park();
            }
        }
    }
}

/// A gateway that does each thing once, and remembers it in a file.
struct Bank(Arc<Fate>);

impl Bank {
    fn path(&self) -> PathBuf {
        self.0.folder.join("bank")
    }
}

#[async_trait]
impl Gateway for Bank {
    async fn execute(&self, call: &GatewayCall) -> GatewayResult {
        self.0.reached(&format!("before-{:?}", call.operation));
        let done = fs::read_to_string(self.path()).unwrap_or_default();
        if !done.lines().any(|line| line == call.idempotency_key) {
            SideFile::open(&self.path()).line(&call.idempotency_key);
        }
        self.0.reached(&format!("after-{:?}", call.operation));
        GatewayResult::Done(call.amount)
    }

    async fn query(&self, call: &GatewayCall) -> GatewayResult {
        let done = fs::read_to_string(self.path()).unwrap_or_default();
        let is_done = done.lines().any(|line| line == call.idempotency_key);
        if is_done { GatewayResult::Done(call.amount) } else { GatewayResult::NotExecuted }
    }
}

fn shop(store: Arc<dyn StoreAdmin>, fate: &Arc<Fate>) -> (Txn, Services) {
    let txn = Txn::builder(store, Arc::new(Bank(Arc::clone(fate)))).build();
    let shop = txn.tenant(Tenant::new("shop").unwrap());
    (txn, shop)
}

fn item() -> Item {
    Item { sku: Sku::new("tea").unwrap(), location: LocationId::new("main").unwrap() }
}

/// The whole of it, from the beginning, as a client repeats it that does not know how far it came.
async fn place_and_see_through(shop: &Services, fate: &Fate) -> Result<(), Failure> {
    let (order, payment) = (OrderId::new("o-1")?, PaymentId::new("p-1")?);
    shop.ledger().open_payment_accounts(Currency::GBP).await?;
    let goods = vec![Demand { item: item(), quantity: Quantity::new(10).unwrap() }];
    shop.inventory().receive(&Receive { id: MovementId::new("m-1")?, lines: goods }).await?;
    fate.reached("set-up");
    let line = |units, minor| NewLine {
        sku: item().sku,
        quantity: Quantity::new(units).unwrap(),
        price: Money::from_minor(minor, Currency::GBP),
    };
    let place = PlaceOrder {
        order: order.clone(),
        customer: None,
        currency: Currency::GBP,
        location: item().location,
        hold: HoldId::new("h-1")?,
        payment: payment.clone(),
        expires_at: None,
        lines: vec![line(2, 350), line(1, 99)],
    };
    shop.orders().place(&place).await?;
    fate.reached("place");
    shop.orders().reserve(&order, None).await?;
    fate.reached("reserve");
    let state = || async { Ok::<_, Failure>(shop.payments().get(&payment).await?.map(|payment| payment.state)) };
    if matches!(state().await?, Some(PaymentState::Created | PaymentState::Authorising)) {
        shop.payments().authorise(&payment).await?;
    }
    fate.reached("authorise");
    if matches!(state().await?, Some(PaymentState::Authorised | PaymentState::Capturing)) {
        shop.payments().capture(&payment).await?;
    }
    fate.reached("capture");
    shop.orders().ship(&Ship { order: order.clone(), shipment: "all".into(), units: None }).await?;
    fate.reached("ship");
    shop.orders().deliver(&order, "all", None).await?;
    fate.reached("deliver");
    Ok(())
}

/// What it all comes to, without the times.
#[derive(Debug, PartialEq)]
struct Outcome {
    order: Order,
    payment: Payment,
    stock: Stock,
    balances: Vec<Option<Balance>>,
    changes: BTreeSet<String>,
}

async fn outcome(shop: &Services) -> Outcome {
    let mut order = shop.orders().get(&OrderId::new("o-1").unwrap()).await.unwrap().unwrap();
    order.placed_at = txn::change::Timestamp::MIN;
    let payment = shop.payments().get(&PaymentId::new("p-1").unwrap()).await.unwrap().unwrap();
    let rules = txn::core::payment::PostingRules::default();
    let mut balances = Vec::new();
    for account in [&rules.gateway, &rules.sales, &rules.refunds] {
        balances.push(shop.ledger().balance(account, Currency::GBP).await.unwrap());
    }
    let changes = shop.scope().find(&Query::Changes, None, 1_000).await.unwrap();
    let changes = changes.items.into_iter().filter_map(|found| match found {
        Found::Change(id, _) => Some(id.to_string()),
        _ => None,
    });
    Outcome {
        order,
        payment,
        stock: shop.inventory().stock(&item()).await.unwrap(),
        balances,
        changes: changes.collect(),
    }
}

fn live(point: &str, folder: PathBuf) {
    let store = Arc::new(Sqlite::open(folder.join("shop.db")).unwrap());
    let fate = Arc::new(Fate { point: Some(point.into()), folder });
    block_on(async {
        let (_, shop) = shop(store, &fate);
        place_and_see_through(&shop, &fate).await.unwrap();
    });
    panic!("the point {point} was never reached");
}

/// Case O35.
#[test]
fn a_shop_that_dies_after_any_step_of_an_order_is_sound_and_resumes() {
    if let Ok(value) = env::var(VARIABLE) {
        let (point, folder) = value.split_once(' ').unwrap();
        return live(point, folder.into());
    }
    let unharmed = block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let fate = Arc::new(Fate { point: None, folder: folder.path().into() });
        let (_, shop) = shop(Arc::new(Memory::new()), &fate);
        place_and_see_through(&shop, &fate).await.unwrap();
        outcome(&shop).await
    });
    for point in POINTS {
        let folder = tempfile::tempdir().unwrap();
        let value = format!("{point} {}", folder.path().display());
        let test = "crash_steps::a_shop_that_dies_after_any_step_of_an_order_is_sound_and_resumes";
        let process = Process::of_test(test, VARIABLE, &value);
        wait_for(point, || !Known::read(&folder.path().join("side")).notes.is_empty());
        let end = process.kill(&folder.path().join("shop.db"));
        assert_eq!(end, End::Killed { in_commit: false }, "{point}");

        block_on(async {
            let store = Arc::new(Sqlite::open(folder.path().join("shop.db")).unwrap());
            let fate = Arc::new(Fate { point: None, folder: folder.path().into() });
            let (txn, shop) = shop(store, &fate);
            let report = txn.verify().await.unwrap();
            assert!(report.is_clean(), "{point}: {:#?}", report.violations);
            place_and_see_through(&shop, &fate).await.unwrap();
            assert_eq!(outcome(&shop).await, unharmed, "{point}");
            let report = txn.verify().await.unwrap();
            assert!(report.is_clean(), "{point}, resumed: {:#?}", report.violations);
        });
        let bank = fs::read_to_string(folder.path().join("bank")).unwrap();
        assert_eq!(bank, "shop/p-1/authorise/0/7.99 GBP\nshop/p-1/capture/0/7.99 GBP\n", "{point}");
    }
}
