//! What a worker is given.

use txn_change::Timestamp;

use super::{GroupState, Slot, State, slots_from};
use crate::{
    engine::{
        leases::Held,
        log::{Log, Stored},
        ready::Turn,
    },
    name::WorkerId,
};

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
    /// The group allows no further one.
    pub(crate) is_last: bool,
}

/// What is leased together.
struct Lot<'a> {
    wanted: Wanted<'a>,
    now: Timestamp,
    batch: usize,
    deliveries_max: u32,
    tokens: &'a mut u64,
    held: Held,
}

impl GroupState {
    /// Leases what is ready. `tokens` gives a new one each time.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn receive(&mut self, wanted: Wanted<'_>, log: &Log, now: Timestamp, tokens: &mut u64) -> Vec<Leased> {
        let mut leased = Vec::with_capacity(self.ready_count().min(wanted.max));
        self.receive_each(wanted, log, now, tokens, |lease, _| leased.push(lease));
        leased
    }

    /// Messages and lanes whose turn may come.
    pub(crate) const fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Leases what is ready, and gives each with its message to `give`. `tokens` gives a new one each time.
    pub(crate) fn receive_each(
        &mut self,
        wanted: Wanted<'_>,
        log: &Log,
        now: Timestamp,
        tokens: &mut u64,
        mut give: impl FnMut(Leased, &Stored),
    ) {
        if self.counts.is_paused {
            return;
        }
        let free = self.spec.in_flight_max.saturating_sub(self.leases.live());
        let max = wanted.max.min(free).min(self.allowed(now));
        let (batch, deliveries_max) = (self.leases.next_number(), self.spec.deliveries_max.get());
        let mut lot = Lot { wanted, now, batch, deliveries_max, tokens, held: Held::default() };
        while lot.held.len() < max
            && let Some(turn) = self.ready.pop(self.spec.ageing, max.saturating_sub(lot.held.len()))
        {
            match turn {
                Turn::Messages { first, end } => self.lease_range(first, end, log, &mut lot, &mut give),
                Turn::Lane(number) => {
                    if let Some(position) = self.pick(number, log, now) {
                        self.lease(position, log, &mut lot, &mut give);
                    }
                }
            }
        }
        self.forget_done();
        let Lot { held, .. } = lot;
        if held.len() > 0 {
            let count = u64::try_from(held.len()).unwrap_or(u64::MAX);
            self.counts.delivered = self.counts.delivered.saturating_add(count);
            self.spend(count, now);
            self.leases.add(wanted.until, wanted.worker.clone(), held);
        }
    }

    /// Leases messages without a key that follow each other, as many as are still ready.
    fn lease_range(
        &mut self,
        first: u64,
        end: u64,
        log: &Log,
        lot: &mut Lot<'_>,
        give: &mut impl FnMut(Leased, &Stored),
    ) {
        let mut position = first.max(self.first);
        while position < end {
            let index = usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX);
            let count = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
            // Both stand in two pieces each, at most.
            let slots = slots_from(&mut self.slots, index);
            let before = position;
            for (stored, slot) in log.piece(position).iter().zip(slots).take(count) {
                // It may have been cancelled, dropped or given since.
                if slot.state == State::Ready && !lot.lease(position, stored, slot, give) {
                    slot.done(lot.now);
                    self.reasons.remove(&position);
                    self.counts.expired = self.counts.expired.saturating_add(u64::from(!stored.is_removed));
                }
                position = position.saturating_add(1);
            }
            if position == before {
                break;
            }
        }
    }

    /// Leases a message that has its permit.
    fn lease(&mut self, position: u64, log: &Log, lot: &mut Lot<'_>, give: &mut impl FnMut(Leased, &Stored)) {
        let (Some(stored), Some(slot)) = (log.get(position), self.slot_mut(position)) else { return };
        if !lot.lease(position, stored, slot, give) {
            self.done(position, log, lot.now);
            self.counts.expired = self.counts.expired.saturating_add(u64::from(!stored.is_removed));
        }
    }
}

impl Lot<'_> {
    /// Adds a message, unless nobody wants it any more.
    #[inline(always)]
    fn lease(
        &mut self,
        position: u64,
        stored: &Stored,
        slot: &mut Slot,
        give: &mut impl FnMut(Leased, &Stored),
    ) -> bool {
        if stored.is_removed || stored.expires <= self.now {
            return false;
        }
        *self.tokens = self.tokens.wrapping_add(1);
        let token = *self.tokens;
        slot.state = State::Leased;
        (slot.until, slot.token, slot.batch) = (self.wanted.until, token, self.batch);
        slot.deliveries = slot.deliveries.saturating_add(1);
        self.held.push(position, token);
        let deliveries = slot.deliveries;
        give(Leased { position, token, deliveries, is_last: deliveries >= self.deliveries_max }, stored);
        true
    }
}
