//! Changes of every kind, and ways to look behind a store's back.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, Decode, PgConnection, Postgres as Sql, Row as _, Type};
use tokio::runtime;
use txn_change::{
    Add, Body, Change, ChangeId, Class, Condition, Event, Expect, FactId, Fence, FenceName, Fingerprint, Key, Kind,
    Label, Lanes, Opening, Tenant, Timestamp,
};
use txn_store::{Commit, Error, Outcome, Store, postgres::Postgres};

use super::server;

pub(super) fn change(id: &str) -> Change {
    Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("sample", id.as_bytes()))
}

pub(super) fn key(kind: &'static str, number: u64) -> Key {
    Key::of(Kind::new(kind).unwrap()).number(number).build()
}

pub(super) fn note(number: u64) -> Key {
    key("note", number)
}

pub(super) fn tally(number: u64) -> Key {
    key("tally", number)
}

pub(super) fn body() -> Body {
    Body::raw("note", 1, b"{}".to_vec())
}

pub(super) fn add(number: u64) -> Add {
    let class = Class { name: "tally".into(), signed: [true; 4], history: true, conserves: [None; 2] };
    let opening = Opening { class: Arc::new(class), unit: "item".into(), guards: [None; 2] };
    Add {
        counter: tally(number),
        delta: Lanes([1, 0, 0, 0]),
        or_open: Some(Arc::new(opening)),
        force: false,
        effective_at: Some(Timestamp::EPOCH),
        label: Label::new("line"),
    }
}

/// The nth change of a round, each seventh of the same kind: together they write every table, in rows that are new and in rows that are there since the round before.
pub(super) fn mixed(round: u64, nth: u64) -> Change {
    let change = change(&format!("mixed/{round}/{nth}"));
    let fresh = |round: u64| key("fresh", round * 1_000 + nth);
    match nth % 7 {
        0 => {
            let fact = FactId::new(format!("fact/{round}/{nth}")).unwrap();
            let event = Event::new(body()).with_id(fact).about(note(nth)).with_term(key("by-number", nth));
            change.append(event)
        }
        1 => change.put(note(nth), Expect::of((round > 0).then_some(round)), body(), vec![key("by-word", round)]),
        2 => change.add(add(nth)).append(Event::new(body())),
        3 if round > 0 => change.insert(fresh(round), body(), vec![]).remove(fresh(round - 1), 1),
        3 => change.insert(fresh(round), body(), vec![]),
        4 => change.require(note(nth - 3), Expect::Version(round + 1)),
        5 => change.hold(tally(nth - 3), Condition::AtLeast([1, 0, 0, 0], 1), Label::new("some")),
        _ => {
            let mut change = change;
            change.fence.push(Fence { name: FenceName::new(format!("lock-{nth}")).unwrap(), token: round + 1 });
            change
        }
    }
}

/// Commits in one call.
pub(super) async fn commit(store: &Postgres, changes: Vec<Change>) -> Vec<Result<Outcome, Error>> {
    let commit = |change| Commit { tenant: Tenant::default(), change };
    store.commit(changes.into_iter().map(commit).collect()).await
}

pub(super) async fn done(store: &Postgres, changes: Vec<Change>) {
    for outcome in commit(store, changes).await {
        assert!(matches!(outcome, Ok(Outcome::Done(_))), "{outcome:?}");
    }
}

pub(super) async fn session() -> PgConnection {
    PgConnection::connect(&server::url()).await.unwrap()
}

/// Runs statements behind the store's back.
pub(super) async fn run(session: &mut PgConnection, text: impl Into<String>) {
    let text = text.into();
    if let Err(error) = sqlx::raw_sql(AssertSqlSafe(text.clone())).execute(session).await {
        panic!("{text}: {error}");
    }
}

/// One value behind the store's back.
pub(super) async fn value<T>(session: &mut PgConnection, text: impl Into<String>) -> T
where
    T: for<'r> Decode<'r, Sql> + Type<Sql>,
{
    sqlx::query(AssertSqlSafe(text.into())).fetch_one(session).await.unwrap().get(0)
}

/// Runs a test on a runtime of its own, on this thread.
pub(super) fn alone(test: impl Future<Output = ()>) {
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
