//! What one group has been given, waits for, and has settled.

mod rate;
mod respec;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod saved;
mod settle;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    task::Waker,
};

use foldhash::fast::RandomState;
use txn_change::Timestamp;

use super::{
    leases::Leases,
    log::{Log, Stored},
    ready::{Ready, Turn},
};
use crate::{
    admin::GroupStats,
    name::{Key, WorkerId},
    queue::{Group, Position},
    topology::{Cause, GroupSpec, Order, Start},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// For its delay, or its retry.
    Waiting,
    Ready,
    Leased,
    /// Settled, or never for this group.
    Done,
}

#[derive(Debug)]
struct Slot {
    state: State,
    /// Its permit among those of its key is kept while it waits.
    is_parked: bool,
    deliveries: u32,
    token: u64,
    /// The end of its lease, or of its waiting.
    until: Timestamp,
    batch: usize,
    reasons: Vec<Arc<str>>,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl Slot {
    /// It has never been delivered.
    const fn is_fresh(&self) -> bool {
        self.deliveries == 0 && self.reasons.is_empty()
    }
}

/// Instants at which nobody waits any more, beside twice as many as there are messages, at most.
const MOVED_MAX: usize = 1_024;

/// The messages of one key.
#[derive(Debug, Default)]
struct Lane {
    /// Those that are ready, in the order in which they became due.
    line: BTreeSet<(Timestamp, u64)>,
    /// Permits in use: leased, or parked.
    busy: u32,
    has_turn: bool,
}

/// What a worker asks of one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) worker: &'a WorkerId,
    pub(crate) max: usize,
    /// When the lease ends.
    pub(crate) until: Timestamp,
}

/// A message that a worker was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leased {
    pub(crate) position: u64,
    pub(crate) token: u64,
    pub(crate) deliveries: u32,
}

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
    ready: Ready,
    lanes: HashMap<Key, Lane, RandomState>,
    waiting: BinaryHeap<Reverse<(Timestamp, u64)>>,
    leases: Leases,
    /// When the next message may be given, were they given one by one at the rate.
    next_at: Timestamp,
    counts: GroupStats,
    /// How often something may have become ready.
    changes: u64,
    wakers: Vec<Waker>,
}

impl GroupState {
    pub(crate) fn new(spec: GroupSpec, log: &Log) -> Self {
        let mut group = Self {
            first: 0,
            slots: VecDeque::new(),
            ready: Ready::default(),
            lanes: HashMap::default(),
            waiting: BinaryHeap::new(),
            leases: Leases::default(),
            next_at: Timestamp::MIN,
            counts: GroupStats::default(),
            changes: 0,
            wakers: Vec::new(),
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
        wakers.append(&mut self.wakers);
    }

    pub(crate) fn register(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    /// Does what time has brought: ends leases, makes ready what is due, takes in what is new. Gives back what is to die.
    pub(crate) fn advance(&mut self, log: &Log, now: Timestamp) -> Vec<Dying> {
        let mut dying = Vec::new();
        if self.leases.next().is_some_and(|next| next <= now) {
            self.end_leases(self.leases.ended(now), log, now, &mut dying);
        }
        // What is new and what was waited for, in the order in which they became due.
        for position in self.end()..log.end() {
            let Some(stored) = log.get(position) else { continue };
            self.wake(stored.accepted_at.min(now), log);
            self.admit(position, stored, log, now);
        }
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
                self.unpark(position, log);
                self.make_ready(position, log, until);
            }
        }
    }

    fn admit(&mut self, position: u64, stored: &Stored, log: &Log, now: Timestamp) {
        let is_mine = stored.is_for(self.spec.group.name());
        let state = if is_mine { State::Waiting } else { State::Done };
        self.slots.push_back(Slot {
            state,
            is_parked: false,
            deliveries: 0,
            token: 0,
            until: stored.due,
            batch: 0,
            reasons: Vec::new(),
        });
        if is_mine && stored.due <= stored.accepted_at {
            self.make_ready(position, log, stored.accepted_at.min(now));
        } else if is_mine {
            self.waiting.push(Reverse((stored.due, position)));
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
            self.forget_done();
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

    fn set(&mut self, position: u64, state: State, until: Timestamp) {
        if let Some(slot) = self.slot_mut(position) {
            slot.state = state;
            slot.until = until;
        }
    }

    /// How many of a key at a time; `None` where there is no order.
    const fn at_once(&self) -> Option<u32> {
        match self.spec.order {
            Order::None => None,
            Order::PerKey { at_once, .. } => Some(at_once.get()),
        }
    }

    fn key<'l>(&self, position: u64, log: &'l Log) -> Option<&'l Key> {
        self.at_once()?;
        log.get(position)?.key.as_ref()
    }

    fn make_ready(&mut self, position: u64, log: &Log, since: Timestamp) {
        let Some(stored) = log.get(position) else { return };
        match self.key(position, log) {
            None => {
                self.set(position, State::Ready, since);
                self.ready.push(stored.priority, since, Turn::Message(position));
            }
            Some(key) => {
                self.line_up(position, log, since);
                self.give_turn(key, log, since);
            }
        }
    }

