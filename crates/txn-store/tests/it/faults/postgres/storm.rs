//! Other programs on the same rows: hosts that lock them in other orders, for as long as they like.

use std::{
    env,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};
use txn_store::{StoreAdmin, faults::Workload};

use super::{Scene, settings::Role};
use crate::{
    faults::{child::this_test, hit, rounds},
    observe::heard,
    postgres::server::{self, RUNTIME},
};

const RETRIES: &str = "txn_store_retries_total";
const ALONE: &str = "TXN_TEST_STORM";

/// What hosts were told.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    deadlocks: AtomicU64,
    serialization: AtomicU64,
}

/// Locks two rows of counters in one order or the other, over and over.
fn storm(scene: &Scene, host: u64, tally: &Tally, is_over: &AtomicBool) {
    RUNTIME.block_on(async {
        let mut session = PgConnection::connect(&server::url()).await.unwrap();
        // At the usual second, six hosts that wait for each other hold the rows for seconds on end.
        raw_sql("SET deadlock_timeout = '10ms'").execute(&mut session).await.unwrap();
        let schema = &scene.schema;
        let (first, second) = if host.is_multiple_of(2) { ("ASC", "DESC") } else { ("DESC", "ASC") };
        let level = if host.is_multiple_of(3) { "REPEATABLE READ" } else { "READ COMMITTED" };
        let lock = |order: &str| format!("UPDATE \"{schema}\".counter SET status = status WHERE no = (SELECT no FROM \"{schema}\".counter ORDER BY no {order} LIMIT 1);");
        let text = format!(
            "BEGIN ISOLATION LEVEL {level}; {} SELECT pg_sleep(0.002); {} COMMIT;",
            lock(first),
            lock(second)
        );
        while !is_over.load(Ordering::SeqCst) {
            let ended = raw_sql(AssertSqlSafe(text.clone())).execute(&mut session).await;
            let code = ended.err().and_then(|error| error.as_database_error()?.code().map(|code| code.into_owned()));
            let count = match code.as_deref() {
                None => &tally.done,
                Some("40P01") => &tally.deadlocks,
                Some("40001") => &tally.serialization,
                Some(other) => panic!("SQLSTATE {other}"),
            };
            count.fetch_add(1, Ordering::SeqCst);
            raw_sql("ROLLBACK").execute(&mut session).await.unwrap();
        }
    });
}

/// The hosts are hit, and so is the store: it begins its own groups again, and no caller sees it.
///
/// Cases F34, Q37.
#[test]
fn hosts_that_lock_the_same_rows_in_opposite_order_delay_commits_and_lose_none() {
    if env::var_os(ALONE).is_none() {
        // A process of its own, so that the retries that are counted are those of this store.
        let test = this_test!(hosts_that_lock_the_same_rows_in_opposite_order_delay_commits_and_lose_none);
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child.args([test, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        println!("{said}");
        assert!(output.status.success() && said.contains("1 passed"), "the storm failed");
        return;
    }
    // Whoever looks for a deadlock first is its victim.
    let role = Role::new(&["deadlock_timeout = '3ms'"]);
    let workload = Workload { seed: 34, changes: u64::MAX, workers: 4, ..Workload::default() };
    let scene = Scene::at(role.url.clone(), workload);
    // A statement that is nobody's victim waits for as long as the hosts go round.
    let store: Arc<dyn StoreAdmin> = Arc::new(scene.try_open_within(&scene.url, Duration::from_secs(10)).unwrap());
    scene.run(&store, &|ran| ran.done > 40);
    let before = heard(RETRIES, "postgres");
    let (tally, is_over) = (Tally::default(), AtomicBool::new(false));
    let begun = std::time::Instant::now();
    let ran = thread::scope(|scope| {
        for host in 0..6 {
            let (scene, tally, is_over) = (&scene, &tally, &is_over);
            scope.spawn(move || storm(scene, host, tally, is_over));
        }
        let soaked = std::time::Duration::from_secs(rounds(4));
        let ran = scene.run(&store, &|ran| {
            let hosts = [&tally.deadlocks, &tally.serialization].map(|count| count.load(Ordering::SeqCst));
            let is_hit = heard(RETRIES, "postgres") > before && !hosts.contains(&0) && ran.done > 0;
            begun.elapsed() > if is_hit { soaked } else { soaked * 8 }
        });
        let calm = ran.longest;
        is_over.store(true, Ordering::SeqCst);
        println!("the longest call took {calm:?}");
        ran
    });
    println!("{ran:?}; hosts: {} done", tally.done.into_inner());
    assert_eq!((ran.unknown, ran.failed, ran.given_up), (0, 0, 0), "{ran:?}");
    hit("a deadlock", tally.deadlocks.into_inner());
    hit("a serialization failure", tally.serialization.into_inner());
    hit("changes committed in the storm", ran.done);
    hit("a group of the store begun again", heard(RETRIES, "postgres") - before);
    drop(store);
    scene.end();
}
