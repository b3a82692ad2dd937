//! What brings messages from the queue to their handlers: never more than there is room for, and never busily.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{
        OwnedSemaphorePermit,
        mpsc::{UnboundedReceiver, UnboundedSender, WeakUnboundedSender},
        watch,
    },
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tower_service::Service;

use super::{
    Done, Failure, Job,
    backoff::Backoff,
    circuit::Gate,
    held::{End, Held},
    job::told,
    settle::Settlement,
    shared::Shared,
    work::work,
};
use crate::{
    error::{Error, ErrorKind},
    queue::{Receive, Received, Wait},
};

/// A group is asked again after so long although nothing was heard of it.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Receives until the worker drains. What had been asked for by then is still handed on.
///
/// # Errors
/// Those of the queue that no waiting mends.
pub(super) async fn pull(
    shared: &Arc<Shared>,
    out: UnboundedSender<Held>,
    settle: WeakUnboundedSender<Settlement>,
) -> Result<(), Error> {
    let draining = shared.draining.subscribe();
    let mut trouble = Trouble::new();
    let mut pace = Pace::new();
    loop {
        let Some((mut slots, mut room)) = unless(&draining, places(shared)).await else { return Ok(()) };
        let (max, is_probe) = match shared.circuit.gate(Instant::now()) {
            Gate::All => (slots.num_permits().min(room.num_permits()), false),
            Gate::Probe => (1, true),
            gate => {
                drop((slots, room));
                if unless(&draining, closed(shared, gate)).await.is_none() {
                    return Ok(());
                }
                continue;
            }
        };
        let called = Instant::now();
        let received = match receive(shared, max).await {
            Ok(received) => received,
            Err(error) => {
                let wait = trouble.with(shared, error)?;
                drop((slots, room));
                if unless(&draining, sleep(wait)).await.is_none() {
                    return Ok(());
                }
                continue;
            }
        };
        trouble.ends(shared);
        let (found, next_in, seen) = (received.deliveries.len(), received.next_in, received.seen);
        if is_probe && found > 0 {
            shared.circuit.probe_begins();
        }
        for delivery in received.deliveries {
            let places = (slots.split(1), room.split(1));
            let held = Held::new(shared, delivery, called, is_probe, places, settle.clone());
            // Whoever reads has ended only with the worker; the message then goes back.
            let _ = out.send(held);
        }
        drop((slots, room));
        if found >= max {
            continue;
        }
        let since = Instant::now();
        let wait = shared.queue.wait(Wait::Messages(shared.group.clone(), seen));
        let wait = timeout(next_in.unwrap_or(IDLE_MAX).min(IDLE_MAX), wait);
        match unless(&draining, wait).await {
            None => return Ok(()),
            Some(Ok(Err(error))) => {
                let wait = trouble.with(shared, error)?;
                if unless(&draining, sleep(wait)).await.is_none() {
                    return Ok(());
                }
            }
            Some(_) if found == 0 => {
                if unless(&draining, pace.keep(since)).await.is_none() {
                    return Ok(());
                }
            }
            Some(_) => {}
        }
    }
}

/// Hands messages to their handlers, in the order in which they came, and puts back those that are not to be begun. Ends when no more can come.
pub(super) async fn dispatch<S>(
    shared: &Arc<Shared>,
    mut inbox: UnboundedReceiver<Held>,
    service: S,
    jobs: &mut JoinSet<()>,
) where
    S: Service<Job, Response: Into<Done>, Error: Into<Failure>, Future: Send> + Clone + Send + 'static,
{
    let draining = shared.draining.subscribe();
    while let Some(mut held) = inbox.recv().await {
        let running = Arc::clone(&shared.running).acquire_owned();
        let Some(Ok(permit)) = unless(&draining, running).await else {
            held.finish(End::PutBack);
            continue;
        };
        while jobs.try_join_next().is_some() {}
        // It was received before the circuit opened, or somebody else may have it by now.
        let is_held_back = !held.is_probe && shared.circuit.level() > 0;
        if is_held_back || held.is_lost() {
            held.finish(End::PutBack);
            continue;
        }
        match catch_unwind(AssertUnwindSafe(|| service.clone())) {
            Ok(service) => drop(jobs.spawn(work(service, held, permit))),
            Err(_) => held.finish(End::Panicked("while it was cloned".to_owned())),
        }
    }
}

/// The future's output, unless the worker drains before.
async fn unless<F: Future>(draining: &watch::Receiver<bool>, future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        () = told(draining.clone()) => None,
        output = future => Some(output),
    }
}

/// Places for as many messages as there are now, one at least.
async fn places(shared: &Shared) -> (OwnedSemaphorePermit, OwnedSemaphorePermit) {
    const OPEN: &str = "a worker's semaphores are never closed";
    let mut slots = Arc::clone(&shared.slots).acquire_owned().await.expect(OPEN);
    let mut room = Arc::clone(&shared.room).acquire_owned().await.expect(OPEN);
    let more = shared.slots.available_permits().min(shared.room.available_permits());
    let more = u32::try_from(more.min(shared.batch_max.saturating_sub(1))).unwrap_or(u32::MAX);
    let taken =
        (Arc::clone(&shared.slots).try_acquire_many_owned(more), Arc::clone(&shared.room).try_acquire_many_owned(more));
    if let (Ok(more_slots), Ok(more_room)) = taken {
        slots.merge(more_slots);
        room.merge(more_room);
    }
    (slots, room)
}

async fn closed(shared: &Shared, gate: Gate) {
    let changed = shared.circuit.changed.notified();
    match gate {
        Gate::From(instant) => {
            tokio::select! {
                () = sleep_until(instant) => {}
                () = changed => {}
            }
        }
        _ => changed.await,
    }
    shared.metrics.circuit.set(f64::from(shared.circuit.level()));
}

async fn receive(shared: &Shared, max: usize) -> Result<Received, Error> {
    let receive = Receive { group: shared.group.clone(), worker: shared.id.clone(), max, lease: shared.lease };
    // What is given after so long would have to be given again.
    match timeout(shared.lease, shared.queue.receive(receive)).await {
        Ok(received) => received,
        Err(_) => Err(Error::new(ErrorKind::Unavailable, format!("no answer within {:?}", shared.lease))),
    }
}

/// Errors of the queue: each is waited for longer than the one before, and only the first is told.
struct Trouble {
    backoff: Backoff,
    is_told: bool,
}

impl Trouble {
    const fn new() -> Self {
        Self { backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)), is_told: false }
    }

    fn with(&mut self, shared: &Shared, error: Error) -> Result<Duration, Error> {
        shared.metrics.receive_errors.increment(1);
        if !error.is_retryable() {
            return Err(error);
        }
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(topic = %shared.group.topic(), group = %shared.group.name(), %error, "a queue does not answer; it is asked again");
        }
        Ok(self.backoff.next())
    }

    fn ends(&mut self, shared: &Shared) {
        self.backoff.reset();
        if std::mem::replace(&mut self.is_told, false) {
            tracing::info!(topic = %shared.group.topic(), group = %shared.group.name(), "a queue answers again");
        }
    }
}

/// Keeps a wait that ends for nothing, again and again, from making a busy loop: what others settle wakes everyone. No message waits longer for it than the greatest gap.
struct Pace(Backoff);

impl Pace {
    const fn new() -> Self {
        Self(Backoff::new(Duration::from_millis(1), Duration::from_millis(20)))
    }

    async fn keep(&mut self, since: Instant) {
        let gap = self.0.next();
        if since.elapsed() >= gap {
            self.0.reset();
        } else {
            sleep_until(super::leases::after(since, gap)).await;
        }
    }
}
