//! What a group holds, as data: enough to go on from it, without what can be seen from the messages alone.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use txn_change::Timestamp;

use super::{GroupState, Leased, Slot, State, Wanted};
use crate::{
    admin::GroupStats,
    engine::{leases::Held, log::Log, ready::Turn},
    message::Priority,
    name::{Key, WorkerId},
    topology::GroupSpec,
};

/// A group, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedGroup {
    spec: GroupSpec,
    first: u64,
    /// Behind the last message that it had taken in.
    end: u64,
    next_at: i64,
    counts: GroupStats,
    /// What differs from a message that was never delivered, by its distance from `first`.
    slots: Vec<(u64, SavedSlot)>,
    /// Who holds something.
    workers: Vec<WorkerId>,
    /// The turns of keys, and of messages that do not stand in their order.
    turns: Vec<SavedTurn>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum SavedSlot {
    Done,
    Again { deliveries: u32, until: i64, is_waiting: bool, is_parked: bool, reasons: Vec<Arc<str>> },
    Leased { deliveries: u32, until: i64, token: u64, worker: u32, reasons: Vec<Arc<str>> },
}

/// A turn, where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedTurn {
    level: u8,
    /// So many turns of its level stand before it.
    place: u64,
    since: i64,
    head: Head,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Head {
    /// The message, or the first of its key.
    Message(u64),
    /// A key whose messages were dropped since.
    Key(Key),
}

impl GroupState {
    /// What the group holds, when that was its last instant.
    pub(crate) fn save(&self, log: &Log, at: Timestamp) -> SavedGroup {
        let mut workers: Vec<WorkerId> = Vec::new();
        let mut numbers: BTreeMap<WorkerId, u32> = BTreeMap::new();
        let mut slots = Vec::new();
        for (slot, offset) in self.slots.iter().zip(0u64..) {
            let position = self.first.saturating_add(offset);
            let Some(stored) = log.get(position) else { continue };
            let is_fresh = slot.deliveries == 0 && !self.reasons.contains_key(&position);
            let Slot { deliveries, token, is_parked, .. } = *slot;
            let (until, reasons) = (slot.until.as_nanos(), self.reasons(position));
            let saved = match slot.state {
                State::Done => SavedSlot::Done,
                State::Leased => {
                    let Some(worker) = self.leases.worker(slot.batch) else { continue };
                    let worker = *numbers.entry(worker.clone()).or_insert_with(|| {
                        workers.push(worker.clone());
                        u32::try_from(workers.len().saturating_sub(1)).unwrap_or(u32::MAX)
                    });
                    SavedSlot::Leased { deliveries, until, token, worker, reasons }
                }
                // What the message says is all there is.
                State::Waiting if is_fresh && slot.until == stored.due && stored.due > at => continue,
                State::Ready if is_fresh && slot.until == stored.became_due() && stored.due <= at => continue,
                State::Waiting | State::Ready => {
                    let is_waiting = slot.state == State::Waiting;
                    SavedSlot::Again { deliveries, until, is_waiting, is_parked, reasons }
                }
            };
            slots.push((offset, saved));
        }
        let (spec, counts) = (self.spec.clone(), self.counts);
        SavedGroup {
            spec,
            first: self.first,
            end: self.end(),
            next_at: self.next_at.as_nanos(),
            counts,
            slots,
            workers,
            turns: self.turns(),
        }
    }

    /// Those that cannot be told from the messages: messages of a level stand in the order in which they became ready, by their places.
    fn turns(&self) -> Vec<SavedTurn> {
        let mut saved = Vec::new();
        for (line, level) in self.ready.lines().zip(0u8..) {
            let (mut place, mut last) = (0u64, (Timestamp::MIN, 0));
            let mut save = |since: Timestamp, head: Head, is_told: bool| {
                if !is_told {
                    saved.push(SavedTurn { level, place, since: since.as_nanos(), head });
                }
                place = place.saturating_add(1);
            };
            for (since, turn) in line {
                match *turn {
                    Turn::Lane(number) => {
                        let Some(lane) = self.lanes.get(number) else { continue };
                        let first = lane.line.first().map(|(_, head)| Head::Message(head));
                        if let Some(head) = first.or_else(|| lane.key().cloned().map(Head::Key)) {
                            save(*since, head, false);
                        }
                    }
                    Turn::Messages { first, end } => {
                        for head in first..end {
                            // It may have been dropped since.
                            let Some(slot) = self.slot(head).filter(|slot| slot.state == State::Ready) else {
                                continue;
                            };
                            let is_told = (*since, head) >= last && slot.until == *since;
                            last = if is_told { (*since, head) } else { last };
                            save(*since, Head::Message(head), is_told);
                        }
                    }
                }
            }
        }
        saved
    }

