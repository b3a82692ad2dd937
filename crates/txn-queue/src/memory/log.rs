//! The messages of a topic, in the order of their acceptance.

use std::{collections::VecDeque, sync::Arc};

use txn_change::Timestamp;

use crate::{message::Message, name::GroupName, topology::Death};

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) message: Arc<Message>,
    pub(super) accepted_at: Timestamp,
    /// Not before; the time of acceptance where nothing was said.
    pub(super) due: Timestamp,
    pub(super) expires: Timestamp,
    /// The one group that it is for.
    pub(super) only: Option<GroupName>,
    pub(super) death: Option<Arc<Death>>,
    /// How often it was sent back from the dead letters.
    pub(super) redriven: u32,
    /// Cancelled, or sent back: it is for nobody.
    pub(super) is_removed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    /// How many have gone from the front: the first that is kept stands at this position.
    first: u64,
    messages: VecDeque<Stored>,
}

impl Log {
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Behind the last.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.len())
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.messages.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn get(&self, position: u64) -> Option<&Stored> {
        self.messages.get(self.index(position)?)
    }

    pub(super) fn get_mut(&mut self, position: u64) -> Option<&mut Stored> {
        let index = self.index(position)?;
        self.messages.get_mut(index)
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.first)?).ok()
    }

    pub(super) fn push(&mut self, stored: Stored) -> u64 {
        let position = self.end();
        self.messages.push_back(stored);
        position
    }

    pub(super) fn front(&self) -> Option<&Stored> {
        self.messages.front()
    }

    pub(super) fn pop(&mut self) {
        if self.messages.pop_front().is_some() {
            self.first = self.first.saturating_add(1);
        }
    }

    /// The first that was accepted then or later.
    pub(super) fn since(&self, time: Timestamp) -> u64 {
        let before = self.messages.partition_point(|stored| stored.accepted_at < time);
        self.first.saturating_add(u64::try_from(before).unwrap_or(u64::MAX))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Stored)> {
        (self.first..).zip(&self.messages)
    }
}
