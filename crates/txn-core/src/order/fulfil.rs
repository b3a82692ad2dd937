//! What happens to a placed order: it ships, arrives, is called off or expires.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use txn_change::{Change, Event};

use super::{
    axes::{FulfilmentAxis, PaymentAxis},
    lifecycle::{LIFECYCLE, Lifecycle, LifecycleEvent},
    record::{Line, Order, answer, order_key, put},
    rejection::Rejection,
};
use crate::{
    decide::{Context, Versioned, body, documents},
    id::OrderId,
    inventory::Item,
    money::Money,
    payment::Payment,
    quantity::Quantity,
};

/// Some units of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineQuantity {
    /// The line, from 0.
    pub line: usize,
    /// How many units.
    pub quantity: Quantity,
}

/// What happened to an order's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProgressKind {
    /// They were sent.
    Shipped,
    /// They arrived.
    Delivered,
    /// They were called off.
    Cancelled,
    /// Their time to be paid ran out.
    Expired,
}

/// `order.progressed`: units of an order moved to another bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progressed {
    /// The order.
    pub order: OrderId,
    /// What happened.
    pub kind: ProgressKind,
    /// Where the order is now.
    pub lifecycle: Lifecycle,
    /// To which units.
    pub lines: Vec<LineQuantity>,
}

documents! {
    Progressed => "order.progressed", 1;
}

fn every(order: &Order, left: impl Fn(&Line) -> u64) -> Vec<LineQuantity> {
    let quantity = |(line, of): (usize, &Line)| Some(LineQuantity { line, quantity: Quantity::new(left(of)).ok()? });
    order.lines.iter().enumerate().filter_map(quantity).collect()
}

/// Everything that can still ship.
#[must_use]
pub fn everything_open(order: &Order) -> Vec<LineQuantity> {
    every(order, Line::open)
}

/// Everything that is on its way.
#[must_use]
pub fn everything_shipped(order: &Order) -> Vec<LineQuantity> {
    every(order, Line::in_transit)
}

/// The items behind some units of an order.
///
/// # Errors
/// [`Rejection::UnknownLine`].
pub fn goods(order: &Order, units: &[LineQuantity]) -> Result<Vec<(Item, Quantity)>, Rejection> {
    let unknown = |line| Rejection::UnknownLine { order: order.id.clone(), line, lines: order.lines.len() };
    let item = |units: &LineQuantity| {
        let line = order.lines.get(units.line).ok_or_else(|| unknown(units.line))?;
        Ok((order.item(line), units.quantity))
    };
    units.iter().map(item).collect()
}

fn illegal(order: &Order, from: &'static str, event: &'static str) -> Rejection {
    Rejection::IllegalTransition { order: order.id.clone(), from, event }
}

fn advance(order: &Order, event: LifecycleEvent, name: &'static str) -> Result<Lifecycle, Rejection> {
    LIFECYCLE.next(order.lifecycle, event).map_err(|refused| illegal(order, refused.from, name))
}

/// Moves units of lines, each at most as far as it has some left.
fn move_units(
    order: &Versioned<Order>,
    units: &[LineQuantity],
    event: &'static str,
    left: impl Fn(&Line) -> u64,
    add: impl Fn(&mut Line, u64),
) -> Result<Order, Rejection> {
    if units.is_empty() {
        return Err(Rejection::NothingTo { order: order.value.id.clone(), event });
    }
    let mut after = order.value.clone();
    for unit in units {
        let line = after.line_mut(unit.line)?;
        let (left, asked) = (left(line), unit.quantity.get());
        if asked > left {
            return Err(Rejection::ExceedsLine { line: unit.line, event, left, asked });
        }
        add(line, asked);
    }
    Ok(after)
}

fn progressed(
    change: Change,
    before: &Versioned<Order>,
    after: &Order,
    kind: ProgressKind,
    lines: Vec<LineQuantity>,
) -> Change {
    let event = Progressed { order: after.id.clone(), kind, lifecycle: after.lifecycle, lines };
    let event = Event::new(body(&event)).about(order_key(&after.id));
    put(change, before, after).append(event).answer(answer(after))
}

