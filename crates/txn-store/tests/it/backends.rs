//! Every backend that this build has, for tests that hold for all.

use std::sync::Arc;

use txn_store::{Clock, StoreAdmin, StoreLimits, memory::Memory};

/// One backend, and where its store lives.
pub(crate) enum Home {
    Memory,
    #[cfg(feature = "sqlite")]
    Sqlite(tempfile::TempDir, txn_store::sqlite::Durability),
    /// A schema of the server under test.
    #[cfg(all(feature = "conformance", feature = "servers"))]
    Postgres(String),
}

impl Home {
    /// A place for a fresh store of each backend. What is not about durability need not wait for the disk.
    pub(crate) fn all() -> Vec<Self> {
        vec![
            Self::Memory,
            #[cfg(feature = "sqlite")]
            Self::sqlite(),
            #[cfg(all(feature = "conformance", feature = "servers"))]
            Self::postgres(),
        ]
    }

    #[cfg(all(feature = "conformance", feature = "servers"))]
    pub(crate) fn postgres() -> Self {
        Self::Postgres(crate::postgres::server::fresh_schema())
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap(), txn_store::sqlite::Durability::Process)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            #[cfg(feature = "sqlite")]
            Self::Sqlite(..) => "sqlite",
            #[cfg(all(feature = "conformance", feature = "servers"))]
            Self::Postgres(_) => "postgres",
        }
    }

    /// Opens the store, or opens it again where it outlives its value.
    pub(crate) fn open(&self, clock: Arc<dyn Clock>, limits: StoreLimits) -> Arc<dyn StoreAdmin> {
        match self {
            Self::Memory => Arc::new(Memory::with(clock, limits)),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(folder, durability) => {
                let options = txn_store::sqlite::Sqlite::options(folder.path().join("store.db"));
                Arc::new(options.clock(clock).limits(limits).durability(*durability).open().unwrap())
            }
            #[cfg(all(feature = "conformance", feature = "servers"))]
            Self::Postgres(schema) => {
                use crate::postgres::server;
                Arc::new(pollster::block_on(server::open_with(schema, clock, limits)).unwrap())
            }
        }
    }

    pub(crate) fn is_durable(&self) -> bool {
        !matches!(self, Self::Memory)
    }
}
