//! Letting go of what is old.

use std::{convert::Infallible, sync::Arc};

use txn_change::{Event, Format, Stored, Timestamp, passing_digest};

use super::state::{Committed, Linked, State};
use crate::{admin::Purged, store::Position, tail::Plan};

impl State {
    fn stored(&self, commit: &Committed) -> Option<&Arc<Stored>> {
        self.tenants.get(&commit.tenant)?.changes.get(&commit.id)
    }

    fn is_before(&self, commit: &Committed, before: Timestamp) -> bool {
        self.stored(commit).is_some_and(|stored| stored.recorded_at < before)
    }

    pub(super) fn purge_answers(&mut self, before: Timestamp, max: usize) -> Purged {
        let next = self.commits.iter().skip(self.unanswered).take_while(|commit| self.is_before(commit, before));
        let looked_at = next.take(max).count();
        let until = self.unanswered.saturating_add(looked_at);
        let Self { commits, tenants, .. } = self;
        let mut rows = 0u64;
        for commit in commits.iter().take(until).skip(self.unanswered) {
            let stored = tenants.get_mut(&commit.tenant).and_then(|tenant| tenant.changes.get_mut(&commit.id));
            if let Some(stored) = stored
                && (stored.entries > 0 || stored.events > 0)
                && stored.answer.format() != Format::Erased
            {
                *stored = Arc::new(Stored { answer: stored.answer.erased(), ..Stored::clone(stored) });
                rows = rows.saturating_add(1);
            }
        }
        self.unanswered = until;
        Purged { rows, is_complete: looked_at < max }
    }

    /// The groups from where the log begins that are old enough.
    pub(super) fn old_groups(&self, before: Timestamp, max: usize) -> Plan {
        let first = self.links.partition_point(|linked| linked.commits <= self.unlogged);
        let mut start = self.unlogged;
        let group = |linked: &Linked| {
            let changes = linked.commits.saturating_sub(std::mem::replace(&mut start, linked.commits));
            let last = linked.commits.checked_sub(1).and_then(|last| self.commits.get(last));
            let recorded_at =
                last.and_then(|last| self.stored(last)).map_or(Timestamp::MAX, |stored| stored.recorded_at);
            Ok::<_, Infallible>((linked.link.number, Position(linked.events as u64), changes as u64, recorded_at))
        };
        let Ok(plan) = Plan::of(self.links.iter().skip(first).map(group), before, max);
        plan
    }

    /// Lets go of what is planned, as far as it is free.
    pub(super) fn purge_events(&mut self, plan: &Plan, free: Position) -> Purged {
        let (last, is_complete) = plan.free(free);
        let linked = last.and_then(|(number, _)| self.links.iter().find(|linked| linked.link.number == number));
        let Some(&Linked { commits: until, events: end, .. }) = linked else {
            return Purged { rows: 0, is_complete };
        };
        let mut rows = 0u64;
        let Self { commits, tenants, log, .. } = self;
        for commit in commits.iter().take(until).skip(self.unlogged) {
            let Some(tenant) = tenants.get_mut(&commit.tenant) else { continue };
            let Some(of_commit) = log.get_mut(commit.events.clone()) else { continue };
            let events: Vec<Event> = of_commit.iter().flatten().map(|recorded| recorded.event.clone()).collect();
            if events.iter().all(Event::is_lasting) {
                continue;
            }
            for (place, event) in commit.events.clone().zip(of_commit) {
                if let Some(passing) = event.take_if(|recorded| !recorded.event.is_lasting()) {
                    for term in passing.event.terms {
                        tenant.event_terms.remove(&(term, place));
                    }
                    rows = rows.saturating_add(1);
                }
            }
            if let Some(stored) = tenant.changes.get_mut(&commit.id) {
                *stored = Arc::new(Stored { passed: Some(passing_digest(&events)), ..Stored::clone(stored) });
            }
        }
        self.tail = end.max(self.tail);
        self.unlogged = until.max(self.unlogged);
        Purged { rows, is_complete }
    }
}
