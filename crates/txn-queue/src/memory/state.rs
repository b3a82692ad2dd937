//! Everything that a queue in memory holds, and what is done to it under its lock.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use foldhash::fast::RandomState;
use txn_change::Timestamp;

use super::{
    group::{Dying, GroupState},
    log::Stored,
    topic::{Admission, TopicState},
};
use crate::{
    admin::{Control, Redrive, Redriven},
    error::{Error, ErrorKind},
    limits::QueueLimits,
    message::{Message, When},
    name::{ExchangeName, GroupName, RoutingKey, Topic},
    queue::{Action, Address, Group, Lease, Publish, Published, Refusal, Settle, Settled},
    routes::Routes,
    topology::{TopicSpec, Topology},
};

#[derive(Default)]
pub(super) struct State {
    pub(super) topics: HashMap<Topic, TopicState, RandomState>,
    pub(super) routes: Routes,
    /// The last token that was given.
    pub(super) tokens: u64,
    pub(super) last: Option<Timestamp>,
}

impl State {
    pub(super) fn topic(&mut self, topic: &Topic) -> Result<&mut TopicState, Error> {
        self.topics.get_mut(topic).ok_or_else(|| Error::new(ErrorKind::Invalid, format!("there is no topic {topic}")))
    }

    pub(super) fn publish(
        &mut self,
        publish: Publish,
        limits: &QueueLimits,
        now: Timestamp,
        wakers: &mut Vec<Waker>,
    ) -> Published {
        match self.accept(publish, limits, now, wakers) {
            Ok(published) => published,
            Err(refusal) => Published::Refused(refusal),
        }
    }

    fn accept(
        &mut self,
        publish: Publish,
        limits: &QueueLimits,
        now: Timestamp,
        wakers: &mut Vec<Waker>,
    ) -> Result<Published, Refusal> {
        let Publish { to, message } = publish;
        limits.check(&message)?;
        let (message, due, expires) = timed(message, now)?;
        let stored = || Stored {
            message: Arc::clone(&message),
            accepted_at: now,
            due,
            expires,
            only: None,
            death: None,
            redriven: 0,
            is_removed: false,
        };
        let (exchange, routing_key) = match to {
            Address::Topic(topic) => {
                let Some(state) = self.topics.get_mut(&topic) else { return Err(Refusal::NoSuchTopic { topic }) };
                return match state.examine(&message, now) {
                    Admission::Refuses(refusal) => Err(refusal),
                    Admission::Has => Ok(Published::Duplicate),
                    Admission::Takes => {
                        state.take(stored(), now, wakers);
                        Ok(Published::Accepted { copies: 1 })
                    }
                };
            }
            Address::Exchange { name, routing_key } => (name, routing_key),
        };
        // Those that have it already are passed over; one that refuses, refuses for all.
        let mut takers = Vec::new();
        for topic in self.targets(exchange, routing_key.as_ref(), &message, limits)? {
            match self.topics.get_mut(&topic).map(|state| state.examine(&message, now)) {
                None => return Err(Refusal::NoSuchTopic { topic }),
                Some(Admission::Refuses(refusal)) => return Err(refusal),
                Some(Admission::Has) => {}
                Some(Admission::Takes) => takers.push(topic),
            }
        }
        if takers.is_empty() {
            return Ok(Published::Duplicate);
        }
        for topic in &takers {
            if let Some(state) = self.topics.get_mut(topic) {
                state.take(stored(), now, wakers);
            }
        }
        Ok(Published::Accepted { copies: takers.len() })
    }

    fn targets(
        &self,
        exchange: ExchangeName,
        routing_key: Option<&RoutingKey>,
        message: &Message,
        limits: &QueueLimits,
    ) -> Result<Vec<Topic>, Refusal> {
        let Some(topics) = self.routes.route(&exchange, routing_key, message) else {
            return Err(Refusal::NoSuchExchange { exchange });
        };
        match topics.len() {
            0 => Err(Refusal::Unroutable { exchange }),
            found if found > limits.copies_max => {
                Err(Refusal::TooLarge { what: "copies", found, max: limits.copies_max })
            }
            _ => Ok(topics),
        }
    }

