//! A medium that fails below a SQLite store: flushes, writes and reads that end with an error, late, or not at all.

use std::{
    fs,
    time::{Duration, Instant},
};

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

/// What a process does between a flush that failed and the next change that it notes as done, as the tracer saw it.
struct Between {
    is_opened: bool,
    is_written: bool,
    is_flushed: bool,
}

impl Between {
    /// Nothing when no flush failed, or nothing was acknowledged any more.
    fn of(scene: &Scene) -> Option<Self> {
        let trace = fs::read_to_string(scene.path("trace")).unwrap();
        let mut lines = trace.lines().skip_while(|line| !line.contains("(INJECTED)")).skip(1);
        let mut between = Self { is_opened: false, is_written: false, is_flushed: false };
        loop {
            let line = lines.next()?;
            if line.contains("/side>") && line.contains("\"ack ") && line.contains(" done ") {
                return Some(between);
            }
            between.is_opened |= line.contains("openat(") && line.contains("store.db\"") && line.contains("O_RDWR");
            between.is_written |= between.is_opened && line.contains("pwrite64(") && line.contains("store.db-wal>");
            between.is_flushed |= between.is_written && line.contains("sync(") && line.ends_with("= 0");
        }
    }
}

/// A flush that failed may have dropped the pages it was to write, so a second one that succeeds proves nothing. Whatever was under way is said to be unknown; nothing is acknowledged until the store has
/// opened its file again, has written and flushed anew what had not been flushed, and has found all that was acknowledged. Then it goes on, in the same process. Of one caller, whose notes are in order with what the
/// store does, every step is seen.
///
/// Case F14.
#[test]
fn after_one_failed_flush_the_store_opens_its_file_again_before_it_acknowledges_more() {
    if is_child() {
        return;
    }
    let test = this_test!(after_one_failed_flush_the_store_opens_its_file_again_before_it_acknowledges_more);
    let (mut hits, mut unknown, mut seen) = (0, 0, 0);
    for round in 0..rounds(7) {
        for workers in [1, 3] {
            let scene =
                Scene::new(Workload { seed: 14 + round, changes: 40, workers, patience: Workload::default().patience });
            drop(scene.open());
            let fault = format!("error=EIO:when={}", round % 7 + 1);
            let files = [DATA, &["side"]].concat();
            let ended = scene.watched(test, &files, "openat,write,pwrite64,fsync,fdatasync", FLUSHES, &fault);
            hits += ended.hits;
            if ended.said("open") != "ok" {
                assert!(ended.said("open").starts_with("unavailable"), "{:?}", ended.said);
                assert!(scene.notes("ack ").is_empty(), "what could not be opened acknowledges nothing");
            } else {
                // Each caller has one call under way, and every change comes to an end.
                assert!(ended.ran("unknown") <= workers, "{:?}", ended.said);
                assert_eq!(ended.ran("given_up"), 0, "{:?}", ended.said);
                let ends = ended.ran("done") + ended.ran("refused") + ended.ran("resolved");
                assert_eq!(ends, scene.workload.changes, "{:?}", ended.said);
                assert_eq!((ended.said("read"), ended.said("health")), ("ok", "ok"), "{:?}", ended.said);
                let has_failed = ended.ran("unknown") > 0;
                println!("{fault}, {workers} callers: {:?}", ended.said("ran"));
                unknown += u64::from(has_failed);
                if let Some(between) = Between::of(&scene).filter(|_| has_failed && workers == 1) {
                    assert!(between.is_opened, "acknowledged on the descriptor whose flush had failed");
                    assert!(between.is_written && between.is_flushed, "acknowledged before anything was flushed anew");
                    seen += 1;
                }
            }
            is_whole(&scene.open(), &scene.workload, &scene.side);
            is_alive(&scene.open(), &scene.workload, &scene.side);
        }
    }
    hit("EIO at one flush", hits);
    hit("a store that went on after a failed flush", unknown);
    hit("a file that was opened and flushed anew before the next acknowledgement", seen);
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
    assert_eq!(ended.ran("done"), 0, "{:?}", ended.said);
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
    assert_eq!((ended.ran("unknown"), ended.ran("failed")), (0, 0), "{:?}", ended.said);
    hit("a flush of 1.5 s", ended.hits);
    is_whole(&scene.open(), &scene.workload, &scene.side);
    is_alive(&scene.open(), &scene.workload, &scene.side);
}

