//! The record of an order.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use txn_change::{Body, Change, Key, KeyBuilder, Kind, Term, Timestamp};

use super::{lifecycle::Lifecycle, rejection::Rejection};
use crate::{
    decide::{Versioned, body, documents, is_zero, key, term},
    id::{CustomerId, HoldId, LocationId, OrderId, PaymentId, Sku},
    inventory::Item,
    money::{Currency, Money},
    quantity::Quantity,
};

/// The kind of order records.
pub const ORDER_KIND: Kind = Kind::reserved("order");
const CUSTOMER_INDEX: Kind = Kind::reserved("order-customer");

/// A line of an order. Its buckets say where its units are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What.
    pub sku: Sku,
    /// The price of one unit.
    pub price: Money,
    /// How many were ordered.
    pub ordered: Quantity,
    /// Of them, called off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cancelled: u64,
    /// Of them, sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shipped: u64,
    /// Of those sent, arrived.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delivered: u64,
    /// Of those arrived, taken back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub returned: u64,
}

impl Line {
    /// Neither cancelled nor shipped yet.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.ordered.get().saturating_sub(self.cancelled).saturating_sub(self.shipped)
    }

    /// Shipped and not delivered yet.
    #[must_use]
    pub const fn in_transit(&self) -> u64 {
        self.shipped.saturating_sub(self.delivered)
    }

    /// Delivered and not returned.
    #[must_use]
    pub const fn kept(&self) -> u64 {
        self.delivered.saturating_sub(self.returned)
    }

    /// Whether the buckets fit into each other.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        let out = self.cancelled.saturating_add(self.shipped);
        out <= self.ordered.get() && self.delivered <= self.shipped && self.returned <= self.delivered
    }
}

/// The record of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The order.
    pub id: OrderId,
    /// Who ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// The currency of every amount.
    pub currency: Currency,
    /// Where the goods come from.
    pub location: LocationId,
    /// Where it is, commercially.
    pub lifecycle: Lifecycle,
    /// When it was placed, in the business's time.
    pub placed_at: Timestamp,
    /// It expires at this instant unless a payment is authorised before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The sum of its lines.
    pub total: Money,
    /// The hold on its stock.
    pub hold: HoldId,
    /// Its payment; none when it costs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentId>,
    /// Its lines.
    pub lines: Vec<Line>,
}

documents! {
    Order => "order", 1;
    OrderAnswer => "order.answer", 1;
}

/// The key of an order's record.
#[must_use]
pub fn order_key(order: &OrderId) -> Key {
    key(ORDER_KIND, &[order])
}

/// What the index terms of a customer's orders begin with; they go on with the time of placing.
#[must_use]
pub fn by_customer(customer: &CustomerId) -> KeyBuilder {
    Key::of(CUSTOMER_INDEX).text(customer).expect("an id has at most 100 bytes")
}

impl Order {
    pub(super) fn terms(&self) -> Vec<Term> {
        self.customer.iter().map(|customer| term(CUSTOMER_INDEX, &[customer], Some(self.placed_at))).collect()
    }

    /// The item that a line's units are taken from.
    #[must_use]
    pub fn item(&self, line: &Line) -> Item {
        Item { sku: line.sku.clone(), location: self.location.clone() }
    }

    /// Whether its time to be paid has run out, swept or not.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.lifecycle == Lifecycle::Placed && self.expires_at.is_some_and(|at| now >= at)
    }

    pub(crate) fn line_mut(&mut self, line: usize) -> Result<&mut Line, Rejection> {
        let (order, lines) = (self.id.clone(), self.lines.len());
        self.lines.get_mut(line).ok_or(Rejection::UnknownLine { order, line, lines })
    }
}

/// What a step of an order answers: small, since every answer is kept for as long as its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderAnswer {
    /// The order.
    pub order: OrderId,
    /// Where it is, commercially, after the step.
    pub lifecycle: Lifecycle,
    /// The sum of its lines.
    pub total: Money,
}

pub(super) fn answer(order: &Order) -> Body {
    body(&OrderAnswer { order: order.id.clone(), lifecycle: order.lifecycle, total: order.total })
}

/// Writes an order's next state.
pub(super) fn put(change: Change, before: &Versioned<Order>, after: &Order) -> Change {
    change.put(order_key(&after.id), before.expect(), body(after), after.terms())
}

/// Writes an order whose lines have had units returned. For after-sale decisions.
#[must_use]
pub fn put_returned(change: Change, before: &Versioned<Order>, after: &Order) -> Change {
    put(change, before, after)
}
