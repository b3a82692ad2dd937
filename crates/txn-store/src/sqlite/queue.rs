//! A bounded queue from callers, who never wait, to threads that take everything that has gathered.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::error::{Error, ErrorKind};

/// Jobs with their weights (changes or asks). Full is an error at once; so is closed.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    ready: Condvar,
    what: &'static str,
    max: usize,
}

struct State<J> {
    jobs: VecDeque<J>,
    /// What has been pushed and not yet been [`Queue::done`].
    waiting: usize,
    sleeping: usize,
    closed: Option<&'static str>,
}

impl<J> Queue<J> {
    pub(super) fn new(what: &'static str, max: usize) -> Self {
        let state = State { jobs: VecDeque::new(), waiting: 0, sleeping: 0, closed: None };
        Self { state: Mutex::new(state), ready: Condvar::new(), what, max }
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        // Nothing in here can panic between two writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job of that weight.
    pub(super) fn push(&self, job: J, weight: usize) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(why) = state.closed {
            return Err(Error::new(ErrorKind::Closed, why));
        }
        let waiting = state.waiting.saturating_add(weight);
        if waiting > self.max {
            let context =
                format!("{} {} are waiting, {weight} more asked; at most {} may", state.waiting, self.what, self.max);
            return Err(Error::new(ErrorKind::Overloaded, context));
        }
        state.waiting = waiting;
        state.jobs.push_back(job);
        let wake = state.sleeping > 0;
        drop(state);
        // Waking is a system call even when nobody sleeps.
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Moves at most `max` jobs into `jobs`; waits for the first when `wait` is set. False when the queue is closed and empty.
    pub(super) fn take(&self, jobs: &mut VecDeque<J>, max: usize, wait: bool) -> bool {
        let mut state = self.state();
        while wait && state.jobs.is_empty() && state.closed.is_none() {
            state.sleeping = state.sleeping.saturating_add(1);
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeping = state.sleeping.saturating_sub(1);
        }
        let count = state.jobs.len().min(max);
        jobs.extend(state.jobs.drain(..count));
        count > 0 || state.closed.is_none()
    }

    /// Says that so much weight is no longer waiting.
    pub(super) fn done(&self, weight: usize) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(weight);
    }

    pub(super) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Why nothing can be pushed any more, if that is so.
    pub(super) fn closed(&self) -> Option<Error> {
        self.state().closed.map(|why| Error::new(ErrorKind::Closed, why))
    }

    /// Refuses what comes from now on, and says why; the first reason stands. What is waiting can still be taken.
    pub(super) fn close(&self, why: &'static str) {
        self.state().closed.get_or_insert(why);
        self.ready.notify_all();
    }
}
