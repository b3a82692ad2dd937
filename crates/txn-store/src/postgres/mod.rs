//! Many processes, one PostgreSQL database: every commit durable, judged by the same evaluator as everywhere.
//!
//! **Durability.** A change is answered after the server has said that its COMMIT is done, with `synchronous_commit=on`; what the server and its standbys make of that is the operator's
//! choice. When the answer to a COMMIT is lost, the store asks the server what became of it, and says [`Unknown`](crate::Outcome::Unknown) only if it cannot find out.
//!
//! **Several processes** on one schema are the normal case. Each commits in groups over two sessions, never waits for a row that another holds (it passes the change over, and after some times hands it to another session
//! that does wait), and is told at once when another was first.
//!
//! **The log.** Positions and the chain are given after the commit, by one process at a time, within some milliseconds; [`Health::unchained`] says how many changes wait for that. Another process takes over by itself.
//!
//! **Time** is the server's, so that processes with wrong clocks agree; it does not go back from one commit to those that build on it.
//!
//! **Cancellation.** Callers wait on channels; sessions belong to the store's own tasks. A call that is dropped leaves nothing behind, at whatever point. An erasing or an export whose call is dropped ends with it.
//!
//! **Hosts** may write rows of their own into the same database, and commit them together with a change: [`Postgres::commit_in`].
//!
//! *Not* here: pools that change sessions between statements (pgbouncer in statement mode), and standbys, which cannot be written to.

mod committer;
mod connect;
mod erase;
mod export;
mod find;
mod get;
mod host;
mod keys;
mod load;
mod log;
mod names;
mod options;
mod purge;
mod reader;
mod schema;
mod sequencer;
mod settle;
mod statement;
mod values;
mod views;
mod write;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_channel::oneshot;
/// The crate whose connections [`Postgres::commit_in`] takes, in the version that it takes.
#[doc(no_inline)]
pub use sqlx;
use sqlx::postgres::PgConnectOptions;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
};
use txn_change::{Link, Tenant, Timestamp};

use crate::{
    admin::{Erase, Export, Health, Purge, Purged, StoreAdmin},
    clock::StoreTime,
    cursor::Cursor,
    error::{Error, ErrorKind},
    group::{self, Lanes, Queue, Waiting},
    limits::StoreLimits,
    observe::Observe,
    query::{Page, Query},
    store::{Ask, Commit, LogPage, Outcome, Position, Snapshot, Store},
    tail::free,
    views::Wanted,
    watch::Head,
};

use committer::Committer;
use connect::{Waits, while_wanted};
use load::Patience;
use names::Hosts;
pub use options::Options;
use reader::{Get, Question};
use schema::Schema;

/// A store in one schema of a PostgreSQL database. See the [module](self) for what it promises.
///
/// ```no_run
/// use txn_store::{postgres::Postgres, StoreAdmin};
/// # async fn example() -> Result<(), txn_store::Error> {
/// let store = Postgres::open("postgres://shop@localhost/shop").await?;
/// println!("{:?}", store.health().await?);
/// # Ok(())
/// # }
/// ```
pub struct Postgres {
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// What callers and tasks share.
struct Shared {
    runtime: Handle,
    session: PgConnectOptions,
    /// A session that waits longer for locks than the server takes to find a deadlock.
    patient: PgConnectOptions,
    waits: Waits,
    /// Quoted.
    schema: String,
    channel: String,
    limits: StoreLimits,
    hosts: Hosts,
    time: Time,
    head: Head,
    link: Mutex<Link>,
    jobs: Queue<Waiting>,
    /// What the patient committer does.
    put_off: Queue<Waiting>,
    /// What the hasty committers share, and what the patient one has.
    hasty: Lanes,
    patiently: Lanes,
    gets: Queue<Get>,
    questions: Queue<Question>,
    sequencer: sequencer::Signal,
    /// Leave to open a session for an erasing, or for numbers.
    errands: Semaphore,
}

/// How long the patient committer waits for a lock: more than `deadlock_timeout`, which is a second unless an operator says otherwise. With less, hosts that lock our rows in each other's way would
/// be in ours for ever, since the server ends none of them before.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Sessions for erasings, and for the numbers of hosts' tenants and classes, at most.
const ERRANDS_MAX: u32 = 2;

/// How many committers a process has that do not wait: while a group of one is flushed, the other loads and judges the next.
const LANES: usize = 2;

const OBSERVE: Observe = Observe("postgres");

impl Shared {
    fn link(&self) -> Link {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers how far the chain and the log are known to reach.
    fn reached(&self, link: Link, position: Position) {
        let mut known = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if known.number < link.number {
            *known = link;
        }
        drop(known);
        self.head.advance(position);
    }

    /// Waits for leave to open a session beside those that are always there.
    async fn errand(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.errands.acquire().await.map_err(|_| Error::new(ErrorKind::Closed, "the store is closed"))
    }

    fn close(&self, why: &'static str) {
        self.jobs.close(why);
        self.put_off.close(why);
        self.gets.close(why);
        self.questions.close(why);
        self.sequencer.close();
        self.head.close();
    }
}

/// The store's time: the server's, or a clock's, but never earlier than a time that was seen before.
struct Time {
    clock: Option<StoreTime>,
    last: AtomicI64,
}

impl Time {
    fn now(&self, server: Timestamp, last: Timestamp) -> Result<Timestamp, Error> {
        let told = match &self.clock {
            Some(clock) => clock.now()?,
            None => server,
        };
        let told = told.max(last).as_nanos();
        let before = self.last.fetch_max(told, Ordering::SeqCst);
        Ok(Timestamp::from_nanos(told.max(before)))
    }
}

impl Postgres {
    /// Opens the store in the schema `txn` with the default options. See [`Options::open`].
    ///
    /// # Errors
    /// Those of [`Postgres::options`] and [`Options::open`].
    pub async fn open(url: &str) -> Result<Self, Error> {
        Self::options(url)?.open().await
    }

