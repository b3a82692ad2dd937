//! Waits between tries of one worker's own calls: each twice as long, up to a bound.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.max);
        wait
    }

    pub(super) const fn reset(&mut self) {
        self.next = self.first;
    }
}
