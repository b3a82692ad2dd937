//! Placing an order.

use alloc::{format, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Change, Event, FactId, Timestamp};

use super::{
    lifecycle::Lifecycle,
    record::{Line, Order, answer, order_key},
    rejection::Rejection,
};
use crate::{
    decide::{Context, Versioned, body, documents},
    id::{CustomerId, HoldId, LocationId, OrderId, PaymentId, Sku},
    inventory::{Demand, Item},
    money::{Currency, Money},
    quantity::Quantity,
};

/// The most lines that an order may have.
pub const LINES_MAX: usize = 2_048;

/// A line to order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewLine {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: Quantity,
    /// The price of one, from the shop's own catalogue or quote; never a client's word.
    pub price: Money,
}

/// Place an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// The order's id.
    pub order: OrderId,
    /// Who orders.
    pub customer: Option<CustomerId>,
    /// The currency of every amount.
    pub currency: Currency,
    /// Where the goods come from.
    pub location: LocationId,
    /// The hold that will keep its stock.
    pub hold: HoldId,
    /// The payment that will pay it; not used when it costs nothing.
    pub payment: PaymentId,
    /// When it expires unless a payment is authorised before.
    pub expires_at: Option<Timestamp>,
    /// What is ordered.
    pub lines: Vec<NewLine>,
}

/// `order.placed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// The order.
    pub order: OrderId,
    /// Who ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// The sum of its lines.
    pub total: Money,
    /// How many lines.
    pub lines: u64,
    /// How many units.
    pub units: u64,
}

documents! {
    Placed => "order.placed", 1;
}

/// The fact id of an order's placing.
pub(super) fn placed_fact(order: &OrderId) -> FactId {
    FactId::new(format!("order/{order}")).expect("an id has at most 100 graphic bytes")
}

/// Places an order: its record and the fact that it was placed. Each line is checked by itself, so that no line can offset another.
///
/// # Errors
/// [`Rejection::OrderExists`], [`Rejection::LineCount`], [`Rejection::InvalidPrice`], [`Rejection::CurrencyMismatch`], [`Rejection::Overflow`],
/// [`Rejection::ExpiresInThePast`].
pub fn place(
    context: &Context,
    existing: Option<&Versioned<Order>>,
    command: &PlaceOrder,
) -> Result<Change, Rejection> {
    if existing.is_some() {
        return Err(Rejection::OrderExists { order: command.order.clone() });
    }
    if command.lines.is_empty() || command.lines.len() > LINES_MAX {
        return Err(Rejection::LineCount { found: command.lines.len(), max: LINES_MAX });
    }
    if let Some(at) = command.expires_at.filter(|at| *at <= context.now) {
        return Err(Rejection::ExpiresInThePast { at });
    }
    let mut total = Money::zero(command.currency);
    let mut units = 0u64;
    for (line, new) in command.lines.iter().enumerate() {
        if new.price.is_negative() {
            return Err(Rejection::InvalidPrice { line, price: new.price });
        }
        let (expected, found) = (command.currency, new.price.currency());
        if expected != found {
            return Err(Rejection::CurrencyMismatch { line, expected, found });
        }
        let amount = new.price.try_mul(i128::from(new.quantity.get())).map_err(|_| Rejection::Overflow)?;
        total = total.try_add(amount).map_err(|_| Rejection::Overflow)?;
        units = units.saturating_add(new.quantity.get());
    }
    let order = Order {
        id: command.order.clone(),
        customer: command.customer.clone(),
        currency: command.currency,
        location: command.location.clone(),
        lifecycle: Lifecycle::Placed,
        placed_at: context.effective_at.unwrap_or(context.now),
        expires_at: command.expires_at,
        total,
        hold: command.hold.clone(),
        payment: total.is_positive().then(|| command.payment.clone()),
        lines: command
            .lines
            .iter()
            .map(|new| Line {
                sku: new.sku.clone(),
                price: new.price,
                ordered: new.quantity,
                cancelled: 0,
                shipped: 0,
                delivered: 0,
                returned: 0,
            })
            .collect(),
    };
    let placed = Placed {
        order: order.id.clone(),
        customer: order.customer.clone(),
        total,
        lines: order.lines.len() as u64,
        units,
    };
    let key = order_key(&order.id);
    let event = Event::new(body(&placed)).with_id(placed_fact(&order.id)).about(key.clone());
    Ok(context.change().insert(key, body(&order), order.terms()).append(event).answer(answer(&order)))
}

/// What an order demands of stock, line by line.
#[must_use]
pub fn basket(order: &Order) -> Vec<Demand> {
    let item = |line: &Line| Item { sku: line.sku.clone(), location: order.location.clone() };
    order.lines.iter().map(|line| Demand { item: item(line), quantity: line.ordered }).collect()
}
