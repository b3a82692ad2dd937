//! A process that dies in a step of the chain: its lock ends with its session, and another process goes on.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use pollster::block_on;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::{
    sample::{change, done, run, session, value},
    server,
    trips::through_a_proxy,
};

/// How long a process that has nothing to say waits before it looks, and as much again for each thing on the way.
const PERIOD: Duration = Duration::from_millis(800);

/// How long may take what takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The sessions of stores in the schema.
async fn pids(host: &mut PgConnection, schema: &str) -> BTreeSet<i32> {
    let text = format!("SELECT pid FROM pg_stat_activity WHERE application_name = 'txn {schema}'");
    let rows = sqlx::query(AssertSqlSafe(text)).fetch_all(host).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// The session that holds the chain's lock while it waits for a lock on its table.
async fn in_a_step(host: &mut PgConnection, schema: &str) -> i32 {
    let text = format!(
        "SELECT max(a.pid) FROM pg_locks a JOIN pg_locks l ON l.pid = a.pid \
         WHERE a.locktype = 'advisory' AND a.granted AND NOT l.granted AND l.relation = '{schema}.link'::regclass"
    );
    let begun = Instant::now();
    loop {
        if let Some(pid) = value::<Option<i32>>(host, text.clone()).await {
            return pid;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody takes a step");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A machine that is busy may be late once, or twice.
#[test]
fn when_a_process_dies_in_a_step_another_chains_what_waits() {
    let late: Vec<Duration> = (0..3).map_while(|_| Some(taken_over_after()).filter(|took| *took >= PERIOD)).collect();
    assert!(late.len() < 3, "taken over, and all of it chained, after {late:?}");
}

/// How long it takes from the end of a process in a step until another has chained all that waits.
fn taken_over_after() -> Duration {
    block_on(server::RUNTIME.spawn(async {
        let schema = server::fresh_schema();
        let (mut host, mut locker) = (session().await, session().await);
        let (proxy, options) = through_a_proxy(&schema);
        let dying = options.open().await.unwrap();
        done(&dying, vec![change("first")]).await;
        let of_dying = pids(&mut host, &schema).await;
        let living = server::options(&schema).open().await.unwrap();
        let mut round = 0;
        let took = loop {
            // Readers of the table are let through, and steps stand still before they write.
            run(&mut locker, format!("BEGIN; LOCK TABLE {schema}.link IN SHARE MODE")).await;
            let ids = |from: u64| (from..from + 20).map(|n| change(&format!("{round}/{n}"))).collect();
            done(&dying, ids(0)).await;
            let pid = in_a_step(&mut host, &schema).await;
            if !of_dying.contains(&pid) {
                // The other one was first. Once more.
                run(&mut locker, "COMMIT").await;
                round += 1;
                assert!(round < 50, "the one that is to die never takes a step");
                continue;
            }
            done(&living, ids(100)).await;
            proxy.refuse();
            run(&mut host, format!("SELECT pg_terminate_backend({pid}, 5000)")).await;
            let begun = Instant::now();
            assert!(!of_dying.contains(&in_a_step(&mut host, &schema).await));
            run(&mut locker, "COMMIT").await;
            let waiting = format!(
                "SELECT count(*) FROM {schema}.change_group g WHERE NOT EXISTS (SELECT 1 FROM {schema}.link l WHERE l.ticket = g.ticket)"
            );
            while value::<i64>(&mut host, waiting.clone()).await > 0 {
                assert!(begun.elapsed() < PATIENCE, "not all of it is chained");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            println!("taken over after {:?}, in round {round}", begun.elapsed());
            break begun.elapsed();
        };
        living.close().await;
        drop(dying);
        took
    }))
    .unwrap()
}
