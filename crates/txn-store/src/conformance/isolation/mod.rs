//! Isolation: many callers at once, everything they saw written down, and a checker that looks for what no serial order explains.
//!
//! A history is checked as Elle does it (Kingsbury and Alvaro, *Elle: Inferring Isolation Anomalies from Experimental Observations*, 2020,
//! <https://arxiv.org/abs/2003.10554>): every value that is written is unique and goes to the end of a list, so that a reading of a list names those who wrote it in
//! their order, and "stands before" is inferred, not guessed. A cycle is a proof, and is named by what it is made of.
//!
//! [`check`] judges any [`History`]; it knows no store. [`run`] makes one with a store under test: records whose bodies are lists, and counters whose entries are,
//! to which each change adds twice in every other round, so that a reading between the two (G1b) has its name.
//! Every snapshot, every page, every commit is a transaction, and so is every refusal that says at which version or value a row stood: by the contract it has
//! its place in the serial order too. What is promised is strict: what was acknowledged is seen by whatever begins later.
//!
//! It is no proof that a store is right: it finds what its callers ran into, and they must run into one another. It says nothing of events, terms, fences or
//! removed records; other scenarios do. Of a refusal only the row that it names is a reading, not what had passed before it.
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! # use std::sync::Arc;
//! # use async_trait::async_trait;
//! # use txn_store::{memory::Memory, Clock, Error, StoreAdmin, StoreLimits};
//! # use txn_store::conformance::Backend;
//! # struct InMemory;
//! # #[async_trait]
//! # impl Backend for InMemory {
//! #     async fn open(&self, _: &str, clock: Arc<dyn Clock>, limits: StoreLimits) -> Result<Arc<dyn StoreAdmin>, Error> {
//! #         Ok(Arc::new(Memory::with(clock, limits)))
//! #     }
//! # }
//! use txn_store::conformance::{block_on, isolation, Harness};
//!
//! let harness = Harness::new(InMemory); // as for the rest of the suite
//! let options = isolation::Options { seed: 7, transactions: 200, ..isolation::Options::default() };
//! let report = block_on(isolation::run(&harness, options))?;
//! assert!(report.is_clean(), "{report}");
//! # }
//! # Ok::<(), txn_store::conformance::Failure>(())
//! ```

mod anomaly;
mod components;
mod cycles;
mod decision;
mod graph;
mod history;
mod lists;
mod orders;
mod readings;
mod report;
#[cfg(test)]
mod tests;
mod turns;
mod worker;

pub use anomaly::{Anomaly, Kind, Step};
pub use history::{Fate, History, Op, Transaction};
pub use report::{Report, Tally};

use std::sync::{Arc, atomic::AtomicU64};

use futures_util::future::BoxFuture;

use self::{
    turns::Random,
    worker::{Log, Worker},
};
use txn_suite::{Checked, holds};

use super::{Failure, Harness, Scenario, named, subject::Subject};
use crate::limits::StoreLimits;

pub(super) const ALL: &[Scenario] = named![Nothing:
    concurrent_histories_are_strictly_serializable,
    interleaved_histories_are_strictly_serializable,
    histories_of_a_store_without_room_are_strictly_serializable,
];

/// How a history is made.
///
/// ```
/// use txn_store::conformance::isolation::{Options, Schedule};
/// let options = Options { keys: 2, schedule: Schedule::Turns, ..Options::default() };
/// assert_eq!(options.workers, 8);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the callers do is drawn from it.
    pub seed: u64,
    /// Callers at once.
    pub workers: u32,
    /// Steps of all callers together: a reading, or a decision with its commit.
    pub transactions: u32,
    /// Records that are in use at a time, and as many counters; at most 500 are. The fewer there are, the more the callers meet.
    pub keys: u32,
    /// How the callers run.
    pub schedule: Schedule,
}

/// How the callers of a history run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// Each on a thread of its own: nothing says who comes first.
    Threads,
    /// All on one thread, by turns drawn from the seed. With a store whose calls end within one poll, a seed gives the same history every time.
    Turns,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, workers: 8, transactions: 400, keys: 3, schedule: Schedule::Threads }
    }
}

