//! On SQLite: the host's tables stand in the store's file, and the host writes over a connection of its own.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pollster::block_on;
use rusqlite::{Connection, TransactionBehavior};
use tempfile::TempDir;
use txn_change::{Invalid, Refusal};
use txn_store::{ErrorKind, ManualClock, sqlite::Sqlite};

use super::*;

fn open() -> (TempDir, Sqlite, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path().join("store.db")).unwrap();
    let host = store.connection().unwrap();
    host.execute_batch("CREATE TABLE app_visits(visitor TEXT NOT NULL)").unwrap();
    (folder, store, host)
}

const VISIT: &str = "INSERT INTO app_visits VALUES ('ann')";

fn visits(host: &Connection) -> i64 {
    host.query_row("SELECT count(*) FROM app_visits", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_hosts_row_and_a_change_are_committed_together_or_not_at_all() {
    let (_folder, store, mut host) = open();
    for (id, is_committed) in [("a", true), ("b", false), ("c", true)] {
        let before = (visits(&host), block_on(sum(&store, "all")));
        let tx = store.begin(&mut host).unwrap();
        tx.execute(VISIT, []).unwrap();
        let pending = pending(store.commit_in(&tx, &tenant(), &whole(id)).unwrap());
        assert!(!pending.is_replayed() && *pending.answer() == body());
        assert_eq!((block_on(parts(&store, id)), block_on(facts(&store)).contains(&id.to_owned())), (0, false));
        if is_committed {
            tx.commit().unwrap();
            let receipt = store.committed(pending);
            assert!(!receipt.replayed && receipt.head == block_on(store.health()).unwrap().chain);
        } else {
            tx.rollback().unwrap();
        }
        let more = i64::from(is_committed);
        assert_eq!(block_on(parts(&store, id)), if is_committed { 3 } else { 0 });
        assert_eq!(visits(&host), before.0 + more);
        // The writer goes on from what the host has left.
        done_between(&store, &format!("{id}-ordinary"));
        assert_eq!(block_on(sum(&store, "all")), before.1 + i128::from(more) + 1);
    }
    assert_eq!(block_on(facts(&store)), ["a", "a-ordinary", "b-ordinary", "c", "c-ordinary"]);
    assert_eq!(block_on(prove(&store)), 5);
}

fn done_between(store: &Sqlite, id: &str) {
    block_on(done(store, whole(id)));
}

#[test]
fn an_id_is_answered_with_its_first_answer_wherever_it_was_committed() {
    let (_folder, store, mut host) = open();
    done_between(&store, "ordinary");
    let tx = store.begin(&mut host).unwrap();
    let first = pending(store.commit_in(&tx, &tenant(), &whole("a")).unwrap());
    let again = pending(store.commit_in(&tx, &tenant(), &whole("a")).unwrap());
    assert!(!first.is_replayed() && again.is_replayed() && again.recorded_at() == first.recorded_at());
    assert!(pending(store.commit_in(&tx, &tenant(), &whole("ordinary")).unwrap()).is_replayed());
    let reused = Change { fingerprint: Fingerprint::of_bytes("test", b"other"), ..whole("a") };
    let refused = store.commit_in(&tx, &tenant(), &reused).unwrap();
    assert!(matches!(refused, Tentative::Refused(Refusal::KeyReused { .. })), "{refused:?}");
    tx.commit().unwrap();
    let Outcome::Done(receipt) = block_on(commit(&store, whole("a"))) else { panic!("refused") };
    assert!(receipt.replayed && receipt.recorded_at == first.recorded_at());
    assert_eq!((block_on(sum(&store, "all")), block_on(prove(&store))), (2, 2));
}

#[test]
fn a_refusal_writes_nothing_and_the_transaction_goes_on() {
    let (_folder, store, mut host) = open();
    let tx = store.begin(&mut host).unwrap();
    tx.execute(VISIT, []).unwrap();
    assert!(is_refused(&store.commit_in(&tx, &tenant(), &change("below").add(add("all", -1))).unwrap()));
    assert!(is_refused(&store.commit_in(&tx, &tenant(), &whole("none").remove(note("none-there"), 1)).unwrap()));
    let reserved = Key::of(Kind::reserved("ledger")).number(1).build();
    let refused = store.commit_in(&tx, &tenant(), &change("ours").insert(reserved, body(), vec![])).unwrap();
    assert!(matches!(refused, Tentative::Refused(Refusal::Invalid(Invalid::Reserved { .. }))), "{refused:?}");
    let pending = pending(store.commit_in(&tx, &tenant(), &whole("a")).unwrap());
    assert!(is_refused(&store.commit_in(&tx, &tenant(), &change("later").add(add("all", -2))).unwrap()));
    tx.commit().unwrap();
    store.committed(pending);
    assert_eq!((visits(&host), block_on(parts(&store, "a")), block_on(parts(&store, "none"))), (1, 3, 0));
    assert_eq!((block_on(sum(&store, "all")), block_on(prove(&store))), (1, 1));
}

#[test]
fn a_connection_or_a_transaction_that_will_not_do_is_refused_by_kind() {
    let (folder, store, mut host) = open();
    let kind = |tx: &rusqlite::Transaction<'_>| store.commit_in(tx, &tenant(), &whole("a")).unwrap_err().kind();
    let path = folder.path().join("store.db");
    let mut bare = Connection::open(&path).unwrap();
    assert_eq!(kind(&bare.transaction_with_behavior(TransactionBehavior::Immediate).unwrap()), ErrorKind::Invalid);
    let mut elsewhere = Connection::open(folder.path().join("other.db")).unwrap();
    assert_eq!(kind(&elsewhere.transaction().unwrap()), ErrorKind::Invalid);
    let mut in_memory = Connection::open_in_memory().unwrap();
    assert_eq!(kind(&in_memory.transaction().unwrap()), ErrorKind::Invalid);
    host.pragma_update(None, "synchronous", "OFF").unwrap();
    assert_eq!(kind(&store.begin(&mut host).unwrap()), ErrorKind::Invalid);

    let mut host = store.connection().unwrap();
    let read = |tx: &rusqlite::Transaction<'_>| visits(tx);
    // Begun to read, and nobody has written since: it becomes one that writes.
    let tx = host.transaction().unwrap();
    read(&tx);
    is_written(store.commit_in(&tx, &tenant(), &whole("upgraded")).unwrap());
    tx.commit().unwrap();
    // Begun to read, and somebody has.
    let tx = host.transaction().unwrap();
    read(&tx);
    done_between(&store, "between");
    let error = store.commit_in(&tx, &tenant(), &whole("late")).unwrap_err();
    assert!(error.kind() == ErrorKind::Contended && error.is_retryable(), "{error}");
    drop(tx);
    let tx = store.begin(&mut host).unwrap();
    is_written(store.commit_in(&tx, &tenant(), &whole("late")).unwrap());
    tx.commit().unwrap();
    assert_eq!(block_on(prove(&store)), 3);
}

/// Case F30. SQLite lets one write at a time and has no queue: a writer that is never idle would be first each time, and a host never.
#[test]
fn hosts_beside_a_storm_of_ordinary_commits_lose_nothing_and_get_their_turn() {
    let (_folder, store, host) = open();
    drop(host);
    let store = Arc::new(store);
    let each = 60;
    thread::scope(|scope| {
        for caller in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for step in 0..each {
                    let name = format!("{}", step % 3);
                    let change = whole(&format!("o-{caller}-{step}")).add(add(&name, 1));
                    block_on(done(&**store, change));
                }
            });
        }
        for caller in 0..2 {
            let store = &store;
            scope.spawn(move || {
                let mut host = store.connection().unwrap();
                for step in 0..each {
                    let tx = store.begin(&mut host).unwrap();
                    tx.execute(VISIT, []).unwrap();
                    let name = format!("{}", step % 3);
                    let change = whole(&format!("h-{caller}-{step}")).add(add(&name, 1));
                    let pending = pending(store.commit_in(&tx, &tenant(), &change).unwrap());
                    // Every third thinks better of it.
                    if step % 3 == 0 {
                        tx.rollback().unwrap();
                    } else {
                        tx.commit().unwrap();
                        store.committed(pending);
                    }
                }
            });
        }
    });
    let committed = 4 * 60 + 2 * 40;
    assert_eq!(visits(&store.connection().unwrap()), 2 * 40);
    assert_eq!(block_on(sum(&*store, "all")), committed);
    let sums: Vec<i128> = (0..3).map(|name| block_on(sum(&*store, &name.to_string()))).collect();
    assert_eq!(sums, [80, 80 + 40, 80 + 40]);
    assert_eq!(block_on(prove(&*store)), usize::try_from(committed).unwrap());
    assert_eq!(block_on(facts(&*store)).len(), usize::try_from(committed).unwrap());
}

