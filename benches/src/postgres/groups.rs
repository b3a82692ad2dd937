//! The peer that groups: one task, one session, and a statement per table and group.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, PgConnection, Row as _, SqlSafeStr};
use txn_bench::ledger::{EFFECTIVE_AT, Leg};
use txn_store::{Clock, SystemClock};

use super::{server::Server, tables};
use crate::rows::{Row, number};

const LOCK_COUNTERS: &str = "SELECT no, sequence, l0::int8, l1::int8, l2::int8, l3::int8 FROM counter WHERE no = ANY($1) ORDER BY no FOR UPDATE";
/// One ticket for the group.
const INSERT_CHANGES: &str = "WITH t AS MATERIALIZED (SELECT nextval('change_ticket_seq') AS no) \
    INSERT INTO change(ticket, at, tenant, recorded_at, entries, events, format, id, fingerprint, digest, type, schema, answer) \
    SELECT t.no, (u.i - 1)::int4, 1, $1, 2, 2, 1, u.id, u.fingerprint, u.fingerprint, u.type, u.schema, u.answer \
    FROM t, unnest($2::text[], $3::bytea[], $4::text[], $5::int4[], $6::bytea[]) WITH ORDINALITY u(id, fingerprint, type, schema, answer, i) \
    ON CONFLICT DO NOTHING RETURNING ticket";
const UPDATE_COUNTERS: &str = "UPDATE counter c SET l1 = u.l1, l3 = u.l3, version = c.version + u.sequence - c.sequence, sequence = u.sequence \
    FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) u(no, sequence, l1, l3) WHERE c.no = u.no";
const INSERT_ENTRIES: &str = "INSERT INTO entry(ticket, at, ord, effective_at, short, counter, sequence, label, d0, d1, d2, d3, a0, a1, a2, a3) \
    SELECT $1, ((u.i - 1) / 2)::int4, (u.i - 1)::int4, $2, false, u.counter, u.sequence, u.label, 0, u.d1, 0, u.d3, u.a0, u.a1, u.a2, u.a3 \
    FROM unnest($3::int8[], $4::int8[], $5::text[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $11::int8[]) \
    WITH ORDINALITY u(counter, sequence, label, d1, d3, a0, a1, a2, a3, i)";
const INSERT_EVENTS: &str = "INSERT INTO event(ticket, ord, at, tenant, format, fact, type, schema, terms, body) \
    SELECT $1, (u.i - 1)::int4, ((u.i - 1) / 2)::int4, 1, 1, u.fact, u.type, u.schema, u.terms, u.body \
    FROM unnest($2::text[], $3::text[], $4::int4[], $5::bytea[], $6::bytea[]) WITH ORDINALITY u(fact, type, schema, terms, body, i)";
const INSERT_TERMS: &str = "INSERT INTO event_term(tenant, term, ticket, ord) SELECT 1, u.term, $1, u.ord FROM unnest($2::bytea[], $3::int4[]) u(term, ord)";

/// The peer's session on a fresh schema, warm.
pub(super) async fn open(server: &Server) -> sqlx::Result<PgConnection> {
    tables::create(server).await?;
    let mut session = PgConnection::connect_with(&server.session(super::PEER)).await?;
    for statement in [LOCK_COUNTERS, INSERT_CHANGES, UPDATE_COUNTERS, INSERT_ENTRIES, INSERT_EVENTS, INSERT_TERMS] {
        (&mut session).prepare(statement.into_sql_str()).await?;
    }
    Ok(session)
}

/// Writes the rows in transactions of `group` changes. Takes them, as ours takes changes: freeing them is part of the work. Gives the time, and how many a guard refused.
pub(super) async fn run(session: &mut PgConnection, rows: Vec<Row>, group: usize) -> sqlx::Result<(Duration, usize)> {
    let mut rows = rows.into_iter().peekable();
    let mut refused = 0;
    let began = Instant::now();
    while rows.peek().is_some() {
        let group: Vec<Row> = rows.by_ref().take(group).collect();
        refused += write(session, group).await?;
    }
    Ok((began.elapsed(), refused))
}

/// An account as the group has it.
#[derive(Clone, Copy)]
struct Account {
    sequence: i64,
    lanes: [i64; 4],
}

impl Account {
    /// With the leg added, unless the guard refuses it.
    fn add(self, leg: Leg) -> Option<Self> {
        let [l0, l1, l2, l3] = self.lanes;
        let lanes = [l0, l1 + leg.debit, l2, l3 + leg.credit];
        let is_kept = leg.credit <= leg.debit || lanes[1] - lanes[2] - lanes[3] >= 0;
        is_kept.then_some(Self { sequence: self.sequence + 1, lanes })
    }
}

