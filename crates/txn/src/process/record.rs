//! What is stored of a process: an instance with everything that it waits for, in one record, and the table that a version was begun with.
//!
//! One record, so that whatever happens to an instance is decided on one version of it: an event, a timeout and the result of a step that come at once are
//! one after the other, and each of them once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use txn_change::{Body, Document, Fingerprint, Key, Kind, Term, Timestamp};

use super::{
    name::{CorrelationId, IncomingId, ProcessName},
    step::Operation,
};

/// The kind of instances.
pub(crate) const PROCESS_KIND: Kind = Kind::reserved("process");
/// The kind of the tables that versions were begun with.
pub(crate) const DEFINITION_KIND: Kind = Kind::reserved("process-definition");
const BY_DUE: Kind = Kind::reserved("process-due");
const BY_PHASE: Kind = Kind::reserved("process-phase");
const BY_STATE: Kind = Kind::reserved("process-state");
const BY_VERSION: Kind = Kind::reserved("process-open");
pub(super) const BY_INSTANCE: Kind = Kind::reserved("process-of");

/// What is due is spread over this many buckets, so that several runners begin at different ones.
pub(super) const BUCKETS: u64 = 16;

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
    /// Why it failed, in a word.
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

const FITS: &str = "a process name has 32 bytes, a correlation id 100, a state at most a line: far below a key's 512";

/// The key of an instance.
pub(crate) fn instance_key(process: &ProcessName, correlation: &CorrelationId) -> Key {
    Key::of(PROCESS_KIND).text(process).and_then(|key| key.text(correlation)).expect(FITS).build()
}

pub(crate) fn begun_key(process: &ProcessName, version: u32) -> Key {
    Key::of(DEFINITION_KIND).text(process).expect(FITS).number(u64::from(version)).build()
}

/// The term of an instance's events.
pub(super) fn of_instance(process: &ProcessName, correlation: &CorrelationId) -> Term {
    Key::of(BY_INSTANCE).text(process).and_then(|key| key.text(correlation)).expect(FITS).build()
}

pub(super) fn by_due(process: &ProcessName, version: u32, bucket: u64) -> txn_change::KeyBuilder {
    Key::of(BY_DUE).text(process).expect(FITS).number(u64::from(version)).number(bucket)
}

pub(super) fn by_phase(process: &ProcessName, phase: Phase) -> txn_change::KeyBuilder {
    Key::of(BY_PHASE).text(process).and_then(|key| key.text(phase.name())).expect(FITS)
}

pub(super) fn by_state(process: &ProcessName, state: &str) -> txn_change::KeyBuilder {
    // A state's name is an identifier of the host's; one that fits no key is found by no query, and harms nothing else.
    let state = state.get(..200).unwrap_or(state);
    Key::of(BY_STATE).text(process).and_then(|key| key.text(state)).expect(FITS)
}

pub(super) fn by_version(process: &ProcessName, version: u32) -> txn_change::KeyBuilder {
    Key::of(BY_VERSION).text(process).expect(FITS).number(u64::from(version))
}

impl Instance {
    pub(super) const fn new(process: ProcessName, correlation: CorrelationId, version: u32, now: Timestamp) -> Self {
        Self {
            process,
            correlation,
            version,
            phase: Phase::Awaited,
            since: now,
            state: None,
            data: None,
            waiting: Vec::new(),
            is_ready: false,
            timeouts: Vec::new(),
            steps: Vec::new(),
            undone: None,
            stuck: None,
        }
    }

    pub(crate) fn key(&self) -> Key {
        instance_key(&self.process, &self.correlation)
    }

    /// The index entries of this content.
    pub(crate) fn terms(&self) -> Vec<Term> {
        let Self { process, correlation, version, .. } = self;
        let mut terms = Vec::with_capacity(4);
        terms.push(by_phase(process, self.phase).time(self.since).text(correlation).expect(FITS).build());
        if let Some(state) = &self.state {
            terms.push(by_state(process, state).text(correlation).expect(FITS).build());
        }
        if !self.phase.is_over() {
            terms.push(by_version(process, *version).text(correlation).expect(FITS).build());
        }
        if let Some(due) = self.due() {
            let of_bucket = by_due(process, *version, self.bucket());
            terms.push(of_bucket.time(due).text(correlation).expect(FITS).build());
        }
        terms
    }

    fn bucket(&self) -> u64 {
        let digest = Fingerprint::of_bytes(&self.process, self.correlation.as_bytes()).0;
        u64::from(digest[0]).checked_rem(BUCKETS).unwrap_or_default()
    }

    /// When a runner has something to do here.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        if self.is_ready {
            return Some(Timestamp::EPOCH);
        }
        if !matches!(self.phase, Phase::Running | Phase::Undoing) {
            return None;
        }
        let timeouts = self.timeouts.iter().map(|timeout| timeout.due);
        timeouts.chain(self.open_works().map(|(_, _, work)| work.due)).min()
    }

    /// Operations that are not settled.
    pub(super) fn open_works(&self) -> impl Iterator<Item = (&StepRecord, Operation, &Work)> {
        let works = self.steps.iter().flat_map(|step| {
            let compensate = step.compensate.as_ref().map(|work| (step, Operation::Compensate, work));
            std::iter::once((step, Operation::Execute, &step.execute)).chain(compensate)
        });
        works.filter(|(_, _, work)| !work.status.is_settled())
    }

    pub(super) fn step_mut(&mut self, number: u32) -> Option<&mut StepRecord> {
        self.steps.iter_mut().find(|step| step.number == number)
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Timestamp) {
        if self.phase != phase {
            (self.phase, self.since) = (phase, now);
        }
    }
}
