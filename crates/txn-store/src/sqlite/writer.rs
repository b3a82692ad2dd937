//! The thread that writes: it takes what has gathered, judges it, stores it in one transaction, and answers.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension};
use txn_change::{Change, Link, Refusal, Stored, Tenant, Timestamp, Verdict, evaluate};

use super::{
    OBSERVE, Shared,
    checkpoint::Checkpoints,
    load::Rows,
    mark::{Left, Mark},
    medium, open,
    rows::{Names, failed},
    sql,
    write::{Classes, Numbers, Written, classes},
};
use crate::{
    error::{Error, ErrorKind},
    group::{Lines, Waiting},
    observe::Parts,
    store::{Freshness, Outcome, Position, Receipt},
};

/// What the judging of one change gave.
enum Judged {
    Refused(Refusal),
    Replayed(Stored),
    Accepted(Stored),
}

/// How a group ended.
enum Ended {
    /// What was accepted is committed.
    Committed(Vec<Judged>),
    /// Nothing was executed.
    Failed(Error),
    /// The commit failed, and whether it will be found after a restart is not known.
    Lost,
}

/// Counters remembered, at most: some 30 MB. When there are more, all are forgotten, which costs one loading.
const COUNTERS_MAX: usize = 65_536;
/// Tenants remembered, at most.
const TENANTS_MAX: usize = 4_096;
/// After this time a medium that failed is tried again.
const RECOVER_AGAIN: Duration = Duration::from_millis(100);
/// How long closing waits for somebody else's read to end.
const FINISH: Duration = Duration::from_millis(100);

/// The owner of the write connection. It runs until the queue is closed and empty, or what was acknowledged is lost.
pub(super) struct Writer {
    shared: Arc<Shared>,
    connection: Connection,
    numbers: Numbers,
    names: Names,
    classes: Classes,
    /// What is known of each tenant. Forgotten whenever something fails.
    tenants: HashMap<Tenant, Rows>,
    /// What SQLite said when this was learnt: it differs when another connection has written. `None` when nothing is known.
    data_version: Option<i64>,
    checkpoints: Checkpoints,
    /// Set from a commit that failed until the database has been opened again: no change is taken.
    trouble: Option<Trouble>,
    /// What was acknowledged is not there any more.
    is_broken: bool,
    /// Dropped after the connection: it holds the lock.
    mark: Mark,
}

