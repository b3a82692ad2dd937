//! A medium that fails below a SQLite store: flushes, writes and reads that end with an error, late, or not at all.

use std::time::{Duration, Instant};

use txn_store::faults::Workload;

use super::child::{FILES, Scene, is_child, this_test};
use super::{hit, is_alive, is_whole, rounds};

/// The files that hold what is committed.
const DATA: &[&str] = &["store.db", "store.db-wal"];
const FLUSHES: &str = "fsync,fdatasync";

/// A store that was made, and a workload of several threads that is to be run on it.
fn scene(seed: u64) -> Scene {
    patient(seed, Workload::default().patience)
}

/// The same, where each change is asked again for so long.
fn patient(seed: u64, patience: Duration) -> Scene {
    let scene = Scene::new(Workload { seed, changes: 40, workers: 3, patience });
    drop(scene.open());
    scene
}

/// Of a change on a medium that never works again.
const IMPATIENT: Duration = Duration::from_millis(100);

/// A flush that failed may have dropped the pages it was to write, so a second one that succeeds proves nothing. Whatever was under way is said to be unknown; nothing is acknowledged until the store has
/// opened its file again, has written and flushed anew what had not been flushed, and has found all that was acknowledged. Then it goes on, in the same process.
///
/// Case F14.
#[test]
fn after_one_failed_flush_the_store_opens_its_file_again_before_it_acknowledges_more() {
    if is_child() {
        return;
    }
    let test = this_test!(after_one_failed_flush_the_store_opens_its_file_again_before_it_acknowledges_more);
    let (mut hits, mut unknown, mut refused) = (0, 0, 0);
    for round in 0..rounds(6) {
        let scene = scene(14 + round);
        let ended = scene.traced(test, DATA, FLUSHES, &format!("error=EIO:when={}", round % 7 + 1));
        hits += ended.hits;
        match ended.said("open") {
            "ok" => {
                let ran = ended.said("ran");
                // A flush that belonged to a merge of the log into the database, or to the closing, fails no commit.
                unknown += u64::from(!ran.contains("unknown: 0,"));
                assert!(ran.contains("given_up: 0,"), "{:?}", ended.said);
                assert_eq!((ended.said("read"), ended.said("health")), ("ok", "ok"), "{:?}", ended.said);
            }
            said => {
                assert!(said.starts_with("unavailable"), "{said}");
                refused += 1;
            }
        }
        is_whole(&scene.open(), &scene.workload, &scene.side);
        is_alive(&scene.open(), &scene.workload, &scene.side);
    }
    println!("{refused} times the store could not be opened");
    hit("EIO at one flush", hits);
    hit("a store that went on after a failed flush", unknown);
}

/// Case F15.
#[test]
fn while_every_flush_fails_nothing_is_acknowledged_and_reads_go_on() {
    if is_child() {
        return;
    }
    let test = this_test!(while_every_flush_fails_nothing_is_acknowledged_and_reads_go_on);
    // Some changes first, so that there is something to read.
    let mut scene = patient(15, IMPATIENT);
    assert_eq!(scene.run(test, &[]).said("health"), "ok");
    let before = is_whole(&scene.open(), &scene.workload, &scene.side);
    scene.changes(80);
    // From the second on: the first belongs to the opening, and a store that cannot be opened serves no reads.
    let ended = scene.traced(test, DATA, FLUSHES, "error=EIO:when=2+");
    assert_eq!((ended.said("open"), ended.said("read")), ("ok", "ok"), "{:?}", ended.said);
    let health = ended.said("health");
    assert!(health.starts_with("unavailable: the medium failed") && health.contains("disk I/O"), "{:?}", ended.said);
    assert!(ended.said("ran").starts_with("Ran { done: 0,"), "{:?}", ended.said);
    hit("EIO at every flush", ended.hits);
    let after = is_whole(&scene.open(), &scene.workload, &scene.side);
    assert_eq!(after.done, before.done);
    is_alive(&scene.open(), &scene.workload, &scene.side);

    let none = patient(16, IMPATIENT);
    let ended = none.traced(test, DATA, FLUSHES, "error=EIO");
    let said = ended.said("open").to_owned() + ended.said("health");
    assert!(said.contains("unavailable") || said.contains("closed"), "{:?}", ended.said);
    hit("EIO at every flush, from the opening on", ended.hits);
    is_alive(&none.open(), &none.workload, &none.side);
}

