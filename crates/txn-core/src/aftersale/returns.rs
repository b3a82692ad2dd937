//! The record of a return, and its two steps.

use alloc::{vec, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Change, Event, Expect, Key, KeyBuilder, Kind, Term};

use super::rejection::Rejection;
use crate::{
    decide::{Context, Versioned, body, documents, key},
    id::{OrderId, RefundId, ReturnId},
    inventory::{self, Disposition},
    ledger,
    money::Money,
    order::{LineQuantity, Order, put_returned},
    payment::{self, Payment, PostingRules, Refund},
    quantity::Quantity,
};

/// The kind of return records.
pub const RETURN_KIND: Kind = Kind::reserved("return");
const ORDER_INDEX: Kind = Kind::reserved("return-order");

/// Where a return is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReturnState {
    /// Asked for; nothing has moved.
    Requested,
    /// Received, refunded and put away.
    Received,
}

/// Units of a line that came back, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceivedLine {
    /// The line, from 0.
    pub line: usize,
    /// How many units.
    pub quantity: Quantity,
    /// What becomes of them.
    pub disposition: Disposition,
}

/// The record of a return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// The return.
    pub id: ReturnId,
    /// The order.
    pub order: OrderId,
    /// Where it is.
    pub state: ReturnState,
    /// What was asked for; empty when goods came back unasked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requested: Vec<LineQuantity>,
    /// What came back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<ReceivedLine>,
    /// What went back to the customer.
    pub refund: Money,
}

/// `return.received`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// The return.
    pub id: ReturnId,
    /// The order.
    pub order: OrderId,
    /// What came back.
    pub lines: Vec<ReceivedLine>,
    /// What went back to the customer.
    pub refund: Money,
}

documents! {
    Return => "return", 1;
    Received => "return.received", 1;
}

/// The key of a return's record.
#[must_use]
pub fn return_key(id: &ReturnId) -> Key {
    key(RETURN_KIND, &[id])
}

/// What the index terms of an order's returns begin with.
#[must_use]
pub fn by_order(order: &OrderId) -> KeyBuilder {
    Key::of(ORDER_INDEX).text(order).expect("an id has at most 100 bytes")
}

fn terms(record: &Return) -> Vec<Term> {
    vec![key(ORDER_INDEX, &[&record.order, &record.id])]
}

/// Ask to send goods back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestReturn {
    /// The return's id.
    pub id: ReturnId,
    /// Which units.
    pub lines: Vec<LineQuantity>,
}

/// Records that goods are to come back. Nothing moves yet.
///
/// # Errors
/// [`Rejection::ReturnExists`], [`Rejection::Empty`], [`Rejection::ExceedsDelivered`], and an unknown line.
pub fn request_return(
    context: &Context,
    order: &Order,
    existing: Option<&Versioned<Return>>,
    command: &RequestReturn,
) -> Result<Change, Rejection> {
    if existing.is_some() {
        return Err(Rejection::ReturnExists { id: command.id.clone() });
    }
    take_back(&mut order.clone(), command.lines.iter().map(|unit| (unit.line, unit.quantity)))?;
    let record = Return {
        id: command.id.clone(),
        order: order.id.clone(),
        state: ReturnState::Requested,
        requested: command.lines.clone(),
        received: Vec::new(),
        refund: Money::zero(order.currency),
    };
    let change = context.change().insert(return_key(&record.id), body(&record), terms(&record));
    Ok(change.answer(body(&record)))
}

/// Counts units as returned; gives what was paid for them.
fn take_back(order: &mut Order, units: impl Iterator<Item = (usize, Quantity)>) -> Result<Money, Rejection> {
    let overflow = |_| Rejection::Payment(ledger::Rejection::Overflow.into());
    let mut paid = Money::zero(order.currency);
    let mut any = false;
    for (index, quantity) in units {
        let line = order.line_mut(index)?;
        let (left, asked) = (line.kept(), quantity.get());
        if asked > left {
            return Err(Rejection::ExceedsDelivered { line: index, left, asked });
        }
        line.returned = line.returned.saturating_add(asked);
        let amount = line.price.try_mul(i128::from(asked)).map_err(overflow)?;
        paid = paid.try_add(amount).map_err(overflow)?;
        any = true;
    }
    if any { Ok(paid) } else { Err(Rejection::Empty) }
}

/// Goods that came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The return. It need not have been asked for.
    pub id: ReturnId,
    /// The refund's id.
    pub refund: RefundId,
    /// Which units, and what becomes of them.
    pub lines: Vec<ReceivedLine>,
}

/// Takes goods back: counts them as returned, refunds what was paid for them and puts them away, all in one change.
///
/// # Errors
/// [`Rejection::UnknownReturn`] when it is another order's, [`Rejection::AlreadyReceived`], [`Rejection::Empty`], [`Rejection::ExceedsDelivered`], and what the payment refuses, such as more than was captured.
pub fn receive_return(
    context: &Context,
    order: &Versioned<Order>,
    payment: Option<&Versioned<Payment>>,
    existing: Option<&Versioned<Return>>,
    refund: Option<&Versioned<Refund>>,
    rules: &PostingRules,
    command: &Receipt,
) -> Result<Change, Rejection> {
    if existing.is_some_and(|e| e.value.order != order.value.id) {
        return Err(Rejection::UnknownReturn { id: command.id.clone() });
    }
    if existing.is_some_and(|e| e.value.state == ReturnState::Received) {
        return Err(Rejection::AlreadyReceived { id: command.id.clone() });
    }
    let mut after = order.value.clone();
    let paid = take_back(&mut after, command.lines.iter().map(|unit| (unit.line, unit.quantity)))?;
    let record = Return {
        id: command.id.clone(),
        order: after.id.clone(),
        state: ReturnState::Received,
        requested: existing.map(|e| e.value.requested.clone()).unwrap_or_default(),
        received: command.lines.clone(),
        refund: paid,
    };
    let received =
        Received { id: record.id.clone(), order: record.order.clone(), lines: record.received.clone(), refund: paid };
    let expect = existing.map_or(Expect::Absent, Versioned::expect);
    let mut change = put_returned(context.change(), order, &after);
    change = change.put(return_key(&record.id), expect, body(&record), terms(&record));
    change = change.append(Event::new(body(&received)).about(return_key(&record.id)));
    let goods = command.lines.iter().map(|unit| {
        let line = after.lines.get(unit.line).expect("take_back has found the line");
        inventory::stock_line(after.item(line), unit.quantity.get(), unit.disposition)
    });
    change = inventory::take_back(context, change, record.id.clone(), goods.collect());
    if paid.is_positive() {
        let own = payment.filter(|payment| payment.value.order == after.id);
        let payment = own.ok_or_else(|| Rejection::PaymentMissing { order: after.id.clone() })?;
        change = change.and(payment::record_refund(context, payment, refund, rules, &command.refund, paid)?);
    }
    Ok(change.answer(body(&record)))
}
