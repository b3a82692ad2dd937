//! What a history proves to be wrong, told transaction by transaction.

use std::fmt;

use super::history::{History, Transaction};

/// Something that no serial order of the transactions explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// Its name.
    pub kind: Kind,
    /// The transactions it is made of. In a cycle each stands before the next, and the last before the first.
    pub cycle: Vec<Step>,
}

/// One transaction of an [`Anomaly`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// When it ran, what became of it, and what it did.
    pub tells: String,
    /// Why it stands before the next one, or what is wrong with it.
    pub because: String,
}

/// The name of an anomaly, after Adya (*Weak Consistency*, 1999) and Elle (Kingsbury and Alvaro, <https://arxiv.org/abs/2003.10554>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// G0, dirty write: each wrote behind the other.
    DirtyWrite,
    /// G1a, aborted read: what was refused is seen.
    AbortedRead,
    /// G1b, intermediate read: a part of what one transaction wrote to a list is seen.
    IntermediateRead,
    /// G1c, circular information flow: each saw or wrote behind the other.
    CircularFlow,
    /// G-single, read skew: one missed what was written before something that it saw.
    ReadSkew,
    /// G2-item, write skew: each missed what another wrote.
    WriteSkew,
    /// Two read the same state of a list, and both appended to it.
    LostUpdate,
    /// Two readings of a list, of which neither is the beginning of the other.
    IncompatibleOrders,
    /// A value stands in a list twice, or was appended by two.
    Duplicate,
    /// A value that nobody appended, or a length that no order of the appends gives.
    Invented,
    /// A transaction does not agree with itself.
    Internal,
    /// There is a serial order, but none in which what was over stands before what was begun later.
    RealTime,
}

impl Anomaly {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, cycle: Vec::new() }
    }

    pub(super) fn with(mut self, transaction: &Transaction, because: String) -> Self {
        self.cycle.push(Step { name: transaction.name.clone(), tells: transaction.to_string(), because });
        self
    }
}

/// The anomalies found so far, of each kind only the first few: one broken promise shows in thousands of places.
pub(super) struct Found<'h> {
    pub(super) history: &'h History,
    pub(super) anomalies: Vec<Anomaly>,
}

/// How many of one kind are told.
const TOLD_MAX: usize = 8;

impl Found<'_> {
    /// Tells of these transactions, each with what is wrong about it.
    pub(super) fn tell<const N: usize>(&mut self, kind: Kind, steps: [(usize, String); N]) {
        if self.has_room(kind) {
            let anomaly = steps.into_iter().fold(Anomaly::new(kind), |anomaly, (at, because)| {
                match self.history.transactions.get(at) {
                    Some(transaction) => anomaly.with(transaction, because),
                    None => anomaly,
                }
            });
            self.anomalies.push(anomaly);
        }
    }

    pub(super) fn has_room(&self, kind: Kind) -> bool {
        self.anomalies.iter().filter(|anomaly| anomaly.kind == kind).count() < TOLD_MAX
    }
}

impl Kind {
    const fn story(self) -> &'static str {
        match self {
            Self::DirtyWrite => "G0, dirty write: each wrote behind the other",
            Self::AbortedRead => "G1a, aborted read: what was refused is seen",
            Self::IntermediateRead => "G1b, intermediate read: a part of what one wrote to a list is seen",
            Self::CircularFlow => "G1c, circular information flow: each saw or wrote behind the other",
            Self::ReadSkew => "G-single, read skew: one missed what was written before something that it saw",
            Self::WriteSkew => "G2-item, write skew: each missed what another wrote",
            Self::LostUpdate => "lost update: two read the same state, and both appended to it",
            Self::IncompatibleOrders => "incompatible orders: neither reading is the beginning of the other",
            Self::Duplicate => "duplicate: one value, twice",
            Self::Invented => "invented: nothing that was appended explains what was seen",
            Self::Internal => "internal: a transaction does not agree with itself",
            Self::RealTime => "real time: no serial order keeps what was over before what was begun later",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.story())
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        for step in &self.cycle {
            write!(f, "\n  {}\n    {}", step.tells, step.because)?;
        }
        Ok(())
    }
}
