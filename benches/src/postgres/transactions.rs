//! The peer that gives each change a transaction of its own: sqlx, a pool, and as many callers as ours.

use std::time::Duration;

use sqlx::{Executor, PgConnection, PgPool, Row as _, SqlSafeStr, postgres::PgPoolOptions};
use tokio::runtime::Runtime;
use txn_bench::{
    callers::drive,
    ledger::{EFFECTIVE_AT, Leg},
};
use txn_store::{Clock, SystemClock};

use super::{server::Server, tables};
use crate::rows::{Row, number};

/// Long enough that no caller gives up while it waits for a connection.
const PATIENCE: Duration = Duration::from_secs(600);

const INSERT_CHANGE: &str = "INSERT INTO change(at, tenant, id, fingerprint, digest, recorded_at, entries, events, type, schema, format, answer) \
    VALUES (0, 1, $1, $2, $2, $3, 2, 2, $4, $5, 1, $6) ON CONFLICT DO NOTHING RETURNING ticket";
/// The guard of an account: what is posted, less what is pending, stays above zero, unless the transfer only adds to it.
const UPDATE_COUNTER: &str = "UPDATE counter SET l1 = l1 + $2::int8, l3 = l3 + $3::int8, version = version + 1, sequence = sequence + 1 \
    WHERE no = $1 AND ($3::int8 <= $2::int8 OR l1 + $2::int8 - l2 - l3 - $3::int8 >= 0) \
    RETURNING sequence, l0::int8, l1::int8, l2::int8, l3::int8";
const INSERT_ENTRIES: &str = "INSERT INTO entry(ticket, at, ord, counter, sequence, effective_at, label, short, d0, d1, d2, d3, a0, a1, a2, a3) VALUES \
    ($1, 0, 0, $2, $3, $4, $5, false, 0, $6::int8, 0, $7::int8, $8::int8, $9::int8, $10::int8, $11::int8), \
    ($1, 0, 1, $12, $13, $4, $5, false, 0, $14::int8, 0, $15::int8, $16::int8, $17::int8, $18::int8, $19::int8)";
const INSERT_EVENTS: &str = "INSERT INTO event(ticket, ord, at, tenant, fact, subject, type, schema, format, terms, body) VALUES \
    ($1, 0, 0, 1, $2, NULL, $3, $4, 1, $5, $6), ($1, 1, 0, 1, NULL, NULL, $7, $8, 1, '', $9)";
const INSERT_TERMS: &str = "INSERT INTO event_term(tenant, term, ticket, ord) VALUES (1, $1, $3, 0), (1, $2, $3, 0)";

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Committed,
    /// Its id had been committed before.
    Replayed,
    /// A guard refused it.
    Refused,
}

/// Opens a warm pool of so many connections on a fresh schema: each is open and has prepared what it will run.
pub(super) async fn open(server: &Server, connections: u32) -> sqlx::Result<PgPool> {
    tables::create(server).await?;
    let pool = PgPoolOptions::new()
        .min_connections(connections)
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(server.session(super::PEER))
        .await?;
    let mut warm = Vec::new();
    for _ in 0..connections {
        let mut connection = pool.acquire().await?;
        for statement in [INSERT_CHANGE, UPDATE_COUNTER, INSERT_ENTRIES, INSERT_EVENTS, INSERT_TERMS] {
            (&mut *connection).prepare(statement.into_sql_str()).await?;
        }
        warm.push(connection);
    }
    drop(warm);
    Ok(pool)
}

/// Commits the rows by so many callers; gives the time and what became of each.
pub(super) fn run(
    runtime: &Runtime,
    pool: &PgPool,
    callers: usize,
    rows: Vec<Row>,
) -> sqlx::Result<(Duration, Vec<Ended>)> {
    let pool = pool.clone();
    let (time, ended) = drive(runtime, callers, rows, move |row| {
        let pool = pool.clone();
        async move { commit(&pool, &row).await }
    });
    Ok((time, ended.into_iter().collect::<sqlx::Result<_>>()?))
}

pub(super) async fn commit(pool: &PgPool, row: &Row) -> sqlx::Result<Ended> {
    let mut transaction = pool.begin().await?;
    let change = &row.work.change;
    let answer = &change.answer;
    let inserted = sqlx::query(INSERT_CHANGE)
        .bind(&*change.id)
        .bind(&change.fingerprint.0[..])
        .bind(SystemClock.now().as_nanos())
        .bind(answer.type_name())
        .bind(i32::from(answer.schema()))
        .bind(answer.bytes())
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(inserted) = inserted else {
        transaction.rollback().await?;
        return Ok(Ended::Replayed);
    };
    let ticket: i64 = inserted.try_get(0)?;
    let [first, second] = row.work.legs;
    let (Some(a), Some(b)) = (add(&mut transaction, first).await?, add(&mut transaction, second).await?) else {
        transaction.rollback().await?;
        return Ok(Ended::Refused);
    };
    sqlx::query(INSERT_ENTRIES)
        .bind(ticket)
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
    sqlx::query(INSERT_EVENTS)
        .bind(ticket)
        .bind(fact.id.as_deref())
        .bind(fact.body.type_name())
        .bind(i32::from(fact.body.schema()))
        .bind(&row.terms[..])
        .bind(fact.body.bytes())
        .bind(plain.body.type_name())
        .bind(i32::from(plain.body.schema()))
        .bind(plain.body.bytes())
        .execute(&mut *transaction)
        .await?;
    sqlx::query(INSERT_TERMS)
        .bind(fact.terms[0].as_bytes())
        .bind(fact.terms[1].as_bytes())
        .bind(ticket)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Ended::Committed)
}

/// Sequence and lanes after the addition; `None` when the guard refuses it.
async fn add(connection: &mut PgConnection, leg: Leg) -> sqlx::Result<Option<(i64, i64, i64, i64, i64)>> {
    sqlx::query_as(UPDATE_COUNTER)
        .bind(number(leg.account))
        .bind(leg.debit)
        .bind(leg.credit)
        .fetch_optional(connection)
        .await
}
