//! The messages of a topic, in the order of their acceptance.

use std::collections::VecDeque;
#[cfg(feature = "memory")]
use std::sync::Arc;

use txn_change::Timestamp;

#[cfg(feature = "memory")]
use crate::{message::Message, topology::Death};
use crate::{
    message::Priority,
    name::{GroupName, Key},
};

/// A message, as far as it takes to decide about it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) key: Option<Key>,
    pub(crate) priority: Priority,
    pub(crate) accepted_at: Timestamp,
    /// Not before; the time of acceptance where nothing was said.
    pub(crate) due: Timestamp,
    pub(crate) expires: Timestamp,
    /// The one group that it is for.
    pub(crate) only: Option<GroupName>,
    /// Cancelled, or sent back: it is for nobody.
    pub(crate) is_removed: bool,
    /// It is due at another time than it said when it was published.
    pub(crate) is_moved: bool,
    /// The message itself, where the backend has no other place for it.
    #[cfg(feature = "memory")]
    pub(crate) carried: Option<Carried>,
}

/// What a backend in memory keeps beside.
#[cfg(feature = "memory")]
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) message: Arc<Message>,
    /// What there is to say of one that has been dead.
    pub(crate) letter: Option<Box<Letter>>,
}

/// What a message of the dead letters, or from there, carries with it.
#[cfg(feature = "memory")]
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) death: Arc<Death>,
    /// How often it was sent back from the dead letters.
    pub(crate) redriven: u32,
}

#[cfg(feature = "memory")]
impl Carried {
    pub(crate) fn death(&self) -> Option<&Arc<Death>> {
        self.letter.as_deref().map(|letter| &letter.death)
    }
}

impl Stored {
    /// Whether a group is given it.
    pub(crate) fn is_for(&self, group: &GroupName) -> bool {
        !self.is_removed && self.only.as_ref().is_none_or(|only| only == group)
    }

    /// When it can be delivered, at the earliest.
    pub(crate) fn became_due(&self) -> Timestamp {
        self.due.max(self.accepted_at)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// How many have gone from the front: the first that is kept stands at this position.
    first: u64,
    messages: VecDeque<Stored>,
}

impl Log {
    /// An empty log whose next message stands at this position.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) const fn starting_at(first: u64) -> Self {
        Self { first, messages: VecDeque::new() }
    }

    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// Behind the last.
    pub(crate) fn end(&self) -> u64 {
        self.first.saturating_add(self.len())
    }

    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.messages.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn get(&self, position: u64) -> Option<&Stored> {
        self.messages.get(self.index(position)?)
    }

    pub(crate) fn get_mut(&mut self, position: u64) -> Option<&mut Stored> {
        let index = self.index(position)?;
        self.messages.get_mut(index)
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.first)?).ok()
    }

    pub(crate) fn push(&mut self, stored: Stored) -> u64 {
        let position = self.end();
        self.messages.push_back(stored);
        position
    }

    #[cfg(feature = "memory")]
    pub(crate) fn extend(&mut self, stored: impl Iterator<Item = Stored>) {
        self.messages.extend(stored);
    }

    /// Drops so many from the front, each of which `gone` sees before.
    pub(crate) fn drop_first(&mut self, count: usize, mut gone: impl FnMut(u64, &mut Stored)) {
        let count = count.min(self.messages.len());
        for (position, stored) in (self.first..).zip(self.messages.range_mut(..count)) {
            gone(position, stored);
        }
        self.messages.drain(..count);
        self.first = self.first.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// The first that was accepted then or later.
    pub(crate) fn since(&self, time: Timestamp) -> u64 {
        let before = self.messages.partition_point(|stored| stored.accepted_at < time);
        self.first.saturating_add(u64::try_from(before).unwrap_or(u64::MAX))
    }

    /// Moves or removes a message that no group has taken in yet.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn alter(&mut self, position: u64, due: Option<Timestamp>) {
        let Some(stored) = self.get_mut(position) else { return };
        match due {
            Some(due) => (stored.due, stored.is_moved) = (due, true),
            None => stored.is_removed = true,
        }
    }

    /// From this place on.
    pub(crate) fn starting_with(&self, position: u64) -> impl Iterator<Item = (u64, &Stored)> {
        let index = self.index(position).unwrap_or(0).min(self.messages.len());
        (position.max(self.first)..).zip(self.messages.range(index..))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Stored)> {
        (self.first..).zip(&self.messages)
    }
}
