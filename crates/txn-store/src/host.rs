//! A change inside a host's own transaction: what it came to, before that transaction is committed.
//!
//! Backends offer it as `commit_in`; the host's rows and the change are then committed together, or neither is. *Not* here: the transaction itself, which stays the host's from beginning to end.

use txn_change::{Body, Link, Refusal, Timestamp};

use crate::store::{Freshness, Receipt};

/// What a change came to inside a host's transaction. Nothing of it is durable, or seen by anybody else, before the host's COMMIT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a refused change has written nothing: the host may not want to commit then"]
pub enum Tentative {
    /// It is committed exactly if the host's transaction is.
    Pending(Pending),
    /// It was refused, and has written nothing. The host's transaction may go on.
    Refused(Refusal),
}

/// A change that waits for the COMMIT of a host's transaction. Given to the store's `committed` after that, it becomes a [`Receipt`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "give it to the store after your COMMIT, so that readers of the log hear of it at once"]
pub struct Pending {
    pub(crate) answer: Body,
    pub(crate) replayed: bool,
    pub(crate) recorded_at: Timestamp,
    pub(crate) freshness: Freshness,
    pub(crate) head: Link,
}

impl Pending {
    /// The answer under the change's id.
    #[must_use]
    pub const fn answer(&self) -> &Body {
        &self.answer
    }

    /// Whether the id was there before, so that this call wrote nothing: committed earlier, or written earlier in this same transaction.
    #[must_use]
    pub const fn is_replayed(&self) -> bool {
        self.replayed
    }

    /// The store's time that the change is recorded with: the time of the call, not of the host's COMMIT.
    #[must_use]
    pub const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    pub(crate) fn receipt(self, head: Link) -> Receipt {
        let Self { answer, replayed, recorded_at, freshness, .. } = self;
        Receipt { answer, replayed, recorded_at, freshness, head }
    }
}

/// Whether a host may commit the change: it is well-formed, within the limits, and writes nothing of a reserved kind. The refusal when it may not.
pub(crate) fn refuse(change: &txn_change::Change, limits: &txn_change::Limits) -> Option<Refusal> {
    change.check(limits).and_then(|()| change.check_host()).err().map(Refusal::from)
}
