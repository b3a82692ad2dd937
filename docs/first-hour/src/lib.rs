//! The code of the tutorial, step by step.

use std::{error::Error, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use txn::change::{
    Add, Body, Change, ChangeId, Class, Document, Fingerprint, Guard, Key, Kind, Label, Lanes, Opening, Refusal, Timestamp,
};
use txn::core::aftersale::{Receipt, ReceivedLine};
use txn::core::id::{CustomerId, HoldId, LocationId, MovementId, OrderId, PaymentId, RefundId, ReturnId, Sku};
use txn::core::inventory::{Demand, Disposition, Item, Receive};
use txn::core::money::{Currency, Money};
use txn::core::order::{NewLine, PlaceOrder};
use txn::core::payment::PaymentState;
use txn::core::quantity::Quantity;
use txn::store::{Found, Outcome, Query, Range, sqlite::Sqlite};
use txn::{InertGateway, Services, Ship, Tenant, Txn};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Step 2: a store in one file, an inert gateway, and the services of one shop.
pub fn open_shop(path: &Path, gateway: Arc<InertGateway>) -> Result<(Txn, Services)> {
    let txn = Txn::builder(Arc::new(Sqlite::open(path)?), gateway).build();
    let shop = txn.tenant(Tenant::new("tea-shop")?);
    Ok((txn, shop))
}

/// The one thing on the shelf.
pub fn tea() -> Result<Item> {
    Ok(Item { sku: Sku::new("tea")?, location: LocationId::new("main")? })
}

/// Step 3: accounts and stock. Repeating it changes nothing.
pub async fn open_catalogue(shop: &Services) -> Result<()> {
    shop.ledger().open_payment_accounts(Currency::USD).await?;
    let lines = vec![Demand { item: tea()?, quantity: Quantity::new(10)? }];
    shop.inventory().receive(&Receive { id: MovementId::new("delivery-1")?, lines }).await?;
    Ok(())
}

/// Step 4: an order of some packets, from placing to delivery. Repeating it, after a crash or for no reason, changes nothing that was done.
pub async fn sell(shop: &Services, name: &str, packets: u64) -> Result<PaymentState> {
    let (order, payment) = (OrderId::new(name)?, PaymentId::new(name)?);
    let price = Money::parse("3.50", Currency::USD)?;
    let line = NewLine { sku: tea()?.sku, quantity: Quantity::new(packets)?, price };
    let place = PlaceOrder {
        order: order.clone(),
        customer: Some(CustomerId::new("ann")?),
        currency: Currency::USD,
        location: tea()?.location,
        hold: HoldId::new(name)?,
        payment: payment.clone(),
        expires_at: None,
        lines: vec![line],
    };
    shop.orders().place(&place).await?;
    shop.orders().reserve(&order, None).await?;
    // An answer that was lost, or a process that died while it waited, is cleared up first.
    shop.payments().resolve(&payment).await?;
    // A payment that has gone further than a step is not asked for it again.
    let state = |payment: Option<txn::core::payment::Payment>| payment.map(|payment| payment.state);
    if state(shop.payments().get(&payment).await?) == Some(PaymentState::Created) {
        shop.payments().authorise(&payment).await?;
    }
    if state(shop.payments().get(&payment).await?) == Some(PaymentState::Authorised) {
        shop.payments().capture(&payment).await?;
    }
    let state = state(shop.payments().get(&payment).await?).ok_or("the payment was opened with the order")?;
    if state == PaymentState::Captured {
        shop.orders().ship(&Ship { order: order.clone(), shipment: "parcel-1".into(), units: None }).await?;
        shop.orders().deliver(&order, "parcel-1", None).await?;
    }
    Ok(state)
}

/// Step 5: one packet comes back.
pub async fn take_back(shop: &Services, order: &str) -> Result<Money> {
    let line = ReceivedLine { line: 0, quantity: Quantity::new(1)?, disposition: Disposition::Restock };
    let receipt = Receipt {
        id: ReturnId::new(format!("{order}-back"))?,
        refund: RefundId::new(format!("{order}-back"))?,
        lines: vec![line],
    };
    let done = shop.returns().receive(&OrderId::new(order)?, &receipt).await?;
    Ok(done.value()?.refund)
}

/// A note about a customer: a record of the host's own.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// What to remember.
    pub text: String,
}

impl Document for Note {
    const TYPE: &'static str = "crm.note";
    const SCHEMA: u16 = 1;
}

