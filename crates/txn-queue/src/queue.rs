//! The contract of a queue.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use txn_change::Timestamp;

use crate::{
    capabilities::Capabilities,
    error::Error,
    message::Message,
    name::{AttributeName, DedupeId, ExchangeName, GroupName, RoutingKey, Topic, WorkerId},
    topology::Death,
};

/// Where a message is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// One topic.
    Topic(Topic),
    /// Wherever an exchange sends it.
    Exchange {
        /// Which.
        name: ExchangeName,
        /// What a direct or topic exchange routes by.
        routing_key: Option<RoutingKey>,
    },
}

/// Messages, and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Where.
    pub to: Address,
    /// What, in order.
    pub messages: Vec<Arc<Message>>,
}

impl Publish {
    /// One message.
    #[must_use]
    pub fn one(to: Address, message: impl Into<Arc<Message>>) -> Self {
        Self { to, messages: vec![message.into()] }
    }

    /// Messages that each have an address: those that follow each other to the same one go together, so that results stand in the order of the messages.
    ///
    /// ```
    /// use txn_queue::*;
    /// let message = |id| Ok::<_, txn_change::NameError>(Message::new(MessageId::new(id)?, Source::new("/shop")?, MessageType::new("placed")?));
    /// let (orders, mails) = (Address::Topic(Topic::new("orders")?), Address::Topic(Topic::new("mails")?));
    /// let batch = Publish::each([(orders.clone(), message("1")?), (orders, message("2")?), (mails, message("3")?)]);
    /// assert_eq!(batch.iter().map(|publish| publish.messages.len()).collect::<Vec<_>>(), [2, 1]);
    /// # Ok::<(), txn_change::NameError>(())
    /// ```
    pub fn each<M: Into<Arc<Message>>>(messages: impl IntoIterator<Item = (Address, M)>) -> Vec<Self> {
        let mut batch: Vec<Self> = Vec::new();
        for (to, message) in messages {
            match batch.last_mut() {
                Some(last) if last.to == to => last.messages.push(message.into()),
                _ => batch.push(Self::one(to, message)),
            }
        }
        batch
    }

    /// How many messages a batch has.
    #[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
    pub(crate) fn count(batch: &[Self]) -> usize {
        batch.iter().map(|publish| publish.messages.len()).fold(0, usize::saturating_add)
    }

    /// Its messages with their address.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn addressed(&self) -> impl Iterator<Item = (&Address, &Arc<Message>)> {
        self.messages.iter().map(|message| (&self.to, message))
    }
}

/// What became of a message that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Published {
    /// It is stored, in so many topics, at least one.
    Accepted {
        /// How many.
        copies: usize,
    },
    /// It had been accepted before, under the same dedupe id and within the window: nothing was stored.
    Duplicate,
    /// It was refused, and nothing was stored.
    Refused(Refusal),
    /// It may or may not be stored: the medium's answer was lost. Publishing it again is safe under a dedupe id.
    Unknown,
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such topic.
    #[error("there is no topic {topic}")]
    NoSuchTopic {
        /// Which.
        topic: Topic,
    },
    /// There is no such exchange.
    #[error("there is no exchange {exchange}")]
    NoSuchExchange {
        /// Which.
        exchange: ExchangeName,
    },
    /// No binding of the exchange fits.
    #[error("the exchange {exchange} sends the message nowhere")]
    Unroutable {
        /// Which.
        exchange: ExchangeName,
    },
    /// A topic that it would come to holds as many messages as it may. There may be room later.
    #[error("the topic {topic} holds {max} messages; no more may be")]
    Full {
        /// Which.
        topic: Topic,
        /// How many it may hold.
        max: u64,
    },
    /// Another message was accepted under its dedupe id, within the window.
    #[error("another message was published under the dedupe id {dedupe_id}")]
    Conflict {
        /// Which.
        dedupe_id: DedupeId,
    },
    /// Its schedule key is another message's, one that is not due yet.
    #[error("another message waits under the schedule key {schedule_key}")]
    Scheduled {
        /// Which.
        schedule_key: crate::name::ScheduleKey,
    },
    /// It is larger than may be.
    #[error("{found} {what}; at most {max} are allowed")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many were found.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// An extension has a name that is CloudEvents' or txn's own.
    #[error("the attribute {name} is reserved")]
    Reserved {
        /// Which.
        name: AttributeName,
    },
    /// It is due or expires at an instant that cannot be told, or expires before it is due.
    #[error("it is due or expires out of range, or expires before it is due")]
    Timeless,
}

