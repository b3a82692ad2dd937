//! A queue that forgets everything between two calls but what its file says.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use txn_queue::{
    Capabilities, Clock, Control, Error, Group, Publish, Published, Queue, QueueAdmin, QueueLimits, Receive, Received,
    Redrive, Redriven, Reschedule, Rescheduled, Settle, Settled, Stats, Topology, Wait, conformance::block_on,
    sqlite::Sqlite,
};

pub(crate) struct Reopened {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    limits: QueueLimits,
    /// One call at a time.
    turn: Mutex<()>,
}

impl Reopened {
    pub(crate) fn new(path: PathBuf, clock: Arc<dyn Clock>, limits: QueueLimits) -> Self {
        Self { path, clock, limits, turn: Mutex::default() }
    }

    fn call<T>(&self, call: impl AsyncFnOnce(&Sqlite) -> Result<T, Error>) -> Result<T, Error> {
        let _turn = self.turn.lock().unwrap();
        let queue = Sqlite::with(&self.path, Arc::clone(&self.clock), self.limits)?;
        block_on(call(&queue))
    }
}

#[async_trait]
impl Queue for Reopened {
    fn capabilities(&self) -> Capabilities {
        self.call(async |queue| Ok(queue.capabilities())).unwrap()
    }

    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        self.call(async |queue| queue.publish(batch).await)
    }

    async fn receive(&self, receive: Receive) -> Result<Received, Error> {
        self.call(async |queue| queue.receive(receive).await)
    }

    async fn settle(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        self.call(async |queue| queue.settle(group, batch).await)
    }

    async fn wait(&self, wait: Wait) -> Result<(), Error> {
        self.call(async |queue| queue.wait(wait).await)
    }
}

#[async_trait]
impl QueueAdmin for Reopened {
    async fn declare(&self, topology: Topology) -> Result<(), Error> {
        self.call(async |queue| queue.declare(topology).await)
    }

    async fn reschedule(&self, batch: Vec<Reschedule>) -> Result<Vec<Rescheduled>, Error> {
        self.call(async |queue| queue.reschedule(batch).await)
    }

    async fn control(&self, control: Control) -> Result<(), Error> {
        self.call(async |queue| queue.control(control).await)
    }

    async fn redrive(&self, redrive: Redrive) -> Result<Redriven, Error> {
        self.call(async |queue| queue.redrive(redrive).await)
    }

    async fn stats(&self) -> Result<Stats, Error> {
        self.call(async |queue| queue.stats().await)
    }
}
