//! Where time enters: a trait that others implement with a real clock, and a clock that a test moves. Nothing here reads one.

use alloc::sync::Arc;
use core::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use crate::time::Timestamp;

/// Tells the time to a store or a queue. Their own time never goes backwards, whatever their clock does; a store that is opened again goes on from the time of its last commit.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// A clock that a test moves by hand.
///
/// ```
/// use core::time::Duration;
/// use txn_change::{Clock, ManualClock};
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

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}
