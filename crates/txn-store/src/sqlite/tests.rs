//! What can only be seen from inside: faults below the store, what was set at opening, and which indexes are used.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use pollster::block_on;
use tempfile::TempDir;
use txn_change::{Body, Change, ChangeId, Fingerprint, Key, Kind, Tenant};

use super::*;

/// What happens at the next commit of a store.
#[derive(Default)]
pub(super) struct Faults {
    next: Mutex<Option<Fault>>,
    forgets: AtomicBool,
}

#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// The medium fails, and SQLite says so.
    Flush,
    /// The writer panics.
    Panic,
    /// The medium fails, and has lost what was committed before.
    Amnesia,
}

impl Faults {
    pub(super) fn set(&self, fault: Fault) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    pub(super) fn strike(&self) -> rusqlite::Result<()> {
        let fault = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        match fault {
            None => Ok(()),
            Some(fault @ (Fault::Flush | Fault::Amnesia)) => {
                self.forgets.store(matches!(fault, Fault::Amnesia), Ordering::SeqCst);
                let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
                Err(rusqlite::Error::SqliteFailure(error, Some("disk I/O error".into())))
            }
            Some(Fault::Panic) => panic!("as the test asked"),
        }
    }

    pub(super) fn lose(&self, connection: &rusqlite::Connection) {
        if self.forgets.load(Ordering::SeqCst) {
            connection.execute_batch("DELETE FROM link; DELETE FROM change").unwrap();
        }
    }
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

fn key(id: &str) -> Key {
    Key::of(Kind::new("note").unwrap()).text(id).unwrap().build()
}

fn write(id: &str) -> Commit {
    let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("test", id.as_bytes()));
    let body = Body::raw("note", 1, b"{}".to_vec());
    Commit { tenant: Tenant::default(), change: change.insert(key(id), body, vec![]) }
}

fn commit(store: &Sqlite, id: &str) -> Result<Outcome, Error> {
    block_on(store.commit(vec![write(id)])).pop().unwrap()
}

fn has(store: &Sqlite, id: &str) -> bool {
    let ask = Ask::new(Tenant::default()).record(key(id));
    block_on(store.get(vec![ask])).unwrap()[0].records[0].is_some()
}

/// Whoever was under way is told that nobody knows; then the store opens its file again by itself and goes on.
#[test]
fn after_a_lost_commit_the_outcome_is_unknown_and_the_store_recovers_by_itself() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    assert!(matches!(commit(&store, "before"), Ok(Outcome::Done(_))));
    store.shared.faults.set(Fault::Flush);
    let results = block_on(store.commit(vec![write("lost"), write("before"), write("also-lost")]));
    for (result, id) in results.into_iter().zip(["lost", "before", "also-lost"]) {
        assert_eq!(result.unwrap(), Outcome::Unknown(ChangeId::new(id).unwrap()));
    }
    assert!(matches!(commit(&store, "later"), Ok(Outcome::Done(_))));
    assert!(block_on(store.health()).is_ok());
    assert!(store.connection().is_ok());
    assert_eq!(["before", "lost", "also-lost", "later"].map(|id| has(&store, id)), [true, false, false, true]);
    assert!(matches!(commit(&store, "lost"), Ok(Outcome::Done(receipt)) if !receipt.replayed));
    assert!(matches!(commit(&store, "before"), Ok(Outcome::Done(receipt)) if receipt.replayed));
}

