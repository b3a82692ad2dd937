//! The way to the server: slow, silent, refused, cut and restored.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use txn_change::{Change, ChangeId, Fingerprint, Kind, Timestamp};
use txn_store::{
    Ask, Clock as _, Commit, ErrorKind, ManualClock, Outcome, Query, Range, Store, StoreAdmin, SystemClock,
    conformance::block_on,
    faults::{Proxy, Workload},
    postgres::Postgres,
};

use super::{DEADLINE, PATIENT, Scene, address, execute, number, settings::Role};
use crate::{
    faults::{hit, is_alive, rounds, wait_for},
    postgres::server::{self, RUNTIME},
};

/// What a machine that is busy may add.
const SLACK: Duration = Duration::from_secs(8);

/// A call asks two sessions at most, each within the deadline.
const CALL_MAX: Duration = DEADLINE.saturating_mul(2).saturating_add(SLACK);

/// A commit may first have to wait for a group whose COMMIT was lost: an answer, and then what became of it, which is asked for until the deadline has passed and takes two answers more.
const COMMIT_MAX: Duration = DEADLINE.saturating_mul(4 + 2).saturating_add(SLACK);

/// Ends a workload with the test, also when that fails: else it would be waited for without end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn commit(store: &dyn StoreAdmin, id: &str) -> Result<Outcome, txn_store::Error> {
    let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("network", id.as_bytes()));
    block_on(store.commit(vec![Commit { tenant: Workload::tenant(), change }])).pop().unwrap()
}

/// Case F52.
#[test]
fn a_slow_server_is_waited_for_up_to_the_deadline_and_hurts_no_other_store() {
    let scene = Scene::new(Workload { seed: 52, changes: 60, workers: 4, ..Workload::default() });
    let (proxy, patient) = scene.through_within(PATIENT);
    let fast = scene.open();
    proxy.delay(Duration::from_millis(20));
    let bytes = proxy.bytes();
    let ran = scene.run(&patient, &|ran| ran.done > 20);
    assert_eq!((ran.unknown, ran.failed, ran.given_up), (0, 0, 0), "slow is not lost: {ran:?}");
    assert!(ran.longest >= Duration::from_millis(80), "{ran:?}");
    hit("bytes delayed", proxy.bytes() - bytes);

    // Slower than the deadline.
    let (proxy, slow) = scene.through();
    proxy.delay(DEADLINE * 2);
    let mut hits = 0;
    for round in 0..rounds(1) {
        let begun = Instant::now();
        let told = commit(slow.as_ref(), &format!("slow/{round}"));
        assert!(begun.elapsed() < CALL_MAX, "a call ends: {:?}", begun.elapsed());
        match told {
            Ok(Outcome::Unknown(_)) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            other => panic!("{other:?}"),
        }
        let begun = Instant::now();
        assert!(matches!(commit(fast.as_ref(), &format!("fast/{round}")), Ok(Outcome::Done(_))));
        assert!(begun.elapsed() < SLACK, "another store does not wait: {:?}", begun.elapsed());
        hits += 1;
    }
    hit("a call over its deadline", hits);
    proxy.delay(Duration::ZERO);
    is_alive(&slow, &scene.workload, &scene.side);
    drop((slow, fast, patient));
    scene.end();
}

/// Case F53.
#[test]
fn when_packets_vanish_calls_end_and_when_they_flow_again_all_is_done() {
    let scene = Scene::new(Workload { seed: 530, changes: u64::MAX, workers: 3, ..Workload::default() });
    let (proxy, store) = scene.through();
    let mut hits = 0;
    for round in 0..rounds(2) {
        let is_over = AtomicBool::new(false);
        let ran = thread::scope(|scope| {
            let running = scope.spawn(|| scene.run(&store, &|_| is_over.load(Ordering::SeqCst)));
            let over = Over(&is_over);
            let before = scene.side.read().unwrap().done();
            wait_for("some changes", || scene.side.read().unwrap().done() > before + 10);
            proxy.hold();
            // Reads end too.
            let asked = Instant::now();
            let read = block_on(store.get(vec![Ask::new(Workload::tenant())]));
            assert!(asked.elapsed() < CALL_MAX, "a read ends: {:?}", asked.elapsed());
            assert!(read.is_err_and(|error| error.kind() == ErrorKind::Unavailable));
            let asked = Instant::now();
            let told = commit(store.as_ref(), &format!("vanished/{round}"));
            assert!(asked.elapsed() < COMMIT_MAX, "a commit ends: {:?}", asked.elapsed());
            assert!(
                matches!(&told, Err(error) if error.is_retryable()) || matches!(told, Ok(Outcome::Unknown(_))),
                "{told:?}"
            );
            let asked = Instant::now();
            let opened = scene.try_open_within(&scene.url_of(&proxy), DEADLINE).map(drop).unwrap_err();
            assert_eq!(opened.kind(), ErrorKind::Unavailable, "{opened}");
            assert!(asked.elapsed() < CALL_MAX, "an opening ends: {:?}", asked.elapsed());
            hits += 3;
            proxy.flow();
            drop(over);
            running.join().unwrap()
        });
        assert_eq!(ran.given_up, 0, "{ran:?}");
        assert!(ran.longest < COMMIT_MAX, "{ran:?}");
        println!("{ran:?}");
    }
    hit("calls that no answer came to", hits);
    is_alive(&store, &scene.workload, &scene.side);
    drop(store);
    scene.end();
}

