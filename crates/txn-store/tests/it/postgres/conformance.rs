//! The suite on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use txn_store::conformance::{Backend, Capabilities, Harness, run, scenarios};
use txn_store::{Clock, Error, StoreAdmin, StoreLimits};

use super::server;

/// Every place is a schema.
struct InSchemas(String);

#[async_trait]
impl Backend for InSchemas {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true }
    }

    async fn open(
        &self,
        place: &str,
        clock: Arc<dyn Clock>,
        limits: StoreLimits,
    ) -> Result<Arc<dyn StoreAdmin>, Error> {
        let schema = format!("{}_{}", self.0, place.rsplit('-').next().unwrap());
        Ok(Arc::new(server::open_with(&schema, clock, limits).await?))
    }
}

#[test]
fn postgres_passes_the_suite() {
    let harness = Harness::new(InSchemas(server::fresh_schema()));
    let report = pollster::block_on(run(&harness, scenarios(), |line| println!("{line}")));
    assert!(report.is_passed(), "{report}");
    assert_eq!(report.lines.len(), scenarios().len());
}
