//! Stores that are hurt: killed, cut off, starved, lied to. Each test prints how often its fault really hit, and none is no pass.
//!
//! `TXN_SOAK=N` makes every scenario N times as long.

#[cfg(all(feature = "sqlite", feature = "servers"))]
mod child;
#[cfg(feature = "sqlite")]
mod clocks;
#[cfg(all(feature = "sqlite", feature = "servers"))]
mod kill;
#[cfg(all(feature = "sqlite", feature = "servers"))]
mod medium;
#[cfg(feature = "servers")]
mod postgres;
#[cfg(all(feature = "sqlite", feature = "servers"))]
mod starved;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use txn_store::{
    StoreAdmin,
    conformance::block_on,
    faults::{Report, SideFile, Workload, check, revive},
};

/// How long may take what takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many rounds, or as many times more as a long run asks for.
fn rounds(slice: u64) -> u64 {
    let soak = std::env::var("TXN_SOAK").ok();
    slice * soak.map_or(1, |factor| factor.parse::<u64>().expect("TXN_SOAK is a number"))
}

/// Prints how often a fault hit; never is a failure.
fn hit(fault: &str, times: u64) {
    println!("{fault}: {times} times hit");
    assert!(times > 0, "{fault} never hit, so nothing was tested");
}

/// Waits for something to become so.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The store has kept its word.
fn is_whole(store: &Arc<dyn StoreAdmin>, workload: &Workload, side: &SideFile) -> Report {
    let report = block_on(check(store, workload, &side.read().unwrap()));
    assert!(report.violations.is_empty(), "{report:#?}");
    report
}

/// The store works, and ends what was under way.
fn is_alive(store: &Arc<dyn StoreAdmin>, workload: &Workload, side: &SideFile) {
    let report = revive(store, workload, side, PATIENCE).unwrap();
    assert!(report.violations.is_empty(), "{report:#?}");
}