/// Finds what no serial order of a history explains; of each kind only the first few. Empty when there is such an order, as far as the readings tell.
///
/// ```
/// use txn_store::conformance::isolation::{History, Kind, Transaction, check};
/// // Each looks at what the other is about to write.
/// let found = check(&History::of([
///     Transaction::new("a", 1, 3).read("x", &[]).append("y", 1),
///     Transaction::new("b", 2, 4).read("y", &[]).append("x", 2),
///     Transaction::new("end", 5, 6).read("x", &[2]).read("y", &[1]),
/// ]));
/// assert_eq!(found.iter().map(|anomaly| anomaly.kind).collect::<Vec<_>>(), [Kind::WriteSkew]);
/// println!("{}", found[0]);
/// ```
#[must_use]
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut found = anomaly::Found { history, anomalies: Vec::new() };
    let orders = orders::Orders::of(history, &mut found);
    let graph = graph::Graph::of(history, &orders);
    cycles::find_cycles(&graph, &mut found);
    found.anomalies
}

/// Lets callers loose on a fresh store of a backend, and checks what they saw.
///
/// # Errors
/// [`Failure`] when no history comes about: the store fails to answer readings, or gives bodies that nobody wrote.
pub async fn run(harness: &Harness, options: Options) -> Result<Report, Failure> {
    run_on(&harness.fresh().await?, options).await
}

async fn run_on(subject: &Subject, options: Options) -> Checked<Report> {
    let workers = options.workers.max(1);
    let (clock, steps, values) =
        (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(1)));
    let worker = |number: u32| Worker {
        subject: subject.clone(),
        random: Random::of(options.seed, number),
        number,
        keys: options.keys.clamp(1, 500),
        clock: Arc::clone(&clock),
        steps: Arc::clone(&steps),
        values: Arc::clone(&values),
        log: Log::default(),
    };
    let jobs: Vec<BoxFuture<'static, Checked<Log>>> = (0..workers)
        .map(|number| -> BoxFuture<'static, Checked<Log>> {
            let share = options.transactions.div_ceil(workers);
            Box::pin(worker(number).work(share))
        })
        .collect();
    let logs = match options.schedule {
        Schedule::Threads => subject.race(jobs).await?,
        Schedule::Turns => turns::in_turns(jobs, Random::of(options.seed, workers)).await,
    };
    let mut whole = Log::default();
    for log in logs {
        whole.join(log?);
    }
    whole.join(worker(workers).read_everything().await?);
    Ok(Report::of(options, whole))
}

async fn is_serializable(subject: &Subject, options: Options) -> Checked {
    let report = run_on(subject, options).await?;
    holds(format!("no anomaly is in the history\n{report}\n"), report.is_clean())?;
    let Tally { done, refused, .. } = report.tally;
    holds(format!("callers came through, and met ({report})"), done > 0 && refused > 0)
}

/// Case F35.
async fn concurrent_histories_are_strictly_serializable(harness: &Harness) -> Checked {
    for (seed, keys) in [(1, 3), (2, 1)] {
        let options = Options { seed, keys, transactions: 240, ..Options::default() };
        is_serializable(&harness.fresh().await?, options).await?;
    }
    Ok(())
}

async fn interleaved_histories_are_strictly_serializable(harness: &Harness) -> Checked {
    let options = Options { seed: 3, transactions: 300, schedule: Schedule::Turns, ..Options::default() };
    is_serializable(&harness.fresh().await?, options).await
}

async fn histories_of_a_store_without_room_are_strictly_serializable(harness: &Harness) -> Checked {
    // Small groups part what was asked for together, and what finds no room in the queue must not have happened.
    let limits = StoreLimits { group_max: 2, queue_max: 4, ..StoreLimits::default() };
    let options = Options { seed: 4, transactions: 240, ..Options::default() };
    is_serializable(&harness.limited(limits).await?, options).await
}