/// A disk that stalls: who waits is answered when the time is over that a call may take, not when the stall is. What had been begun is unknown and found done when it is asked again; what had not been begun is not done,
/// or the check finds a change that was told as not executed. As many may wait as the limit says, and the others are refused with it.
///
/// Case F17.
#[test]
fn callers_of_a_flush_that_hangs_are_answered_long_before_it_ends() {
    if is_child() {
        return;
    }
    let test = this_test!(callers_of_a_flush_that_hangs_are_answered_long_before_it_ends);
    let (mut hits, mut replayed, mut refused) = (0, 0, 0);
    for round in 0..rounds(2) {
        let workload = Workload { seed: 170 + round, changes: 80, workers: 8, ..Workload::default() };
        let scene = Scene::new(workload).deadline(Duration::from_millis(200)).queue_max(4);
        drop(scene.open());
        let ended = scene.traced(test, DATA, FLUSHES, &format!("delay_enter=6000000:when={}", round % 5 + 4));
        hits += ended.hits;
        let longest = ended.said("longest-ms").parse::<u64>().unwrap();
        assert!(longest < 5_000, "one call took {longest} ms: {:?}", ended.said);
        assert!(ended.ran("unknown") > 0 && ended.ran("failed") > 0, "{:?}", ended.said);
        assert_eq!(ended.ran("given_up"), 0, "all came to an end: {:?}", ended.said);
        for note in scene.notes("changes are waiting") {
            assert!(note.contains("at most 4 may"), "{note}");
            let waiting = note.split(" changes are waiting").next().and_then(|begin| begin.rsplit(' ').next());
            assert!(waiting.unwrap().parse::<u64>().unwrap() <= 4, "{note}");
            refused += 1;
        }
        assert_eq!((ended.said("read"), ended.said("health")), ("ok", "ok"), "{:?}", ended.said);
        replayed += ended.ran("replayed");
        is_whole(&scene.open(), &scene.workload, &scene.side);
        is_alive(&scene.open(), &scene.workload, &scene.side);
    }
    hit("a flush of 6 s", hits);
    hit("a change that was unknown and found done", replayed);
    hit("a change for which the queue had no room", refused);
}

/// The disk is full at one write, and again from one write on; then there is room again. Whoever asks meanwhile is told so, whoever reads is answered, and as soon as there is room the same store commits.
///
/// Case F18.
#[test]
fn a_full_disk_is_an_error_and_the_store_works_when_there_is_room_again() {
    if is_child() {
        return;
    }
    let test = this_test!(a_full_disk_is_an_error_and_the_store_works_when_there_is_room_again);
    // Something that can be read, whatever becomes of the rest.
    let mut begin = scene(18);
    assert_eq!(begin.run(test, &[]).said("health"), "ok");
    begin.changes(80);
    let (mut hits, mut told, mut went_on, mut stayed) = (0, 0, 0, 0);
    for round in 0..rounds(4) {
        let nth = round * 17 + 3;
        let until = [nth, nth + 1, nth + 30].map(Some).into_iter().chain([None]);
        for until in until {
            let mut scene = begin.copy();
            scene.workload.patience = if until.is_some() { scene.workload.patience } else { IMPATIENT };
            scene.changes(80);
            let before = scene.notes("ack ").len();
            let range = until.map_or_else(|| format!("{nth}+"), |until| format!("{nth}..{until}"));
            let ended = scene.traced(test, DATA, "pwrite64", &format!("error=ENOSPC:when={range}"));
            hits += ended.hits;
            assert!(ended.status.success(), "{range}: nothing panics: {:?}", ended.said);
            let notes = scene.notes("ack ").split_off(before);
            let refused: Vec<&String> = notes.iter().filter(|note| note.contains(" failed ")).collect();
            for note in &refused {
                assert!(note.contains(" failed unavailable: "), "{range}: {note}");
            }
            if ended.said("open") == "ok" {
                assert_eq!(ended.said("read"), "ok", "{range}: reads go on: {:?}", ended.said);
                let is_told = refused.iter().any(|note| note.contains("database or disk is full"));
                told += u64::from(is_told);
                assert!(is_told || ended.ran("failed") == 0, "{range}: the cause is told: {refused:?}");
                if until.is_some() {
                    assert_eq!((ended.said("health"), ended.ran("given_up")), ("ok", 0), "{range}: {:?}", ended.said);
                    let last = notes.iter().rposition(|note| note.contains(" failed "));
                    let after = last.map_or(0, |last| notes.iter().skip(last).filter(|n| n.contains(" done ")).count());
                    went_on += u64::from(is_told && after > 0);
                } else {
                    assert!(ended.said("health").starts_with("unavailable"), "{range}: {:?}", ended.said);
                    stayed += 1;
                }
            } else {
                assert!(ended.said("open").starts_with("unavailable"), "{range}: {:?}", ended.said);
            }
            is_whole(&scene.open(), &scene.workload, &scene.side);
            is_alive(&scene.open(), &scene.workload, &scene.side);
        }
    }
    hit("ENOSPC at a write", hits);
    hit("a store whose callers were told that the disk is full", told);
    hit("a store that went on when there was room again", went_on);
    hit("a store that was read while the disk stayed full", stayed);
}

