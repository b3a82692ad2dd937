//! A message: a CloudEvent, and what a queue wants to know about it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use txn_change::Timestamp;

use crate::{
    name::{AttributeName, DedupeId, Key, MessageId, MessageType, ScheduleKey, Source},
    trace::TraceParent,
};

/// An event on its way: CloudEvents 1.0, and how it is to be carried. Plain data, and cheap to share.
///
/// What is not set is absent. Sizes are checked when it is published, against [`crate::QueueLimits`].
///
/// ```
/// use core::time::Duration;
/// use txn_queue::{Key, Message, MessageId, MessageType, Source};
/// let message = Message::new(MessageId::new("7f3a")?, Source::new("/shop/orders")?, MessageType::new("order.placed")?)
///     .data("application/json", br#"{"order":"42"}"#.to_vec())
///     .key(Key::new("order-42")?)
///     .delay(Duration::from_millis(1_500));
/// assert_eq!(message.key.as_deref(), Some("order-42"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// With the source, what makes this event one and the same wherever it is seen. A redelivery, a dead letter and a redrive keep it.
    pub id: MessageId,
    /// Where it comes from.
    pub source: Source,
    /// What happened. Typed handlers are chosen by it.
    pub kind: MessageType,
    /// What it happened to.
    pub subject: Option<Arc<str>>,
    /// When it happened, by its source's clock. Nothing is decided by it.
    pub time: Option<Timestamp>,
    /// The media type of the data.
    pub content_type: Option<Arc<str>>,
    /// The schema of the data, a URI.
    pub schema: Option<Arc<str>>,
    /// The payload, any bytes.
    pub data: Arc<[u8]>,
    /// What it is ordered by: messages of one key are delivered one after the other, to groups that ask for order.
    pub key: Option<Key>,
    /// What makes another publishing a repetition of this one.
    pub dedupe_id: Option<DedupeId>,
    /// Which messages go first.
    pub priority: Priority,
    /// When it is no longer of use.
    pub expires: Option<When>,
    /// When it may be delivered; at once when nothing is said.
    pub due: Option<When>,
    /// The name by which it can be moved or cancelled before it is due. One message that is not due has it in its topic.
    pub schedule_key: Option<ScheduleKey>,
    /// The span that sent it.
    pub trace_parent: Option<TraceParent>,
    /// What vendors add to the trace, handed on as it is.
    pub trace_state: Option<Arc<str>>,
    /// The process that it belongs to.
    pub correlation_id: Option<Arc<str>>,
    /// The message that it is a consequence of.
    pub causation_id: Option<Arc<str>>,
    /// What else is said about it.
    pub extensions: BTreeMap<AttributeName, Attribute>,
}

/// The value of an extension attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(Arc<str>),
    /// A whole number of 32 bits, as CloudEvents has them.
    Integer(i32),
    /// Yes or no.
    Boolean(bool),
}

/// An instant by the backend's clock, or so long after the message was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// So long after it was accepted.
    After(Duration),
    /// Then.
    At(Timestamp),
}

/// From 0, the last, to 9, the first; 4 when nothing is said. Waiting raises a message, so that the last is not the never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// What goes last.
    pub const LAST: Self = Self(0);
    /// What goes first.
    pub const FIRST: Self = Self(9);

    /// A priority; `None` above 9.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        if level <= Self::FIRST.0 { Some(Self(level)) } else { None }
    }

    /// 0 to 9.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(4)
    }
}

impl When {
    /// The instant, for a message that is accepted `now`; `None` when it lies beyond [`Timestamp::MAX`].
    #[must_use]
    pub fn instant(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(instant) => Some(instant),
            Self::After(wait) => now.after(wait).ok(),
        }
    }
}

impl Message {
    /// A message without data.
    #[must_use]
    pub fn new(id: MessageId, source: Source, kind: MessageType) -> Self {
        Self {
            id,
            source,
            kind,
            subject: None,
            time: None,
            content_type: None,
            schema: None,
            data: Arc::default(),
            key: None,
            dedupe_id: None,
            priority: Priority::default(),
            expires: None,
            due: None,
            schedule_key: None,
            trace_parent: None,
            trace_state: None,
            correlation_id: None,
            causation_id: None,
            extensions: BTreeMap::new(),
        }
    }

    /// Sets the payload and its media type.
    #[must_use]
    pub fn data(mut self, content_type: impl Into<Arc<str>>, data: impl Into<Arc<[u8]>>) -> Self {
        self.content_type = Some(content_type.into());
        self.data = data.into();
        self
    }

    /// Sets what it happened to.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<Arc<str>>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Sets what it is ordered by.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets what makes another publishing a repetition.
    #[must_use]
    pub fn dedupe_id(mut self, id: DedupeId) -> Self {
        self.dedupe_id = Some(id);
        self
    }

    /// Sets the priority.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Is not delivered when it has waited so long.
    #[must_use]
    pub const fn expires_after(mut self, wait: Duration) -> Self {
        self.expires = Some(When::After(wait));
        self
    }

    /// Is delivered so long after it was accepted, and not before.
    #[must_use]
    pub const fn delay(mut self, wait: Duration) -> Self {
        self.due = Some(When::After(wait));
        self
    }

    /// Is delivered then, and not before.
    #[must_use]
    pub const fn due_at(mut self, instant: Timestamp) -> Self {
        self.due = Some(When::At(instant));
        self
    }

    /// Sets the name by which it can be moved or cancelled before it is due.
    #[must_use]
    pub fn schedule_key(mut self, key: ScheduleKey) -> Self {
        self.schedule_key = Some(key);
        self
    }

    /// Sets the span that sends it.
    #[must_use]
    pub const fn trace(mut self, parent: TraceParent) -> Self {
        self.trace_parent = Some(parent);
        self
    }

    /// What two messages under one dedupe id must share: the type, the subject, the key, the media type and the data. The id, the times and the trace of a repetition may be others.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: Option<&[u8]>| {
            let length = bytes.map_or(u64::MAX, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            hash.update(length.to_be_bytes());
            hash.update(bytes.unwrap_or_default());
        };
        part(Some(self.kind.as_bytes()));
        part(self.subject.as_deref().map(str::as_bytes));
        part(self.key.as_deref().map(str::as_bytes));
        part(self.content_type.as_deref().map(str::as_bytes));
        part(Some(&self.data));
        hash.finalize().into()
    }

    /// When it could be delivered first, being accepted then.
    #[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres", feature = "worker"))]
    pub(crate) fn first_due(&self, accepted: txn_change::Timestamp) -> txn_change::Timestamp {
        let due = self.due.and_then(|due| due.instant(accepted));
        due.map_or(accepted, |due| due.max(accepted))
    }

    /// Adds an extension attribute.
    #[must_use]
    pub fn extension(mut self, name: AttributeName, value: Attribute) -> Self {
        self.extensions.insert(name, value);
        self
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}
