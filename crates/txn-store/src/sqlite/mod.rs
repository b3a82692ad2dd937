//! One file, one process, every commit durable: the embedded default.
//!
//! **Durability.** With [`Durability::Full`], the default, a change is answered after the write-ahead log that holds it has been flushed to the medium
//! (`journal_mode=WAL`, `synchronous=FULL`, both read back when the store is opened).
//!
//! **One owner.** A store is owned by one process through a lock on `PATH.lock`; a second one, in another process or in this, is refused with
//! [`ErrorKind::Locked`] after a quarter of a second, which is what a killed predecessor may need to be gone. The same file keeps a mark of how far commits have been acknowledged, so that a write-ahead log that was
//! removed is an error, not a silent loss. A backup takes the database, after a clean close, or all of `PATH`, `PATH-wal` and `PATH.lock`.
//!
//! **Threads.** One thread writes: while one commit is in flight the next changes gather, and then go into one transaction and one flush, each with its own
//! result and the group with one link of the chain. Tenants take turns, so that many changes of one do not keep another waiting. A few threads read, each ask from one snapshot. Callers wait on channels: any executor will do, and a call that is dropped leaves nothing behind.
//!
//! **Faults.** When the medium fails at a commit, its changes are [`Unknown`](crate::Outcome::Unknown), or an error where it is certain that they never will be found. Later ones are
//! [`Unavailable`](ErrorKind::Unavailable), until the store has opened its file again by itself, has committed and flushed something there, and has found everything that it ever acknowledged; reads go on. When that is not found, or
//! the writer dies, the store is [`Closed`](ErrorKind::Closed). A medium that hangs keeps nobody waiting for longer than [`Options::deadline`].
//!
//! **Hosts** may write rows of their own into the same file, and commit them together with a change: [`Sqlite::commit_in`].
//!
//! *Not* here: several processes on one file, network file systems, encryption.

mod checkpoint;
mod deadline;
mod entries;
mod erase;
mod errands;
mod export;
mod find;
mod host;
mod load;
mod mark;
mod medium;
mod open;
mod options;
mod purge;
mod reader;
mod rows;
mod scan;
mod sql;
#[cfg(test)]
mod tests;
mod views;
mod write;
mod writer;

use std::{
    fmt,
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::Poll,
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use futures_channel::oneshot;
/// The crate whose connections [`Sqlite::commit_in`] takes, in the version that it takes.
#[doc(no_inline)]
pub use rusqlite;
use txn_change::{Tenant, Timestamp};

use crate::{
    admin::{Erase, Export, Health, Purge, Purged, StoreAdmin},
    clock::StoreTime,
    cursor::Cursor,
    error::{Error, ErrorKind},
    group::{self, Queue, Waiting},
    limits::StoreLimits,
    observe::Observe,
    query::{Page, Query},
    store::{Ask, Commit, LogPage, Outcome, Position, Snapshot, Store},
    tail::free,
    watch::Head,
};

use deadline::{Alarm, Caller, Deadlines};
use errands::{Errands, Running};
pub use options::{Durability, Options};
use reader::Question;

/// A store in one SQLite file. See the [module](self) for what it promises. Dropping it waits for the group in flight and for what calls that were dropped have begun, and closes it.
///
/// ```
/// use txn_store::{sqlite::Sqlite, StoreAdmin};
/// let folder = tempfile::tempdir()?;
/// let store = Sqlite::open(folder.path().join("shop.db"))?;
/// let health = pollster::block_on(store.health())?;
/// assert_eq!(health.commits, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sqlite {
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
    deadlines: Option<JoinHandle<()>>,
}

/// What callers, the writer and the readers share.
struct Shared {
    path: PathBuf,
    limits: StoreLimits,
    time: StoreTime,
    head: Head,
    jobs: Queue<Waiting>,
    questions: Queue<Question>,
    deadlines: Deadlines,
    durability: Durability,
    hosts: host::Hosts,
    errands: Arc<Errands>,
    /// Why no change is taken for now.
    trouble: Mutex<Option<Error>>,
    #[cfg(test)]
    faults: tests::Faults,
}