/// An opening whose reads fail is tried again when the medium is better, and is no sign of damage.
///
/// Case F22.
#[test]
fn a_read_that_fails_is_an_error_and_never_an_empty_answer() {
    if is_child() {
        return;
    }
    let test = this_test!(a_read_that_fails_is_an_error_and_never_an_empty_answer);
    // More pages than one reading touches.
    let mut scene = patient(22, IMPATIENT);
    scene.changes(600);
    assert_eq!(scene.run(test, &[]).said("health"), "ok");
    let done = is_whole(&scene.open(), &scene.workload, &scene.side).done;
    scene.changes(610);
    let (mut hits, mut openings, mut reads) = (0, 0, 0);
    for round in 0..rounds(10) {
        // The calls of each thread are counted by themselves, and the one that opens makes twenty or so.
        for nth in [round % 10 * 2 + 1, round % 10 * 2 + 21] {
            for range in [format!("{nth}"), format!("{nth}+")] {
                let scene = scene.copy();
                let ended = scene.traced(test, DATA, "pread64,read", &format!("error=EIO:when={range}"));
                hits += ended.hits;
                assert!(ended.status.success(), "nothing panics: {:?}", ended.said);
                let is_error = |said: &str| ["unavailable", "corrupt"].iter().any(|kind| said.starts_with(kind));
                if ended.said("open") == "ok" {
                    let read = ended.said("read");
                    assert!(read == "ok" || is_error(read), "{range}: change 0 is there: {:?}", ended.said);
                    let stored = ended.said("stored");
                    let is_all = stored.parse::<u64>().is_ok_and(|stored| stored >= done);
                    assert!(is_all || is_error(stored), "{range}: {done} changes are there: {:?}", ended.said);
                    reads += u64::from(is_error(read) || is_error(stored));
                } else {
                    assert!(ended.said("open").starts_with("unavailable"), "{range}: {:?}", ended.said);
                    openings += 1;
                }
                is_whole(&scene.open(), &scene.workload, &scene.side);
                is_alive(&scene.open(), &scene.workload, &scene.side);
            }
        }
    }
    hit("EIO at a read", hits);
    hit("an opening that said so", openings);
    hit("a read of an open store that said so", reads);
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
    assert_eq!(ended.ran("done"), 0, "{:?}", ended.said);
    hit("EROFS at a write", ended.hits);
    is_whole(&copy.open(), &copy.workload, &copy.side);
    is_alive(&copy.open(), &copy.workload, &copy.side);

    let ended = scene.traced(test, FILES, "openat", "error=EROFS");
    assert!(ended.said("open").starts_with("unavailable"), "{:?}", ended.said);
    hit("EROFS at an opening", ended.hits);
    is_alive(&scene.open(), &scene.workload, &scene.side);
}

/// Whichever call of an opening fails, it is the medium and no damage; one that fails once only may not be noticed at all. A lock file that cannot be read tells nothing of what was acknowledged, so nothing is opened without it.
#[test]
fn a_call_of_an_opening_that_fails_is_not_told_as_damage() {
    if is_child() {
        return;
    }
    let test = this_test!(a_call_of_an_opening_that_fails_is_not_told_as_damage);
    let mut scene = patient(25, IMPATIENT);
    assert_eq!(scene.run(test, &[]).said("health"), "ok");
    scene.changes(45);
    let (mut hits, mut refused) = (0, 0);
    for (call, count) in [("openat", 6), ("pread64", 12), ("read", 1), ("mmap", 1)] {
        for (nth, error) in (1..=count).flat_map(|nth| [(nth, "EIO"), (nth, "EACCES")]) {
            let copy = scene.copy();
            let ended = copy.traced(test, FILES, call, &format!("error={error}:when={nth}"));
            hits += ended.hits;
            let open = ended.said("open");
            assert!(open == "ok" || open.starts_with("unavailable"), "{call} {nth} {error}: {:?}", ended.said);
            assert!(call != "read" || open.contains("the lock file"), "{call} {nth} {error}: {:?}", ended.said);
            refused += u64::from(open != "ok");
            is_whole(&copy.open(), &copy.workload, &copy.side);
        }
    }
    hit("EIO or EACCES at a call of an opening", hits);
    hit("an opening that was refused for it", refused);
}
