//! A worker: what it is told, its start, and its drain.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc::unbounded_channel, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};
use tower_layer::{Identity, Layer, Stack};
use tower_service::Service;

use super::{
    CircuitPolicy, Class, Done, Drained, Failure, Job, RetryPolicy, Trace,
    circuit::Circuit,
    consume::{dispatch, pull},
    leases::{after, beat},
    observe::Metrics,
    settle::{Settlement, settle},
    shared::{Counts, Shared},
};
use crate::{
    error::{Error, ErrorKind},
    name::WorkerId,
    queue::{Action, Group, Queue},
};

/// Handlers that a worker runs at a time, messages that it holds in advance, and settlements in a call, of each at most so many.
const COUNT_MAX: usize = 65_536;

/// The shortest lease that a heartbeat can keep.
const LEASE_MIN: Duration = Duration::from_millis(100);

/// What was cut off gets so long to be dropped.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// The queue has so long to answer, at least, when everything has ended.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// Gives the messages of a group to a handler, and tells the queue how they ended. See the [module](super) for what it promises.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::sync::Arc;
/// use txn_queue::{memory::Memory, worker::{Failure, Handlers, Job, Timeout, Trace, Worker}, *};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let queue = Arc::new(Memory::new());
/// let topic = Topic::new("orders")?;
/// let group = Group::new(topic.clone(), GroupName::new("mailer")?);
/// queue.declare(Topology::default().topic(TopicSpec::new(topic.clone())).group(GroupSpec::new(group.clone()))).await?;
/// let placed = MessageType::new("order.placed")?;
/// let message = Message::new(MessageId::new("1")?, Source::new("/shop")?, placed.clone()).data("application/json", *b"42");
/// queue.publish(vec![Publish::one(Address::Topic(topic), message)]).await?;
///
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let stop = Arc::new(std::sync::Mutex::new(Some(stop)));
/// let handlers = Handlers::new().on(placed, move |order: u32, _: Job| {
///     assert_eq!(order, 42);
///     drop(stop.lock().unwrap().take());
///     async { Ok::<(), Failure>(()) }
/// });
/// let worker = Worker::new(queue, group).concurrency(4).layer(Trace::new()).layer(Timeout::new(core::time::Duration::from_secs(10)));
/// let drained = worker.run(handlers, async { drop(stopped.await) }).await?;
/// assert_eq!(drained.done, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "it does nothing before it is run"]
pub struct Worker<L = Identity> {
    queue: Arc<dyn Queue>,
    group: Group,
    id: WorkerId,
    concurrency: usize,
    prefetch: usize,
    lease: Duration,
    hold_max: Duration,
    batch_max: usize,
    drain: Duration,
    retry: RetryPolicy,
    circuit: CircuitPolicy,
    on_panic: Class,
    trace: Trace,
    heartbeat: Option<Handle>,
    reserved: Option<Arc<dyn Queue>>,
    layer: L,
}

impl Worker {
    /// A worker of a group: a new incarnation, 16 handlers at a time, nothing held in advance, leases of 30 seconds that are extended until an hour after a handler began, and a drain of 30 seconds.
    pub fn new(queue: Arc<dyn Queue>, group: Group) -> Self {
        Self {
            queue,
            group,
            id: incarnation(),
            concurrency: 16,
            prefetch: 0,
            lease: Duration::from_secs(30),
            hold_max: Duration::from_secs(3_600),
            batch_max: 256,
            drain: Duration::from_secs(30),
            retry: RetryPolicy::default(),
            circuit: CircuitPolicy::default(),
            on_panic: Class::Retry,
            trace: Trace::default(),
            heartbeat: None,
            reserved: None,
            layer: Identity::new(),
        }
    }
}

impl<L> Worker<L> {
    /// Its name to the queue. One that two processes share does no harm to what they settle, but an operator who rescues the messages of one takes those of the other as well.
    pub fn id(mut self, id: WorkerId) -> Self {
        self.id = id;
        self
    }

