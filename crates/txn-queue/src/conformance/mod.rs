//! The suite that every backend passes, in this crate or in another: a constructor in, named scenarios out.
//!
//! A backend says through [`Backend`] how a queue is made; each [`Scenario`] makes its own and holds it against one promise of [`Queue`](crate::Queue) or
//! [`QueueAdmin`]. It needs no runtime, and it sleeps nowhere: time is a clock that the scenario moves.
//!
//! In a backend's own tests:
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! use std::sync::Arc;
//! use async_trait::async_trait;
//! use txn_queue::conformance::{block_on, run_all, Backend, Harness};
//! use txn_queue::{memory::Memory, Clock, Error, QueueAdmin, QueueLimits};
//!
//! struct InMemory;
//!
//! #[async_trait]
//! impl Backend for InMemory {
//!     async fn open(&self, _: &str, clock: Arc<dyn Clock>, limits: QueueLimits) -> Result<Arc<dyn QueueAdmin>, Error> {
//!         Ok(Arc::new(Memory::with(clock, limits)))
//!     }
//! }
//!
//! let report = block_on(run_all(&Harness::new(InMemory)));
//! assert!(report.is_passed(), "{report}");
//! # }
//! ```

mod subject;

mod dead;
mod dedupe;
mod delay;
mod durable;
mod fair;
mod groups;
mod leases;
mod limits;
mod many;
mod order;
mod room;
mod routing;
mod wait;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;

pub use txn_suite::{Drops, Failure, Line, Report, Verdict, block_on};

use crate::{admin::QueueAdmin, clock::Clock, error::Error, limits::QueueLimits};
use subject::Subject;
use txn_suite::{Checked, Run, within};

/// How queues of a backend are made.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Opens the queue at a place: a file's name, a schema's name, or nothing at all in memory. A place that was never named before gives a fresh, empty
    /// queue. Named again, after [`Backend::close`], it gives the same queue, if the backend is durable.
    async fn open(&self, place: &str, clock: Arc<dyn Clock>, limits: QueueLimits)
    -> Result<Arc<dyn QueueAdmin>, Error>;

    /// Closes a queue that is about to be opened again. This is the last handle to it.
    async fn close(&self, queue: Arc<dyn QueueAdmin>) {
        drop(queue);
    }

    /// Runs a future to its end on one of the suite's threads. A backend whose futures need a runtime enters it here.
    fn run(&self, future: BoxFuture<'static, ()>) {
        block_on(future);
    }
}

/// A backend under test. Gives each scenario queues of its own.
#[derive(Clone)]
pub struct Harness {
    backend: Arc<dyn Backend>,
    places: Arc<AtomicU64>,
}

impl Harness {
    /// Tests this backend.
    #[must_use]
    pub fn new(backend: impl Backend) -> Self {
        Self { backend: Arc::new(backend), places: Arc::default() }
    }

    /// A fresh queue with the default limits.
    async fn fresh(&self) -> Checked<Subject> {
        self.limited(QueueLimits::default()).await
    }

    /// A fresh queue with other limits.
    async fn limited(&self, limits: QueueLimits) -> Checked<Subject> {
        Subject::open(&*self.backend, &self.place(), limits).await
    }

    /// A place that was never named before.
    fn place(&self) -> String {
        format!("place-{}", self.places.fetch_add(1, Ordering::SeqCst))
    }

    /// How the suite's threads run futures.
    fn runs(&self) -> Run {
        let backend = Arc::clone(&self.backend);
        Arc::new(move |future| backend.run(future))
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").finish_non_exhaustive()
    }
}

/// One promise, and how it is tested.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// The promise as a sentence in snake case; unique in the suite.
    pub name: &'static str,
    run: fn(&Harness) -> BoxFuture<'_, Checked>,
}

impl Scenario {
    /// Runs it on queues of its own.
    ///
    /// # Errors
    /// [`Failure`], with what was expected and what was found.
    pub async fn run(&self, harness: &Harness) -> Result<(), Failure> {
        within(120, "the scenario", (self.run)(harness)).await?
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Lists async functions as scenarios of their own names.
macro_rules! named {
    ($($name:ident),+ $(,)?) => {
        &[$($crate::conformance::Scenario { name: stringify!($name), run: |harness| Box::pin($name(harness)) }),+]
    };
}
use named;

/// All scenarios, in the order of the contract.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let all: [&[Scenario]; 13] = [
        leases::ALL,
        dead::ALL,
        order::ALL,
        fair::ALL,
        groups::ALL,
        delay::ALL,
        dedupe::ALL,
        routing::ALL,
        room::ALL,
        limits::ALL,
        many::ALL,
        wait::ALL,
        durable::ALL,
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
        let verdict = scenario.run(harness).await.map_or_else(Verdict::Failed, |()| Verdict::Passed);
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
