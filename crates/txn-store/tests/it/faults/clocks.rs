//! Clocks that jump while a store works.

use std::{collections::BTreeSet, sync::Arc};

use txn_change::{Body, Change, ChangeId, Fingerprint, Timestamp};
use txn_store::{
    Clock, Commit, ManualClock, Outcome, Position, Store, StoreAdmin, StoreLimits,
    conformance::block_on,
    faults::{SideFile, Workload},
};

use super::{hit, is_alive, is_whole, rounds};
use crate::backends::Home;

const JUMPS: &[&str] = &[
    "2030-06-01T12:00:00Z",
    // An hour back, a day on.
    "2030-06-01T11:00:00Z",
    "2030-06-02T12:00:00Z",
    "1970-01-01T00:00:00Z",
    // A leap second, as the clocks show it that repeat the last second of the day.
    "2016-12-31T23:59:59Z",
    "2038-01-19T03:14:07Z",
    "2038-01-19T03:14:08Z",
    "2031-01-01T00:00:00Z",
    "2106-02-07T06:28:15Z",
    "2106-02-07T06:28:16Z",
    "2030-06-01T12:00:00Z",
];

/// Case F50.
#[test]
fn while_the_clock_jumps_times_never_go_back_and_nothing_is_lost() {
    for home in Home::all() {
        let clock = Arc::new(ManualClock::at(JUMPS[0].parse().unwrap()));
        let store = home.open(Arc::clone(&clock) as Arc<dyn Clock>, StoreLimits::default());
        let folder = tempfile::tempdir().unwrap();
        let side = SideFile::open(folder.path().join("side")).unwrap();
        let workload = Workload { seed: 50, changes: 400 * rounds(1), ..Workload::default() };
        let jumps = std::sync::atomic::AtomicU64::new(0);
        let plain: Arc<dyn Store> = Arc::clone(&store) as _;
        workload.run(&plain, &side, &|ran| {
            // A jump every tenth change, by whoever comes first.
            let to = (ran.done + ran.refused) / 10;
            if jumps.fetch_max(to, std::sync::atomic::Ordering::SeqCst) < to {
                clock.set(JUMPS[usize::try_from(to).unwrap() % JUMPS.len()].parse::<Timestamp>().unwrap());
            }
            false
        });
        println!("{}", home.name());
        hit("a jump of the clock", jumps.into_inner());
        is_whole(&store, &workload, &side);
        is_alive(&store, &workload, &side);
        let last = block_on(store.commit(vec![Commit {
            tenant: Workload::tenant(),
            change: Change::new(ChangeId::new("last").unwrap(), Fingerprint::of_bytes("last", b""))
                .append(txn_change::Event::new(Body::raw("last", 1, b"{}".to_vec()))),
        }]));
        let Ok(Outcome::Done(last)) = &last[0] else { panic!("{last:?}") };
        ordered(&store, last.recorded_at);
    }
}

/// Positions and times of the log only grow.
fn ordered(store: &Arc<dyn StoreAdmin>, last: Timestamp) {
    let (mut at, mut time, mut seen) = (Position(0), Timestamp::MIN, BTreeSet::new());
    loop {
        let page = block_on(store.read(at, 500)).unwrap();
        let Some(end) = page.items.last() else { break };
        for item in &page.items {
            assert!(item.position > at || seen.is_empty(), "positions grow");
            assert!(seen.insert(item.position), "positions are given once");
            assert!(item.recorded.recorded_at <= last, "no later time than that of the last commit");
            time = time.max(item.recorded.recorded_at);
        }
        at = end.position;
    }
    assert!(time >= JUMPS[9].parse().unwrap(), "the latest jump was seen");
}
