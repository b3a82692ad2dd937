//! What is let go of when it is old.
//!
//! How far one call comes is the store's own choice, as it depends on its groups: the model is told, and says whether it may be. What has gone with it is not.

use std::ops::Range;

use txn_change::{Format, Timestamp, passing_digest};

use super::{Committed, Logged, Model, is_own};

/// What a store says of one purge, and shows after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) rows: u64,
    pub(crate) is_complete: bool,
    /// Among how many changes from the first answers are purged by now.
    pub(crate) answers: u64,
    /// Where the log begins.
    pub(crate) tail: u64,
    /// How far it was given free.
    pub(crate) free: u64,
}

type Checked = Result<(), String>;

fn holds(what: &str, is_so: bool) -> Checked {
    if is_so { Ok(()) } else { Err(what.to_owned()) }
}

fn lasts(logged: &Logged) -> bool {
    logged.recorded.event.id.is_some() || is_own(&logged.recorded.event.body)
}

impl Model {
    /// How many changes from the first are older.
    fn older(&self, before: Timestamp) -> usize {
        let is_old = |commit: &&Committed| self.houses[&commit.tenant].answers[&commit.id].recorded_at < before;
        self.commits.iter().take_while(is_old).count()
    }

    /// Of a change, where its events stand in the log.
    fn events(&self, nth: usize) -> Range<usize> {
        let begin = nth.checked_sub(1).map_or(0, |before| self.commits[before].end);
        begin as usize..self.commits[nth].end as usize
    }

    pub(crate) fn purge_answers(&mut self, before: Timestamp, max: usize, group_max: usize, told: Told) -> Checked {
        let (from, until) = (self.unanswered, usize::try_from(told.answers).unwrap());
        let most = self.older(before).max(from);
        holds("it comes as far as changes are old", (from..=most).contains(&until))?;
        holds("it looks at so many", until < from + max + group_max)?;
        holds("it stops where it has looked at enough", until == most || until - from >= max)?;
        holds("it is complete only when all have been looked at", !told.is_complete || until == most)?;
        holds("events stay", (told.tail, told.free) == (self.tail, self.free))?;
        let mut rows = 0;
        for nth in from..until {
            let Committed { tenant, id, .. } = self.commits[nth].clone();
            let has_fact = self.log[self.events(nth)].iter().any(|logged| logged.recorded.event.id.is_some());
            let stored = self.houses.get_mut(&tenant).and_then(|house| house.answers.get_mut(&id)).unwrap();
            if (stored.entries > 0 || has_fact) && stored.answer.format() != Format::Erased {
                stored.answer = stored.answer.erased();
                rows += 1;
            }
        }
        self.unanswered = until;
        holds(&format!("{rows} answers go"), told.rows == rows)
    }

    pub(crate) fn purge_events(&mut self, before: Timestamp, max: usize, now: Timestamp, told: Told) -> Checked {
        let older = self.older(before);
        let old_end = older.checked_sub(1).map_or(0, |last| self.commits[last].end);
        let slowest = self.consumers().into_iter().map(|(_, position)| position).min();
        let most_free = slowest.map_or(old_end, |slowest| slowest.min(old_end)).max(self.free);
        holds("it gives free what is old and acknowledged", (self.free..=most_free).contains(&told.free))?;
        holds("answers stay", told.answers == self.unanswered as u64)?;
        // Whole changes only.
        let ends = self.commits[..older].iter().map(|commit| commit.end);
        let most = ends.filter(|end| *end <= most_free).max().unwrap_or(0).max(self.tail);
        let is_end = |end: u64| end == self.tail || self.commits.iter().any(|commit| commit.end == end);
        holds("it comes as far as the log is free", (self.tail..=most.min(told.free)).contains(&told.tail))?;
        holds("it ends with a change", is_end(told.tail))?;
        let is_all = (told.tail, told.free) == (most, most_free);
        holds("it is complete only when nothing more may go", !told.is_complete || is_all)?;
        if told.free > self.free {
            self.give_free(told.free, now);
        }
        let mut weights = Vec::new();
        let mut rows = 0;
        for nth in 0..older {
            let places = self.events(nth);
            let end = self.commits[nth].end;
            if places.is_empty() || end <= self.tail || end > told.tail {
                continue;
            }
            let events: Vec<_> = self.log[places.clone()].iter().map(|logged| logged.recorded.event.clone()).collect();
            weights.push(events.iter().map(|event| 1 + event.terms.len()).sum::<usize>());
            let mut has_passing = false;
            for logged in self.log[places].iter_mut().filter(|logged| !lasts(logged)) {
                logged.is_gone = true;
                has_passing = true;
                rows += 1;
            }
            if has_passing {
                let Committed { tenant, id, .. } = self.commits[nth].clone();
                let stored = self.houses.get_mut(&tenant).and_then(|house| house.answers.get_mut(&id)).unwrap();
                stored.passed = Some(passing_digest(&events));
            }
        }
        self.tail = told.tail;
        // The last change is the one with which it was enough.
        weights.pop();
        holds("it takes so much at once", weights.iter().sum::<usize>() < max)?;
        holds(&format!("{rows} events go"), told.rows == rows)
    }
}
