//! The one place where time enters. It travels on as a value.

#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use txn_change::Timestamp;
pub use txn_change::{Clock, ManualClock};

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

/// A store's time: its clock's, but never earlier than a time it has given before.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
pub(crate) struct StoreTime {
    clock: std::sync::Arc<dyn Clock>,
    last: AtomicI64,
}

#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
impl StoreTime {
    pub(crate) fn new(clock: std::sync::Arc<dyn Clock>, last: Timestamp) -> Self {
        Self { clock, last: AtomicI64::new(last.as_nanos()) }
    }

    /// A clock is a host's code. When it panics, that is an error of the one call and not the end of a thread that serves all.
    pub(crate) fn now(&self) -> Result<Timestamp, crate::Error> {
        let now = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.clock.now().as_nanos()));
        let now = now.map_err(|_| crate::Error::new(crate::ErrorKind::Unavailable, "the clock panicked"))?;
        let last = self.last.fetch_max(now, Ordering::SeqCst);
        Ok(Timestamp::from_nanos(now.max(last)))
    }
}
