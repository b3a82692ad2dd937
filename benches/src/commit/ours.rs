//! The stores, driven by concurrent callers.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use tokio::runtime::Runtime;
use txn_bench::{
    callers::drive,
    ledger::{self, Means, Work},
};
use txn_store::{Store, memory::Memory, sqlite::Sqlite};

/// What a run took.
pub(super) struct Ran {
    pub(super) time: Duration,
    /// Groups of changes that were committed together; 0 when all were refused.
    pub(super) groups: usize,
}

pub(super) fn sqlite(runtime: &Runtime, parent: &Path, callers: usize, work: Vec<Work>, means: Means) -> Ran {
    let folder = tempfile::tempdir_in(parent).expect("the folder can be written to");
    let store = Sqlite::open(folder.path().join("bench.db")).expect("a new file opens");
    run(runtime, Arc::new(store), callers, work, means)
}

pub(super) fn memory(runtime: &Runtime, callers: usize, work: Vec<Work>, means: Means) -> Ran {
    run(runtime, Arc::new(Memory::new()), callers, work, means)
}

pub(super) fn run(runtime: &Runtime, store: Arc<dyn Store>, callers: usize, work: Vec<Work>, means: Means) -> Ran {
    runtime.block_on(ledger::open_accounts(&*store));
    let (time, receipts) =
        drive(runtime, callers, work, move |work| ledger::commit(Arc::clone(&store), work.change, means));
    let instants: HashSet<_> = receipts.iter().flatten().map(|receipt| receipt.recorded_at).collect();
    Ran { time, groups: instants.len() }
}