    /// The options of a store in the database at `url`: `postgres://user:password@host:port/database`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no such URL.
    pub fn options(url: &str) -> Result<Options, Error> {
        Options::of(url)
    }

    async fn start(options: Options) -> Result<Self, Error> {
        let schema = Schema::new(&options.schema)?;
        let wanted = options.views.map(|views| Wanted::of(&views, |view| &view.postgres)).transpose()?;
        let runtime = Handle::try_current()
            .map_err(|error| Error::new(ErrorKind::Invalid, "opening a postgres store").because(error))?;
        let name = format!("txn {}", options.schema);
        let patience = Waits { lock_max: options.waits.lock_max.max(PATIENCE), ..options.waits };
        let patient = connect::session(options.connect.clone(), patience, &name);
        let session = connect::session(options.connect, options.waits, &name);
        let mut first = connect::connect(&session, options.waits).await?;
        schema::migrate(&mut first, &schema, options.must_exist).await?;
        if let Some(wanted) = wanted
            && !views::is_current(&mut first, &schema, &wanted).await?
        {
            views::install(connect::connect(&session, options.waits).await?, &schema, &wanted).await?;
        }
        let quoted = schema.quoted();
        let shared = Arc::new(Shared {
            runtime: runtime.clone(),
            session,
            patient,
            waits: options.waits,
            hosts: Hosts::default(),
            channel: schema.channel(),
            schema: quoted,
            limits: options.limits,
            time: Time {
                clock: options.clock.map(|clock| StoreTime::new(clock, Timestamp::MIN)),
                last: AtomicI64::new(Timestamp::MIN.as_nanos()),
            },
            head: Head::default(),
            link: Mutex::default(),
            jobs: Queue::new("changes", options.limits.queue_max),
            put_off: Queue::new("changes", usize::MAX),
            hasty: Lanes::new(LANES),
            patiently: Lanes::new(1),
            gets: Queue::new("asks", options.limits.queue_max),
            questions: Queue::new("pages", options.limits.queue_max),
            sequencer: sequencer::Signal::default(),
            errands: Semaphore::new(ERRANDS_MAX as usize),
        });
        let mut sequencer = sequencer::Sequencer::new(Arc::clone(&shared), first);
        // The end of the chain is known before the first call.
        sequencer.step(true).await?;
        let mut tasks = Vec::new();
        let hasty = (0..LANES).map(|lane| (Patience::Hasty, lane));
        for (patience, lane) in hasty.chain([(Patience::Patient, 0)]) {
            tasks.push(runtime.spawn(Committer::new(Arc::clone(&shared), patience, lane).run()));
        }
        for _ in 0..options.readers {
            tasks.push(runtime.spawn(reader::run(Arc::clone(&shared))));
        }
        tasks.push(runtime.spawn(sequencer.run()));
        tasks.push(runtime.spawn(sequencer::listen(Arc::clone(&shared))));
        Ok(Self { shared, tasks })
    }

    /// Puts a question to the readers, and waits for the answer no longer than the deadline.
    async fn ask<J, T>(
        &self,
        queue: &Queue<J>,
        weight: usize,
        question: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> J,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        queue.push(question(reply), weight)?;
        let answer_max = self.shared.waits.answer_max;
        let answer = {
            // The caller may be on any executor; the timer is the store's.
            let _entered = self.shared.runtime.enter();
            tokio::time::timeout(answer_max, answer)
        };
        match answer.await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the reader ended"))),
            // What still stands in the queue is not asked any more.
            Err(_) => Err(Error::new(ErrorKind::Unavailable, format!("no answer within {answer_max:?}"))),
        }
    }