    /// So many handlers at a time, 65,536 at most.
    pub const fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers;
        self
    }

    /// So many messages are held in advance, 65,536 at most. Their leases are extended as well; they are put back when the worker stops.
    pub const fn prefetch(mut self, messages: usize) -> Self {
        self.prefetch = messages;
        self
    }

    /// How long a message stays with a worker that has died; a tenth of a second at least. Extended each third of it.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a message is held from when its handler begins, at most: a handler that takes longer is dropped and has failed. [`super::Timeout`] is for shorter times.
    /// What waits for its handler is kept as long as it waits.
    pub const fn hold_max(mut self, hold_max: Duration) -> Self {
        self.hold_max = hold_max;
        self
    }

    /// Messages in one call of receiving or settling, at most; no more than the queue's own limit.
    pub const fn batch(mut self, messages: usize) -> Self {
        self.batch_max = messages;
        self
    }

    /// How long handlers may go on when the worker stops.
    pub const fn drain(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// When messages that failed are tried again.
    pub const fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// When consumption pauses.
    pub const fn circuit(mut self, circuit: CircuitPolicy) -> Self {
        self.circuit = circuit;
        self
    }

    /// What to do about a message whose handler panicked.
    pub const fn on_panic(mut self, class: Class) -> Self {
        self.on_panic = class;
        self
    }

    /// Links the spans of settlements with those that sent the messages. As a [layer](Self::layer) it follows handlers.
    pub fn trace(mut self, trace: Trace) -> Self {
        self.trace = trace;
        self
    }

    /// Where leases are extended; on the runtime that the worker runs on, when nothing is said. A runtime that handlers block with all its threads extends nothing: give it one of its own, with the queue's connections.
    pub fn heartbeat_on(mut self, runtime: Handle) -> Self {
        self.heartbeat = Some(runtime);
        self
    }

    /// Through which leases are extended and messages settled: the same queue, by connections that nobody else takes. Without it a host whose handlers have taken every connection of a pool waits for its own leases to end.
    pub fn reserved(mut self, queue: Arc<dyn Queue>) -> Self {
        self.reserved = Some(queue);
        self
    }

    /// Puts a layer around the handler, within those that were given before.
    pub fn layer<M>(self, layer: M) -> Worker<Stack<M, L>> {
        Worker {
            queue: self.queue,
            group: self.group,
            id: self.id,
            concurrency: self.concurrency,
            prefetch: self.prefetch,
            lease: self.lease,
            hold_max: self.hold_max,
            batch_max: self.batch_max,
            drain: self.drain,
            retry: self.retry,
            circuit: self.circuit,
            on_panic: self.on_panic,
            trace: self.trace,
            heartbeat: self.heartbeat,
            reserved: self.reserved,
            layer: Stack::new(layer, self.layer),
        }
    }

    /// Works until `shutdown` ends, and then drains: nothing more is received, what was not begun goes back at once, handlers have until the deadline, and what they have not done by then is cut off and goes back,
    /// uncounted. To be run on a tokio runtime with time. When this is dropped, handlers are dropped too, and their messages come back when the leases end.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what it cannot work with, and whatever the queue answers to receiving that no waiting mends; it has drained then, too.
    pub async fn run<S>(self, service: S, shutdown: impl Future<Output = ()>) -> Result<Drained, Error>
    where
        L: Layer<S>,
        L::Service: Service<Job, Response: Into<Done>, Error: Into<Failure>, Future: Send> + Clone + Send + 'static,
    {
        self.check()?;
        let service = self.layer.layer(service);
        let (drain, heartbeat) = (self.drain, self.heartbeat.clone().unwrap_or_else(Handle::current));
        let shared = Arc::new(self.shared());
        let (settler, settlements) = unbounded_channel();
        let mut settling = Task(tokio::spawn(settle(Arc::clone(&shared), settlements)));
        let mut beating = Task(heartbeat.spawn(beat(Arc::clone(&shared))));
        let mut jobs = JoinSet::new();
        // Below the jobs, so that it is dropped before they are: other threads may be dropping them by then.
        let cut_off = CutOff(Arc::clone(&shared));

        let (pulled, deadline) = {
            let (hand, inbox) = unbounded_channel();
            let pulling = async {
                let pulled = pull(&shared, hand, settler.downgrade()).await;
                shared.draining.send_replace(true);
                pulled
            };
            let consume = async { tokio::join!(pulling, dispatch(&shared, inbox, service, &mut jobs)).0 };
            let mut consume = pin!(consume);
            let pulled = tokio::select! {
                biased;
                () = shutdown => None,
                pulled = &mut consume => Some(pulled),
                error = died(&mut settling, &mut beating) => Some(Err(error)),
            };
            let deadline = after(Instant::now(), drain);
            shared.draining.send_replace(true);
            // What is being received is waited for: dropped, it would be counted and come back only when its lease ends.
            let pulled = match pulled {
                Some(pulled) => pulled,
                None => timeout_at(deadline, consume).await.unwrap_or(Ok(())),
            };
            (pulled, deadline)
        };

        if timeout_at(deadline, ended(&mut jobs)).await.is_err() {
            shared.is_cut.store(true, Ordering::Release);
            // Dropped first and put back afterwards, so that no two handlers have the message at once.
            jobs.abort_all();
            let _ = timeout(CUT_GRACE, ended(&mut jobs)).await;
            // Handlers that block cannot be dropped. The message goes back all the same.
            for kept in shared.leases.end_all() {
                shared.counts.open.fetch_add(1, Ordering::AcqRel);
                let _ = settler.send(Settlement { kept, action: Action::Release, room: None, was_unknown: false });
            }
        }
        drop(beating);
        drop(settler);
        if !settling.0.is_finished() {
            let _ = timeout_at(deadline.max(after(Instant::now(), ANSWER_GRACE)), &mut settling.0).await;
        }
        drop((settling, cut_off));
        pulled.map(|()| shared.counts.drained())
    }

    fn check(&self) -> Result<(), Error> {
        let counts = [
            ("handlers", self.concurrency, 1),
            ("messages in advance", self.prefetch, 0),
            ("messages in a call", self.batch_max, 1),
        ];
        for (what, found, min) in counts {
            if !(min..=COUNT_MAX).contains(&found) {
                let context = format!("{found} {what}; {min} to {COUNT_MAX} are allowed");
                return Err(Error::new(ErrorKind::Invalid, context));
            }
        }
        if self.lease < LEASE_MIN {
            let context = format!("a lease of {:?}; {LEASE_MIN:?} at least are needed", self.lease);
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        Ok(())
    }

    fn shared(self) -> Shared {
        let held = self.concurrency.saturating_add(self.prefetch);
        Shared {
            metrics: Metrics::new(&self.group),
            reserved: self.reserved.unwrap_or_else(|| Arc::clone(&self.queue)),
            queue: self.queue,
            group: self.group,
            id: self.id,
            lease: self.lease,
            hold_max: self.hold_max,
            batch_max: self.batch_max,
            retry: self.retry,
            on_panic: self.on_panic,
            trace: self.trace,
            leases: Default::default(),
            circuit: Circuit::new(self.circuit),
            counts: Counts::default(),
            slots: Arc::new(Semaphore::new(held)),
            room: Arc::new(Semaphore::new(held.saturating_add(self.batch_max))),
            running: Arc::new(Semaphore::new(self.concurrency)),
            draining: watch::channel(false).0,
            is_cut: false.into(),
        }
    }
}

/// Ends when a task has that should not: a panic of the queue's goes on to whoever runs the worker, as one of receiving does.
async fn died(settling: &mut Task, beating: &mut Task) -> Error {
    let ended = tokio::select! {
        ended = &mut settling.0 => ended,
        ended = &mut beating.0 => ended,
    };
    match ended.map_err(tokio::task::JoinError::try_into_panic) {
        Err(Ok(payload)) => std::panic::resume_unwind(payload),
        Ok(()) | Err(Err(_)) => {
            Error::new(ErrorKind::Closed, "the runtime of a worker's heartbeat or settlements has ended")
        }
    }
}

async fn ended(jobs: &mut JoinSet<()>) {
    while jobs.join_next().await.is_some() {}
}

/// A task that ends with its handle.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A worker that is dropped has not failed its messages.
struct CutOff(Arc<Shared>);

impl Drop for CutOff {
    fn drop(&mut self) {
        self.0.is_cut.store(true, Ordering::Release);
    }
}

/// A name that no worker has had: 128 bits by keys that the system has drawn.
fn incarnation() -> WorkerId {
    let keys = RandomState::new();
    let [first, second] = [0_u8, 1].map(|half| {
        let mut hasher = keys.build_hasher();
        hasher.write_u8(half);
        hasher.finish()
    });
    WorkerId::new(format!("{first:016x}{second:016x}")).expect("hexadecimal digits are graphic")
}

impl<L> std::fmt::Debug for Worker<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("group", &self.group).field("id", &self.id).finish_non_exhaustive()
    }
}
