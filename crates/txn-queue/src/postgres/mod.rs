//! Many processes, one PostgreSQL database: the same decisions as everywhere, by a journal that all of them read.
//!
//! **Durability.** A call is answered after the server has said that its COMMIT is done, with `synchronous_commit=on`. Only who holds what is committed without waiting for the disk: when the server
//! crashes, those leases have never been, and their messages are delivered again. When the answer to a COMMIT is lost, the queue looks whether its step is there, and says `Unknown` only if it cannot find out.
//!
//! **Several processes** on one schema are the normal case. A topic is decided by one at a time, under a lock; all calls of a process that wait for the topic go into one transaction. Every process that uses a
//! topic keeps in memory what decides about its messages, without their data.
//!
//! **Nothing is updated.** Messages and steps are added, and deleted in the order of their age: an old snapshot that somebody holds open does not slow it down.
//!
//! **Time** is the server's, so that processes with wrong clocks agree.
//!
//! **Cancellation.** Callers wait on channels; sessions belong to the queue's own tasks. A call that is dropped has done all of its batch or nothing.
//!
//! *Not* here: pools that change sessions between statements, and standbys, which cannot be written to.

mod connect;
mod host;
mod lane;
mod medium;
mod options;
mod pending;
mod refused;
mod sql;
mod told;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use futures_channel::oneshot;
/// The crate whose connections this backend takes, in the version that it takes.
#[doc(no_inline)]
pub use sqlx;
use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgConnectOptions, raw_sql};
use tokio::{runtime::Handle, sync::Notify};
use txn_change::Timestamp;