    /// The group as it was, over the log that it was saved beside.
    pub(crate) fn restore(saved: SavedGroup, log: &Log, now: Timestamp) -> Self {
        let mut group = Self::new(saved.spec, log);
        group.first = saved.first;
        group.next_at = Timestamp::from_nanos(saved.next_at);
        group.counts = saved.counts;
        let mut known: BTreeMap<u64, SavedSlot> = saved.slots.into_iter().collect();
        let mut ready = Vec::new();
        let mut leased: BTreeMap<(i64, u32), Vec<(u64, u64)>> = BTreeMap::new();
        for position in saved.first..saved.end {
            let Some(stored) = log.get(position) else { continue };
            let offset = position.saturating_sub(saved.first);
            let Some(slot) = known.remove(&offset) else {
                let waits = stored.due > now;
                group.push_slot(
                    if stored.is_for(group.spec.group.name()) { State::Waiting } else { State::Done },
                    stored.due,
                );
                if !stored.is_for(group.spec.group.name()) {
                } else if waits {
                    group.waiting.push(Reverse((stored.due, position)));
                } else {
                    ready.push((stored.became_due(), position));
                }
                continue;
            };
            match slot {
                SavedSlot::Done => group.push_slot(State::Done, now),
                SavedSlot::Again { deliveries, until, is_waiting, is_parked, reasons } => {
                    let until = Timestamp::from_nanos(until);
                    group.push_slot(State::Waiting, until);
                    if let Some(slot) = group.slots.back_mut() {
                        (slot.deliveries, slot.is_parked) = (deliveries, is_parked);
                    }
                    group.restore_reasons(position, reasons);
                    if is_waiting {
                        group.waiting.push(Reverse((until, position)));
                    } else {
                        ready.push((until, position));
                    }
                    if is_parked {
                        group.take_permit(position, log);
                    }
                }
                SavedSlot::Leased { deliveries, until, token, worker, reasons } => {
                    group.push_slot(State::Leased, Timestamp::from_nanos(until));
                    if let Some(slot) = group.slots.back_mut() {
                        (slot.deliveries, slot.token) = (deliveries, token);
                    }
                    group.restore_reasons(position, reasons);
                    group.take_permit(position, log);
                    leased.entry((until, worker)).or_default().push((position, token));
                }
            }
        }
        for ((until, worker), items) in leased {
            let worker = usize::try_from(worker).ok().and_then(|worker| saved.workers.get(worker).cloned());
            let Some(worker) = worker else { continue };
            let positions: Vec<u64> = items.iter().map(|(position, _)| *position).collect();
            let batch = group.leases.add(Timestamp::from_nanos(until), worker, items.into_iter().collect());
            for position in positions {
                if let Some(slot) = group.slot_mut(position) {
                    slot.batch = batch;
                }
            }
        }
        group.line_all_up(ready, saved.turns, log);
        group
    }

