//! Routing: which topics a message that is published to an exchange comes to. One pure table, the same for every backend.
//!
//! The four kinds are those of AMQP 0-9-1: direct, topic, fanout, headers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    message::{Attribute, Message},
    name::{AttributeName, ExchangeName, RoutingKey, Topic},
};

/// How an exchange chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExchangeKind {
    /// Topics bound with exactly the message's routing key.
    Direct,
    /// Topics bound with a pattern that the routing key fits.
    Topic,
    /// Every bound topic.
    Fanout,
    /// Topics bound with headers that the message's extensions have.
    Headers,
}

/// What a binding asks of a message. It must be of the kind of its exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Criterion {
    /// For a direct exchange: this routing key.
    Key(RoutingKey),
    /// For a topic exchange: a pattern.
    Pattern(Pattern),
    /// For a fanout exchange: nothing.
    Always,
    /// For a headers exchange: extension attributes with these values, compared as text.
    Headers {
        /// Whether one of them is enough.
        any: bool,
        /// The attributes. None asked for is fitted by every message when all are needed, and by none when one is enough.
        values: BTreeMap<AttributeName, String>,
    },
}

/// Words that dots separate; `*` stands for one word, and `#` for any number of them, none too.
///
/// ```
/// use txn_queue::{Pattern, RoutingKey};
/// let pattern = Pattern::new("order.#.eu")?;
/// assert!(pattern.fits(&RoutingKey::new("order.eu")?));
/// assert!(pattern.fits(&RoutingKey::new("order.placed.retail.eu")?));
/// assert!(!pattern.fits(&RoutingKey::new("order.placed.us")?));
/// assert!(!Pattern::new("order.*")?.fits(&RoutingKey::new("order.placed.eu")?));
/// # Ok::<(), txn_change::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(RoutingKey);

/// Exchanges and what is bound to them.
///
/// ```
/// use txn_queue::{Criterion, ExchangeKind, ExchangeName, Message, MessageId, MessageType, Pattern, Routes, RoutingKey, Source, Topic};
/// let shop = ExchangeName::new("shop")?;
/// let mut routes = Routes::default();
/// routes.declare(shop.clone(), ExchangeKind::Topic)?;
/// routes.bind(&shop, Criterion::Pattern(Pattern::new("order.*")?), Topic::new("orders")?)?;
/// let message = Message::new(MessageId::new("1")?, Source::new("/shop")?, MessageType::new("order.placed")?);
/// let topics = routes.route(&shop, Some(&RoutingKey::new("order.placed")?), &message).expect("declared");
/// assert_eq!(topics, [Topic::new("orders")?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Routes {
    exchanges: BTreeMap<ExchangeName, Exchange>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Exchange {
    kind: ExchangeKind,
    bindings: Vec<(Criterion, Topic)>,
}

/// Why an exchange or a binding cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The exchange exists, and is of another kind.
    #[error("the exchange {exchange} is {found:?}, and not {wanted:?}")]
    OtherKind {
        /// Which.
        exchange: ExchangeName,
        /// Its kind.
        found: ExchangeKind,
        /// What was asked for.
        wanted: ExchangeKind,
    },
    /// No such exchange.
    #[error("there is no exchange {exchange}")]
    NoSuchExchange {
        /// Which.
        exchange: ExchangeName,
    },
    /// The criterion is of another kind than the exchange.
    #[error("the exchange {exchange} is {kind:?}: it cannot be bound by {criterion:?}")]
    OtherCriterion {
        /// Which.
        exchange: ExchangeName,
        /// Its kind.
        kind: ExchangeKind,
        /// What was asked for.
        criterion: Criterion,
    },
}

impl Pattern {
    /// Takes a pattern; its words are those of a routing key, or `*`, or `#`.
    ///
    /// # Errors
    /// As for a [`RoutingKey`].
    pub fn new(text: impl AsRef<str>) -> Result<Self, txn_change::NameError> {
        RoutingKey::new(text).map(Self)
    }