    /// Does something on a session and in a task of its own, which ends with the call: one that is dropped leaves no transaction behind.
    async fn apart<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(Arc<Shared>) -> F + Send + 'static,
    ) -> Result<T, Error> {
        if let Some(closed) = self.shared.jobs.closed() {
            return Err(closed);
        }
        let shared = Arc::clone(&self.shared);
        let (mut reply, answer) = oneshot::channel();
        let run = async move {
            let answer_max = shared.waits.answer_max;
            let own = Arc::clone(&shared);
            let done = async {
                let _leave = own.errand().await?;
                work(shared).await
            };
            let done = tokio::time::timeout(answer_max, done);
            let Some(done) = while_wanted(&mut reply, done).await else { return };
            let late = |_| Err(Error::new(ErrorKind::Unavailable, format!("{doing} took longer than {answer_max:?}")));
            // Nobody may be waiting any more.
            drop(reply.send(done.unwrap_or_else(late)));
        };
        drop(self.shared.runtime.spawn(run));
        answer.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, format!("{doing} ended"))))
    }

    /// Closes the store: takes no more, finishes what was handed over but for what waits for rows that others hold, which is answered [`ErrorKind::Closed`], and ends its sessions. Dropping a store does the same without waiting for it.
    pub async fn close(mut self) {
        self.shared.close("the store is closed");
        for task in self.tasks.drain(..) {
            // A panic has been answered where it happened.
            let _ = task.await;
        }
        // All of it is free when nothing runs that a dropped call has begun.
        let _all = self.shared.errands.acquire_many(ERRANDS_MAX).await;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.shared.close("the store is closed");
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("schema", &self.shared.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Postgres {
    async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
        let changes = batch.len();
        let Shared { jobs, limits, .. } = &*self.shared;
        OBSERVE.commit(changes, |span| group::commit(jobs, limits, OBSERVE, span, batch)).await
    }

    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
        let count = asks.len();
        let call = async {
            self.shared.limits.check_asks(&asks)?;
            if asks.is_empty() {
                return Ok(Vec::new());
            }
            self.ask(&self.shared.gets, count, |reply| Get { asks, reply }).await
        };
        OBSERVE.get(count, call).await
    }

    async fn find(&self, tenant: &Tenant, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let call = async {
            self.shared.limits.check_page(limit)?;
            let after = after.map(|cursor| cursor.open(tenant, query)).transpose()?;
            let (tenant, query) = (tenant.clone(), query.clone());
            self.ask(&self.shared.questions, 1, |reply| Question::Find { tenant, query, after, limit, reply }).await
        };
        OBSERVE.find(limit, call).await
    }

    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
        let call = async {
            self.shared.limits.check_page(limit)?;
            self.ask(&self.shared.questions, 1, |reply| Question::Read { after, limit, reply }).await
        };
        OBSERVE.read(limit, call).await
    }

    async fn watch(&self, after: Position) -> Result<Position, Error> {
        let closed =
            || self.shared.jobs.closed().unwrap_or_else(|| Error::new(ErrorKind::Closed, "the store is closed"));
        self.shared.head.past(after).await.ok_or_else(closed)
    }
}

#[async_trait]
impl StoreAdmin for Postgres {
    async fn export(&self) -> Result<Box<dyn Export>, Error> {
        Ok(Box::new(export::begin(Arc::clone(&self.shared)).await?))
    }

    async fn health(&self) -> Result<Health, Error> {
        if let Some(closed) = self.shared.jobs.closed() {
            return Err(closed);
        }
        let health = self.ask(&self.shared.questions, 1, |reply| Question::Health { reply }).await?;
        let queued = self.shared.jobs.waiting().saturating_add(self.shared.put_off.waiting());
        Ok(Health { queued, ..health })
    }

    async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error> {
        let tenant = tenant.clone();
        self.apart("erasing", move |shared| async move { erase::erase(&shared, &tenant, &what).await }).await
    }

    async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error> {
        self.shared.limits.check_page(max)?;
        if what == Purge::Answers {
            return self
                .apart("purging", move |shared| async move { purge::answers(&shared, before, max).await })
                .await;
        }
        let plan =
            self.apart("purging", move |shared| async move { purge::old_events(&shared, before, max).await }).await?;
        let Some(target) = plan.target() else { return Ok(Purged { rows: 0, is_complete: true }) };
        let free = free(self, target).await?;
        self.apart("purging", move |shared| async move { purge::events(&shared, &plan, free, max).await }).await
    }
}