async fn write(session: &mut PgConnection, group: Vec<Row>) -> sqlx::Result<usize> {
    let mut transaction = session.begin().await?;
    let mut numbers: Vec<i64> = group.iter().flat_map(|row| row.work.legs).map(|leg| number(leg.account)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let locked = sqlx::query(LOCK_COUNTERS).bind(numbers).fetch_all(&mut *transaction).await?;
    let mut accounts = BTreeMap::new();
    for row in locked {
        let lanes = [row.try_get(2)?, row.try_get(3)?, row.try_get(4)?, row.try_get(5)?];
        accounts.insert(row.try_get::<i64, _>(0)?, Account { sequence: row.try_get(1)?, lanes });
    }
    let size = group.len();
    let judged = judge(group, &mut accounts);
    let ticket = insert_changes(&mut transaction, &judged).await?;
    update_counters(&mut transaction, &accounts).await?;
    insert_entries(&mut transaction, ticket, &judged).await?;
    insert_events(&mut transaction, ticket, &judged).await?;
    insert_terms(&mut transaction, ticket, &judged).await?;
    transaction.commit().await?;
    Ok(size - judged.len())
}

/// What is accepted, each with its two accounts after it.
fn judge(group: Vec<Row>, accounts: &mut BTreeMap<i64, Account>) -> Vec<(Row, [Account; 2])> {
    let mut accepted = Vec::with_capacity(group.len());
    for row in group {
        let [first, second] = row.work.legs;
        let after = |leg: Leg| accounts.get(&number(leg.account)).and_then(|account| account.add(leg));
        if let (Some(a), Some(b)) = (after(first), after(second)) {
            accounts.insert(number(first.account), a);
            accounts.insert(number(second.account), b);
            accepted.push((row, [a, b]));
        }
    }
    accepted
}

async fn insert_changes(session: &mut PgConnection, judged: &[(Row, [Account; 2])]) -> sqlx::Result<i64> {
    let changes = || judged.iter().map(|(row, _)| &row.work.change);
    let inserted = sqlx::query(INSERT_CHANGES)
        .bind(SystemClock.now().as_nanos())
        .bind(changes().map(|change| &*change.id).collect::<Vec<&str>>())
        .bind(changes().map(|change| &change.fingerprint.0[..]).collect::<Vec<_>>())
        .bind(changes().map(|change| change.answer.type_name()).collect::<Vec<_>>())
        .bind(changes().map(|change| i32::from(change.answer.schema())).collect::<Vec<_>>())
        .bind(changes().map(|change| change.answer.bytes()).collect::<Vec<_>>())
        .fetch_all(session)
        .await?;
    // Fewer rows: an id was there before. An application would take those out and begin again; nobody repeats anything here.
    if inserted.len() != judged.len() {
        return Err(sqlx::Error::Protocol("a change had been committed before".into()));
    }
    inserted.first().map_or(Ok(0), |row| row.try_get(0))
}

async fn update_counters(session: &mut PgConnection, accounts: &BTreeMap<i64, Account>) -> sqlx::Result<()> {
    let column = |of: fn(&Account) -> i64| accounts.values().map(of).collect::<Vec<i64>>();
    sqlx::query(UPDATE_COUNTERS)
        .bind(accounts.keys().copied().collect::<Vec<i64>>())
        .bind(column(|account| account.sequence))
        .bind(column(|account| account.lanes[1]))
        .bind(column(|account| account.lanes[3]))
        .execute(session)
        .await?;
    Ok(())
}

async fn insert_entries(session: &mut PgConnection, ticket: i64, judged: &[(Row, [Account; 2])]) -> sqlx::Result<()> {
    let entries = || judged.iter().flat_map(|(row, after)| row.work.legs.into_iter().zip(*after));
    let lane = |lane: usize| entries().map(|(_, after)| after.lanes[lane]).collect::<Vec<i64>>();
    let labels = judged.iter().flat_map(|(row, _)| row.work.change.add.iter().map(|add| add.label.as_str()));
    sqlx::query(INSERT_ENTRIES)
        .bind(ticket)
        .bind(EFFECTIVE_AT.as_nanos())
        .bind(entries().map(|(leg, _)| number(leg.account)).collect::<Vec<i64>>())
        .bind(entries().map(|(_, after)| after.sequence).collect::<Vec<i64>>())
        .bind(labels.collect::<Vec<_>>())
        .bind(entries().map(|(leg, _)| leg.debit).collect::<Vec<i64>>())
        .bind(entries().map(|(leg, _)| leg.credit).collect::<Vec<i64>>())
        .bind(lane(0))
        .bind(lane(1))
        .bind(lane(2))
        .bind(lane(3))
        .execute(session)
        .await?;
    Ok(())
}

async fn insert_events(session: &mut PgConnection, ticket: i64, judged: &[(Row, [Account; 2])]) -> sqlx::Result<()> {
    let events = || judged.iter().flat_map(|(row, _)| row.work.change.append.iter());
    let terms = judged.iter().flat_map(|(row, _)| [&row.terms[..], &[]]);
    sqlx::query(INSERT_EVENTS)
        .bind(ticket)
        .bind(events().map(|event| event.id.as_deref()).collect::<Vec<Option<&str>>>())
        .bind(events().map(|event| event.body.type_name()).collect::<Vec<_>>())
        .bind(events().map(|event| i32::from(event.body.schema())).collect::<Vec<_>>())
        .bind(terms.collect::<Vec<_>>())
        .bind(events().map(|event| event.body.bytes()).collect::<Vec<_>>())
        .execute(session)
        .await?;
    Ok(())
}

async fn insert_terms(session: &mut PgConnection, ticket: i64, judged: &[(Row, [Account; 2])]) -> sqlx::Result<()> {
    let events = judged.iter().flat_map(|(row, _)| row.work.change.append.iter());
    let terms =
        (0i32..).zip(events).flat_map(|(ord, event)| event.terms.iter().map(move |term| (term.as_bytes(), ord)));
    let (terms, ords): (Vec<&[u8]>, Vec<i32>) = terms.unzip();
    sqlx::query(INSERT_TERMS).bind(ticket).bind(terms).bind(ords).execute(session).await?;
    Ok(())
}
