//! A recorded history: what concurrent callers asked of lists of unique values, what they were told, and when. Plain data; it knows no store.

use std::{fmt, sync::Arc};

/// What concurrent callers did to lists, and what they saw of them.
///
/// ```
/// use txn_store::conformance::isolation::{History, Transaction, check};
/// let history = History::of([
///     Transaction::new("writes", 1, 2).read("list", &[]).append("list", 7),
///     Transaction::new("reads", 3, 4).read("list", &[7]),
/// ]);
/// assert!(check(&history).is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// In any order.
    pub transactions: Vec<Transaction>,
}

impl History {
    /// A history of these transactions.
    #[must_use]
    pub fn of(transactions: impl IntoIterator<Item = Transaction>) -> Self {
        Self { transactions: transactions.into_iter().collect() }
    }
}

/// One transaction: all of its operations happened at one instant between its begin and its end, if they happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// How a report calls it.
    pub name: String,
    /// When it was begun, on a clock that all callers share and that never gives one number twice.
    pub begin: u64,
    /// When it was known to be over; `None` when nobody ever knew.
    pub end: Option<u64>,
    /// What the caller was told.
    pub fate: Fate,
    /// The transaction, by its place in the history, that stands before this one in the same call.
    pub behind: Option<usize>,
    /// What it did, in order.
    pub ops: Vec<Op>,
}

/// What the caller of a transaction was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It happened.
    Done,
    /// It did not, and never will.
    Refused,
    /// Nobody knows. It happened when somebody saw what it appended; reads of its own count only then.
    Unknown,
}

/// One operation on one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Appends a value that nobody else appends to this list.
    Append {
        /// The list.
        key: Arc<str>,
        /// The value.
        value: u64,
    },
    /// Sees the whole list. One that does not exist is empty.
    Read {
        /// The list.
        key: Arc<str>,
        /// The values, oldest first.
        list: Vec<u64>,
    },
    /// Sees no more of the list than how many values it holds: a version, a sequence, a count.
    Length {
        /// The list.
        key: Arc<str>,
        /// How many.
        length: usize,
    },
}

impl Op {
    /// The list.
    #[must_use]
    pub const fn key(&self) -> &Arc<str> {
        match self {
            Self::Append { key, .. } | Self::Read { key, .. } | Self::Length { key, .. } => key,
        }
    }
}

impl Transaction {
    /// A transaction that happened between two instants and did nothing yet.
    pub fn new(name: impl Into<String>, begin: u64, end: u64) -> Self {
        Self { name: name.into(), begin, end: Some(end), fate: Fate::Done, behind: None, ops: Vec::new() }
    }

    /// Appends a value.
    #[must_use]
    pub fn append(mut self, key: &str, value: u64) -> Self {
        self.ops.push(Op::Append { key: Arc::from(key), value });
        self
    }

    /// Sees a whole list.
    #[must_use]
    pub fn read(mut self, key: &str, list: &[u64]) -> Self {
        self.ops.push(Op::Read { key: Arc::from(key), list: list.to_vec() });
        self
    }

    /// Sees how long a list is.
    #[must_use]
    pub fn length(mut self, key: &str, length: usize) -> Self {
        self.ops.push(Op::Length { key: Arc::from(key), length });
        self
    }

    /// It was refused.
    #[must_use]
    pub fn refused(mut self) -> Self {
        self.fate = Fate::Refused;
        self
    }

    /// Its outcome was never learnt, and so neither was its end.
    #[must_use]
    pub fn unknown(mut self) -> Self {
        (self.fate, self.end) = (Fate::Unknown, None);
        self
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { key, value } => write!(f, "appends {value} to {key}"),
            Self::Read { key, list } => write!(f, "reads {key} = {list:?}"),
            Self::Length { key, length } => write!(f, "finds {length} in {key}"),
        }
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}–", self.name, self.begin)?;
        match self.end {
            Some(end) => write!(f, "{end}")?,
            None => f.write_str("?")?,
        }
        let fate = match self.fate {
            Fate::Done => "done",
            Fate::Refused => "refused",
            Fate::Unknown => "unknown",
        };
        write!(f, ", {fate})")?;
        for (place, op) in self.ops.iter().enumerate() {
            write!(f, "{} {op}", if place == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}
