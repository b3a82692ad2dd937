//! Dropped openings, closings and calls: no session is left behind, none stands inside a transaction, and nothing waits.

use std::{collections::BTreeSet, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, query};
use txn_change::{Body, Change, ChangeId, Fingerprint, Key, Kind, Tenant};
use txn_store::{
    Commit, Erase, Outcome, Position, Store, StoreAdmin,
    conformance::Drops,
    postgres::{Options, Postgres},
    views::{Column, Definition, Part, View},
};

use super::server::{self, RUNTIME};

fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

/// Somebody who looks at the sessions of one schema's stores.
struct Observer {
    session: PgConnection,
    schema: String,
}

/// Beside its readers, of which there is one here: three that commit, one that chains, one that listens.
const OWN: i64 = 1 + 5;

impl Observer {
    async fn of(schema: &str) -> Self {
        let session = PgConnection::connect(&server::url()).await.unwrap();
        Self { session, schema: schema.to_owned() }
    }

    /// Sessions, and how many of them stand inside a transaction.
    async fn sessions(&mut self) -> (i64, i64) {
        let text = "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%') FROM pg_stat_activity WHERE application_name = $1";
        let row = query(text).bind(format!("txn {}", self.schema)).fetch_one(&mut self.session).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// Waits until there are no more than so many, each at rest; a server needs a moment to see that a client has gone.
    async fn at_most(&mut self, max: i64) {
        let mut found = (0, 0);
        for _ in 0..3_000 {
            found = self.sessions().await;
            if found.0 <= max && found.1 == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} sessions, {} of them inside a transaction; at most {max} are expected", found.0, found.1);
    }
}

fn note(name: &str) -> Key {
    Key::of(Kind::new("note").unwrap()).text(name).unwrap().build()
}

fn written(id: &str) -> Change {
    let body = || Body::raw("note", 1, b"{}".to_vec());
    let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("test", id.as_bytes()));
    change.insert(note(id), body(), vec![]).answer(body())
}

async fn done(store: &Postgres, id: &str) {
    let commit = Commit { tenant: Tenant::default(), change: written(id) };
    let committed = tokio::time::timeout(Duration::from_secs(60), store.commit(vec![commit])).await.unwrap();
    assert!(matches!(committed[..], [Ok(Outcome::Done(_))]), "{committed:?}");
}

async fn erased(store: &Postgres, id: &str) -> u64 {
    let what = vec![Erase::Record(note(id)), Erase::Answer(ChangeId::new(id).unwrap())];
    store.erase(&Tenant::default(), what).await.unwrap()
}

