//! What the suite must be told about a backend.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use txn_suite::{Checked, block_on};

use super::subject::Subject;
use crate::{admin::StoreAdmin, clock::Clock, error::Error, limits::StoreLimits};

/// What a backend claims beyond the contract that holds for all. Each claim is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// What is committed outlives the value: [`Backend::open`] with a place named before finds it again.
    pub durable: bool,
}

/// How stores of a backend are made.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// What the backend claims.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Opens the store at a place: a file's name, a schema's name, or nothing at all in memory. A place that was never named before gives a fresh, empty
    /// store. Named again, after [`Backend::close`], it gives the same store, if the backend is durable.
    async fn open(&self, place: &str, clock: Arc<dyn Clock>, limits: StoreLimits)
    -> Result<Arc<dyn StoreAdmin>, Error>;

    /// Closes a store that is about to be opened again. This is the last handle to it.
    async fn close(&self, store: Arc<dyn StoreAdmin>) {
        drop(store);
    }

    /// Runs a future to its end on one of the suite's threads. A backend whose futures need a runtime enters it here.
    fn run(&self, future: BoxFuture<'static, ()>) {
        block_on(future);
    }
}

/// A backend under test. Gives each scenario stores of its own.
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

    /// What the backend claims.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// A fresh store with the default limits.
    pub(super) async fn fresh(&self) -> Checked<Subject> {
        self.limited(StoreLimits::default()).await
    }

    /// A fresh store with other limits.
    pub(super) async fn limited(&self, limits: StoreLimits) -> Checked<Subject> {
        let place = format!("place-{}", self.places.fetch_add(1, Ordering::SeqCst));
        Subject::open(Arc::clone(&self.backend), place, limits).await
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("capabilities", &self.capabilities()).finish_non_exhaustive()
    }
}
