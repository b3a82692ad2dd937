//! Commits: to memory alone, and to memory and sqlite by 1, 32 and 512 callers. Each caller is a task that commits one change after the other; what is reported is
//! the time per change, over all callers.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    reason = "measurements: rates, and an overflow stops the program, as it should"
)]

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput};
use tokio::runtime::Runtime;
use txn_bench::{
    callers,
    ledger::{self, Means, work},
};
use txn_store::{Store, memory::Memory, sqlite::Sqlite};

const ENDINGS: [(Means, &str); 2] = [(Means::Enough, "accepted"), (Means::TooLittle, "refused")];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = callers::runtime();
    alone(&mut criterion);
    for callers in [1, 32, 512] {
        concurrent(&mut criterion, &runtime, callers, "memory", || Arc::new(Memory::new()));
        let folder = tempfile::tempdir().expect("the temporary folder can be written to");
        let mut number = 0;
        concurrent(&mut criterion, &runtime, callers, "sqlite", || {
            number += 1;
            let path = folder.path().join(format!("{number}.db"));
            Arc::new(Sqlite::open(path).expect("a new file opens"))
        });
    }
    criterion.final_summary();
}

fn number(iterations: u64) -> usize {
    usize::try_from(iterations).expect("as many iterations as fit memory")
}

/// A change with two counters and nothing else, on one thread.
fn alone(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime for one thread");
    let mut group = criterion.benchmark_group("memory-two-counters");
    for (means, ending) in ENDINGS {
        group.bench_function(ending, |b| {
            b.iter_custom(|iterations| {
                let store = Memory::new();
                runtime.block_on(async {
                    ledger::open_accounts(&store).await;
                    ledger::time_two_counters(&store, number(iterations), means).await
                })
            });
        });
    }
    group.finish();
}

fn concurrent(
    criterion: &mut Criterion,
    runtime: &Runtime,
    callers: usize,
    backend: &str,
    mut open: impl FnMut() -> Arc<dyn Store>,
) {
    let mut group = criterion.benchmark_group(format!("{backend}-{callers}-callers"));
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(1));
    for (seed, (means, ending)) in (2..).zip(ENDINGS) {
        let store = open();
        runtime.block_on(ledger::open_accounts(&*store));
        let mut seed = seed << 32;
        group.bench_function(ending, |b| {
            b.iter_custom(|iterations| {
                // Ids of their own for every sample; whole rounds, so that all callers are there to the end.
                seed += 1;
                let rounds = number(iterations).div_ceil(callers);
                let work = work(seed, rounds * callers, means);
                let store = Arc::clone(&store);
                let commit = move |work: ledger::Work| ledger::commit(Arc::clone(&store), work.change, means);
                let (time, _) = black_box(callers::drive(runtime, callers, work, commit));
                time.mul_f64(iterations as f64 / (rounds * callers) as f64)
            });
        });
    }
    group.finish();
}
