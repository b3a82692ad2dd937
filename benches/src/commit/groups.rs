//! The peer that groups: one thread, a rusqlite connection, and a loop.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{CachedStatement, Connection, params};
use txn_bench::ledger::{EFFECTIVE_AT, Leg};
use txn_store::{Clock, SystemClock};

use super::rows::{
    CACHE_KIB, CHECKPOINT_PAGES, INSERT_CHANGE, INSERT_COUNTER, INSERT_ENTRIES, INSERT_EVENTS, INSERT_TERMS,
    PAGE_BYTES, TABLES, UPDATE_COUNTER,
};
use crate::rows::{GUARDS, Row, accounts, number};

/// Writes the rows in transactions of `group` changes.
pub(super) fn write(parent: &Path, rows: Vec<Row>, group: usize) -> Duration {
    let folder = tempfile::tempdir_in(parent).expect("the folder can be written to");
    let connection = open(&folder.path().join("bench.db")).expect("a new file opens");
    run(&connection, rows, group).expect("every row is accepted")
}

pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.execute_batch(TABLES)?;
    for (number, key, funds) in accounts() {
        connection.prepare_cached(INSERT_COUNTER)?.execute(params![number, key, GUARDS, funds])?;
    }
    connection.execute_batch("COMMIT")?;
    Ok(connection)
}

/// Takes the rows, as ours takes changes: freeing them is part of the work.
pub(super) fn run(connection: &Connection, rows: Vec<Row>, group: usize) -> rusqlite::Result<Duration> {
    let mut begin = connection.prepare_cached("BEGIN IMMEDIATE")?;
    let mut commit = connection.prepare_cached("COMMIT")?;
    let mut statements = Statements {
        connection,
        change: connection.prepare_cached(INSERT_CHANGE)?,
        counter: connection.prepare_cached(UPDATE_COUNTER)?,
        entries: connection.prepare_cached(INSERT_ENTRIES)?,
        events: connection.prepare_cached(INSERT_EVENTS)?,
        terms: connection.prepare_cached(INSERT_TERMS)?,
    };
    let mut rows = rows.into_iter().peekable();
    let began = Instant::now();
    while rows.peek().is_some() {
        let now = SystemClock.now().as_nanos();
        begin.execute([])?;
        for row in rows.by_ref().take(group) {
            statements.write(&row, now)?;
        }
        commit.execute([])?;
    }
    Ok(began.elapsed())
}

struct Statements<'c> {
    connection: &'c Connection,
    change: CachedStatement<'c>,
    counter: CachedStatement<'c>,
    entries: CachedStatement<'c>,
    events: CachedStatement<'c>,
    terms: CachedStatement<'c>,
}

impl Statements<'_> {
    fn write(&mut self, row: &Row, now: i64) -> rusqlite::Result<()> {
        let change = &row.work.change;
        let answer = &change.answer;
        self.change.execute(params![
            &*change.id,
            change.fingerprint.0,
            now,
            answer.type_name(),
            answer.schema(),
            answer.bytes()
        ])?;
        let n = self.connection.last_insert_rowid();
        let [first, second] = row.work.legs;
        let a = self.add(first)?;
        let b = self.add(second)?;
        self.entries.execute(params![
            n,
            number(first.account),
            a.0,
            EFFECTIVE_AT.as_nanos(),
            change.add[0].label.as_str(),
            first.debit,
            first.credit,
            a.1,
            a.2,
            a.3,
            a.4,
            number(second.account),
            b.0,
            second.debit,
            second.credit,
            b.1,
            b.2,
            b.3,
            b.4
        ])?;
        let (fact, plain) = (&change.append[0], &change.append[1]);
        self.events.execute(params![
            n,
            fact.id.as_deref(),
            fact.body.type_name(),
            fact.body.schema(),
            row.terms,
            fact.body.bytes(),
            plain.body.type_name(),
            plain.body.schema(),
            plain.body.bytes()
        ])?;
        let position = self.connection.last_insert_rowid() - 1;
        self.terms.execute(params![fact.terms[0].as_bytes(), fact.terms[1].as_bytes(), position])?;
        Ok(())
    }

    /// Sequence and lanes after the addition; an error when the guard refuses it.
    fn add(&mut self, leg: Leg) -> rusqlite::Result<(i64, i64, i64, i64, i64)> {
        self.counter.query_row(params![number(leg.account), leg.debit, leg.credit], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })
    }
}
