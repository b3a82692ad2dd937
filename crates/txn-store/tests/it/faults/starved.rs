//! A process that is given too little: file descriptors, memory.

use std::{env, fs, path::Path, process::Command, time::Duration};

use txn_change::{Body, Change, ChangeId, Fingerprint, Key, Kind, Tenant, Timestamp};
use txn_store::{
    Ask, Commit, ErrorKind, Outcome, Position, Purge, Query, Range, Store, StoreAdmin, StoreLimits,
    conformance::block_on, faults::Workload, sqlite::Sqlite,
};

use super::child::{Scene, is_child, this_test};
use super::{hit, is_alive, is_whole, rounds};

fn limited(option: &str) -> Vec<String> {
    ["prlimit", option].map(str::to_owned).to_vec()
}

/// Runs the workload under each limit; how often the process could not do all of its work, and in how many of them its file descriptors were counted.
fn starve(test: &str, openings: u64, limits: impl Iterator<Item = String>) -> (u64, u64) {
    let (mut starved, mut counted) = (0, 0);
    for (round, limit) in limits.enumerate() {
        let patience = Duration::from_millis(200);
        let workload = Workload { seed: 23 + round as u64, changes: 30, workers: 3, patience };
        let scene = Scene::new(workload).openings(openings);
        drop(scene.open());
        let ended = scene.run(test, &limited(&limit));
        let (open, health) = (ended.said("open").to_owned(), ended.said("health").to_owned());
        println!("{limit}: {open}; {health}; {}", ended.status);
        let says = if open == "ok" { health } else { open };
        // A process that cannot even begin, or that the system ended, has nothing to say.
        let is_clean = ["ok", "unavailable", "closed", "nothing"].iter().any(|kind| says.starts_with(kind));
        assert!(is_clean, "{limit}: {:?}", ended.said);
        starved += u64::from(says != "ok");
        if let Ok(before) = ended.said("descriptors").parse::<u64>()
            && ended.status.success()
        {
            assert_eq!(ended.said("descriptors-after"), before.to_string(), "{limit}: a leak: {:?}", ended.said);
            counted += u64::from(says != "ok");
        }
        is_whole(&scene.open(), &scene.workload, &scene.side);
        is_alive(&scene.open(), &scene.workload, &scene.side);
    }
    (starved, counted)
}

/// Each process opens its store twenty times in vain, and has as many file descriptors as before.
///
/// Case F23.
#[test]
fn without_file_descriptors_a_store_says_so_and_works_when_it_has_them() {
    if is_child() {
        return;
    }
    let test = this_test!(without_file_descriptors_a_store_says_so_and_works_when_it_has_them);
    let (starved, counted) = starve(test, 20, (0..rounds(10)).map(|round| format!("--nofile={}", 5 + round % 12)));
    hit("too few file descriptors", starved);
    hit("file descriptors counted before and after", counted);
}

/// What the system gives a process is not a caller's doing: it may end, and its store is whole.
#[test]
fn without_memory_a_process_ends_and_its_store_is_whole() {
    if is_child() {
        return;
    }
    let test = this_test!(without_memory_a_process_ends_and_its_store_is_whole);
    let megabytes = [16, 24, 32, 40, 48, 64, 96].into_iter().cycle();
    let limits = megabytes.take(usize::try_from(rounds(7)).unwrap()).map(|mb: u64| format!("--as={}", mb << 20));
    hit("too little memory", starve(test, 1, limits).0);
}

/// What is not had is not asked for: a caller's wish is held against its limit before memory is taken for it. And where a database gets no memory for what is within the limits, that is an error, the process goes on, and what was
/// stored is whole.
///
/// Case F56.
#[test]
fn too_little_memory_for_what_a_caller_asked_is_an_error_and_the_process_goes_on() {
    const STEP: &str = "TXN_TEST_MEMORY";
    if let Some(path) = env::var_os(STEP) {
        return ask_too_much(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(folder.path()).unwrap().join("store.db");
    drop(Sqlite::open(&path).unwrap());
    let test = this_test!(too_little_memory_for_what_a_caller_asked_is_an_error_and_the_process_goes_on);
    let mut child = Command::new("prlimit");
    // Half a gigabyte, of which threads take most: far less than what is asked for.
    child.arg(format!("--as={}", 512u64 << 20)).arg(env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]);
    let output = child.env(STEP, &path).output().expect("prlimit is installed (Debian: util-linux)");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{}", output.status);
    let store = Sqlite::open(&path).unwrap();
    let ask = |id: &str| Ask::new(Tenant::default()).stored(ChangeId::new(id).unwrap());
    let found = block_on(store.get(vec![ask("small"), ask("large"), ask("starved")])).unwrap();
    let are_there: Vec<bool> = found.iter().map(|found| found.stored.is_some()).collect();
    assert_eq!(are_there, [true, false, false]);
}

fn ask_too_much(path: &Path) {
    let store = Sqlite::open(path).unwrap();
    let change = |id: &str, bytes: usize| {
        let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("memory", id.as_bytes()));
        let key = Key::of(Kind::new("memory").unwrap()).text(id).unwrap().build();
        change.insert(key, Body::raw("n", 1, vec![b'x'; bytes]), vec![])
    };
    let commit = |change| block_on(store.commit(vec![Commit { tenant: Tenant::default(), change }])).pop().unwrap();
    assert!(matches!(commit(change("small", 10)), Ok(Outcome::Done(_))));

    // More rows, more keys and more bytes than there are.
    let mut invalid = 0;
    let mut is_invalid = |error: txn_store::Error| {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        invalid += 1;
    };
    let query = Query::Records(Range::prefix(Key::of(Kind::new("memory").unwrap())));
    for most in [usize::MAX, usize::MAX / 2, 1 << 40, StoreLimits::default().page_max + 1] {
        is_invalid(block_on(store.find(&Tenant::default(), &query, None, most)).unwrap_err());
        is_invalid(block_on(store.read(Position(0), most)).unwrap_err());
        is_invalid(block_on(store.purge(Purge::Answers, Timestamp::EPOCH, most)).unwrap_err());
    }
    let key = Key::of(Kind::new("memory").unwrap()).number(1).build();
    let many = (0..100_000).fold(Ask::new(Tenant::default()), |ask, _| ask.record(key.clone()));
    is_invalid(block_on(store.get(vec![many])).unwrap_err());
    hit("a wish beyond its limit", invalid);
    let large = commit(change("large", 64 << 20));
    assert!(matches!(large, Ok(Outcome::Refused(_))), "{large:?}");

    // All of SQLite's memory is gone; the process has some.
    let shell = rusqlite::Connection::open(path).unwrap();
    let used = shell.query_row("PRAGMA hard_heap_limit = 1000", [], |row| row.get::<_, i64>(0));
    println!("limited: {used:?}");
    let mut starved = 0;
    for _ in 0..3 {
        let error = commit(change("starved", 100_000)).unwrap_err();
        println!("{error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        starved += u64::from(error.to_string().contains("out of memory"));
    }
    hit("a commit without memory", starved);
}
