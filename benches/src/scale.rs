//! The area `scale`: whether a store that has grown is as fast as a new one, and its process as small.
//!
//! The load is what a bulk loader would send: [`TASKS`] tasks, each with a batch of [`BATCH`] changes in one call, and the next when that is answered. Changes are made as they are sent, so that the
//! process holds no more of them than are under way.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use txn_bench::{
    callers,
    ledger::{self, Transfers},
};
use txn_change::Tenant;
use txn_store::{Commit, Outcome, Store, StoreAdmin, postgres::Postgres, sqlite::Sqlite};

use crate::{
    medium,
    postgres::{OURS, check, server::Server},
    report::{Measurement, RATE},
};

/// Tasks that commit at once.
const TASKS: u64 = 8;
/// Changes in a call.
const BATCH: u64 = 256;
/// The first and the last of so many parts are compared.
const WINDOWS: u64 = 50;
/// So often is progress told.
const STEPS: u64 = 10;

/// How much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) changes: u64,
    pub(crate) accounts: u64,
}

/// The defaults.
pub(crate) const FULL: Size = Size { changes: 5_000_000, accounts: 100_000 };

/// On a fresh file.
pub(crate) fn sqlite(size: Size, medium: &medium::Medium) -> Result<Vec<Measurement>, String> {
    let folder = tempfile::tempdir_in(&medium.folder).map_err(|error| error.to_string())?;
    eprintln!("on {} ({})", folder.path().display(), medium.name);
    let store = Sqlite::open(folder.path().join("bench.db")).map_err(|error| error.to_string())?;
    run("sqlite", callers::runtime(), Arc::new(store), size)
}

/// In a fresh schema; what it holds is checked at the end.
pub(crate) fn postgres(size: Size, url: &str) -> Result<Vec<Measurement>, String> {
    let runtime = callers::runtime();
    let said = |error: sqlx::Error| error.to_string();
    let server = runtime.block_on(Server::reach(url))?;
    eprintln!("on {}", server.name);
    runtime.block_on(server.fresh(OURS)).map_err(said)?;
    let open = async { Postgres::options(url)?.schema(OURS).open().await };
    let store = runtime.block_on(open).map_err(|error| error.to_string())?;
    let measured = run("postgres", runtime, Arc::new(store), size)?;
    let transfers = usize::try_from(size.changes).map_err(|error| error.to_string())?;
    let runtime = callers::runtime();
    eprintln!("checking");
    runtime.block_on(check::is_sound(&server, OURS, transfers))?;
    runtime.block_on(server.clear(OURS)).map_err(said)?;
    Ok(measured)
}

fn run(
    name: &str,
    runtime: tokio::runtime::Runtime,
    store: Arc<dyn StoreAdmin>,
    size: Size,
) -> Result<Vec<Measurement>, String> {
    let Size { changes, accounts } = size;
    eprintln!("opening {accounts} accounts");
    let shared: Arc<dyn Store> = Arc::clone(&store) as _;
    let openings = runtime.block_on(ledger::open(&*shared, accounts));
    eprintln!("committing {changes} changes: {TASKS} tasks with batches of {BATCH}");
    let progress = Arc::new(Progress::new(changes));
    let next = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let tasks: Vec<_> = (1..=TASKS)
            .map(|seed| {
                let transfers = Transfers { accounts, ..Transfers::of(seed) };
                tokio::spawn(load(Arc::clone(&shared), transfers, Arc::clone(&next), Arc::clone(&progress)))
            })
            .collect();
        for task in tasks {
            task.await.expect("a task panicked");
        }
    });
    let health = runtime.block_on(store.health()).map_err(|error| error.to_string())?;
    if health.commits != openings + changes {
        return Err(format!("the store has {} commits instead of {}", health.commits, openings + changes));
    }
    drop((shared, store));
    // Its tasks end with what they have in hand.
    drop(runtime);
    Ok(progress.measurements(name))
}

/// Commits batches until so many changes are handed out.
async fn load(store: Arc<dyn Store>, transfers: Transfers, next: Arc<AtomicU64>, progress: Arc<Progress>) {
    let mut transfers = transfers.iter();
    loop {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        let Some(left) = progress.changes.checked_sub(first).filter(|left| *left > 0) else { return };
        let count = usize::try_from(left.min(BATCH)).expect("a batch is short");
        let changes = transfers.by_ref().take(count).map(|work| work.change);
        let batch: Vec<Commit> = changes.map(|change| Commit { tenant: Tenant::default(), change }).collect();
        let results = store.commit(batch).await;
        let is_done = |result: &Result<Outcome, _>| matches!(result, Ok(Outcome::Done(receipt)) if !receipt.replayed);
        if let Some(other) = results.iter().find(|result| !is_done(result)) {
            unreachable!("a change that should be accepted ended with {other:?}");
        }
        progress.add(results.len() as u64);
    }
}

/// When each part was done, and how large the process was then.
struct Progress {
    changes: u64,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done: u64,
    /// When each window was full.
    windows: Vec<Duration>,
    /// MiB at each step.
    sizes: Vec<f64>,
}

impl Progress {
    fn new(changes: u64) -> Self {
        Self { changes, began: Instant::now(), state: Mutex::default() }
    }

    fn add(&self, count: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += count;
        let now = self.began.elapsed();
        while state.done * WINDOWS >= self.changes * (state.windows.len() as u64 + 1) {
            state.windows.push(now);
        }
        while state.done * STEPS >= self.changes * (state.sizes.len() as u64 + 1) {
            let size = resident_mib();
            state.sizes.push(size);
            let rate = state.done as f64 / now.as_secs_f64();
            eprintln!(
                "{:>9} changes  {:>7.1} s  {rate:>7.0} changes/s so far  {size:>6.1} MiB",
                state.done,
                now.as_secs_f64()
            );
        }
    }

    fn measurements(&self, store: &str) -> Vec<Measurement> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let windows = &state.windows;
        let in_window = self.changes as f64 / WINDOWS as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / in_window;
        let (first, last) = (windows[0], windows[windows.len() - 1]);
        let one = |what: &str, unit, ours, peer: Option<(&'static str, f64)>| Measurement {
            name: format!("scale.{store}.{what}"),
            unit,
            ours: vec![ours],
            peer: peer.map(|(name, value)| (name, vec![value])),
        };
        let last_window = micros(last - windows[windows.len() - 2]);
        let sizes = &state.sizes;
        let largest = sizes.iter().copied().fold(f64::NAN, f64::max);
        vec![
            one("last", "µs/change", last_window, Some(("the first fiftieth", micros(first)))),
            one("memory", "MiB", largest, Some(("after a tenth", sizes[0]))),
            one("all", RATE, self.changes as f64 / last.as_secs_f64(), None),
        ]
    }
}

/// What the process holds in memory, as Linux tells it; elsewhere it is not known.
pub(crate) fn resident_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_load_has_its_windows_and_its_sizes() {
        let folder = tempfile::tempdir().unwrap();
        let medium = medium::Medium { folder: folder.path().into(), name: String::new() };
        let measured = sqlite(Size { changes: 20_000, accounts: 100 }, &medium).unwrap();
        let names: Vec<&str> = measured.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["scale.sqlite.last", "scale.sqlite.memory", "scale.sqlite.all"]);
        assert!(measured.iter().all(|m| m.ours[0] > 0.0));
    }
}