    /// Does what time has brought to a group, so that what follows sees it as it is.
    pub(super) fn advance(&mut self, group: &Group, now: Timestamp, wakers: &mut Vec<Waker>) -> Result<(), Error> {
        let topic = self.topic(group.topic())?;
        let dying = find(&mut topic.groups, group)?.advance(&topic.log, now);
        self.bury(group, dying, now, wakers);
        Ok(())
    }

    pub(super) fn settle(&mut self, batch: &[Settle], now: Timestamp, wakers: &mut Vec<Waker>) -> Vec<Settled> {
        let mut results = Vec::with_capacity(batch.len());
        let mut rest = batch;
        // A batch is of one group, nearly always.
        while let Some(Settle { lease: Lease { group, .. }, .. }) = rest.first() {
            let count = rest.iter().take_while(|settle| settle.lease.group == *group).count();
            let (same, others) = rest.split_at(count);
            let known = self.topics.get_mut(group.topic());
            let known = known.and_then(|topic| Some((topic.groups.get_mut(group.name())?, &topic.log)));
            match known {
                None => results.extend(same.iter().map(|_| Settled::Gone)),
                Some((state, log)) => {
                    let mut dying = Vec::new();
                    let settled =
                        same.iter().map(|settle| state.settle(&settle.lease, &settle.action, log, now, &mut dying));
                    results.extend(settled);
                    state.forget_done();
                    if same.iter().any(|settle| !matches!(settle.action, Action::Extend { .. })) {
                        state.changed(wakers);
                    }
                    self.bury(group, dying, now, wakers);
                }
            }
            if let Some(topic) = self.topics.get_mut(group.topic()) {
                topic.release(now, wakers);
            }
            rest = others;
        }
        results
    }

    /// Moves what a group gave up to its dead letters; what finds no room there stays, for a while.
    fn bury(&mut self, group: &Group, dying: Vec<Dying>, now: Timestamp, wakers: &mut Vec<Waker>) {
        for dead in dying {
            let Some(topic) = self.topics.get(group.topic()) else { return };
            let Some(letters) = topic.groups.get(group.name()).map(|group| group.spec.dead_letter_topic()) else {
                return;
            };
            let Some(letter) = topic.letter(group.name(), &dead, now) else { continue };
            let letters =
                self.topics.entry(letters.clone()).or_insert_with(|| TopicState::new(TopicSpec::new(letters)));
            let is_buried = letters.add(letter, now, wakers);
            if let Some(topic) = self.topics.get_mut(group.topic())
                && let Some(state) = topic.groups.get_mut(group.name())
            {
                if is_buried {
                    state.buried(dead.position, &topic.log, now);
                } else {
                    state.not_buried(dead.position, &topic.log, now);
                }
            }
        }
    }

    pub(super) fn declare(&mut self, topology: Topology, limits: &QueueLimits) -> Result<(), Error> {
        let invalid = |context: String| Error::new(ErrorKind::Invalid, context);
        let mut routes = self.routes.clone();
        for (name, kind) in topology.exchanges {
            routes.declare(name, kind).map_err(|error| invalid(error.to_string()))?;
        }
        let exists = |topics: &HashMap<Topic, TopicState, RandomState>, topic: &Topic| {
            topics.contains_key(topic) || topology.topics.iter().any(|spec| spec.topic == *topic)
        };
        for (exchange, criterion, topic) in topology.bindings {
            if !exists(&self.topics, &topic) {
                return Err(invalid(format!("there is no topic {topic}")));
            }
            routes.bind(&exchange, criterion, topic).map_err(|error| invalid(error.to_string()))?;
        }
        for group in &topology.groups {
            let topic = group.group.topic();
            if !exists(&self.topics, topic) {
                return Err(invalid(format!("there is no topic {topic}")));
            }
            if group.dead_letters.as_ref() == Some(topic) {
                return Err(invalid(format!("the dead letters of {topic} cannot go there")));
            }
            if group.rate.is_some_and(|rate| rate.per.is_zero()) {
                return Err(invalid(format!("a rate of {} of {topic} in no time", group.group.name())));
            }
        }
        let new = topology.topics.iter().filter(|spec| !self.topics.contains_key(&spec.topic)).count();
        let found = self.topics.len().saturating_add(new).max(routes.bindings());
        if found > limits.topology_max {
            let context = format!("{found} topics or bindings; at most {} are allowed", limits.topology_max);
            return Err(invalid(context));
        }
        self.routes = routes;
        for spec in topology.topics {
            match self.topics.get_mut(&spec.topic) {
                Some(topic) => topic.spec = spec,
                None => {
                    self.topics.insert(spec.topic.clone(), TopicState::new(spec));
                }
            }
        }
        for spec in topology.groups {
            let Some(topic) = self.topics.get_mut(spec.group.topic()) else { continue };
            match topic.groups.get_mut(spec.group.name()) {
                Some(group) => group.spec = spec,
                None => {
                    topic.groups.insert(spec.group.name().clone(), GroupState::new(spec, &topic.log));
                }
            }
        }
        Ok(())
    }

