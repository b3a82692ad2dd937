//! What there is to publish to and to receive from: topics, groups, exchanges.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use txn_change::Timestamp;

use crate::{
    capabilities::{Capabilities, Need},
    error::{Error, ErrorKind},
    name::{ExchangeName, GroupName, Topic},
    queue::{Group, Position},
    routes::{Criterion, ExchangeKind},
};

/// What is declared at once, all or nothing. What exists and is the same stays; what differs is changed, and nothing is removed.
///
/// ```
/// use txn_queue::{Criterion, ExchangeKind, ExchangeName, Group, GroupName, GroupSpec, Topic, TopicSpec, Topology};
/// let orders = Topic::new("orders")?;
/// let topology = Topology::default()
///     .topic(TopicSpec::new(orders.clone()))
///     .group(GroupSpec::new(Group::new(orders.clone(), GroupName::new("mailer")?)))
///     .exchange(ExchangeName::new("shop")?, ExchangeKind::Fanout)
///     .bind(ExchangeName::new("shop")?, Criterion::Always, orders);
/// assert_eq!(topology.topics.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// Topics.
    pub topics: Vec<TopicSpec>,
    /// Groups of these topics, or of others that exist.
    pub groups: Vec<GroupSpec>,
    /// Exchanges.
    pub exchanges: Vec<(ExchangeName, ExchangeKind)>,
    /// What is bound to them.
    pub bindings: Vec<(ExchangeName, Criterion, Topic)>,
    /// What messages and calls will ask for, beside what the specs do.
    pub needs: Vec<Need>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSpec {
    /// Its name.
    pub topic: Topic,
    /// Messages that it holds, at most: those that a group has not settled, and those that are kept for replays.
    pub messages_max: u64,
    /// What happens to a message that comes when it is full.
    pub overflow: Overflow,
    /// How long a repetition is recognised.
    pub dedupe_window: Duration,
    /// How long a message is kept after all groups have settled it, so that a group can go back to it.
    pub keep: Duration,
}

/// What happens when a topic is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Overflow {
    /// A new message is refused.
    Reject,
    /// The oldest messages go, whoever has not settled them; that is counted.
    DropOldest,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// Which.
    pub group: Group,
    /// Where it begins, when it is new.
    pub start: Start,
    /// Whether messages of a key are delivered one after the other.
    pub order: Order,
    /// How often a message is delivered, at most.
    pub deliveries_max: NonZeroU32,
    /// How long a message waits until it goes like one of the next higher priority.
    pub ageing: Duration,
    /// How many messages it may be given, at most.
    pub rate: Option<Rate>,
    /// Messages that its workers hold, at most, all together.
    pub in_flight_max: usize,
    /// Where its dead letters go. `None`: to the topic `dead.`, the group's topic, a dot and its name; where that is longer than 100 bytes, or one of the two has a dot itself, it ends in a digest of both, so that no two groups share one.
    pub dead_letters: Option<Topic>,
}

/// Where a group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Start {
    /// With the oldest message that is kept.
    Beginning,
    /// With the next message that is accepted.
    End,
    /// With this message, or the next that is kept.
    Position(Position),
    /// With the first message that was accepted then or later.
    Time(Timestamp),
}

/// Whether the messages of a key follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Order {
    /// They need not.
    None,
    /// Of each key, so many at a time are delivered, at most: one keeps the order.
    PerKey {
        /// How many.
        at_once: NonZeroU32,
        /// What those behind do while one waits for its retry.
        behind_retry: BehindRetry,
    },
}

/// What the messages of a key do while one of them waits for its retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BehindRetry {
    /// They wait, too.
    Park,
    /// They pass it.
    Pass,
}

/// So many messages in so long, evenly, with bursts of as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// How many.
    pub messages: NonZeroU32,
    /// In how long.
    pub per: Duration,
}

/// How a message came to be dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Death {
    /// Why.
    pub cause: Cause,
    /// What its workers said about it: the last reasons, the latest last.
    pub reasons: Vec<Arc<str>>,
    /// Which group gave it up.
    pub group: Group,
    /// Where it stood there.
    pub position: Position,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// When it had been accepted.
    pub accepted_at: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
    /// How often it has been sent back and has died again.
    pub redriven: u32,
}

/// Why a message is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// A worker said so.
    Rejected,
    /// It was delivered as often as the group allows.
    Exhausted,
}