/// The host's commit is made by no thread of the store.
#[test]
fn who_watches_is_woken_whether_the_host_says_that_it_has_committed_or_not() {
    let (_folder, store, mut host) = open();
    let store = Arc::new(store);
    for (round, is_told) in [(1, true), (2, false), (3, true), (4, false)] {
        let watcher = Arc::clone(&store);
        let watching = thread::spawn(move || block_on(watcher.watch(Position(round - 1))).unwrap());
        thread::sleep(Duration::from_millis(20));
        let tx = store.begin(&mut host).unwrap();
        let pending = pending(store.commit_in(&tx, &tenant(), &whole(&round.to_string())).unwrap());
        thread::sleep(Duration::from_millis(250));
        assert!(!watching.is_finished(), "woken before the commit");
        tx.commit().unwrap();
        let committed = Instant::now();
        if is_told {
            store.committed(pending);
        }
        while !watching.is_finished() {
            assert!(committed.elapsed() < Duration::from_secs(60), "left asleep");
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(watching.join().unwrap(), Position(round));
    }
}

/// A change judged while the host waited would be recorded at a time before that of a commit it builds on.
#[test]
fn times_do_not_go_back_when_a_host_keeps_the_writer_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
    let store = Sqlite::options(folder.path().join("store.db")).clock(Arc::clone(&clock) as _).open().unwrap();
    let mut host = store.connection().unwrap();
    let tx = store.begin(&mut host).unwrap();
    thread::scope(|scope| {
        let ordinary = scope.spawn(|| block_on(commit(&store, whole("ordinary"))));
        thread::sleep(Duration::from_millis(100));
        clock.advance(Duration::from_secs(60));
        let by_host = pending(store.commit_in(&tx, &tenant(), &whole("host")).unwrap()).recorded_at();
        tx.commit().unwrap();
        let Outcome::Done(receipt) = ordinary.join().unwrap() else { panic!("refused") };
        assert!(receipt.recorded_at >= by_host);
    });
}

#[test]
fn a_closed_store_is_opened_again_after_hosts_have_written() {
    let (folder, store, mut host) = open();
    done_between(&store, "ordinary");
    let tx = store.begin(&mut host).unwrap();
    let pending = pending(store.commit_in(&tx, &tenant(), &whole("host")).unwrap());
    tx.commit().unwrap();
    let receipt = store.committed(pending);
    drop((store, host));
    let store = Sqlite::open(Path::new(&folder.path().join("store.db"))).unwrap();
    assert_eq!(block_on(store.health()).unwrap().chain, receipt.head);
    assert_eq!((block_on(parts(&store, "host")), block_on(prove(&store))), (3, 2));
}
