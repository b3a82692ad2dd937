//! Messages on their way into their topics.

use std::{sync::Arc, vec};

use txn_change::Timestamp;

use super::{
    later::Later,
    state::State,
    topic::{self, Admission, TopicState},
};
use crate::{
    engine::{admit, log::Stored},
    limits::QueueLimits,
    message::Message,
    name::{ExchangeName, RoutingKey},
    queue::{Address, Publish, Published, Refusal},
};

/// Messages of one address, on their way in.
pub(super) struct Batch {
    to: Address,
    rest: vec::IntoIter<Arc<Message>>,
    /// How many have gone before the rest.
    gone: usize,
    /// Those that no topic would take, by their places.
    refused: vec::IntoIter<(usize, Refusal)>,
    /// Whether none needs a second look.
    is_plain: bool,
}

impl Batch {
    /// Checks what can be checked without a look at any topic.
    pub(super) fn checked(publish: Publish, limits: &QueueLimits) -> Self {
        let Publish { to, messages } = publish;
        let (mut refused, mut is_plain) = (Vec::new(), true);
        for (at, message) in messages.iter().enumerate() {
            is_plain &= topic::is_plain(message);
            if let Err(refusal) = limits.check(message) {
                refused.push((at, refusal));
            }
        }
        Self { to, rest: messages.into_iter(), gone: 0, refused: refused.into_iter(), is_plain }
    }

    /// How many of the next are not refused, before one that is.
    fn count_checked(&self) -> usize {
        let next = self.refused.as_slice().first();
        next.map_or(self.rest.len(), |(at, _)| at.saturating_sub(self.gone))
    }

    /// Messages at the front that need no second look: they have no name to be known by, are due at once and do not expire. At most `max`.
    fn plain(&mut self, max: usize) -> impl Iterator<Item = Arc<Message>> {
        let front = self.rest.as_slice().iter().take(max.min(self.count_checked()));
        let count =
            if self.is_plain { front.len() } else { front.take_while(|message| topic::is_plain(message)).count() };
        self.gone = self.gone.saturating_add(count);
        self.rest.by_ref().take(count)
    }

    /// The next, and what becomes of it unless it was refused.
    fn next(&mut self, accept: impl FnOnce(Arc<Message>) -> Result<Published, Refusal>) -> Option<Published> {
        let is_checked = self.count_checked() > 0;
        let message = self.rest.next()?;
        self.gone = self.gone.saturating_add(1);
        let refusal = if is_checked { None } else { self.refused.next() };
        let result = refusal.map_or_else(|| accept(message), |(_, refusal)| Err(refusal));
        Some(result.unwrap_or_else(Published::Refused))
    }

    fn each(
        mut self,
        results: &mut Vec<Published>,
        mut accept: impl FnMut(Arc<Message>) -> Result<Published, Refusal>,
    ) {
        while let Some(result) = self.next(&mut accept) {
            results.push(result);
        }
    }
}

impl State {
    pub(super) fn publish(
        &mut self,
        batch: Batch,
        limits: &QueueLimits,
        now: Timestamp,
        later: &mut Later,
        results: &mut Vec<Published>,
    ) {
        match batch.to.clone() {
            Address::Topic(topic) => match self.topics.get_mut(&topic) {
                Some(state) => state.publish(batch, now, later, results),
                None => batch.each(results, |message| {
                    admit::timed(message, now)?;
                    Err(Refusal::NoSuchTopic { topic: topic.clone() })
                }),
            },
            Address::Exchange { name, routing_key } => batch
                .each(results, |message| self.route(name.clone(), routing_key.as_ref(), message, limits, now, later)),
        }
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
                state.take(Stored::carrying(Arc::clone(&message), [now, due, expires]), now, later);
                state.topic.changed(&mut later.wake);
            }
        }
        Ok(Published::Accepted { copies: takers.len() })
    }
}

impl TopicState {
    /// Takes what it can of a batch.
    fn publish(&mut self, mut batch: Batch, now: Timestamp, later: &mut Later, results: &mut Vec<Published>) {
        let end = self.topic.log.end();
        loop {
            let taken = self.take_plain(|room| batch.plain(room), now);
            results.extend((0..taken).map(|_| Published::Accepted { copies: 1 }));
            match batch.next(|message| self.accept(message, now, later)) {
                Some(result) => results.push(result),
                None => break,
            }
        }
        self.forget_lapsed(now);
        if self.topic.log.end() > end {
            self.topic.changed(&mut later.wake);
        }
    }
}
