//! Timers: what runs out has one.

use std::collections::HashSet;

use txn_change::{Key, Segment, Timestamp};
use txn_core::id::{HoldId, LedgerHoldId, OrderId};

use super::report::{Findings, Rule};
use crate::timers::{Timer, timer_key};

/// The timers of one tenant.
#[derive(Default)]
pub(super) struct Timers {
    holds: HashSet<(HoldId, Timestamp)>,
    ledger_holds: HashSet<(LedgerHoldId, Timestamp)>,
    orders: HashSet<OrderId>,
}

impl Timers {
    pub(super) fn record(&mut self, findings: &mut Findings<'_>, key: &Key, timer: Timer) {
        let time = key.segments().into_iter().find_map(|segment| match segment {
            Segment::Time(time) => Some(time),
            _ => None,
        });
        let Some(due) = time.filter(|due| timer_key(&timer, *due) == *key) else {
            findings.add(Rule::KeyOfBody, key, "the key of its timer", format_args!("{timer:?}"));
            return;
        };
        match timer {
            Timer::HoldExpires(hold) => {
                self.holds.insert((hold, due));
            }
            Timer::LedgerHoldDue(hold) => {
                self.ledger_holds.insert((hold, due));
            }
            Timer::OrderExpires(order) => {
                self.orders.insert(order);
            }
        }
    }

    pub(super) fn has_hold(&self, hold: &HoldId, due: Timestamp) -> bool {
        self.holds.contains(&(hold.clone(), due))
    }

    pub(super) fn has_ledger_hold(&self, hold: &LedgerHoldId, due: Timestamp) -> bool {
        self.ledger_holds.contains(&(hold.clone(), due))
    }

    pub(super) fn has_order(&self, order: &OrderId) -> bool {
        self.orders.contains(order)
    }
}
