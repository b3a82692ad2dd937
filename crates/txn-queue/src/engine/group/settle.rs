//! How a delivery ends: settled by its worker, with its lease, or with the message itself.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use txn_change::Timestamp;

#[cfg(feature = "memory")]
use super::slots_from;
use super::{Dying, GroupState, Slot, State};
use crate::{
    engine::{leases::Held, log::Log},
    name::WorkerId,
    queue::{Action, Lease, Settled},
    topology::{BehindRetry, Cause, Death, Order},
};

/// So many reasons of a message are kept.
const REASONS_MAX: usize = 8;

/// The last reasons of a message that may have died before.
pub(crate) fn last_reasons(before: Option<&Death>, reasons: Vec<Arc<str>>) -> Vec<Arc<str>> {
    let before = before.map(|death| death.reasons.as_slice()).unwrap_or_default();
    let excess = before.len().saturating_add(reasons.len()).saturating_sub(REASONS_MAX);
    before.iter().cloned().chain(reasons).skip(excess).collect()
}

/// How long a message waits that is dead while its dead letters have no room.
const DEAD_PAUSE: Duration = Duration::from_secs(60);

impl GroupState {
    /// Settles one delivery. What is to die is added to `dying`.
    pub(crate) fn settle(
        &mut self,
        lease: &Lease,
        action: &Action,
        log: &Log,
        now: Timestamp,
        dying: &mut Vec<Dying>,
    ) -> Settled {
        self.settle_since(lease, action, log, now, now, dying)
    }

    /// Settles deliveries, each as [`Self::settle`] does. Acknowledgements of what was received together are counted together.
    #[cfg(feature = "memory")]
    pub(crate) fn settle_all(
        &mut self,
        batch: &[crate::queue::Settle],
        log: &Log,
        now: Timestamp,
        dying: &mut Vec<Dying>,
        results: &mut Vec<Settled>,
    ) {
        let mut rest = batch;
        loop {
            let acked = self.ack_all(rest, now, results);
            (_, rest) = rest.split_at(acked.min(rest.len()));
            if acked == 0 {
                break;
            }
        }
        let (mut together, mut count) = (0, 0usize);
        results.extend(rest.iter().map(|crate::queue::Settle { lease, action }| {
            let position = lease.position.0;
            let Some(slot) = self.slot_mut(position).filter(|_| matches!(action, Action::Ack)) else {
                return self.settle(lease, action, log, now, dying);
            };
            let found = slot.admits(lease, now);
            if found != Settled::Applied {
                return found;
            }
            let (batch, lane) = (slot.batch, slot.done(now));
            if batch != together {
                self.acked(std::mem::replace(&mut together, batch), std::mem::take(&mut count));
            }
            count = count.saturating_add(1);
            self.forget_reasons(position);
            self.free_permit(lane, log, now);
            Settled::Applied
        }));
        self.acked(together, count);
    }

    /// Settles the first of these, as many as acknowledge what follows each other, was received together and holds up nobody. Tells how many.
    #[cfg(feature = "memory")]
    fn ack_all(&mut self, batch: &[crate::queue::Settle], now: Timestamp, results: &mut Vec<Settled>) -> usize {
        let Some(first) = batch.first().filter(|_| self.reasons.is_empty()) else { return 0 };
        let mut position = first.lease.position.0;
        let index = position.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let slots = slots_from(&mut self.slots, index.unwrap_or(usize::MAX));
        let together = slots.first().map_or(0, |slot| slot.batch);
        let (before, mut count) = (results.len(), 0usize);
        for (crate::queue::Settle { lease, action }, slot) in batch.iter().zip(slots) {
            let is_next = lease.position.0 == position && slot.batch == together && slot.lane.is_none();
            if !is_next || !matches!(action, Action::Ack) {
                break;
            }
            let found = slot.admits(lease, now);
            if found == Settled::Applied {
                slot.done(now);
                count = count.saturating_add(1);
            }
            results.push(found);
            position = position.saturating_add(1);
        }
        self.acked(together, count);
        results.len().saturating_sub(before)
    }

    #[cfg(feature = "memory")]
    fn acked(&mut self, batch: usize, count: usize) {
        if count > 0 {
            self.leases.end_many(batch, count);
            self.counts.acked = self.counts.acked.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    /// The same for a delivery that was settled before now, when its lease had not ended; nobody has ended it since.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn settle_late(
        &mut self,
        lease: &Lease,
        action: &Action,
        log: &Log,
        now: Timestamp,
        dying: &mut Vec<Dying>,
    ) -> Settled {
        self.settle_since(lease, action, log, Timestamp::MIN, now, dying)
    }

    /// What settling it now would come to.
    #[cfg(feature = "postgres")]
    pub(crate) fn examine(&self, lease: &Lease, log: &Log, now: Timestamp) -> Settled {
        let position = lease.position.0;
        match self.slot(position).map_or(Settled::Gone, |slot| slot.admits(lease, now)) {
            Settled::Applied if log.get(position).is_none_or(|stored| stored.is_removed) => Settled::Gone,
            found => found,
        }
    }

    /// The leases that end by now, each with its token.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn ending(&self, now: Timestamp) -> Vec<(u64, u64)> {
        if self.leases.next().is_none_or(|next| next > now) {
            return Vec::new();
        }
        self.live(self.leases.ended(now))
    }

