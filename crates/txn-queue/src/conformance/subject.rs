//! One queue under test, with its clock, one topic, one group, and the few calls that nearly every scenario makes.

use std::{sync::Arc, time::Duration};

use txn_change::Timestamp;
use txn_suite::{Checked, Failure, equal, only, some};

use super::Backend;
use crate::{
    admin::{GroupStats, QueueAdmin},
    capabilities::Need,
    clock::ManualClock,
    limits::QueueLimits,
    message::Message,
    name::{GroupName, Key, MessageId, MessageType, Source, Topic, WorkerId},
    queue::{Action, Address, Delivery, Group, Publish, Published, Receive, Received, Settle, Settled},
    topology::{GroupSpec, TopicSpec, Topology},
};

/// 2030-01-01T00:00:00Z, where every clock of the suite begins.
pub(super) const START: Timestamp = Timestamp::from_nanos(1_893_456_000_000_000_000);

/// The lease that a scenario takes when it says nothing else.
pub(super) const LEASE: Duration = Duration::from_secs(30);

pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A queue. Cheap to clone.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) queue: Arc<dyn QueueAdmin>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) topic: Topic,
    pub(super) group: Group,
}

impl Subject {
    /// An empty queue, without a topic.
    pub(super) async fn open(backend: &dyn Backend, place: &str, limits: QueueLimits) -> Checked<Self> {
        let clock = Arc::new(ManualClock::at(START));
        let queue = backend.open(place, Arc::clone(&clock) as _, limits).await?;
        let topic = Topic::new("orders")?;
        let group = Group::new(topic.clone(), GroupName::new("workers")?);
        Ok(Self { queue, clock, topic, group })
    }

    /// Declares the topic and its group as they are when nothing is said.
    pub(super) async fn plain(self) -> Checked<Self> {
        let spec = self.spec();
        self.with(spec).await
    }

    pub(super) fn spec(&self) -> GroupSpec {
        GroupSpec::new(self.group.clone())
    }

    /// Declares the topic, and the group as it is said.
    pub(super) async fn with(self, spec: GroupSpec) -> Checked<Self> {
        let topology = Topology::default().topic(TopicSpec::new(self.topic.clone())).group(spec);
        self.queue.declare(topology).await?;
        Ok(self)
    }

    /// Declares what a scenario asks of the backend: one that does not claim it fails here.
    pub(super) async fn needing(self, needs: &[Need]) -> Checked<Self> {
        let needed = needs.iter().fold(Topology::default(), |topology, need| topology.need(*need));
        self.queue.declare(needed).await?;
        Ok(self)
    }

    /// The same queue through another group of the topic, or of another one.
    pub(super) fn through(&self, topic: &Topic, group: &str) -> Checked<Self> {
        let group = Group::new(topic.clone(), GroupName::new(group)?);
        Ok(Self { topic: topic.clone(), group, ..self.clone() })
    }

    pub(super) async fn batch(&self, messages: Vec<Message>) -> Checked<Vec<Published>> {
        let wanted = messages.len();
        let to = Address::Topic(self.topic.clone());
        let messages = messages.into_iter().map(Arc::new).collect();
        let published = self.queue.publish(vec![Publish { to, messages }]).await?;
        equal("results for the messages", &published.len(), &wanted)?;
        Ok(published)
    }

    pub(super) async fn publish(&self, message: Message) -> Checked<Published> {
        only("result", self.batch(vec![message]).await?)
    }

    /// Publishes messages that must be accepted.
    pub(super) async fn accepted(&self, messages: Vec<Message>) -> Checked {
        let published = self.batch(messages).await?;
        match published.into_iter().find(|published| !matches!(published, Published::Accepted { .. })) {
            None => Ok(()),
            Some(other) => Err(Failure::new(format!("expected that every message is accepted, found {other:?}"))),
        }
    }

    /// Publishes messages of these ids, without keys.
    pub(super) async fn send(&self, ids: &[&str]) -> Checked {
        let messages = ids.iter().map(|id| message(id)).collect::<Checked<Vec<Message>>>()?;
        self.accepted(messages).await
    }

