//! From an event of the log to what is sent. Pure: the same event gives the same messages on every run and from every relay, which is what makes them repetitions of each other.

use std::{fmt::Write, sync::Arc};

use txn_change::{Fingerprint, Format, NameError};
use txn_queue::{
    Address, Attribute, AttributeName, DedupeId, ExchangeName, Key, Message, MessageId, MessageType, Reschedule,
    RoutingKey, Source, Topic,
};
use txn_store::{LogItem, Recorded};

/// Says what becomes of an event. Every function from an [`Origin`] to a [`Verdict`] is one.
///
/// It must be pure: an event is mapped again after a crash, and whenever a parked message is tried again. It should not panic; an event for which it does is parked.
///
/// # Order, delay and cancelling
///
/// What events of one subject come to reaches the queue in the order of the log. So a message that may be moved or cancelled by its schedule key, and whatever moves or cancels it, must come from events of one subject: then a
/// cancellation that is committed while the message itself is still in the log reaches the queue after it, and finds it. Whether a message is delayed, until when, and under which key, is read from the event: nothing of it
/// is known to the store. A delay in a [`Reschedule`] counts from when the event was recorded, so that doing it again changes nothing.
///
/// # Trace
///
/// An event has no field for a trace. Whoever wants one trace from the request to the consumer writes the `traceparent` of the request into the event's payload, and the mapping sets
/// [`Message::trace_parent`] from it:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use txn::{change::Document, queue::Topic, relay::{Origin, Verdict}};
///
/// #[derive(Serialize, Deserialize)]
/// struct Placed { order: String, traceparent: Option<String> }
/// impl Document for Placed {
///     const TYPE: &'static str = "shop.placed";
///     const SCHEMA: u16 = 1;
/// }
///
/// fn mapping(origin: &Origin<'_>) -> Verdict {
///     let Ok(placed) = origin.recorded().event.body.read::<Placed>() else { return Verdict::Skip };
///     let mut message = match origin.message() {
///         Ok(message) => message,
///         Err(error) => return Verdict::Poison(error.to_string().into()),
///     };
///     message.trace_parent = placed.traceparent.and_then(|text| text.parse().ok());
///     Verdict::topic(Topic::new("orders").expect("a name"), message)
/// }
/// # let _: &dyn txn::relay::Mapping = &mapping;
/// ```
pub trait Mapping: Send + Sync + 'static {
    /// What becomes of it.
    fn map(&self, origin: &Origin<'_>) -> Verdict;
}

impl<F: Fn(&Origin<'_>) -> Verdict + Send + Sync + 'static> Mapping for F {
    fn map(&self, origin: &Origin<'_>) -> Verdict {
        self(origin)
    }
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is sent as these, in their order.
    Send(Vec<Outgoing>),
    /// It concerns nobody else.
    Skip,
    /// It should be sent and cannot be: it is parked, with this reason.
    Poison(Arc<str>),
}

/// What is done to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outgoing {
    /// A message is published. Without a dedupe id it is given the one of its origin.
    Publish {
        /// Where.
        to: Address,
        /// What.
        message: Arc<Message>,
    },
    /// A message that is not due is moved or cancelled. That there is none is nothing wrong.
    Reschedule(Reschedule),
}

impl Verdict {
    /// One message to a topic.
    #[must_use]
    pub fn topic(topic: Topic, message: Message) -> Self {
        Self::publish(Address::Topic(topic), message)
    }

    /// One message to an address.
    #[must_use]
    pub fn publish(to: Address, message: Message) -> Self {
        Self::Send(vec![Outgoing::Publish { to, message: Arc::new(message) }])
    }

    /// One message is moved, or cancelled.
    #[must_use]
    pub fn reschedule(reschedule: Reschedule) -> Self {
        Self::Send(vec![Outgoing::Reschedule(reschedule)])
    }
}

/// An event in the log, and what the messages that it comes to are called.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    item: &'a LogItem,
    index: u32,
    source: &'a str,
}

impl<'a> Origin<'a> {
    /// The event at place `index` among those of its change, in a store whose messages come from `source`. For tests of a mapping.
    #[must_use]
    pub const fn new(item: &'a LogItem, index: u32, source: &'a str) -> Self {
        Self { item, index, source }
    }