impl Shared {
    /// Whether changes are taken, and if not, why.
    fn check_open(&self) -> Result<(), Error> {
        let trouble = || self.trouble.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Error::again);
        self.jobs.closed().or_else(trouble).map_or(Ok(()), Err)
    }

    fn set_trouble(&self, trouble: Option<Error>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

const OBSERVE: Observe = Observe("sqlite");

impl Sqlite {
    /// Opens the store at `path` with the default options. See [`Options::open`].
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options(path).open()
    }

    /// The options of a store at `path`.
    #[must_use]
    pub fn options(path: impl AsRef<Path>) -> Options {
        Options::of(path.as_ref())
    }

    fn start(options: Options) -> Result<Self, Error> {
        let opened = open::open(&options.path, options.durability, options.views.as_deref())?;
        let shared = Arc::new(Shared {
            path: opened.path,
            limits: options.limits,
            time: StoreTime::new(options.clock, opened.last_time),
            head: Head::at(Position(opened.numbers.position.cast_unsigned())),
            jobs: Queue::new("changes", options.limits.queue_max),
            questions: Queue::new("asks and pages", options.limits.queue_max),
            deadlines: Deadlines::new(options.deadline),
            durability: options.durability,
            hosts: host::Hosts::default(),
            errands: Arc::default(),
            trouble: Mutex::default(),
            #[cfg(test)]
            faults: tests::Faults::default(),
        });
        // From here on, dropping the half-made store ends the threads that were started.
        let mut store = Self { shared: Arc::clone(&shared), readers: Vec::new(), writer: None, deadlines: None };
        let no_thread = |error| Error::new(ErrorKind::Unavailable, "starting a thread").because(error);
        let of_deadlines = Arc::clone(&shared);
        let named = thread::Builder::new().name("txn-sqlite-deadline".into());
        store.deadlines = Some(named.spawn(move || of_deadlines.deadlines.run()).map_err(no_thread)?);
        for number in 0..options.readers {
            let connection = open::read_connection(&shared.path)?;
            let shared = Arc::clone(&shared);
            let named = thread::Builder::new().name(format!("txn-sqlite-read-{number}"));
            store.readers.push(named.spawn(move || reader::run(&shared, connection)).map_err(no_thread)?);
        }
        let named = thread::Builder::new().name("txn-sqlite-write".into());
        let writer = writer::Writer::new(shared, opened.connection, opened.mark, opened.numbers);
        store.writer = Some(named.spawn(move || writer.run()).map_err(no_thread)?);
        Ok(store)
    }

    async fn ask<T>(
        &self,
        weight: usize,
        question: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Question,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.shared.questions.push(question(reply), weight)?;
        let (alarm, rung) = Alarm::new();
        self.wait(&alarm);
        let (mut answer, mut rung) = (pin!(answer), pin!(rung));
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                let died = |_| Err(Error::new(ErrorKind::Closed, "the reader died"));
                return Poll::Ready(answer.unwrap_or_else(died));
            }
            rung.as_mut().poll(context).map(|_| {
                let context = format!("no answer within {:?}", self.shared.deadlines.after());
                Err(Error::new(ErrorKind::Unavailable, context))
            })
        })
        .await
    }

    /// Gives this caller up when it has waited for too long.
    fn wait<C: Caller + 'static>(&self, caller: &Arc<C>) {
        let weak: Weak<C> = Arc::downgrade(caller);
        self.shared.deadlines.add(weak);
    }

    /// Does something on a connection and a thread of its own, which a call that is dropped does not end.
    async fn apart<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut rusqlite::Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.shared.check_open()?;
        let (reply, answer) = oneshot::channel();
        let (path, durability) = (self.shared.path.clone(), self.shared.durability);
        let running = Running::of(&self.shared.errands);
        let run = move || {
            let _running = running.here();
            if reply.is_canceled() {
                return;
            }
            let done = open::host_connection(&path, durability).and_then(|mut own| work(&mut own));
            // Nobody may be waiting any more.
            drop(reply.send(done));
        };
        let named = thread::Builder::new().name("txn-sqlite-apart".into());
        named.spawn(run).map_err(|error| Error::new(ErrorKind::Unavailable, "starting a thread").because(error))?;
        answer.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, format!("{doing} ended"))))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The writer last: whose connection is the last to close can empty the write-ahead log, and only the writer's may write.
        self.shared.errands.wait();
        self.shared.questions.close("the store is closed");
        self.readers.drain(..).for_each(join);
        self.shared.jobs.close("the store is closed");
        self.writer.take().into_iter().for_each(join);
        self.shared.deadlines.close();
        // It waits for nobody, so nobody waits for it.
        drop(self.deadlines.take());
    }
}

fn join(thread: JoinHandle<()>) {
    // A waker may drop the last handle on one of these threads, which cannot wait for itself.
    if thread.thread().id() != thread::current().id() {
        // A panic has been answered where it happened.
        let _ = thread.join();
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
        let Shared { jobs, limits, .. } = &*self.shared;
        let changes = batch.len();
        let call = |span| group::commit_known(jobs, limits, OBSERVE, span, batch, |call| self.wait(call));
        OBSERVE.commit(changes, call).await
    }

    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
        let count = asks.len();
        let call = async {
            self.shared.limits.check_asks(&asks)?;
            self.ask(count, |reply| Question::Get { asks, reply }).await
        };
        OBSERVE.get(count, call).await
    }

    async fn find(&self, tenant: &Tenant, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let call = async {
            self.shared.limits.check_page(limit)?;
            let after = after.map(|cursor| cursor.open(tenant, query)).transpose()?;
            let (tenant, query) = (tenant.clone(), query.clone());
            self.ask(1, |reply| Question::Find { tenant, query, after, limit, reply }).await
        };
        OBSERVE.find(limit, call).await
    }

    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
        let call = async {
            self.shared.limits.check_page(limit)?;
            self.ask(1, |reply| Question::Read { after, limit, reply }).await
        };
        OBSERVE.read(limit, call).await
    }

    async fn watch(&self, after: Position) -> Result<Position, Error> {
        let closed = || self.shared.jobs.closed().unwrap_or_else(|| Error::new(ErrorKind::Closed, "the writer ended"));
        self.shared.head.past(after).await.ok_or_else(closed)
    }
}

#[async_trait]
impl StoreAdmin for Sqlite {
    async fn export(&self) -> Result<Box<dyn Export>, Error> {
        Ok(Box::new(export::begin(&self.shared).await?))
    }

    async fn health(&self) -> Result<Health, Error> {
        self.shared.check_open()?;
        self.ask(1, |reply| Question::Health { reply }).await
    }

    async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error> {
        let tenant = tenant.clone();
        self.apart("erasing", move |own| erase::erase(own, &tenant, &what)).await
    }

    async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error> {
        self.shared.limits.check_page(max)?;
        if what == Purge::Answers {
            return self.apart("purging", move |own| purge::answers(own, before, max)).await;
        }
        let plan = self.apart("purging", move |own| purge::old_groups(own, before, max)).await?;
        let Some(target) = plan.target() else { return Ok(Purged { rows: 0, is_complete: true }) };
        let free = free(self, target).await?;
        self.apart("purging", move |own| purge::events(own, &plan, free, max)).await
    }
}