fn check_own(order: &Order, payment: Option<&Payment>) -> Result<(), Rejection> {
    match payment {
        Some(payment) if payment.order != order.id => {
            Err(Rejection::ForeignPayment { order: order.id.clone(), payment: payment.id.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether what is kept of the payment, less refunds done and on their way, is worth the goods that are out.
fn check_covered(order: &Order, payment: &Payment) -> Result<(), Rejection> {
    let overflow = |_| Rejection::Overflow;
    let mut goods = Money::zero(order.currency);
    for line in &order.lines {
        let units = i128::from(line.shipped.saturating_sub(line.returned));
        goods = line.price.try_mul(units).and_then(|worth| goods.try_add(worth)).map_err(overflow)?;
    }
    let kept = payment.captured.try_sub(payment.refunded).and_then(|m| m.try_sub(payment.refunding));
    let kept = kept.map_err(overflow)?;
    if goods.minor() > kept.minor() {
        return Err(Rejection::NotCovered { order: order.id.clone(), goods, kept });
    }
    Ok(())
}

/// Sends units of a paid order. The stock leaves through [`crate::inventory::ship`] in the same change.
///
/// Money that went back does not stop the rest, as long as what is kept is worth all goods that are out.
///
/// # Errors
/// [`Rejection::IllegalTransition`] for an order that has ended or is not paid, [`Rejection::ForeignPayment`], [`Rejection::AmountMismatch`],
/// [`Rejection::NothingTo`], [`Rejection::UnknownLine`], [`Rejection::ExceedsLine`], [`Rejection::NotCovered`].
pub fn ship(
    context: &Context,
    order: &Versioned<Order>,
    payment: Option<&Payment>,
    units: &[LineQuantity],
) -> Result<Change, Rejection> {
    if order.value.lifecycle != Lifecycle::Placed {
        return Err(illegal(&order.value, order.value.lifecycle_name(), "ship"));
    }
    check_own(&order.value, payment)?;
    if !matches!(PaymentAxis::of(&order.value, payment), PaymentAxis::Paid | PaymentAxis::PartlyRefunded) {
        return Err(illegal(&order.value, "unpaid", "ship"));
    }
    if let Some(found) = payment.map(|payment| payment.amount).filter(|amount| *amount != order.value.total) {
        return Err(Rejection::AmountMismatch { order: order.value.id.clone(), expected: order.value.total, found });
    }
    let after = move_units(order, units, "ship", Line::open, |line, n| line.shipped = line.shipped.saturating_add(n))?;
    payment.map_or(Ok(()), |payment| check_covered(&after, payment))?;
    Ok(progressed(context.change(), order, &after, ProgressKind::Shipped, units.to_vec()))
}

/// Records the arrival of units. When nothing is left to ship or to arrive, the order is complete.
///
/// # Errors
/// [`Rejection::IllegalTransition`], [`Rejection::NothingTo`], [`Rejection::UnknownLine`], [`Rejection::ExceedsLine`] for units that were not shipped.
pub fn deliver(context: &Context, order: &Versioned<Order>, units: &[LineQuantity]) -> Result<Change, Rejection> {
    if order.value.lifecycle != Lifecycle::Placed {
        return Err(illegal(&order.value, order.value.lifecycle_name(), "deliver"));
    }
    let add = |line: &mut Line, n| line.delivered = line.delivered.saturating_add(n);
    let mut after = move_units(order, units, "deliver", Line::in_transit, add)?;
    if after.lines.iter().all(|line| line.open() == 0 && line.in_transit() == 0) {
        after.lifecycle = advance(&order.value, LifecycleEvent::Complete, "deliver")?;
    }
    Ok(progressed(context.change(), order, &after, ProgressKind::Delivered, units.to_vec()))
}

fn end(
    context: &Context,
    order: &Versioned<Order>,
    event: LifecycleEvent,
    name: &'static str,
    kind: ProgressKind,
) -> Result<Change, Rejection> {
    let lifecycle = advance(&order.value, event, name)?;
    if FulfilmentAxis::of(&order.value) != FulfilmentAxis::Unfulfilled {
        return Err(illegal(&order.value, "shipped", name));
    }
    let units = everything_open(&order.value);
    let mut after = Order { lifecycle, ..order.value.clone() };
    for line in &mut after.lines {
        line.cancelled = line.cancelled.saturating_add(line.open());
    }
    Ok(progressed(context.change(), order, &after, kind, units))
}

/// Calls an order off, as long as nothing has shipped. Its stock and money go back in the same change, through their own decisions.
///
/// # Errors
/// [`Rejection::IllegalTransition`].
pub fn cancel(context: &Context, order: &Versioned<Order>) -> Result<Change, Rejection> {
    end(context, order, LifecycleEvent::Cancel, "cancel", ProgressKind::Cancelled)
}

/// Ends an order that was not paid in time.
///
/// # Errors
/// [`Rejection::NotDue`] before its time, or without one; [`Rejection::ForeignPayment`]; [`Rejection::IllegalTransition`] when it has ended, or a payment is authorised or under way.
pub fn expire(context: &Context, order: &Versioned<Order>, payment: Option<&Payment>) -> Result<Change, Rejection> {
    if order.value.expires_at.is_none_or(|at| context.now < at) {
        return Err(Rejection::NotDue { order: order.value.id.clone() });
    }
    check_own(&order.value, payment)?;
    match PaymentAxis::of(&order.value, payment) {
        PaymentAxis::Unpaid | PaymentAxis::Voided => {
            end(context, order, LifecycleEvent::Expire, "expire", ProgressKind::Expired)
        }
        axis => Err(illegal(&order.value, axis.name(), "expire")),
    }
}
