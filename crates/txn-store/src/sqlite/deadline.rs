//! The thread that answers callers whose wait is over. It touches no file, so a medium that hangs does not hang it, and any executor will do.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use futures_channel::oneshot;

use crate::group::Call;

/// A caller that waits.
pub(super) trait Caller: Send + Sync {
    /// Answers it now, if it has not been answered.
    fn give_up(&self, after: Duration);
}

impl Caller for Call {
    fn give_up(&self, after: Duration) {
        Self::give_up(self, after);
    }
}

/// One that reads: what it waits beside its answer for.
#[derive(Default)]
pub(super) struct Alarm(Mutex<Option<oneshot::Sender<()>>>);

impl Alarm {
    /// The second half ends, with an error, when the time is over.
    pub(super) fn new() -> (Arc<Self>, oneshot::Receiver<()>) {
        let (bell, rung) = oneshot::channel();
        (Arc::new(Self(Mutex::new(Some(bell)))), rung)
    }
}

impl Caller for Alarm {
    fn give_up(&self, _after: Duration) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Callers in the order in which they came, which is that of their deadlines, since each may wait equally long.
pub(super) struct Deadlines {
    after: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    callers: VecDeque<(Instant, Weak<dyn Caller>)>,
    /// When there are so many, those that have been answered are taken out, wherever they stand.
    sweep_at: usize,
    /// Whether the thread sleeps until somebody comes. Else it looks by itself when the first wait is over.
    is_idle: bool,
    is_closed: bool,
}

/// Callers that are never swept.
const SWEEP_MIN: usize = 1_024;

impl Deadlines {
    pub(super) fn new(after: Duration) -> Self {
        let state = State { callers: VecDeque::new(), sweep_at: SWEEP_MIN, is_idle: false, is_closed: false };
        Self { after, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// How long each may wait.
    pub(super) const fn after(&self) -> Duration {
        self.after
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic between two writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this caller waits.
    pub(super) fn add(&self, caller: Weak<dyn Caller>) {
        let Some(due) = Instant::now().checked_add(self.after) else { return };
        let mut state = self.state();
        state.callers.push_back((due, caller));
        state.sweep();
        let is_idle = std::mem::take(&mut state.is_idle);
        drop(state);
        if is_idle {
            self.changed.notify_one();
        }
    }

    /// Gives callers up when their time has come, until [`Deadlines::close`].
    pub(super) fn run(&self) {
        let mut state = self.state();
        while !state.is_closed {
            state.drop_answered();
            let now = Instant::now();
            match state.callers.front().map(|(due, _)| due.saturating_duration_since(now)) {
                None => {
                    state.is_idle = true;
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Some(Duration::ZERO) => {
                    let late = state.callers.pop_front().and_then(|(_, caller)| caller.upgrade());
                    // A waker may do anything, so not under the lock.
                    drop(state);
                    if let Some(caller) = late {
                        caller.give_up(self.after);
                    }
                    state = self.state();
                }
                Some(left) => {
                    state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_one();
    }
}

impl State {
    fn drop_answered(&mut self) {
        while self.callers.front().is_some_and(|(_, caller)| caller.strong_count() == 0) {
            self.callers.pop_front();
        }
    }

    fn sweep(&mut self) {
        self.drop_answered();
        if self.callers.len() >= self.sweep_at {
            self.callers.retain(|(_, caller)| caller.strong_count() > 0);
            self.sweep_at = self.callers.len().saturating_mul(2).max(SWEEP_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len(deadlines: &Deadlines) -> usize {
        deadlines.state().callers.len()
    }

    #[test]
    fn those_that_were_answered_are_not_kept_though_one_before_them_waits() {
        let deadlines = Deadlines::new(Duration::from_secs(3_600));
        let (first, _rung) = Alarm::new();
        let add = |alarm: &Arc<Alarm>| {
            let weak: Weak<Alarm> = Arc::downgrade(alarm);
            deadlines.add(weak);
        };
        add(&first);
        for _ in 0..10 * SWEEP_MIN {
            add(&Alarm::new().0);
            assert!(len(&deadlines) <= SWEEP_MIN);
        }
        drop(first);
        add(&Alarm::new().0);
        assert!(len(&deadlines) <= 1, "and none when nobody waits");
    }

    #[test]
    fn each_is_given_up_when_its_time_has_come_and_nobody_before() {
        let deadlines = Arc::new(Deadlines::new(Duration::from_millis(20)));
        let thread = std::thread::spawn({
            let deadlines = Arc::clone(&deadlines);
            move || deadlines.run()
        });
        for _ in 0..3 {
            let (alarm, rung) = Alarm::new();
            let begun = Instant::now();
            let weak: Weak<Alarm> = Arc::downgrade(&alarm);
            deadlines.add(weak);
            assert!(pollster::block_on(rung).is_err());
            assert!(begun.elapsed() >= Duration::from_millis(20));
        }
        deadlines.close();
        thread.join().unwrap();
    }
}
