//! What the tasks of one worker share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, watch};

use super::{Class, RetryPolicy, Trace, circuit::Circuit, leases::Leases, observe::Metrics};
use crate::{
    name::WorkerId,
    queue::{Group, Queue},
};

pub(super) struct Shared {
    pub(super) queue: Arc<dyn Queue>,
    /// The same, for what must not wait behind anything else.
    pub(super) reserved: Arc<dyn Queue>,
    pub(super) group: Group,
    pub(super) id: WorkerId,
    pub(super) lease: Duration,
    pub(super) hold_max: Duration,
    pub(super) batch_max: usize,
    pub(super) retry: RetryPolicy,
    pub(super) on_panic: Class,
    pub(super) trace: Trace,
    pub(super) leases: Leases,
    pub(super) circuit: Circuit,
    pub(super) metrics: Metrics,
    pub(super) counts: Counts,
    /// One for every message that is held and whose handler has not ended.
    pub(super) slots: Arc<Semaphore>,
    /// One for every message that is held or whose settlement has no answer yet.
    pub(super) room: Arc<Semaphore>,
    /// One for every handler that runs.
    pub(super) running: Arc<Semaphore>,
    /// No more is received.
    pub(super) draining: watch::Sender<bool>,
    /// The drain is over: what ends now has been cut off.
    pub(super) is_cut: AtomicBool,
}

/// How many messages came to which end.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) done: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) exhausted: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) released: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) unknown: AtomicU64,
    /// Settlements that have no answer yet.
    pub(super) open: AtomicU64,
}

/// What a worker did, from its start to the end of its drain. The queue has said so of every number but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drained {
    /// Messages that are done.
    pub done: u64,
    /// Messages that wait to be tried again.
    pub retried: u64,
    /// Messages that are dead because they failed at the last delivery that the group allows.
    pub exhausted: u64,
    /// Messages that are dead because the worker said so.
    pub dead: u64,
    /// Messages that were put back uncounted.
    pub released: u64,
    /// Messages whose lease had ended before they were settled: they are somebody else's, or were.
    pub lost: u64,
    /// Messages of which it is not known, since the queue did not answer in time; they come back when their leases end, unless they are settled.
    pub unknown: u64,
}

impl Counts {
    pub(super) fn drained(&self) -> Drained {
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        Drained {
            done: read(&self.done),
            retried: read(&self.retried),
            exhausted: read(&self.exhausted),
            dead: read(&self.dead),
            released: read(&self.released),
            lost: read(&self.lost),
            unknown: read(&self.unknown).saturating_add(read(&self.open)),
        }
    }
}

pub(super) fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::AcqRel);
}

impl Shared {
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}
