//! What every backend of ours decides by: whose turn it is, who holds what, what is done. Plain data, changed in place; time and tokens are arguments, and nothing here
//! knows where messages are kept.
//!
//! Everything that it comes to follows from what it was asked and when, in that order, so that a backend can keep that and come to the same state again.

pub(crate) mod admit;
pub(crate) mod group;
mod lanes;
pub(crate) mod leases;
pub(crate) mod log;
mod ready;
pub(crate) mod topic;

use std::time::Duration;

use txn_change::Timestamp;

/// How long after, and nothing when it is before.
pub(crate) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    let nanos = later.as_nanos().saturating_sub(earlier.as_nanos()).max(0);
    Duration::from_nanos(nanos.unsigned_abs())
}

/// Keeps the waker of a wait, or lets go of it: those of waits that were given up would gather without bound.
#[cfg(feature = "memory")]
fn register(
    wakers: &mut std::collections::BTreeMap<u64, std::task::Waker>,
    wait: u64,
    waker: Option<&std::task::Waker>,
) {
    match waker {
        Some(waker) => drop(wakers.insert(wait, waker.clone())),
        None => drop(wakers.remove(&wait)),
    }
}
