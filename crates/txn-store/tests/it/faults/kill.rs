//! A process that is killed at each system call of its commits, and a recovery that is killed over and over.

use txn_store::faults::Workload;

use super::child::{FILES, Scene, is_child, this_test};
use super::{hit, is_alive, is_whole, rounds};

/// The calls by which a store changes, flushes, shortens, locks and leaves its files.
const CALLS: &[&str] = &["fsync,fdatasync", "write", "ftruncate", "unlink", "close", "fcntl", "pwrite64"];

/// The kill falls on the nth of these calls that one thread makes. Each n is one process, up to the one that lives to its end; a short run takes every third of the many writes and locks.
///
/// Case F1.
#[test]
fn a_process_killed_at_each_system_call_of_its_commits_has_lost_nothing() {
    if is_child() {
        return;
    }
    let test = this_test!(a_process_killed_at_each_system_call_of_its_commits_has_lost_nothing);
    let (mut kills, mut present, mut absent, mut answered) = (0, 0, 0, 0);
    let passes = rounds(1);
    for pass in 0..passes {
        let begin = Scene::new(Workload { seed: 11 + pass, changes: 3, workers: 1, ..Workload::default() });
        drop(begin.open());
        for calls in CALLS {
            let is_many = matches!(*calls, "pwrite64" | "fcntl");
            let step = if is_many && passes == 1 { 3 } else { 1 };
            let (mut nth, mut of_calls) = (1, 0);
            loop {
                let scene = begin.copy();
                let ended = scene.traced(test, FILES, calls, &format!("signal=SIGKILL:when={nth}"));
                if !ended.is_killed() {
                    assert_eq!(ended.said("health"), "ok", "{:?}", ended.said);
                    break;
                }
                let report = is_whole(&scene.open(), &scene.workload, &scene.side);
                present += report.present;
                absent += report.absent;
                answered += report.done;
                is_alive(&scene.open(), &scene.workload, &scene.side);
                nth += step;
                of_calls += 1;
            }
            hit(&format!("kill at {calls}"), of_calls);
            kills += of_calls;
        }
    }
    println!("{answered} changes were acknowledged before the kills and all are there");
    hit("kill at a system call", kills);
    hit("kill between a commit and its acknowledgement", present);
    hit("kill before a commit was whole", absent);
}

/// A recovery that dies leaves what the next one recovers from: at each of its steps, twenty deaths in a row.
///
/// Case F26.
#[test]
fn a_recovery_that_is_killed_again_and_again_ends_with_the_same() {
    if is_child() {
        return;
    }
    let test = this_test!(a_recovery_that_is_killed_again_and_again_ends_with_the_same);
    // Of two callers, one mark may stand for a change of each, and six for all of them.
    let workload = Workload { seed: 26, changes: 12, workers: 1, ..Workload::default() };
    let (mut hits, mut whole) = (0, 0);
    for round in 0..rounds(1) {
        let scene = Scene::new(Workload { seed: workload.seed + round, ..workload });
        drop(scene.open());
        // A log that is not empty, of a process that died at its mark.
        assert!(scene.traced(test, FILES, "write", "signal=SIGKILL:when=8").is_killed());
        let before = is_whole(&scene.copy().open(), &scene.workload, &scene.side);
        let mut deaths = 0;
        for death in 0..20u64 {
            let (calls, nth) = match death % 4 {
                0 => ("pwrite64", death / 4 + 1),
                1 => ("fsync,fdatasync", death / 8 + 1),
                2 => ("fcntl", death + 1),
                _ => ("ftruncate,openat", death / 10 + 1),
            };
            // Nothing is left to do for a process whose work was noted as done, so it dies in recovery, or when it closes the store.
            let ended = scene.traced(test, FILES, calls, &format!("signal=SIGKILL:when={nth}"));
            deaths += u64::from(ended.is_killed());
            let after = is_whole(&scene.copy().open(), &scene.workload, &scene.side);
            assert!(after.done >= before.done, "{after:?} after {before:?}");
            whole += 1;
        }
        hits += deaths;
        is_alive(&scene.open(), &scene.workload, &scene.side);
    }
    println!("{whole} times the store was whole in between");
    hit("kill during recovery", hits);
}

/// The tables are made in one transaction: a kill at any call of it leaves a file without tables or with all of them, and the next opening makes the rest.
///
/// Case F28.
#[test]
fn a_migration_that_was_killed_at_any_call_is_made_whole_by_the_next_opening() {
    if is_child() {
        return;
    }
    let test = this_test!(a_migration_that_was_killed_at_any_call_is_made_whole_by_the_next_opening);
    let (mut bare, mut made) = (0, 0);
    for calls in ["fsync,fdatasync", "ftruncate", "unlink", "fcntl", "openat", "pwrite64"] {
        let step = if calls == "fcntl" && rounds(1) == 1 { 3 } else { 1 };
        let (mut nth, mut of_calls) = (1, 0);
        loop {
            let scene = Scene::new(Workload { seed: 28, changes: 0, workers: 1, ..Workload::default() });
            if !scene.traced(test, FILES, calls, &format!("signal=SIGKILL:when={nth}")).is_killed() {
                break;
            }
            let found = tables(&scene);
            *(if found == 0 { &mut bare } else { &mut made }) += 1;
            is_whole(&scene.open(), &scene.workload, &scene.side);
            let all = tables(&scene);
            assert!(all > 8 && [0, all].contains(&found), "{calls} {nth}: {found} tables, {all} after the opening");
            let workload = Workload { changes: 5, ..scene.workload };
            is_alive(&scene.open(), &workload, &scene.side);
            nth += step;
            of_calls += 1;
        }
        hit(&format!("kill of an opening at {calls}"), of_calls);
    }
    hit("kill that left no table", bare);
    hit("kill that left all tables", made);
}

/// How many tables a copy of the file has, with its log.
fn tables(scene: &Scene) -> i64 {
    let copy = scene.copy();
    if !copy.path("store.db").exists() {
        return 0;
    }
    let file = rusqlite::Connection::open(copy.path("store.db")).unwrap();
    file.query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0)).unwrap()
}
