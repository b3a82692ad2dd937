//! The thread that owns the file: it takes what has gathered, decides it, commits it at once, and answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::PathBuf,
    pin::pin,
    sync::{Arc, mpsc::Receiver},
    task::{Context, Poll, Waker},
};

use rusqlite::{Connection, OptionalExtension};

use super::{
    medium::{InFile, failed},
    open, sql,
};
use crate::{
    clock::Clock,
    durable::{
        chance::Chance,
        declared::Declared,
        jobs::{self, Job},
        medium,
        replica::Replica,
        turn::{Stop, Turn},
        waiting::Waiting,
    },
    error::{Error, ErrorKind},
    limits::QueueLimits,
    name::Topic,
};

/// Calls that are decided together, at most.
const JOBS_MAX: usize = 256;

/// Bytes of messages, after which no further call is taken with them.
const BYTES_MAX: usize = 64 << 20;

/// Rows that are deleted after a turn, at most. More than a turn adds on the average.
const TIDY_MAX: i64 = 4_096;

pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) declared: Arc<Declared>,
    pub(super) topics: BTreeMap<Topic, Replica>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: QueueLimits,
    pub(super) waiting: Arc<Waiting>,
    pub(super) chance: Chance,
    /// After a failure the file is opened anew.
    pub(super) is_broken: bool,
}

/// What a future that never waits comes to.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a file is read and written without waiting"),
    }
}

impl Writer {
    /// Runs until nobody can ask any more.
    pub(super) fn run(mut self, calls: &Receiver<Job>) {
        // When this thread ends, whoever waits is told.
        let _end = End(Arc::clone(&self.waiting));
        while let Ok(first) = calls.recv() {
            let mut jobs = vec![first];
            let mut bytes = jobs.iter().map(Job::bytes).fold(0, usize::saturating_add);
            while jobs.len() < JOBS_MAX
                && bytes < BYTES_MAX
                && let Ok(job) = calls.try_recv()
            {
                bytes = bytes.saturating_add(job.bytes());
                jobs.push(job);
            }
            // What was dropped before it began is not begun.
            jobs.retain(Job::is_wanted);
            if !jobs.is_empty() {
                self.turn(jobs);
            }
        }
    }

    fn turn(&mut self, jobs: Vec<Job>) {
        if self.is_broken {
            match self.reopen() {
                Ok(()) => self.is_broken = false,
                Err(error) => return jobs.into_iter().for_each(|job| job.fail(&error)),
            }
        }
        let declared = Arc::clone(&self.declared);
        let mut also = BTreeSet::new();
        let mut decided = self.decide(&jobs, &also);
        while let Err(Failed { needs: Some(topic), .. }) = &mut decided {
            // Begun anew, with it in hand: what was changed in memory was never written.
            self.topics.clear();
            self.declared = Arc::clone(&declared);
            if !also.insert(topic.clone()) {
                break;
            }
            decided = self.decide(&jobs, &also);
        }
        match decided {
            Ok(outcomes) => {
                self.topics.values().for_each(|replica| self.waiting.tell(replica));
                jobs::answer(jobs, outcomes);
                self.tidy();
            }
            Err(Failed { error, is_lost, .. }) => {
                self.is_broken = true;
                self.topics.clear();
                self.declared = declared;
                let tell = |job: Job| if is_lost { job.lost(&error) } else { job.fail(&error) };
                jobs.into_iter().for_each(tell);
            }
        }
    }

