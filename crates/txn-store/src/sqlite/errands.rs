//! The threads beside the writer and the readers: each erasing and each export has one, with a connection of its own. A store that is closed waits for those whose callers have gone; an export that somebody still
//! holds goes on reading.

use std::{
    cell::Cell,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// What such threads do, counted.
#[derive(Default)]
pub(super) struct Errands {
    counts: Mutex<Counts>,
    fewer: Condvar,
}

#[derive(Default)]
struct Counts {
    running: usize,
    held: usize,
}

thread_local! {
    static IS_ERRAND: Cell<bool> = const { Cell::new(false) };
}

/// A thread that runs. The last thing that it drops.
pub(super) struct Running(Arc<Errands>);

/// A reading that somebody holds, and with it its thread.
pub(super) struct Held(Arc<Errands>);

impl Errands {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing in here can panic between two writes.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing runs that nobody holds.
    pub(super) fn wait(&self) {
        // A waker may drop the last handle to a store on one of these threads, which cannot wait for itself.
        if IS_ERRAND.get() {
            return;
        }
        let mut counts = self.counts();
        while counts.running > counts.held {
            counts = self.fewer.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Running {
    pub(super) fn of(errands: &Arc<Errands>) -> Self {
        let mut counts = errands.counts();
        counts.running = counts.running.saturating_add(1);
        Self(Arc::clone(errands))
    }

    /// Says that this is the thread.
    pub(super) fn here(self) -> Self {
        IS_ERRAND.set(true);
        self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.running = counts.running.saturating_sub(1);
        self.0.fewer.notify_all();
    }
}

impl Held {
    pub(super) fn of(errands: &Arc<Errands>) -> Self {
        let mut counts = errands.counts();
        counts.held = counts.held.saturating_add(1);
        Self(Arc::clone(errands))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.held = counts.held.saturating_sub(1);
        self.0.fewer.notify_all();
    }
}