/// Reads that wait behind others do not wait for one deadline each.
///
/// Cases F52, F53.
#[test]
fn of_many_reads_at_once_none_waits_longer_than_the_deadline_whether_the_server_is_slow_or_silent() {
    const READS: u64 = 60;
    let scene = Scene::new(Workload { seed: 532, changes: 1, workers: 1, ..Workload::default() });
    let proxy = Proxy::to(address(&scene.url)).unwrap();
    let options = Postgres::options(&scene.url_of(&proxy)).unwrap().schema(&scene.schema).readers(2).deadline(DEADLINE);
    let store = Arc::new(RUNTIME.block_on(options.open()).unwrap());
    let query = Query::RecordsByTerm(Range::kind(Kind::new("note").unwrap()));
    for is_silent in [false, true] {
        if is_silent {
            proxy.hold();
        } else {
            proxy.delay(DEADLINE * 2);
        }
        let asked = Instant::now();
        let mut longest = Duration::ZERO;
        RUNTIME.block_on(async {
            let mut reads = JoinSet::new();
            for _ in 0..READS {
                let (store, query) = (Arc::clone(&store), query.clone());
                reads.spawn(async move {
                    let found = store.find(&Workload::tenant(), &query, None, 10).await;
                    (found.map(drop), asked.elapsed())
                });
            }
            while let Some(read) = reads.join_next().await {
                let (found, took) = read.unwrap();
                assert!(found.is_err_and(|error| error.kind() == ErrorKind::Unavailable));
                longest = longest.max(took);
            }
        });
        assert!(longest < CALL_MAX, "the last of {READS} ended after {longest:?}, with a deadline of {DEADLINE:?}");
        hit("reads that no answer came to in time", READS);
        proxy.delay(Duration::ZERO);
        proxy.flow();
    }
    let store: Arc<dyn StoreAdmin> = store;
    is_alive(&store, &scene.workload, &scene.side);
    drop(store);
    scene.end();
}

