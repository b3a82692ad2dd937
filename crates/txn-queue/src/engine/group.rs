//! What one group has been given, waits for, and has settled.

mod order;
mod rate;
mod receive;
mod respec;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod saved;
mod settle;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    iter::repeat_n,
    sync::Arc,
    task::Waker,
};

use txn_change::Timestamp;

use super::{
    lanes::Lanes,
    leases::Leases,
    log::{Log, Stored},
    ready::Ready,
};
use crate::{
    admin::GroupStats,
    queue::{Group, Position},
    topology::{Cause, GroupSpec, Order, Start},
};
pub(crate) use receive::{Leased, Wanted};
pub(crate) use settle::last_reasons;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// For its delay, or its retry.
    Waiting,
    Ready,
    Leased,
    /// Settled, or never for this group.
    Done,
}

/// What is known of a message beside what it says itself. There is one for each message that is not settled: it is small, and nothing is done to drop it.
#[derive(Debug, Clone, Copy)]
struct Slot {
    state: State,
    /// Its permit among those of its key is kept while it waits.
    is_parked: bool,
    deliveries: u32,
    /// Where it stands in line or has a permit; `None` otherwise, and where there is no order.
    lane: Option<u32>,
    token: u64,
    /// The end of its lease, or of its waiting.
    until: Timestamp,
    batch: usize,
}

impl Slot {
    const fn new(state: State, until: Timestamp) -> Self {
        Self { state, is_parked: false, deliveries: 0, lane: None, token: 0, until, batch: 0 }
    }
}

/// Instants at which nobody waits any more, and turns, beside twice as many as there are messages, at most.
const MOVED_MAX: usize = 1_024;

/// A message that is to go to the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dying {
    pub(crate) position: u64,
    pub(crate) cause: Cause,
}

#[derive(Debug)]
pub(crate) struct GroupState {
    pub(crate) spec: GroupSpec,
    /// The first message that is not settled, and where the slots begin.
    first: u64,
    slots: VecDeque<Slot>,
    /// What workers said of messages that failed, the latest last.
    reasons: BTreeMap<u64, Vec<Arc<str>>>,
    ready: Ready,
    lanes: Lanes,
    waiting: BinaryHeap<Reverse<(Timestamp, u64)>>,
    leases: Leases,
    /// When the next message may be given, were they given one by one at the rate.
    next_at: Timestamp,
    counts: GroupStats,
    /// How often something may have become ready.
    changes: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl GroupState {
    pub(crate) fn new(spec: GroupSpec, log: &Log) -> Self {
        let mut group = Self {
            first: 0,
            slots: VecDeque::new(),
            reasons: BTreeMap::new(),
            ready: Ready::default(),
            lanes: Lanes::default(),
            waiting: BinaryHeap::new(),
            leases: Leases::default(),
            next_at: Timestamp::MIN,
            counts: GroupStats::default(),
            changes: 0,
            wakers: BTreeMap::new(),
            spec,
        };
        group.seek(group.spec.start, log);
        group
    }

    /// Begins anew at a place.
    pub(crate) fn seek(&mut self, start: Start, log: &Log) {
        let first = match start {
            Start::Beginning => log.first(),
            Start::End => log.end(),
            Start::Position(Position(position)) => position,
            Start::Time(time) => log.since(time),
        };
        self.first = first.clamp(log.first(), log.end());
        self.slots.clear();
        self.reasons.clear();
        self.ready.clear();
        self.lanes.clear();
        self.waiting.clear();
        self.leases = Leases::default();
    }

    /// The first message that is not settled.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn set_paused(&mut self, is_paused: bool) {
        self.counts.is_paused = is_paused;
    }

    /// Something may have become ready: whoever waits is to look.
    pub(crate) fn changed(&mut self, wakers: &mut Vec<Waker>) {
        self.changes = self.changes.wrapping_add(1);
        wakers.extend(std::mem::take(&mut self.wakers).into_values());
    }

    /// The waker of a wait; `None` when it has ended.
    #[cfg(feature = "memory")]
    pub(crate) fn register(&mut self, wait: u64, waker: Option<&Waker>) {
        super::register(&mut self.wakers, wait, waker);
    }

    /// Does what time has brought: ends leases, makes ready what is due, takes in what is new. Gives back what is to die.
    pub(crate) fn advance(&mut self, log: &Log, now: Timestamp) -> Vec<Dying> {
        let mut dying = Vec::new();
        if self.leases.next().is_some_and(|next| next <= now) {
            self.end_leases(self.leases.ended(now), log, now, &mut dying);
        }
        self.take_in(log, now);
        self.wake(now, log);
        self.forget_done();
        dying
    }

