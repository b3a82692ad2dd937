//! One message in a worker's hands: whatever happens to its handler, it comes to one end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc::WeakUnboundedSender, watch},
    time::Instant,
};
use txn_change::Timestamp;

use super::{
    Class, Done, Failure, Job, RetryPolicy,
    circuit::Verdict,
    leases::{Kept, after},
    settle::Settlement,
    shared::{Shared, add_one},
};
use crate::queue::{Action, Delivery};

/// How a handler ended.
#[derive(Debug)]
pub(super) enum End {
    Done(Done),
    Failed(Failure),
    Panicked(String),
    /// It was not begun, or was cut off: the message goes back uncounted.
    PutBack,
}

/// Dropping it is an end, too: the message goes back when the worker has cut it off or has not begun it, and has failed as by a panic otherwise.
pub(super) struct Held {
    pub(super) shared: Arc<Shared>,
    pub(super) job: Job,
    pub(super) is_probe: bool,
    lost: watch::Receiver<bool>,
    number: u64,
    received: Instant,
    begun: Option<Instant>,
    is_judged: bool,
    is_over: bool,
    /// Given back when the handler has ended.
    slot: Option<OwnedSemaphorePermit>,
    /// Given back when the queue has answered.
    room: Option<OwnedSemaphorePermit>,
    settle: WeakUnboundedSender<Settlement>,
}

/// What holds a message's place in its worker.
pub(super) type Places = (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>);

impl Held {
    /// Takes a delivery in that was asked for at `called`.
    pub(super) fn new(
        shared: &Arc<Shared>,
        delivery: Delivery,
        called: Instant,
        is_probe: bool,
        (slot, room): Places,
        settle: WeakUnboundedSender<Settlement>,
    ) -> Self {
        let until = after(called, shared.lease);
        let waited = difference(begun(&delivery, shared.lease), delivery.message.first_due(delivery.accepted_at));
        let (number, lost) = shared.leases.add(&delivery, waited, called, until);
        let job = Job::watched(shared.group.clone(), delivery, lost.clone(), shared.draining.subscribe());
        Self {
            shared: Arc::clone(shared),
            job,
            is_probe,
            lost,
            number,
            received: Instant::now(),
            begun: None,
            is_judged: false,
            is_over: false,
            slot,
            room,
            settle,
        }
    }

    pub(super) fn begin(&mut self) {
        let wait = difference(self.now(), self.first_due());
        self.shared.metrics.wait.record(wait);
        self.shared.metrics.in_flight.increment(1.0);
        let now = Instant::now();
        self.begun = Some(now);
        self.shared.leases.begin(self.number, now);
    }

    /// Whether somebody else may have the message by now. Asked of the clock as well: the heartbeat may be late to tell.
    pub(super) fn is_lost(&self) -> bool {
        let is_news = self.shared.leases.lapses(self.number, Instant::now());
        self.shared.metrics.lost.increment(u64::from(is_news));
        *self.lost.borrow()
    }

    /// The backend's time, as far as it can be told: it said when the lease would end, and so when it began.
    fn now(&self) -> Timestamp {
        let since = begun(self.job.delivery(), self.shared.lease);
        since.after(self.received.elapsed()).unwrap_or(Timestamp::MAX)
    }

    fn first_due(&self) -> Timestamp {
        self.job.message().first_due(self.job.accepted_at())
    }

    /// How long a message that goes back is held before it does: long enough that no loop is busy with it, and no longer than its lease is kept.
    pub(super) fn rest(&self, end: &End) -> Option<Duration> {
        let rests = matches!(self.class(end), Some(Class::Release | Class::Unavailable));
        let policy = self.policy();
        let held = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        let left = self.shared.hold_max.saturating_sub(held);
        (rests && !self.shared.is_draining()).then(|| policy.base.min(policy.max).min(left))
    }

    fn policy(&self) -> RetryPolicy {
        self.job.retry().unwrap_or(self.shared.retry)
    }

    fn class(&self, end: &End) -> Option<Class> {
        match end {
            End::Failed(failure) => Some(failure.class()),
            End::Panicked(_) => Some(self.shared.on_panic),
            End::Done(_) | End::PutBack => None,
        }
    }

