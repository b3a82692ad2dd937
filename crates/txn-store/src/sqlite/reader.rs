//! The threads that read: each takes what waits and serves it from one read transaction.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use rusqlite::Connection;
use txn_change::Tenant;

use super::{
    Shared, find,
    load::{Source, blob, text},
    purge,
    rows::{Fields, Names, failed},
    sql,
};
use crate::{
    admin::{Health, Purge},
    error::Error,
    query::{Page, Query},
    store::{Ask, LogPage, Position, Snapshot},
    tail::before_the_log,
};

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What a reader is asked.
pub(super) enum Question {
    Get {
        asks: Vec<Ask>,
        reply: Reply<Vec<Snapshot>>,
    },
    Find {
        tenant: Tenant,
        query: Query,
        after: Option<Vec<u8>>,
        limit: usize,
        reply: Reply<Page>,
    },
    Read {
        after: Position,
        limit: usize,
        reply: Reply<LogPage>,
    },
    Health {
        reply: Reply<Health>,
    },
    /// To look where the log ends: a host may have committed.
    Look,
}

impl Question {
    fn weight(&self) -> usize {
        match self {
            Self::Get { asks, .. } => asks.len(),
            _ => 1,
        }
    }

    fn is_dropped(&self) -> bool {
        match self {
            Self::Get { reply, .. } => reply.is_canceled(),
            Self::Find { reply, .. } => reply.is_canceled(),
            Self::Read { reply, .. } => reply.is_canceled(),
            Self::Health { reply } => reply.is_canceled(),
            Self::Look => false,
        }
    }

    fn fail(self, error: &Error) {
        // In each, nobody may be waiting any more.
        match self {
            Self::Get { reply, .. } => drop(reply.send(Err(error.again()))),
            Self::Find { reply, .. } => drop(reply.send(Err(error.again()))),
            Self::Read { reply, .. } => drop(reply.send(Err(error.again()))),
            Self::Health { reply } => drop(reply.send(Err(error.again()))),
            // It is looked at again soon.
            Self::Look => {}
        }
    }
}

/// Questions that one transaction serves, at most: enough to share its cost, few enough that another reader finds work.
const GATHERED_MAX: usize = 64;

/// Where hosts commit, those who watch the log may have to wait so long to hear of it.
const LOOK: Duration = Duration::from_millis(100);

/// Serves questions until the queue is closed and empty.
pub(super) fn run(shared: &Arc<Shared>, connection: Connection) {
    let _end = End(shared);
    let mut reader = Reader { shared, connection, names: Names::default() };
    let mut questions = VecDeque::new();
    let mut looked = Instant::now();
    loop {
        let has_hosts = shared.hosts.is_seen();
        if has_hosts {
            shared.questions.wait(LOOK);
            if looked.elapsed() >= LOOK && shared.head.is_waited_for() {
                reader.look();
                looked = Instant::now();
            }
        }
        if !shared.questions.take(&mut questions, GATHERED_MAX, !has_hosts) {
            break;
        }
        if questions.is_empty() {
            continue;
        }
        let weight = questions.iter().fold(0usize, |sum, question| sum.saturating_add(question.weight()));
        shared.questions.done(weight);
        reader.serve(questions.drain(..));
    }
}

/// The end of a reader. One that panics takes the queue with it: better closed than never answered.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.questions.close("a reader died; open the store again");
        if std::thread::panicking() {
            let mut left = VecDeque::new();
            self.0.questions.take(&mut left, usize::MAX, false);
        }
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    connection: Connection,
    names: Names,
}

