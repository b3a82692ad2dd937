//! A bounded queue from callers, who never wait, to threads or tasks that take everything that has gathered.

#[cfg(feature = "postgres")]
use std::task::{Context, Poll};
#[cfg(feature = "sqlite")]
use std::time::Duration;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use super::room::Room;
use crate::error::{Error, ErrorKind};

/// Jobs with their weights (changes or asks). Full is an error at once; so is closed.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    ready: Condvar,
    what: &'static str,
    max: usize,
    /// How much of it, and of what has been taken and not answered, is whose.
    room: Arc<Room>,
}

struct State<J> {
    jobs: VecDeque<J>,
    /// What has been pushed and not yet been [`Queue::done`].
    waiting: usize,
    sleeping: usize,
    /// Tasks that wait for something to take.
    wakers: Vec<Waker>,
    closed: Option<&'static str>,
}

impl<J> Queue<J> {
    pub(crate) fn new(what: &'static str, max: usize) -> Self {
        let state = State { jobs: VecDeque::new(), waiting: 0, sleeping: 0, wakers: Vec::new(), closed: None };
        Self { state: Mutex::new(state), ready: Condvar::new(), what, max, room: Arc::default() }
    }

    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        // Nothing in here can panic between two writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job of that weight.
    pub(crate) fn push(&self, job: J, weight: usize) -> Result<(), Error> {
        self.push_weighing(std::iter::once(job), weight, || Ok(()))
    }

    /// Adds jobs of weight 1, all or none, and none when `admit` has something against it.
    pub(crate) fn push_all(&self, jobs: Vec<J>, admit: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let weight = jobs.len();
        self.push_weighing(jobs, weight, admit)
    }

    /// Adds jobs that were taken from another queue, of weight 1; gives back what does not fit within `max`, or all when it is closed.
    #[cfg(feature = "postgres")]
    pub(crate) fn push_within(&self, mut jobs: Vec<J>, max: usize) -> Vec<J> {
        let mut state = self.state();
        if state.closed.is_some() || jobs.is_empty() {
            return jobs;
        }
        let left = jobs.split_off(jobs.len().min(max.saturating_sub(state.waiting)));
        state.waiting = state.waiting.saturating_add(jobs.len());
        state.jobs.extend(jobs);
        let waker = state.wakers.pop();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        left
    }

    fn push_weighing(
        &self,
        jobs: impl IntoIterator<Item = J>,
        weight: usize,
        admit: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
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
        admit()?;
        state.waiting = waiting;
        state.jobs.extend(jobs);
        let wake = state.sleeping > 0;
        let waker = state.wakers.pop();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        // Waking is a system call even when nobody sleeps.
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Moves at most `max` jobs into `jobs`; waits for the first when `wait` is set. False when the queue is closed and empty.
    pub(crate) fn take(&self, jobs: &mut VecDeque<J>, max: usize, wait: bool) -> bool {
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

    /// Waits until there is something to take or the queue is closed, but no longer than this.
    #[cfg(feature = "sqlite")]
    pub(crate) fn wait(&self, wait_max: Duration) {
        let mut state = self.state();
        if state.jobs.is_empty() && state.closed.is_none() {
            state.sleeping = state.sleeping.saturating_add(1);
            state = self.ready.wait_timeout(state, wait_max).unwrap_or_else(PoisonError::into_inner).0;
            state.sleeping = state.sleeping.saturating_sub(1);
        }
    }

    /// As [`Queue::take`] with waiting, for a task.
    #[cfg(feature = "postgres")]
    pub(crate) fn poll_take(&self, context: &mut Context<'_>, jobs: &mut VecDeque<J>, max: usize) -> Poll<bool> {
        let mut state = self.state();
        if state.jobs.is_empty() && state.closed.is_none() {
            if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.wakers.push(context.waker().clone());
            }
            return Poll::Pending;
        }
        let count = state.jobs.len().min(max);
        jobs.extend(state.jobs.drain(..count));
        // One push may have left work for two.
        let waker = if state.jobs.is_empty() { None } else { state.wakers.pop() };
        let is_open = count > 0 || state.closed.is_none();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Poll::Ready(is_open)
    }

    /// A task that waited does no more: another is to be woken instead.
    #[cfg(feature = "postgres")]
    pub(crate) fn forget(&self, waker: &Waker) {
        let mut state = self.state();
        state.wakers.retain(|known| !known.will_wake(waker));
        // It may have been woken for what it will not take now.
        let other = if state.jobs.is_empty() { None } else { state.wakers.pop() };
        drop(state);
        other.into_iter().for_each(Waker::wake);
    }

    /// Says that so much weight is no longer waiting.
    pub(crate) fn done(&self, weight: usize) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(weight);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Why nothing can be pushed any more, if that is so.
    pub(crate) fn closed(&self) -> Option<Error> {
        self.state().closed.map(|why| Error::new(ErrorKind::Closed, why))
    }

    /// Refuses what comes from now on, and says why; the first reason stands. What is waiting can still be taken.
    pub(crate) fn close(&self, why: &'static str) {
        let mut state = self.state();
        state.closed.get_or_insert(why);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.ready.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}
