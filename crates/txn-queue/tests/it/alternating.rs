//! One queue through two handles, which take turns call by call.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use txn_queue::{
    Capabilities, Control, Error, Group, Publish, Published, Queue, QueueAdmin, Receive, Received, Redrive, Redriven,
    Reschedule, Rescheduled, Settle, Settled, Stats, Topology, Wait,
};

pub(crate) struct Alternating {
    handles: [Arc<dyn QueueAdmin>; 2],
    calls: AtomicUsize,
}

impl Alternating {
    pub(crate) fn new(handles: [Arc<dyn QueueAdmin>; 2]) -> Self {
        Self { handles, calls: AtomicUsize::new(0) }
    }

    fn next(&self) -> &dyn QueueAdmin {
        &*self.handles[self.calls.fetch_add(1, Ordering::SeqCst) % 2]
    }
}

#[async_trait]
impl Queue for Alternating {
    fn capabilities(&self) -> Capabilities {
        self.next().capabilities()
    }

    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        self.next().publish(batch).await
    }

    async fn receive(&self, receive: Receive) -> Result<Received, Error> {
        self.next().receive(receive).await
    }

    async fn settle(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        self.next().settle(group, batch).await
    }

    async fn wait(&self, wait: Wait) -> Result<(), Error> {
        self.next().wait(wait).await
    }
}

#[async_trait]
impl QueueAdmin for Alternating {
    async fn declare(&self, topology: Topology) -> Result<(), Error> {
        self.next().declare(topology).await
    }

    async fn reschedule(&self, batch: Vec<Reschedule>) -> Result<Vec<Rescheduled>, Error> {
        self.next().reschedule(batch).await
    }

    async fn control(&self, control: Control) -> Result<(), Error> {
        self.next().control(control).await
    }

    async fn redrive(&self, redrive: Redrive) -> Result<Redriven, Error> {
        self.next().redrive(redrive).await
    }

    async fn stats(&self) -> Result<Stats, Error> {
        self.next().stats().await
    }
}