    /// Puts a message in the line of its key.
    fn line_up(&mut self, position: u64, log: &Log, since: Timestamp) {
        let (Some(stored), Some(key)) = (log.get(position), self.key(position, log)) else { return };
        self.set(position, State::Ready, since);
        let place = (stored.became_due(), position);
        match self.lanes.get_mut(key) {
            Some(lane) => lane.line.insert(place),
            None => self.lanes.entry(key.clone()).or_default().line.insert(place),
        };
    }

    /// Puts a key in line that has something to deliver, or forgets one that has nothing at all.
    fn give_turn(&mut self, key: &Key, log: &Log, now: Timestamp) {
        let at_once = self.at_once().unwrap_or(u32::MAX);
        let Some(lane) = self.lanes.get_mut(key) else { return };
        match lane.line.first() {
            None if lane.busy == 0 && !lane.has_turn => {
                self.lanes.remove(key);
            }
            Some((_, head)) if !lane.has_turn && lane.busy < at_once => {
                lane.has_turn = true;
                let priority = log.get(*head).map(|stored| stored.priority).unwrap_or_default();
                self.ready.push(priority, now, Turn::Key(key.clone()));
            }
            _ => {}
        }
    }

    fn free_permit(&mut self, position: u64, log: &Log, now: Timestamp) {
        let Some(key) = self.key(position, log) else { return };
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.busy = lane.busy.saturating_sub(1);
        }
        self.give_turn(key, log, now);
    }

    fn unpark(&mut self, position: u64, log: &Log) {
        let Some(slot) = self.slot_mut(position) else { return };
        if !std::mem::take(&mut slot.is_parked) {
            return;
        }
        if let Some(lane) = self.key(position, log).and_then(|key| self.lanes.get_mut(key)) {
            lane.busy = lane.busy.saturating_sub(1);
        }
    }

    /// The next message to deliver; its permit is taken.
    fn pick(&mut self, log: &Log, now: Timestamp) -> Option<u64> {
        loop {
            match self.ready.pop(self.spec.ageing)? {
                Turn::Message(position) => {
                    if self.slot(position).is_some_and(|slot| slot.state == State::Ready) {
                        return Some(position);
                    }
                }
                Turn::Key(key) => {
                    let at_once = self.at_once().unwrap_or(u32::MAX);
                    let Some(lane) = self.lanes.get_mut(&key) else { continue };
                    lane.has_turn = false;
                    let first = if lane.busy < at_once { lane.line.pop_first() } else { None };
                    if first.is_some() {
                        lane.busy = lane.busy.saturating_add(1);
                    }
                    self.give_turn(&key, log, now);
                    if let Some((_, position)) = first {
                        return Some(position);
                    }
                }
            }
        }
    }

    /// Leases what is ready. `tokens` gives a new one each time.
    pub(crate) fn receive(&mut self, wanted: Wanted<'_>, log: &Log, now: Timestamp, tokens: &mut u64) -> Vec<Leased> {
        if self.counts.is_paused {
            return Vec::new();
        }
        let free = self.spec.in_flight_max.saturating_sub(self.leases.live());
        let max = wanted.max.min(free).min(self.allowed(now));
        let mut leased = Vec::with_capacity(max.min(self.slots.len()));
        let batch = self.leases.next_number();
        while leased.len() < max
            && let Some(position) = self.pick(log, now)
        {
            let Some(stored) = log.get(position) else { continue };
            if stored.is_removed || stored.expires <= now {
                let is_expired = !stored.is_removed;
                self.counts.expired = self.counts.expired.saturating_add(u64::from(is_expired));
                self.done(position, log, now);
                continue;
            }
            *tokens = tokens.wrapping_add(1);
            let Some(slot) = self.slot_mut(position) else { continue };
            slot.state = State::Leased;
            slot.until = wanted.until;
            slot.token = *tokens;
            slot.batch = batch;
            slot.deliveries = slot.deliveries.saturating_add(1);
            leased.push(Leased { position, token: *tokens, deliveries: slot.deliveries });
        }
        self.forget_done();
        if !leased.is_empty() {
            let count = u64::try_from(leased.len()).unwrap_or(u64::MAX);
            self.counts.delivered = self.counts.delivered.saturating_add(count);
            self.spend(count, now);
            let items = leased.iter().map(|leased| (leased.position, leased.token)).collect();
            self.leases.add(wanted.until, wanted.worker.clone(), items);
        }
        leased
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
        while self.slots.front().is_some_and(|slot| slot.state == State::Done) {
            self.slots.pop_front();
            self.first = self.first.saturating_add(1);
        }
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

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of tests")]
mod tests {
    use super::*;
    use crate::{
        message::Priority,
        name::{GroupName, Topic},
    };

    #[test]
    fn a_message_that_is_moved_without_end_takes_no_more_memory() {
        let group = Group::new(Topic::new("t").expect("a name"), GroupName::new("g").expect("a name"));
        let (now, due, expires) = (Timestamp::from_nanos(0), Timestamp::from_nanos(1), Timestamp::MAX);
        let (key, only, carried, priority) = (None, None, None, Priority::default());
        let mut log = Log::default();
        log.push(Stored {
            key,
            priority,
            accepted_at: now,
            due,
            expires,
            only,
            is_removed: false,
            is_moved: false,
            carried,
        });
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
