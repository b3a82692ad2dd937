//! A store seen from a process that dies at the n-th boundary: before or after a commit or a call. What it asks after its death reaches nothing.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use txn::{
    Tenant,
    change::Timestamp,
    store::{
        Ask, Commit, Cursor, Erase, Error, ErrorKind, Export, Health, LogPage, Outcome, Page, Position, Purge, Purged,
        Query, Snapshot, Store, StoreAdmin,
    },
};

pub(crate) struct Mortal {
    inner: Arc<dyn StoreAdmin>,
    /// Boundaries that are left; for ever when it is below zero.
    left: AtomicI64,
    is_dead: AtomicBool,
    /// How long the answer to the next commit takes.
    late: Mutex<Duration>,
}

fn dead() -> Error {
    Error::new(ErrorKind::Closed, "the process has died")
}

impl Mortal {
    pub(crate) fn new(inner: Arc<dyn StoreAdmin>) -> Self {
        Self { inner, left: AtomicI64::new(-1), is_dead: AtomicBool::new(false), late: Mutex::default() }
    }

    /// It dies at the boundary behind so many.
    pub(crate) fn dies_after(&self, boundaries: i64) {
        self.left.store(boundaries, Ordering::SeqCst);
    }

    /// The answer to the next commit takes so long.
    pub(crate) fn answers_late(&self, wait: Duration) {
        *self.late.lock().unwrap() = wait;
    }

    /// A new process.
    pub(crate) fn lives(&self) -> bool {
        self.left.store(-1, Ordering::SeqCst);
        self.is_dead.swap(false, Ordering::SeqCst)
    }

    /// Passes a boundary, if it lives.
    pub(crate) fn passes(&self) -> bool {
        if self.is_dead.load(Ordering::SeqCst) {
            return false;
        }
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            self.is_dead.store(true, Ordering::SeqCst);
            return false;
        }
        if left > 0 {
            self.left.store(left - 1, Ordering::SeqCst);
        }
        true
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_dead.load(Ordering::SeqCst) { Err(dead()) } else { Ok(()) }
    }
}

#[async_trait::async_trait]
impl Store for Mortal {
    async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
        let count = batch.len();
        if !self.passes() {
            return (0..count).map(|_| Err(dead())).collect();
        }
        let answers = self.inner.commit(batch).await;
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        if !late.is_zero() {
            std::thread::sleep(late);
        }
        // Nobody is there to hear the answer.
        if self.passes() { answers } else { (0..count).map(|_| Err(dead())).collect() }
    }

    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
        self.check()?;
        self.inner.get(asks).await
    }

    async fn find(&self, tenant: &Tenant, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.check()?;
        self.inner.find(tenant, query, after, limit).await
    }

    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
        self.inner.read(after, limit).await
    }

    async fn watch(&self, after: Position) -> Result<Position, Error> {
        self.inner.watch(after).await
    }
}

#[async_trait::async_trait]
impl StoreAdmin for Mortal {
    async fn export(&self) -> Result<Box<dyn Export>, Error> {
        self.inner.export().await
    }

    async fn health(&self) -> Result<Health, Error> {
        self.inner.health().await
    }

    async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error> {
        self.inner.erase(tenant, what).await
    }

    async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error> {
        self.inner.purge(what, before, max).await
    }
}
