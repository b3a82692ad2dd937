//! The queue in one SQLite file of its own: durable, in one process, without a server.
//!
//! **Durability.** A call is answered after what it came to has been flushed to the medium (`journal_mode=WAL`, `synchronous=FULL`). Only who holds what is written without a flush: when the
//! machine loses power, those leases have never been, and their messages are delivered again.
//!
//! **One owner.** A file is owned by one process through a lock on `PATH.lock`; a second one is refused with [`ErrorKind::Locked`].
//!
//! **Threads.** One thread decides and writes: while one turn is committed the next calls gather, and then go into one transaction and one flush, each with its own result. Callers wait on
//! channels: any executor will do, and a call that is dropped has done all of its batch or nothing.
//!
//! **Faults.** When the medium fails at a commit, what was to be committed is `Unknown`; the file is opened again by itself.

mod medium;
mod open;
mod sql;
mod writer;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use futures_channel::oneshot;

use crate::{
    admin::{Control, QueueAdmin, Redrive, Redriven, Reschedule, Rescheduled, Stats},
    capabilities::Capabilities,
    clock::{Clock, SystemClock},
    durable::{
        chance::Chance,
        jobs::{Job, Reply},
        waiting::Waiting,
    },
    error::{Error, ErrorKind},
    limits::QueueLimits,
    name::Topic,
    observe::{Observe, Within},
    queue::{Group, Publish, Published, Queue, Receive, Received, Settle, Settled, Wait},
    spans::Trace,
    topology::Topology,
};
use writer::Writer;

/// A queue in one SQLite file. See the [module](self) for what it promises.
///
/// ```
/// use txn_queue::{sqlite::Sqlite, QueueAdmin};
/// let folder = tempfile::tempdir()?;
/// let queue = Sqlite::open(folder.path().join("queue.db"))?;
/// assert!(pollster::block_on(queue.stats())?.topics.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sqlite {
    path: PathBuf,
    limits: QueueLimits,
    observe: Observe,
    calls: Option<SyncSender<Job>>,
    waiting: Arc<Waiting>,
    writer: Option<JoinHandle<()>>,
    /// Dropped after the writer has ended.
    lock: Mutex<Option<File>>,
}

impl Sqlite {
    /// What this backend can do.
    pub const CAPABILITIES: Capabilities = Capabilities {
        durable: true,
        delay_max: Some(Duration::MAX),
        cancel: true,
        priority: true,
        key_order: true,
        dedupe_max: Some(Duration::MAX),
        replay: true,
        host_transactions: false,
    };