/// A flush that takes long holds up those who wait for it, and loses nothing.
///
/// Case F17.
#[test]
fn a_flush_that_takes_long_delays_and_loses_nothing() {
    if is_child() {
        return;
    }
    let test = this_test!(a_flush_that_takes_long_delays_and_loses_nothing);
    let scene = scene(17);
    let begun = Instant::now();
    let ended = scene.traced(test, DATA, FLUSHES, "delay_enter=1500000:when=4");
    assert!(begun.elapsed() > Duration::from_millis(1_500));
    assert_eq!(ended.said("health"), "ok", "{:?}", ended.said);
    assert!(ended.said("ran").contains("unknown: 0, failed: 0,"), "{:?}", ended.said);
    hit("a flush of 1.5 s", ended.hits);
    is_whole(&scene.open(), &scene.workload, &scene.side);
    is_alive(&scene.open(), &scene.workload, &scene.side);
}

/// A disk that stalls: who waits is answered when the time is over that a call may take, not when the stall is. What had been begun is unknown and found done when it is asked again; what had not been begun is not done,
/// or the check finds a change that was told as not executed.
///
/// Case F17.
#[test]
fn callers_of_a_flush_that_hangs_are_answered_long_before_it_ends() {
    if is_child() {
        return;
    }
    let test = this_test!(callers_of_a_flush_that_hangs_are_answered_long_before_it_ends);
    let (mut hits, mut replayed) = (0, 0);
    for round in 0..rounds(2) {
        let scene = scene(170 + round).deadline(Duration::from_millis(200));
        let ended = scene.traced(test, DATA, FLUSHES, &format!("delay_enter=6000000:when={}", round % 5 + 4));
        hits += ended.hits;
        let (ran, longest) = (ended.said("ran"), ended.said("longest-ms").parse::<u64>().unwrap());
        assert!(longest < 3_000, "one call took {longest} ms: {:?}", ended.said);
        assert!(!ran.contains("unknown: 0,") && !ran.contains("failed: 0,"), "{:?}", ended.said);
        assert!(ran.contains("given_up: 0,"), "all came to an end: {:?}", ended.said);
        assert_eq!((ended.said("read"), ended.said("health")), ("ok", "ok"), "{:?}", ended.said);
        replayed += u64::from(!ran.contains("replayed: 0,"));
        is_whole(&scene.open(), &scene.workload, &scene.side);
        is_alive(&scene.open(), &scene.workload, &scene.side);
    }
    hit("a flush of 6 s", hits);
    hit("a change that was unknown and found done", replayed);
}

/// Runs the workload while these calls fail, and then without the fault: how often they did, and what the store said of its health while the fault was there.
fn fails(test: &str, scene: &Scene, calls: &str, fault: &str) -> (u64, String) {
    let ended = scene.traced(test, DATA, calls, fault);
    let (open, health) = (ended.said("open"), ended.said("health"));
    let says = if open == "ok" { health } else { open };
    assert!(ended.status.success(), "{fault}: nothing panics: {:?}", ended.said);
    assert!(says == "ok" || says.starts_with("unavailable"), "{fault}: {:?}", ended.said);
    if open == "ok" {
        assert!(["ok", "empty"].contains(&ended.said("read")), "{fault}: reads go on: {:?}", ended.said);
        assert!(says != "ok" || ended.said("ran").contains("given_up: 0,"), "{fault}: {:?}", ended.said);
    }
    let said = says.to_owned();
    is_whole(&scene.open(), &scene.workload, &scene.side);
    is_alive(&scene.open(), &scene.workload, &scene.side);
    (ended.hits, said)
}

