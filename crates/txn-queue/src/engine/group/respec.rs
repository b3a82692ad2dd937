//! A group that is declared as another than it was.

use txn_change::Timestamp;

use super::{GroupState, State};
use crate::{
    engine::log::Log,
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
            slot.lane = None;
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
        // Lines are filled before turns are given.
        for (since, position) in &ready {
            self.fill_line(*position, log, *since);
        }
        for (since, position) in ready {
            match (self.slot(position).and_then(|slot| slot.lane), log.get(position)) {
                (Some(lane), _) => self.give_turn(lane, log, since),
                (None, Some(stored)) => self.ready.push_message(stored.priority, since, position),
                (None, None) => {}
            }
        }
    }
}