    pub(super) fn control(&mut self, control: Control, now: Timestamp, wakers: &mut Vec<Waker>) -> Result<(), Error> {
        match control {
            Control::Pause(group) => {
                find(&mut self.topic(group.topic())?.groups, &group)?.set_paused(true);
            }
            Control::Resume(group) => {
                let group = find(&mut self.topic(group.topic())?.groups, &group)?;
                group.set_paused(false);
                group.changed(wakers);
            }
            Control::Seek(group, start) => {
                let topic = self.topic(group.topic())?;
                topic.release(now, wakers);
                let group = find(&mut topic.groups, &group)?;
                group.seek(start, &topic.log);
                group.changed(wakers);
            }
            Control::Rescue(worker) => {
                let mut dying = Vec::new();
                for topic in self.topics.values_mut() {
                    for group in topic.groups.values_mut() {
                        let dead = group.rescue(&worker, &topic.log, now);
                        group.changed(wakers);
                        dying.push((group.group().clone(), dead));
                    }
                }
                dying.into_iter().for_each(|(group, dead)| self.bury(&group, dead, now, wakers));
            }
        }
        Ok(())
    }

    pub(super) fn redrive(
        &mut self,
        redrive: &Redrive,
        now: Timestamp,
        wakers: &mut Vec<Waker>,
    ) -> Result<Redriven, Error> {
        let topic = self.topic(redrive.group.topic())?;
        let letters = find(&mut topic.groups, &redrive.group)?.spec.dead_letter_topic();
        let room = usize::try_from(topic.spec.messages_max.saturating_sub(topic.log.len())).unwrap_or(usize::MAX);
        let Some(dead) = self.topics.get_mut(&letters) else {
            return Ok(Redriven { moved: 0, has_more: false });
        };
        let (letters, redriven) = dead.take_letters(redrive, room);
        dead.release(now, wakers);
        let topic = self.topic(redrive.group.topic())?;
        for (letter, count) in letters.into_iter().zip(0u64..) {
            let due = redrive.rate.map_or(now, |rate| now.after(rate.time_of(count)).unwrap_or(Timestamp::MAX));
            topic.add(Stored { accepted_at: now, due, ..letter }, now, wakers);
        }
        Ok(redriven)
    }
}

pub(super) fn find<'g>(
    groups: &'g mut BTreeMap<GroupName, GroupState>,
    group: &Group,
) -> Result<&'g mut GroupState, Error> {
    groups.get_mut(group.name()).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("the topic {} has no group {}", group.topic(), group.name()))
    })
}

/// A message with its instants, as the clock says.
fn timed(message: Arc<Message>, now: Timestamp) -> Result<(Arc<Message>, Timestamp, Timestamp), Refusal> {
    let instant = |when: Option<When>| when.map(|when| when.instant(now).ok_or(Refusal::Timeless)).transpose();
    let (due, expires) = (instant(message.due)?, instant(message.expires)?);
    if due.zip(expires).is_some_and(|(due, expires)| expires <= due) {
        return Err(Refusal::Timeless);
    }
    let message = match message.expires {
        Some(When::After(_)) => Arc::new(Message { expires: expires.map(When::At), ..Message::clone(&message) }),
        Some(When::At(_)) | None => message,
    };
    Ok((message, due.unwrap_or(now).max(now), expires.unwrap_or(Timestamp::MAX)))
}

pub(super) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    let nanos = later.as_nanos().saturating_sub(earlier.as_nanos()).max(0);
    Duration::from_nanos(nanos.unsigned_abs())
}