    /// Whether a routing key fits. The work is at most the words of one times the words of the other.
    #[must_use]
    pub fn fits(&self, key: &RoutingKey) -> bool {
        let mut words = key.split('.');
        let mut pattern = self.0.split('.');
        // Where to go on when a word does not fit: behind the last `#`, which takes one word more.
        let mut retry = None;
        loop {
            let before = (pattern.clone(), words.clone());
            match (pattern.next(), words.next()) {
                (None, None) => return true,
                (Some("#"), _) => {
                    retry = Some((pattern.clone(), before.1.clone()));
                    words = before.1;
                }
                (Some(wanted), Some(word)) if wanted == "*" || wanted == word => {}
                _ => {
                    let Some((after, mut at)) = retry.take() else { return false };
                    if at.next().is_none() {
                        return false;
                    }
                    pattern = after.clone();
                    words = at.clone();
                    retry = Some((after, at));
                }
            }
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Criterion {
    const fn kind(&self) -> ExchangeKind {
        match self {
            Self::Key(_) => ExchangeKind::Direct,
            Self::Pattern(_) => ExchangeKind::Topic,
            Self::Always => ExchangeKind::Fanout,
            Self::Headers { .. } => ExchangeKind::Headers,
        }
    }

    fn is_met(&self, key: Option<&RoutingKey>, message: &Message) -> bool {
        match self {
            Self::Key(wanted) => key == Some(wanted),
            Self::Pattern(pattern) => key.is_some_and(|key| pattern.fits(key)),
            Self::Always => true,
            Self::Headers { any, values } => {
                let mut found = values.iter().map(|(name, wanted)| match message.extensions.get(name) {
                    Some(Attribute::Text(text)) => **text == **wanted,
                    Some(Attribute::Integer(integer)) => integer.to_string() == *wanted,
                    Some(Attribute::Boolean(bool)) => bool.to_string() == *wanted,
                    None => false,
                });
                if *any { found.any(|is_met| is_met) } else { found.all(|is_met| is_met) }
            }
        }
    }
}

impl Routes {
    /// Adds an exchange; the same again changes nothing.
    ///
    /// # Errors
    /// [`RouteError::OtherKind`].
    pub fn declare(&mut self, exchange: ExchangeName, kind: ExchangeKind) -> Result<(), RouteError> {
        match self.exchanges.get(&exchange) {
            Some(known) if known.kind != kind => {
                Err(RouteError::OtherKind { exchange, found: known.kind, wanted: kind })
            }
            Some(_) => Ok(()),
            None => {
                self.exchanges.insert(exchange, Exchange { kind, bindings: Vec::new() });
                Ok(())
            }
        }
    }

    /// Binds a topic to an exchange; the same again changes nothing.
    ///
    /// # Errors
    /// [`RouteError::NoSuchExchange`], [`RouteError::OtherCriterion`].
    pub fn bind(&mut self, exchange: &ExchangeName, criterion: Criterion, topic: Topic) -> Result<(), RouteError> {
        let Some(known) = self.exchanges.get_mut(exchange) else {
            return Err(RouteError::NoSuchExchange { exchange: exchange.clone() });
        };
        if criterion.kind() != known.kind {
            return Err(RouteError::OtherCriterion { exchange: exchange.clone(), kind: known.kind, criterion });
        }
        let binding = (criterion, topic);
        if !known.bindings.contains(&binding) {
            known.bindings.push(binding);
        }
        Ok(())
    }

    /// Removes a binding; false when there is none.
    pub fn unbind(&mut self, exchange: &ExchangeName, criterion: &Criterion, topic: &Topic) -> bool {
        let Some(known) = self.exchanges.get_mut(exchange) else { return false };
        let before = known.bindings.len();
        known.bindings.retain(|(bound, to)| bound != criterion || to != topic);
        known.bindings.len() < before
    }

    /// How many bindings there are.
    #[must_use]
    pub fn bindings(&self) -> usize {
        self.exchanges.values().map(|exchange| exchange.bindings.len()).sum()
    }

    /// The topics that a message comes to, each once, in their order by name; `None` when there is no such exchange.
    #[must_use]
    pub fn route(&self, exchange: &ExchangeName, key: Option<&RoutingKey>, message: &Message) -> Option<Vec<Topic>> {
        let bindings = &self.exchanges.get(exchange)?.bindings;
        let topics: BTreeSet<&Topic> =
            bindings.iter().filter(|(criterion, _)| criterion.is_met(key, message)).map(|(_, topic)| topic).collect();
        Some(topics.into_iter().cloned().collect())
    }
}
