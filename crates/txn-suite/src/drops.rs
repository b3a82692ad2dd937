//! Dropping a call wherever it can stand. It polls a call only when it was woken, as a runtime does, so that each poll finds it at another place; and what the call has set going meanwhile is at another
//! place with each moment that passes before it is dropped.

use std::{
    collections::BTreeSet,
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;

use crate::executor;

/// The places where one kind of call can be dropped, gone through one after another: before its first poll, and after each at several moments until it is woken again.
///
/// ```
/// use txn_suite::{Drops, block_on};
///
/// block_on(async {
///     let mut drops = Drops::new();
///     while !drops.is_over() {
///         let ended = drops.call(std::future::pending::<()>()).await;
///         // Here what was called is looked at: nothing half done, nothing locked.
///         assert!(ended.is_none());
///     }
///     assert_eq!(drops.places(), 2);
/// });
/// ```
#[derive(Debug)]
pub struct Drops {
    /// How often the next call is polled.
    polls: u32,
    /// Which moment after that is next; the first is when it is woken, and tells when the others are.
    moment: u32,
    moments: u32,
    gap: Duration,
    calls: u32,
    dropped: BTreeSet<u32>,
    /// Nobody wakes it any more.
    is_still: bool,
    is_over: bool,
}

/// Moments between a poll and the next wake, unless another number is said.
const MOMENTS: u32 = 8;

/// A call that is not woken for so long waits for somebody else.
const STILL: Duration = Duration::from_secs(1);

impl Default for Drops {
    fn default() -> Self {
        Self::new()
    }
}

impl Drops {
    /// All places, each at eight moments.
    #[must_use]
    pub const fn new() -> Self {
        Self::at_moments(MOMENTS)
    }

    /// All places, each at so many moments: 0 for a call that does everything itself, of which nothing goes on between two polls.
    #[must_use]
    pub const fn at_moments(moments: u32) -> Self {
        Self {
            polls: 0,
            moment: 0,
            moments,
            gap: Duration::ZERO,
            calls: 0,
            dropped: BTreeSet::new(),
            is_still: false,
            is_over: false,
        }
    }

    /// Whether the call has been dropped at every place.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many calls have been made.
    #[must_use]
    pub const fn calls(&self) -> u32 {
        self.calls
    }

    /// After how many different numbers of polls a call was dropped that had not ended, 0 among them.
    #[must_use]
    pub fn places(&self) -> usize {
        self.dropped.len()
    }

    /// Drops this call at the next place; gives its output when it has ended before it came there.
    pub async fn call<T>(&mut self, call: impl Future<Output = T>) -> Option<T> {
        self.calls = self.calls.saturating_add(1);
        let (output, is_still) = self.poll(call).await;
        if output.is_none() {
            self.dropped.insert(self.polls);
        }
        if self.is_still {
            self.is_over = true;
        } else if is_still {
            // One moment is like another; only at once is not.
            (self.is_still, self.gap, self.moment) = (true, Duration::ZERO, self.moments.max(1));
        } else if self.polls > 0 && self.moment < self.moments {
            self.moment = self.moment.saturating_add(1);
        } else {
            self.is_over = !self.dropped.contains(&self.polls);
            (self.polls, self.moment) = (self.polls.saturating_add(1), 0);
        }
        output
    }

    /// What it gave, and whether it waits for somebody else.
    async fn poll<T>(&mut self, call: impl Future<Output = T>) -> (Option<T>, bool) {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut call = pin!(call);
        let mut polled = Instant::now();
        for nth in 0..self.polls {
            if nth > 0 && executor::at_most(STILL, woken.wait()).await.is_none() {
                self.polls = nth;
                return (None, true);
            }
            polled = Instant::now();
            if let Poll::Ready(output) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
                return (Some(output), false);
            }
        }
        if self.polls == 0 {
            return (None, false);
        }
        if self.moment == 0 && self.moments > 0 {
            let is_woken = executor::at_most(STILL, woken.wait()).await.is_some();
            self.gap = polled.elapsed();
            return (None, !is_woken);
        }
        let part = self.gap.saturating_mul(self.moment.saturating_sub(1)).checked_div(self.moments).unwrap_or_default();
        if !part.is_zero() {
            let _: Option<()> = executor::at_most(part, pending()).await;
        }
        (None, false)
    }
}

/// Says that the call wants to be polled.
#[derive(Default)]
struct Woken {
    is_set: AtomicBool,
    waits: AtomicWaker,
}

impl Woken {
    async fn wait(&self) {
        poll_fn(|context| {
            self.waits.register(context.waker());
            if self.is_set.swap(false, Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_set.store(true, Ordering::SeqCst);
        self.waits.wake();
    }
}
