//! A queue and a store that fail before and after they have done what they were asked, and whose every call can be dropped before it, in the midst of it, and after it. By a seed.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use txn::{
    change::Tenant,
    queue::{self, Capabilities, Publish, Published, Queue, QueueAdmin, Reschedule, Rescheduled},
    store::{self, Ask, Commit, Cursor, LogPage, Outcome, Page, Position, Query, Snapshot, Store},
};

/// Numbers that look random (xorshift64*, Vigna 2016), the same for the same seed.
#[derive(Debug)]
pub(crate) struct Dice(Mutex<u64>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
    }

    pub(crate) fn below(&self, sides: u32) -> u32 {
        let mut state = self.0.lock().unwrap();
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        let high = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        u32::try_from(high).unwrap() % sides
    }

    /// One of so many places.
    pub(crate) fn choose(&self, places: usize) -> usize {
        self.below(places.try_into().unwrap()).try_into().unwrap()
    }
}

/// Gives whoever polls a chance to go away.
pub(crate) async fn pause() {
    let mut is_over = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut is_over, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

pub(crate) struct FlakyQueue {
    pub(crate) queue: Arc<queue::memory::Memory>,
    pub(crate) dice: Arc<Dice>,
    /// Nothing fails any more.
    pub(crate) is_well: AtomicBool,
}

impl FlakyQueue {
    fn fails(&self) -> bool {
        !self.is_well.load(Ordering::SeqCst) && self.dice.below(8) == 0
    }
}

fn down() -> queue::Error {
    queue::Error::new(queue::ErrorKind::Unavailable, "a plug was pulled")
}

#[async_trait]
impl Queue for FlakyQueue {
    fn capabilities(&self) -> Capabilities {
        self.queue.capabilities()
    }

    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, queue::Error> {
        pause().await;
        if self.fails() {
            return Err(down());
        }
        // No room from some message on.
        let to = |publish: Publish| publish.messages.into_iter().map(move |message| (publish.to.clone(), message));
        let mut messages: Vec<_> = batch.into_iter().flat_map(to).collect();
        let count = messages.len();
        let taken = if self.fails() { self.dice.choose(count) } else { count };
        let rest = messages.split_off(taken);
        let mut results = self.queue.publish(Publish::each(messages)).await?;
        pause().await;
        if self.fails() {
            return Ok(vec![Published::Unknown; count]);
        }
        results.extend(rest.into_iter().map(|(to, _)| {
            let queue::Address::Topic(topic) = to else { panic!("to a topic") };
            Published::Refused(queue::Refusal::Full { topic, max: 0 })
        }));
        Ok(results)
    }

    async fn receive(&self, receive: queue::Receive) -> Result<queue::Received, queue::Error> {
        self.queue.receive(receive).await
    }

    async fn settle(
        &self,
        group: &queue::Group,
        batch: Vec<queue::Settle>,
    ) -> Result<Vec<queue::Settled>, queue::Error> {
        self.queue.settle(group, batch).await
    }

    async fn wait(&self, wait: queue::Wait) -> Result<(), queue::Error> {
        self.queue.wait(wait).await
    }
}

#[async_trait]
impl QueueAdmin for FlakyQueue {
    async fn declare(&self, topology: queue::Topology) -> Result<(), queue::Error> {
        self.queue.declare(topology).await
    }

    async fn reschedule(&self, batch: Vec<Reschedule>) -> Result<Vec<Rescheduled>, queue::Error> {
        pause().await;
        if self.fails() {
            return Err(down());
        }
        let results = self.queue.reschedule(batch).await?;
        pause().await;
        Ok(if self.fails() { vec![Rescheduled::Unknown; results.len()] } else { results })
    }

    async fn control(&self, control: queue::Control) -> Result<(), queue::Error> {
        self.queue.control(control).await
    }

    async fn redrive(&self, redrive: queue::Redrive) -> Result<queue::Redriven, queue::Error> {
        self.queue.redrive(redrive).await
    }

    async fn stats(&self) -> Result<queue::Stats, queue::Error> {
        self.queue.stats().await
    }
}

pub(crate) struct FlakyStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) dice: Arc<Dice>,
    pub(crate) is_well: AtomicBool,
}

impl FlakyStore {
    fn fails(&self) -> bool {
        !self.is_well.load(Ordering::SeqCst) && self.dice.below(12) == 0
    }

    async fn may_fail(&self) -> Result<(), store::Error> {
        pause().await;
        let down = || store::Error::new(store::ErrorKind::Unavailable, "a plug was pulled");
        if self.fails() { Err(down()) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for FlakyStore {
    async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, store::Error>> {
        if self.may_fail().await.is_err() {
            let down = |_| Err(store::Error::new(store::ErrorKind::Unavailable, "a plug was pulled"));
            return batch.iter().map(down).collect();
        }
        let ids: Vec<_> = batch.iter().map(|commit| commit.change.id.clone()).collect();
        let results = self.store.commit(batch).await;
        pause().await;
        if self.fails() { ids.into_iter().map(|id| Ok(Outcome::Unknown(id))).collect() } else { results }
    }

    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, store::Error> {
        self.may_fail().await?;
        self.store.get(asks).await
    }

    async fn find(
        &self,
        tenant: &Tenant,
        query: &Query,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, store::Error> {
        self.may_fail().await?;
        self.store.find(tenant, query, after, limit).await
    }

    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, store::Error> {
        self.may_fail().await?;
        self.store.read(after, limit).await
    }

    async fn watch(&self, after: Position) -> Result<Position, store::Error> {
        self.may_fail().await?;
        self.store.watch(after).await
    }
}
