//! Every size, count and wait of a store has a finite default.

use std::time::Duration;

use txn_change::Limits;

#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
use crate::{
    error::{Error, ErrorKind},
    store::{Ask, Outcome},
};

/// The limits of one store. Exceeding one is an error that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// What one change may hold.
    pub change: Limits,
    /// Changes in one call of [`crate::Store::commit`], at most, and never more than one tenant may have waiting; one more is [`crate::ErrorKind::Invalid`].
    pub batch_max: usize,
    /// Changes committed together, at most.
    pub group_max: usize,
    /// Bytes of bodies committed together, at most.
    pub group_bytes_max: usize,
    /// Changes waiting to be committed, at most; one more is [`crate::ErrorKind::Overloaded`].
    ///
    /// No tenant keeps the others out: the first three quarters are anybody's, and the last quarter (rounded down) is for tenants who have no more than a 32nd of all waiting. So one tenant never has more than three
    /// quarters, and one who has little finds room as long as fewer than eight others have filled the last quarter. A call counts for the tenant of its first change, from its beginning to the answer of its last change.
    pub queue_max: usize,
    /// Bytes of changes waiting to be committed, at most, by the same rule: what a change holds in bodies, and 256 for each of its rows. One more is [`crate::ErrorKind::Overloaded`]; a call of more than three quarters
    /// is [`crate::ErrorKind::Invalid`].
    pub queue_bytes_max: usize,
    /// How long a change may wait to be begun; one that waited longer is answered [`crate::ErrorKind::Overloaded`] and not executed.
    pub wait_max: Duration,
    /// Keys in one [`crate::Ask`], at most.
    pub ask_keys_max: usize,
    /// Keys in one call of [`crate::Store::get`], in all of its asks, at most; an ask counts for one key beside those that it names.
    pub get_keys_max: usize,
    /// Items on one page, at most.
    pub page_max: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            change: Limits::default(),
            batch_max: 4_096,
            group_max: 1_024,
            group_bytes_max: 16 << 20,
            queue_max: 65_536,
            queue_bytes_max: 256 << 20,
            wait_max: Duration::from_secs(30),
            ask_keys_max: 8_192,
            get_keys_max: 65_536,
            page_max: 1_000,
        }
    }
}

/// What one tenant may have of a limit that all share.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
pub(crate) const fn share_max(max: usize) -> usize {
    max.saturating_sub(max / 4)
}

#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
impl StoreLimits {
    /// The results of a batch that is too long: each the same error. `None` when it is not.
    pub(crate) fn refuse_batch(&self, found: usize) -> Option<Vec<Result<Outcome, Error>>> {
        // What can never wait must not be told to come again.
        let max = self.batch_max.min(share_max(self.queue_max));
        let refusal = || {
            let context = format!("a batch of {found} changes; at most {max} are allowed");
            Err(Error::new(ErrorKind::Invalid, context))
        };
        (found > max).then(|| (0..found).map(|_| refusal()).collect())
    }

    pub(crate) fn check_asks(&self, asks: &[Ask]) -> Result<(), Error> {
        if asks.len() > self.batch_max {
            let context = format!("{} asks in one call; at most {} are allowed", asks.len(), self.batch_max);
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        let all = asks.iter().fold(asks.len(), |sum, ask| sum.saturating_add(ask.keys()));
        if all > self.get_keys_max {
            let context = format!("{all} keys in one call; at most {} are allowed", self.get_keys_max);
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        match asks.iter().map(Ask::keys).find(|keys| *keys > self.ask_keys_max) {
            Some(keys) => {
                let context = format!("an ask for {keys} keys; at most {} are allowed", self.ask_keys_max);
                Err(Error::new(ErrorKind::Invalid, context))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn check_page(&self, limit: usize) -> Result<(), Error> {
        if (1..=self.page_max).contains(&limit) {
            return Ok(());
        }
        let context = format!("a page of {limit} items; 1 to {} are allowed", self.page_max);
        Err(Error::new(ErrorKind::Invalid, context))
    }
}
