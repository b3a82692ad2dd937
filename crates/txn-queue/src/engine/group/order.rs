//! Who stands where: messages that are ready, and the lanes of those that follow each other.

use txn_change::Timestamp;

use super::{GroupState, MOVED_MAX, State};
use crate::{
    engine::{
        log::{Log, Stored},
        ready::Turn,
    },
    name::Key,
    topology::Order,
};

impl GroupState {
    /// How many of a key at a time; `None` where there is no order.
    const fn at_once(&self) -> Option<u32> {
        match self.spec.order {
            Order::None => None,
            Order::PerKey { at_once, .. } => Some(at_once.get()),
        }
    }

    /// What a message is ordered by.
    pub(super) fn key_of<'l>(&self, stored: &'l Stored) -> Option<&'l Key> {
        self.at_once()?;
        stored.key()
    }

    pub(super) fn key<'l>(&self, position: u64, log: &'l Log) -> Option<&'l Key> {
        self.key_of(log.get(position)?)
    }

    pub(super) fn make_ready(&mut self, position: u64, log: &Log, since: Timestamp) {
        let Some(stored) = log.get(position) else { return };
        self.set(position, State::Ready, since);
        self.stand_in_line(position, stored, log, since);
    }

    /// Puts a message that is ready where its turn will come.
    pub(super) fn stand_in_line(&mut self, position: u64, stored: &Stored, log: &Log, since: Timestamp) {
        match self.key_of(stored) {
            None => self.ready.push_message(stored.priority, since, position),
            Some(key) => {
                let lane = self.line_up(position, stored, key);
                self.give_turn(lane, log, since);
            }
        }
    }

    /// Puts a message in the line of its key, and tells which lane that is.
    pub(super) fn line_up(&mut self, position: u64, stored: &Stored, key: &Key) -> u32 {
        let known = self.slot(position).and_then(|slot| slot.lane);
        let number = known.unwrap_or_else(|| self.lanes.enter(key));
        if let Some(slot) = self.slot_mut(position) {
            slot.lane = Some(number);
        }
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.line.insert((stored.became_due(), position));
        }
        number
    }

    /// Makes a message with a key ready, and leaves the turn of its lane for later.
    pub(super) fn fill_line(&mut self, position: u64, log: &Log, since: Timestamp) {
        let Some(stored) = log.get(position) else { return };
        if let Some(key) = self.key_of(stored) {
            self.set(position, State::Ready, since);
            self.line_up(position, stored, key);
        }
    }

    /// Puts a lane in line that has something to deliver, or forgets one that has nothing at all.
    pub(super) fn give_turn(&mut self, number: u32, log: &Log, now: Timestamp) {
        let at_once = self.at_once().unwrap_or(u32::MAX);
        let Some(lane) = self.lanes.get_mut(number) else { return };
        match lane.line.first() {
            None if lane.busy == 0 && !lane.has_turn => self.lanes.leave(number),
            Some((_, head)) if !lane.has_turn && lane.busy < at_once => {
                lane.has_turn = true;
                let priority = log.get(head).map(|stored| stored.priority).unwrap_or_default();
                self.ready.push_lane(priority, now, number);
            }
            _ => {}
        }
    }

    /// Forgets turns of messages that have gone, when they are most of all: nobody takes those of a group that is paused. A key without messages loses its place with them.
    pub(super) fn forget_turns(&mut self, log: &Log, now: Timestamp) {
        if self.ready.turns() <= self.slots.len().saturating_mul(2).saturating_add(MOVED_MAX) {
            return;
        }
        let (lanes, slots, offset) = (&self.lanes, &self.slots, self.first);
        let index = |position: u64| usize::try_from(position.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut without = Vec::new();
        self.ready.retain(|turn| match turn {
            Turn::Messages { first, end } => {
                let (first, end) = (index(first).min(slots.len()), index(end).min(slots.len()));
                slots.range(first..end).any(|slot| slot.state == State::Ready)
            }
            Turn::Lane(number) => {
                let has_more = lanes.get(number).is_some_and(|lane| lane.line.first().is_some());
                if !has_more {
                    without.push(number);
                }
                has_more
            }
        });
        for number in without {
            if let Some(lane) = self.lanes.get_mut(number) {
                lane.has_turn = false;
            }
            self.give_turn(number, log, now);
        }
    }

    /// The first message of a lane whose turn it is; its permit is taken.
    pub(super) fn pick(&mut self, number: u32, log: &Log, now: Timestamp) -> Option<u64> {
        let at_once = self.at_once().unwrap_or(u32::MAX);
        let lane = self.lanes.get_mut(number)?;
        lane.has_turn = false;
        let first = if lane.busy < at_once { lane.line.pop_first() } else { None };
        if first.is_some() {
            lane.busy = lane.busy.saturating_add(1);
        }
        self.give_turn(number, log, now);
        first.map(|(_, position)| position)
    }

    pub(super) fn take_permit(&mut self, position: u64, log: &Log) {
        let Some(key) = self.key(position, log) else { return };
        let number = self.lanes.enter(key);
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.busy = lane.busy.saturating_add(1);
        }
        if let Some(slot) = self.slot_mut(position) {
            slot.lane = Some(number);
        }
    }

    pub(super) fn free_permit(&mut self, lane: Option<u32>, log: &Log, now: Timestamp) {
        let Some(number) = lane else { return };
        if let Some(lane) = self.lanes.get_mut(number) {
            lane.busy = lane.busy.saturating_sub(1);
        }
        self.give_turn(number, log, now);
    }

    /// A message that was parked gives its permit back; it is about to be lined up, or given.
    pub(super) fn unpark(&mut self, position: u64) {
        let Some(slot) = self.slot_mut(position) else { return };
        if !std::mem::take(&mut slot.is_parked) {
            return;
        }
        let lane = slot.lane;
        if let Some(lane) = lane.and_then(|number| self.lanes.get_mut(number)) {
            lane.busy = lane.busy.saturating_sub(1);
        }
    }
}
