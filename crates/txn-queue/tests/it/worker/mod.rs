//! Workers over the queue in memory, by a clock that goes with tokio's paused one.

mod batch;
mod circuit;
mod drain;
mod leases;
pub(crate) mod observe;
mod outcomes;
mod retry;
mod trouble;
mod typed;

use std::{
    collections::BTreeMap,
    future::{Ready, ready},
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};
use tower_service::Service;
use txn_change::Timestamp;
use txn_queue::{
    Action, Address, Capabilities, Clock, Delivery, Error, Group, GroupName, GroupSpec, GroupStats, Message, MessageId,
    MessageType, Order, Publish, Published, Queue, QueueAdmin, QueueLimits, Receive, Received, Settle, Settled, Source,
    Topic, TopicSpec, Topology, Wait, WorkerId,
    memory::Memory,
    worker::{Done, Drained, Failure, Job, Worker},
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Goes with tokio's time, paused or not.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(1_900_000_000_000_000_000).after(self.0.elapsed()).unwrap()
    }
}

/// What becomes of a call instead of what the queue would do.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Not executed.
    Error(txn_queue::ErrorKind),
    /// Executed, and the answer lost.
    Unknown,
    /// Never answered, and not executed.
    Hang,
    /// Executed, and answered three seconds later.
    Slow,
}

/// A queue in memory that can be hurt, and counts what it is asked.
struct Hurt {
    memory: Arc<Memory>,
    receive: Mutex<Option<Fault>>,
    wait: Mutex<Option<Fault>>,
    /// Of settlements, by what is asked: extensions, and others.
    extend: Mutex<Option<Fault>>,
    settle: Mutex<Option<Fault>>,
    /// Waiting ends at once, for nothing.
    waits_for_nothing: std::sync::atomic::AtomicBool,
    receives: AtomicUsize,
    waits: AtomicUsize,
    extends: AtomicUsize,
    settles: AtomicUsize,
    /// The most extensions of one call.
    extended_max: AtomicUsize,
}

async fn hurt<T>(fault: &Mutex<Option<Fault>>, done: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let fault = *fault.lock().unwrap();
    match fault {
        Some(Fault::Error(kind)) => Err(Error::new(kind, "hurt by a test")),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Slow) => {
            let answer = done.await;
            tokio::time::sleep(3 * SECOND).await;
            answer
        }
        Some(Fault::Unknown) | None => done.await,
    }
}

#[async_trait]
impl Queue for Hurt {
    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }
    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        self.memory.publish(batch).await
    }
    async fn receive(&self, receive: Receive) -> Result<Received, Error> {
        self.receives.fetch_add(1, Ordering::SeqCst);
        hurt(&self.receive, self.memory.receive(receive)).await
    }
    async fn settle(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        let is_extending = batch.iter().any(|settle| matches!(settle.action, Action::Extend { .. }));
        let (count, fault) = if is_extending { (&self.extends, &self.extend) } else { (&self.settles, &self.settle) };
        count.fetch_add(1, Ordering::SeqCst);
        if is_extending {
            self.extended_max.fetch_max(batch.len(), Ordering::SeqCst);
        }
        let results = hurt(fault, self.memory.settle(group, batch)).await?;
        let is_unknown = matches!(*fault.lock().unwrap(), Some(Fault::Unknown));
        Ok(results.into_iter().map(|settled| if is_unknown { Settled::Unknown } else { settled }).collect())
    }
    async fn wait(&self, wait: Wait) -> Result<(), Error> {
        self.waits.fetch_add(1, Ordering::SeqCst);
        if self.waits_for_nothing.load(Ordering::SeqCst) {
            return Ok(());
        }
        hurt(&self.wait, self.memory.wait(wait)).await
    }
}

fn set(fault: &Mutex<Option<Fault>>, what: impl Into<Option<Fault>>) {
    *fault.lock().unwrap() = what.into();
}

/// A topic, a group and a queue of their own.
struct Home {
    queue: Arc<Hurt>,
    topic: Topic,
    group: Group,
}

impl Home {
    async fn new(deliveries_max: u32) -> Self {
        let topic = Topic::new("orders").unwrap();
        let group = Group::new(topic.clone(), GroupName::new("mailer").unwrap());
        let queue = Hurt {
            memory: Arc::new(Memory::with(Arc::new(TokioClock(Instant::now())), QueueLimits::default())),
            receive: Mutex::default(),
            wait: Mutex::default(),
            extend: Mutex::default(),
            settle: Mutex::default(),
            waits_for_nothing: false.into(),
            receives: 0.into(),
            waits: 0.into(),
            extends: 0.into(),
            settles: 0.into(),
            extended_max: 0.into(),
        };
        let spec = GroupSpec {
            deliveries_max: NonZeroU32::new(deliveries_max).unwrap(),
            order: Order::None,
            ..GroupSpec::new(group.clone())
        };
        let letters = spec.dead_letter_topic();
        let reader = Group::new(letters.clone(), GroupName::new("reader").unwrap());
        let topology = Topology::default()
            .topic(TopicSpec::new(topic.clone()))
            .topic(TopicSpec::new(letters))
            .group(spec)
            .group(GroupSpec { order: Order::None, ..GroupSpec::new(reader) });
        queue.memory.declare(topology).await.unwrap();
        Self { queue: Arc::new(queue), topic, group }
    }

