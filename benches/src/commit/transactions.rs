//! The peer that gives each change a transaction of its own: sqlx, a pool, and as many callers as ours.

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{
    Executor, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::runtime::Runtime;
use txn_bench::{
    callers::drive,
    ledger::{EFFECTIVE_AT, Leg},
};
use txn_store::{Clock, SystemClock};

use super::rows::{
    CACHE_KIB, CHECKPOINT_PAGES, INSERT_CHANGE, INSERT_COUNTER, INSERT_ENTRIES, INSERT_EVENTS, INSERT_TERMS,
    PAGE_BYTES, TABLES, UPDATE_COUNTER,
};
use crate::rows::{GUARDS, Row, accounts, number};

/// Long enough that nobody gives up: neither the last of many callers nor a connection that waits for another's lock.
const PATIENCE: Duration = Duration::from_secs(600);

/// Writes the rows, each in a transaction, through a pool of so many connections.
pub(super) fn write(runtime: &Runtime, parent: &Path, callers: usize, connections: u32, rows: Vec<Row>) -> Duration {
    let folder = tempfile::tempdir_in(parent).expect("the folder can be written to");
    let path = folder.path().join("bench.db");
    let pool = runtime.block_on(open(&path, connections)).expect("a new file opens");
    let time = run(runtime, &pool, callers, rows);
    runtime.block_on(pool.close());
    time
}

pub(super) async fn open(path: &Path, connections: u32) -> sqlx::Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", (-CACHE_KIB).to_string())
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .busy_timeout(PATIENCE);
    let pool = SqlitePoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    pool.execute(TABLES).await?;
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    for (number, key, funds) in accounts() {
        let query = sqlx::query(INSERT_COUNTER).bind(number).bind(key).bind(GUARDS).bind(funds);
        query.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    // Warm: every connection is open and has prepared what it will run.
    let mut warm = Vec::new();
    for _ in 0..connections {
        let mut connection = pool.acquire().await?;
        for statement in [INSERT_CHANGE, UPDATE_COUNTER, INSERT_ENTRIES, INSERT_EVENTS, INSERT_TERMS] {
            (&mut *connection).prepare(sqlx::SqlSafeStr::into_sql_str(statement)).await?;
        }
        warm.push(connection);
    }
    Ok(pool)
}

pub(super) fn run(runtime: &Runtime, pool: &SqlitePool, callers: usize, rows: Vec<Row>) -> Duration {
    let pool = Arc::new(pool.clone());
    let (time, written) = drive(runtime, callers, rows, move |row| {
        let pool = Arc::clone(&pool);
        async move { commit(&pool, &row).await }
    });
    written.into_iter().collect::<sqlx::Result<()>>().expect("every row is accepted");
    time
}

async fn commit(pool: &SqlitePool, row: &Row) -> sqlx::Result<()> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    let change = &row.work.change;
    let answer = &change.answer;
    let inserted = sqlx::query(INSERT_CHANGE)
        .bind(&*change.id)
        .bind(&change.fingerprint.0[..])
        .bind(SystemClock.now().as_nanos())
        .bind(answer.type_name())
        .bind(answer.schema())
        .bind(answer.bytes())
        .execute(&mut *transaction)
        .await?;
    let n = inserted.last_insert_rowid();
    let [first, second] = row.work.legs;
    let a = add(&mut transaction, first).await?;
    let b = add(&mut transaction, second).await?;
    sqlx::query(INSERT_ENTRIES)
        .bind(n)
        .bind(number(first.account))
        .bind(a.0)
        .bind(EFFECTIVE_AT.as_nanos())
        .bind(change.add[0].label.as_str())
        .bind(first.debit)
        .bind(first.credit)
        .bind(a.1)
        .bind(a.2)
        .bind(a.3)
        .bind(a.4)
        .bind(number(second.account))
        .bind(b.0)
        .bind(second.debit)
        .bind(second.credit)
        .bind(b.1)
        .bind(b.2)
        .bind(b.3)
        .bind(b.4)
        .execute(&mut *transaction)
        .await?;
    let (fact, plain) = (&change.append[0], &change.append[1]);
    let inserted = sqlx::query(INSERT_EVENTS)
        .bind(n)
        .bind(fact.id.as_deref())
        .bind(fact.body.type_name())
        .bind(fact.body.schema())
        .bind(&row.terms[..])
        .bind(fact.body.bytes())
        .bind(plain.body.type_name())
        .bind(plain.body.schema())
        .bind(plain.body.bytes())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(INSERT_TERMS)
        .bind(fact.terms[0].as_bytes())
        .bind(fact.terms[1].as_bytes())
        .bind(inserted.last_insert_rowid() - 1)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// Sequence and lanes after the addition; an error when the guard refuses it, and then the transaction rolls back.
async fn add(connection: &mut SqliteConnection, leg: Leg) -> sqlx::Result<(i64, i64, i64, i64, i64)> {
    sqlx::query_as(UPDATE_COUNTER)
        .bind(number(leg.account))
        .bind(leg.debit)
        .bind(leg.credit)
        .fetch_one(connection)
        .await
}
