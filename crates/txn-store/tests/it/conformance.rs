//! The suite on every backend.

use std::sync::Arc;

use async_trait::async_trait;
use txn_store::conformance::{Backend, Capabilities, Harness, Needs, Verdict, run, scenarios};
use txn_store::{Clock, Error, StoreAdmin, StoreLimits, memory::Memory};

struct InMemory;

#[async_trait]
impl Backend for InMemory {
    async fn open(&self, _: &str, clock: Arc<dyn Clock>, limits: StoreLimits) -> Result<Arc<dyn StoreAdmin>, Error> {
        Ok(Arc::new(Memory::with(clock, limits)))
    }
}

/// A folder of files, each commit flushed.
#[cfg(feature = "sqlite")]
struct InFolder(tempfile::TempDir);

#[cfg(feature = "sqlite")]
#[async_trait]
impl Backend for InFolder {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true }
    }

    async fn open(
        &self,
        place: &str,
        clock: Arc<dyn Clock>,
        limits: StoreLimits,
    ) -> Result<Arc<dyn StoreAdmin>, Error> {
        let options = txn_store::sqlite::Sqlite::options(self.0.path().join(place));
        Ok(Arc::new(options.clock(clock).limits(limits).open()?))
    }
}

fn passes(harness: &Harness) {
    let report = pollster::block_on(run(harness, scenarios(), |line| println!("{line}")));
    assert!(report.is_passed(), "{report}");
    assert_eq!(report.lines.len(), scenarios().len());
}

#[test]
fn memory_passes_the_suite() {
    passes(&Harness::new(InMemory));
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_passes_the_suite() {
    passes(&Harness::new(InFolder(tempfile::tempdir().unwrap())));
}

/// A suite that passes every backend tests nothing: one that forgets what it was told is found out.
#[test]
fn a_store_without_memory_fails_by_name() {
    struct Forgetful;

    #[async_trait]
    impl Backend for Forgetful {
        fn capabilities(&self) -> Capabilities {
            Capabilities { durable: true }
        }

        async fn open(
            &self,
            _: &str,
            clock: Arc<dyn Clock>,
            limits: StoreLimits,
        ) -> Result<Arc<dyn StoreAdmin>, Error> {
            Ok(Arc::new(Memory::with(clock, limits)))
        }
    }

    let report = pollster::block_on(run(&Harness::new(Forgetful), scenarios(), |_| ()));
    let failed: Vec<_> = report.failures().map(|line| line.name).collect();
    let durable = scenarios().into_iter().filter(|s| s.needs == Needs::Durability);
    assert_eq!(failed, durable.map(|s| s.name).collect::<Vec<_>>(), "{report}");
    assert!(report.lines.iter().all(|line| line.verdict != Verdict::NotClaimed));
}