async fn drop_schema(schema: &str) {
    let mut session = PgConnection::connect(&server::url()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE")))
        .execute(&mut session)
        .await
        .unwrap();
}

/// Polls a call so many times, and drops it when it is woken once more. What it gave, if it has ended, and how often it was polled.
async fn polled<T>(times: usize, call: impl Future<Output = T>) -> (Option<T>, usize) {
    let (mut call, mut polls) = (pin!(call), 0);
    let output = poll_fn(|context| {
        if polls == times {
            return Poll::Ready(None);
        }
        polls += 1;
        call.as_mut().poll(context).map(Some)
    });
    (output.await, polls)
}

/// Drops an opening after a poll, makes sure that the next one is not held up by it, and says how often it did so. A login with a password gives way some eight hundred times while it computes, where
/// one place is like the next: of those it takes a few, of the others each.
async fn opening(schema: &str, begins_anew: bool, options: impl Fn() -> Options) -> usize {
    let mut observer = Observer::of(schema).await;
    let (opened, all) = polled(usize::MAX, options().open()).await;
    opened.unwrap().unwrap().close().await;
    let between = (0..6).map(|part| all * part / 6);
    let places: BTreeSet<usize> = (0..5).chain(between).chain(all.saturating_sub(20)..all).collect();
    let mut dropped = 0;
    for times in places {
        if begins_anew {
            drop_schema(schema).await;
        }
        dropped += usize::from(polled(times, options().open()).await.0.transpose().unwrap().is_none());
        let opened = tokio::time::timeout(Duration::from_secs(60), options().open()).await;
        let store = opened.expect("an opening that was dropped holds up nobody").unwrap();
        done(&store, &format!("o-{times}")).await;
        store.close().await;
    }
    observer.at_most(0).await;
    println!("{dropped} openings were dropped, of {all} polls each");
    dropped
}

const VIEW: View = View {
    name: "notes",
    meaning: "Keys.",
    columns: &[Column { name: "key", postgres: "bytea", sqlite: "BLOB", meaning: "The key." }],
    postgres: Definition {
        functions: &[],
        select: "SELECT key FROM $s.record",
        indexes: &[Part { name: "view_notes_type", text: "$s.record(type)" }],
    },
    sqlite: Definition { functions: &[], select: "SELECT key FROM record", indexes: &[] },
};

/// Case F38.
#[test]
fn an_opening_may_be_dropped_after_any_poll() {
    run(async {
        let schema = server::fresh_schema();
        let anew = opening(&schema, true, || server::options(&schema)).await;
        let again = opening(&schema, false, || server::options(&schema)).await;
        let views = opening(&schema, true, || server::options(&schema).views([VIEW])).await;
        assert!(anew > 5 && again > 5 && views > 5, "{anew}, {again}, {views}");
        drop_schema(&schema).await;
    });
}

/// Case F38.
#[test]
fn a_closing_may_be_dropped_after_any_poll() {
    run(async {
        let schema = server::fresh_schema();
        let (mut observer, mut drops) = (Observer::of(&schema).await, Drops::new());
        while !drops.is_over() {
            let store = Arc::new(server::options(&schema).open().await.unwrap());
            let id = format!("c-{}", drops.calls());
            done(&store, &id).await;
            // In flight when the store is closed, and given up.
            let mut handed_over = Drops::at_moments(0);
            while handed_over.calls() < 2 {
                let late =
                    Commit { tenant: Tenant::default(), change: written(&format!("{id}-{}", handed_over.calls())) };
                handed_over.call(store.commit(vec![late])).await;
            }
            drops.call(Arc::into_inner(store).unwrap().close()).await;
            observer.at_most(0).await;
            let reopened = server::options(&schema).open().await.unwrap();
            assert_eq!(erased(&reopened, &id).await, 2, "it is there");
            reopened.close().await;
        }
        observer.at_most(0).await;
        assert!(drops.places() > 1, "{drops:?}");
        println!("{} closings were dropped after {} different numbers of polls", drops.calls(), drops.places());
    });
}

/// Each erasing and each export has a session of its own while it runs: of those that were given up each kept it until it had come to its end, and a server has not so many.
///
/// Case F38.
#[test]
fn hundreds_of_dropped_calls_leave_the_sessions_that_were_there() {
    run(async {
        let schema = server::fresh_schema();
        let mut observer = Observer::of(&schema).await;
        let store = server::options(&schema).open().await.unwrap();
        done(&store, "first").await;
        observer.at_most(OWN).await;
        let mut most = 0;
        for round in 0..10u32 {
            for nth in 0..40u32 {
                // Polled once, which sets it going.
                let mut erasing = Drops::at_moments(0);
                let mut exporting = Drops::at_moments(0);
                while erasing.calls() < 2 {
                    let what = vec![Erase::Answer(ChangeId::new(format!("absent-{round}-{nth}")).unwrap())];
                    erasing.call(store.erase(&Tenant::default(), what)).await;
                }
                while exporting.calls() < 2 {
                    exporting.call(store.export()).await;
                }
            }
            most = most.max(observer.sessions().await.0);
            done(&store, &format!("between-{round}")).await;
        }
        println!("{most} sessions at once");
        assert!(most <= OWN + ERRANDS, "{most} sessions at once");
        observer.at_most(OWN).await;
        // Which chains what is committed.
        store.read(Position(0), 1).await.unwrap();
        let mut export = store.export().await.unwrap();
        assert_eq!(export.next(1_000).await.unwrap().len(), 34, "a head, and 11 changes, links and records");
        drop(export);
        observer.at_most(OWN).await;
        store.close().await;
        observer.at_most(0).await;
    });
}

/// What is begun and given up at once may take a moment to be seen as given up.
const ERRANDS: i64 = 8;

/// An export whose call was dropped after its transaction had begun, and before it was told, kept it open for ever.
///
/// Case F38.
#[test]
fn every_call_is_dropped_while_it_waits() {
    run(async {
        let schema = server::fresh_schema();
        let mut observer = Observer::of(&schema).await;
        let store = server::options(&schema).open().await.unwrap();
        macro_rules! dropped {
            ($($name:literal: $call:expr),+ $(,)?) => {$({
                let mut drops = Drops::new();
                while !drops.is_over() {
                    drops.call($call(drops.calls())).await;
                    done(&store, &format!("{}-{}", $name, drops.calls())).await;
                }
                println!("{}: {} calls, dropped after {} different numbers of polls", $name, drops.calls(), drops.places());
                assert!(drops.places() > 1 && drops.calls() > 8, "{}: {drops:?}", $name);
            })+};
        }
        let tenant = Tenant::default();
        let commit = |nth: u32| vec![Commit { tenant: tenant.clone(), change: written(&format!("own-{nth}")) }];
        let what = |nth: u32| vec![Erase::Record(note(&format!("own-{}", nth.saturating_sub(2))))];
        dropped![
            "commit": |nth| store.commit(commit(nth)),
            "erase": |nth| store.erase(&tenant, what(nth)),
            "export": |_| store.export(),
            "part": |_| async { store.export().await.unwrap().next(2).await },
            "health": |_| store.health(),
            "read": |_| store.read(Position(0), 10),
        ];
        observer.at_most(OWN).await;
        store.close().await;
        observer.at_most(0).await;
    });
}
