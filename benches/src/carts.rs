//! Orders and baskets.

use txn_change::{Change, ChangeId, Fingerprint, MapView, Timestamp, Verdict, evaluate};
use txn_core::{
    Context,
    id::{CustomerId, HoldId, LocationId, MovementId, OrderId, PaymentId, Sku},
    inventory::{self, Demand, Item, Receive, Reserve},
    money::{Currency, Money},
    order::{NewLine, PlaceOrder},
    quantity::Quantity,
};

/// The store's time.
pub const NOW: Timestamp = Timestamp::from_nanos(1_900_000_000_000_000_000);

const FITS: &str = "the texts and numbers in here fit their types";

/// What a decision is told.
///
/// # Panics
/// When `id` is no id.
#[must_use]
pub fn context(id: &str) -> Context {
    Context {
        id: ChangeId::new(id).expect(FITS),
        fingerprint: Fingerprint::of_bytes("bench", id.as_bytes()),
        now: NOW,
        effective_at: Some(NOW),
    }
}

fn sku(line: usize) -> Sku {
    Sku::new(format!("85123A-{line:03}")).expect(FITS)
}

fn location() -> LocationId {
    LocationId::new("main").expect(FITS)
}

/// An order of so many lines.
///
/// # Panics
/// Never.
#[must_use]
pub fn order(lines: usize) -> PlaceOrder {
    let new = |line: usize| NewLine {
        sku: sku(line),
        quantity: Quantity::new(1 + line as u64 % 12).expect(FITS),
        price: Money::from_minor(255 + line as i128, Currency::GBP),
    };
    PlaceOrder {
        order: OrderId::new("536365").expect(FITS),
        customer: Some(CustomerId::new("17850").expect(FITS)),
        currency: Currency::GBP,
        location: location(),
        hold: HoldId::new("536365").expect(FITS),
        payment: PaymentId::new("536365").expect(FITS),
        expires_at: None,
        lines: (0..lines).map(new).collect(),
    }
}

fn demand(lines: usize, quantity: u64) -> Vec<Demand> {
    let item = |line| Item { sku: sku(line), location: location() };
    (0..lines).map(|line| Demand { item: item(line), quantity: Quantity::new(quantity).expect(FITS) }).collect()
}

/// A basket of so many items, each asked for so often.
///
/// # Panics
/// Never.
#[must_use]
pub fn basket(lines: usize, quantity: u64) -> Reserve {
    Reserve {
        hold: HoldId::new("536365").expect(FITS),
        order: Some(OrderId::new("536365").expect(FITS)),
        lines: demand(lines, quantity),
        expires_at: None,
    }
}

/// A basket as the change that reserves it.
///
/// # Panics
/// Never.
#[must_use]
pub fn reservation(lines: usize, quantity: u64) -> Change {
    inventory::reserve(&context("hold.reserve/536365"), None, &basket(lines, quantity)).expect("the basket is sound")
}

/// A view with 100 of each item.
///
/// # Panics
/// Never.
#[must_use]
pub fn stocked(items: usize) -> MapView {
    let command = Receive { id: MovementId::new("delivery-1").expect(FITS), lines: demand(items, 100) };
    let change = inventory::receive(&context("stock.receive/1"), &command).expect("something comes in");
    let mut view = MapView::default();
    let Ok(Verdict::Accepted(effects)) = evaluate(&view, &change, NOW) else {
        unreachable!("the first delivery is new and sound")
    };
    view.apply(&change, &effects);
    view
}
