//! Ours, behind its contract: whatever the backend, the same calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use txn_queue::{
    Action, Message, Publish, Published, QueueAdmin, Receive, Received, Settle, Settled, Wait, WorkerId,
    memory::Memory, postgres::Postgres, sqlite::Sqlite,
};

use super::{
    side::Side,
    work::{group, publish, topology},
};

/// How long a worker holds what it has claimed, at most.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// How long an idle worker waits until it looks again whether all is done.
pub(super) const IDLE: Duration = Duration::from_millis(5);

/// Which queue is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Sqlite,
    Postgres,
}

impl Backend {
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Memory, Self::Sqlite, Self::Postgres].into_iter().find(|backend| backend.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Opens the queue of a place: a file's path, a database's URL, or anything in memory.
    pub(crate) async fn open(self, place: &str) -> Result<Arc<dyn QueueAdmin>, String> {
        match self {
            Self::Memory => Ok(Arc::new(Memory::new())),
            Self::Sqlite => Ok(Arc::new(Sqlite::open(place).map_err(|error| error.to_string())?)),
            Self::Postgres => Ok(Arc::new(Postgres::open(place).await.map_err(|error| error.to_string())?)),
        }
    }
}

/// A queue with its topic and its group.
pub(super) struct Ours {
    pub(super) queue: Arc<dyn QueueAdmin>,
    /// Each claim is another worker's, as far as the queue can tell.
    workers: AtomicU64,
}

impl Ours {
    /// Opens a place that is empty.
    pub(super) async fn open(backend: Backend, place: &str, messages_max: u64) -> Result<Arc<Self>, String> {
        let queue = backend.open(place).await?;
        queue.declare(topology(messages_max)).await.map_err(|error| error.to_string())?;
        Ok(Arc::new(Self { queue, workers: AtomicU64::new(0) }))
    }

    /// That nothing is left.
    pub(super) async fn is_empty(&self) -> Result<(), String> {
        match self.left().await? {
            0 => Ok(()),
            left => Err(format!("{left} messages are left")),
        }
    }

    /// How many messages the topic holds.
    pub(super) async fn left(&self) -> Result<u64, String> {
        let stats = self.queue.stats().await.map_err(|error| error.to_string())?;
        Ok(stats.topics.values().map(|topic| topic.messages).sum())
    }
}

/// What a worker asks for.
pub(super) fn receive(worker: u64, max: usize) -> Receive {
    let worker = WorkerId::new(format!("worker-{worker}")).expect("short and graphic");
    Receive { group: group(), worker, max, lease: LEASE }
}

/// Acknowledgements of all that was received.
pub(super) fn acks(received: Received) -> Vec<Settle> {
    received.deliveries.into_iter().map(|delivery| Settle { lease: delivery.lease, action: Action::Ack }).collect()
}

impl Side for Ours {
    type Batch = Vec<Publish>;
    type Claim = Received;

    fn batch(messages: &[Arc<Message>]) -> Self::Batch {
        publish(messages)
    }

    async fn publish(&self, batch: Self::Batch) -> Result<(), String> {
        let published = self.queue.publish(batch).await.map_err(|error| error.to_string())?;
        match published.iter().find(|published| !matches!(published, Published::Accepted { copies: 1 })) {
            None => Ok(()),
            Some(other) => Err(format!("a message that should be accepted ended with {other:?}")),
        }
    }

    async fn claim(&self, max: usize) -> Result<Received, String> {
        let worker = self.workers.fetch_add(1, Ordering::Relaxed) % 16;
        self.queue.receive(receive(worker, max)).await.map_err(|error| error.to_string())
    }

    fn count(claim: &Received) -> usize {
        claim.deliveries.len()
    }

    async fn settle(&self, claim: Received) -> Result<(), String> {
        let settled = self.queue.settle(&group(), acks(claim)).await.map_err(|error| error.to_string())?;
        match settled.iter().find(|settled| **settled != Settled::Applied) {
            None => Ok(()),
            Some(other) => Err(format!("a settlement that should apply ended with {other:?}")),
        }
    }

    async fn idle(&self, claim: Received) -> Result<(), String> {
        let wait = self.queue.wait(Wait::Messages(group(), claim.seen));
        match tokio::time::timeout(IDLE, wait).await {
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}
