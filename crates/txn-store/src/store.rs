//! The contract of a store.

use std::sync::Arc;

use async_trait::async_trait;
use txn_change::{
    Body, Change, ChangeId, Counter, Event, FactId, Key, Link, Record, Refusal, Stored, Tenant, Timestamp,
};

use crate::{
    cursor::Cursor,
    error::Error,
    query::{Page, Query},
};

/// A change and the tenant it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The tenant.
    pub tenant: Tenant,
    /// The change.
    pub change: Change,
}

/// What became of a change that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed, now or earlier under the same id.
    Done(Receipt),
    /// It was refused, and has written nothing.
    Refused(Refusal),
    /// It may or may not be committed: the store lost the medium's answer. Asking again under the same id tells.
    Unknown(ChangeId),
}

/// Proof of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The answer of the first commit under the id.
    pub answer: Body,
    /// Whether the change had been committed before, so that this call wrote nothing.
    pub replayed: bool,
    /// When it was committed, in the store's time.
    pub recorded_at: Timestamp,
    /// What a later read must be at least as fresh as, to see this commit.
    pub freshness: Freshness,
    /// The head of the chain as the store knew it when it answered. Kept by a host, it shows an audit later that nothing up to it was cut off. Where a sequencer chains (`postgres`),
    /// it may not have come to this commit yet.
    pub head: Link,
}

/// What an id has come to, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The change was committed under the id.
    Done(Receipt),
    /// No change was, and none ever will be.
    NotDone,
}

/// An opaque mark of how fresh a read must be. Meaningful only to the store that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Freshness(pub u64);

/// What one decision wants to see, read as one snapshot.
///
/// ```
/// use txn_change::{ChangeId, Key, Kind, Tenant};
/// use txn_store::Ask;
/// let note = Key::of(Kind::new("note")?).number(1).build();
/// let ask = Ask::new(Tenant::default()).stored(ChangeId::new("note.write/1")?).record(note);
/// assert_eq!(ask.records.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The tenant.
    pub tenant: Tenant,
    /// The id whose stored answer to look for.
    pub id: Option<ChangeId>,
    /// Records to read.
    pub records: Vec<Key>,
    /// Counters to read.
    pub counters: Vec<Key>,
    /// Facts to read.
    pub facts: Vec<FactId>,
}

impl Ask {
    /// An ask for nothing yet.
    #[must_use]
    pub const fn new(tenant: Tenant) -> Self {
        Self { tenant, id: None, records: Vec::new(), counters: Vec::new(), facts: Vec::new() }
    }

    /// Asks for what is stored under a change's id.
    #[must_use]
    pub fn stored(mut self, id: ChangeId) -> Self {
        self.id = Some(id);
        self
    }

    /// Asks for a record.
    #[must_use]
    pub fn record(mut self, key: Key) -> Self {
        self.records.push(key);
        self
    }

    /// Asks for a counter.
    #[must_use]
    pub fn counter(mut self, key: Key) -> Self {
        self.counters.push(key);
        self
    }

    /// Asks for a fact.
    #[must_use]
    pub fn fact(mut self, id: FactId) -> Self {
        self.facts.push(id);
        self
    }

    /// How many keys it names.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.records.len().saturating_add(self.counters.len()).saturating_add(self.facts.len())
    }
}

/// The answer to an [`Ask`]: each list in the order of the ask. All of it was true at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's time: what a decision takes as `now`.
    pub now: Timestamp,
    /// What is stored under the id.
    pub stored: Option<Stored>,
    /// The records.
    pub records: Vec<Option<Record>>,
    /// The counters.
    pub counters: Vec<Option<Counter>>,
    /// The facts.
    pub facts: Vec<Option<Recorded>>,
}

/// A place in the log. 0 stands before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

/// An event with what it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its tenant.
    pub tenant: Tenant,
    /// The change that appended it.
    pub change: ChangeId,
    /// When, in the store's time.
    pub recorded_at: Timestamp,
    /// The event.
    pub event: Event,
}

