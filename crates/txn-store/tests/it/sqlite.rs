//! What is SQLite's own: its file, its lock, its threads, and what becomes of the store when one of them is hurt.

#[cfg(feature = "conformance")]
mod dropped;
mod stored;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use pollster::block_on;
use tempfile::TempDir;
use txn_change::{
    Add, Body, Change, ChangeId, Class, Event, FactId, Fingerprint, Key, Kind, Label, Lanes, Opening, Tenant, Timestamp,
};
use txn_store::{
    Ask, Clock, Commit, Error, ErrorKind, Found, ManualClock, Outcome, Page, Position, Query, Range, Receipt, Row,
    Snapshot, Store, StoreAdmin, StoreLimits, SystemClock, sqlite::Sqlite,
};

const NOTE: &str = "note";
const TALLY: &str = "tally";
const BY_WORD: &str = "by-word";

fn key(kind: &'static str, name: &str) -> Key {
    Key::of(Kind::new(kind).unwrap()).text(name).unwrap().build()
}

fn change(id: &str) -> Change {
    Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("test", id.as_bytes()))
}

fn add(name: &str, amount: i128) -> Add {
    let class = Class { name: "tally".into(), signed: [true; 4], history: true, conserves: [None; 2] };
    Add {
        counter: key(TALLY, name),
        delta: Lanes([amount, 0, 0, 0]),
        or_open: Some(Arc::new(Opening { class: Arc::new(class), unit: "item".into(), guards: [None; 2] })),
        force: false,
        effective_at: Some(Timestamp::EPOCH),
        label: Label::new("line"),
    }
}

/// A change with something of everything: record and term, counter and entry, fact and its term, event.
fn whole(id: &str) -> Change {
    let body = || Body::raw("note", 1, format!("{id:?}").into_bytes());
    let fact = Event::new(body()).with_id(FactId::new(id).unwrap()).with_term(key(BY_WORD, id)).about(key(NOTE, id));
    change(id)
        .insert(key(NOTE, id), body(), vec![key(BY_WORD, id)])
        .add(add("all", 1))
        .append(fact)
        .append(Event::new(body()))
        .answer(body())
}

fn commit_of(change: Change) -> Commit {
    Commit { tenant: Tenant::default(), change }
}

fn commit(store: &Sqlite, change: Change) -> Result<Outcome, Error> {
    block_on(store.commit(vec![commit_of(change)])).pop().unwrap()
}

fn done(store: &Sqlite, change: Change) -> Receipt {
    match commit(store, change) {
        Ok(Outcome::Done(receipt)) => receipt,
        other => panic!("{other:?}"),
    }
}

fn get(store: &Sqlite, ask: Ask) -> Result<Snapshot, Error> {
    Ok(block_on(store.get(vec![ask]))?.pop().unwrap())
}

/// How many parts of a whole change are there: record, stored answer, fact.
fn parts(store: &Sqlite, id: &str) -> usize {
    let ask = Ask::new(Tenant::default()).stored(ChangeId::new(id).unwrap()).record(key(NOTE, id));
    let seen = get(store, ask.fact(FactId::new(id).unwrap())).unwrap();
    [seen.stored.is_some(), seen.records[0].is_some(), seen.facts[0].is_some()]
        .into_iter()
        .filter(|there| *there)
        .count()
}

fn find(store: &Sqlite, query: &Query) -> Result<Vec<Found>, Error> {
    Ok(block_on(store.find(&Tenant::default(), query, None, 1_000))?.items)
}

fn export(store: &Sqlite) -> Vec<Row> {
    block_on(async {
        let mut export = store.export().await.unwrap();
        let mut rows = Vec::new();
        loop {
            let next = export.next(3).await.unwrap();
            if next.is_empty() {
                return rows;
            }
            rows.extend(next);
        }
    })
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Runs SQL behind the back of the store.
fn shell(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn refused(path: &Path) -> Error {
    Sqlite::open(path).map(drop).unwrap_err()
}

/// A replay was killed and started again at once: the dying process still held the lock, and the second run was refused.
#[test]
fn an_owner_that_is_about_to_be_gone_is_waited_for() {
    let (_folder, path) = place();
    let first = Sqlite::open(&path).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| Sqlite::open(&path).map(drop));
        drop(first);
        second.join().unwrap().unwrap();
    });
}

