//! The way to the server: slow, silent, refused, cut and restored.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use txn_change::{Change, ChangeId, Fingerprint, Timestamp};
use txn_store::{
    Ask, Commit, ErrorKind, ManualClock, Outcome, Store, StoreAdmin, conformance::block_on, faults::Workload,
    postgres::Postgres,
};

use super::{DEADLINE, Scene, number};
use crate::{
    faults::{hit, is_alive, rounds, wait_for},
    postgres::server::RUNTIME,
};

/// A call asks a session twice at most, and each answer has its deadline, as has each new session and each question about what became of a COMMIT.
const CALL_MAX: Duration = Duration::from_secs(15);

fn commit(store: &dyn StoreAdmin, id: &str) -> Result<Outcome, txn_store::Error> {
    let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("network", id.as_bytes()));
    block_on(store.commit(vec![Commit { tenant: Workload::tenant(), change }])).pop().unwrap()
}

/// Case F52.
#[test]
fn a_slow_server_is_waited_for_up_to_the_deadline_and_hurts_no_other_store() {
    let scene = Scene::new(Workload { seed: 52, changes: 60, workers: 4, ..Workload::default() });
    let (proxy, slow) = scene.through();
    let fast = scene.open();
    proxy.delay(Duration::from_millis(20));
    let bytes = proxy.bytes();
    let ran = scene.run(&slow, &|ran| ran.done > 20);
    assert_eq!((ran.unknown, ran.failed, ran.given_up), (0, 0, 0), "slow is not lost: {ran:?}");
    assert!(ran.longest >= Duration::from_millis(80), "{ran:?}");
    hit("bytes delayed", proxy.bytes() - bytes);

    // Slower than the deadline.
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
        assert!(begun.elapsed() < DEADLINE * 4, "another store does not wait: {:?}", begun.elapsed());
        hits += 1;
    }
    hit("a call over its deadline", hits);
    proxy.delay(Duration::ZERO);
    is_alive(&slow, &scene.workload, &scene.side);
    drop((slow, fast));
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
            assert!(asked.elapsed() < CALL_MAX, "a commit ends: {:?}", asked.elapsed());
            assert!(
                matches!(&told, Err(error) if error.is_retryable()) || matches!(told, Ok(Outcome::Unknown(_))),
                "{told:?}"
            );
            let asked = Instant::now();
            let opened = scene.try_open(&scene.url_of(&proxy)).map(drop).unwrap_err();
            assert_eq!(opened.kind(), ErrorKind::Unavailable, "{opened}");
            assert!(asked.elapsed() < CALL_MAX, "an opening ends: {:?}", asked.elapsed());
            hits += 3;
            proxy.flow();
            is_over.store(true, Ordering::SeqCst);
            running.join().unwrap()
        });
        assert_eq!(ran.given_up, 0, "{ran:?}");
        assert!(ran.longest < CALL_MAX, "{ran:?}");
        println!("{ran:?}");
    }
    hit("calls that no answer came to", hits);
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
        is_over.store(true, Ordering::SeqCst);
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

/// Case F51.
#[test]
fn processes_whose_clocks_differ_have_one_time_the_servers() {
    let scene = Scene::new(Workload::default());
    let now = || number(&scene.url, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000");
    // No clock of ours is asked at all: whatever a process thinks, it is told the server's time.
    let stores = [scene.open(), scene.open()];
    let (mut last, mut hits) = (now(), 0);
    for round in 0..10 {
        let Ok(Outcome::Done(receipt)) = commit(stores[round % 2].as_ref(), &format!("c/{round}")) else { panic!() };
        let (at, after) = (receipt.recorded_at.as_nanos(), now());
        assert!(last <= at && at <= after, "{last} {at} {after}");
        last = at;
    }
    drop(stores);
    // Given clocks five minutes apart, the later one counts once it was seen.
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
