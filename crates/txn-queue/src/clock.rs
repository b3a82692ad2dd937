//! The one place where time enters. It travels on as a value.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use txn_change::Timestamp;

/// Tells the time to a queue. The queue's own time never goes backwards, whatever its clock does.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::EPOCH.after(since).unwrap_or(Timestamp::MAX)
    }
}

/// A clock that a test moves by hand.
///
/// ```
/// use core::time::Duration;
/// use txn_queue::{Clock, ManualClock};
/// let clock = ManualClock::at("2030-01-01T00:00:00Z".parse()?);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().to_string(), "2030-01-01T00:01:00Z");
/// # Ok::<(), txn_change::TimeError>(())
/// ```
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `time`.
    #[must_use]
    pub const fn at(time: Timestamp) -> Self {
        Self(AtomicI64::new(time.as_nanos()))
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.as_nanos(), Ordering::SeqCst);
    }

    /// Moves the clock forward; it stops at the latest instant.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().after(by).unwrap_or(Timestamp::MAX));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}
