//! Who comes next: numbers from a seed, and callers that take turns by them.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    thread,
};

use futures_util::future::BoxFuture;

/// SplitMix64 (Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014).
pub(super) struct Random(u64);

impl Random {
    /// The numbers of one caller.
    pub(super) fn of(seed: u64, caller: u32) -> Self {
        let mut random = Self(seed.wrapping_mul(0xD605_BBB5_8C8A_BC0D).wrapping_add(caller.into()));
        random.next();
        random
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `end`, 0 when that is 0; the bias of the remainder does not matter here.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.next().checked_rem(end).unwrap_or(0)).unwrap_or(0)
    }

    /// Whether something comes about that does so this often in a hundred.
    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

/// Lets the others come first, once.
pub(super) async fn turn() {
    let mut has_waited = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        thread::yield_now();
        Poll::Pending
    })
    .await;
}

/// Polls a future so many times at most, lets the others come between, and drops it; whether it ended is not told.
pub(super) async fn give_up<T>(polls: usize, future: impl Future<Output = T>) {
    let mut future = std::pin::pin!(future);
    for _ in 0..polls {
        let is_over = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
        if is_over {
            return;
        }
        turn().await;
    }
}

/// Runs all on this thread, one poll at a time, in an order drawn from the numbers; their results in order.
pub(super) async fn in_turns<T>(jobs: Vec<BoxFuture<'static, T>>, mut random: Random) -> Vec<T> {
    let mut results: Vec<(usize, T)> = Vec::new();
    let mut open: Vec<(usize, BoxFuture<'static, T>)> = jobs.into_iter().enumerate().collect();
    poll_fn(|context: &mut Context<'_>| {
        let at = random.below(open.len());
        if let Some((number, job)) = open.get_mut(at) {
            match job.as_mut().poll(context) {
                Poll::Ready(result) => {
                    results.push((*number, result));
                    drop(open.swap_remove(at));
                }
                // The store's own threads may have to run before it goes on.
                Poll::Pending => thread::yield_now(),
            }
        }
        if open.is_empty() {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