    /// The event in its place in the log.
    #[must_use]
    pub const fn item(&self) -> &'a LogItem {
        self.item
    }

    /// The event with what it came from.
    #[must_use]
    pub const fn recorded(&self) -> &'a Recorded {
        &self.item.recorded
    }

    /// Its place among the events of its change, from 0.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The event as a CloudEvent:
    ///
    /// - `id`: its change's id and its place there. The position in the log is no part of it: after a failover that lost the newest positions, an event may have another one.
    /// - `source`: the relay's source, `/`, and the tenant. So ids are unique with their source, and say nothing of the tenant.
    /// - `type`, `time`, `subject`: the event's type, when it was recorded, and what it is about, as text. `key`: the same, or a digest of it where it is no key.
    /// - `data`: the payload as it is stored, as `application/json`; none where it was [erased](txn_store::Erase), and the extension `erased` then.
    /// - `causationid`: the change's id. Dedupe id: the source and the id. Extensions: `tenant`, and `schemaversion`.
    ///
    /// # Errors
    /// [`NameError`] when the event's type is no type of a message.
    pub fn message(&self) -> Result<Message, NameError> {
        self.nth_message(0)
    }

    /// As [`Origin::message`], under an id of its own, for an event that comes to several.
    ///
    /// # Errors
    /// As [`Origin::message`].
    pub fn nth_message(&self, nth: u32) -> Result<Message, NameError> {
        let Recorded { tenant, change, recorded_at, event } = &self.item.recorded;
        let (id, source) = (self.message_id(nth), self.source());
        let dedupe_id = bounded(&format!("{source}#{id}"), DedupeId::LENGTH_MAX, "");
        let mut message = Message::new(id, source, MessageType::new(event.body.type_name())?)
            .dedupe_id(DedupeId::new(dedupe_id)?)
            .extension(AttributeName::new("tenant")?, Attribute::from(tenant.as_str()))
            .extension(AttributeName::new("schemaversion")?, Attribute::Integer(event.body.schema().into()));
        message.time = Some(*recorded_at);
        message.causation_id = Some(change.as_str().into());
        if let Some(subject) = &event.subject {
            let text = subject.to_string();
            message.key =
                Key::new(&text).or_else(|_| Key::new(hex(&Fingerprint::of_bytes("key", text.as_bytes())))).ok();
            message = message.subject(text);
        }
        Ok(match event.body.format() {
            Format::Json => message.data("application/json", event.body.bytes()),
            _ => message.extension(AttributeName::new("erased")?, Attribute::Boolean(true)),
        })
    }

    /// The id of the message that the event comes to, or of another beside it.
    #[must_use]
    pub fn message_id(&self, nth: u32) -> MessageId {
        let change = &self.item.recorded.change;
        let tail = if nth == 0 { format!("/{}", self.index) } else { format!("/{}.{nth}", self.index) };
        MessageId::new(bounded(change, MessageId::LENGTH_MAX, &tail)).expect("graphic, and of bounded length")
    }

    pub(super) fn source(&self) -> Source {
        let source = format!("{}/{}", self.source, self.item.recorded.tenant);
        Source::new(source).expect("the length was checked when the relay was built")
    }
}

/// A text with a tail; where the two are too long, a digest of the text stands for it. What looks like a digest is digested, too, so that no two texts come to the same.
fn bounded(text: &str, max: usize, tail: &str) -> String {
    let fits = text.len().saturating_add(tail.len()) <= max && !text.starts_with(DIGEST);
    let mut bounded = if fits { text.to_owned() } else { digested(&Fingerprint::of_bytes("id", text.as_bytes())) };
    bounded.push_str(tail);
    bounded
}

const DIGEST: &str = "sha256:";

/// A digest as part of a name.
pub(crate) fn digested(digest: &Fingerprint) -> String {
    format!("{DIGEST}{}", hex(digest))
}

fn hex(digest: &Fingerprint) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest.0 {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

/// Sends every event as [`Origin::message`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Everything {
    to: To,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    Topic(Topic),
    Exchange(ExchangeName),
}

impl Everything {
    /// To one topic.
    #[must_use]
    pub const fn to_topic(topic: Topic) -> Self {
        Self { to: To::Topic(topic) }
    }

    /// To an exchange, with the event's type as the routing key.
    #[must_use]
    pub const fn to_exchange(exchange: ExchangeName) -> Self {
        Self { to: To::Exchange(exchange) }
    }
}

impl Mapping for Everything {
    fn map(&self, origin: &Origin<'_>) -> Verdict {
        let mapped = origin.message().and_then(|message| {
            let to = match &self.to {
                To::Topic(topic) => Address::Topic(topic.clone()),
                To::Exchange(name) => {
                    Address::Exchange { name: name.clone(), routing_key: Some(RoutingKey::new(&*message.kind)?) }
                }
            };
            Ok(Verdict::publish(to, message))
        });
        mapped.unwrap_or_else(|error| Verdict::Poison(error.to_string().into()))
    }
}
