//! A group that is declared as another than it was.

use txn_change::Timestamp;

use super::{GroupState, State};
use crate::{
    engine::{log::Log, ready::Turn},
    topology::{BehindRetry, GroupSpec, Order},
};

impl GroupState {
    /// Goes on as another spec says. Where the order is another, what is ready is lined up anew, so that no message waits for a turn that its key does not get any more.
    pub(crate) fn respec(&mut self, spec: GroupSpec, log: &Log) {
        let is_reordered = self.spec.order != spec.order;
        self.spec = spec;
        if is_reordered {
            self.line_up_anew(log);
        }
    }

    fn line_up_anew(&mut self, log: &Log) {
        self.ready.clear();
        self.lanes.clear();
        let parks = matches!(self.spec.order, Order::PerKey { behind_retry: BehindRetry::Park, .. });
        let mut ready: Vec<(Timestamp, u64)> = Vec::new();
        let mut held = Vec::new();
        for (slot, position) in self.slots.iter_mut().zip(self.first..) {
            slot.is_parked &= parks;
            match slot.state {
                State::Ready => ready.push((slot.until, position)),
                State::Leased => held.push(position),
                State::Waiting if slot.is_parked => held.push(position),
                State::Waiting | State::Done => {}
            }
        }
        for position in held {
            self.take_permit(position, log);
        }
        ready.sort_unstable();
        for (since, position) in &ready {
            self.line_up(*position, log, *since);
        }
        for (since, position) in ready {
            let Some(stored) = log.get(position) else { continue };
            match self.key(position, log) {
                Some(key) => self.give_turn(key, log, since),
                None => self.ready.push(stored.priority, since, Turn::Message(position)),
            }
        }
    }

    pub(super) fn take_permit(&mut self, position: u64, log: &Log) {
        let Some(key) = self.key(position, log) else { return };
        let lane = self.lanes.entry(key.clone()).or_default();
        lane.busy = lane.busy.saturating_add(1);
    }
}
