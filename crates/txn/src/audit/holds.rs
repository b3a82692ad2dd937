//! Holds on stock: each is the fold of its movements, and ends once.

use std::collections::HashMap;

use txn_change::{Key, Timestamp};
use txn_core::{
    id::{HoldId, OrderId},
    inventory::{Hold, HoldState},
};

use super::{
    report::{Findings, Rule},
    stock::Stock,
    timers::Timers,
};

/// The holds of one tenant.
#[derive(Default)]
pub(super) struct Holds(HashMap<HoldId, Fold>);

/// What the movements of a hold come to.
#[derive(Default)]
struct Fold {
    /// Given back, by the movement's name.
    end: Option<HoldState>,
    lines: Vec<Line>,
    record: Option<Seen>,
}

struct Line {
    item: usize,
    held: u64,
    shipped: u64,
    released: u64,
}

/// What other rules ask of a hold's record.
pub(super) struct Seen {
    pub(super) order: Option<OrderId>,
    pub(super) is_live: bool,
    pub(super) shipped: u64,
    due: Option<Timestamp>,
}

impl Fold {
    /// Where the hold is; `None` when it was never reserved. Whether a live hold is committed leaves no movement.
    fn state(&self) -> Option<HoldState> {
        let is_empty = self.lines.iter().all(|line| line.held == line.shipped.saturating_add(line.released));
        match self.end {
            Some(end) => Some(end),
            None if self.lines.is_empty() => None,
            None if is_empty => Some(HoldState::Shipped),
            None => Some(HoldState::Held),
        }
    }
}

/// Whether two states cannot be told apart by movements.
fn is_same(a: HoldState, b: HoldState) -> bool {
    a == b || (a.is_live() && b.is_live())
}

impl Holds {
    /// Enters a movement: the number of each item, its units, and what of them is unavailable.
    pub(super) fn moved(
        &mut self,
        findings: &mut Findings<'_>,
        id: &HoldId,
        movement: &str,
        lines: &[(usize, u64, i128)],
    ) {
        let rule = Rule::MovementSound;
        let fold = self.0.entry(id.clone()).or_default();
        let state = fold.state();
        if movement == "reserved" {
            if state.is_some() {
                findings.add(rule, format_args!("hold {id}"), "one reservation", "another");
            }
            let line = |&(item, held, _): &(usize, u64, i128)| Line { item, held, shipped: 0, released: 0 };
            fold.lines.extend(lines.iter().map(line));
            return;
        }
        if !state.is_some_and(HoldState::is_live) {
            let found = format_args!("it {movement} after {state:?}");
            findings.add(rule, format_args!("hold {id}"), "one end", found);
        }
        for (item, units, _) in lines {
            let line = fold.lines.iter_mut().find(|line| line.item == *item);
            let Some(line) = line else {
                findings.add(
                    rule,
                    format_args!("hold {id}"),
                    "items that it holds",
                    format_args!("another {movement}"),
                );
                continue;
            };
            let bucket = if movement == "shipped" { &mut line.shipped } else { &mut line.released };
            *bucket = bucket.saturating_add(*units);
            if line.shipped.saturating_add(line.released) > line.held {
                let expected = format_args!("at most the {} held of an item", line.held);
                let found = format_args!("{} shipped and {} released", line.shipped, line.released);
                findings.add(rule, format_args!("hold {id}"), expected, found);
            }
        }
        match movement {
            "released" => fold.end = Some(HoldState::Released),
            "expired" => fold.end = Some(HoldState::Expired),
            "shipped" => {}
            _ => findings.add(rule, format_args!("hold {id}"), "a movement of a hold", movement),
        }
    }

    pub(super) fn record(&mut self, findings: &mut Findings<'_>, stock: &mut Stock, key: &Key, hold: Hold) {
        let rule = Rule::HoldIsItsMovements;
        let fold = self.0.entry(hold.id.clone()).or_default();
        match fold.state() {
            None => findings.add(rule, key, "the movement that reserved it", "none"),
            Some(state) if !is_same(state, hold.state) => {
                findings.add(rule, key, format_args!("{state:?}"), format_args!("{:?}", hold.state));
            }
            Some(_) => findings.same(rule, key, "lines", fold.lines.len(), hold.lines.len()),
        }
        let is_live = hold.state.is_live();
        let mut shipped = 0u64;
        for (place, line) in hold.lines.into_iter().enumerate() {
            shipped = shipped.saturating_add(line.shipped);
            let subject = format_args!("{key} line {place}");
            let (left, found) = (line.left(), [line.held, line.shipped, line.released]);
            let item = stock.number(line.item);
            match fold.lines.get(place) {
                Some(moved) if moved.item == item => {
                    let expected = [moved.held, moved.shipped, moved.released];
                    findings.same_name(rule, subject, "held, shipped and released", expected, found);
                }
                Some(_) => findings.add(rule, subject, "the item that was reserved", "another"),
                None => findings.add(rule, subject, "nothing", format_args!("{found:?}")),
            }
            if is_live {
                stock.promise(item, left);
            }
        }
        let due = hold.expires_at.filter(|_| hold.state == HoldState::Held);
        fold.lines = Vec::new();
        fold.record = Some(Seen { order: hold.order, is_live, shipped, due });
    }

    /// What the record of a hold said.
    pub(super) fn get(&self, id: &HoldId) -> Option<&Seen> {
        self.0.get(id)?.record.as_ref()
    }

    /// Whether a hold may stand so, by what has moved so far.
    pub(super) fn may_be(&self, id: &HoldId, state: HoldState) -> bool {
        self.0.get(id).and_then(Fold::state).is_some_and(|known| is_same(known, state))
    }

    pub(super) fn close(&self, findings: &mut Findings<'_>, timers: &Timers) {
        for (id, fold) in &self.0 {
            match &fold.record {
                None => {
                    findings.add(
                        Rule::HoldIsItsMovements,
                        format_args!("hold {id}"),
                        "the record of a hold that moved",
                        "none",
                    );
                }
                Some(Seen { due: Some(due), .. }) if !timers.has_hold(id, *due) => {
                    findings.add(Rule::TimerSet, format_args!("hold {id}"), format_args!("a timer at {due}"), "none");
                }
                Some(_) => {}
            }
        }
    }
}
