//! A message and what belongs to it, as turns handle it.

use std::sync::Arc;

use txn_change::Timestamp;

use crate::{engine::log::Stored, message::Message, name::GroupName, topology::Death};

/// A message at its place. Never changed.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) position: u64,
    pub(crate) accepted_at: Timestamp,
    pub(crate) due: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) only: Option<GroupName>,
    pub(crate) redriven: u32,
    pub(crate) death: Option<Arc<Death>>,
    pub(crate) message: Arc<Message>,
}

/// What of a row is decided by.
#[derive(Debug, Clone)]
pub(crate) struct Brief {
    pub(crate) position: u64,
    pub(crate) stored: Stored,
}

impl Row {
    pub(crate) fn new(position: u64, message: Arc<Message>, stored: &Stored) -> Self {
        let (accepted_at, due, expires, only) =
            (stored.accepted_at, stored.due, stored.expires, stored.only().cloned());
        Self { position, accepted_at, due, expires, only, redriven: 0, death: None, message }
    }

    /// The row as it stands elsewhere: among the dead letters, or sent back from there.
    pub(crate) fn moved(self, position: u64, stored: &Stored, death: Option<Death>, redriven: u32) -> Self {
        let death = death.map(Arc::new).or(self.death);
        Self { redriven, death, ..Self::new(position, self.message, stored) }
    }
}
