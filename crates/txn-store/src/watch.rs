//! Where the log ends, and who waits for it to go on.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
};

use crate::store::Position;

/// The head of a log inside one process. Waiters are woken by [`Head::advance`] and [`Head::close`]; of one that was dropped nothing is left.
#[derive(Default)]
pub(crate) struct Head {
    position: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By the number of the wait. Woken ones are taken out, and come back with their next poll.
    wakers: HashMap<u64, Waker>,
    next: u64,
    is_closed: bool,
}

impl Head {
    #[cfg(feature = "sqlite")]
    pub(crate) fn at(position: Position) -> Self {
        Self { position: AtomicU64::new(position.0), waiting: Mutex::default() }
    }

    pub(crate) fn get(&self) -> Position {
        Position(self.position.load(Ordering::SeqCst))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here can panic between two writes.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.waiting().wakers.is_empty()
    }

    pub(crate) fn advance(&self, to: Position) {
        if self.position.fetch_max(to.0, Ordering::SeqCst) < to.0 {
            // Not under the lock: whoever is woken may come back at once.
            let wakers = std::mem::take(&mut self.waiting().wakers);
            wake(wakers);
        }
    }

    /// Ends every wait, whatever it is for, and every later one.
    #[cfg(any(test, feature = "sqlite", feature = "postgres"))]
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.is_closed = true;
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wake(wakers);
    }

    /// Waits until the log reaches past `after`, and says how far; `None` once it is closed.
    pub(crate) async fn past(&self, after: Position) -> Option<Position> {
        let mut place = Place { head: self, number: None };
        poll_fn(|context| {
            let mut waiting = self.waiting();
            if waiting.is_closed {
                return Poll::Ready(None);
            }
            let now = self.get();
            if now > after {
                return Poll::Ready(Some(now));
            }
            let number = *place.number.get_or_insert(waiting.next);
            waiting.next = waiting.next.max(number.saturating_add(1));
            let known = waiting.wakers.insert(number, context.waker().clone());
            drop(waiting);
            // A waker may do anything when it is dropped, so not under the lock.
            drop(known);
            Poll::Pending
        })
        .await
    }
}

fn wake(wakers: HashMap<u64, Waker>) {
    wakers.into_values().for_each(Waker::wake);
}

/// The place of one wait, which it leaves however it ends.
struct Place<'a> {
    head: &'a Head,
    number: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let known = self.head.waiting().wakers.remove(&number);
            drop(known);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        sync::Arc,
        task::{Context, Wake},
    };

    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    /// Long polls on a log at rest, each dropped when its time was over, once stayed in memory with their tasks until the log went on, and every poll went through all of them.
    #[test]
    fn nothing_is_left_of_a_watch_that_was_dropped() {
        let head = Head::default();
        let task = Arc::new(Task);
        let waker = Waker::from(Arc::clone(&task));
        for _ in 0..100 {
            let mut watch = pin!(head.past(Position(0)));
            for _ in 0..3 {
                assert!(watch.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            assert_eq!(head.waiting().wakers.len(), 1, "one place, however often it is polled");
        }
        assert!(head.waiting().wakers.is_empty());
        assert_eq!(Arc::strong_count(&task), 2, "the task and its waker here");
    }

    /// The end of a store was once told as a position that no log reaches; who waited for something past even that was left asleep.
    #[test]
    fn closing_ends_every_watch_and_every_later_one() {
        let head = Arc::new(Head::default());
        head.advance(Position(7));
        let watches = [7, u64::MAX].map(|after| {
            let head = Arc::clone(&head);
            std::thread::spawn(move || pollster::block_on(head.past(Position(after))))
        });
        while head.waiting().wakers.len() < watches.len() {
            std::thread::yield_now();
        }
        head.close();
        for watch in watches {
            assert_eq!(watch.join().unwrap(), None);
        }
        assert_eq!(pollster::block_on(head.past(Position(u64::MAX))), None);
    }

    #[test]
    fn who_watches_is_told_how_far_the_log_reaches() {
        let head = Head::default();
        let mut watch = pin!(head.past(Position(3)));
        let mut context = Context::from_waker(Waker::noop());
        head.advance(Position(3));
        assert!(watch.as_mut().poll(&mut context).is_pending());
        head.advance(Position(5));
        assert_eq!(watch.as_mut().poll(&mut context), Poll::Ready(Some(Position(5))));
    }
}
