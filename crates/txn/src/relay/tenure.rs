//! What a process holds, and for how long that is sure. Whoever is about to ask the queue for something looks here first: a process that stood still goes on as if nothing had happened, while another has its lanes. No I/O.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::lane::Which;

/// Shared by a process and its batches that are on their way.
#[derive(Debug, Clone)]
pub(super) struct Tenure {
    lease: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    kept_at: Instant,
    lanes: BTreeSet<Which>,
}

impl Tenure {
    /// Of nothing yet.
    pub(super) fn new(lease: Duration) -> Self {
        let state = State { kept_at: Instant::now(), lanes: BTreeSet::new() };
        Self { lease, state: Arc::new(Mutex::new(state)) }
    }

    /// A look at the leases that began then went well.
    pub(super) fn kept(&self, begun_at: Instant) {
        self.state().kept_at = begun_at;
    }

    /// These are the lanes that are held.
    pub(super) fn hold(&self, lanes: impl Iterator<Item = Which>) {
        self.state().lanes = lanes.collect();
    }

    /// Whether the leases should be looked at: a third of their time has passed.
    pub(super) fn is_old(&self) -> bool {
        self.state().kept_at.elapsed() >= self.lease.checked_div(3).unwrap_or_default()
    }

    /// Whether somebody else may have every lane by now.
    pub(super) fn is_over(&self) -> bool {
        self.state().is_over(self.lease)
    }

    pub(super) fn is_sure_of(&self, lane: Which) -> bool {
        let state = self.state();
        !state.is_over(self.lease) && state.lanes.contains(&lane)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_over(&self, lease: Duration) -> bool {
        self.kept_at.elapsed() >= lease.saturating_sub(lease.checked_div(4).unwrap_or_default())
    }
}
