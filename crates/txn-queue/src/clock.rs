//! The one place where time enters. It travels on as a value.

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
