//! Rows that somebody else holds, and keys that somebody else writes first: who needs them waits or is told, nobody else does, and all of it is counted.

use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use tokio::{runtime, task::JoinSet};
use txn_change::{Expect, Tenant};
use txn_store::{Outcome, Tentative};

use super::{
    sample::{body, change, commit, done, note, run, session},
    server,
};
use crate::observe::Listener;

/// Runs where nobody else is counted: on one thread, which alone hears of it.
fn alone(test: impl Future<Output = ()>, listener: &Listener) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(listener, || runtime.block_on(test));
}

const SKIPS: &str = "txn_store_skips_total";
const RETRIES: &str = "txn_store_retries_total";

#[test]
fn who_needs_rows_that_a_host_holds_is_put_off_and_nobody_else() {
    let listener = Listener::default();
    alone(
        async {
            let schema = server::fresh_schema();
            let store = std::sync::Arc::new(server::options(&schema).open().await.unwrap());
            done(&store, (0..50).map(|n| change(&format!("{n}")).insert(note(n), body(), vec![])).collect()).await;
            assert_eq!(listener.times(SKIPS), 0);
            let mut host = session().await;
            let hold = format!("BEGIN; SELECT FROM {schema}.record ORDER BY key LIMIT 2 FOR UPDATE");
            run(&mut host, hold).await;
            let (mut calls, mut held) = (JoinSet::new(), JoinSet::new());
            for n in 0..50 {
                let store = std::sync::Arc::clone(&store);
                let set = if n < 2 { &mut held } else { &mut calls };
                set.spawn(async move {
                    let again = change(&format!("again/{n}")).put(note(n), Expect::Version(1), body(), vec![]);
                    let told = commit(&store, vec![again]).await.remove(0);
                    assert!(matches!(told, Ok(Outcome::Done(_))), "{n}: {told:?}");
                });
            }
            let others = tokio::time::timeout(Duration::from_secs(20), calls.join_all()).await;
            assert!(others.is_ok(), "who needs nothing that is held waits for its end");
            // Long enough to be put off once more.
            let early = tokio::time::timeout(Duration::from_secs(2), held.join_next()).await;
            assert!(early.is_err(), "who needs a row that is held does not wait");
            run(&mut host, "ROLLBACK").await;
            held.join_all().await;
            assert!(listener.times(SKIPS) > 0);
        },
        &listener,
    );
}

#[test]
fn who_comes_second_with_a_new_key_judges_again_and_conflicts() {
    let listener = Listener::default();
    alone(
        async {
            let schema = server::fresh_schema();
            let store = server::options(&schema).open().await.unwrap();
            done(&store, vec![change("first")]).await;
            let pool = PgPoolOptions::new().max_connections(1).connect(&server::url()).await.unwrap();
            let mut tx = store.begin(&pool).await.unwrap();
            let insert = |id: &str| change(id).insert(note(1), body(), vec![]);
            let host = store.commit_in(&mut tx, &Tenant::default(), &insert("host")).await.unwrap();
            assert!(matches!(host, Tentative::Pending(_)), "{host:?}");
            let before = listener.times(RETRIES);
            // Not seen by the loading, and waited for by the writing: the server says 23505 when the host commits.
            let second = commit(&store, vec![insert("second")]);
            let release = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                tx.commit().await.unwrap();
            };
            let (told, ()) = tokio::join!(second, release);
            assert!(matches!(told[..], [Ok(Outcome::Refused(txn_change::Refusal::Conflict { .. }))]), "{told:?}");
            assert_eq!(listener.times(RETRIES), before + 1);
            assert_eq!(listener.times("conflict"), 1, "counted under its outcome");
            store.close().await;
        },
        &listener,
    );
}
