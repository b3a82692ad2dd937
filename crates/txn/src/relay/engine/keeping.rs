//! Keeping the leases: when they are looked at, what goes back with it, and what a look changes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::FutureExt;
use txn_store::Position;

use super::{
    super::{
        duties::{Acknowledgement, BACKOFF_MAX, Keeping, keep},
        lane::Lane,
        observe,
        reader::Reader,
    },
    Engine,
};
use crate::failure::Failure;

impl Engine {
    pub(super) fn begin_keeping(&mut self) {
        if self.is_stopping || self.leases.is_none() {
            return;
        }
        let left = |lane: &&Lane| lane.is_leaving && !lane.is_in_flight && lane.consumer.is_some();
        let left: Vec<u32> = self.lanes.values().filter(left).map(|lane| lane.held.number).collect();
        let is_due = self.is_keep_due || (self.sleep.is_none() && self.tenure.is_old());
        if !is_due && left.is_empty() {
            return;
        }
        let Some(leases) = self.leases.take() else { return };
        let mut leaving = Vec::new();
        for number in left {
            if let Some(mut lane) = self.lanes.remove(&number)
                && let Some(consumer) = lane.consumer.take()
            {
                leaving.push(Acknowledgement { which: lane.which(), consumer, up_to: lane.done_up_to() });
            }
        }
        let known = self.lanes.values().map(|lane| (lane.held.number, lane.held.token)).collect::<BTreeSet<_>>();
        self.is_keep_due = false;
        self.keep_timer = None;
        let has_guard = self.guard.is_some();
        self.keeping = Some(keep(Arc::clone(&self.parts), leases, leaving, known, has_guard).boxed());
    }

    pub(super) fn kept(&mut self, keeping: Keeping) -> Result<(), Failure> {
        let Keeping { leases, begun_at, result } = keeping;
        let mut next_in = leases.lease().checked_div(6).unwrap_or_default();
        self.leases = Some(leases);
        match result {
            Ok(kept) => {
                self.tenure.kept(begun_at);
                // It took so long that it says nothing any more.
                next_in = if self.tenure.is_over() { Duration::ZERO } else { kept.next_in };
                let is_held = |lane: &Lane| kept.held.contains(&lane.held);
                self.lanes.retain(|_, lane| is_held(lane));
                for number in kept.surplus {
                    if let Some(lane) = self.lanes.get_mut(&number) {
                        lane.is_leaving = true;
                    }
                }
                if kept.held.iter().all(|held| held.number != 0) {
                    self.guard = None;
                }
                self.guard = kept.guard.or_else(|| self.guard.take());
                let mut from: Option<Position> = None;
                for (held, consumer, mark) in kept.opened {
                    self.lives = self.lives.saturating_add(1);
                    let lane = Lane::new(held, self.lives, consumer, mark);
                    from = Some(from.map_or(lane.acknowledged, |from| from.min(lane.acknowledged)));
                    self.lanes.insert(lane.held.number, lane);
                }
                if let Some(from) = from
                    && self.reader.as_ref().is_none_or(|reader| from < reader.after)
                {
                    (self.reader, self.reading) = (Some(Reader::new(from)), None);
                }
            }
            Err(failure) if failure.is_retryable() && self.sleep.is_some() => {
                observe::failed(&self.parts.name, "the leases cannot be renewed", &failure);
                if self.tenure.is_over() {
                    // Somebody else may have them by now.
                    self.lanes.clear();
                }
                next_in = next_in.min(BACKOFF_MAX);
            }
            Err(failure) => return Err(failure),
        }
        self.tenure.hold(self.lanes.values().map(Lane::which));
        if self.lanes.is_empty() {
            (self.reader, self.reading) = (None, None);
        }
        self.keep_timer = self.sleep.as_ref().map(|sleep| sleep.sleep(next_in));
        Ok(())
    }
}
