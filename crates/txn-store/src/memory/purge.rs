//! Letting go of what is old.

use std::{convert::Infallible, sync::Arc};

use txn_change::{Event, Format, Stored, Timestamp, passing_digest};

use super::state::{Committed, Linked, State};
use crate::{
    admin::Purged,
    store::{Position, Recorded},
    tail::{Budget, Plan, weight},
};

fn is_fact_in(log: &[Option<Recorded>], commit: &Committed) -> bool {
    let mut left = log.get(commit.events.clone()).unwrap_or_default().iter().flatten();
    left.any(|recorded| recorded.event.id.is_some())
}

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
        let Self { commits, tenants, log, .. } = self;
        let mut rows = 0u64;
        for commit in commits.iter().take(until).skip(self.unanswered) {
            let stored = tenants.get_mut(&commit.tenant).and_then(|tenant| tenant.changes.get_mut(&commit.id));
            if let Some(stored) = stored
                && (stored.entries > 0 || is_fact_in(log, commit))
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
        let (mut commits, mut events) = (self.unlogged, self.tail);
        let group = |linked: &Linked| {
            let changes = linked.commits.saturating_sub(std::mem::replace(&mut commits, linked.commits));
            let appended = linked.events.saturating_sub(std::mem::replace(&mut events, linked.events));
            let last = linked.commits.checked_sub(1).and_then(|last| self.commits.get(last));
            let recorded_at =
                last.and_then(|last| self.stored(last)).map_or(Timestamp::MAX, |stored| stored.recorded_at);
            let weight = changes.saturating_add(appended) as u64;
            Ok::<_, Infallible>((linked.link.number, Position(linked.events as u64), weight, recorded_at))
        };
        let Ok(plan) = Plan::of(self.links.iter().skip(first).map(group), before, max);
        plan
    }

    /// Lets go of what is planned, as far as it is free, and until it is enough.
    pub(super) fn purge_events(&mut self, plan: &Plan, free: Position, max: usize) -> Purged {
        let mut budget = Budget::new(Position(self.tail as u64), free, max);
        let target = plan.target().unwrap_or_default();
        let mut rows = 0u64;
        let Self { commits, tenants, log, .. } = self;
        for commit in commits.iter().skip(self.unlogged) {
            let Some(of_commit) = log.get_mut(commit.events.clone()) else { break };
            let events: Vec<Event> = of_commit.iter().flatten().map(|recorded| recorded.event.clone()).collect();
            let end = Position(commit.events.end as u64);
            if end > target || !budget.takes(end, weight(&events)) {
                break;
            }
            self.unlogged = self.unlogged.saturating_add(1);
            if events.iter().all(Event::is_lasting) {
                continue;
            }
            let Some(tenant) = tenants.get_mut(&commit.tenant) else { continue };
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
        self.tail = usize::try_from(budget.end.0).unwrap_or(usize::MAX);
        Purged { rows, is_complete: plan.is_complete(&budget) }
    }
}
