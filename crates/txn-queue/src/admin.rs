//! What operators and processes do with a queue beside publishing and receiving.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use txn_change::Timestamp;

use crate::{
    error::Error,
    message::{Message, When},
    name::{GroupName, MessageType, ScheduleKey, Topic, WorkerId},
    queue::{Group, Queue},
    topology::{Cause, Death, Rate, Start, Topology},
};

/// Moves or cancels a message that is not due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reschedule {
    /// Its topic.
    pub topic: Topic,
    /// Its schedule key.
    pub key: ScheduleKey,
    /// When it is due from now on; `None` cancels it.
    pub due: Option<When>,
}

/// What became of a [`Reschedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rescheduled {
    /// It is due then, and only then.
    Moved,
    /// No group will ever be given it.
    Cancelled,
    /// No message waits under this key: it is due already, or has been cancelled, or there never was one.
    TooLate,
    /// There is no such topic.
    NoSuchTopic,
    /// It may or may not be so: the medium's answer was lost. The same again tells.
    Unknown,
}

/// An order to a group or to all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Gives its workers nothing more; what they hold can be settled.
    Pause(Group),
    /// Goes on.
    Resume(Group),
    /// Goes to another place: what is kept from there on is delivered again, counted from one; all its leases have ended.
    Seek(Group, Start),
    /// Ends the leases of an incarnation that is known to be dead, as if their time had come.
    Rescue(WorkerId),
}

impl Control {
    /// The topic that it is about; `None` for all.
    #[must_use]
    pub fn topic(&self) -> Option<&Topic> {
        match self {
            Self::Pause(group) | Self::Resume(group) | Self::Seek(group, _) => Some(group.topic()),
            Self::Rescue(_) => None,
        }
    }
}

/// Sends dead letters of a group back to it, and to no other. Each is taken from the dead letters in the same step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// The group that gave them up.
    pub group: Group,
    /// So many, at most.
    pub max: usize,
    /// How fast they become due; all at once when nothing is said.
    pub rate: Option<Rate>,
    /// Only these.
    pub which: Which,
}

/// Chooses dead letters; what is not said chooses all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Which {
    /// Those that died of this.
    pub cause: Option<Cause>,
    /// Those of this type.
    pub kind: Option<MessageType>,
    /// Those that died then or later.
    pub since: Option<Timestamp>,
    /// Those one of whose reasons holds this text.
    pub reason: Option<Arc<str>>,
}

impl Which {
    /// Whether a dead letter is meant.
    #[must_use]
    pub fn chooses(&self, death: &Death, message: &Message) -> bool {
        self.cause.is_none_or(|cause| cause == death.cause)
            && self.kind.as_ref().is_none_or(|kind| *kind == message.kind)
            && self.since.is_none_or(|since| death.died_at >= since)
            && self.reason.as_ref().is_none_or(|text| death.reasons.iter().any(|reason| reason.contains(&**text)))
    }
}

/// What a [`Redrive`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Redriven {
    /// So many were sent back.
    pub moved: usize,
    /// Whether others that were chosen are left.
    pub has_more: bool,
}

/// How a queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Each topic.
    pub topics: BTreeMap<Topic, TopicStats>,
}

/// How a topic stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicStats {
    /// Messages that it holds.
    pub messages: u64,
    /// Messages that went because it was full.
    pub dropped: u64,
    /// Each group.
    pub groups: BTreeMap<GroupName, GroupStats>,
}

/// How a group stands. What was counted is counted since the queue was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupStats {
    /// Messages that it has not settled: ready, waiting and leased.
    pub depth: u64,
    /// Of these, those whose delay or retry has not come.
    pub waiting: u64,
    /// Of these, those that a worker holds.
    pub leased: u64,
    /// When the oldest of them was accepted.
    pub oldest: Option<Timestamp>,
    /// Deliveries, the first of each message and others.
    pub delivered: u64,
    /// Messages that were done.
    pub acked: u64,
    /// Messages that are dead.
    pub dead: u64,
    /// Messages that expired before they were done.
    pub expired: u64,
    /// Whether it is paused.
    pub is_paused: bool,
}

/// Sets a queue up, and looks after it. The contract is that of [`Queue`].
#[async_trait]
pub trait QueueAdmin: Queue {
    /// Declares topics, groups and exchanges, all or nothing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] when the backend lacks what is needed, [`crate::ErrorKind::Invalid`] for what contradicts itself or what exists. Nothing was declared, unless it is [`crate::ErrorKind::Unknown`]: the same again tells.
    async fn declare(&self, topology: Topology) -> Result<(), Error>;

    /// Moves and cancels messages that are not due: one result each, in order.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn reschedule(&self, batch: Vec<Reschedule>) -> Result<Vec<Rescheduled>, Error>;

    /// Carries out an order. The same again changes nothing, but for [`Control::Seek`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when there is no such group. Nothing was changed, unless it is [`crate::ErrorKind::Unknown`].
    async fn control(&self, control: Control) -> Result<(), Error>;

    /// Sends dead letters back. Two at the same time send each letter once.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when there is no such group, or more than [`QueueLimits::receive_max`](crate::QueueLimits::receive_max) are asked for. Nothing was moved, unless it is [`crate::ErrorKind::Unknown`]: the same again moves what is left.
    async fn redrive(&self, redrive: Redrive) -> Result<Redriven, Error>;

    /// Tells how everything stands.
    ///
    /// # Errors
    /// The queue cannot be asked.
    async fn stats(&self) -> Result<Stats, Error>;
}