/// A writer that dies, and a medium that has lost what was acknowledged, are not gone on with.
#[test]
fn a_store_that_cannot_recover_takes_no_more_changes_and_reads_go_on() {
    for fault in [Fault::Panic, Fault::Amnesia] {
        let (_folder, path) = place();
        let store = Sqlite::open(&path).unwrap();
        assert!(matches!(commit(&store, "before"), Ok(Outcome::Done(_))));
        store.shared.faults.set(fault);
        assert!(matches!(commit(&store, "lost"), Ok(Outcome::Unknown(_))));
        let later = loop {
            match commit(&store, "later") {
                // It has not been found out yet.
                Err(error) if error.kind() == ErrorKind::Unavailable => {}
                other => break other,
            }
        };
        assert_eq!(later.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(block_on(store.watch(Position(1_000))).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(block_on(store.health()).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(store.connection().map(drop).unwrap_err().kind(), ErrorKind::Closed);
        assert!(has(&store, "before"), "reads go on");
    }
}

/// What takes the place of a commit that failed must be written, though it says nothing new.
#[test]
fn a_commit_of_nothing_is_a_frame_of_the_log() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    let mut own = open::write_connection(&path, Durability::Full).unwrap();
    let frames = |own: &rusqlite::Connection| {
        own.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1)).unwrap()
    };
    let before = frames(&own);
    open::commit_nothing(&mut own).unwrap();
    assert_eq!(frames(&own), before + 1);
    assert!(matches!(commit(&store, "after"), Ok(Outcome::Done(_))));
}

/// Case F29.
#[test]
fn full_synchronisation_is_asserted_at_opening() {
    let (_folder, path) = place();
    for (durability, number) in [(Durability::Full, 2), (Durability::Process, 1)] {
        let opened = open::open(&path, durability, None).unwrap();
        let pragma = |name| opened.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("synchronous"), number);
        assert_eq!(pragma("application_id"), i64::from(sql::APPLICATION_ID));
        let mode = opened.connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        assert_eq!(mode.unwrap(), "wal");
    }
}

/// A statement that scans a table is fast in every test and slow in every year.
#[test]
fn every_statement_but_those_of_an_export_uses_an_index() {
    let (_folder, path) = place();
    let opened = open::open(&path, Durability::Full, None).unwrap();
    let statements = [
        sql::TENANT_BY_NAME,
        sql::TENANT_BY_NUMBER,
        sql::CLASS_BY_NUMBER,
        sql::COUNTER_BY_NUMBER,
        sql::LAST_NUMBERS,
        sql::LAST_TIME,
        sql::HEAD,
        sql::HEALTH,
        sql::HAS_LINK,
        sql::UPDATE_RECORD,
        sql::DELETE_RECORD,
        sql::DELETE_TERM,
        sql::UPDATE_LANES,
        sql::UPDATE_COUNTER,
        sql::LOAD_CHANGES,
        sql::LOAD_RECORD_HEADS,
        sql::LOAD_RECORDS,
        sql::LOAD_COUNTERS,
        sql::LOAD_FACT_IDS,
        sql::LOAD_FACTS,
        sql::LOAD_FENCES,
        sql::READ_LOG,
        sql::PURGED,
        sql::ANSWERS_BEHIND,
        sql::GROUPS_BEHIND,
        sql::EVENTS_BETWEEN,
        sql::FACT_BETWEEN,
        sql::DELETE_EVENT,
        sql::DELETE_EVENT_TERM,
        sql::FIND_RECORDS,
        sql::FIND_COUNTERS,
        sql::FIND_BY_TERM,
        sql::FIND_EVENTS,
        sql::FIND_ENDS,
        sql::FIND_INDEXED,
        sql::ENTRY_BY_NUMBER,
        sql::FIND_CHANGES,
    ];
    for text in statements {
        let mut plan = opened.connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let mut rows = plan.raw_query();
        while let Some(row) = rows.next().unwrap() {
            let step: String = row.get(3).unwrap();
            // The array is a scan by nature; the last time is the first row of a backward scan.
            let is_bounded =
                step.starts_with("SCAN k VIRTUAL") || step == "SCAN CONSTANT ROW" || text == sql::LAST_TIME;
            assert!(is_bounded || !step.starts_with("SCAN"), "{text}\n{step}");
            assert!(!step.contains("TEMP B-TREE"), "{text}\n{step}");
        }
    }
}

/// One file has one lock, however it is named.
#[test]
fn a_store_named_by_a_link_is_the_same_store() {
    let (folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    assert_eq!(store.shared.path.file_name(), Some("store.db".as_ref()));
    let roundabout = folder.path().join("..").join(folder.path().file_name().unwrap()).join("store.db");
    assert_eq!(Sqlite::open(roundabout).map(drop).unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(Sqlite::open(Path::new("/")).map(drop).unwrap_err().kind(), ErrorKind::Unavailable);
}
