//! The leases that a worker holds, and the heartbeat that keeps them.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::shared::Shared;
use crate::{
    message::Message,
    queue::{Action, Delivery, Lease, Settle, Settled},
};

/// What became of a lease while it was held.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) lease: Lease,
    pub(super) message: Arc<Message>,
    /// It lasts until then at least, by this process's clock.
    pub(super) until: Instant,
    /// The queue has said that it has ended: it settles nothing.
    pub(super) is_over: bool,
    /// The group allows no more deliveries.
    pub(super) is_last: bool,
    /// How long the message had waited before it was asked for.
    pub(super) waited: Duration,
    /// When it was asked for.
    pub(super) since: Instant,
    /// When its handler began.
    begun: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    kept: Kept,
    lost: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    entries: HashMap<u64, Entry>,
}

/// Each has a number for as long as it is held.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Book>);

impl Leases {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a delivery that was asked for at `since`.
    pub(super) fn add(
        &self,
        delivery: &Delivery,
        waited: Duration,
        since: Instant,
        until: Instant,
    ) -> (u64, watch::Receiver<bool>) {
        let (lost, told) = watch::channel(false);
        let mut book = self.book();
        let number = book.next;
        book.next = number.wrapping_add(1);
        let (lease, message) = (delivery.lease, Arc::clone(&delivery.message));
        let kept =
            Kept { lease, message, until, is_over: false, is_last: delivery.is_last, waited, since, begun: None };
        book.entries.insert(number, Entry { kept, lost });
        (number, told)
    }

    /// From now on it is held for so long at most.
    pub(super) fn begin(&self, number: u64, now: Instant) {
        if let Some(entry) = self.book().entries.get_mut(&number) {
            entry.kept.begun = Some(now);
        }
    }

    /// It is held no more. `None` when that was said before.
    pub(super) fn end(&self, number: u64) -> Option<Kept> {
        self.book().entries.remove(&number).map(|entry| entry.kept)
    }

    /// Those that are still held.
    pub(super) fn end_all(&self) -> Vec<Kept> {
        self.book().entries.drain().map(|(_, entry)| entry.kept).collect()
    }

    /// Those that are to be extended: not the ones that have ended, nor those whose handlers began too long ago. One that waits for its handler is kept however long that takes: those before it are bounded.
    fn living(&self, now: Instant, hold_max: Duration) -> Vec<(u64, Lease)> {
        let book = self.book();
        let is_young = |begun: Instant| now.saturating_duration_since(begun) < hold_max;
        let is_living = |entry: &Entry| !entry.kept.is_over && entry.kept.begun.is_none_or(is_young);
        let living = book.entries.iter().filter(|(_, entry)| is_living(entry));
        living.map(|(number, entry)| (*number, entry.kept.lease)).collect()
    }

    fn extended(&self, number: u64, until: Instant) {
        if let Some(entry) = self.book().entries.get_mut(&number) {
            entry.kept.until = until;
        }
    }

    /// The queue has said that it has ended. Whether that is news to the handler.
    fn ended(&self, number: u64) -> bool {
        let mut book = self.book();
        let Some(entry) = book.entries.get_mut(&number) else { return false };
        entry.kept.is_over = true;
        !entry.lost.send_replace(true)
    }

    /// Tells this one when its time has passed. Whether that is news.
    pub(super) fn lapses(&self, number: u64, now: Instant) -> bool {
        let book = self.book();
        let lapsed = book.entries.get(&number).filter(|entry| entry.kept.until <= now);
        lapsed.is_some_and(|entry| !entry.lost.send_replace(true))
    }

    /// Tells those whose time has passed, and gives back how many, and when the next one's does.
    fn lapse(&self, now: Instant) -> (u64, Option<Instant>) {
        let book = self.book();
        let (mut lapsed, mut next) = (0_u64, None);
        for entry in book.entries.values().filter(|entry| !*entry.lost.borrow()) {
            if entry.kept.until <= now {
                entry.lost.send_replace(true);
                lapsed = lapsed.saturating_add(1);
            } else {
                next = next.map_or(Some(entry.kept.until), |next: Instant| Some(next.min(entry.kept.until)));
            }
        }
        (lapsed, next)
    }
}

/// Extends every lease each third of its time, and sooner when that failed; tells the handlers whose lease is lost. Never ends.
pub(super) async fn beat(shared: Arc<Shared>) {
    let lease = shared.lease;
    let third = part(lease, 3);
    let mut next = after(Instant::now(), third);
    loop {
        meanwhile(&shared, sleep_until(next)).await;
        // The time of others passes while a queue that does not answer is waited for.
        let is_kept = meanwhile(&shared, extend_all(&shared)).await;
        next = after(Instant::now(), if is_kept { third } else { part(lease, 12) });
    }
}

/// Awaits a future, and tells those whose time passes until it ends, each at its instant.
async fn meanwhile<F: Future>(shared: &Shared, future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let now = Instant::now();
        let (lapsed, first) = shared.leases.lapse(now);
        shared.metrics.lost.increment(lapsed);
        // More may have come in by then.
        let third = after(now, part(shared.lease, 3));
        tokio::select! {
            biased;
            output = &mut future => return output,
            () = sleep_until(first.map_or(third, |first| first.min(third))) => {}
        }
    }
}

/// Whether the queue answered for all of them.
async fn extend_all(shared: &Shared) -> bool {
    let living = shared.leases.living(Instant::now(), shared.hold_max);
    let mut is_kept = true;
    for chunk in living.chunks(shared.batch_max) {
        let action = Action::Extend { lease: shared.lease };
        let batch: Vec<Settle> =
            chunk.iter().map(|(_, lease)| Settle { lease: *lease, action: action.clone() }).collect();
        let called = Instant::now();
        // A call that hangs must not cost the leases of those after it.
        let results = match timeout(part(shared.lease, 4), shared.reserved.settle(&shared.group, batch)).await {
            Ok(Ok(results)) => results,
            Ok(Err(error)) => {
                tracing::debug!(%error, "leases were not extended");
                is_kept = false;
                continue;
            }
            Err(_) => {
                is_kept = false;
                continue;
            }
        };
        for ((number, _), settled) in chunk.iter().zip(results) {
            match settled {
                Settled::Applied => shared.leases.extended(*number, after(called, shared.lease)),
                Settled::Stale | Settled::Gone => {
                    shared.metrics.lost.increment(u64::from(shared.leases.ended(*number)));
                }
                Settled::Unknown => is_kept = false,
            }
        }
    }
    is_kept
}

/// Part of a time, and never nothing.
fn part(whole: Duration, parts: u32) -> Duration {
    whole.checked_div(parts).unwrap_or(whole).max(Duration::from_millis(1))
}

pub(super) fn after(instant: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
    instant.checked_add(wait.min(FAR)).unwrap_or(instant)
}