impl Rate {
    /// The time that so many messages take.
    #[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
    pub(crate) fn time_of(self, messages: u64) -> Duration {
        let nanos = self.per.as_nanos().saturating_mul(u128::from(messages));
        let nanos = nanos.checked_div(u128::from(self.messages.get())).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Topology {
    /// Adds a topic.
    #[must_use]
    pub fn topic(mut self, topic: TopicSpec) -> Self {
        self.topics.push(topic);
        self
    }

    /// Adds a group.
    #[must_use]
    pub fn group(mut self, group: GroupSpec) -> Self {
        self.groups.push(group);
        self
    }

    /// Adds an exchange.
    #[must_use]
    pub fn exchange(mut self, name: ExchangeName, kind: ExchangeKind) -> Self {
        self.exchanges.push((name, kind));
        self
    }

    /// Binds a topic to an exchange.
    #[must_use]
    pub fn bind(mut self, exchange: ExchangeName, criterion: Criterion, topic: Topic) -> Self {
        self.bindings.push((exchange, criterion, topic));
        self
    }

    /// Says what the application cannot do without: delays, moving and cancelling, priorities, going back. A backend that does not claim it refuses the topology.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// use txn_queue::{ErrorKind, Need, QueueAdmin, Topology, memory::Memory};
    /// let declared = pollster::block_on(Memory::new().declare(Topology::default().need(Need::Durable)));
    /// assert_eq!(declared.unwrap_err().kind(), ErrorKind::Unsupported);
    /// # }
    /// ```
    #[must_use]
    pub fn need(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// All that it needs: what was said, and what its topics and groups ask for.
    pub fn needed(&self) -> impl Iterator<Item = Need> {
        let of_topic = |spec: &TopicSpec| {
            let dedupe = (!spec.dedupe_window.is_zero()).then_some(Need::Dedupe(spec.dedupe_window));
            let replay = (!spec.keep.is_zero()).then_some(Need::Replay);
            [dedupe, replay]
        };
        let of_group = |spec: &GroupSpec| {
            let order = matches!(spec.order, Order::PerKey { .. }).then_some(Need::KeyOrder);
            let replay = matches!(spec.start, Start::Position(_) | Start::Time(_)).then_some(Need::Replay);
            [order, replay]
        };
        let specs = self.topics.iter().flat_map(of_topic).chain(self.groups.iter().flat_map(of_group));
        self.needs.iter().copied().chain(specs.flatten())
    }

    /// Checks that a backend claims all that is needed. Backends call it before they declare anything.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], naming the need.
    pub fn check(&self, claimed: &Capabilities) -> Result<(), Error> {
        match self.needed().find(|need| !claimed.meets(*need)) {
            None => Ok(()),
            Some(need) => Err(Error::new(ErrorKind::Unsupported, format!("{need:?} is needed, and not claimed"))),
        }
    }
}

impl TopicSpec {
    /// A topic of a million messages that refuses what comes when it is full, recognises repetitions for ten minutes, and keeps nothing for replays.
    #[must_use]
    pub const fn new(topic: Topic) -> Self {
        Self {
            topic,
            messages_max: 1_000_000,
            overflow: Overflow::Reject,
            dedupe_window: Duration::from_secs(600),
            keep: Duration::ZERO,
        }
    }
}

/// A name of two others, which no other two have.
fn digested(text: &str, topic: &Topic, group: &GroupName) -> String {
    let digest =
        Sha256::new().chain_update(topic.as_bytes()).chain_update([0]).chain_update(group.as_bytes()).finalize();
    let digest = digest.iter().take(8).fold(String::new(), |digest, byte| format!("{digest}{byte:02x}"));
    let kept = Topic::LENGTH_MAX.saturating_sub(digest.len()).saturating_sub(1).min(text.len());
    format!("{}-{digest}", text.get(..kept).unwrap_or_default())
}

impl GroupSpec {
    /// Where the group's dead letters go.
    #[must_use]
    pub fn dead_letter_topic(&self) -> Topic {
        let derived = || {
            let (topic, group) = (self.group.topic(), self.group.name());
            let text = format!("dead.{topic}.{group}");
            // A name that has to be cut, or that might be another group's, ends in a digest of both.
            let is_whole = text.len() <= Topic::LENGTH_MAX && !topic.contains('.') && !group.contains('.');
            let text = if is_whole { text } else { digested(&text, topic, group) };
            Topic::new(text).expect("made of names")
        };
        self.dead_letters.clone().unwrap_or_else(derived)
    }

    /// A group that begins with the oldest message, keeps the order of each key and holds it up behind a retry, gives a message up after 16 deliveries, and lets a minute of waiting count as a level of priority.
    #[must_use]
    pub const fn new(group: Group) -> Self {
        Self {
            group,
            start: Start::Beginning,
            order: Order::PerKey { at_once: NonZeroU32::MIN, behind_retry: BehindRetry::Park },
            deliveries_max: NonZeroU32::MIN.saturating_add(15),
            ageing: Duration::from_secs(60),
            rate: None,
            in_flight_max: 65_536,
            dead_letters: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_groups_share_a_topic_of_dead_letters_by_its_derived_name() {
        let derived = |topic: &str, group: &str| {
            let group = Group::new(Topic::new(topic).expect("a name"), GroupName::new(group).expect("a name"));
            GroupSpec::new(group).dead_letter_topic()
        };
        assert_eq!(derived("orders", "mailer").as_str(), "dead.orders.mailer");
        let long = "a".repeat(Topic::LENGTH_MAX);
        let (ends, of_itself) = (["x", "y"].map(|end| format!("{}{end}", "g".repeat(60))), "dead.".repeat(20));
        let derived = [
            derived("a.b", "c"),
            derived("a", "b.c"),
            derived("a", "b-c"),
            derived(&long, &ends[0]),
            derived(&long, &ends[1]),
            derived(&of_itself, "g"),
            Topic::new(of_itself).expect("a name"),
        ];
        for (at, one) in derived.iter().enumerate() {
            assert!(!derived[..at].contains(one), "{one}");
        }
    }
}
