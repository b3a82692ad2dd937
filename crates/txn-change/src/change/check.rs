//! Whether a change is well-formed, and writes only what it may: what can be judged before any state is known.

use alloc::{string::String, vec::Vec};

use super::Change;
use crate::{
    body::Body,
    key::{Key, is_reserved},
    limits::Limits,
    name::Label,
};

/// What is wrong with a change that no state could make right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// More of something than the limit allows.
    #[error("the change has {found} {what}; at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A record is written twice, or expected at two versions.
    #[error("the change {what} {key} twice")]
    Twice {
        /// Puts, requires, opens or sets.
        what: &'static str,
        /// The key.
        key: Key,
    },
    /// A key's encoded form is too long.
    #[error("a key of {length} bytes; at most {max} are allowed")]
    KeyTooLong {
        /// The length found.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A label is too long.
    #[error("a label of {length} bytes; at most {max} are allowed")]
    LabelTooLong {
        /// The length found.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A host's change writes what belongs to txn.
    #[error("{key} is reserved by txn")]
    Reserved {
        /// The key.
        key: Key,
    },
    /// A host's change appends an event or a fact that belongs to txn.
    #[error("the {what} {name} is reserved by txn")]
    ReservedName {
        /// An event's type, or a fact's id.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A label or a name has a NUL in it, which not every database can store in text.
    #[error("a {what} with a NUL at byte {at}")]
    Nul {
        /// Of what.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// The name of a class, a unit or a body's type is empty or too long.
    #[error("a {what} of {length} bytes; 1 to {max} are allowed")]
    Name {
        /// Of what.
        what: &'static str,
        /// The length found.
        length: usize,
        /// The limit.
        max: usize,
    },
}

impl Change {
    /// Whether the change is well-formed and within the limits. Stores ask before they group it with others, so that nothing that input can break gets
    /// into a group.
    ///
    /// # Errors
    /// [`Invalid`], with the value and the limit.
    pub fn check(&self, limits: &Limits) -> Result<(), Invalid> {
        let count = |what, found: usize, max: usize| {
            if found > max { Err(Invalid::TooMany { what, found, max }) } else { Ok(()) }
        };
        count("requirements", self.require.len(), limits.requires_max)?;
        count("records", self.put.len(), limits.puts_max)?;
        count("counters to open", self.open.len(), limits.opens_max)?;
        count("counters to set", self.set.len(), limits.opens_max)?;
        count("additions", self.add.len(), limits.adds_max)?;
        count("conditions", self.hold.len(), limits.holds_max)?;
        count("fences", self.fence.len(), limits.fences_max)?;
        count("events", self.append.len(), limits.events_max)?;
        let mut bytes = 0usize;
        let mut body = |body: &Body| {
            named("type name", body.type_name(), TYPE_NAME_MAX)?;
            count("bytes in a body", body.bytes().len(), limits.body_bytes_max)?;
            bytes = bytes.saturating_add(body.bytes().len());
            count("bytes", bytes, limits.change_bytes_max)
        };
        body(&self.answer)?;
        for put in &self.put {
            count("terms on a record", put.terms.len(), limits.terms_max)?;
            put.body.as_ref().map_or(Ok(()), &mut body)?;
        }
        for event in &self.append {
            count("terms on an event", event.terms.len(), limits.terms_max)?;
            body(&event.body)?;
        }
        for key in self.keys() {
            let length = key.as_bytes().len();
            if length > Key::LENGTH_MAX {
                return Err(Invalid::KeyTooLong { length, max: Key::LENGTH_MAX });
            }
        }
        for label in self.add.iter().map(|a| &a.label).chain(self.hold.iter().map(|h| &h.label)) {
            let length = label.as_str().len();
            if length > Label::LENGTH_MAX {
                return Err(Invalid::LabelTooLong { length, max: Label::LENGTH_MAX });
            }
            no_nul("label", label.as_str())?;
        }
        let openings = self.open.iter().map(|o| &o.opening).chain(self.add.iter().filter_map(|a| a.or_open.as_ref()));
        for opening in openings {
            named("class name", &opening.class.name, CLASS_NAME_MAX)?;
            named("unit", &opening.unit, UNIT_MAX)?;
        }
        once("puts", self.put.iter().map(|p| &p.key))?;
        once("requires", self.require.iter().map(|r| &r.key))?;
        once("opens", self.open.iter().map(|o| &o.counter))?;
        once("sets", self.set.iter().map(|s| &s.counter))
    }

    /// Whether the change writes only what a host may write: no record, counter, index, event type or fact id of a reserved kind, under no id that begins with `txn`.
    ///
    /// # Errors
    /// [`Invalid::Reserved`] or [`Invalid::ReservedName`] with the first that belongs to txn.
    pub fn check_host(&self) -> Result<(), Invalid> {
        let written = self.put.iter().map(|p| &p.key).chain(self.counters());
        let terms = self.put.iter().flat_map(|p| &p.terms).chain(self.append.iter().flat_map(|e| &e.terms));
        if let Some(key) = written.chain(terms).find(|key| key.is_reserved()) {
            return Err(Invalid::Reserved { key: key.clone() });
        }
        let types = self.append.iter().map(|event| ("event type", event.body.type_name()));
        let facts = self.append.iter().filter_map(|event| Some(("fact id", event.id.as_ref()?.as_str())));
        // Its services take the other words for ids of requests, which are the host's.
        let is_own = self.id.split(['-', '.', '/']).next() == Some("txn");
        let ids = is_own.then_some(("change id", self.id.as_str()));
        match types.chain(facts).chain(ids).find(|(_, name)| is_reserved(name)) {
            Some((what, name)) => Err(Invalid::ReservedName { what, name: name.into() }),
            None => Ok(()),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        let terms = self.put.iter().flat_map(|p| &p.terms).chain(self.append.iter().flat_map(|e| &e.terms));
        let subjects = self.append.iter().filter_map(|e| e.subject.as_ref());
        let records = self.put.iter().map(|p| &p.key).chain(self.require.iter().map(|r| &r.key));
        records.chain(self.counters()).chain(terms).chain(subjects)
    }
}

/// The longest name of a class, in bytes.
const CLASS_NAME_MAX: usize = 32;
/// The longest unit, in bytes.
const UNIT_MAX: usize = 32;
/// The longest name of a body's type, in bytes.
const TYPE_NAME_MAX: usize = 64;

fn named(what: &'static str, name: &str, max: usize) -> Result<(), Invalid> {
    let length = name.len();
    if (1..=max).contains(&length) { no_nul(what, name) } else { Err(Invalid::Name { what, length, max }) }
}

fn no_nul(what: &'static str, text: &str) -> Result<(), Invalid> {
    text.find('\0').map_or(Ok(()), |at| Err(Invalid::Nul { what, at }))
}

fn once<'a>(what: &'static str, keys: impl ExactSizeIterator<Item = &'a Key>) -> Result<(), Invalid> {
    if keys.len() < 2 {
        return Ok(());
    }
    let mut sorted: Vec<&Key> = keys.collect();
    sorted.sort_unstable();
    let mut last: Option<&Key> = None;
    for key in sorted {
        if last == Some(key) {
            return Err(Invalid::Twice { what, key: key.clone() });
        }
        last = Some(key);
    }
    Ok(())
}