use crate::{
    admin::{Control, QueueAdmin, Redrive, Redriven, Reschedule, Rescheduled, Stats},
    capabilities::Capabilities,
    clock::Clock,
    durable::{
        chance::Chance,
        declared::Declared,
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
use connect::{connect, failed, within};
use medium::{InSession, ask};
pub use options::Options;
use pending::{Lanes, State};
pub use refused::Refused;
use sql::{FORMAT, Sql};

/// A queue in one schema of a PostgreSQL database. See the [module](self) for what it promises.
///
/// ```no_run
/// use txn_queue::{postgres::Postgres, QueueAdmin};
/// # async fn example() -> Result<(), txn_queue::Error> {
/// let queue = Postgres::open("postgres://shop@localhost/shop").await?;
/// println!("{:?}", queue.stats().await?);
/// # Ok(())
/// # }
/// ```
pub struct Postgres {
    shared: Arc<Shared>,
    observe: Observe,
    /// Those that end by themselves are the lanes; these are ended.
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What callers and tasks share.
struct Shared {
    session: PgConnectOptions,
    answer_max: Duration,
    sql: Sql,
    limits: QueueLimits,
    clock: Option<Arc<dyn Clock>>,
    waiting: Waiting,
    state: Mutex<State>,
    /// Something waits for a lane.
    work: Notify,
    /// The same, for the lane that extends leases, and settles when all others are busy.
    reserved_work: Notify,
    /// Topics that others have not been told of.
    written: Mutex<BTreeSet<i64>>,
    written_work: Notify,
    /// Sessions that lanes have begun.
    sessions: AtomicU64,
    /// By chance: this opening, and no other.
    incarnation: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, server: Timestamp) -> Timestamp {
        self.clock.as_ref().map_or(server, |clock| clock.now())
    }

    fn is_closed(&self) -> bool {
        self.state().closed.is_some()
    }

    fn take_written(&self) -> BTreeSet<i64> {
        std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell_others(&self, topics: Vec<i64>) {
        if !topics.is_empty() {
            self.written.lock().unwrap_or_else(PoisonError::into_inner).extend(topics);
            self.written_work.notify_one();
        }
    }

    fn look_at_all(&self) {
        self.look_at(|_| true);
    }

    /// Has topics read that others may have written to, and that somebody waits for.
    fn look_at(&self, is_meant: impl Fn(i64) -> bool) {
        let mut state = self.state();
        let declared = Arc::clone(&state.declared);
        let meant = declared.topics.iter().filter(|(topic, id)| is_meant(**id) && self.waiting.is_awaited(topic));
        let mut is_any = false;
        for (topic, _) in meant {
            if !state.has_look(topic) {
                // Nobody waits for the answer but those who wait for what it finds.
                state.push(Job::Look(topic.clone(), None));
                is_any = true;
            }
        }
        drop(state);
        if is_any {
            self.there_is_work();
        }
    }

    fn there_is_work(&self) {
        self.work.notify_one();
        self.reserved_work.notify_one();
    }

    /// True when it is another than was known.
    async fn read_topology(&self, medium: &mut InSession<'_>) -> Result<bool, Error> {
        let asked = ask(&self.sql.topology).fetch_optional(&mut *medium.connection);
        let json = within(self.answer_max, asked).await.map_err(failed("reading the topology"))?;
        let declared = match json {
            Some(row) => Declared::read(row.try_get(0).map_err(failed("reading the topology"))?)?,
            None => Declared::default(),
        };
        let mut state = self.state();
        // Older than what is known, too: a database may have been restored.
        let is_another = *state.declared != declared;
        if is_another {
            state.declared = Arc::new(declared);
        }
        Ok(is_another)
    }
}

impl Postgres {
    /// What this backend can do.
    pub const CAPABILITIES: Capabilities = Capabilities {
        durable: true,
        delay_max: Some(Duration::MAX),
        cancel: true,
        priority: true,
        key_order: true,
        dedupe_max: Some(Duration::MAX),
        replay: true,
        host_transactions: true,
    };

    /// Opens the queue in the schema `txn_queue` with the default options. See [`Options::open`].
    ///
    /// # Errors
    /// Those of [`Postgres::options`] and [`Options::open`].
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::options(url)?.open().await
    }

    /// The options of a queue in the database at `url`: `postgres://user:password@host:port/database`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no such URL.
    pub fn options(url: &str) -> Result<Options, Error> {
        Options::of(url)
    }

    /// Joins its spans with those of others. It makes them in any case.
    #[must_use]
    pub fn traced(mut self, trace: Trace) -> Self {
        self.observe.trace = trace;
        self
    }

    async fn start(options: Options) -> Result<Self, Error> {
        let runtime = Handle::try_current()
            .map_err(|error| Error::new(ErrorKind::Invalid, "opening outside of a tokio runtime").because(error))?;
        let sql = Sql::new(&options.schema)?;
        let session = connect::session(options.connect, options.answer_max, "txn-queue");
        let mut first = connect(&session, options.answer_max).await?;
        prepare(&mut first, &sql).await?;
        let shared = Arc::new(Shared {
            session,
            answer_max: options.answer_max,
            sql,
            limits: options.limits,
            clock: options.clock,
            waiting: Waiting::default(),
            state: Mutex::new(State::over(options.lanes)),
            work: Notify::new(),
            reserved_work: Notify::new(),
            written: Mutex::default(),
            written_work: Notify::new(),
            sessions: AtomicU64::new(0),
            incarnation: format!("{:016x}", Chance::default().next()),
        });
        let mut medium = InSession::new(&mut first, &shared, Arc::default());
        shared.read_topology(&mut medium).await?;
        for _ in 0..options.lanes {
            runtime.spawn(lane::keep(Arc::clone(&shared), Lanes::All));
        }
        runtime.spawn(lane::keep(Arc::clone(&shared), Lanes::Reserved));
        let tasks = vec![
            runtime.spawn(told::tell(Arc::clone(&shared))),
            runtime.spawn(told::hear(Arc::clone(&shared))),
            runtime.spawn(told::look(Arc::clone(&shared))),
        ];
        Ok(Self { shared, observe: Observe::new("postgres"), tasks })
    }

    async fn call<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, Error> {
        let lost = || {
            let kind = if self.shared.is_closed() { ErrorKind::Closed } else { ErrorKind::Unknown };
            Err(Error::new(kind, "the call died in the middle of it"))
        };
        self.call_or(job, lost).await
    }

    /// Gives what `lost` does when whoever did it has died before it answered: what waits when the queue is closed is told so.
    async fn call_or<T>(
        &self,
        job: impl FnOnce(Reply<T>) -> Job,
        lost: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if let Some(why) = state.closed {
                return Err(Error::new(ErrorKind::Closed, why));
            }
            let max = self.shared.limits.calls_max;
            let job = job(reply);
            if state.len() >= max && state.waiting_like(&job) >= max {
                return Err(Error::new(ErrorKind::Overloaded, format!("{max} calls wait; no more may")));
            }
            state.push(job);
        }
        self.shared.there_is_work();
        answer.await.unwrap_or_else(|_| lost())
    }

    async fn topics(&self) -> Result<Vec<Topic>, Error> {
        self.call(Job::Topics).await
    }
}

/// Makes the schema, or finds it of a format that this build knows.
async fn prepare(session: &mut PgConnection, sql: &Sql) -> Result<(), Error> {
    let doing = "preparing the schema";
    let begin = sql.begin([0].into_iter());
    raw_sql(AssertSqlSafe(begin)).execute(&mut *session).await.map_err(failed(doing))?;
    // What is there already is not made again: that would lock tables which others read, and all who come after would wait.
    let has_format = ask(&sql.has_format).fetch_one(&mut *session).await.and_then(|row| row.try_get::<bool, _>(0));
    if !has_format.map_err(failed(doing))? {
        for text in &sql.setup {
            raw_sql(AssertSqlSafe(text.clone())).execute(&mut *session).await.map_err(failed(doing))?;
        }
    }
    let found = ask(&sql.format).fetch_one(&mut *session).await.map_err(failed(doing))?;
    match found.try_get::<Option<i32>, _>(0).map_err(failed(doing))? {
        Some(version) if version > FORMAT => {
            let context = format!("the queue has format {version}; this build knows formats up to {FORMAT}");
            return Err(Error::new(ErrorKind::Newer, context));
        }
        Some(_) => {}
        None => {
            let text = sql.format_write.clone();
            ask(&text).bind(FORMAT).execute(&mut *session).await.map_err(failed(doing))?;
        }
    }
    raw_sql("COMMIT").execute(session).await.map_err(failed(doing)).map(drop)
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.state();
            state.closed = Some("the queue is closed");
            state.drain()
        };
        let error = Error::new(ErrorKind::Closed, "the queue is closed");
        left.into_iter().for_each(|job| job.fail(&error));
        self.shared.waiting.close("the queue is closed");
        self.shared.work.notify_waiters();
        self.shared.reserved_work.notify_waiters();
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for Postgres {
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

impl Postgres {
    async fn publish_unobserved(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        let count = Publish::count(&batch);
        self.shared.limits.check_batch(count)?;
        let lost = vec![Published::Unknown; count];
        self.call_or(|reply| Job::Publish(batch, reply), || Ok(lost)).await
    }

    async fn receive_unobserved(&self, receive: Receive) -> Result<Received, Error> {
        self.shared.limits.check_receive(&receive)?;
        self.call(|reply| Job::Receive(receive, reply)).await
    }

    async fn settle_unobserved(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        self.shared.limits.check_settle(&batch)?;
        let lost = vec![Settled::Unknown; batch.len()];
        self.call_or(|reply| Job::Settle(group.clone(), batch, reply), || Ok(lost)).await
    }

    async fn wait_unobserved(&self, wait: Wait) -> Result<(), Error> {
        if !self.shared.waiting.knows(&wait) {
            let topic = wait.topic().clone();
            self.call(|reply| Job::Look(topic, Some(reply))).await?;
        }
        self.shared.waiting.wait(&wait).await
    }
}

#[async_trait]
impl QueueAdmin for Postgres {
    async fn declare(&self, topology: Topology) -> Result<(), Error> {
        topology.check(&Self::CAPABILITIES)?;
        self.call(|reply| Job::Declare(topology, reply)).await
    }

    async fn reschedule(&self, batch: Vec<Reschedule>) -> Result<Vec<Rescheduled>, Error> {
        self.shared.limits.check_batch(batch.len())?;
        let lost = vec![Rescheduled::Unknown; batch.len()];
        self.call_or(|reply| Job::Reschedule(batch, reply), || Ok(lost)).await
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
        self.shared.limits.check_redrive(&redrive)?;
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