/// Two owners of one file would each believe that nobody else writes.
///
/// Case F27.
#[test]
fn a_second_owner_is_refused_here_and_in_another_process() {
    if let Some(path) = std::env::var_os("TXN_TEST_OWNED") {
        assert_eq!(refused(Path::new(&path)).kind(), ErrorKind::Locked);
        return;
    }
    let (folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    let error = refused(&path);
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("store.db is open already"), "{error}");
    let roundabout = folder.path().join(".").join("store.db");
    assert_eq!(refused(&roundabout).kind(), ErrorKind::Locked);
    let this_test = "sqlite::a_second_owner_is_refused_here_and_in_another_process";
    let mut other = Command::new(std::env::current_exe().unwrap());
    let output = other.args(["--exact", this_test]).env("TXN_TEST_OWNED", &path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    drop(store);
    drop(Sqlite::open(&path).unwrap());
}

/// Case F28.
#[test]
fn a_newer_format_is_refused_with_both_versions_and_left_alone() {
    let (_folder, path) = place();
    drop(Sqlite::open(&path).unwrap());
    shell(&path, "PRAGMA user_version = 7");
    let before = fs::read(&path).unwrap();
    let error = refused(&path);
    assert_eq!(error.kind(), ErrorKind::Newer);
    assert!(error.to_string().contains("format 7") && error.to_string().contains("up to 1"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_of_another_program_is_refused_and_left_alone() {
    let (_folder, path) = place();
    shell(&path, "CREATE TABLE theirs(x); INSERT INTO theirs VALUES (1)");
    let before = fs::read(&path).unwrap();
    assert_eq!(refused(&path).kind(), ErrorKind::Invalid);
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::write(&path, "not a database at all, but long enough to be taken for the header of one".repeat(10)).unwrap();
    assert_eq!(refused(&path).kind(), ErrorKind::Corrupt);
    assert_eq!(refused(Path::new("/nowhere/at/all/store.db")).kind(), ErrorKind::Unavailable);
}

/// Copies the files of a store while it is open and at rest: what a killed process leaves behind.
fn killed(path: &Path, folder: &Path, suffixes: &[&str]) -> PathBuf {
    let copy = folder.join("copy.db");
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let _ = fs::remove_file(beside(&copy, suffix));
        if suffixes.contains(&suffix) {
            fs::copy(beside(path, suffix), beside(&copy, suffix)).unwrap();
        }
    }
    copy
}

/// Case F29.
#[test]
fn a_killed_store_has_all_commits_or_says_that_they_are_gone() {
    let (folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    for id in ["a", "b", "c"] {
        done(&store, whole(id));
    }
    let copy = killed(&path, folder.path(), &["", "-wal", ".lock"]);
    let reopened = Sqlite::open(&copy).unwrap();
    assert_eq!((parts(&reopened, "a"), parts(&reopened, "c")), (3, 3));
    drop(reopened);

    let copy = killed(&path, folder.path(), &["", "-wal", ".lock"]);
    fs::write(beside(&copy, "-shm"), vec![0xA5; 32_768]).unwrap();
    let reopened = Sqlite::open(&copy).unwrap();
    assert_eq!((parts(&reopened, "a"), parts(&reopened, "c")), (3, 3));
    drop(reopened);

    let copy = killed(&path, folder.path(), &["", ".lock"]);
    let error = refused(&copy);
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("commit 3 was acknowledged"), "{error}");
}

#[test]
fn a_store_that_was_closed_is_one_file() {
    let (folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    done(&store, whole("a"));
    drop(store);
    assert!(!beside(&path, "-wal").exists());
    let copy = killed(&path, folder.path(), &[""]);
    assert_eq!(parts(&Sqlite::open(&copy).unwrap(), "a"), 3);
}

/// Case F40.
#[test]
fn an_executor_may_end_with_calls_in_flight() {
    let (_folder, path) = place();
    for round in 0..20 {
        let store = Arc::new(Sqlite::open(&path).unwrap());
        let id = |nth| format!("{round}-{nth}");
        let mut flights: Vec<_> = (0..32)
            .map(|nth| {
                let (store, id) = (Arc::clone(&store), id(nth));
                Box::pin(async move {
                    store.commit(vec![commit_of(whole(&id))]).await;
                    let _ = store.get(vec![Ask::new(Tenant::default()).record(key(NOTE, &id))]).await;
                })
            })
            .collect();
        drop(store);
        for flight in &mut flights {
            assert!(flight.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        // The last handles go with their calls, on another thread, while the writer works.
        thread::spawn(move || drop(flights)).join().unwrap();
        let store = Sqlite::open(&path).unwrap();
        for nth in 0..32 {
            assert!([0, 3].contains(&parts(&store, &id(nth))), "{} is half there", id(nth));
        }
    }
}

/// Case F50.
#[test]
fn time_does_not_go_back_when_the_store_is_opened_with_an_earlier_clock() {
    let (_folder, path) = place();
    let at = |text: &str| Arc::new(ManualClock::at(text.parse().unwrap()));
    let store = Sqlite::options(&path).clock(at("2106-02-07T06:28:16Z")).open().unwrap();
    let first = done(&store, whole("a")).recorded_at;
    drop(store);
    for earlier in ["1970-01-01T00:00:00Z", "2038-01-19T03:14:07Z", "1677-09-22T00:00:00Z"] {
        let store = Sqlite::options(&path).clock(at(earlier)).open().unwrap();
        assert_eq!(get(&store, Ask::new(Tenant::default())).unwrap().now, first);
        assert_eq!(done(&store, whole(earlier)).recorded_at, first);
    }
    let store = Sqlite::options(&path).clock(at("2262-04-11T00:00:00Z")).open().unwrap();
    assert!(done(&store, whole("z")).recorded_at > first);
}

/// A clock that stops whoever reads it.
#[derive(Default)]
struct Trap {
    is_shut: Mutex<bool>,
    opened: Condvar,
    asked: AtomicU64,
}

impl Clock for Trap {
    fn now(&self) -> Timestamp {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let _open = self.opened.wait_while(self.is_shut.lock().unwrap(), |is_shut| *is_shut).unwrap();
        SystemClock.now()
    }
}

#[test]
fn a_full_queue_is_overloaded_at_once_and_executes_nothing() {
    let (_folder, path) = place();
    let trap = Arc::new(Trap::default());
    let limits = StoreLimits { queue_max: 3, ..StoreLimits::default() };
    let store = Sqlite::options(&path).clock(Arc::clone(&trap) as _).limits(limits).open().unwrap();
    *trap.is_shut.lock().unwrap() = true;
    // A call waits in the queue when it has been asked once.
    let asked = |ids: &[&str]| {
        let mut call = store.commit(ids.iter().map(|id| commit_of(whole(id))).collect());
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        call
    };
    let before = trap.asked.load(Ordering::SeqCst);
    let held = asked(&["held"]);
    // The one that writes has taken it, and asks for the time.
    while trap.asked.load(Ordering::SeqCst) == before {
        thread::yield_now();
    }
    let waiting = asked(&["a", "b"]);
    let refused = block_on(store.commit(vec![commit_of(whole("c")), commit_of(whole("d"))]));
    for result in &refused {
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert!(error.to_string().contains("2 changes are waiting, 2 more asked; at most 3 may"), "{error}");
    }
    *trap.is_shut.lock().unwrap() = false;
    trap.opened.notify_all();
    for flight in [held, waiting] {
        assert!(block_on(flight).iter().all(|result| matches!(result, Ok(Outcome::Done(_)))));
    }
    let there: Vec<usize> = ["held", "a", "b", "c", "d"].iter().map(|id| parts(&store, id)).collect();
    assert_eq!(there, [3, 3, 3, 0, 0]);
}