    /// The leases of a worker, each with its token.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn held_by(&self, worker: &WorkerId) -> Vec<(u64, u64)> {
        self.live(self.leases.of(worker))
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn live(&self, leases: Vec<(usize, u64, u64)>) -> Vec<(u64, u64)> {
        let live = leases.into_iter().filter(|(batch, position, token)| {
            self.slot(*position)
                .is_some_and(|slot| slot.state == State::Leased && slot.token == *token && slot.batch == *batch)
        });
        live.map(|(_, position, token)| (position, token)).collect()
    }

    fn settle_since(
        &mut self,
        lease: &Lease,
        action: &Action,
        log: &Log,
        since: Timestamp,
        now: Timestamp,
        dying: &mut Vec<Dying>,
    ) -> Settled {
        let position = lease.position.0;
        let deliveries_max = self.spec.deliveries_max.get();
        let Some(slot) = self.slot_mut(position) else { return Settled::Gone };
        let found = slot.admits(lease, since);
        if found != Settled::Applied {
            return found;
        }
        let batch = slot.batch;
        if log.get(position).is_none_or(|stored| stored.is_removed) {
            self.leases.end(batch);
            self.done(position, log, now);
            return Settled::Gone;
        }
        match action {
            Action::Ack => {
                let lane = slot.done(now);
                self.forget_reasons(position);
                self.leases.end(batch);
                self.counts.acked = self.counts.acked.saturating_add(1);
                self.free_permit(lane, log, now);
            }
            Action::Retry { after, reason } => {
                let is_exhausted = slot.deliveries >= deliveries_max;
                self.remember(position, reason);
                self.leases.end(batch);
                if is_exhausted {
                    self.dies(position, Cause::Exhausted, now, dying);
                } else {
                    self.put_off(position, now.after(*after).unwrap_or(Timestamp::MAX), log, now);
                }
            }
            Action::Release => {
                slot.deliveries = slot.deliveries.saturating_sub(1);
                self.leases.end(batch);
                self.again(position, log, now);
            }
            Action::Dead { reason } => {
                self.remember(position, reason);
                self.leases.end(batch);
                self.dies(position, Cause::Rejected, now, dying);
            }
            Action::Extend { lease: wait } => {
                let until = now.after(*wait).unwrap_or(Timestamp::MAX);
                let token = slot.token;
                if let Some(worker) = self.leases.worker(batch).cloned() {
                    let batch = self.extend(batch, until, worker, position, token);
                    if let Some(slot) = self.slot_mut(position) {
                        slot.until = until;
                        slot.batch = batch;
                    }
                }
            }
        }
        Settled::Applied
    }

    fn extend(&mut self, batch: usize, until: Timestamp, worker: WorkerId, position: u64, token: u64) -> usize {
        let new = self.leases.add(until, worker, Held::from_iter([(position, token)]));
        self.leases.end(batch);
        new
    }

    /// Ends the leases of a worker as if their time had come.
    pub(crate) fn rescue(&mut self, worker: &WorkerId, log: &Log, now: Timestamp) -> Vec<Dying> {
        let mut dying = Vec::new();
        self.end_leases(self.leases.of(worker), log, now, &mut dying);
        dying
    }

    pub(crate) fn end_leases(
        &mut self,
        mut leases: Vec<(usize, u64, u64)>,
        log: &Log,
        now: Timestamp,
        dying: &mut Vec<Dying>,
    ) {
        // Those that end at once come back in the order of their places, whoever had them, and however they were given.
        leases.sort_unstable_by_key(|(_, position, _)| *position);
        for (batch, position, token) in leases {
            let deliveries_max = self.spec.deliveries_max.get();
            let Some(slot) = self.slot_mut(position) else { continue };
            // Settled since, or extended into another batch.
            if slot.state != State::Leased || slot.token != token || slot.batch != batch {
                continue;
            }
            let is_exhausted = slot.deliveries >= deliveries_max;
            self.leases.end(batch);
            if is_exhausted {
                self.dies(position, Cause::Exhausted, now, dying);
            } else {
                self.again(position, log, now);
            }
        }
    }

