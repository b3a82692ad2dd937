//! Why a change was refused. A refused change has written nothing.

use crate::{
    change::{Expect, Invalid},
    counter::{Status, Unit},
    key::Key,
    name::{ChangeId, FactId, FenceName, Label},
    time::Timestamp,
};
use alloc::string::String;

/// Why a change was refused, in the order in which the reasons are looked for: what is wrong with the request, then with its id, its fences, what it read,
/// what it writes, and at last the numbers. A refusal names what was wrong, with the value and the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The change itself is malformed or passes a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The id was used before with another command. The first answer is not given away.
    #[error("the id {id} was used before with another command")]
    KeyReused {
        /// The id.
        id: ChangeId,
    },
    /// The id was settled as not done, by [`crate::Change::not_done`], before this change came. Ask again under another id.
    #[error("the id {id} was settled as not done")]
    GivenUp {
        /// The id.
        id: ChangeId,
    },
    /// It came at or after the instant before which it was to be committed. Decide again.
    #[error("committed at {now} it is too late; it holds until {until}")]
    Late {
        /// [`crate::Change::before`].
        until: Timestamp,
        /// The store's time.
        now: Timestamp,
    },
    /// A newer holder of the lock has been seen.
    #[error("the token {token} of {fence} is stale; {highest} has been seen")]
    FenceStale {
        /// The lock.
        fence: FenceName,
        /// The token given.
        token: u64,
        /// The highest token seen.
        highest: u64,
    },
    /// A record is not at the version that was read. Read it again and decide again.
    #[error("{key} is at {actual}, expected {expected}")]
    Conflict {
        /// The record.
        key: Key,
        /// What the change expected.
        expected: Expect,
        /// What is stored.
        actual: Expect,
    },
    /// A fact with this id exists.
    #[error("the fact {id} exists already")]
    FactExists {
        /// The id.
        id: FactId,
    },
    /// The counter to open exists.
    #[error("the counter {counter} exists already")]
    CounterExists {
        /// The counter.
        counter: Key,
    },
    /// A condition of the caller's does not hold.
    #[error("{label}: the condition on {counter} does not hold; its value is {value}")]
    ConditionFailed {
        /// The counter.
        counter: Key,
        /// The label of the condition.
        label: Label,
        /// The value found.
        value: i128,
    },
    /// The counter does not exist.
    #[error("there is no counter {counter}")]
    CounterAbsent {
        /// The counter.
        counter: Key,
        /// The label of the addition.
        label: Label,
    },
    /// The counter exists with another class or unit than the addition states.
    #[error("the counter {counter} has class {class} and unit {unit}, the change states another")]
    CounterDiffers {
        /// The counter.
        counter: Key,
        /// Its class.
        class: String,
        /// Its unit.
        unit: Unit,
    },
    /// The counter is frozen or closed.
    #[error("the counter {counter} is {status}")]
    CounterNotOpen {
        /// The counter.
        counter: Key,
        /// Its status.
        status: Status,
        /// The label of the addition.
        label: Label,
    },
    /// A sum leaves the range of 128 bits.
    #[error("{label}: {counter} would leave the range of 128 bits")]
    Overflow {
        /// The counter.
        counter: Key,
        /// The label of the addition.
        label: Label,
    },
    /// A lane that is not signed would be below zero.
    #[error("{label}: lane {lane} of {counter} would be {value}, below zero")]
    LaneNegative {
        /// The counter.
        counter: Key,
        /// The label of the addition.
        label: Label,
        /// Which lane, from 0.
        lane: usize,
        /// What it would be.
        value: i128,
    },
    /// A guard would be made worse and not hold.
    #[error("{label}: {counter} would be {value}, below its limit {min}")]
    GuardBroken {
        /// The counter.
        counter: Key,
        /// The label of the addition that made it worse.
        label: Label,
        /// Which of the counter's guards, from 0.
        guard: u8,
        /// What the guarded sum would be.
        value: i128,
        /// The least it may be.
        min: i128,
    },
    /// The additions to a class that conserves do not sum to zero.
    #[error("{class} counters in {unit} do not balance: off by {off_by}")]
    Unbalanced {
        /// The class.
        class: String,
        /// The unit.
        unit: Unit,
        /// The sum that should be zero.
        off_by: i128,
    },
}

impl Refusal {
    /// Whether the same decision may pass when it is made again on fresh state.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::Late { .. })
    }
}
