//! What operators and the audit need of a store, beside what services need.

use std::sync::Arc;

use async_trait::async_trait;
use txn_change::{ChangeId, Counter, Entry, Key, Link, Record, Stored, Tenant, Term};

use crate::{
    error::Error,
    store::{Position, Recorded, Store},
};

/// A row of an export. Nothing is left out and nothing is repaired: what does not fit together is exported as it stands, for an audit to name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Row {
    /// A committed change with the entries and events stored for it, each in their order.
    Commit {
        /// The tenant.
        tenant: Tenant,
        /// The id.
        id: ChangeId,
        /// What is stored under it.
        stored: Stored,
        /// Its entries.
        entries: Vec<Entry>,
        /// Its events.
        events: Vec<Recorded>,
    },
    /// The link of the changes since the link before. Changes behind the last link are committed and not yet chained.
    Link {
        /// The link as it is stored.
        link: Link,
        /// How many changes it holds.
        changes: u64,
        /// How many events.
        events: u64,
        /// Where the log ended with it.
        position: Position,
    },
    /// A counter.
    Counter {
        /// The tenant.
        tenant: Tenant,
        /// The key.
        key: Key,
        /// The row.
        counter: Counter,
    },
    /// A record.
    Record {
        /// The tenant.
        tenant: Tenant,
        /// The key.
        key: Key,
        /// The row.
        record: Record,
        /// The terms under which the index holds the record; they should be those in the row.
        indexed: Vec<Term>,
    },
    /// Something that belongs to nothing: an entry without its change, an index term without its record, bytes that cannot be decoded.
    Orphan {
        /// Where it was found, and what it is.
        what: String,
    },
}

/// A consistent reading of a whole store, in parts: first every change in the order of the chain, each group before its link; then every counter and every record.
#[async_trait]
pub trait Export: Send {
    /// The next rows, at most `max`; empty at the end.
    async fn next(&mut self, max: usize) -> Result<Vec<Row>, Error>;
}

/// How a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Where the log ends.
    pub head: Position,
    /// Changes committed in all.
    pub commits: u64,
    /// Changes waiting to be committed.
    pub queued: usize,
    /// The head of the chain.
    pub chain: Link,
    /// Changes that are committed, and not yet in the chain and the log.
    pub unchained: u64,
}

/// The operator's side of a store: all tenants, read-only so far.
#[async_trait]
pub trait StoreAdmin: Store {
    /// Begins a consistent reading of everything.
    async fn export(&self) -> Result<Box<dyn Export>, Error>;

    /// Asks how the store is; fails when it cannot commit.
    async fn health(&self) -> Result<Health, Error>;
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: StoreAdmin + ?Sized> StoreAdmin for $pointer<S> {
            async fn export(&self) -> Result<Box<dyn Export>, Error> {
                (**self).export().await
            }

            async fn health(&self) -> Result<Health, Error> {
                (**self).health().await
            }
        }
    };
}

forward!(Box);
forward!(Arc);
