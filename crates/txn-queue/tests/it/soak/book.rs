//! Keeps the books of a long run: what was sent, what was acknowledged, and what must not be. It grows with what is open, and not with the time.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use txn_queue::{
    Action, Capabilities, Error, Group, Publish, Published, Queue, QueueAdmin, Receive, Received, Settle, Settled, Wait,
};

/// Acknowledgements that are remembered, the last ones.
const DONE_MAX: usize = 100_000;

#[derive(Default)]
pub(super) struct Book(Mutex<Pages>);

#[derive(Default)]
pub(super) struct Pages {
    /// Sent and not acknowledged. True when a call that was to acknowledge it has begun: it may have been dropped with its worker.
    pub(super) open: HashMap<u64, bool>,
    /// Which message a token is for.
    held: HashMap<u64, u64>,
    /// When a place was acknowledged, by the count of calls.
    done: HashMap<u64, u64>,
    done_order: VecDeque<u64>,
    calls: u64,
    pub(super) acked: u64,
    pub(super) duplicates: u64,
    /// What is to fail once, and has.
    pub(super) failed: HashSet<u64>,
    pub(super) wrong: Vec<String>,
}

impl Book {
    pub(super) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }
}

impl Pages {
    fn received(&mut self, begun: u64, received: &Received) {
        for delivery in &received.deliveries {
            let (place, id) = (delivery.lease.position.0, number(&delivery.message.id));
            if self.done.get(&place).is_some_and(|done| *done <= begun) {
                self.wrong.push(format!("{id} was delivered after it had been acknowledged"));
            }
            self.held.insert(delivery.lease.token, id);
        }
    }

    fn settles(&mut self, batch: &[Settle]) {
        for settle in batch.iter().filter(|settle| settle.action == Action::Ack) {
            let held = self.held.get(&settle.lease.token);
            if let Some(may_be_done) = held.and_then(|id| self.open.get_mut(id)) {
                *may_be_done = true;
            }
        }
    }

    fn settled(&mut self, settle: &Settle, settled: Settled) {
        if settled == Settled::Unknown || matches!(settle.action, Action::Extend { .. }) {
            return;
        }
        let held = self.held.remove(&settle.lease.token);
        let Some(id) = held.filter(|_| settled == Settled::Applied && settle.action == Action::Ack) else { return };
        let place = settle.lease.position.0;
        self.failed.remove(&id);
        self.acked += 1;
        if self.open.remove(&id).is_none() {
            self.wrong.push(format!("{id} was acknowledged twice"));
        }
        self.calls += 1;
        self.done.insert(place, self.calls);
        self.done_order.push_back(place);
        if self.done_order.len() > DONE_MAX {
            let oldest = self.done_order.pop_front().unwrap();
            self.done.remove(&oldest);
        }
    }
}

fn number(id: &str) -> u64 {
    id.parse().unwrap()
}

/// A queue as workers of the run see it.
pub(super) struct Watched {
    pub(super) queue: Arc<dyn QueueAdmin>,
    pub(super) book: Arc<Book>,
}

#[async_trait]
impl Queue for Watched {
    fn capabilities(&self) -> Capabilities {
        self.queue.capabilities()
    }
    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        self.queue.publish(batch).await
    }
    async fn receive(&self, receive: Receive) -> Result<Received, Error> {
        let begun = self.book.pages().calls;
        let received = self.queue.receive(receive).await?;
        self.book.pages().received(begun, &received);
        Ok(received)
    }
    async fn settle(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        self.book.pages().settles(&batch);
        let results = self.queue.settle(group, batch.clone()).await?;
        let mut pages = self.book.pages();
        batch.iter().zip(&results).for_each(|(settle, settled)| pages.settled(settle, *settled));
        Ok(results)
    }
    async fn wait(&self, wait: Wait) -> Result<(), Error> {
        self.queue.wait(wait).await
    }
}
