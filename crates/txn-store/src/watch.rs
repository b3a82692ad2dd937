//! Where the log ends, and who waits for it to go on.

use std::{
    future::poll_fn,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
};

use crate::store::Position;

/// A head that no log reaches.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
const ENDED: Position = Position(u64::MAX);

/// The head of a log inside one process. Waiters are woken by [`Head::advance`]; a dropped waiter costs one spurious wake.
#[derive(Default)]
pub(crate) struct Head {
    position: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Head {
    #[cfg(feature = "sqlite")]
    pub(crate) fn at(position: Position) -> Self {
        Self { position: AtomicU64::new(position.0), waiting: Mutex::default() }
    }

    pub(crate) fn get(&self) -> Position {
        Position(self.position.load(Ordering::SeqCst))
    }

    /// Whether somebody waits, or did not long ago.
    #[cfg(feature = "sqlite")]
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn advance(&self, to: Position) {
        if self.position.fetch_max(to.0, Ordering::SeqCst) < to.0 {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// The log has come to its end: whoever waits is woken.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn end(&self) {
        self.advance(ENDED);
    }

    /// As [`Head::past`]; `None` when the log has come to its end.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) async fn past_unless_ended(&self, after: Position) -> Option<Position> {
        Some(self.past(after).await).filter(|head| *head != ENDED)
    }

    pub(crate) async fn past(&self, after: Position) -> Position {
        poll_fn(|context| {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.get();
            if now > after {
                return Poll::Ready(now);
            }
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
