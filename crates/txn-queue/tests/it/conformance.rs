//! The suite over every backend.

use std::sync::Arc;

use async_trait::async_trait;
use txn_queue::{
    Clock, Error, QueueAdmin, QueueLimits,
    conformance::{Backend, Harness, block_on, run, scenarios},
    memory::Memory,
};

struct InMemory;

#[async_trait]
impl Backend for InMemory {
    async fn open(&self, _: &str, clock: Arc<dyn Clock>, limits: QueueLimits) -> Result<Arc<dyn QueueAdmin>, Error> {
        Ok(Arc::new(Memory::with(clock, limits)))
    }
}

#[test]
fn memory_passes_the_suite() {
    let report = block_on(run(&Harness::new(InMemory), scenarios(), |line| println!("{line}")));
    assert!(report.is_passed(), "{report}");
}
