//! What every decision shares: its context, and records with the version they were read at.

use txn_change::{
    Body, BodyError, Change, ChangeId, Document, Expect, Fingerprint, Key, Kind, Record, Term, Timestamp,
};

/// What a decision is told beside the state and the command. Nothing in a decision reads a clock or makes an id.
#[derive(Debug, Clone)]
pub struct Context {
    /// The id of the change to make.
    pub id: ChangeId,
    /// The digest of the command.
    pub fingerprint: Fingerprint,
    /// The store's time.
    pub now: Timestamp,
    /// When the change counts, in the business's time; `None` for the instant at which it is committed.
    pub effective_at: Option<Timestamp>,
}

impl Context {
    pub(crate) fn change(&self) -> Change {
        Change::new(self.id.clone(), self.fingerprint)
    }
}

/// The label of a condition that states what a decision has read of a counter: when it fails, decide again.
pub const READ: txn_change::Label = txn_change::Label::new("read");

/// A value and the version of the record that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record's version.
    pub version: u64,
    /// The value.
    pub value: T,
}

impl<T: Document> Versioned<T> {
    /// Reads a record.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn read(record: &Record) -> Result<Self, BodyError> {
        Ok(Self { version: record.version, value: record.body.read()? })
    }
}

impl<T> Versioned<T> {
    pub(crate) const fn expect(&self) -> Expect {
        Expect::Version(self.version)
    }
}

/// The body of one of our own types.
pub(crate) fn body<T: Document>(value: &T) -> Body {
    Body::of(value).expect("our documents are structs of texts, numbers and lists, which always have a JSON form")
}

/// A key or term of texts.
pub(crate) fn key(kind: Kind, parts: &[&str]) -> Key {
    term(kind, parts, None)
}

/// A key or term of texts, and a time at the end.
pub(crate) fn term(kind: Kind, parts: &[&str], time: Option<Timestamp>) -> Term {
    let mut builder = Key::of(kind);
    for part in parts {
        builder = builder.text(part).expect("an id has at most 100 bytes and a key at most four of them");
    }
    time.map_or(builder.clone(), |time| builder.time(time)).build()
}

/// Reads the number of the line that a label names.
pub(crate) fn line_of(label: &txn_change::Label) -> Option<usize> {
    label.index("line")
}

/// For documents: leaves zeros out.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
pub(crate) const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Declares the stored name and schema version of documents.
macro_rules! documents {
    ($($type:ty => $name:literal, $schema:literal;)*) => {$(
        impl txn_change::Document for $type {
            const TYPE: &'static str = $name;
            const SCHEMA: u16 = $schema;
        }
    )*};
}
pub(crate) use documents;