    /// Counts the handler's end and tells the circuit, once.
    pub(super) fn judge(&mut self, end: &End) {
        if std::mem::replace(&mut self.is_judged, true) {
            return;
        }
        if let Some(begun) = self.begun {
            self.shared.metrics.process.record(begun.elapsed());
            self.shared.metrics.in_flight.decrement(1.0);
            self.shared.metrics.processed(end);
        }
        let verdict = match (end, self.class(end)) {
            (End::Done(_), _) => Verdict::Reached,
            (_, Some(Class::Retry | Class::RetryAfter(_))) => Verdict::Failed,
            (_, Some(Class::Unavailable)) => Verdict::Unavailable,
            (_, Some(Class::Fatal | Class::Release) | None) => Verdict::Unclear,
        };
        let circuit = &self.shared.circuit;
        if circuit.record(self.is_probe, verdict, Instant::now()) {
            let level = circuit.level();
            let group = &self.shared.group;
            tracing::warn!(topic = %group.topic(), group = %group.name(), is_open = level > 0, "the circuit of a worker has changed");
        }
        self.shared.metrics.circuit.set(f64::from(circuit.level()));
    }

    /// Its end. What comes after the first is no end.
    pub(super) fn finish(&mut self, end: End) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.judge(&end);
        let metrics = &self.shared.metrics;
        self.slot = None;
        // The worker has cut it off and put it back already when it is held no more.
        let Some(kept) = self.shared.leases.end(self.number) else { return };
        let deliveries = self.job.deliveries();
        let action = match end {
            End::Done(Done::Settled) => {
                metrics.attempts.record(f64::from(deliveries));
                return add_one(&self.shared.counts.done);
            }
            End::Done(Done::Ack) => Action::Ack,
            End::PutBack => Action::Release,
            End::Panicked(what) => {
                self.action(&Failure::new(self.shared.on_panic, format!("the handler panicked: {what}")))
            }
            End::Failed(failure) => self.action(&failure),
        };
        let is_its_end = match action {
            Action::Ack | Action::Dead { .. } => true,
            Action::Retry { .. } => self.job.is_last(),
            Action::Release | Action::Extend { .. } => false,
        };
        if is_its_end {
            metrics.attempts.record(f64::from(deliveries));
        }
        self.send(kept, action);
    }

    fn send(&mut self, kept: Kept, action: Action) {
        let counts = &self.shared.counts;
        if kept.is_over {
            return add_one(&counts.lost);
        }
        // When nobody settles any more, the worker is gone, and the lease ends by itself.
        let Some(settler) = self.settle.upgrade() else { return };
        add_one(&counts.open);
        let _ = settler.send(Settlement { kept, action, room: self.room.take(), was_unknown: false });
    }

    fn action(&self, failure: &Failure) -> Action {
        let policy = self.policy();
        let after = match failure.class() {
            Class::Fatal => return Action::Dead { reason: Arc::clone(failure.reason()) },
            Class::Release | Class::Unavailable => return Action::Release,
            Class::Retry => policy.wait(self.job.deliveries(), &self.job.message().id),
            Class::RetryAfter(after) => after,
        };
        let reason = Arc::clone(failure.reason());
        let deliveries = self.job.deliveries();
        if policy.deliveries_max.is_some_and(|max| deliveries >= max.get()) {
            return Action::Dead { reason: format!("not tried again after {deliveries} deliveries: {reason}").into() };
        }
        match policy.max_elapsed {
            Some(max) if difference(self.now(), self.first_due()).saturating_add(after) > max => {
                Action::Dead { reason: format!("not tried again after {max:?}: {reason}").into() }
            }
            _ => Action::Retry { after, reason },
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let is_cut = self.begun.is_none() || self.shared.is_cut();
        self.finish(if is_cut { End::PutBack } else { End::Panicked("while it was dropped".to_owned()) });
    }
}

/// When the lease began, by the backend's clock.
fn begun(delivery: &Delivery, lease: Duration) -> Timestamp {
    Timestamp::from_nanos(delivery.leased_until.as_nanos().saturating_sub(nanos(lease)))
}

fn difference(later: Timestamp, earlier: Timestamp) -> Duration {
    let nanos = later.as_nanos().saturating_sub(earlier.as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
