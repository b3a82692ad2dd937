//! A transaction as a value: what was read, what must hold, what is written, and the answer.

mod check;

use alloc::{sync::Arc, vec::Vec};
use core::fmt;

pub use check::Invalid;

use crate::{
    body::Body,
    counter::{Counter, Guard, Lanes, Opening, Status},
    fingerprint::Fingerprint,
    key::{Key, Term},
    log::Event,
    name::{ChangeId, FenceName, Label},
    time::Timestamp,
};

/// The state of a record's version: absent, or a number from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expect {
    /// There is no such record.
    Absent,
    /// The record is at this version.
    Version(u64),
}

impl Expect {
    /// What an optional version says.
    #[must_use]
    pub fn of(version: Option<u64>) -> Self {
        version.map_or(Self::Absent, Self::Version)
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Version(version) => write!(f, "version {version}"),
        }
    }
}

/// A record that was read: the change is refused when it is no longer at that version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Require {
    /// The record.
    pub key: Key,
    /// Its version when it was read.
    pub expect: Expect,
}

/// What a caller wants to be true of a counter before the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// `Σ wᵢ·laneᵢ ≥ value`.
    AtLeast([i8; 4], i128),
    /// `Σ wᵢ·laneᵢ ≤ value`.
    AtMost([i8; 4], i128),
    /// `Σ wᵢ·laneᵢ = value`.
    Equals([i8; 4], i128),
    /// The counter is at this version.
    Version(u64),
}

impl Condition {
    /// Whether it holds, and the value it was judged by. An absent counter is all zeros at version 0.
    pub(crate) fn judge(&self, counter: Option<&Counter>) -> Option<(bool, i128)> {
        let lanes = counter.map_or(Lanes::ZERO, |c| c.lanes);
        Some(match *self {
            Self::AtLeast(weights, min) => lanes.weighted(weights).map(|v| (v >= min, v))?,
            Self::AtMost(weights, max) => lanes.weighted(weights).map(|v| (v <= max, v))?,
            Self::Equals(weights, value) => lanes.weighted(weights).map(|v| (v == value, v))?,
            Self::Version(version) => {
                let actual = counter.map_or(0, |c| c.version);
                (actual == version, i128::from(actual))
            }
        })
    }
}

/// A condition on a counter, judged on its state before the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The counter.
    pub counter: Key,
    /// What must be true.
    pub condition: Condition,
    /// Given back when it is not.
    pub label: Label,
}

/// A lock's token: refused below the highest one seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The lock.
    pub name: FenceName,
    /// The token that its holder was given.
    pub token: u64,
}

/// A record to write, or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The record.
    pub key: Key,
    /// Where it must stand now.
    pub expect: Expect,
    /// The new content; `None` removes the record. A removed key begins again at version 1, so only keys that are never used twice should be removed.
    pub body: Option<Body>,
    /// The index entries of the new content; the evaluator finds the difference to the old ones.
    pub terms: Vec<Term>,
}

/// A counter to open. Refused when it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The counter.
    pub counter: Key,
    /// How it begins.
    pub opening: Arc<Opening>,
}

/// New guards and status for a counter. They bind later additions, whatever the lanes are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetGuards {
    /// The counter.
    pub counter: Key,
    /// The counter's version when it was read.
    pub expect: u64,
    /// The guards from now on.
    pub guards: [Option<Guard>; 2],
    /// The status from now on.
    pub status: Status,
}

/// An addition to a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// The counter.
    pub counter: Key,
    /// What is added to each lane.
    pub delta: Lanes,
    /// How to open the counter when it does not exist; when it does, its class and unit must be these.
    pub or_open: Option<Arc<Opening>>,
    /// Records what has already happened: passes guards and freezing, and flags a shortage. Never makes an unsigned lane negative.
    pub force: bool,
    /// When it counts, in the business's time; `None` for the instant at which it is committed.
    pub effective_at: Option<Timestamp>,
    /// Given back when it is refused.
    pub label: Label,
}

/// A transaction as a value. Either all of it is committed, or none.
///
/// The id and the fingerprint are mandatory: asking twice under one id gives the first answer, asking something else under it is refused.
/// Guards hold on the net result of the change. Two changes join into one with [`Change::and`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The idempotency id.
    pub id: ChangeId,
    /// The digest of the command.
    pub fingerprint: Fingerprint,
    /// What was read.
    pub require: Vec<Require>,
    /// What must be true of a number.
    pub hold: Vec<Hold>,
    /// Which locks must still be held.
    pub fence: Vec<Fence>,
    /// The change is refused from this instant on, in the store's time: a decision that holds only until then.
    pub before: Option<Timestamp>,
    /// Records to write.
    pub put: Vec<Put>,
    /// Counters to open.
    pub open: Vec<Open>,
    /// Guards to set.
    pub set: Vec<SetGuards>,
    /// Additions to counters, applied in this order.
    pub add: Vec<Add>,
    /// Events to append, in this order.
    pub append: Vec<Event>,
    /// What a repetition is answered.
    pub answer: Body,
}

impl Change {
    /// A change that does nothing yet, answered with an empty body.
    #[must_use]
    pub fn new(id: ChangeId, fingerprint: Fingerprint) -> Self {
        Self {
            id,
            fingerprint,
            require: Vec::new(),
            hold: Vec::new(),
            fence: Vec::new(),
            before: None,
            put: Vec::new(),
            open: Vec::new(),
            set: Vec::new(),
            add: Vec::new(),
            append: Vec::new(),
            answer: Body::raw("none", 1, b"null".to_vec()),
        }
    }