    fn end(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.slots.len()).unwrap_or(u64::MAX))
    }

    /// Makes ready what was waited for until then.
    fn wake(&mut self, then: Timestamp, log: &Log) {
        while let Some(Reverse((until, position))) =
            self.waiting.peek().copied().filter(|Reverse((until, _))| *until <= then)
        {
            self.waiting.pop();
            // It may have been moved, cancelled or dropped since.
            if self.slot(position).is_some_and(|slot| slot.state == State::Waiting && slot.until == until) {
                self.unpark(position);
                self.make_ready(position, log, until);
            }
        }
    }

    /// Takes in what is new, beside what was waited for, in the order in which it became due.
    fn take_in(&mut self, log: &Log, now: Timestamp) {
        while let Some((first, others)) = log.piece(self.end()).split_first() {
            let position = self.end();
            if !self.waiting.is_empty() {
                self.wake(first.accepted_at.min(now), log);
            }
            if !first.is_at_once() || self.key_of(first).is_some() {
                self.admit(position, first, log, now);
                continue;
            }
            // Those behind it that are like it stand in line together.
            let has_order = matches!(self.spec.order, Order::PerKey { .. });
            let is_like = |other: &&Stored| {
                other.is_at_once()
                    && other.accepted_at == first.accepted_at
                    && other.priority == first.priority
                    && !(has_order && other.has_key())
            };
            let count = others.iter().take_while(is_like).count().saturating_add(1);
            let since = first.accepted_at.min(now);
            self.slots.extend(repeat_n(Slot::new(State::Ready, since), count));
            self.ready.push_messages(first.priority, since, position, self.end());
        }
    }

    /// Takes in one.
    fn admit(&mut self, position: u64, stored: &Stored, log: &Log, now: Timestamp) {
        if !stored.is_for(self.spec.group.name()) {
            self.slots.push_back(Slot::new(State::Done, stored.due));
        } else if stored.due > stored.accepted_at {
            self.slots.push_back(Slot::new(State::Waiting, stored.due));
            self.waiting.push(Reverse((stored.due, position)));
        } else {
            let since = stored.accepted_at.min(now);
            self.slots.push_back(Slot::new(State::Ready, since));
            self.stand_in_line(position, stored, log, since);
        }
    }

    /// A message that waits for its delay is due at another time; or it is for nobody any more, whatever it was doing.
    pub(crate) fn rescheduled(&mut self, position: u64, log: &Log, now: Timestamp) {
        let Some(stored) = log.get(position) else { return };
        let (due, is_removed) = (stored.due, stored.is_removed);
        let Some(slot) = self.slot_mut(position) else { return };
        if is_removed {
            self.withdraw(position, log, now);
            self.set(position, State::Done, now);
            self.forget_reasons(position);
            self.forget_done();
            self.forget_moved();
            self.forget_turns(log, now);
        } else {
            slot.until = due;
            self.waiting.push(Reverse((due, position)));
            self.forget_moved();
        }
    }

    /// Forgets instants at which nobody waits any more, when they are most of all: a message may be moved without end.
    fn forget_moved(&mut self) {
        let waiting = self.slots.iter().zip(self.first..).filter(|(slot, _)| slot.state == State::Waiting);
        if self.waiting.len() > self.slots.len().saturating_mul(2).saturating_add(MOVED_MAX) {
            self.waiting = waiting.map(|(slot, position)| Reverse((slot.until, position))).collect();
        }
    }

    fn slot(&self, position: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(position.checked_sub(self.first)?).ok()?)
    }

    fn slot_mut(&mut self, position: u64) -> Option<&mut Slot> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }

    fn reasons(&self, position: u64) -> Vec<Arc<str>> {
        self.reasons.get(&position).cloned().unwrap_or_default()
    }

    /// What was said of a message is for nobody any more.
    #[inline]
    fn forget_reasons(&mut self, position: u64) {
        if !self.reasons.is_empty() {
            self.reasons.remove(&position);
        }
    }

    fn set(&mut self, position: u64, state: State, until: Timestamp) {
        if let Some(slot) = self.slot_mut(position) {
            slot.state = state;
            slot.until = until;
        }
    }

    /// What can be seen of a group that time has changed: while it is the same, nothing needs to be written.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn mark(&self) -> impl PartialEq + use<> {
        (self.first, self.slots.len(), self.ready.len(), self.waiting.len(), self.leases.live(), self.counts.expired)
    }

    /// When something will be ready by the passing of time.
    pub(crate) fn next_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        // What was moved, cancelled or dropped since is not waited for.
        while let Some(Reverse((until, position))) = self.waiting.peek().copied() {
            if self.slot(position).is_some_and(|slot| slot.state == State::Waiting && slot.until == until) {
                break;
            }
            self.waiting.pop();
        }
        let waiting = self.waiting.peek().map(|Reverse((until, _))| *until);
        let limited = (!self.ready.is_empty() && self.allowed(now) == 0).then(|| self.first_allowed());
        [waiting, self.leases.next(), limited].into_iter().flatten().min()
    }

    /// Slots at the front that are done are not needed any more.
    pub(crate) fn forget_done(&mut self) {
        let done = self.slots.iter().take_while(|slot| slot.state == State::Done).count();
        self.slots.drain(..done);
        self.first = self.first.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
    }

    pub(crate) fn stats(&self, log: &Log) -> GroupStats {
        let open = self.slots.iter().zip(self.first..).filter(|(slot, _)| slot.state != State::Done);
        let ahead = (self.end()..log.end())
            .filter(|position| log.get(*position).is_some_and(|stored| stored.is_for(self.spec.group.name())));
        let mut stats = self.counts;
        for (slot, position) in open {
            stats.depth = stats.depth.saturating_add(1);
            stats.waiting = stats.waiting.saturating_add(u64::from(slot.state == State::Waiting));
            stats.oldest = stats.oldest.or_else(|| log.get(position).map(|stored| stored.accepted_at));
        }
        for position in ahead {
            stats.depth = stats.depth.saturating_add(1);
            stats.oldest = stats.oldest.or_else(|| log.get(position).map(|stored| stored.accepted_at));
        }
        stats.leased = u64::try_from(self.leases.live()).unwrap_or(u64::MAX);
        stats
    }

    pub(crate) fn group(&self) -> &Group {
        &self.spec.group
    }
}