    /// Publishes messages of these keys and ids: `key/id`.
    pub(super) async fn send_keyed(&self, ids: &[&str]) -> Checked {
        let messages = ids.iter().map(|id| keyed(id)).collect::<Checked<Vec<Message>>>()?;
        self.accepted(messages).await
    }

    pub(super) async fn ask(&self, worker: &str, max: usize, lease: Duration) -> Checked<Received> {
        let receive = Receive { group: self.group.clone(), worker: WorkerId::new(worker)?, max, lease };
        let received = self.queue.receive(receive).await?;
        if received.deliveries.len() > max {
            return Err(Failure::new(format!("expected {max} messages at most, found {}", received.deliveries.len())));
        }
        Ok(received)
    }

    pub(super) async fn receive(&self, max: usize) -> Checked<Vec<Delivery>> {
        Ok(self.ask("worker-1", max, LEASE).await?.deliveries)
    }

    /// The only message that is ready.
    pub(super) async fn one(&self) -> Checked<Delivery> {
        only("message", self.receive(100).await?)
    }

    /// The next message.
    pub(super) async fn next(&self) -> Checked<Delivery> {
        some("a message", self.receive(1).await?.pop())
    }

    /// Nothing is ready.
    pub(super) async fn nothing(&self, when: &str) -> Checked {
        equal(&format!("what is ready {when}"), &ids(&self.receive(100).await?), &Vec::new())
    }

    /// These are ready, in this order.
    pub(super) async fn ready(&self, when: &str, wanted: &[&str]) -> Checked<Vec<Delivery>> {
        let deliveries = self.receive(1_000).await?;
        let wanted: Vec<String> = wanted.iter().map(|id| (*id).to_owned()).collect();
        equal(&format!("what is ready {when}"), &ids(&deliveries), &wanted)?;
        Ok(deliveries)
    }

    pub(super) async fn settle_all(&self, deliveries: &[Delivery], action: &Action) -> Checked<Vec<Settled>> {
        let settle = |delivery: &Delivery| Settle { lease: delivery.lease, action: action.clone() };
        let settled = self.queue.settle(&self.group, deliveries.iter().map(settle).collect()).await?;
        equal("results for the settlements", &settled.len(), &deliveries.len())?;
        Ok(settled)
    }

    pub(super) async fn settle(&self, delivery: &Delivery, action: Action) -> Checked<Settled> {
        only("result", self.settle_all(std::slice::from_ref(delivery), &action).await?)
    }

    /// Settles it, which must be applied.
    pub(super) async fn apply(&self, delivery: &Delivery, action: Action) -> Checked {
        let what = format!("the settlement of {} as {action:?}", delivery.message.id);
        equal(&what, &self.settle(delivery, action).await?, &Settled::Applied)
    }

    pub(super) async fn ack(&self, delivery: &Delivery) -> Checked {
        self.apply(delivery, Action::Ack).await
    }

    pub(super) async fn stats(&self) -> Checked<GroupStats> {
        let stats = self.queue.stats().await?;
        let topic = some("the topic's statistics", stats.topics.get(&self.topic))?;
        some("the group's statistics", topic.groups.get(self.group.name()).copied())
    }

    pub(super) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

pub(super) fn retry(after: Duration) -> Action {
    Action::Retry { after, reason: "it failed".into() }
}

pub(super) fn message(id: &str) -> Checked<Message> {
    Ok(Message::new(MessageId::new(id)?, Source::new("/suite")?, MessageType::new("suite.sent")?)
        .data("text/plain", id.as_bytes().to_vec()))
}

/// A message whose key is what stands before the slash.
pub(super) fn keyed(id: &str) -> Checked<Message> {
    let (key, _) = some("a key in the id", id.split_once('/'))?;
    Ok(message(id)?.key(Key::new(key)?))
}

pub(super) fn ids(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| delivery.message.id.to_string()).collect()
}
