//! The suite that every backend passes, in this crate or in another: a constructor in, named scenarios out.
//!
//! A backend says through [`Backend`] how a store is made; each [`Scenario`] makes its own and holds it against one promise of [`Store`](crate::Store) or
//! [`StoreAdmin`](crate::StoreAdmin). The suite needs no runtime: its threads run futures with [`block_on`], or with what [`Backend::run`] says. It is no
//! benchmark, and it injects no faults.
//!
//! In a backend's own tests:
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! use std::sync::Arc;
//! use async_trait::async_trait;
//! use txn_store::conformance::{block_on, run, scenarios, Backend, Harness};
//! use txn_store::{memory::Memory, Clock, Error, StoreAdmin, StoreLimits};
//!
//! struct InMemory;
//!
//! #[async_trait]
//! impl Backend for InMemory {
//!     async fn open(&self, _: &str, clock: Arc<dyn Clock>, limits: StoreLimits) -> Result<Arc<dyn StoreAdmin>, Error> {
//!         Ok(Arc::new(Memory::with(clock, limits)))
//!     }
//! }
//!
//! let harness = Harness::new(InMemory);
//! // All of them: `run_all(&harness)`. Here only one, and each line as it comes.
//! let some = scenarios().into_iter().filter(|scenario| scenario.name == "asking_twice_answers_again");
//! let report = block_on(run(&harness, some, |line| println!("{line}")));
//! assert!(report.is_passed(), "{report}");
//! # }
//! ```

mod harness;
mod sample;
mod subject;

mod admin;
mod cancel;
mod chain;
mod commit;
mod counters;
mod cursors;
mod durable;
mod entries;
mod erase;
mod extremes;
mod facts;
mod find;
mod follow;
mod guards;
pub mod isolation;
mod limits;
mod log;
mod purge;
mod races;
mod replay;
mod resolve;
mod snapshots;
mod tenants;
mod time;
mod versions;

pub use harness::{Backend, Capabilities, Harness};
pub use txn_suite::{Drops, Failure, Line, Report, Verdict, block_on};

use std::{fmt, time::Instant};

use futures_util::future::BoxFuture;
use txn_suite::within;

use crate::error::Error;

/// One promise, and how it is tested.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// The promise as a sentence in snake case; unique in the suite.
    pub name: &'static str,
    /// What the backend must claim for the scenario to be run.
    pub needs: Needs,
    run: fn(&Harness) -> BoxFuture<'_, Result<(), Failure>>,
}

/// What a scenario needs beyond the contract that holds for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// [`Capabilities::durable`].
    Durability,
}

impl Scenario {
    /// Runs it on stores of its own.
    ///
    /// # Errors
    /// [`Failure`], with what was expected and what was found.
    pub async fn run(&self, harness: &Harness) -> Result<(), Failure> {
        within(120, "the scenario", (self.run)(harness)).await?
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// Lists async functions as scenarios of their own names.
macro_rules! named {
    ($needs:ident: $($name:ident),+ $(,)?) => {
        &[$($crate::conformance::Scenario {
            name: stringify!($name),
            needs: $crate::conformance::Needs::$needs,
            run: |harness| Box::pin($name(harness)),
        }),+]
    };
}
use named;

/// All scenarios, in the order of the contract.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let all: [&[Scenario]; 29] = [
        commit::ALL,
        replay::ALL,
        resolve::ALL,
        versions::ALL,
        races::ALL,
        isolation::ALL,
        counters::ALL,
        guards::ALL,
        facts::ALL,
        entries::ALL,
        find::ALL,
        cursors::ALL,
        log::ALL,
        follow::ALL,
        chain::ALL,
        tenants::ALL,
        limits::ALL,
        limits::CHANGE,
        snapshots::ALL,
        time::ALL,
        extremes::ALL,
        cancel::ALL,
        admin::ALL,
        erase::ALL,
        purge::ALL,
        cancel::DURABLE,
        durable::ALL,
        purge::DURABLE,
        chain::DURABLE,
    ];
    all.concat()
}

/// Runs every scenario, one after another, and goes on after a failure.
pub async fn run_all(harness: &Harness) -> Report {
    run(harness, scenarios(), |_| ()).await
}

/// Runs these scenarios, and shows each line as soon as it is known: in a test, `|line| println!("{line}")`.
pub async fn run(
    harness: &Harness,
    scenarios: impl IntoIterator<Item = Scenario>,
    mut show: impl FnMut(&Line),
) -> Report {
    let mut report = Report::default();
    for scenario in scenarios {
        let started = Instant::now();
        let verdict = match scenario.needs {
            Needs::Durability if !harness.capabilities().durable => Verdict::NotClaimed,
            _ => scenario.run(harness).await.map_or_else(Verdict::Failed, |()| Verdict::Passed),
        };
        let line = Line { name: scenario.name, verdict, took: started.elapsed() };
        show(&line);
        report.lines.push(line);
    }
    report
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::unexpected(&error)
    }
}