/// From this place among them on, as many as stand together in memory.
fn slots_from(slots: &mut VecDeque<Slot>, index: usize) -> &mut [Slot] {
    let (front, back) = slots.as_mut_slices();
    match index.checked_sub(front.len()) {
        Some(index) => back.get_mut(index..).unwrap_or_default(),
        None => front.get_mut(index..).unwrap_or_default(),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of tests")]
mod tests {
    use super::*;
    use crate::{
        message::Priority,
        name::{GroupName, Key, Topic, WorkerId},
    };

    fn stored(key: Option<Key>, accepted_at: Timestamp, due: Timestamp) -> Stored {
        Stored::new(key, Priority::default(), [accepted_at, due, Timestamp::MAX], None)
    }

    /// A group that is paused takes no turns, while the oldest messages go, or are cancelled, and others come.
    #[test]
    fn what_goes_from_a_paused_group_takes_no_more_memory() {
        let group = Group::new(Topic::new("t").expect("a name"), GroupName::new("g").expect("a name"));
        for (has_keys, is_cancelled) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut log = Log::default();
            let mut state = GroupState::new(GroupSpec::new(group.clone()), &log);
            state.set_paused(true);
            for number in 0..20_000u64 {
                // One key always has a message, and the turn before all others.
                let key = if number % 2 == 0 { "hot".to_owned() } else { number.to_string() };
                let key = has_keys.then(|| Key::new(key).expect("a key"));
                let now = Timestamp::from_nanos(i64::try_from(number).expect("few"));
                let position = log.push(stored(key, now, now));
                state.advance(&log, now);
                if let Some(oldest) = position.checked_sub(10).filter(|_| is_cancelled) {
                    log.get_mut(oldest).expect("it is there").is_removed = true;
                    state.rescheduled(oldest, &log, now);
                } else if log.len() > 10 {
                    state.drop_first(&log, now);
                    log.drop_first(1, |_, _| {});
                }
            }
            assert!(state.ready.turns() <= 2 * MOVED_MAX, "{}", state.ready.turns());
            assert!(state.lanes.len() <= 2 * MOVED_MAX, "{}", state.lanes.len());
            state.set_paused(false);
            let worker = WorkerId::new("w").expect("a name");
            let now = Timestamp::from_nanos(20_000);
            let mut given = Vec::new();
            for _ in 0..20 {
                let wanted = Wanted { worker: &worker, max: 100, until: Timestamp::MAX };
                state.receive_each(wanted, &log, now, &mut 0, |leased, _| given.push(leased.position));
                for position in log.first()..log.end() {
                    if state.slot(position).is_some_and(|slot| slot.state == State::Leased) {
                        state.done(position, &log, now);
                    }
                }
            }
            given.sort_unstable();
            assert_eq!(given, (19_990..20_000).collect::<Vec<u64>>());
            assert!(state.ready.is_empty());
        }
    }

    #[test]
    fn a_message_that_is_moved_without_end_takes_no_more_memory() {
        let group = Group::new(Topic::new("t").expect("a name"), GroupName::new("g").expect("a name"));
        let (now, due) = (Timestamp::from_nanos(0), Timestamp::from_nanos(1));
        let mut log = Log::default();
        log.push(stored(None, now, due));
        let mut state = GroupState::new(GroupSpec::new(group), &log);
        state.advance(&log, now);
        for nanos in 2..100_000 {
            log.get_mut(0).expect("it is there").due = Timestamp::from_nanos(nanos);
            state.rescheduled(0, &log, now);
        }
        assert!(state.waiting.len() < 2 * MOVED_MAX, "{}", state.waiting.len());
        assert_eq!(state.next_at(now), Some(Timestamp::from_nanos(99_999)));
    }
}
