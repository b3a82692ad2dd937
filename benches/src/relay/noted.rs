//! A queue that notes when it had answered for each message.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use txn_queue::{
    Capabilities, Control, Error, Group, Publish, Published, Queue, QueueAdmin, Receive, Received, Redrive, Redriven,
    Reschedule, Rescheduled, Settle, Settled, Stats, Topology, Wait,
};

use super::work;

/// The queue behind it, and what was published through this handle of it.
pub(super) struct Noted {
    pub(super) queue: Arc<dyn QueueAdmin>,
    count: AtomicU64,
    calls: AtomicU64,
    times: Mutex<Vec<(u64, Instant)>>,
}

impl Noted {
    pub(super) fn new(queue: Arc<dyn QueueAdmin>) -> Arc<Self> {
        Arc::new(Self { queue, count: AtomicU64::new(0), calls: AtomicU64::new(0), times: Mutex::default() })
    }

    /// Messages that the queue has taken.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Calls that it has answered.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Acquire)
    }

    /// The number of each message, and when the queue had answered for it.
    pub(super) fn times(&self) -> Vec<(u64, Instant)> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait::async_trait]
impl Queue for Noted {
    fn capabilities(&self) -> Capabilities {
        self.queue.capabilities()
    }

    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        let numbers: Vec<_> =
            batch.iter().flat_map(|publish| &publish.messages).map(|message| work::number(&message.id)).collect();
        let published = self.queue.publish(batch).await?;
        let now = Instant::now();
        let is_new = |published: &Published| matches!(published, Published::Accepted { copies: 1 });
        let taken = numbers.into_iter().zip(&published).filter(|(_, published)| is_new(published));
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let before = times.len();
        times.extend(taken.filter_map(|(number, _)| number.map(|number| (number, now))));
        self.calls.fetch_add(1, Ordering::AcqRel);
        self.count.fetch_add((times.len() - before) as u64, Ordering::AcqRel);
        Ok(published)
    }

    async fn receive(&self, receive: Receive) -> Result<Received, Error> {
        self.queue.receive(receive).await
    }

    async fn settle(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        self.queue.settle(group, batch).await
    }

    async fn wait(&self, wait: Wait) -> Result<(), Error> {
        self.queue.wait(wait).await
    }
}

#[async_trait::async_trait]
impl QueueAdmin for Noted {
    async fn declare(&self, topology: Topology) -> Result<(), Error> {
        self.queue.declare(topology).await
    }

    async fn reschedule(&self, batch: Vec<Reschedule>) -> Result<Vec<Rescheduled>, Error> {
        self.queue.reschedule(batch).await
    }

    async fn control(&self, control: Control) -> Result<(), Error> {
        self.queue.control(control).await
    }

    async fn redrive(&self, redrive: Redrive) -> Result<Redriven, Error> {
        self.queue.redrive(redrive).await
    }

    async fn stats(&self) -> Result<Stats, Error> {
        self.queue.stats().await
    }
}
