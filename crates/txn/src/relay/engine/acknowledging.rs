//! Moving the cursors to where everything is done, and telling how far behind they are.

use std::{sync::Arc, time::Instant};

use futures_util::FutureExt;
use txn_store::ErrorKind;

use super::{
    super::{
        duties::{Acknowledged, Acknowledgement, acknowledge},
        lag::{Lag, age},
        lane::Lane,
        observe,
    },
    Engine,
};
use crate::failure::Failure;

/// A cursor whose lane has had nothing to do is moved when it is so far behind, or after so many ticks.
const IDLE_POSITIONS: u64 = 10_000;
const IDLE_TICKS: u64 = 60;

impl Engine {
    pub(super) fn tick(&mut self) {
        (self.ticks, self.ticked_at) = (self.ticks.saturating_add(1), Instant::now());
        self.begin_acknowledging(false);
    }

    /// Moves all cursors to where everything is done.
    pub(super) async fn acknowledge_all(&mut self) -> Result<(), Failure> {
        self.begin_acknowledging(true);
        let Some(acknowledging) = self.acknowledging.take() else { return Ok(()) };
        let mut acknowledged = acknowledging.await;
        if self.sleep.is_none()
            && let Some(failed) = acknowledged.lanes.iter().position(|(_, result)| result.is_err())
        {
            let (_, result) = acknowledged.lanes.swap_remove(failed);
            return result.map_err(Failure::from);
        }
        self.acknowledged(acknowledged)
    }

    /// Moves the cursors that are worth it, or all of them.
    fn begin_acknowledging(&mut self, all: bool) {
        if self.acknowledging.is_some() {
            return;
        }
        let is_slow_tick = self.ticks.checked_rem(IDLE_TICKS) == Some(0);
        let mut list = Vec::new();
        for lane in self.lanes.values_mut() {
            let (up_to, at) = (lane.done_up_to(), lane.acknowledged);
            let ahead = up_to.0.saturating_sub(at.0);
            let is_worth_it = lane.done > 0 || ahead >= IDLE_POSITIONS || is_slow_tick || all;
            if ahead > 0
                && is_worth_it
                && let Some(consumer) = lane.consumer.take()
            {
                list.push(Acknowledgement { which: lane.which(), consumer, up_to });
            }
        }
        let is_guard_due = all || self.ticks.checked_rem(10) == Some(0);
        let guard = if is_guard_due { self.guard.take() } else { None };
        let wants_time = self.pending().0 > 0;
        if !list.is_empty() || guard.is_some() || wants_time {
            self.acknowledging = Some(acknowledge(Arc::clone(&self.parts), list, guard, wants_time).boxed());
        } else {
            self.observe(None);
        }
    }

    pub(super) fn acknowledged(&mut self, acknowledged: Acknowledged) -> Result<(), Failure> {
        for (Acknowledgement { which, consumer, up_to }, result) in acknowledged.lanes {
            let number = which.lane;
            let Some(lane) = self.lane(which) else { continue };
            match result {
                Ok(()) => {
                    lane.consumer = Some(consumer);
                    lane.acknowledged(up_to);
                }
                // Another has opened it. If the lane is still this one's, the next look at the leases opens it again.
                Err(error) if error.kind() == ErrorKind::Locked => {
                    self.lanes.remove(&number);
                    self.tenure.hold(self.lanes.values().map(Lane::which));
                    self.is_keep_due = self.sleep.is_some();
                }
                Err(error) if error.is_retryable() => {
                    lane.consumer = Some(consumer);
                    observe::failed(&self.parts.name, "a cursor cannot be moved", &error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.guard = acknowledged.guard.or_else(|| self.guard.take());
        if self.lanes.is_empty() {
            (self.reader, self.reading) = (None, None);
        }
        self.observe(acknowledged.now);
        Ok(())
    }

    fn observe(&self, now: Option<txn_change::Timestamp>) {
        let unread = self.reader.as_ref().map_or(0, |reader| reader.head.0.saturating_sub(reader.after.0));
        let oldest = self.lanes.values().filter_map(|lane| lane.items.front()).map(|item| item.from.recorded_at).min();
        let events = u64::try_from(self.pending().0).unwrap_or(u64::MAX).saturating_add(unread);
        let oldest_age = oldest.zip(now).map(|(oldest, now)| age(oldest, now));
        observe::lag(&self.parts.name, &Lag { events, oldest_age });
        observe::lanes(&self.parts.name, self.lanes.len());
    }
}