impl Refusal {
    /// Whether the same message may be accepted later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// A group of a topic: one reader with its own progress, whose workers share its messages. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group(Arc<(Topic, GroupName)>);

impl Group {
    /// The group of that name.
    #[must_use]
    pub fn new(topic: Topic, name: GroupName) -> Self {
        Self(Arc::new((topic, name)))
    }

    /// What it reads.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.0.0
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &GroupName {
        &self.0.1
    }
}

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receive {
    /// Of which group.
    pub group: Group,
    /// Who asks.
    pub worker: WorkerId,
    /// So many messages at most.
    pub max: usize,
    /// How long they are its own, from now.
    pub lease: Duration,
}

/// What a worker got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The messages, those that go first before the others. None when none is ready.
    pub deliveries: Vec<Delivery>,
    /// When a message will be ready by the passing of time alone, as far as is known now: a delay, a retry, the end of a lease.
    pub next_in: Option<Duration>,
    /// What [`Queue::wait`] compares with, so that nothing is missed between the two calls.
    pub seen: Seen,
}

/// How much of a group a worker has seen. Meaningful only to the queue that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Seen(pub u64);

/// The place of a message in its topic: later ones have higher places, and not every number is a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position(pub u64);

/// A message that a worker holds until its lease ends.
// The lease stands first: taken out of the middle it is read across two writes, which costs as much as the rest of a delivery.
#[repr(C)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What settles it.
    pub lease: Lease,
    /// The message. Its expiry is an instant.
    pub message: Arc<Message>,
    /// How often it has been delivered to the group, this time included. A release takes its delivery back.
    pub deliveries: u32,
    /// Whether the group, as it is declared, allows no more: unless this one is acknowledged or released, the message goes to the dead letters.
    pub is_last: bool,
    /// When it was accepted, by the backend's clock.
    pub accepted_at: Timestamp,
    /// When the lease ends, by the backend's clock.
    pub leased_until: Timestamp,
    /// What it died of, when the topic is one of dead letters.
    pub death: Option<Arc<Death>>,
}

/// The right to settle one delivery of a group. No two deliveries have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Of which message.
    pub position: Position,
    /// New for every delivery.
    pub token: u64,
}

/// What is to become of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// Which.
    pub lease: Lease,
    /// What.
    pub action: Action,
}

/// What a worker does with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is done: the group never sees it again, unless it is sent back in time.
    Ack,
    /// It failed; deliver it again, after so long. When it has been delivered as often as the group allows, it is dead instead.
    Retry {
        /// How long it waits.
        after: Duration,
        /// What failed, for people; it is kept with the dead letter.
        reason: Arc<str>,
    },
    /// It was not begun, or may be begun again by another: deliver it again at once, and do not count this time.
    Release,
    /// It cannot be done: it goes to the dead letters.
    Dead {
        /// Why, for people.
        reason: Arc<str>,
    },
    /// It takes longer: the lease ends so long after now.
    Extend {
        /// How long.
        lease: Duration,
    },
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Settled {
    /// It is so.
    Applied,
    /// The lease had ended: the message waits, or is somebody else's. Nothing was changed.
    Stale,
    /// The group has no such message any more: it was settled, or has expired. Nothing was changed.
    Gone,
    /// It may or may not be so: the medium's answer was lost. Settling again tells, until the lease ends.
    Unknown,
}

/// What a caller waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// For messages of a group, beyond what was seen.
    Messages(Group, Seen),
    /// For room in a topic.
    Room(Topic),
}

impl Wait {
    /// The topic that it is about.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        match self {
            Self::Messages(group, _) => group.topic(),
            Self::Room(topic) => topic,
        }
    }
}