    /// Gives everything that is ready the turn that it had.
    fn line_all_up(&mut self, mut ready: Vec<(Timestamp, u64)>, turns: Vec<SavedTurn>, log: &Log) {
        ready.sort_unstable();
        let (keyed, free): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|(_, position)| self.key(*position, log).is_some());
        // Lines are filled before turns are given, so that each key has the turn that it had.
        for (since, position) in &keyed {
            self.fill_line(*position, log, *since);
        }
        let told = turns.iter().filter_map(|turn| match turn.head {
            Head::Message(position) => Some(position),
            Head::Key(_) => None,
        });
        let told: BTreeSet<u64> = told.collect();
        let mut lines: BTreeMap<u8, VecDeque<(Timestamp, u64)>> = BTreeMap::new();
        for (since, position) in free {
            self.set(position, State::Ready, since);
            let Some(stored) = log.get(position).filter(|_| !told.contains(&position)) else { continue };
            lines.entry(stored.priority.level()).or_default().push_back((since, position));
        }
        let mut turns = turns.into_iter().peekable();
        for level in 0..=Priority::FIRST.level() {
            let mut line = lines.remove(&level).unwrap_or_default();
            let mut place = 0u64;
            loop {
                let told = turns.next_if(|turn| turn.level == level && (turn.place <= place || line.is_empty()));
                let told = told.map(|turn| (Timestamp::from_nanos(turn.since), turn.head));
                let next = || line.pop_front().map(|(since, position)| (since, Head::Message(position)));
                let Some((since, head)) = told.or_else(next) else { break };
                self.put_turn(level, since, head, log);
                place = place.saturating_add(1);
            }
        }
        for (since, position) in keyed {
            if let Some(number) = self.slot(position).and_then(|slot| slot.lane) {
                self.give_turn(number, log, since);
            }
        }
    }

    fn put_turn(&mut self, level: u8, since: Timestamp, head: Head, log: &Log) {
        let priority = Priority::new(level).unwrap_or_default();
        let key = match &head {
            Head::Key(key) => Some(key),
            Head::Message(position) => self.key(*position, log),
        };
        if let Some(key) = key {
            let number = self.lanes.enter(key);
            if let Some(lane) = self.lanes.get_mut(number) {
                lane.has_turn = true;
            }
            self.ready.push_lane(priority, since, number);
        } else if let Head::Message(position) = head {
            self.ready.push_message(priority, since, position);
        }
    }

    fn restore_reasons(&mut self, position: u64, reasons: Vec<Arc<str>>) {
        if !reasons.is_empty() {
            self.reasons.insert(position, reasons);
        }
    }

    fn push_slot(&mut self, state: State, until: Timestamp) {
        self.slots.push_back(Slot::new(state, until));
    }

    /// Leases exactly these messages, as another process did: what it came to is what counts, should this one choose others.
    pub(crate) fn receive_as(&mut self, wanted: Wanted<'_>, got: &[u64], log: &Log, now: Timestamp, token: u64) {
        let mut tokens = token;
        let leased = self.receive(wanted, log, now, &mut tokens);
        if leased.iter().map(|leased| leased.position).eq(got.iter().copied()) {
            return;
        }
        for Leased { position, token, .. } in leased {
            self.take_back(position, token, log, now);
        }
        self.lease_these(wanted, got, log, now, token);
    }

    /// Undoes a lease as if it had never been.
    fn take_back(&mut self, position: u64, token: u64, log: &Log, now: Timestamp) {
        let Some(slot) = self.slot_mut(position).filter(|slot| slot.token == token) else { return };
        slot.deliveries = slot.deliveries.saturating_sub(1);
        let batch = slot.batch;
        self.leases.end(batch);
        self.counts.delivered = self.counts.delivered.saturating_sub(1);
        self.again(position, log, now);
    }

    fn lease_these(&mut self, wanted: Wanted<'_>, got: &[u64], log: &Log, now: Timestamp, token: u64) {
        let batch = self.leases.next_number();
        let mut held = Held::default();
        for (position, number) in got.iter().copied().zip(1u64..) {
            let Some(stored) = log.get(position) else { continue };
            let due = stored.became_due();
            let Some(slot) = self.slot_mut(position) else { continue };
            if matches!(slot.state, State::Done | State::Leased) {
                continue;
            }
            let token = token.wrapping_add(number);
            slot.state = State::Leased;
            (slot.until, slot.token, slot.batch) = (wanted.until, token, batch);
            slot.deliveries = slot.deliveries.saturating_add(1);
            self.unpark(position);
            // Its permit first, so that its lane is not left between.
            self.take_permit(position, log);
            let lane = self.slot(position).and_then(|slot| slot.lane);
            if let Some(lane) = lane.and_then(|number| self.lanes.get_mut(number)) {
                lane.line.remove((due, position));
            }
            held.push(position, token);
        }
        let count = u64::try_from(held.len()).unwrap_or(u64::MAX);
        self.counts.delivered = self.counts.delivered.saturating_add(count);
        self.spend(count, now);
        if count > 0 {
            self.leases.add(wanted.until, wanted.worker.clone(), held);
        }
    }
}
