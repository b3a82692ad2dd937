//! A message as it is stored: what is decided by in columns of its own, its attributes as CloudEvents writes them, and its data.

use std::sync::Arc;

use txn_change::Timestamp;

use super::step::{from_bytes, to_bytes};
use crate::{
    engine::log::Stored,
    error::{Error, ErrorKind},
    message::{Message, Priority},
    name::{GroupName, Key},
    topology::Death,
};

/// A stored message. Never changed.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) position: u64,
    pub(crate) accepted_at: Timestamp,
    pub(crate) due: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) priority: u8,
    pub(crate) key: Option<Key>,
    pub(crate) only: Option<GroupName>,
    pub(crate) redriven: u32,
    /// The attributes as one JSON object.
    pub(crate) head: String,
    pub(crate) data: Arc<[u8]>,
    pub(crate) death: Option<Vec<u8>>,
}

/// What of a row is decided by.
#[derive(Debug, Clone)]
pub(crate) struct Brief {
    pub(crate) position: u64,
    pub(crate) stored: Stored,
}

impl Row {
    pub(crate) fn new(position: u64, message: &Message, stored: &Stored) -> Self {
        Self {
            position,
            accepted_at: stored.accepted_at,
            due: stored.due,
            expires: stored.expires,
            priority: stored.priority.level(),
            key: stored.key.clone(),
            only: stored.only.clone(),
            redriven: 0,
            head: message.to_head(),
            data: Arc::clone(&message.data),
            death: None,
        }
    }

    /// The row as it stands elsewhere: among the dead letters, or sent back from there.
    pub(crate) fn moved(self, position: u64, stored: &Stored, death: Option<&Death>, redriven: u32) -> Self {
        let death = death.map(to_bytes).or(self.death);
        let (accepted_at, due, expires, only) = (stored.accepted_at, stored.due, stored.expires, stored.only.clone());
        Self { position, accepted_at, due, expires, only, redriven, death, ..self }
    }

    pub(crate) fn message(&self) -> Result<Message, Error> {
        Message::from_head(&self.head, Arc::clone(&self.data)).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("reading the message at {}", self.position)).because(error)
        })
    }

    pub(crate) fn death(&self) -> Result<Option<Death>, Error> {
        self.death.as_deref().map(|bytes| from_bytes("how a message died", bytes)).transpose()
    }
}

/// What a replica keeps of a message.
pub(crate) fn stored(
    key: Option<Key>,
    priority: u8,
    [accepted_at, due, expires]: [i64; 3],
    only: Option<GroupName>,
) -> Stored {
    Stored {
        key,
        priority: Priority::new(priority).unwrap_or_default(),
        accepted_at: Timestamp::from_nanos(accepted_at),
        due: Timestamp::from_nanos(due),
        expires: Timestamp::from_nanos(expires),
        only,
        is_removed: false,
        is_moved: false,
        carried: None,
    }
}