/// Keeps messages, and gives each to one worker of every group at a time, until one has settled it.
///
/// # What every backend promises
///
/// 1. **Kept.** A message that was [`Published::Accepted`] stays until every group whose start covers it has settled it, or it has expired; a durable backend has flushed it before it answers.
/// 2. **At least once.** A message whose lease has ended, by time or by [`Action::Retry`] or [`Action::Release`], is delivered again. What a message effects should therefore be recorded together with the message's id.
/// 3. **One holder.** In a group, no two leases of a message overlap, by the backend's clock. Every delivery has a token that no delivery had before.
/// 4. **Fenced.** A settlement whose lease has ended changes nothing and is [`Settled::Stale`], whether or not somebody else has the message by then, and [`Settled::Gone`] when the group has no such
///    message any more. A batch is settled item by item: one that is stale takes no other with it.
/// 5. **Counted.** [`Delivery::deliveries`] is 1 the first time, and one more each time, a [`Action::Release`] taken back. A message that was delivered as often as the group allows and whose last lease ends otherwise than by
///    [`Action::Ack`] or [`Action::Release`] goes to the dead letters, so that one that kills its worker does not do so for ever.
/// 6. **Order.** In a group that asks for it, messages of one key are delivered one after the other, in the order in which they became due, by their place when that is the same; one that waits for
///    its retry holds up or lets pass those behind it, as the group says. Other keys and messages without a key are not held up.
/// 7. **Fair.** Among messages that are ready, the priority counts, and waiting raises it; among equals, in a group that asks for order, keys take turns, so that a busy key does not starve the rest. In one that does not, a key means nothing: what became ready first goes first.
/// 8. **Independent.** What one group does, or does not, changes nothing for another, except that a topic may be full.
/// 9. **The backend's clock.** It alone says what is due, what has expired and which lease has ended. A clock that goes back does not bring back a lease that has ended.
/// 10. **Once within the window.** A message under a dedupe id that was accepted within the topic's window is [`Published::Duplicate`] when it says the same, and [`Refusal::Conflict`] when not; in a batch, too, and only itself.
/// 11. **Each by itself.** Each message of a batch has its own result, in order. One that comes to several topics is stored in all or in none. An `Err` says that nothing of the batch was executed.
///     A topic takes the messages of a batch that are addressed to it in their order, and none behind one for which it had no room ([`Refusal::Full`]) or of which nobody knows what became ([`Published::Unknown`]): whoever sends them again from there on keeps the order. (One that an exchange sends to several topics is refused for the one that is full, and so may come to the others after those behind it.)
/// 12. **Bounded.** Exceeding a limit is an error or a refusal that names it.
/// 13. **Cancellation.** A call that is dropped has done all of its batch or nothing. What a dropped `receive` had leased comes back when the lease ends.
///
/// # What is not promised
///
/// Order between messages of different keys. That a message is never delivered twice. That [`Queue::wait`] ends only when there is something.
///
/// # For implementors
///
/// No method may need a runtime unless the backend says so. Calls and messages are checked with the methods of [`crate::QueueLimits`] before anything is stored, and routed by [`crate::Routes`].
/// A backend passes the suite in [`crate::conformance`].
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use core::time::Duration;
/// use std::sync::Arc;
/// use txn_queue::{memory::Memory, *};
/// # fn block_on<F: Future>(f: F) -> F::Output { pollster::block_on(f) }
/// let queue: Arc<dyn QueueAdmin> = Arc::new(Memory::new());
/// let topic = Topic::new("orders")?;
/// let group = Group::new(topic.clone(), GroupName::new("mailer")?);
/// block_on(queue.declare(Topology::default().topic(TopicSpec::new(topic.clone())).group(GroupSpec::new(group.clone()))))?;
///
/// let message = Message::new(MessageId::new("1")?, Source::new("/shop")?, MessageType::new("order.placed")?);
/// let published = block_on(queue.publish(vec![Publish::one(Address::Topic(topic), message)]))?;
/// assert_eq!(published, [Published::Accepted { copies: 1 }]);
///
/// let receive = Receive { group: group.clone(), worker: WorkerId::new("a-1")?, max: 10, lease: Duration::from_secs(30) };
/// let received = block_on(queue.receive(receive))?;
/// let ack = Settle { lease: received.deliveries[0].lease, action: Action::Ack };
/// assert_eq!(block_on(queue.settle(&group, vec![ack.clone()]))?, [Settled::Applied]);
/// assert_eq!(block_on(queue.settle(&group, vec![ack]))?, [Settled::Gone]);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Queue: Send + Sync {
    /// What this backend can do. Each claim is tested by the suite.
    fn capabilities(&self) -> Capabilities;

    /// Stores messages: one result for each, in order, whatever their addresses.
    ///
    /// # Errors
    /// Nothing was stored.
    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error>;

    /// Leases messages that are ready, and does not wait for any.
    ///
    /// # Errors
    /// Nothing was leased; with [`ErrorKind::Unknown`](crate::ErrorKind::Unknown), something may have been, and comes back when the lease ends.
    async fn receive(&self, receive: Receive) -> Result<Received, Error>;

    /// Settles deliveries of a group: one result each, in order. What another group was given is none of its own, and changes nothing.
    ///
    /// # Errors
    /// Nothing was settled.
    async fn settle(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error>;

    /// Ends when there may be something, and perhaps for no reason; never because time has passed, which is the caller's to see to with [`Received::next_in`].
    ///
    /// # Errors
    /// The queue is closed, or does not know the group or the topic.
    async fn wait(&self, wait: Wait) -> Result<(), Error>;
}
