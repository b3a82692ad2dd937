//! Why stock could not be moved.

use txn_change::{Key, Refusal, Timestamp};

use super::{
    hold::HoldState,
    item::{Item, item_key},
};
use crate::{
    decide::line_of,
    id::{HoldId, MovementId, Sku},
};

/// Why stock could not be moved. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// A basket needs at least one line.
    #[error("the basket is empty")]
    EmptyBasket,
    /// Not enough of the line's item is available.
    #[error("line {line}: {sku} is short by {missing}")]
    StockInsufficient {
        /// The first line that asks for the item.
        line: usize,
        /// The sku.
        sku: Sku,
        /// By how many it is short, over all lines of the basket together.
        missing: i128,
    },
    /// The item has never been in stock.
    #[error("line {line}: there is no {item}")]
    UnknownItem {
        /// The first line that asks for the item.
        line: usize,
        /// The item.
        item: Item,
    },
    /// Goods were received under this id before.
    #[error("the movement {movement} exists already")]
    MovementExists {
        /// The movement.
        movement: MovementId,
    },
    /// The hold does not exist.
    #[error("there is no hold {hold}")]
    UnknownHold {
        /// The hold.
        hold: HoldId,
    },
    /// Another hold has this id.
    #[error("the hold {hold} exists already")]
    HoldExists {
        /// The hold.
        hold: HoldId,
    },
    /// The hold ran out at this time.
    #[error("the hold {hold} expired at {at}")]
    HoldExpired {
        /// The hold.
        hold: HoldId,
        /// When.
        at: Timestamp,
    },
    /// The hold's time cannot be moved to before now, or back.
    #[error("the hold {hold} cannot be extended to {to}")]
    NotAnExtension {
        /// The hold.
        hold: HoldId,
        /// The time asked for.
        to: Timestamp,
    },
    /// The hold has not run out yet.
    #[error("the hold {hold} is not due")]
    NotDue {
        /// The hold.
        hold: HoldId,
    },
    /// The hold's state does not allow it.
    #[error("the hold {hold} is {state:?}, which does not allow to {event} it")]
    IllegalTransition {
        /// The hold.
        hold: HoldId,
        /// Its state.
        state: HoldState,
        /// What was asked.
        event: &'static str,
    },
    /// More of an item than the hold has left.
    #[error("the hold {hold} has {left} of {item} left, {asked} were asked for")]
    ExceedsHold {
        /// The hold.
        hold: HoldId,
        /// The item.
        item: Item,
        /// What is left.
        left: u64,
        /// What was asked for.
        asked: u64,
    },
    /// A sum of quantities leaves 64 bits.
    #[error("the quantities of {item} sum up to more than {}", u64::MAX)]
    Overflow {
        /// The item.
        item: Item,
    },
}

/// Says in the words of a shop why the evaluator refused a movement of these items, line by line.
#[must_use]
pub fn explain(refusal: &Refusal, items: &[Item]) -> Option<Rejection> {
    let find = |counter: &Key, label| {
        let is_it = |item: &Item| item_key(item) == *counter;
        let labelled = line_of(label).filter(|line| items.get(*line).is_some_and(is_it));
        // In a change that was joined of several, the label's line can be another part's.
        let line = labelled.or_else(|| items.iter().position(is_it))?;
        Some((line, items.get(line)?.clone()))
    };
    match refusal {
        Refusal::GuardBroken { counter, label, value, min, .. } => {
            let (line, item) = find(counter, label)?;
            Some(Rejection::StockInsufficient { line, sku: item.sku, missing: min.saturating_sub(*value) })
        }
        Refusal::CounterAbsent { counter, label } => {
            let (line, item) = find(counter, label)?;
            Some(Rejection::UnknownItem { line, item })
        }
        Refusal::FactExists { id } => {
            let movement = id.strip_prefix("movement/")?;
            Some(Rejection::MovementExists { movement: MovementId::new(movement).ok()? })
        }
        _ => None,
    }
}
