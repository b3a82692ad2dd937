//! What tells the queue how messages ended: in batches, and again until it has answered or the leases are over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc::UnboundedReceiver},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tracing::Instrument as _;

use super::{
    backoff::Backoff,
    leases::{Kept, after},
    shared::{Shared, add_one},
    trace,
};
use crate::queue::{Action, Settle, Settled};

/// The end of a message, on its way to the queue.
#[derive(Debug)]
pub(super) struct Settlement {
    pub(super) kept: Kept,
    pub(super) action: Action,
    pub(super) room: Option<OwnedSemaphorePermit>,
    /// An answer was lost before: what is gone by now may be so by this very settlement.
    pub(super) was_unknown: bool,
}

/// Ends when nobody can send any more and everything has its answer, or none in time.
pub(super) async fn settle(shared: Arc<Shared>, mut inbox: UnboundedReceiver<Settlement>) {
    let mut waiting: Vec<Settlement> = Vec::new();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let mut again = Instant::now();
    let mut is_open = true;
    while is_open || !waiting.is_empty() {
        let mut batch = Vec::new();
        // What has no answer is asked for again after a while; what is new does not wait for it.
        let received = match (is_open, waiting.is_empty()) {
            (true, true) => Some(inbox.recv_many(&mut batch, shared.batch_max).await),
            (true, false) => timeout_at(again, inbox.recv_many(&mut batch, shared.batch_max)).await.ok(),
            (false, _) => {
                sleep_until(again).await;
                None
            }
        };
        is_open = is_open && received != Some(0);
        let is_again = !waiting.is_empty() && Instant::now() >= again;
        if is_again {
            batch.append(&mut waiting);
        }
        let mut left = Vec::new();
        while !batch.is_empty() {
            let rest = batch.split_off(shared.batch_max.min(batch.len()));
            attempt(&shared, std::mem::replace(&mut batch, rest), &mut left).await;
        }
        if is_again && left.is_empty() {
            backoff.reset();
        }
        if waiting.is_empty() && !left.is_empty() {
            again = after(Instant::now(), backoff.next());
        }
        let now = Instant::now();
        for settlement in left {
            if settlement.kept.until > now {
                waiting.push(settlement);
            } else {
                close(&shared, settlement, "unknown", &shared.counts.unknown);
            }
        }
    }
}

async fn attempt(shared: &Shared, mut batch: Vec<Settlement>, left: &mut Vec<Settlement>) {
    let settles =
        batch.iter().map(|settlement| Settle { lease: settlement.kept.lease, action: settlement.action.clone() });
    let settles: Vec<Settle> = settles.collect();
    let span = trace::settle(&shared.trace, &shared.group, batch.iter().map(|settlement| &*settlement.kept.message));
    let patience = shared.lease.checked_div(3).unwrap_or(shared.lease).max(Duration::from_millis(1));
    match timeout(patience, shared.reserved.settle(&shared.group, settles)).instrument(span.clone()).await {
        Ok(Ok(results)) => {
            let mut results = results.into_iter();
            for mut settlement in batch {
                match results.next() {
                    Some(Settled::Unknown) | None => {
                        settlement.was_unknown = true;
                        left.push(settlement);
                    }
                    Some(settled) => span.in_scope(|| answered(shared, settlement, settled)),
                }
            }
        }
        Ok(Err(error)) if error.is_retryable() => {
            tracing::debug!(%error, "settlements are tried again");
            left.append(&mut batch);
        }
        // One that the queue will not take must not take the others with it.
        Ok(Err(_)) if batch.len() > 1 => {
            for settlement in batch {
                Box::pin(attempt(shared, vec![settlement], left)).await;
            }
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "a settlement was refused; its message comes back when its lease ends");
            for settlement in batch {
                close(shared, settlement, "refused", &shared.counts.unknown);
            }
        }
        // Dropped, it has done all or nothing.
        Err(_) => left.extend(batch.into_iter().map(|settlement| Settlement { was_unknown: true, ..settlement })),
    }
}

fn answered(shared: &Shared, settlement: Settlement, settled: Settled) {
    let counts = &shared.counts;
    let is_mine = match settled {
        Settled::Applied => true,
        // After a lost answer that is what a settlement says that was applied. One that ends a message leaves none to be stale.
        Settled::Stale if matches!(settlement.action, Action::Ack | Action::Dead { .. }) => false,
        _ => settlement.was_unknown,
    };
    let result = match settled {
        Settled::Applied => "applied",
        Settled::Gone => "gone",
        _ => "stale",
    };
    let count = match &settlement.action {
        _ if !is_mine => &counts.lost,
        Action::Ack | Action::Extend { .. } => &counts.done,
        Action::Retry { .. } if settlement.kept.is_last => &counts.exhausted,
        Action::Retry { .. } => &counts.retried,
        Action::Release => &counts.released,
        Action::Dead { .. } => &counts.dead,
    };
    if is_mine {
        ends(shared, &settlement);
    }
    close(shared, settlement, result, count);
}

/// Tells of a message that the group is done with.
fn ends(shared: &Shared, settlement: &Settlement) {
    let kept = &settlement.kept;
    let metrics = &shared.metrics;
    let residence = kept.waited.saturating_add(kept.since.elapsed());
    let (cause, dead) = match &settlement.action {
        Action::Ack => return metrics.residence.record(residence),
        Action::Dead { .. } => ("rejected", &metrics.rejected),
        Action::Retry { .. } if kept.is_last => ("exhausted", &metrics.exhausted),
        Action::Retry { .. } | Action::Release | Action::Extend { .. } => return,
    };
    dead.increment(1);
    let (topic, group) = (shared.group.topic(), shared.group.name());
    tracing::warn!(%topic, %group, messaging.message.id = %kept.message.id, reason = cause, "dead-lettered");
}

/// It has its end; there is room for another.
fn close(shared: &Shared, settlement: Settlement, result: &'static str, count: &AtomicU64) {
    shared.metrics.settled(result);
    add_one(count);
    shared.counts.open.fetch_sub(1, Ordering::AcqRel);
    drop(settlement.room);
}