/// Case F53.
#[test]
fn an_export_ends_when_its_packets_vanish() {
    let scene = Scene::new(Workload { seed: 531, changes: 1, workers: 1, ..Workload::default() });
    let (proxy, store) = scene.through();
    // More than the server sends at once.
    for batch in 0..6 {
        let change = |at: u64| {
            let id = ChangeId::new(format!("export/{batch}/{at}")).unwrap();
            Commit { tenant: Workload::tenant(), change: Change::new(id, Fingerprint::of("export", &at)) }
        };
        let told = block_on(store.commit((0..200).map(change).collect()));
        assert!(told.iter().all(|told| matches!(told, Ok(Outcome::Done(_)))));
    }
    let mut export = block_on(store.export()).unwrap();
    assert_eq!(block_on(export.next(10)).unwrap().len(), 10);
    proxy.hold();
    let asked = Instant::now();
    let error = loop {
        match block_on(export.next(100)) {
            Ok(rows) => assert!(!rows.is_empty(), "the export came to its end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(asked.elapsed() < CALL_MAX, "a part ends: {:?}", asked.elapsed());
    proxy.flow();
    drop(export);
    is_alive(&store, &scene.workload, &scene.side);
}

/// Case F54.
#[test]
fn links_that_are_cut_and_restored_at_random_drain_in_the_end() {
    let scene = Scene::new(Workload { seed: 54, changes: u64::MAX, workers: 4, ..Workload::default() });
    let links = [scene.through(), scene.through()];
    let (is_over, mut cuts) = (AtomicBool::new(false), 0);
    thread::scope(|scope| {
        // The second store works on the same changes, so that both meet under the same ids.
        let (scene, links, is_over) = (&scene, &links, &is_over);
        let running =
            links.each_ref().map(|(_, store)| scope.spawn(|| scene.run(store, &|_| is_over.load(Ordering::SeqCst))));
        let over = Over(is_over);
        for round in 0..rounds(8) {
            let before = scene.side.read().unwrap().done();
            wait_for("some changes", || scene.side.read().unwrap().done() > before + 5);
            let proxy = &links[usize::try_from(round % 2).unwrap()].0;
            match round % 3 {
                0 => cuts += proxy.cut() as u64,
                1 => {
                    proxy.refuse();
                    cuts += 1;
                    thread::sleep(Duration::from_millis(100));
                }
                _ => {
                    proxy.hold();
                    cuts += 1;
                    thread::sleep(Duration::from_millis(100));
                }
            }
            // Restored in the other order than they were cut.
            links.iter().rev().for_each(|(proxy, _)| proxy.flow());
        }
        drop(over);
        for running in running {
            assert_eq!(running.join().unwrap().given_up, 0);
        }
    });
    hit("a link cut or clogged", cuts);
    for (_, store) in &links {
        is_alive(store, &scene.workload, &scene.side);
    }
    drop(links);
    scene.end();
}

/// The server's clock is put five minutes before and after that of this process, by a function of the same name which the role's path finds first: nothing else would tell the two apart, since they run on one machine.
///
/// Case F51.
#[test]
fn what_is_due_is_judged_by_the_servers_clock_whatever_a_process_thinks() {
    const SKEW: Duration = Duration::from_secs(300);
    for is_ahead in [true, false] {
        let role = Role::new(&[]);
        let sign = if is_ahead { '+' } else { '-' };
        let clock = format!(
            "CREATE SCHEMA {0}_clock AUTHORIZATION {0}; \
             CREATE FUNCTION {0}_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
             $$ SELECT pg_catalog.clock_timestamp() {sign} interval '{1} s' $$; \
             ALTER FUNCTION {0}_clock.clock_timestamp() OWNER TO {0}; \
             ALTER ROLE {0} SET search_path = {0}_clock, pg_catalog",
            role.name,
            SKEW.as_secs()
        );
        execute(&server::url(), &clock).unwrap();
        let scene = Scene::at(role.url.clone(), Workload::default());
        let server = || number(&role.url, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 * 1000");
        let process = || SystemClock.now().as_nanos();
        assert_eq!((server() - process() > 0, (server() - process()).abs() > 290_000_000_000), (is_ahead, true));

        let stores = [scene.open(), scene.open()];
        let (mut last, mut hits) = (server(), 0);
        for round in 0..10 {
            let Ok(Outcome::Done(receipt)) = commit(stores[round % 2].as_ref(), &format!("c/{round}")) else {
                panic!()
            };
            let (at, after) = (receipt.recorded_at.as_nanos(), server());
            assert!(last <= at && at <= after, "{last} {at} {after}");
            last = at;
        }
        // A term between the two clocks: for the one it is over, for the other it is not.
        let due = i64::midpoint(server(), process());
        for store in &stores {
            let told = block_on(store.get(vec![Ask::new(Workload::tenant())])).unwrap()[0].now.as_nanos();
            assert_eq!(told >= due, is_ahead, "the server says {}, this process {}", server(), process());
            assert_eq!(process() >= due, !is_ahead, "this process judges otherwise");
            hits += 1;
        }
        hit("a term that two clocks judge differently", hits);
        drop(stores);
        scene.end();
    }
}

/// Case F51.
#[test]
fn of_two_clocks_that_are_given_the_later_one_counts_once_it_was_seen() {
    let scene = Scene::new(Workload::default());
    let mut hits = 0;
    let base: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    let with = |clock| {
        let options = Postgres::options(&scene.url).unwrap().schema(&scene.schema).readers(1);
        RUNTIME.block_on(options.clock(std::sync::Arc::new(ManualClock::at(clock))).open()).unwrap()
    };
    let ahead = base.after(Duration::from_secs(300)).unwrap();
    let stores = [with(ahead), with(base)];
    for round in 0..10 {
        let Ok(Outcome::Done(receipt)) = commit(&stores[round % 2], &format!("d/{round}")) else { panic!() };
        assert_eq!(receipt.recorded_at, ahead, "round {round}");
        hits += u64::from(round % 2 == 1);
    }
    hit("a clock five minutes behind", hits);
}
