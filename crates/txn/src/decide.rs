//! The loop around every decision: stored answer first, then decide, commit, and decide again on a conflict, a bounded number of times.

use std::marker::PhantomData;

use serde::Serialize;
use txn_change::{
    Body, BodyError, Change, ChangeId, Document, Expect, Fingerprint, Link, Record, Refusal, Stored, Timestamp,
};
use txn_core::{
    Context, READ, Versioned,
    ledger::{Period, check_period, period_key},
};
use txn_store::{Ask, Outcome, Receipt, Scope, Snapshot};

use crate::{
    failure::{Failure, Rejection},
    ledger::Sweep,
};

/// A call that was done, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done<T> {
    answer: Body,
    replayed: bool,
    recorded_at: Timestamp,
    of: PhantomData<fn() -> T>,
}

impl<T: Document> Done<T> {
    pub(crate) fn of(receipt: Receipt) -> Self {
        let Receipt { answer, replayed, recorded_at, .. } = receipt;
        Self { answer, replayed, recorded_at, of: PhantomData }
    }

    /// The answer that the first call was given.
    ///
    /// # Errors
    /// [`BodyError::Erased`] when the answer was purged since: it was done, at [`Done::recorded_at`], and what it did stands in its records. Another [`BodyError`] when it was stored by a build with other shapes.
    pub fn value(&self) -> Result<T, BodyError> {
        self.answer.read()
    }

    /// The answer as it is stored: byte for byte the same for every repetition.
    #[must_use]
    pub const fn answer(&self) -> &Body {
        &self.answer
    }

    /// Whether it had been done before, so that this call wrote nothing.
    #[must_use]
    pub const fn replayed(&self) -> bool {
        self.replayed
    }

    /// When it was done, in the store's time.
    #[must_use]
    pub const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }
}

/// Decides and commits for one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Decider {
    pub(crate) scope: Scope,
    pub(crate) attempts_max: u32,
    pub(crate) effective_at: Option<Timestamp>,
}

/// What a decision did not come to.
pub(crate) enum Stop {
    /// The rules say no.
    Rejected(Rejection),
    /// What was read could not be understood.
    Unreadable(BodyError),
    /// Another check said no.
    Failed(Failure),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Rejected(rejection) => Self::Rejected(rejection),
            Stop::Unreadable(error) => Self::Unreadable(error),
            Stop::Failed(failure) => failure,
        }
    }
}

impl<R: Into<Rejection>> From<R> for Stop {
    fn from(rejection: R) -> Self {
        Self::Rejected(rejection.into())
    }
}

/// The records of a snapshot in the order of the ask, read as versioned values.
pub(crate) fn versioned<T: Document>(snapshot: &Snapshot, index: usize) -> Result<Option<Versioned<T>>, Stop> {
    let record = snapshot.records.get(index).and_then(Option::as_ref);
    record.map(Versioned::read).transpose().map_err(Stop::Unreadable)
}

impl Decider {
    /// The id of a change: the operation and the key of the request, so that one key under two operations is two ids.
    pub(crate) fn id(operation: &str, key: &str) -> Result<ChangeId, Failure> {
        Ok(ChangeId::new([operation, "/", key].concat())?)
    }

    /// Runs one decision to its end. Holds of money that have run out and stand in its way are given back in the same commit.
    pub(crate) async fn run<C: Serialize, T: Document>(
        &self,
        operation: &'static str,
        key: &str,
        command: &C,
        fill: impl Fn(Ask) -> Ask,
        decide: impl Fn(&Context, &Snapshot) -> Result<Change, Stop>,
        explain: impl Fn(&Refusal) -> Option<Rejection>,
    ) -> Result<Done<T>, Failure> {
        let id = Self::id(operation, key)?;
        let fingerprint = Fingerprint::of(operation, &(command, self.effective_at));
        let mut sweep = Sweep::default();
        for _ in 0..self.attempts_max {
            let mut ask = fill(self.scope.ask().stored(id.clone()));
            let swept = sweep.ask(&mut ask);
            let attempt = self.once(&id, fingerprint, ask, |context, snapshot| {
                let change = decide(context, snapshot)?;
                Sweep::join(context, snapshot, swept.clone(), change)
            });
            match attempt.await? {
                Attempt::Done(receipt) => return Ok(Done::of(receipt)),
                Attempt::Conflict => {}
                Attempt::Refused(refusal) => {
                    if !sweep.find_due(&self.scope, &refusal).await? {
                        return Err(explain(&refusal).map_or(Failure::Refused(refusal), Failure::Rejected));
                    }
                }
            }
        }
        Err(Failure::Conflict { attempts: self.attempts_max })
    }

