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

/// A message, as far as it takes to decide about it. There is one for each message that is kept: what few have stands apart.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    content: Content,
    pub(crate) accepted_at: Timestamp,
    /// Not before; the time of acceptance where nothing was said.
    pub(crate) due: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) priority: Priority,
    has_key: bool,
    /// Cancelled, or sent back: it is for nobody.
    pub(crate) is_removed: bool,
    /// It is due at another time than it said when it was published.
    pub(crate) is_moved: bool,
}

/// What is kept of a message beside numbers.
#[derive(Debug, Clone)]
enum Content {
    /// Nothing: the message is elsewhere, and has no key.
    Nothing,
    /// What it is ordered by; the message is elsewhere.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres", test)),
        allow(dead_code, reason = "memory has the message")
    )]
    Key(Key),
    /// The message, where the backend has no other place for it.
    #[cfg(feature = "memory")]
    Message(Arc<Message>),
    Apart(Box<Apart>),
}

/// What few messages have, and what the others have without it.
#[derive(Debug, Clone)]
struct Apart {
    content: Content,
    /// The one group that it is for.
    only: Option<GroupName>,
    #[cfg(feature = "memory")]
    letter: Option<Letter>,
}

/// What a message of the dead letters, or from there, carries with it in memory.
#[cfg(feature = "memory")]
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) death: Arc<Death>,
    /// How often it was sent back from the dead letters.
    pub(crate) redriven: u32,
}

impl Stored {
    /// One whose message is elsewhere.
    #[cfg(any(feature = "sqlite", feature = "postgres", test))]
    pub(crate) fn new(
        key: Option<Key>,
        priority: Priority,
        [accepted_at, due, expires]: [Timestamp; 3],
        only: Option<GroupName>,
    ) -> Self {
        let has_key = key.is_some();
        let content = key.map_or(Content::Nothing, Content::Key);
        let (is_removed, is_moved) = (false, false);
        let mut stored = Self { content, accepted_at, due, expires, priority, has_key, is_removed, is_moved };
        if only.is_some() {
            stored.set_only(only);
        }
        stored
    }

    /// One with its message.
    #[cfg(feature = "memory")]
    #[inline]
    pub(crate) fn carrying(message: Arc<Message>, [accepted_at, due, expires]: [Timestamp; 3]) -> Self {
        Self {
            accepted_at,
            due,
            expires,
            priority: message.priority,
            has_key: message.key.is_some(),
            is_removed: false,
            is_moved: false,
            content: Content::Message(message),
        }
    }

    fn apart(&self) -> Option<&Apart> {
        if let Content::Apart(apart) = &self.content { Some(apart) } else { None }
    }

    /// The same, made when there is none.
    fn apart_mut(&mut self) -> Option<&mut Apart> {
        if self.apart().is_none() {
            let content = std::mem::replace(&mut self.content, Content::Nothing);
            let apart = Apart {
                content,
                only: None,
                #[cfg(feature = "memory")]
                letter: None,
            };
            self.content = Content::Apart(Box::new(apart));
        }
        if let Content::Apart(apart) = &mut self.content { Some(apart) } else { None }
    }

    /// The message, where it is kept here.
    #[cfg(feature = "memory")]
    #[inline]
    pub(crate) fn message(&self) -> Option<&Arc<Message>> {
        match &self.content {
            Content::Message(message) => Some(message),
            Content::Apart(apart) => {
                if let Content::Message(message) = &apart.content {
                    Some(message)
                } else {
                    None
                }
            }
            Content::Nothing | Content::Key(_) => None,
        }
    }

    /// Takes what is kept.
    #[cfg(feature = "memory")]
    #[inline]
    pub(crate) fn take_message(&mut self) -> Option<Arc<Message>> {
        match std::mem::replace(&mut self.content, Content::Nothing) {
            Content::Message(message) => Some(message),
            Content::Apart(apart) => {
                if let Content::Message(message) = apart.content {
                    Some(message)
                } else {
                    None
                }
            }
            Content::Nothing | Content::Key(_) => None,
        }
    }

    #[inline]
    pub(crate) const fn has_key(&self) -> bool {
        self.has_key
    }

    /// What it is ordered by.
    #[inline]
    pub(crate) fn key(&self) -> Option<&Key> {
        if self.has_key { self.content.key() } else { None }
    }

    /// The one group that it is for.
    pub(crate) fn only(&self) -> Option<&GroupName> {
        self.apart()?.only.as_ref()
    }

    pub(crate) fn set_only(&mut self, only: Option<GroupName>) {
        if let Some(apart) = self.apart_mut() {
            apart.only = only;
        }
    }

    #[cfg(feature = "memory")]
    pub(crate) fn letter(&self) -> Option<&Letter> {
        self.apart()?.letter.as_ref()
    }

    #[cfg(feature = "memory")]
    pub(crate) fn set_letter(&mut self, letter: Letter) {
        if let Some(apart) = self.apart_mut() {
            apart.letter = Some(letter);
        }
    }

    /// Whether a group is given it.
    #[inline]
    pub(crate) fn is_for(&self, group: &GroupName) -> bool {
        !self.is_removed && self.only().is_none_or(|only| only == group)
    }

    /// When it can be delivered, at the earliest.
    pub(crate) fn became_due(&self) -> Timestamp {
        self.due.max(self.accepted_at)
    }

    /// Whether every group is given it as soon as it was accepted.
    #[inline]
    pub(crate) const fn is_at_once(&self) -> bool {
        !self.is_removed
            && !matches!(self.content, Content::Apart(_))
            && self.due.as_nanos() <= self.accepted_at.as_nanos()
    }
}

impl Content {
    fn key(&self) -> Option<&Key> {
        match self {
            Self::Nothing => None,
            Self::Key(key) => Some(key),
            #[cfg(feature = "memory")]
            Self::Message(message) => message.key.as_ref(),
            Self::Apart(apart) => apart.content.key(),
        }
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
        // Seen where they stand: to take each out is to copy it.
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

    /// From this place on, as many as stand together in memory: none only when there are no more.
    pub(crate) fn piece(&self, position: u64) -> &[Stored] {
        let index = self.index(position).unwrap_or(0);
        let (front, back) = self.messages.as_slices();
        let piece = front.get(index..).filter(|piece| !piece.is_empty());
        piece.or_else(|| back.get(index.saturating_sub(front.len())..)).unwrap_or_default()
    }

    /// How many between these places were accepted by then; they stand in the order of their acceptance.
    pub(crate) fn accepted_by(&self, until: Timestamp, first: u64, end: u64) -> usize {
        let (Some(first), Some(end)) = (self.index(first), self.index(end)) else { return 0 };
        let end = end.min(self.messages.len());
        let is_by = |stored: &Stored| stored.accepted_at <= until;
        // All of them, nearly always.
        match end.checked_sub(1).and_then(|last| self.messages.get(last)) {
            Some(last) if is_by(last) => end.saturating_sub(first),
            _ => self.messages.range(first.min(end)..end).take_while(|stored| is_by(stored)).count(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Stored)> {
        (self.first..).zip(&self.messages)
    }
}
