//! Which deliveries are held, and when that ends. What was received together ends together, so that a message costs a count and not a place in a tree.

use std::collections::BTreeSet;

use txn_change::Timestamp;

use crate::name::WorkerId;

/// What was received together, or extended to the same instant.
#[derive(Debug)]
struct Batch {
    until: Timestamp,
    worker: WorkerId,
    held: Held,
    live: usize,
}

/// Positions and their tokens; some may have been settled since. Those that follow each other in both are kept as one.
#[derive(Debug, Default)]
pub(crate) struct Held {
    runs: Vec<Run>,
    count: usize,
}

#[derive(Debug)]
struct Run {
    position: u64,
    token: u64,
    count: u64,
}

impl Held {
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn push(&mut self, position: u64, token: u64) {
        self.count = self.count.saturating_add(1);
        if let Some(run) = self.runs.last_mut()
            && run.position.wrapping_add(run.count) == position
            && run.token.wrapping_add(run.count) == token
        {
            run.count = run.count.wrapping_add(1);
        } else {
            self.runs.push(Run { position, token, count: 1 });
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.runs
            .iter()
            .flat_map(|run| (0..run.count).map(|at| (run.position.wrapping_add(at), run.token.wrapping_add(at))))
    }
}

impl FromIterator<(u64, u64)> for Held {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(items: I) -> Self {
        let mut held = Self::default();
        items.into_iter().for_each(|(position, token)| held.push(position, token));
        held
    }
}

#[derive(Debug, Default)]
pub(crate) struct Leases {
    batches: Vec<Option<Batch>>,
    free: Vec<usize>,
    ends: BTreeSet<(Timestamp, usize)>,
    live: usize,
}

impl Leases {
    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    /// When the next one ends, at the earliest.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Adds leases that end together; returns the number that [`Leases::end`] wants.
    pub(crate) fn add(&mut self, until: Timestamp, worker: WorkerId, held: Held) -> usize {
        let live = held.len();
        let at = self.free.pop().unwrap_or(self.batches.len());
        let batch = Some(Batch { until, worker, held, live });
        match self.batches.get_mut(at) {
            Some(place) => *place = batch,
            None => self.batches.push(batch),
        }
        self.ends.insert((until, at));
        self.live = self.live.saturating_add(live);
        at
    }

    /// Where the next batch will stand.
    pub(crate) fn next_number(&self) -> usize {
        self.free.last().copied().unwrap_or(self.batches.len())
    }

    pub(crate) fn worker(&self, batch: usize) -> Option<&WorkerId> {
        self.batches.get(batch)?.as_ref().map(|batch| &batch.worker)
    }

    /// One lease of a batch has ended.
    pub(crate) fn end(&mut self, at: usize) {
        self.end_many(at, 1);
    }

    /// So many leases of a batch have ended.
    pub(crate) fn end_many(&mut self, at: usize, count: usize) {
        let Some(place) = self.batches.get_mut(at) else { return };
        let Some(batch) = place else { return };
        self.live = self.live.saturating_sub(count);
        batch.live = batch.live.saturating_sub(count);
        if batch.live == 0 {
            self.ends.remove(&(batch.until, at));
            *place = None;
            self.free.push(at);
        }
    }

    /// The leases that may have ended by now, with the number of their batch.
    pub(crate) fn ended(&self, now: Timestamp) -> Vec<(usize, u64, u64)> {
        let batches = self.ends.iter().take_while(|(until, _)| *until <= now).map(|(_, at)| *at);
        self.items(batches)
    }

    /// The leases that a worker may hold.
    pub(crate) fn of(&self, worker: &WorkerId) -> Vec<(usize, u64, u64)> {
        let held = self.batches.iter().enumerate();
        let held = held.filter(|(_, batch)| batch.as_ref().is_some_and(|batch| batch.worker == *worker));
        self.items(held.map(|(at, _)| at))
    }

    fn items(&self, batches: impl Iterator<Item = usize>) -> Vec<(usize, u64, u64)> {
        let found = batches.filter_map(|at| Some((at, self.batches.get(at)?.as_ref()?)));
        found.flat_map(|(at, batch)| batch.held.iter().map(move |(position, token)| (at, position, token))).collect()
    }
}
