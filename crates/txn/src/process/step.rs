//! Steps: side effects outside the store, claimed before they are called, and asked about before they are called again.

use std::time::Duration;

use async_trait::async_trait;
use txn_change::{Body, BodyError, Document, Fingerprint, Tenant, Timestamp};

use super::{
    definition::hex,
    name::{CorrelationId, ProcessName},
};

/// What is to be done at the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// The step.
    Execute,
    /// What undoes it.
    Compensate,
}

impl Operation {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::Compensate => "compensate",
        }
    }
}

/// One call of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The tenant.
    pub tenant: Tenant,
    /// The process.
    pub process: ProcessName,
    /// Its instance.
    pub correlation: CorrelationId,
    /// The step's name.
    pub step: String,
    /// Which step of the instance, from 1.
    pub number: u32,
    /// What to do.
    pub operation: Operation,
    /// How often this operation has been claimed to be called, with this claim.
    pub attempt: u32,
    /// The identity of the operation, 64 hexadecimal digits over all of it: the same for every repetition, another for every other operation.
    pub idempotency_key: String,
    /// What the step was begun with.
    pub input: Body,
    /// What the step gave when it was executed; for what undoes it.
    pub value: Option<Body>,
    /// When the claim runs out, in the store's time: the call must have given up by then.
    pub until: Timestamp,
    /// How much of the claim is left when the call begins: the longest deadline that a client may be given. A query, which changes nothing, has the whole of it.
    pub lease: Duration,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepResult {
    /// Done, with this value (for example the other side's reference): at most 2 KiB. A longer one is not kept.
    Done(Body),
    /// It failed for good, and nothing is left of it. The class is a short word, such as `declined`.
    Failed(String),
    /// It certainly did not happen; it may be tried again.
    NotExecuted,
    /// It may or may not have happened.
    Unknown,
}

impl StepResult {
    /// Done, with a document of the host's.
    ///
    /// # Errors
    /// [`BodyError::Unwritable`].
    pub fn done<T: Document>(value: &T) -> Result<Self, BodyError> {
        Ok(Self::Done(Body::of(value)?))
    }

    /// Done, with nothing to say.
    #[must_use]
    pub fn done_empty() -> Self {
        Self::Done(Body::raw("none", 1, b"null".to_vec()))
    }
}

/// Carries out the steps of one name. Contract:
///
/// - A call repeated under the same idempotency key takes effect at most once, and is answered as the first was.
/// - Whatever is not certain is [`StepResult::Unknown`], never a failure.
/// - A call gives up before [`Call::until`] and does not take effect later: what might is still `Unknown` to [`Step::query`]. So a query's `NotExecuted` is final.
/// - [`Operation::Compensate`] of what is undone already is `Done`.
///
/// A panic is taken as `Unknown`.
#[async_trait]
pub trait Step: Send + Sync + 'static {
    /// Executes the operation.
    async fn execute(&self, call: &Call) -> StepResult;

    /// Asks what became of the operation, without executing it.
    async fn query(&self, call: &Call) -> StepResult;
}

/// A step to begin: what is called, and which event its end is.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use txn::process::Plan;
/// # txn::core::variants! { enum Event { Held, NotHeld } }
/// # #[derive(Serialize, Deserialize)]
/// # struct Hold { amount: String }
/// # impl txn::change::Document for Hold { const TYPE: &'static str = "hold-it"; const SCHEMA: u16 = 1; }
/// let plan = Plan::new("authorise", &Hold { amount: "9.50 EUR".into() }, Event::Held, Event::NotHeld)?.undoable().attempts_max(3);
/// assert_eq!(plan.attempts_max, 3);
/// # Ok::<(), txn::change::BodyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan<E> {
    /// The registered name of the step.
    pub step: &'static str,
    /// What it is begun with: at most 2 KiB.
    pub input: Body,
    /// The event when it is done; its body is the step's value.
    pub done: E,
    /// The event when it failed for good; its body is a [`super::StepFailed`].
    pub failed: E,
    /// Whether it is undone when the instance undoes what it did.
    pub is_undoable: bool,
    /// How often it is called, at most, under one idempotency key; 5 unless said otherwise.
    pub attempts_max: u32,
    /// How often is asked what became of it, at most, before a person is; 20 unless said otherwise.
    pub queries_max: u32,
    /// How long a call may take; 60 seconds unless said otherwise. Its claim runs out then.
    pub lease: Duration,
    /// How long to wait before the second attempt, or the second query; doubled for each further one, up to an hour. 5 seconds unless said otherwise.
    pub retry_after: Duration,
}

impl<E> Plan<E> {
    /// A step that cannot be undone.
    ///
    /// # Errors
    /// [`BodyError::Unwritable`].
    pub fn new<T: Document>(step: &'static str, input: &T, done: E, failed: E) -> Result<Self, BodyError> {
        let input = Body::of(input)?;
        let (lease, retry_after) = (Duration::from_secs(60), Duration::from_secs(5));
        Ok(Self { step, input, done, failed, is_undoable: false, attempts_max: 5, queries_max: 20, lease, retry_after })
    }

    /// It is undone when the instance undoes what it did.
    #[must_use]
    pub fn undoable(mut self) -> Self {
        self.is_undoable = true;
        self
    }

    /// How often it is called, at most; at least once.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// How often is asked what became of it before a person is; at least once.
    #[must_use]
    pub fn queries_max(mut self, queries: u32) -> Self {
        self.queries_max = queries.max(1);
        self
    }

    /// How long a call may take; at least a second.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// How long to wait before the second attempt.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }
}

/// The identity of an operation: everything that makes it this one and no other. A repetition after a failure that a person ordered is another round.
pub(crate) fn idempotency_key(call: &Call, round: u32) -> String {
    let identity = (
        (&call.tenant, &call.process, &call.correlation, call.number, &call.step, call.operation, round),
        (call.input.type_name(), call.input.schema(), String::from_utf8_lossy(call.input.bytes())),
    );
    hex(Fingerprint::of("process.step", &identity))
}