    /// Opens the queue at `path` with the system's clock and the default limits.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] when it is open already, [`ErrorKind::Invalid`] for a file of another program, [`ErrorKind::Newer`] for one of a newer build, [`ErrorKind::Corrupt`] and [`ErrorKind::Unavailable`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::with(path, Arc::new(SystemClock), QueueLimits::default())
    }

    /// The same with another clock and other limits.
    ///
    /// # Errors
    /// Those of [`Sqlite::open`].
    pub fn with(path: impl AsRef<Path>, clock: Arc<dyn Clock>, limits: QueueLimits) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let lock = open::lock(&path)?;
        let connection = open::connection(&path)?;
        open::settle_down(&connection)?;
        let declared = Arc::new(writer::read_topology(&connection)?);
        let waiting = Arc::<Waiting>::default();
        let (calls, taken) = sync_channel(limits.calls_max);
        let writer = Writer {
            path: path.clone(),
            connection,
            declared,
            topics: BTreeMap::new(),
            clock,
            limits,
            waiting: Arc::clone(&waiting),
            chance: Chance::default(),
            is_broken: false,
        };
        let named = thread::Builder::new().name("txn-queue-sqlite".into());
        let writer = named
            .spawn(move || writer.run(&taken))
            .map_err(|error| Error::new(ErrorKind::Unavailable, "starting a thread").because(error))?;
        let observe = Observe::new("sqlite");
        Ok(Self {
            path,
            limits,
            observe,
            calls: Some(calls),
            waiting,
            writer: Some(writer),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Joins its spans with those of others. It makes them in any case.
    #[must_use]
    pub fn traced(mut self, trace: Trace) -> Self {
        self.observe.trace = trace;
        self
    }

    async fn call<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, Error> {
        self.call_or(job, Err(Error::new(ErrorKind::Closed, "the queue was closed in the middle of it"))).await
    }

    /// Gives `lost` when whoever did it has died before it answered: what waits when the queue is closed is told so.
    async fn call_or<T>(&self, job: impl FnOnce(Reply<T>) -> Job, lost: Result<T, Error>) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let Some(calls) = &self.calls else { return Err(closed()) };
        match calls.try_send(job(reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let context = format!("{} calls wait; no more may", self.limits.calls_max);
                return Err(Error::new(ErrorKind::Overloaded, context));
            }
            Err(TrySendError::Disconnected(_)) => return Err(closed()),
        }
        answer.await.unwrap_or(lost)
    }

    /// The topics that are declared.
    async fn topics(&self) -> Result<Vec<Topic>, Error> {
        self.call(Job::Topics).await
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the queue is closed")
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(writer) = self.writer.take()
            && writer.thread().id() != thread::current().id()
        {
            // A panic has been answered where it happened.
            let _ = writer.join();
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for Sqlite {
    fn capabilities(&self) -> Capabilities {
        Self::CAPABILITIES
    }

    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        self.observe.publish(batch, Within::Own, |batch| self.publish_unobserved(batch)).await
    }

    async fn receive(&self, receive: Receive) -> Result<Received, Error> {
        self.observe.receive(receive, |receive| self.receive_unobserved(receive)).await
    }

    async fn settle(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        self.observe.settle(group, batch, Within::Own, |batch| self.settle_unobserved(group, batch)).await
    }

    async fn wait(&self, wait: Wait) -> Result<(), Error> {
        self.wait_unobserved(wait).await
    }
}

impl Sqlite {
    async fn publish_unobserved(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        let count = Publish::count(&batch);
        self.limits.check_batch(count)?;
        let lost = vec![Published::Unknown; count];
        self.call_or(|reply| Job::Publish(batch, reply), Ok(lost)).await
    }

    async fn receive_unobserved(&self, receive: Receive) -> Result<Received, Error> {
        self.limits.check_receive(&receive)?;
        self.call(|reply| Job::Receive(receive, reply)).await
    }

    async fn settle_unobserved(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        self.limits.check_settle(&batch)?;
        let lost = vec![Settled::Unknown; batch.len()];
        self.call_or(|reply| Job::Settle(group.clone(), batch, reply), Ok(lost)).await
    }

    async fn wait_unobserved(&self, wait: Wait) -> Result<(), Error> {
        if !self.waiting.knows(&wait) {
            let topic = wait.topic().clone();
            self.call(|reply| Job::Look(topic, Some(reply))).await?;
        }
        self.waiting.wait(&wait).await
    }
}

#[async_trait]
impl QueueAdmin for Sqlite {
    async fn declare(&self, topology: Topology) -> Result<(), Error> {
        topology.check(&Self::CAPABILITIES)?;
        self.call(|reply| Job::Declare(topology, reply)).await
    }

    async fn reschedule(&self, batch: Vec<Reschedule>) -> Result<Vec<Rescheduled>, Error> {
        self.limits.check_batch(batch.len())?;
        let lost = vec![Rescheduled::Unknown; batch.len()];
        self.call_or(|reply| Job::Reschedule(batch, reply), Ok(lost)).await
    }

    async fn control(&self, control: Control) -> Result<(), Error> {
        let topics = match control.topic() {
            Some(topic) => vec![topic.clone()],
            None => self.topics().await?,
        };
        for topic in topics {
            let control = control.clone();
            self.call(|reply| Job::Control(topic, control, reply)).await?;
        }
        Ok(())
    }

    async fn redrive(&self, redrive: Redrive) -> Result<Redriven, Error> {
        self.limits.check_redrive(&redrive)?;
        self.call(|reply| Job::Redrive(redrive, reply)).await
    }

    async fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        for topic in self.topics().await? {
            let of_topic = self.call(|reply| Job::Stats(topic.clone(), reply)).await?;
            stats.topics.insert(topic, of_topic);
        }
        Ok(stats)
    }
}
