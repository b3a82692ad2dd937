//! Which topics there are, and what is bound to which exchange.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind},
    name::Topic,
    routes::Routes,
};

/// The topology as far as it is not one topic's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Declared {
    /// 1 more for every change.
    pub(crate) version: u64,
    pub(crate) routes: Routes,
    /// The numbers of the topics.
    pub(crate) topics: BTreeMap<Topic, i64>,
}

impl Declared {
    pub(crate) fn read(json: &str) -> Result<Self, Error> {
        serde_json::from_str(json)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "reading the topology").because(error))
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names, numbers and routes always have a form in JSON")
    }

    pub(crate) fn id(&self, topic: &Topic) -> Result<i64, Error> {
        let known = self.topics.get(topic).copied();
        known.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("there is no topic {topic}")))
    }

    /// Gives a topic a number, if it has none.
    pub(crate) fn number(&mut self, topic: &Topic) -> i64 {
        let next = self.topics.values().max().copied().unwrap_or(0).saturating_add(1);
        *self.topics.entry(topic.clone()).or_insert(next)
    }
}