    /// It is about to be buried: whoever had it must not settle it any more, not even in the same batch.
    fn dies(&mut self, position: u64, cause: Cause, now: Timestamp, dying: &mut Vec<Dying>) {
        self.set(position, State::Leased, now);
        dying.push(Dying { position, cause });
    }

    /// A lease has ended; the message is ready at once.
    pub(super) fn again(&mut self, position: u64, log: &Log, now: Timestamp) {
        let lane = self.slot(position).and_then(|slot| slot.lane);
        // The message stands in its line before its permit is free, so that it comes first.
        self.make_ready(position, log, now);
        self.free_permit(lane, log, now);
    }

    /// A lease has ended; the message is ready after a while.
    fn put_off(&mut self, position: u64, until: Timestamp, log: &Log, now: Timestamp) {
        if until <= now {
            return self.again(position, log, now);
        }
        let parks = matches!(self.spec.order, Order::PerKey { behind_retry: BehindRetry::Park, .. });
        self.waiting.push(Reverse((until, position)));
        let Some(slot) = self.slot_mut(position) else { return };
        (slot.state, slot.until) = (State::Waiting, until);
        if parks && slot.lane.is_some() {
            slot.is_parked = true;
        } else {
            let lane = slot.lane.take();
            self.free_permit(lane, log, now);
        }
    }

    pub(crate) fn done(&mut self, position: u64, log: &Log, now: Timestamp) {
        let Some(slot) = self.slot_mut(position) else { return };
        let lane = slot.done(now);
        self.forget_reasons(position);
        self.free_permit(lane, log, now);
    }

    fn remember(&mut self, position: u64, reason: &Arc<str>) {
        let reasons = self.reasons.entry(position).or_default();
        if reasons.len() >= REASONS_MAX {
            reasons.remove(0);
        }
        reasons.push(Arc::clone(reason));
    }

    /// How often it was delivered, and what its workers said.
    pub(crate) fn history(&self, position: u64) -> (u32, Vec<Arc<str>>) {
        self.slot(position).map_or((0, Vec::new()), |slot| (slot.deliveries, self.reasons(position)))
    }

    /// It stands among the dead letters.
    pub(crate) fn buried(&mut self, position: u64, log: &Log, now: Timestamp) {
        self.counts.dead = self.counts.dead.saturating_add(1);
        self.done(position, log, now);
        self.forget_done();
    }

    /// The dead letters have no room: it is kept, and tried again.
    pub(crate) fn not_buried(&mut self, position: u64, log: &Log, now: Timestamp) {
        self.put_off(position, now.after(DEAD_PAUSE).unwrap_or(Timestamp::MAX), log, now);
    }

    /// The first message of the topic goes, whatever it was doing.
    pub(crate) fn drop_first(&mut self, log: &Log, now: Timestamp) {
        let position = log.first();
        if position < self.first {
            return;
        }
        if self.slot(position).is_some() {
            self.withdraw(position, log, now);
            self.slots.pop_front();
            self.forget_reasons(position);
        }
        self.first = position.saturating_add(1);
        self.forget_done();
        self.forget_moved();
        self.forget_turns(log, now);
    }

    /// A message is to be neither waited for nor given nor held any more: those behind it go on.
    pub(super) fn withdraw(&mut self, position: u64, log: &Log, now: Timestamp) {
        let Some(slot) = self.slot(position) else { return };
        let (state, batch, lane) = (slot.state, slot.batch, slot.lane);
        match state {
            State::Leased => {
                self.leases.end(batch);
                self.free_permit(lane, log, now);
            }
            State::Ready => {
                let place = log.get(position).map(|stored| (stored.became_due(), position));
                let lane = lane.and_then(|number| self.lanes.get_mut(number));
                if let (Some(lane), Some(place)) = (lane, place) {
                    lane.line.remove(place);
                }
            }
            State::Waiting => {
                self.unpark(position);
                if let Some(number) = lane {
                    self.give_turn(number, log, now);
                }
            }
            State::Done => {}
        }
        if let Some(slot) = self.slot_mut(position) {
            slot.lane = None;
        }
    }
}

impl Slot {
    /// Whether a lease that ends after `since` may settle it.
    fn admits(&self, lease: &Lease, since: Timestamp) -> Settled {
        match self.state {
            State::Done => Settled::Gone,
            State::Leased if self.token == lease.token && self.until > since => Settled::Applied,
            State::Leased | State::Ready | State::Waiting => Settled::Stale,
        }
    }

    /// Nothing more is to become of it. Returns the lane whose permit it had.
    pub(super) fn done(&mut self, now: Timestamp) -> Option<u32> {
        (self.state, self.until) = (State::Done, now);
        self.lane.take()
    }
}