    fn worker(&self) -> Worker {
        Worker::new(Arc::clone(&self.queue) as Arc<dyn Queue>, self.group.clone())
    }

    async fn publish(&self, messages: impl IntoIterator<Item = Message>) {
        let publish = |message| Publish::one(Address::Topic(self.topic.clone()), message);
        let batch: Vec<Publish> = messages.into_iter().map(publish).collect();
        let published = self.queue.publish(batch).await.unwrap();
        assert!(published.iter().all(|published| matches!(published, Published::Accepted { .. })), "{published:?}");
    }

    async fn publish_numbers(&self, count: u32) {
        self.publish((0..count).map(|number| message(&number.to_string()))).await;
    }

    async fn stats(&self) -> GroupStats {
        self.queue.memory.stats().await.unwrap().topics[&self.topic].groups[self.group.name()]
    }

    /// Ends when the group has settled everything.
    async fn emptied(&self) {
        while self.stats().await.depth > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What another worker is given.
    async fn take(&self, max: usize) -> Vec<Delivery> {
        let worker = WorkerId::new("another").unwrap();
        let receive = Receive { group: self.group.clone(), worker, max, lease: 3_600 * SECOND };
        self.queue.memory.receive(receive).await.unwrap().deliveries
    }

    /// The dead letters.
    async fn letters(&self) -> Vec<Delivery> {
        let topic = GroupSpec::new(self.group.clone()).dead_letter_topic();
        let group = Group::new(topic, GroupName::new("reader").unwrap());
        let worker = WorkerId::new("reader").unwrap();
        let receive = Receive { group, worker, max: 1_000, lease: 3_600 * SECOND };
        self.queue.memory.receive(receive).await.unwrap().deliveries
    }
}

fn message(id: &str) -> Message {
    let kind = MessageType::new("order.placed").unwrap();
    Message::new(MessageId::new(id).unwrap(), Source::new("/shop").unwrap(), kind)
}

/// A worker that has been started.
struct Running {
    stop: Option<oneshot::Sender<()>>,
    run: JoinHandle<Result<Drained, Error>>,
}

impl Running {
    fn start<L, S>(worker: Worker<L>, service: S) -> Self
    where
        L: tower_layer::Layer<S> + Send + Sync + 'static,
        L::Service: Service<Job, Response: Into<Done>, Error: Into<Failure>, Future: Send> + Clone + Send + 'static,
        S: Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let run = tokio::spawn(worker.run(service, async { drop(stopped.await) }));
        Self { stop: Some(stop), run }
    }

    /// It is told to stop.
    fn stop(&mut self) {
        drop(self.stop.take());
    }

    async fn ended(mut self) -> Drained {
        self.stop();
        self.run.await.unwrap().unwrap()
    }
}

/// A handler that is a function.
#[derive(Clone)]
struct Handler<F>(F);

impl<F, A> Service<Job> for Handler<F>
where
    F: FnMut(Job) -> A,
    A: Future<Output = Result<(), Failure>>,
{
    type Response = ();
    type Error = Failure;
    type Future = A;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> A {
        (self.0)(job)
    }
}

/// Which messages a handler was given, and how often.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, Vec<u32>>>>);

impl Seen {
    fn add(&self, job: &Job) {
        let id = job.message().id.to_string();
        self.0.lock().unwrap().entry(id).or_default().push(job.deliveries());
    }

    /// The numbers of the deliveries of a message.
    fn of(&self, id: &str) -> Vec<u32> {
        self.0.lock().unwrap().get(id).cloned().unwrap_or_default()
    }

    fn total(&self) -> usize {
        self.0.lock().unwrap().values().map(Vec::len).sum()
    }
}

/// How many handlers run, and how many ran at once at most.
#[derive(Clone, Default)]
struct Crowd(Arc<(AtomicU32, AtomicU32)>);

struct Inside(Crowd);

impl Crowd {
    fn enter(&self) -> Inside {
        let inside = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(inside, Ordering::SeqCst);
        Inside(self.clone())
    }

    fn inside(&self) -> u32 {
        self.0.0.load(Ordering::SeqCst)
    }

    fn most(&self) -> u32 {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn done(_: Job) -> Ready<Result<(), Failure>> {
    ready(Ok(()))
}

/// Bounded consumption: never more at once than was said, and no more held than there is room for.
#[tokio::test(start_paused = true)]
async fn no_more_run_at_once_than_was_said() {
    let home = Home::new(3).await;
    home.publish_numbers(50).await;
    let (crowd, seen) = (Crowd::default(), Seen::default());
    let handler = {
        let (crowd, seen) = (crowd.clone(), seen.clone());
        Handler(move |job: Job| {
            let (crowd, seen) = (crowd.clone(), seen.clone());
            async move {
                let _inside = crowd.enter();
                seen.add(&job);
                tokio::time::sleep(SECOND).await;
                Ok(())
            }
        })
    };
    let running = Running::start(home.worker().concurrency(4).prefetch(3), handler);
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!((crowd.inside(), home.stats().await.leased), (4, 7));
    home.emptied().await;
    assert_eq!((crowd.most(), seen.total()), (4, 50));
    let drained = running.ended().await;
    assert_eq!(drained.done, 50, "{drained:?}");
}
