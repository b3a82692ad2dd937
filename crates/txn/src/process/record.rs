//! What is stored of a process: an instance with everything that it waits for, in one record, and the table that a version was begun with.
//!
//! One record, so that whatever happens to an instance is decided on one version of it: an event, a timeout and the result of a step that come at once are
//! one after the other, and each of them once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use txn_change::{Body, Document, Timestamp};

use super::{
    name::{CorrelationId, IncomingId, ProcessName},
    step::Operation,
};

/// The content of a body, within a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The stored name of the type.
    pub type_name: String,
    /// The version of its shape.
    pub schema: u16,
    /// The content.
    pub json: String,
}

impl Payload {
    /// The content of a body; `None` for one that is erased or not text.
    pub(crate) fn of(body: &Body) -> Option<Self> {
        if body.format() != txn_change::Format::Json {
            return None;
        }
        let json = std::str::from_utf8(body.bytes()).ok()?.to_owned();
        Some(Self { type_name: body.type_name().to_owned(), schema: body.schema(), json })
    }

    pub(super) fn body(&self) -> Body {
        Body::raw(&self.type_name, self.schema, self.json.clone().into_bytes())
    }

    /// Bytes within the record, where quotes take two.
    pub(super) fn size(&self) -> usize {
        let escaped = self.json.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
        self.json.len().saturating_add(escaped).saturating_add(self.type_name.len())
    }
}

/// Where an instance is, beside its own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Events have come for it, and none that begins it.
    Awaited,
    /// It runs.
    Running,
    /// It undoes what its steps did.
    Undoing,
    /// It is over.
    Finished,
    /// It waits for a person.
    Stuck,
    /// A person gave it up.
    Abandoned,
}

impl Phase {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Running => "running",
            Self::Undoing => "undoing",
            Self::Finished => "finished",
            Self::Stuck => "stuck",
            Self::Abandoned => "abandoned",
        }
    }

    /// Whether nothing happens any more.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Abandoned)
    }
}

/// An event that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// The event.
    pub event: String,
    /// Its id.
    pub id: IncomingId,
    /// Its body.
    pub body: Payload,
    /// When it came.
    pub since: Timestamp,
    /// Whether it came from the instance itself: a timeout, or the end of a step.
    pub is_own: bool,
}

/// An event that happens at a time, unless it is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeout {
    /// Its name: setting it again moves it.
    pub name: String,
    /// When.
    pub due: Timestamp,
    /// The event.
    pub event: String,
}

/// Where an operation of a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is to be called; an earlier call, if any, certainly did nothing.
    Waiting,
    /// It is being called.
    Calling,
    /// It is being asked what became of it.
    Asking,
    /// It is not known what became of it.
    Unknown,
    /// It is done.
    Done,
    /// It failed for good.
    Failed,
    /// It was never done, and is no longer wanted.
    Withdrawn,
}

impl Status {
    pub(crate) const fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Withdrawn)
    }

    pub(crate) const fn is_claimed(self) -> bool {
        matches!(self, Self::Calling | Self::Asking)
    }
}

/// An operation of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Where it is.
    pub status: Status,
    /// When it may be claimed next; of a claimed one, when the claim runs out.
    pub due: Timestamp,
    /// How often it was claimed to be called in this round.
    pub attempts: u32,
    /// How often it was claimed to be asked about since it was last called.
    pub queries: u32,
    /// How often a person ordered it again, each time under another idempotency key.
    pub round: u32,
    /// How often it was claimed at all: who comes back with another number comes back late.
    pub claim: u32,
    /// Who claimed it last.
    pub holder: Option<String>,
    /// Why it failed, in a word. Of what is done: `done-late:` and what it was taken as, while a person has yet to be asked about it.
    pub class: Option<String>,
}

impl Work {
    pub(super) const fn new(due: Timestamp) -> Self {
        Self { status: Status::Waiting, due, attempts: 0, queries: 0, round: 0, claim: 0, holder: None, class: None }
    }
}

