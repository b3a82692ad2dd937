//! Movements that no hold stands behind: goods that come in, and goods that come back.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use txn_change::{Add, Change, Event, FactId, Label, Lanes};

use super::{
    item::{Demand, Item, item_key, opening},
    rejection::Rejection,
};
use crate::{
    decide::{Context, body, documents},
    id::{HoldId, MovementId, OrderId, ReturnId},
};

/// Why stock moves: the document behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Cause {
    /// Goods received, with the supplier's or the host's reference.
    Receipt(String),
    /// A hold on stock.
    Hold(HoldId),
    /// An order.
    Order(OrderId),
    /// A return.
    Return(ReturnId),
}

/// What becomes of goods that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Disposition {
    /// For sale again.
    Restock,
    /// On hand, but not for sale.
    Damaged,
}

/// A line of a movement: what was added to an item's lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedLine {
    /// The item.
    pub item: Item,
    /// `[on_hand, reserved, incoming, unavailable]`.
    pub delta: Lanes,
}

/// `stock.moved`: a movement, its cause and its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// What happened: `received`, `reserved`, `released`, `expired`, `shipped`, `returned`.
    pub movement: String,
    /// Why.
    pub cause: Cause,
    /// What moved, once per item.
    pub lines: Vec<MovedLine>,
}

documents! {
    Moved => "stock.moved", 1;
}

/// Goods received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// The movement's id.
    pub id: MovementId,
    /// What came in. Items may repeat.
    pub lines: Vec<Demand>,
}

/// Adds goods to what is on hand, and opens the items that are new. A movement's id is received once, whatever the change's id.
///
/// # Errors
/// [`Rejection::EmptyBasket`].
pub fn receive(context: &Context, command: &Receive) -> Result<Change, Rejection> {
    if command.lines.is_empty() {
        return Err(Rejection::EmptyBasket);
    }
    let lines = command.lines.iter().map(|line| {
        let quantity = i128::from(line.quantity.get());
        MovedLine { item: line.item.clone(), delta: Lanes([quantity, 0, 0, 0]) }
    });
    let cause = Cause::Receipt(command.id.as_str().into());
    let mut change = moved(context, context.change(), "received", cause, lines.collect());
    if let Some(event) = change.append.last_mut() {
        event.id = Some(FactId::new(format!("movement/{}", command.id)).expect("an id has at most 100 graphic bytes"));
    }
    Ok(change)
}

/// The line of goods that came back.
#[must_use]
pub fn stock_line(item: Item, quantity: u64, disposition: Disposition) -> MovedLine {
    let quantity = i128::from(quantity);
    let unavailable = match disposition {
        Disposition::Restock => 0,
        Disposition::Damaged => quantity,
    };
    MovedLine { item, delta: Lanes([quantity, 0, 0, unavailable]) }
}

/// Takes goods back into stock.
#[must_use]
pub fn take_back(context: &Context, change: Change, cause: ReturnId, lines: Vec<MovedLine>) -> Change {
    moved(context, change, "returned", Cause::Return(cause), lines)
}

/// Adds a movement to a change: one addition per line and one event.
pub(super) fn moved(
    context: &Context,
    mut change: Change,
    movement: &str,
    cause: Cause,
    lines: Vec<MovedLine>,
) -> Change {
    let opens = movement == "received" || movement == "returned";
    for (index, line) in lines.iter().enumerate() {
        change = change.add(Add {
            counter: item_key(&line.item),
            delta: line.delta,
            or_open: opens.then(opening),
            force: false,
            effective_at: context.effective_at,
            label: Label::indexed("line", index),
        });
    }
    change.append(Event::new(body(&Moved { movement: movement.into(), cause, lines })))
}
