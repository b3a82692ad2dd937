//! Calls on a shop from a seed: many clients side by side, each call one commit, of the same outcome in whatever order they fall.

use std::{path::Path, sync::Arc};

use txn::{
    Done, Failure, InertGateway, Services, Ship, Tenant, Txn,
    change::Document,
    core::{
        aftersale::{Receipt, ReceivedLine},
        id::{HoldId, LocationId, MovementId, OrderId, PaymentId, RefundId, ReturnId, Sku},
        inventory::{Demand, Disposition, Item, Receive},
        money::{Currency, Money},
        order::{NewLine, PlaceOrder},
        payment::{Operation, OperationResult},
        quantity::Quantity,
    },
    store::{StoreAdmin, sqlite::Sqlite},
};

use crate::{
    generator::Random,
    replays::block_on,
    side_file::{Known, SideFile},
};

pub(crate) const TENANTS: [&str; 2] = ["left", "right"];
const SKUS: usize = 6;
const CLIENTS: u64 = 24;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) seed: u64,
    pub(crate) orders: u64,
}

/// One call, which has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) order: u64,
    step: &'static str,
}

/// What a call was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) replayed: bool,
    pub(crate) answer: String,
}

impl<T: Document> From<Done<T>> for Told {
    fn from(done: Done<T>) -> Self {
        Self { replayed: done.replayed(), answer: String::from_utf8(done.answer().bytes().to_vec()).unwrap() }
    }
}

impl Call {
    pub(crate) fn name(self) -> String {
        format!("{}.{}", self.step, self.order)
    }

    pub(crate) fn tenant(self) -> Tenant {
        Tenant::new(TENANTS[usize::from(self.order % 2 == 1)]).unwrap()
    }

    /// The id of the change that it commits.
    pub(crate) fn change(self) -> String {
        let order = self.order;
        match self.step {
            "place" => format!("order.place/row-{order}"),
            "reserve" => format!("stock.reserve/row-{order}"),
            "authorise" | "capture" => format!("payment.record/row-{order}/{}", self.step),
            "ship" | "deliver" => format!("order.{}/row-{order}/all", self.step),
            "return" => format!("return.receive/row-{order}:1"),
            _ => format!("order.cancel/row-{order}"),
        }
    }
}

pub(crate) fn txn(store: Arc<dyn StoreAdmin>) -> Txn {
    Txn::builder(store, Arc::new(InertGateway::default())).build()
}

fn item(sku: usize) -> Item {
    Item { sku: Sku::new(format!("sku-{sku}")).unwrap(), location: LocationId::new("main").unwrap() }
}

impl Workload {
    /// The calls of an order, in their order: most are seen through, some are called off, some come back in part.
    pub(crate) fn calls(self, order: u64) -> impl Iterator<Item = Call> {
        let steps: &[&str] = match order % 6 {
            4 => &["place", "reserve", "cancel"],
            1 => &["place", "reserve", "authorise", "capture", "ship", "deliver", "return"],
            _ => &["place", "reserve", "authorise", "capture", "ship", "deliver"],
        };
        steps.iter().map(move |step| Call { order, step })
    }

    pub(crate) fn all_calls(self) -> impl Iterator<Item = Call> {
        (0..self.orders).flat_map(move |order| self.calls(order))
    }

    fn lines(self, order: u64) -> Vec<NewLine> {
        let mut random = Random(self.seed ^ (order << 20));
        let line = |random: &mut Random| NewLine {
            sku: item(random.below(SKUS)).sku,
            quantity: Quantity::new(1 + random.below(4) as u64).unwrap(),
            price: Money::from_minor(i128::from(random.between(1, 5_000)), Currency::GBP),
        };
        (0..1 + random.below(4)).map(|_| line(&mut random)).collect()
    }

    /// Accounts and stock; done once however often it is called.
    pub(crate) async fn set_up(self, txn: &Txn) -> Result<(), Failure> {
        for tenant in TENANTS {
            let shop = txn.tenant(Tenant::new(tenant).unwrap());
            shop.ledger().open_payment_accounts(Currency::GBP).await?;
            let quantity = Quantity::new(1_000_000).unwrap();
            let lines = (0..SKUS).map(|sku| Demand { item: item(sku), quantity }).collect();
            shop.inventory().receive(&Receive { id: MovementId::new("opening").unwrap(), lines }).await?;
        }
        Ok(())
    }

    pub(crate) async fn call(self, txn: &Txn, call: Call) -> Result<Told, Failure> {
        let shop: Services = txn.tenant(call.tenant());
        let name = format!("row-{}", call.order);
        let order = OrderId::new(&name)?;
        let payment = PaymentId::new(&name)?;
        let lines = self.lines(call.order);
        let amount = |line: &NewLine| line.price.try_mul(line.quantity.get().into()).unwrap();
        let total = lines.iter().fold(Money::zero(Currency::GBP), |sum, line| sum.try_add(amount(line)).unwrap());
        let done = OperationResult::Done(total);
        Ok(match call.step {
            "place" => {
                let (customer, location) = (None, LocationId::new("main")?);
                let hold = HoldId::new(&name)?;
                let place = PlaceOrder {
                    order,
                    customer,
                    currency: Currency::GBP,
                    location,
                    hold,
                    payment,
                    expires_at: None,
                    lines,
                };
                shop.orders().place(&place).await?.into()
            }
            "reserve" => shop.orders().reserve(&order, None).await?.into(),
            "authorise" => shop.payments().record(&payment, Operation::Authorise, done, "authorise").await?.into(),
            "capture" => shop.payments().record(&payment, Operation::Capture, done, "capture").await?.into(),
            "ship" => shop.orders().ship(&Ship { order, shipment: "all".into(), units: None }).await?.into(),
            "deliver" => shop.orders().deliver(&order, "all", None).await?.into(),
            "return" => {
                let line =
                    ReceivedLine { line: 0, quantity: Quantity::new(1).unwrap(), disposition: Disposition::Restock };
                let id = format!("{name}:1");
                let receipt = Receipt { id: ReturnId::new(&id)?, refund: RefundId::new(&id)?, lines: vec![line] };
                shop.returns().receive(&order, &receipt).await?.into()
            }
            _ => shop.orders().cancel(&order).await?.into(),
        })
    }

    /// Runs every call that `known` has no answer to, by [`CLIENTS`] clients, each noting what it means to do and what it was told.
    pub(crate) async fn run(self, txn: &Txn, side: Option<Arc<SideFile>>, known: Known) {
        let known = Arc::new(known);
        let clients = (0..CLIENTS).map(|client| {
            let (txn, side, known) = (txn.clone(), side.clone(), Arc::clone(&known));
            tokio::spawn(async move {
                let orders = (0..self.orders).filter(|order| order % CLIENTS == client);
                for call in orders.flat_map(|order| self.calls(order)) {
                    let name = call.name();
                    if known.acks.contains_key(&name) {
                        continue;
                    }
                    side.iter().for_each(|side| side.intent(&name));
                    let told = self.call(&txn, call).await.unwrap();
                    side.iter().for_each(|side| side.ack(&name, &told.answer));
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    }

    /// The life of the process that is killed: `folder` holds the store and the side file.
    pub(crate) fn live(self, folder: &Path) {
        let side = SideFile::open(&folder.join("side"));
        let known = Known::read(&folder.join("side"));
        let store = Arc::new(Sqlite::open(folder.join("shop.db")).unwrap());
        block_on(async {
            let txn = txn(store);
            self.set_up(&txn).await.unwrap();
            side.line("begun");
            self.run(&txn, Some(Arc::new(side)), known).await;
        });
    }
}