/// A step of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// 1, 2, 3 … within the instance.
    pub number: u32,
    /// Its name.
    pub step: String,
    /// What it was begun with.
    pub input: Payload,
    /// What it gave.
    pub value: Option<Payload>,
    /// The event when it is done.
    pub done: String,
    /// The event when it failed for good.
    pub failed: String,
    /// Whether it is undone when the instance undoes what it did.
    pub is_undoable: bool,
    /// Calls, at most.
    pub attempts_max: u32,
    /// Queries, at most.
    pub queries_max: u32,
    /// How long a call may take, in milliseconds.
    pub lease_ms: u64,
    /// How long to wait before the second attempt, in milliseconds.
    pub retry_after_ms: u64,
    /// The step itself.
    pub execute: Work,
    /// What undoes it, once that has begun.
    pub compensate: Option<Work>,
}

/// The longest wait between two attempts or queries.
const RETRY_MAX: Duration = Duration::from_secs(3_600);

impl StepRecord {
    pub(super) fn work(&self, operation: Operation) -> Option<&Work> {
        match operation {
            Operation::Execute => Some(&self.execute),
            Operation::Compensate => self.compensate.as_ref(),
        }
    }

    pub(super) fn work_mut(&mut self, operation: Operation) -> Option<&mut Work> {
        match operation {
            Operation::Execute => Some(&mut self.execute),
            Operation::Compensate => self.compensate.as_mut(),
        }
    }

    /// When to try again after so many tries.
    pub(super) fn retry_at(&self, now: Timestamp, tries: u32) -> Timestamp {
        let doubled = 1u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX);
        let wait = Duration::from_millis(self.retry_after_ms.saturating_mul(doubled)).min(RETRY_MAX);
        now.after(wait).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn until(&self, now: Timestamp) -> Timestamp {
        now.after(Duration::from_millis(self.lease_ms)).unwrap_or(Timestamp::MAX)
    }
}

/// Why an instance waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Cause {
    /// An event of its own cannot be applied: the decision fails, or the store refuses its effects.
    NotApplied {
        /// The event.
        event: String,
    },
    /// It is not known what became of an operation, however often it was asked.
    OutcomeUnknown {
        /// The step's number.
        step: u32,
        /// The operation.
        operation: Operation,
    },
    /// What a step did cannot be undone.
    NotUndone {
        /// The step's number.
        step: u32,
    },
    /// An operation that was taken as not done turned out to be done.
    DoneLate {
        /// The step's number.
        step: u32,
        /// The operation.
        operation: Operation,
    },
}

/// An instance that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stuck {
    /// Why.
    pub cause: Cause,
    /// The same for people.
    pub detail: String,
    /// Where it was before.
    pub before: Phase,
}

/// An instance of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Instance {
    /// The process.
    pub process: ProcessName,
    /// What the instance is about.
    pub correlation: CorrelationId,
    /// The version of the process that it runs under.
    pub version: u32,
    /// Where it is.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// Its own state, once it has begun.
    pub state: Option<String>,
    /// The host's data, once it has begun.
    pub data: Option<Payload>,
    /// Events that wait for their turn, in their order.
    pub waiting: Vec<Waiting>,
    /// Whether one of them may have its turn now.
    pub is_ready: bool,
    /// Timeouts that are set.
    pub timeouts: Vec<Timeout>,
    /// Steps, in their order.
    pub steps: Vec<StepRecord>,
    /// The event when everything is undone, while that is under way.
    pub undone: Option<String>,
    /// Why it waits for a person.
    pub stuck: Option<Stuck>,
}

/// What the beginning of a version was: a table that was changed without a new version is told by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begun {
    pub(crate) process: ProcessName,
    pub(crate) version: u32,
    pub(crate) table: String,
}

/// The body of the event that a step failed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFailed {
    /// Its name.
    pub step: String,
    /// Its number.
    pub number: u32,
    /// Why, in a word: the step's own, `exhausted` when every attempt did nothing, or `by-operator`.
    pub class: String,
}

/// The body of the event of a timeout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elapsed {
    /// Its name.
    pub timeout: String,
    /// When it was due.
    pub due: Timestamp,
}

/// The body of the event that everything is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undone {
    /// How many steps were undone.
    pub steps: u32,
}

macro_rules! documents {
    ($($type:ty => $name:literal, $schema:literal;)*) => {$(
        impl Document for $type {
            const TYPE: &'static str = $name;
            const SCHEMA: u16 = $schema;
        }
    )*};
}
pub(super) use documents;

documents! {
    Instance => "process.instance", 1;
    Begun => "process.begun", 1;
    StepFailed => "process.step-failed", 1;
    Elapsed => "process.elapsed", 1;
    Undone => "process.undone", 1;
}