/// Step 6: writes a note and finds it again by customer.
pub async fn remember(shop: &Services, customer: &str, number: u64, text: &str) -> Result<Vec<Note>> {
    let (notes, by_customer) = (Kind::new("crm-note")?, Kind::new("crm-by-customer")?);
    let note = Note { text: text.into() };
    let id = ChangeId::new(format!("crm.note/{customer}-{number}"))?;
    let key = Key::of(notes).text(customer)?.number(number).build();
    let term = Key::of(by_customer).text(customer)?.build();
    let change = Change::new(id, Fingerprint::of("crm.note", &note)).insert(key, Body::of(&note)?, vec![term]);
    match shop.scope().commit(change).await? {
        Outcome::Done(_) => {}
        other => return Err(format!("{other:?}").into()),
    }
    let query = Query::RecordsByTerm(Range::prefix(Key::of(by_customer).text(customer)?));
    let mut found = Vec::new();
    for item in shop.scope().find(&query, None, 100).await?.items {
        if let Found::Record(_, record) = item {
            found.push(record.body.read()?);
        }
    }
    Ok(found)
}

/// Step 7: takes a seat, if there is one. The guard stands in the counter's row, so no two callers get the last one. How many seats
/// there are counts when the first is taken.
pub async fn reserve_seat(shop: &Services, event: &str, seats: i128, guest: &str) -> Result<bool> {
    let class = Class { name: "seat".into(), signed: [false; 4], history: true, conserves: [None; 2] };
    // taken ≤ seats, as −taken ≥ −seats
    let guard = Guard { weights: [-1, 0, 0, 0], min: -seats };
    let opening = Opening { class: Arc::new(class), unit: Arc::from("seat"), guards: [Some(guard), None] };
    let add = Add {
        counter: Key::of(Kind::new("seats")?).text(event)?.build(),
        delta: Lanes([1, 0, 0, 0]),
        or_open: Some(Arc::new(opening)),
        force: false,
        effective_at: Some(Timestamp::EPOCH),
        label: Label::new("seat"),
    };
    let id = ChangeId::new(format!("seat.reserve/{event}/{guest}"))?;
    let change = Change::new(id, Fingerprint::of("seat.reserve", &(event, guest))).add(add);
    match shop.scope().commit(change).await? {
        Outcome::Done(_) => Ok(true),
        Outcome::Refused(Refusal::GuardBroken { .. }) => Ok(false),
        // It may be committed: the same call again tells.
        other => Err(format!("{other:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use txn::Instruction;

    fn run<T>(test: impl AsyncFnOnce(Txn, Services, Arc<InertGateway>) -> Result<T>) -> T {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Arc::new(InertGateway::default());
        let (txn, shop) = open_shop(&folder.path().join("shop.db"), Arc::clone(&gateway)).unwrap();
        pollster::block_on(async {
            open_catalogue(&shop).await.unwrap();
            let answer = test(txn.clone(), shop, gateway).await.unwrap();
            let report = txn.verify().await.unwrap();
            assert!(report.violations.is_empty(), "{:?}", report.violations);
            answer
        })
    }

    #[test]
    fn an_order_is_sold_once_however_often_it_is_asked_for() {
        run(async |_, shop, gateway| {
            for _ in 0..3 {
                open_catalogue(&shop).await?;
                assert_eq!(sell(&shop, "web-1", 3).await?, PaymentState::Captured);
            }
            assert_eq!(gateway.executed(), 2, "one authorisation, one capture");
            assert_eq!(shop.inventory().stock(&tea()?).await?.on_hand, 7);
            assert_eq!(take_back(&shop, "web-1").await?.to_string(), "3.50 USD");
            assert_eq!(take_back(&shop, "web-1").await?.to_string(), "3.50 USD", "the same return");
            assert_eq!(shop.inventory().stock(&tea()?).await?.on_hand, 8);
            Ok(())
        });
    }

    #[test]
    fn what_is_not_there_is_not_sold() {
        run(async |_, shop, _| {
            let error = sell(&shop, "web-2", 11).await.unwrap_err();
            assert_eq!(error.to_string(), "line 0: tea is short by 1");
            Ok(())
        });
    }

    #[test]
    fn a_declined_payment_ships_nothing() {
        run(async |_, shop, gateway| {
            gateway.instruct(PaymentId::new("web-3")?, Instruction::Decline);
            assert_eq!(sell(&shop, "web-3", 1).await?, PaymentState::Created);
            assert_eq!(shop.inventory().stock(&tea()?).await?.on_hand, 10);
            Ok(())
        });
    }

    #[test]
    fn a_host_keeps_its_own_records_and_seats() {
        run(async |_, shop, _| {
            let notes = remember(&shop, "ann", 1, "likes green tea").await?;
            assert_eq!(notes, [Note { text: "likes green tea".into() }]);
            assert!(Kind::new("ledger").is_err());
            let mut seated = 0;
            for guest in ["ann", "bob", "eve"] {
                seated += u32::from(reserve_seat(&shop, "tasting", 2, guest).await?);
            }
            assert_eq!(seated, 2);
            Ok(())
        });
    }
}
