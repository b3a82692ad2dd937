//! Whether a message, or a topology, can be taken at all.

use std::sync::Arc;

use txn_change::Timestamp;

use crate::{
    error::{Error, ErrorKind},
    limits::QueueLimits,
    message::{Message, When},
    name::{ExchangeName, RoutingKey, Topic},
    queue::Refusal,
    routes::Routes,
    topology::{TopicSpec, Topology},
};

/// A message with its instants, as the clock says.
pub(crate) fn timed(message: Arc<Message>, now: Timestamp) -> Result<(Arc<Message>, Timestamp, Timestamp), Refusal> {
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

/// The topics that a message comes to which is published to an exchange.
pub(crate) fn targets(
    routes: &Routes,
    exchange: ExchangeName,
    routing_key: Option<&RoutingKey>,
    message: &Message,
    limits: &QueueLimits,
) -> Result<Vec<Topic>, Refusal> {
    let Some(topics) = routes.route(&exchange, routing_key, message) else {
        return Err(Refusal::NoSuchExchange { exchange });
    };
    match topics.len() {
        0 => Err(Refusal::Unroutable { exchange }),
        found if found > limits.copies_max => Err(Refusal::TooLarge { what: "copies", found, max: limits.copies_max }),
        _ => Ok(topics),
    }
}

/// The routes as they are when a topology is declared over those that are known, among so many topics.
pub(crate) fn routes(
    topology: &Topology,
    known: &Routes,
    topics: usize,
    is_known: impl Fn(&Topic) -> bool,
    limits: &QueueLimits,
) -> Result<Routes, Error> {
    let invalid = |context: String| Error::new(ErrorKind::Invalid, context);
    let exists = |topic: &Topic| is_known(topic) || topology.topics.iter().any(|spec| spec.topic == *topic);
    let no_such = |topic: &Topic| invalid(format!("there is no topic {topic}"));
    let mut routes = known.clone();
    for (name, kind) in &topology.exchanges {
        routes.declare(name.clone(), *kind).map_err(|error| invalid(error.to_string()))?;
    }
    for (exchange, criterion, topic) in &topology.bindings {
        if !exists(topic) {
            return Err(no_such(topic));
        }
        let bound = routes.bind(exchange, criterion.clone(), topic.clone());
        bound.map_err(|error| invalid(error.to_string()))?;
    }
    for group in &topology.groups {
        let topic = group.group.topic();
        if !exists(topic) {
            return Err(no_such(topic));
        }
        if group.dead_letter_topic() == *topic {
            return Err(invalid(format!("the dead letters of {topic} cannot go there")));
        }
        if group.rate.is_some_and(|rate| rate.per.is_zero()) {
            return Err(invalid(format!("a rate of {} of {topic} in no time", group.group.name())));
        }
    }
    let new = topology.topics.iter().filter(|spec| !is_known(&spec.topic)).count();
    let found = topics.saturating_add(new).max(routes.bindings());
    if found > limits.topology_max {
        let context = format!("{found} topics or bindings; at most {} are allowed", limits.topology_max);
        return Err(invalid(context));
    }
    Ok(routes)
}

impl Topology {
    /// Adds the topics of dead letters that the groups have, and that are not there.
    pub(crate) fn with_letters(mut self, is_known: impl Fn(&Topic) -> bool) -> Self {
        let known =
            |topics: &[TopicSpec], topic: &Topic| is_known(topic) || topics.iter().any(|spec| spec.topic == *topic);
        for letters in self.groups.iter().map(crate::topology::GroupSpec::dead_letter_topic) {
            if !known(&self.topics, &letters) {
                self.topics.push(TopicSpec::new(letters));
            }
        }
        self
    }
}