/// What the medium said, and when it was last tried.
struct Trouble {
    error: Error,
    tried: Option<Instant>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection, mark: Mark, numbers: Numbers) -> Self {
        Self {
            shared,
            connection,
            numbers,
            names: Names::default(),
            classes: Classes::new(),
            tenants: HashMap::new(),
            data_version: None,
            checkpoints: Checkpoints::every(open::CHECKPOINT_PAGES),
            trouble: None,
            is_broken: false,
            mark,
        }
    }

    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        // When this thread panics, the jobs in hand are dropped unanswered, which their callers take for Unknown; then the end answers the rest.
        let _end = End(&shared);
        let (mut taken, mut lines) = (VecDeque::new(), Lines::default());
        loop {
            if self.trouble.is_some() {
                if lines.is_empty() {
                    shared.jobs.wait(RECOVER_AGAIN);
                }
                self.recover();
            }
            let is_idle = lines.is_empty() && self.trouble.is_none();
            if !shared.jobs.take(&mut taken, usize::MAX, is_idle) && lines.is_empty() {
                break;
            }
            lines.add(taken.drain(..));
            let before = lines.len();
            let group: Vec<Waiting> = lines.gather(&shared.limits).into_iter().map(|(_, waiting)| waiting).collect();
            // What is still in its line waits as much as what is in the queue.
            shared.jobs.done(before.saturating_sub(lines.len()));
            let span = OBSERVE.group(group.iter().map(Waiting::caller), shared.jobs.waiting());
            span.in_scope(|| self.settle(group)).record_in(&span);
            if self.trouble.is_none() {
                self.checkpoints.after_group(&self.connection);
            }
            if self.is_broken {
                shared.jobs.close("after a fault of the medium, what was acknowledged is not there any more");
                lines.drain().for_each(|waiting| waiting.answer(Err(broken())));
                return;
            }
        }
        self.finish();
    }

    /// Commits a group and gives each change its result.
    fn settle(&mut self, mut group: Vec<Waiting>) -> Parts {
        let mut parts = Parts::default();
        if group.is_empty() {
            return parts;
        }
        match self.commit_unless_in_trouble(&group) {
            // One row that cannot be read must not stop the others.
            Ended::Failed(error) if error.kind() == ErrorKind::Corrupt && group.len() > 1 => {
                for waiting in group.drain(..) {
                    let alone = [waiting];
                    let ended = self.commit_unless_in_trouble(&alone);
                    parts.add(self.give(alone, ended));
                }
            }
            ended => parts.add(self.give(group, ended)),
        }
        parts
    }

    /// Answers, and says what became of them.
    fn give(&self, group: impl IntoIterator<Item = Waiting>, ended: Ended) -> &'static str {
        let group = group.into_iter();
        match ended {
            Ended::Failed(error) => {
                OBSERVE.failed("a group failed", &error);
                group.for_each(|waiting| waiting.answer(Err(error.again())));
                "error"
            }
            // Also what was refused: it was judged by changes that may not be committed.
            Ended::Lost => {
                drop(group);
                "unknown"
            }
            Ended::Committed(judged) => {
                let freshness = Freshness(self.numbers.commit.cast_unsigned());
                let done = |stored: Stored, replayed| {
                    let Stored { answer, recorded_at, .. } = stored;
                    Outcome::Done(Receipt { answer, replayed, recorded_at, freshness, head: self.numbers.link })
                };
                for (waiting, judged) in group.zip(judged) {
                    waiting.answer(Ok(match judged {
                        Judged::Refused(refusal) => Outcome::Refused(refusal),
                        Judged::Replayed(stored) => done(stored, true),
                        Judged::Accepted(stored) => done(stored, false),
                    }));
                }
                "committed"
            }
        }
    }

    fn commit_unless_in_trouble(&mut self, group: &[Waiting]) -> Ended {
        match &self.trouble {
            Some(Trouble { error, .. }) => Ended::Failed(error.again()),
            None => self.commit(group),
        }
    }

    fn commit(&mut self, group: &[Waiting]) -> Ended {
        self.shared.hosts.stand_back();
        if let Err(error) = self.connection.execute_batch(sql::BEGIN_WRITE) {
            return Ended::Failed(failed("beginning a commit")(error));
        }
        // Not before: a host may have kept us waiting, and its time must not be after ours.
        match self.shared.time.now().and_then(|now| self.judge(group, now)) {
            Err(error) => {
                self.forget();
                self.roll_back();
                Ended::Failed(error)
            }
            Ok((judged, numbers)) if numbers == self.numbers => {
                self.roll_back();
                self.end_group();
                Ended::Committed(judged)
            }
            Ok((judged, numbers)) => match self.flush() {
                Ok(()) => self.committed(judged, numbers),
                Err(error) => self.find_out(error, judged, numbers),
            },
        }
    }

    /// Judges each change in order and writes what was accepted. The numbers differ from ours if anything was.
    fn judge(&mut self, group: &[Waiting], now: Timestamp) -> Result<(Vec<Judged>, Numbers), Error> {
        self.refresh()?;
        let mut of_tenants: BTreeMap<&Tenant, Vec<&Change>> = BTreeMap::new();
        for Waiting { commit, .. } in group {
            of_tenants.entry(&commit.tenant).or_default().push(&commit.change);
        }
        for (tenant, changes) in &of_tenants {
            let rows = self.tenants.entry((*tenant).clone()).or_insert_with(|| Rows::of((*tenant).clone()));
            rows.load(&self.connection, &mut self.names, changes)?;
        }
        let mut written = Written::default();
        let mut numbers = self.numbers;
        let mut judged = Vec::with_capacity(group.len());
        for Waiting { commit, .. } in group {
            let rows = self.tenants.get_mut(&commit.tenant).expect("loaded above");
            judged.push(match evaluate(rows, &commit.change, now) {
                Err(refusal) => Judged::Refused(refusal),
                Ok(Verdict::Replayed(stored)) => Judged::Replayed(stored),
                Ok(Verdict::Accepted(effects)) => {
                    let stored = effects.stored.clone();
                    written.accept(rows, &mut self.classes, &mut numbers, &commit.change, effects);
                    Judged::Accepted(stored)
                }
            });
        }
        if !written.is_empty() {
            let touched: Vec<&Rows> = of_tenants.keys().filter_map(|tenant| self.tenants.get(*tenant)).collect();
            written.store(&self.connection, &touched, &self.classes, &mut numbers)?;
        }
        Ok((judged, numbers))
    }

    fn flush(&self) -> rusqlite::Result<()> {
        #[cfg(test)]
        self.shared.faults.strike()?;
        self.connection.execute_batch(sql::COMMIT)
    }

    fn committed(&mut self, judged: Vec<Judged>, numbers: Numbers) -> Ended {
        self.numbers = numbers;
        // The mark may be behind, so a failure here takes nothing back.
        let _ = self.mark.set(Left { commit: numbers.commit, closed: false });
        self.end_group();
        self.shared.head.advance(Position(numbers.position.cast_unsigned()));
        Ended::Committed(judged)
    }

    /// A COMMIT failed. That the group is not committed can be seen here, but may change: its pages may have reached the log, and a restart would find them. That it never will be is
    /// certain when something else has taken its place in the log.
    fn find_out(&mut self, error: rusqlite::Error, judged: Vec<Judged>, numbers: Numbers) -> Ended {
        let (is_open, code) = (!self.connection.is_autocommit(), error.sqlite_error_code());
        self.forget();
        self.roll_back();
        if is_open && code == Some(ErrorCode::DatabaseBusy) && self.trouble.is_none() {
            // Refused before anything was written.
            return Ended::Failed(failed("committing")(error));
        }
        self.enter_trouble(failed("committing")(error));
        // Without room nothing was flushed, so a flush that succeeds now can be believed.
        if code == Some(ErrorCode::DiskFull) && self.reconnect().is_ok() {
            return match (self.has_link(numbers.link), &self.trouble) {
                (Ok(true), _) => self.committed(judged, numbers),
                (Ok(false), Some(trouble)) => Ended::Failed(trouble.error.again()),
                _ => Ended::Lost,
            };
        }
        Ended::Lost
    }

    fn roll_back(&mut self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch(sql::ROLLBACK)
        {
            self.enter_trouble(failed("rolling back")(error));
        }
    }

    fn enter_trouble(&mut self, error: Error) {
        let context = "the medium failed, and no change is taken until the database has been opened again";
        let error = Error::new(ErrorKind::Unavailable, context).because(error);
        OBSERVE.failed("no change is taken for now", &error);
        self.shared.set_trouble(Some(error.again()));
        self.trouble = Some(Trouble { error, tried: None });
    }

    /// Tries to leave trouble: takes changes again when the database has been opened again, a commit has been flushed, the write-ahead log has been copied and flushed, and everything that was acknowledged is there.
    fn recover(&mut self) {
        let is_early = |tried: Instant| tried.elapsed() < RECOVER_AGAIN;
        let Some(trouble) = &mut self.trouble else { return };
        if trouble.tried.is_some_and(is_early) {
            return;
        }
        trouble.tried = Some(Instant::now());
        let shared = Arc::clone(&self.shared);
        match medium::believed(&shared.path, || self.reconnect().and_then(|()| self.check())) {
            Ok(()) => {
                self.trouble = None;
                self.shared.set_trouble(None);
                OBSERVE.recovered();
            }
            Err(error) => {
                self.is_broken = error.kind() == ErrorKind::Corrupt;
                let tried = Some(Instant::now());
                self.enter_trouble(error);
                self.trouble.iter_mut().for_each(|trouble| trouble.tried = tried);
            }
        }
    }

    /// Opens the database again, and commits nothing in the place of what may have failed.
    fn reconnect(&mut self) -> Result<(), Error> {
        self.forget();
        self.connection = open::write_connection(&self.shared.path, self.shared.durability)?;
        open::commit_nothing(&mut self.connection)
    }

    fn check(&mut self) -> Result<(), Error> {
        #[cfg(test)]
        self.shared.faults.lose(&self.connection);
        self.connection.query_row(sql::EMPTY_LOG, [], |_| Ok(())).map_err(failed("emptying the write-ahead log"))?;
        let numbers = Numbers::read(&self.connection)?;
        if numbers.commit < self.numbers.commit || !self.has_link(self.numbers.link)? {
            let context = format!(
                "the database ends with commit {}, but commit {} was acknowledged",
                numbers.commit, self.numbers.commit
            );
            return Err(Error::new(ErrorKind::Corrupt, context));
        }
        Ok(())
    }

    fn has_link(&self, link: Link) -> Result<bool, Error> {
        let Link { number, hash } = link;
        let found = self.connection.query_row(sql::HAS_LINK, (number.cast_signed(), &hash[..]), |_| Ok(())).optional();
        found.map(|found| found.is_some() || number == 0).map_err(failed("reading a link"))
    }

    /// Learns what is stored, when nothing is known or another connection has written.
    fn refresh(&mut self) -> Result<(), Error> {
        let read = || self.connection.prepare_cached(sql::DATA_VERSION)?.query_row([], |row| row.get::<_, i64>(0));
        let data_version = read().map_err(failed("reading the data version"))?;
        if self.data_version == Some(data_version) {
            return Ok(());
        }
        self.forget();
        self.numbers = Numbers::read(&self.connection)?;
        self.classes = classes(&self.connection)?;
        self.data_version = Some(data_version);
        Ok(())
    }

    fn forget(&mut self) {
        self.tenants.clear();
        self.names = Names::default();
        self.classes.clear();
        self.data_version = None;
    }

    fn end_group(&mut self) {
        self.tenants.values_mut().for_each(Rows::end_group);
        let counters: usize = self.tenants.values().map(|rows| rows.counters.len()).sum();
        if counters > COUNTERS_MAX || self.tenants.len() > TENANTS_MAX {
            self.forget();
        }
    }

    /// Puts everything into the database, so that one file holds it all.
    fn finish(mut self) {
        if self.trouble.is_some() {
            // The next opening finds what the medium has kept.
            return;
        }
        // An export may outlive the store; whoever drops the store does not wait for it.
        let _ = self.connection.busy_timeout(FINISH);
        let emptied = self.connection.query_row(sql::EMPTY_LOG, [], |row| row.get::<_, i64>(0));
        // 1 means that somebody still reads: then the log stays, and the next owner takes it up.
        if matches!(emptied, Ok(0)) {
            let _ = self.mark.set(Left { commit: self.numbers.commit, closed: true });
        }
    }
}

/// The end of the writer, however it comes: nothing waits for ever.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.jobs.close("the writer died; open the store again");
        let mut left = VecDeque::new();
        self.0.jobs.take(&mut left, usize::MAX, false);
        left.into_iter().for_each(|waiting: Waiting| waiting.answer(Err(broken())));
        self.0.head.close();
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Closed, "the store takes no more changes; open it again")
}
