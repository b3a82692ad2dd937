//! Rows and keys that others hold for long keep nobody waiting but those who need them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use txn_change::{Expect, Tenant};
use txn_store::{Outcome, StoreLimits};

use super::{
    sample::{alone, body, change, commit, done, note, run, session},
    server,
};

/// A change whose row was held for a moment is not kept waiting by others whose rows are held for long.
#[test]
fn rows_that_are_held_for_long_keep_nobody_else_from_being_done() {
    alone(async {
        let schema = server::fresh_schema();
        let store = Arc::new(server::options(&schema).open().await.unwrap());
        done(&store, (0..50).map(|n| change(&format!("{n}")).insert(note(n), body(), vec![])).collect()).await;
        let (mut long, mut short) = (session().await, session().await);
        run(&mut long, format!("BEGIN; SELECT FROM {schema}.record ORDER BY key LIMIT 8 FOR UPDATE")).await;
        run(&mut short, format!("BEGIN; SELECT FROM {schema}.record ORDER BY key DESC LIMIT 1 FOR UPDATE")).await;
        let mut calls = JoinSet::new();
        for n in 0..8 {
            let store = Arc::clone(&store);
            calls.spawn(async move {
                let held = change(&format!("held/{n}")).put(note(n), Expect::Version(1), body(), vec![]);
                commit(&store, vec![held]).await.remove(0)
            });
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begun = Instant::now();
        let neighbour = commit(&store, vec![change("neighbour").put(note(49), Expect::Version(1), body(), vec![])]);
        let release = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            run(&mut short, "ROLLBACK").await;
        };
        let (told, ()) = tokio::join!(neighbour, release);
        println!("its row was free after 200 ms; answered after {:?}: {told:?}", begun.elapsed());
        assert!(matches!(told[..], [Ok(Outcome::Done(_))]) && begun.elapsed() < Duration::from_secs(10), "{told:?}");
    });
}

/// One row that is held for long, as by a forgotten shell, and one change for it every second: who needs a row that was held for a moment is done soon, and not overloaded.
#[test]
fn one_row_that_is_held_for_long_makes_nobody_else_overloaded() {
    alone(async {
        let schema = server::fresh_schema();
        let limits = StoreLimits { wait_max: Duration::from_secs(15), ..StoreLimits::default() };
        let store = Arc::new(server::options(&schema).limits(limits).open().await.unwrap());
        done(&store, (0..50).map(|n| change(&format!("{n}")).insert(note(n), body(), vec![])).collect()).await;
        let (mut long, mut short) = (session().await, session().await);
        run(&mut long, format!("BEGIN; SELECT FROM {schema}.record ORDER BY key LIMIT 1 FOR UPDATE")).await;
        run(&mut short, format!("BEGIN; SELECT FROM {schema}.record ORDER BY key DESC LIMIT 1 FOR UPDATE")).await;
        let mut calls = JoinSet::new();
        for n in 0..25 {
            let store = Arc::clone(&store);
            calls.spawn(async move {
                tokio::time::sleep(Duration::from_secs(1) * n).await;
                let held = change(&format!("held/{n}")).put(note(0), Expect::Version(1), body(), vec![]);
                commit(&store, vec![held]).await.remove(0)
            });
        }
        tokio::time::sleep(Duration::from_millis(2_300)).await;
        let begun = Instant::now();
        let neighbour = commit(&store, vec![change("neighbour").put(note(49), Expect::Version(1), body(), vec![])]);
        let release = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            run(&mut short, "ROLLBACK").await;
        };
        let (told, ()) = tokio::join!(neighbour, release);
        println!("one row held: answered after {:?}: {told:?}", begun.elapsed());
        calls.abort_all();
        assert!(matches!(told[..], [Ok(Outcome::Done(_))]) && begun.elapsed() < Duration::from_secs(10), "{told:?}");
    });
}

/// A key that a host has written and not yet committed, as every `commit_in` leaves one for a moment: who wants it waits, and nobody else of its group. A machine that is busy may be late once, or twice.
#[test]
fn a_key_that_a_host_is_writing_keeps_none_of_its_group_waiting() {
    let longest: Vec<Duration> =
        (0..3).map_while(|_| Some(longest_beside_a_key()).filter(|took| *took >= SOON)).collect();
    assert!(longest.len() < 3, "{longest:?}");
}

/// Sooner than the host ends, and than a group is taken apart by those who wait half a second in each of its halves.
const SOON: Duration = Duration::from_secs(3);

/// How long the last of those took who do not want the key.
fn longest_beside_a_key() -> Duration {
    let mut longest = Duration::MAX;
    alone(async {
        let schema = server::fresh_schema();
        let store = Arc::new(server::options(&schema).open().await.unwrap());
        done(&store, vec![change("first")]).await;
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&server::url()).await.unwrap();
        let mut tx = store.begin(&pool).await.unwrap();
        let host = change("host").insert(note(9_999), body(), vec![]);
        drop(store.commit_in(&mut tx, &Tenant::default(), &host).await.unwrap());
        let begun = Instant::now();
        let mut calls = JoinSet::new();
        for n in 0..256u64 {
            let store = Arc::clone(&store);
            calls.spawn(async move {
                let number = if n == 0 { 9_999 } else { n };
                let told = commit(&store, vec![change(&format!("c/{n}")).insert(note(number), body(), vec![])]).await;
                assert!(n == 0 || matches!(told[..], [Ok(Outcome::Done(_))]), "{told:?}");
                (n, begun.elapsed())
            });
        }
        let release = async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            tx.rollback().await.unwrap();
        };
        let (all, ()) = tokio::join!(calls.join_all(), release);
        let mut others: Vec<Duration> = all.iter().filter(|(n, _)| *n > 0).map(|(_, took)| *took).collect();
        others.sort_unstable();
        println!("others: median {:?}, longest {:?}", others[127], others[254]);
        longest = others[254];
    });
    longest
}
