//! The suite over every backend.

use std::sync::Arc;

use async_trait::async_trait;
use txn_queue::{
    Clock, Error, QueueAdmin, QueueLimits,
    conformance::{Backend, Harness, Scenario, block_on, run, scenarios},
    memory::Memory,
    sqlite::Sqlite,
};

use crate::reopened::Reopened;

struct InMemory;

#[async_trait]
impl Backend for InMemory {
    async fn open(&self, _: &str, clock: Arc<dyn Clock>, limits: QueueLimits) -> Result<Arc<dyn QueueAdmin>, Error> {
        Ok(Arc::new(Memory::with(clock, limits)))
    }
}

struct InFile(tempfile::TempDir);

#[async_trait]
impl Backend for InFile {
    async fn open(
        &self,
        place: &str,
        clock: Arc<dyn Clock>,
        limits: QueueLimits,
    ) -> Result<Arc<dyn QueueAdmin>, Error> {
        Ok(Arc::new(Sqlite::with(self.0.path().join(place), clock, limits)?))
    }
}

/// A file that is opened anew for every call, so that nothing is known but what was written; and its state is saved after so many steps.
struct OpenedAnew(tempfile::TempDir, u64);

#[async_trait]
impl Backend for OpenedAnew {
    async fn open(
        &self,
        place: &str,
        clock: Arc<dyn Clock>,
        limits: QueueLimits,
    ) -> Result<Arc<dyn QueueAdmin>, Error> {
        let limits = QueueLimits { steps_max: self.1, ..limits };
        Ok(Arc::new(Reopened::new(self.0.path().join(place), clock, limits)))
    }
}

#[allow(clippy::print_stdout, reason = "what a failed test shows")]
fn passes(backend: impl Backend, scenarios: Vec<Scenario>) {
    let report = block_on(run(&Harness::new(backend), scenarios, |line| println!("{line}")));
    assert!(report.is_passed(), "{report}");
}

#[test]
fn memory_passes_the_suite() {
    passes(InMemory, scenarios());
}

#[test]
fn sqlite_passes_the_suite() {
    passes(InFile(tempfile::tempdir().unwrap()), scenarios());
}

/// Whoever waits does so on an open queue.
fn that_do_not_wait() -> Vec<Scenario> {
    let waiting = ["wait", "wakes", "woken", "dropped_calls", "beside_a_look"];
    let all = scenarios().into_iter();
    all.filter(|scenario| {
        !waiting.iter().any(|word| scenario.name.contains(word)) || scenario.name.contains("waiting_makes")
    })
    .collect()
}

/// Steps that are read come to the same as steps that are done.
#[test]
fn sqlite_passes_the_suite_when_it_is_opened_anew_for_every_call() {
    passes(OpenedAnew(tempfile::tempdir().unwrap(), u64::MAX), that_do_not_wait());
}

/// And so does a state that was saved.
#[test]
fn sqlite_passes_the_suite_from_saved_states() {
    passes(OpenedAnew(tempfile::tempdir().unwrap(), 1), that_do_not_wait());
}

#[cfg(feature = "servers")]
mod on_a_server {
    use std::sync::OnceLock;

    use futures_util::future::BoxFuture;
    use tokio::runtime::Runtime;
    use txn_queue::postgres::Postgres;

    use super::*;
    use crate::{alternating::Alternating, server};

    fn runtime() -> &'static Runtime {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        RUNTIME.get_or_init(|| Runtime::new().unwrap())
    }

    /// Schemas of one database.
    struct InSchema(String);

    #[async_trait]
    impl Backend for InSchema {
        async fn open(
            &self,
            place: &str,
            clock: Arc<dyn Clock>,
            limits: QueueLimits,
        ) -> Result<Arc<dyn QueueAdmin>, Error> {
            let schema = format!("{}_{}", self.0, place.replace('-', "_"));
            let options = Postgres::options(&server::url())?.schema(&schema).clock(clock).limits(limits);
            let opening = runtime().spawn(options.lanes(1).open());
            Ok(Arc::new(opening.await.unwrap()?))
        }

        fn run(&self, future: BoxFuture<'static, ()>) {
            runtime().block_on(future);
        }
    }

    /// Two processes' handles to one schema, which take turns call by call.
    struct InTurn(InSchema);

    #[async_trait]
    impl Backend for InTurn {
        async fn open(
            &self,
            place: &str,
            clock: Arc<dyn Clock>,
            limits: QueueLimits,
        ) -> Result<Arc<dyn QueueAdmin>, Error> {
            let one = self.0.open(place, Arc::clone(&clock), limits).await?;
            let other = self.0.open(place, clock, limits).await?;
            Ok(Arc::new(Alternating::new([one, other])))
        }

        fn run(&self, future: BoxFuture<'static, ()>) {
            self.0.run(future);
        }
    }

    /// What one process did is known to the other before it decides.
    #[test]
    fn postgres_passes_the_suite_over_two_handles_in_turn() {
        passes(InTurn(InSchema(server::name("turn"))), that_do_not_wait());
    }

    #[test]
    fn postgres_passes_the_suite() {
        passes(InSchema(server::name("suite")), scenarios());
    }
}
