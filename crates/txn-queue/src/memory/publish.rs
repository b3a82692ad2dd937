//! Messages on their way into their topics.

use std::{sync::Arc, vec};

use txn_change::Timestamp;

use super::{
    later::Later,
    state::State,
    topic::{Admission, TopicState, published},
};
use crate::{
    engine::admit,
    limits::QueueLimits,
    message::Message,
    name::{ExchangeName, RoutingKey, Topic},
    queue::{Address, Publish, Published, Refusal},
};

/// What was published in one call, and what became of it so far.
pub(super) struct Batch {
    rest: vec::IntoIter<Publish>,
    /// Those that no topic would take, by their places.
    refused: vec::IntoIter<(usize, Refusal)>,
    results: Vec<Published>,
}

impl Batch {
    /// Checks what can be checked without a look at any topic.
    pub(super) fn checked(batch: Vec<Publish>, limits: &QueueLimits) -> Self {
        let checked = batch.iter().enumerate();
        let refused = checked.filter_map(|(at, publish)| Some((at, limits.check(&publish.message).err()?)));
        let refused: Vec<_> = refused.collect();
        Self { results: Vec::with_capacity(batch.len()), rest: batch.into_iter(), refused: refused.into_iter() }
    }

    /// How many of the next come to this topic.
    fn count_of(&self, topic: &Topic) -> usize {
        // Whoever publishes a batch has one name for its topic, mostly.
        let is_same = |other: &Topic| std::ptr::eq(other.as_str(), topic.as_str()) || other == topic;
        let is_of = |publish: &&Publish| matches!(&publish.to, Address::Topic(other) if is_same(other));
        self.rest.as_slice().iter().take_while(is_of).count()
    }

    /// How many are not refused before one that is, at most `max`.
    fn count_checked(&self, max: usize) -> usize {
        let next = self.refused.as_slice().first();
        next.map_or(max, |(at, _)| at.saturating_sub(self.results.len()).min(max))
    }

    /// The next, and what becomes of it unless it was refused.
    fn next(&mut self, accept: impl FnOnce(Publish) -> Result<Published, Refusal>) {
        let Some(publish) = self.rest.next() else { return };
        let result = match self.count_checked(1) {
            0 => self.refused.next().map_or_else(|| accept(publish), |(_, refusal)| Err(refusal)),
            _ => accept(publish),
        };
        self.results.push(result.unwrap_or_else(Published::Refused));
    }
}

impl State {
    pub(super) fn publish(
        &mut self,
        mut batch: Batch,
        limits: &QueueLimits,
        now: Timestamp,
        later: &mut Later,
    ) -> Vec<Published> {
        while let Some(Publish { to, .. }) = batch.rest.as_slice().first() {
            // A batch is of one topic, nearly always: it is found once, and whoever waits there is woken once.
            let topic = match to {
                Address::Topic(topic) => topic.clone(),
                Address::Exchange { .. } => {
                    batch.next(|publish| match publish.to {
                        Address::Exchange { name, routing_key } => {
                            self.route(name, routing_key.as_ref(), publish.message, limits, now, later)
                        }
                        Address::Topic(topic) => Err(Refusal::NoSuchTopic { topic }),
                    });
                    continue;
                }
            };
            let count = batch.count_of(&topic);
            match self.topics.get_mut(&topic) {
                Some(state) => state.publish(&mut batch, count, now, later),
                None => {
                    let refuse = |publish: Publish| {
                        admit::timed(publish.message, now)?;
                        Err(Refusal::NoSuchTopic { topic: topic.clone() })
                    };
                    (0..count).for_each(|_| batch.next(refuse));
                }
            }
        }
        batch.results
    }

    fn route(
        &mut self,
        exchange: ExchangeName,
        routing_key: Option<&RoutingKey>,
        message: Arc<Message>,
        limits: &QueueLimits,
        now: Timestamp,
        later: &mut Later,
    ) -> Result<Published, Refusal> {
        let (message, due, expires) = admit::timed(message, now)?;
        // Those that have it already are passed over; one that refuses, refuses for all.
        let mut takers = Vec::new();
        for topic in admit::targets(&self.routes, exchange, routing_key, &message, limits)? {
            let Some(state) = self.topics.get_mut(&topic) else { return Err(Refusal::NoSuchTopic { topic }) };
            match state.examine(&message, now)? {
                Admission::Has => {}
                Admission::Takes => takers.push(topic),
            }
        }
        if takers.is_empty() {
            return Ok(Published::Duplicate);
        }
        for topic in &takers {
            if let Some(state) = self.topics.get_mut(topic) {
                state.take(published(Arc::clone(&message), now, due, expires), now, later);
                state.topic.changed(&mut later.wake);
            }
        }
        Ok(Published::Accepted { copies: takers.len() })
    }
}

impl TopicState {
    /// Takes the next `count` of a batch.
    fn publish(&mut self, batch: &mut Batch, count: usize, now: Timestamp, later: &mut Later) {
        let end = self.topic.log.end();
        let mut left = count;
        while left > 0 {
            let max = batch.count_checked(left);
            let taken = self.take_plain(&mut batch.rest, max, now);
            batch.results.extend((0..taken).map(|_| Published::Accepted { copies: 1 }));
            left = left.saturating_sub(taken);
            if left > 0 {
                batch.next(|publish| self.accept(publish.message, now, later));
                left = left.saturating_sub(1);
            }
        }
        self.forget_lapsed(now);
        if self.topic.log.end() > end {
            self.topic.changed(&mut later.wake);
        }
    }
}