/// The disk is full at one write, and again from one write on; then there is room again. As soon as there is, the same process commits.
///
/// Case F18.
#[test]
fn a_full_disk_is_an_error_and_the_store_works_when_there_is_room_again() {
    if is_child() {
        return;
    }
    let test = this_test!(a_full_disk_is_an_error_and_the_store_works_when_there_is_room_again);
    let (mut hits, mut went_on) = (0, 0);
    for round in 0..rounds(4) {
        let nth = round * 17 + 3;
        for most in [nth, nth + 1, nth + 30] {
            let scene = scene(18 + round);
            let (times, said) = fails(test, &scene, "pwrite64", &format!("error=ENOSPC:when={nth}..{most}"));
            hits += times;
            went_on += u64::from(times > 0 && said == "ok");
        }
        let scene = patient(18 + round, IMPATIENT);
        hits += fails(test, &scene, "pwrite64", &format!("error=ENOSPC:when={nth}+")).0;
    }
    hit("ENOSPC at a write", hits);
    hit("a store that went on when there was room again", went_on);
}

/// Case F22.
#[test]
fn a_read_that_fails_is_an_error_and_never_an_empty_answer() {
    if is_child() {
        return;
    }
    let test = this_test!(a_read_that_fails_is_an_error_and_never_an_empty_answer);
    let mut scene = scene(22);
    assert_eq!(scene.run(test, &[]).said("health"), "ok");
    scene.changes(50);
    let (mut hits, mut said) = (0, 0);
    for round in 0..rounds(10) {
        let scene = scene.copy();
        let ended = scene.traced(test, DATA, "pread64", &format!("error=EIO:when={}", round % 10 * 2 + 1));
        hits += ended.hits;
        assert!(ended.status.success(), "nothing panics: {:?}", ended.said);
        let read = if ended.said("open") == "ok" { ended.said("read") } else { ended.said("open") };
        let is_error = ["unavailable", "closed", "corrupt"].iter().any(|kind| read.starts_with(kind));
        assert!(read == "ok" || is_error, "change 0 is there: {:?}", ended.said);
        said += u64::from(is_error);
        is_whole(&scene.open(), &scene.workload, &scene.side);
        is_alive(&scene.open(), &scene.workload, &scene.side);
    }
    println!("{said} reads said so");
    hit("EIO at a read", hits);
}

/// A medium that became read-only: every write and every opening for writing is refused.
///
/// Case F24.
#[test]
fn on_a_medium_that_became_read_only_writes_fail_and_reads_go_on() {
    if is_child() {
        return;
    }
    let test = this_test!(on_a_medium_that_became_read_only_writes_fail_and_reads_go_on);
    let mut scene = patient(24, IMPATIENT);
    assert_eq!(scene.run(test, &[]).said("health"), "ok");
    scene.changes(50);
    let copy = scene.copy();
    // What the opening writes still passes.
    let ended = copy.traced(test, DATA, "pwrite64,ftruncate", "error=EROFS:when=5+");
    assert_eq!((ended.said("open"), ended.said("read")), ("ok", "ok"), "{:?}", ended.said);
    assert!(ended.said("ran").starts_with("Ran { done: 0,"), "{:?}", ended.said);
    hit("EROFS at a write", ended.hits);
    is_whole(&copy.open(), &copy.workload, &copy.side);
    is_alive(&copy.open(), &copy.workload, &copy.side);

    let ended = scene.traced(test, FILES, "openat", "error=EROFS");
    assert!(ended.said("open").starts_with("unavailable"), "{:?}", ended.said);
    hit("EROFS at an opening", ended.hits);
    is_alive(&scene.open(), &scene.workload, &scene.side);
}
