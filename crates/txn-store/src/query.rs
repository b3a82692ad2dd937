//! Questions that find many rows of one tenant, page by page.

use txn_change::{ChangeId, Counter, Entry, Key, KeyBuilder, Kind, Record, Stored};

use crate::{cursor::Cursor, store::Recorded};

/// A range of keys or terms: all that begin with `prefix`, and, where they are given, stand at or behind `from`, and before `until`.
///
/// ```
/// use txn_change::{Key, Kind};
/// use txn_store::Range;
/// let notes = Kind::new("note")?;
/// let all = Range::kind(notes);
/// let of_user = Range::prefix(Key::of(notes).text("user-1")?);
/// assert!(of_user.contains(Key::of(notes).text("user-1")?.number(4).build().as_bytes()));
/// assert!(all.contains(Key::of(notes).number(4).build().as_bytes()));
/// # Ok::<(), txn_change::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// What every key begins with.
    pub prefix: Vec<u8>,
    /// The first key that may be in the range; keys with the prefix that stand before it are not read.
    pub from: Option<Vec<u8>>,
    /// The first key that is no longer in the range.
    pub until: Option<Vec<u8>>,
}

impl Range {
    /// All keys of a kind, or all terms of an index.
    #[must_use]
    pub fn kind(kind: Kind) -> Self {
        Self { prefix: kind.prefix(), from: None, until: None }
    }

    /// All keys that begin with these segments.
    #[must_use]
    pub fn prefix(builder: KeyBuilder) -> Self {
        Self { prefix: builder.prefix(), from: None, until: None }
    }

    /// Begins the range at this key.
    ///
    /// ```
    /// use txn_change::{Key, Kind};
    /// use txn_store::Range;
    /// let note = Key::of(Kind::new("note")?);
    /// let range = Range::prefix(note.clone()).from(note.clone().number(3)).until(note.clone().number(5));
    /// let within = |number| range.contains(note.clone().number(number).build().as_bytes());
    /// assert_eq!([2, 3, 4, 5].map(within), [false, true, true, false]);
    /// # Ok::<(), txn_change::KeyError>(())
    /// ```
    #[must_use]
    pub fn from(mut self, begin: KeyBuilder) -> Self {
        self.from = Some(begin.prefix());
        self
    }

    /// Ends the range before this key.
    #[must_use]
    pub fn until(mut self, end: KeyBuilder) -> Self {
        self.until = Some(end.prefix());
        self
    }

    /// Whether the encoded key is in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix)
            && self.from.as_deref().is_none_or(|from| from <= key)
            && self.until.as_deref().is_none_or(|until| key < until)
    }

    /// The first byte string at which the range may have a key.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        self.from.as_deref().map_or(&self.prefix, |from| from.max(&self.prefix))
    }

    /// The first byte string behind the range; `None` when there is none.
    #[must_use]
    pub fn end(&self) -> Option<Vec<u8>> {
        let mut end = self.prefix.clone();
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(1) {
                end.push(next);
                break;
            }
        }
        let end = if end.is_empty() { None } else { Some(end) };
        match (&self.until, end) {
            (Some(until), Some(end)) => Some(end.min(until.clone())),
            (Some(until), None) => Some(until.clone()),
            (None, end) => end,
        }
    }
}

/// What to find. Every answer is in the order of the bytes that the query ranges over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query {
    /// Records by key.
    Records(Range),
    /// Records by index term; a record with several terms in the range is found once for each.
    RecordsByTerm(Range),
    /// Counters by key.
    Counters(Range),
    /// The entries of one counter behind a sequence, by sequence. An entry of which the sequence is known is found at once, however many there are.
    Entries {
        /// The counter.
        counter: Key,
        /// The last sequence that is passed over; 0 for none.
        after: u64,
    },
    /// Events by index term, then by position.
    EventsByTerm(Range),
    /// Committed changes, by id.
    Changes,
}

impl Query {
    /// All entries of one counter.
    #[must_use]
    pub const fn entries(counter: Key) -> Self {
        Self::Entries { counter, after: 0 }
    }

    /// Bytes that differ for every query: what a cursor is bound to.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let ranged = |tag: u8, range: &Range| {
            let mut bytes = vec![tag];
            bytes.extend((range.prefix.len() as u64).to_be_bytes());
            bytes.extend(&range.prefix);
            // A range without a beginning of its own has the bytes that it had before there was one.
            bytes.push(u8::from(range.until.is_some()) | (u8::from(range.from.is_some()) << 1));
            if let Some(from) = &range.from {
                bytes.extend((from.len() as u64).to_be_bytes());
                bytes.extend(from);
            }
            bytes.extend(range.until.iter().flatten());
            bytes
        };
        match self {
            Self::Records(range) => ranged(1, range),
            Self::RecordsByTerm(range) => ranged(2, range),
            Self::Counters(range) => ranged(3, range),
            Self::Entries { counter, after } => [&[4], &after.to_be_bytes()[..], counter.as_bytes()].concat(),
            Self::EventsByTerm(range) => ranged(5, range),
            Self::Changes => vec![6],
        }
    }
}

/// One row that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// A record.
    Record(Key, Record),
    /// A counter.
    Counter(Key, Counter),
    /// An entry.
    Entry(Entry),
    /// An event.
    Event(Recorded),
    /// A committed change.
    Change(ChangeId, Stored),
}

/// Some rows, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The rows, in order.
    pub items: Vec<Found>,
    /// Where the next page begins; `None` when there was nothing more.
    pub next: Option<Cursor>,
}
