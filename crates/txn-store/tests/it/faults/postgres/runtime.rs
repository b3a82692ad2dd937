//! The runtime that a store's tasks run on, shut down under it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use txn_change::{Change, ChangeId, Fingerprint};
use txn_store::{Ask, Commit, ErrorKind, Outcome, Store, conformance::block_on, faults::Workload};

use super::{Scene, settings::Role};
use crate::faults::{hit, rounds, wait_for};

/// More than any call may take whose tasks are gone, and less than its deadline.
const AT_ONCE: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(120);

/// Who had asked learns that nobody answers any more: nothing was executed, or it is not known. The server has no session of ours left.
///
/// Case F40.
#[test]
fn a_runtime_that_is_shut_down_with_calls_in_flight_leaves_no_caller_and_no_session_behind() {
    let (mut closed, mut unknown, mut done) = (0, 0, 0);
    for round in 0..rounds(6) {
        let role = Role::new(&[]);
        let scene = Scene::at(role.url.clone(), Workload { seed: 40 + round, ..Workload::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let options = txn_store::postgres::Postgres::options(&scene.url).unwrap();
        let options = options.schema(&scene.schema).readers(1).deadline(DEADLINE);
        let store = runtime.block_on(options.open()).unwrap();
        let commit = |id: String| {
            let change = Change::new(ChangeId::new(&id).unwrap(), Fingerprint::of_bytes("runtime", id.as_bytes()));
            block_on(store.commit(vec![Commit { tenant: Workload::tenant(), change }])).pop().unwrap()
        };
        assert!(role.sessions() > 0);
        let count = AtomicU64::new(0);
        let acknowledged = thread::scope(|scope| {
            let callers = (0..8).map(|caller| {
                let (store, commit, count) = (&store, &commit, &count);
                scope.spawn(move || {
                    let (mut acknowledged, mut last) = (Vec::new(), Instant::now());
                    for nth in 0.. {
                        let id = format!("{caller}/{nth}");
                        let told = if caller < 6 {
                            commit(id.clone())
                        } else {
                            block_on(store.get(vec![Ask::new(Workload::tenant())]))
                                .map(|_| Outcome::Unknown(ChangeId::new("read").unwrap()))
                        };
                        let ended = last.elapsed();
                        last = Instant::now();
                        match told {
                            Ok(Outcome::Done(_)) => {
                                acknowledged.push(id);
                                count.fetch_add(1, Ordering::SeqCst);
                            }
                            Ok(Outcome::Unknown(_)) if caller >= 6 => {}
                            Ok(Outcome::Unknown(_)) => return (acknowledged, ended, None),
                            Ok(refused) => panic!("{refused:?}"),
                            Err(error) => return (acknowledged, ended, Some(error)),
                        }
                    }
                    unreachable!("a caller works until it is told that it cannot")
                })
            });
            let callers: Vec<_> = callers.collect();
            wait_for("some changes", || count.load(Ordering::SeqCst) > 6);
            thread::sleep(Duration::from_millis(7 * round));
            let begun = Instant::now();
            runtime.shutdown_background();
            let mut all = Vec::new();
            for caller in callers {
                wait_for("a caller", || caller.is_finished());
                let (acknowledged, longest, error) = caller.join().unwrap();
                assert!(longest < AT_ONCE, "a call took {longest:?}");
                match error {
                    Some(error) => {
                        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                        closed += 1;
                    }
                    None => unknown += 1,
                }
                all.extend(acknowledged);
            }
            assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
            all
        });
        // One that comes later is told so too.
        assert_eq!(commit("late".to_owned()).unwrap_err().kind(), ErrorKind::Closed);
        wait_for("the sessions to end", || role.sessions() == 0);
        drop(store);

        let store = scene.try_open(&scene.url).unwrap();
        let asked = acknowledged.iter().map(|id| Ask::new(Workload::tenant()).stored(ChangeId::new(id).unwrap()));
        for (id, found) in acknowledged.iter().zip(block_on(store.get(asked.collect())).unwrap()) {
            assert!(found.stored.is_some(), "{id} was acknowledged");
            done += 1;
        }
    }
    println!("{unknown} callers were told that it is not known");
    hit("a caller who was told that the store is closed", closed);
    hit("an acknowledged change that is there", done);
}