/// An event in its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogItem {
    /// Its place.
    pub position: Position,
    /// The event.
    pub recorded: Recorded,
}

/// A stretch of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The events behind the position asked for, in order.
    pub items: Vec<LogItem>,
    /// Where the log ended when it was read.
    pub head: Position,
}

/// Commits changes and reads them back. The contract that every backend keeps, and that the conformance suite tests:
///
/// - **Whole and durable.** When `commit` says [`Outcome::Done`], everything of the change (records, counters, entries, events, answer) is stored as durably as
///   the backend states; when it says [`Outcome::Refused`] or `Err`, nothing of it is, and never will be. [`Outcome::Unknown`] means neither is known.
/// - **Judged by the evaluator.** Outcomes are those of [`txn_change::evaluate`] over some serial order of all changes of a tenant. In one call, a later change sees the
///   earlier ones; each has its own result, in the order of the batch.
/// - **Idempotent.** An id is answered with its first answer for ever, or, once that was erased or purged, with what is left of it; another fingerprint under it is refused with `KeyReused`. No id is forgotten.
/// - **One snapshot.** All that one [`Ask`] or one page reads was true together, and contains every commit that was acknowledged before the call began.
/// - **The log.** Events of one change stand together in their order. A reader never sees an event appear at or below a position that it has read past; per
///   subject, log order is commit order. A page that reaches the end holds every event that was acknowledged before the call began.
/// - **The chain.** Every group of changes that were committed together is a [`Link`] over the digests of its changes and the link before it.
/// - **Ids of its own.** A change under an id whose first word is `txn` (`txn.…`, `txn/…`, `txn-…`) is refused, unless it is to the byte one that the store would make: the store keeps its cursors and the beginning of its log under such ids.
/// - **Tenants.** No row, answer or error of one tenant is seen from another.
/// - **Cancellation.** A dropped call has committed all of a change or nothing of it, and leaves nothing locked.
///
/// *Not* promised: an order between changes that were in flight together; that positions are without gaps; that pages of one query stand still while
/// somebody writes (each page is a snapshot of its own; rows that nobody touches are neither lost nor repeated).
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Commits changes, each on its own: one result each, in order. Join changes with [`Change::and`] to have all or none.
    ///
    /// An `Err` means: certainly not executed. A batch longer than the limit is refused as a whole, each with the same error.
    async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>>;

    /// Reads snapshots, one per ask, in order; each is consistent in itself.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when an ask, or all together, name more keys than the limit.
    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error>;

    /// Finds rows of one tenant, `limit` at a time, behind the cursor.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a limit of 0 or above [`crate::StoreLimits::page_max`], and for a cursor of another tenant or query, or a damaged one.
    async fn find(&self, tenant: &Tenant, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error>;

    /// Reads at most `limit` events behind a position, of all tenants, in order.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a limit of 0 or above [`crate::StoreLimits::page_max`]; [`crate::ErrorKind::Purged`] for a position before the beginning of the log, when older events have been
    /// [purged](crate::Purge::Events).
    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error>;

    /// Waits until the log reaches past `after`, and says how far. May be woken late, never left asleep.
    async fn watch(&self, after: Position) -> Result<Position, Error>;
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: Store + ?Sized> Store for $pointer<S> {
            async fn commit(&self, batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
                (**self).commit(batch).await
            }

            async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
                (**self).get(asks).await
            }

            async fn find(
                &self,
                tenant: &Tenant,
                query: &Query,
                after: Option<&Cursor>,
                limit: usize,
            ) -> Result<Page, Error> {
                (**self).find(tenant, query, after, limit).await
            }

            async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
                (**self).read(after, limit).await
            }

            async fn watch(&self, after: Position) -> Result<Position, Error> {
                (**self).watch(after).await
            }
        }
    };
}

forward!(Box);
forward!(Arc);