    /// The type of the answer that stands under an id that was settled as not done.
    pub const NOT_DONE_TYPE: &'static str = "txn.not-done";

    /// A change that settles an id as not done: once it is committed, no other change is accepted under the id, however late it comes.
    ///
    /// ```
    /// use txn_change::{evaluate, Change, ChangeId, Fingerprint, MapView, Refusal, Timestamp, Verdict};
    /// let id = ChangeId::new("note.write/1")?;
    /// let (mut view, settled) = (MapView::default(), Change::not_done(id.clone()));
    /// let Verdict::Accepted(effects) = evaluate(&view, &settled, Timestamp::EPOCH)? else { panic!("it is new") };
    /// view.apply(&settled, &effects);
    /// let late = Change::new(id.clone(), Fingerprint::of("note.write", "hello"));
    /// assert_eq!(evaluate(&view, &late, Timestamp::EPOCH), Err(Refusal::GivenUp { id }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn not_done(id: ChangeId) -> Self {
        Self { answer: Body::raw(Self::NOT_DONE_TYPE, 1, b"null".to_vec()), ..Self::new(id, Fingerprint::NOT_DONE) }
    }

    /// Requires a record to be where it was read.
    #[must_use]
    pub fn require(mut self, key: Key, expect: Expect) -> Self {
        self.require.push(Require { key, expect });
        self
    }

    /// Writes a record that must not exist.
    #[must_use]
    pub fn insert(self, key: Key, body: Body, terms: Vec<Term>) -> Self {
        self.put(key, Expect::Absent, body, terms)
    }

    /// Writes a record that must stand at `expect`.
    #[must_use]
    pub fn put(mut self, key: Key, expect: Expect, body: Body, terms: Vec<Term>) -> Self {
        self.put.push(Put { key, expect, body: Some(body), terms });
        self
    }

    /// Removes a record that must stand at `version`.
    #[must_use]
    pub fn remove(mut self, key: Key, version: u64) -> Self {
        self.put.push(Put { key, expect: Expect::Version(version), body: None, terms: Vec::new() });
        self
    }

    /// Adds to a counter.
    #[must_use]
    #[allow(
        clippy::should_implement_trait,
        reason = "it adds to a counter; two changes are joined with `and`, not summed"
    )]
    pub fn add(mut self, add: Add) -> Self {
        self.add.push(add);
        self
    }

    /// Appends an event.
    #[must_use]
    pub fn append(mut self, event: Event) -> Self {
        self.append.push(event);
        self
    }

    /// States a condition on a counter.
    #[must_use]
    pub fn hold(mut self, counter: Key, condition: Condition, label: Label) -> Self {
        self.hold.push(Hold { counter, condition, label });
        self
    }

    /// Lets it be committed only before an instant, the earliest of all that were said.
    ///
    /// ```
    /// use txn_change::{evaluate, Change, ChangeId, Fingerprint, MapView, Refusal, Timestamp};
    /// let until = Timestamp::from_nanos(10);
    /// let change = Change::new(ChangeId::new("offer.accept/1")?, Fingerprint::of("offer.accept", "1")).before(until);
    /// assert!(evaluate(&MapView::default(), &change, Timestamp::from_nanos(9)).is_ok());
    /// assert_eq!(evaluate(&MapView::default(), &change, until), Err(Refusal::Late { until, now: until }));
    /// # Ok::<(), txn_change::NameError>(())
    /// ```
    #[must_use]
    pub fn before(mut self, until: Timestamp) -> Self {
        self.before = Some(self.before.map_or(until, |before| before.min(until)));
        self
    }

    /// Sets the answer.
    #[must_use]
    pub fn answer(mut self, answer: Body) -> Self {
        self.answer = answer;
        self
    }

    /// Both changes as one: everything of either is committed, or nothing. Id and answer are those of `self`; the fingerprint covers both commands, where
    /// they are two. Equal requirements are merged.
    ///
    /// ```
    /// use txn_change::{Body, Change, ChangeId, Fingerprint, Key, Kind};
    /// let kind = Kind::new("note")?;
    /// let write = |id: &str, number: u64| -> Result<Change, Box<dyn std::error::Error>> {
    ///     let key = Key::of(kind).number(number).build();
    ///     let fingerprint = Fingerprint::of("note.write", &number);
    ///     Ok(Change::new(ChangeId::new(id)?, fingerprint).insert(key, Body::raw("note", 1, b"{}".to_vec()), vec![]))
    /// };
    /// let both = write("a", 1)?.and(write("b", 2)?);
    /// assert_eq!(both.id.as_str(), "a");
    /// assert_eq!(both.put.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        if self.fingerprint != other.fingerprint {
            self.fingerprint = self.fingerprint.and(other.fingerprint);
        }
        for require in other.require {
            if !self.require.contains(&require) {
                self.require.push(require);
            }
        }
        self.hold.extend(other.hold);
        self.fence.extend(other.fence);
        if let Some(until) = other.before {
            self = self.before(until);
        }
        self.put.extend(other.put);
        self.open.extend(other.open);
        self.set.extend(other.set);
        self.add.extend(other.add);
        self.append.extend(other.append);
        self
    }

    /// Every counter that is looked at, with repetitions.
    pub fn counters(&self) -> impl Iterator<Item = &Key> {
        let held = self.hold.iter().map(|h| &h.counter);
        let opened = self.open.iter().map(|o| &o.counter);
        let set = self.set.iter().map(|s| &s.counter);
        held.chain(opened).chain(set).chain(self.add.iter().map(|a| &a.counter))
    }
}

#[cfg(test)]
mod tests;