    /// One round: read, decide, commit.
    pub(crate) async fn once(
        &self,
        id: &ChangeId,
        fingerprint: Fingerprint,
        ask: Ask,
        decide: impl Fn(&Context, &Snapshot) -> Result<Change, Stop>,
    ) -> Result<Attempt, Failure> {
        let mut ask = ask;
        if self.effective_at.is_some() {
            // What counts when it is committed is never in a period that is closed, so only this has to look.
            ask.records.push(period_key());
        }
        let read = ask.records.clone();
        let snapshot = self.scope.get(ask).await?;
        if let Some(stored) = snapshot.stored {
            return replay(id, fingerprint, stored).map(Attempt::Done);
        }
        if let Some(effective_at) = self.effective_at {
            check_open(snapshot.records.last().and_then(Option::as_ref), effective_at)?;
        }
        let context = Context { id: id.clone(), fingerprint, now: snapshot.now, effective_at: self.effective_at };
        let mut change = decide(&context, &snapshot).map_err(Failure::from)?;
        // Everything that was read must still be so; what is put states it itself.
        for (key, record) in read.into_iter().zip(&snapshot.records) {
            let stated = change.put.iter().any(|put| put.key == key) || change.require.iter().any(|r| r.key == key);
            if !stated {
                change = change.require(key, Expect::of(record.as_ref().map(|r| r.version)));
            }
        }
        attempt(self.scope.commit(change).await?)
    }
}

/// What a stored answer is to whoever asks under its id.
pub(crate) fn replay(id: &ChangeId, fingerprint: Fingerprint, stored: Stored) -> Result<Receipt, Failure> {
    if stored.fingerprint != fingerprint {
        let id = id.clone();
        let is_given_up = stored.fingerprint == Fingerprint::NOT_DONE;
        return Err(if is_given_up { Failure::GivenUp { id } } else { Failure::KeyReused { id } });
    }
    let Stored { answer, recorded_at, .. } = stored;
    let (freshness, head) = (txn_store::Freshness::default(), Link::default());
    Ok(Receipt { answer, replayed: true, recorded_at, freshness, head })
}

/// Whether the period of an instant is open, by the record of periods.
pub(crate) fn check_open(record: Option<&Record>, effective_at: Timestamp) -> Result<(), Failure> {
    let period: Option<Period> = record.map(|record| record.body.read()).transpose()?;
    check_period(period.as_ref(), effective_at).map_err(|closed| Failure::Rejected(closed.into()))
}

/// What an outcome is to the loop.
pub(crate) fn attempt(outcome: Outcome) -> Result<Attempt, Failure> {
    match outcome {
        Outcome::Done(receipt) => Ok(Attempt::Done(receipt)),
        Outcome::Refused(Refusal::KeyReused { id }) => Err(Failure::KeyReused { id }),
        Outcome::Refused(Refusal::GivenUp { id }) => Err(Failure::GivenUp { id }),
        Outcome::Refused(refusal) if refusal.is_conflict() => Ok(Attempt::Conflict),
        Outcome::Refused(Refusal::ConditionFailed { label, .. }) if label == READ => Ok(Attempt::Conflict),
        Outcome::Refused(refusal) => Ok(Attempt::Refused(refusal)),
        Outcome::Unknown(id) => Err(Failure::Unknown { id }),
    }
}

/// What one round came to.
pub(crate) enum Attempt {
    /// Committed, now or before.
    Done(Receipt),
    /// Something that was read has changed.
    Conflict,
    /// Refused for another reason.
    Refused(Refusal),
}