    fn decide(&mut self, jobs: &[Job], also: &BTreeSet<Topic>) -> Result<jobs::Outcomes, Failed> {
        let is_light = jobs.iter().all(|job| matches!(job, Job::Receive(..) | Job::Look(..) | Job::Stats(..)));
        synchronous(&self.connection, !is_light)?;
        let mut medium = InFile::begin(&mut self.connection, !is_light)?;
        let wanted = jobs.iter().flat_map(|job| job.topics(&self.declared));
        for topic in wanted.chain(also.iter().cloned()).collect::<BTreeSet<_>>() {
            load(&mut medium, &self.declared, &mut self.topics, &self.waiting, &topic)?;
        }
        let (now, nonce) = (self.clock.now(), self.chance.next());
        let mut turn = Turn::new(&mut medium, &mut self.declared, &mut self.topics, &self.limits, now, nonce);
        let (outcomes, is_declared) = match at_once(jobs::run(&mut turn, jobs, false, &self.waiting)) {
            Ok(done) => done,
            Err(Stop::Failed(error) | Stop::Refused(error)) => return Err(error.into()),
            Err(Stop::Needs(topic)) => {
                let error = Error::new(ErrorKind::Corrupt, format!("the topic {topic} is not there"));
                return Err(Failed { error, is_lost: false, needs: Some(topic) });
            }
        };
        let (is_idle, is_passing) = (turn.is_idle(), turn.is_passing());
        at_once(turn.write())?;
        if is_idle && !is_declared {
            return Ok(outcomes);
        }
        if is_declared {
            medium.write_topology(self.declared.version, &self.declared.to_json())?;
        }
        medium.commit().map_err(|error| Failed { error, is_lost: true, needs: None })?;
        if is_light && !is_passing {
            // What was thought to be of no weight was not: it is flushed before it is told.
            synchronous(&self.connection, true)?;
            open::commit_nothing(&mut self.connection).map_err(|error| Failed { error, is_lost: true, needs: None })?;
        }
        Ok(outcomes)
    }

    /// Deletes what is done and saved, when everybody has been answered.
    fn tidy(&mut self) {
        let now = self.clock.now();
        let done = self.topics.values_mut().filter(|replica| replica.is_untidy());
        let done: Vec<(i64, u64)> = done.map(|replica| (replica.id, replica.tidy(TIDY_MAX.unsigned_abs()))).collect();
        if done.is_empty() {
            return;
        }
        let run = || {
            synchronous(&self.connection, false)?;
            let medium = InFile::begin(&mut self.connection, true)?;
            for (topic, first) in done {
                medium.tidy(topic, first, now, TIDY_MAX)?;
            }
            medium.commit()
        };
        // What could not be deleted now is deleted with the next.
        let _: Result<(), Error> = run();
    }

    /// After a failure. A flush that failed may have dropped what it was to write, so a later one that succeeds proves nothing of it: nothing is acknowledged until all has been written and flushed anew.
    fn reopen(&mut self) -> Result<(), Error> {
        self.topics.clear();
        self.connection = open::connection(&self.path)?;
        // Stands where what failed would have stood, so that a restart will never find that.
        open::commit_nothing(&mut self.connection)?;
        open::settle_down(&self.connection)?;
        self.declared = Arc::new(read_topology(&self.connection)?);
        Ok(())
    }
}

/// Has a topic read, if it was not.
pub(super) fn load(
    medium: &mut InFile<'_>,
    declared: &Declared,
    topics: &mut BTreeMap<Topic, Replica>,
    waiting: &Waiting,
    topic: &Topic,
) -> Result<(), Error> {
    if !topics.contains_key(topic) {
        let replica = at_once(medium::read(medium, None, declared.id(topic)?, topic))?;
        waiting.tell(&replica);
        topics.insert(topic.clone(), replica);
    }
    Ok(())
}

pub(super) fn read_topology(connection: &Connection) -> Result<Declared, Error> {
    let json = connection.query_row(sql::TOPOLOGY, [], |row| row.get::<_, String>(0)).optional();
    let json = json.map_err(failed("reading the topology"))?;
    json.map_or_else(|| Ok(Declared::default()), |json| Declared::read(&json))
}

/// Whether the next commit is flushed before it is done.
fn synchronous(connection: &Connection, is_full: bool) -> Result<(), Error> {
    let name = if is_full { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", name).map_err(failed("setting how commits are flushed"))
}

struct Failed {
    error: Error,
    /// Nobody knows whether it was committed.
    is_lost: bool,
    /// Another topic is to be in hand from the beginning.
    needs: Option<Topic>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, is_lost: false, needs: None }
    }
}

struct End(Arc<Waiting>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.close("the queue is closed");
    }
}