impl Reader<'_> {
    /// A snapshot begins with the first read after BEGIN, and so after every commit acknowledged before these questions were asked.
    fn serve(&mut self, questions: impl Iterator<Item = Question>) {
        let begun = self.connection.execute_batch(sql::BEGIN_READ).map_err(failed("beginning to read"));
        for question in questions {
            if question.is_dropped() {
                continue;
            }
            if let Err(error) = &begun {
                question.fail(error);
                continue;
            }
            // In each, nobody may be waiting any more.
            match question {
                Question::Get { asks, reply } => drop(reply.send(self.get(&asks))),
                Question::Find { tenant, query, after, limit, reply } => {
                    let page = find::page(&self.connection, &mut self.names, &tenant, &query, after.as_deref(), limit);
                    drop(reply.send(page));
                }
                Question::Read { after, limit, reply } => drop(reply.send(self.read(after, limit))),
                Question::Health { reply } => drop(reply.send(self.health())),
                Question::Look => self.look(),
            }
        }
        if !self.connection.is_autocommit() {
            // Nothing was written. Should even this fail, the next BEGIN says so to whoever asks.
            let _ = self.connection.execute_batch(sql::ROLLBACK);
        }
    }

    fn get(&mut self, asks: &[Ask]) -> Result<Vec<Snapshot>, Error> {
        let mut snapshots: Vec<Snapshot> = Vec::with_capacity(asks.len());
        for ask in asks {
            snapshots.push(self.snapshot(ask)?);
        }
        Ok(snapshots)
    }

    fn snapshot(&mut self, ask: &Ask) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot {
            now: txn_change::Timestamp::EPOCH,
            stored: None,
            records: vec![None; ask.records.len()],
            counters: vec![None; ask.counters.len()],
            facts: vec![None; ask.facts.len()],
        };
        let Self { connection, names, .. } = self;
        if let Some(tenant) = names.number(connection, &ask.tenant)? {
            let source = Source { connection, tenant, name: &ask.tenant };
            let ids: Vec<_> = ask.id.iter().collect();
            source.load(
                sql::LOAD_CHANGES,
                "change",
                &ids,
                |id| text(id),
                |_, _, row| {
                    snapshot.stored = Some(Fields(row).stored()?);
                    Ok(())
                },
            )?;
            source.load(sql::LOAD_RECORDS, "record", &ask.records, blob, |at, _, row| {
                put(&mut snapshot.records, at, Fields(row).record()?);
                Ok(())
            })?;
            source.load(sql::LOAD_COUNTERS, "counter", &ask.counters, blob, |at, _, row| {
                put(&mut snapshot.counters, at, Fields(row).counter(names, connection)?.1);
                Ok(())
            })?;
            source.load(
                sql::LOAD_FACTS,
                "fact",
                &ask.facts,
                |id| text(id),
                |at, _, row| {
                    put(&mut snapshot.facts, at, Fields(row).log_item(names, connection)?.recorded);
                    Ok(())
                },
            )?;
        }
        // After the snapshot, so that nothing in it is later than now.
        snapshot.now = self.shared.time.now()?;
        Ok(snapshot)
    }

    fn read(&mut self, after: Position, limit: usize) -> Result<LogPage, Error> {
        let failed = failed("reading the log");
        let tail = self.tail()?;
        if after < tail {
            return Err(before_the_log(after, tail));
        }
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut items = Vec::new();
        let mut statement = self.connection.prepare_cached(sql::READ_LOG).map_err(&failed)?;
        let mut rows = statement.query([after, limit]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let position = Fields(row).int(1).unwrap_or_default();
            let item = Fields(row).log_item(&mut self.names, &self.connection);
            items.push(item.map_err(|unread| unread.of(format!("event at position {position}")))?);
        }
        Ok(LogPage { items, head: self.head()? })
    }

    fn tail(&self) -> Result<Position, Error> {
        let (_, tail) =
            purge::reached(&self.connection, Purge::Events).map_err(failed("reading the tail of the log"))?;
        Ok(Position(tail.cast_unsigned()))
    }

    fn head(&self) -> Result<Position, Error> {
        let head = || self.connection.prepare_cached(sql::HEAD)?.query_row([], |row| row.get::<_, Option<i64>>(0));
        let head = head().map_err(failed("reading the head of the log"))?;
        Ok(Position(head.unwrap_or_default().cast_unsigned()))
    }

    /// Wakes those who watch the log, if it has grown. What cannot be read now is read the next time.
    fn look(&self) {
        if let Ok(head) = self.head() {
            self.shared.head.advance(head);
        }
    }

    fn health(&self) -> Result<Health, Error> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql::HEALTH)?;
            statement.query_row([], |row| {
                let commits = row.get::<_, Option<i64>>(0)?;
                Ok((commits.unwrap_or_default().cast_unsigned(), Fields(row).link(1, 2)))
            })
        };
        let (commits, chain) = read().map_err(failed("reading the last commit"))?;
        let chain = chain.map_err(|damage| damage.of("the last link"))?;
        let queued = self.shared.jobs.waiting();
        Ok(Health { tail: self.tail()?, head: self.head()?, commits, queued, chain, unchained: 0 })
    }
}

fn put<T>(places: &mut [Option<T>], at: usize, value: T) {
    if let Some(place) = places.get_mut(at) {
        *place = Some(value);
    }
}
