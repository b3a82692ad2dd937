//! Stock: every item is the sum of its movements, and what is reserved of it is what live holds still promise.

use std::collections::HashMap;

use txn_change::{Key, Lanes};
use txn_core::inventory::{self, Cause, Item, Moved};

use super::{
    counters::Counters,
    holds::Holds,
    report::{Findings, Rule},
    returns::Returns,
};

/// The items of one tenant, numbered: holds name them often.
#[derive(Default)]
pub(super) struct Stock {
    numbers: HashMap<Item, usize>,
    items: Vec<(Key, i128)>,
}

/// How many units a line moves, when its lanes fit the movement.
fn units(movement: &str, lanes: Lanes) -> Option<u64> {
    let units = match (movement, lanes.0) {
        ("received", [units, 0, 0, 0]) | ("reserved", [0, units, 0, 0]) => units,
        ("returned", [units, 0, 0, unavailable]) if unavailable == 0 || unavailable == units => units,
        ("released" | "expired", [0, units, 0, 0]) => units.checked_neg()?,
        ("shipped", [on_hand, reserved, 0, 0]) if on_hand == reserved => on_hand.checked_neg()?,
        _ => return None,
    };
    u64::try_from(units).ok().filter(|units| *units > 0)
}

impl Stock {
    pub(super) fn moved(
        &mut self,
        findings: &mut Findings<'_>,
        counters: &mut Counters,
        holds: &mut Holds,
        returns: &mut Returns,
        moved: Moved,
    ) {
        let mut lines = Vec::with_capacity(moved.lines.len());
        for line in moved.lines {
            let number = self.number(line.item);
            let Some((key, _)) = self.items.get(number) else { continue };
            counters.fact(findings, key, line.delta);
            match units(&moved.movement, line.delta) {
                Some(units) => lines.push((number, units, line.delta.0[3])),
                None => {
                    let expected = format_args!("the lanes of goods {}", moved.movement);
                    findings.add(Rule::MovementSound, key, expected, format_args!("{:?}", line.delta.0));
                }
            }
        }
        match (&moved.cause, moved.movement.as_str()) {
            (Cause::Receipt(_), "received") => {}
            (Cause::Return(id), "returned") => returns.stocked(id, &lines),
            (Cause::Hold(hold), movement) => holds.moved(findings, hold, movement, &lines),
            (cause, movement) => {
                let found = format_args!("{cause:?}");
                findings.add(Rule::MovementSound, "a movement", format_args!("a cause of goods {movement}"), found);
            }
        }
    }

    pub(super) fn number(&mut self, item: Item) -> usize {
        if let Some(number) = self.numbers.get(&item) {
            return *number;
        }
        let number = self.items.len();
        self.items.push((inventory::item_key(&item), 0));
        self.numbers.insert(item, number);
        number
    }

    /// Counts what a live hold still promises of an item.
    pub(super) fn promise(&mut self, number: usize, units: u64) {
        if let Some((_, promised)) = self.items.get_mut(number) {
            *promised = promised.saturating_add(i128::from(units));
        }
    }

    pub(super) fn close(&self, findings: &mut Findings<'_>, counters: &Counters) {
        for (key, promised) in &self.items {
            let reserved = counters.get(key).map_or(0, |fold| fold.lanes.0[1]);
            findings.same(Rule::HoldsReserve, key, "reserved", *promised, reserved);
        }
    }
}
