//! The suite on every backend.

use std::sync::Arc;

use async_trait::async_trait;
use txn_store::conformance::{Backend, Capabilities, Harness, Needs, Verdict, run, scenarios};
use txn_store::{Clock, Error, StoreAdmin, StoreLimits, memory::Memory};

struct InMemory(Behind);

/// What a host may hold a store behind.
#[derive(Clone, Copy)]
enum Behind {
    Value,
    Box,
    Arc,
}

impl Behind {
    fn put(self, store: impl StoreAdmin) -> Arc<dyn StoreAdmin> {
        match self {
            Self::Value => Arc::new(store),
            Self::Box => Arc::new(Box::new(store) as Box<dyn StoreAdmin>),
            Self::Arc => Arc::new(Arc::new(store) as Arc<dyn StoreAdmin>),
        }
    }
}

#[async_trait]
impl Backend for InMemory {
    async fn open(&self, _: &str, clock: Arc<dyn Clock>, limits: StoreLimits) -> Result<Arc<dyn StoreAdmin>, Error> {
        Ok(self.0.put(Memory::with(clock, limits)))
    }
}

/// A folder of files, each commit flushed.
#[cfg(feature = "sqlite")]
struct InFolder(tempfile::TempDir, Behind);

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
        Ok(self.1.put(options.clock(clock).limits(limits).open()?))
    }
}

fn passes(harness: &Harness) {
    let report = pollster::block_on(run(harness, scenarios(), |line| println!("{line}")));
    assert!(report.is_passed(), "{report}");
    assert_eq!(report.lines.len(), scenarios().len());
}

#[test]
fn memory_passes_the_suite() {
    passes(&Harness::new(InMemory(Behind::Value)));
}

#[test]
fn memory_in_a_box_passes_the_suite() {
    passes(&Harness::new(InMemory(Behind::Box)));
}

#[test]
fn memory_behind_an_arc_passes_the_suite() {
    passes(&Harness::new(InMemory(Behind::Arc)));
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_passes_the_suite() {
    passes(&Harness::new(InFolder(tempfile::tempdir().unwrap(), Behind::Value)));
}

/// Reopening is what differs for a store behind a pointer: the last handle closes it.
#[cfg(feature = "sqlite")]
#[test]
fn sqlite_behind_pointers_is_closed_with_the_last_handle() {
    for behind in [Behind::Box, Behind::Arc] {
        let harness = Harness::new(InFolder(tempfile::tempdir().unwrap(), behind));
        let some = scenarios().into_iter().filter(|scenario| scenario.needs == Needs::Durability);
        let report = pollster::block_on(run(&harness, some, |line| println!("{line}")));
        assert!(report.is_passed() && !report.lines.is_empty(), "{report}");
    }
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
