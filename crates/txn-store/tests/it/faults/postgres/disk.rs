//! A medium that fails below the server itself: its log cannot be flushed or written, its tables cannot grow or be read. `strace` makes the server's own system calls fail, each of its processes by itself.

use std::{fs, sync::Arc, time::Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use txn_store::{
    Ask, Store as _, StoreAdmin,
    conformance::block_on,
    faults::{Ran, Workload},
};

use super::{Scene, own::Own};
use crate::{
    faults::{PATIENCE, hit, is_alive, is_whole, rounds},
    postgres::server::RUNTIME,
};

/// Of PostgreSQL 16 and newer, a table grows by the last two.
const WRITES: &str = "pwrite64,pwritev,fallocate";

/// A server, a store on it, and a workload that is never over by itself.
struct Disk {
    own: Own,
    scene: Scene,
    store: Arc<dyn StoreAdmin>,
}

impl Disk {
    /// With some changes that are there.
    fn new(seed: u64) -> Self {
        let own = Own::start();
        let workload = Workload { seed, changes: u64::MAX, workers: 4, ..Workload::default() };
        let scene = Scene::at(own.url(), workload);
        let store = scene.open();
        let disk = Self { own, scene, store };
        let ran = disk.scene.run(&disk.store, &|ran| ran.done > 20);
        assert_eq!((ran.unknown, ran.failed, ran.given_up), (0, 0, 0), "{ran:?}");
        disk
    }

    /// Runs the workload on a server whose calls on these files fail, until this is so; gives what it came to, how often a call failed, and what the server said meanwhile. Then the medium is whole again, the server has recovered,
    /// everything that was acknowledged is there, and the same store goes on.
    fn hurt(
        &mut self,
        files: &[String],
        calls: &str,
        fault: &str,
        is_over: impl Fn(&Self, &Ran) -> bool + Sync,
    ) -> Hurt {
        // Written back whole, so that the recovery needs nothing of the medium that is about to fail.
        self.own.end("-INT");
        let (before, noted) = (self.own.log().len(), self.notes().len());
        self.own.go_on_hurt(files, calls, fault);
        let begun = Instant::now();
        let ran = self.scene.run(&self.store, &|ran| is_over(self, ran) || begun.elapsed() > PATIENCE);
        assert!(
            begun.elapsed() <= PATIENCE,
            "{calls} {fault}: {} hits are too few within {PATIENCE:?}, {ran:?}",
            self.own.hits()
        );
        let hits = self.own.hits();
        self.own.end("-QUIT");
        let said = self.own.log().split_off(before);
        self.own.go_on();
        is_whole(&self.scene.open(), &self.scene.workload, &self.scene.side);
        is_alive(&self.store, &self.scene.workload, &self.scene.side);
        println!("{calls} {fault}: {hits} hits, {ran:?}");
        assert_eq!(ran.given_up, 0, "every change comes to its end: {ran:?}\n{said}");
        Hurt { ran, hits, said, notes: self.notes().split_off(noted) }
    }

    /// Every answer of which nothing was executed, as it was told.
    fn notes(&self) -> Vec<String> {
        let notes = fs::read_to_string(self.scene.side_path()).unwrap();
        let refused = notes.lines().filter_map(|line| line.split_once(" failed "));
        refused.filter(|(_, why)| !why.starts_with("somebody else")).map(|(_, why)| why.to_owned()).collect()
    }

    /// Whether what was written at first is read as it was.
    fn reads(&self) -> bool {
        let ask = Ask::new(Workload::tenant()).stored(Workload::id(0));
        block_on(self.store.get(vec![ask])).is_ok_and(|found| found[0].stored.is_some())
    }

    /// The files of every table of the store, and of every index.
    fn tables(&self) -> Vec<String> {
        let text = format!(
            "SELECT string_agg(pg_relation_filepath(c.oid), ' ') FROM pg_class c \
             WHERE c.relnamespace = '\"{}\"'::regnamespace AND c.relkind IN ('r', 'i')",
            self.scene.schema
        );
        let paths: String = RUNTIME.block_on(async {
            let mut session = PgConnection::connect(&self.scene.url).await.unwrap();
            sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(&mut session).await.unwrap()
        });
        paths.split(' ').map(str::to_owned).collect()
    }
}

/// What a failing medium came to.
struct Hurt {
    ran: Ran,
    hits: u64,
    said: String,
    notes: Vec<String>,
}

impl Hurt {
    /// Whoever was told that nothing was executed may ask again; how many were told this.
    fn told(&self, what: &str) -> u64 {
        for note in &self.notes {
            assert!(["unavailable: ", "overloaded: "].iter().any(|kind| note.starts_with(kind)), "{note}");
        }
        self.notes.iter().filter(|note| note.contains(what)).count() as u64
    }
}

/// The segments of the server's log that it comes to.
fn log_files() -> Vec<String> {
    (1..=64).map(|segment| format!("pg_wal/{:08X}{:08X}{segment:08X}", 1, 0)).collect()
}

fn panics(said: &str) -> u64 {
    said.matches("PANIC:").count() as u64
}

/// A server that cannot flush or write its log stops at once, and recovers; so does one whose disk is full or read-only. Whose COMMIT it was does not know what became of it, and finds out.
///
/// Cases F14, F18, F33.
#[test]
fn a_server_whose_log_fails_loses_nothing_that_was_acknowledged() {
    let mut disk = Disk::new(214);
    let mut told = 0;
    for round in 0.. {
        // A failure that comes to one of the server's own processes may pass between two groups.
        if round >= rounds(1) && (told > 0 || round >= 8) {
            break;
        }
        for (calls, error, times) in [("fsync,fdatasync", "EIO", 2), (WRITES, "ENOSPC", 1), (WRITES, "EROFS", 1)] {
            let fault = format!("error={error}:when={}", 5 + round % 5);
            let before = panics(&disk.own.log());
            let hurt = disk.hurt(&log_files(), calls, &fault, |disk, ran| {
                panics(&disk.own.log()) >= before + times && ran.done > 10
            });
            assert!(hurt.ran.done > 0, "between two failures it works: {:?}", hurt.ran);
            hurt.told("");
            hit(&format!("{error} at the server's log"), hurt.hits);
            hit("a server that stopped for it", panics(&hurt.said));
            told += hurt.ran.unknown + hurt.ran.failed;
        }
    }
    hit("calls that one of these hit", told);
    drop(disk.store);
    disk.scene.end();
}

/// A table or an index that cannot grow is an error of the statement. Nothing was executed and the caller is told so, however healthy its change; reads go on, and as soon as there is room the same sessions commit.
///
/// Cases F18, F24.
#[test]
fn a_server_whose_tables_cannot_grow_says_so_and_goes_on_when_they_can() {
    let mut disk = Disk::new(218);
    for _ in 0..rounds(1) {
        for (error, told) in [("ENOSPC", "SQLSTATE 53100"), ("EROFS", "Read-only file system")] {
            // Each session has room again after some failures.
            let over = |disk: &Disk, ran: &Ran| {
                assert!(disk.reads(), "reads go on");
                disk.own.hits() >= 20 && ran.done > 60
            };
            let tables = disk.tables();
            let hurt = disk.hurt(&tables, WRITES, &format!("error={error}:when=1..8"), over);
            assert_eq!((hurt.ran.unknown, panics(&hurt.said)), (0, 0), "{:?}\n{}", hurt.ran, hurt.said);
            hit(&format!("{error} where a table was to grow"), hurt.hits);
            hit(&format!("a caller who was told {told}"), hurt.told(told));
        }
    }
    drop(disk.store);
    disk.scene.end();
}

/// Case F22.
#[test]
fn a_server_that_cannot_read_its_tables_gives_errors_and_no_empty_answers() {
    let mut disk = Disk::new(222);
    let mut missed = 0;
    for round in 0..rounds(1) {
        let asked = std::sync::atomic::AtomicU64::new(0);
        let over = |disk: &Disk, ran: &Ran| {
            let ask = Ask::new(Workload::tenant()).stored(Workload::id(0));
            match block_on(disk.store.get(vec![ask])) {
                Ok(found) => assert!(found[0].stored.is_some(), "change 0 is there"),
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            }
            disk.own.hits() >= 10 && ran.done > 20
        };
        let tables = disk.tables();
        // Nothing is in the server's memory when it begins.
        let hurt = disk.hurt(&tables, "pread64,preadv", &format!("error=EIO:when={}+3", 1 + round % 3), over);
        assert_eq!((hurt.ran.unknown, panics(&hurt.said)), (0, 0), "{:?}\n{}", hurt.ran, hurt.said);
        hit("EIO at a page", hurt.hits);
        missed += hurt.told("SQLSTATE 58030") + asked.into_inner();
    }
    hit("a caller who was told of it", missed);
    drop(disk.store);
    disk.scene.end();
}
