//! Everything in memory: the reference backend.
//!
//! **Durability: none.** What is committed lives as long as the value. Every call finishes within one poll and needs no runtime, so this backend works
//! under any executor. It is the oracle that the other backends are compared with.

mod erase;
mod export;
mod find;
mod purge;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use txn_change::{Tenant, Timestamp};

use crate::{
    admin::{Erase, Export, Health, Purge, Purged, StoreAdmin},
    clock::{Clock, StoreTime, SystemClock},
    cursor::Cursor,
    error::{Error, ErrorKind},
    limits::StoreLimits,
    query::{Page, Query},
    store::{Ask, Commit, LogPage, Outcome, Position, Snapshot, Store},
    tail::{check_id, free},
    watch::Head,
};

use state::State;

/// A store in memory. See the [module](self) for what it promises.
///
/// ```
/// use txn_store::{memory::Memory, StoreAdmin};
/// let store = Memory::new();
/// let health = pollster::block_on(store.health())?;
/// assert_eq!(health.commits, 0);
/// # Ok::<(), txn_store::Error>(())
/// ```
pub struct Memory {
    state: Mutex<State>,
    head: Head,
    time: StoreTime,
    limits: StoreLimits,
}

impl Memory {
    /// An empty store on the system's clock with the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Arc::new(SystemClock), StoreLimits::default())
    }

    /// An empty store on another clock, with other limits.
    #[must_use]
    pub fn with(clock: Arc<dyn Clock>, limits: StoreLimits) -> Self {
        Self { state: Mutex::default(), head: Head::default(), time: StoreTime::new(clock, Timestamp::MIN), limits }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock can only be one of ours; evaluation writes nothing, and applying cannot fail half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Memory {
    async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
        if let Some(refused) = self.limits.refuse_batch(batch.len()) {
            return refused;
        }
        let mut state = self.state();
        let now = match self.time.now() {
            Ok(now) => now,
            Err(error) => return batch.iter().map(|_| Err(error.again())).collect(),
        };
        // Not a map over the batch: collecting in place would move each outcome within the larger room of its change.
        let mut outcomes = Vec::with_capacity(batch.len());
        for Commit { tenant, change } in batch {
            outcomes.push(Ok(match change.check(&self.limits.change).and_then(|()| check_id(&tenant, &change)) {
                Ok(()) => state.commit(&tenant, change, now),
                Err(invalid) => Outcome::Refused(invalid.into()),
            }));
        }
        state.link();
        let (head, chain) = (state.head(), state.chain());
        drop(state);
        for outcome in &mut outcomes {
            if let Ok(Outcome::Done(receipt)) = outcome {
                receipt.head = chain;
            }
        }
        self.head.advance(head);
        outcomes
    }

    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
        self.limits.check_asks(&asks)?;
        let state = self.state();
        let now = self.time.now()?;
        Ok(asks.iter().map(|ask| state.get(ask, now)).collect())
    }

    async fn find(&self, tenant: &Tenant, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        self.limits.check_page(limit)?;
        let after = after.map(|cursor| cursor.open(tenant, query)).transpose()?;
        let mut state = self.state();
        if *query == Query::Changes {
            state.index_changes();
        }
        find::page(&state, tenant, query, after.as_deref(), limit)
    }

    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
        self.limits.check_page(limit)?;
        self.state().read(after, limit)
    }

    async fn watch(&self, after: Position) -> Result<Position, Error> {
        // It ends with the value, and a call borrows that.
        self.head.past(after).await.ok_or_else(|| Error::new(ErrorKind::Closed, "the store is closed"))
    }
}

#[async_trait]
impl StoreAdmin for Memory {
    async fn export(&self) -> Result<Box<dyn Export>, Error> {
        Ok(Box::new(export::Rows::of(&self.state())?))
    }

    async fn health(&self) -> Result<Health, Error> {
        let state = self.state();
        let (head, commits) = (state.head(), state.commits.len() as u64);
        let tail = Position(state.tail as u64);
        Ok(Health { tail, head, commits, queued: 0, chain: state.chain(), unchained: 0 })
    }

    async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error> {
        erase::erase(&mut self.state(), tenant, &what)
    }

    async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error> {
        self.limits.check_page(max)?;
        if what == Purge::Answers {
            return Ok(self.state().purge_answers(before, max));
        }
        let plan = self.state().old_groups(before, max);
        let Some(target) = plan.target() else { return Ok(Purged { rows: 0, is_complete: true }) };
        let free = free(self, target).await?;
        Ok(self.state().purge_events(&plan, free, max))
    }
}

/// The kind of an error about what is stored, which in memory can only be a bug of ours.
fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}
