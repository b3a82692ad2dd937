//! Holds: promised, increased, extended, and captured, voided or run out.

use txn_change::Change;
use txn_core::{
    Context, Versioned,
    id::LedgerHoldId,
    ledger::{self, Authorise, Capture, ExtendHold, Hold, Increment},
};
use txn_store::{Ask, Snapshot};

use super::{Ledger, explain};
use crate::{
    decide::{Done, Stop, versioned},
    failure::Failure,
    timers::{self, Timer},
};

impl Ledger<'_> {
    /// Reads a hold.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn hold(&self, hold: &LedgerHoldId) -> Result<Option<Hold>, Failure> {
        let record = self.services.decider.scope.record(ledger::hold_key(hold)).await?;
        Ok(record.map(|record| record.body.read()).transpose()?)
    }

    /// Promises an amount. The hold's id is the request's id.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`].
    pub async fn authorise(&self, command: &Authorise) -> Result<Done<Hold>, Failure> {
        let hold = &command.hold;
        let decide = |context: &Context, snapshot: &Snapshot| {
            let change = ledger::authorise(context, versioned(snapshot, 0)?.as_ref(), command)?;
            Ok(match command.expires_at {
                Some(due) => timers::set(change, &Timer::LedgerHoldDue(hold.clone()), due),
                None => change,
            })
        };
        let fill = |ask: Ask| ask.record(ledger::hold_key(hold));
        self.services.decider.run("ledger.authorise", hold, command, fill, decide, explain).await
    }

    /// Takes some or all of a hold. `capture` names this capture within the hold.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`].
    pub async fn capture(&self, command: &Capture, capture: &str) -> Result<Done<Hold>, Failure> {
        let key = format!("{}/{capture}", command.hold);
        let decide = |context: &Context, hold: &Versioned<Hold>| Ok(ledger::capture(context, hold, command)?);
        self.step("ledger.capture", &key, &command.hold, command, decide).await
    }

    /// Holds more. `increment` names this increment within the hold: repeated, it adds once.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`].
    pub async fn increment(&self, command: &Increment, increment: &str) -> Result<Done<Hold>, Failure> {
        let key = format!("{}/{increment}", command.hold);
        let decide = |context: &Context, hold: &Versioned<Hold>| Ok(ledger::increment(context, hold, command)?);
        self.step("ledger.increment", &key, &command.hold, command, decide).await
    }

    /// Lets a hold run out later.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `NotLater`, or `HoldExpired` once it has run out.
    pub async fn extend_hold(&self, command: &ExtendHold) -> Result<Done<Hold>, Failure> {
        let key = format!("{}/{}", command.hold, command.expires_at.as_nanos());
        let decide = |context: &Context, hold: &Versioned<Hold>| {
            let change = ledger::extend(context, hold, command)?;
            Ok(timers::set(change, &Timer::LedgerHoldDue(command.hold.clone()), command.expires_at))
        };
        self.step("ledger.extend", &key, &command.hold, command, decide).await
    }

    /// Gives back what is left of a hold, on frozen accounts, too.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`].
    pub async fn void(&self, hold: &LedgerHoldId) -> Result<Done<Hold>, Failure> {
        self.step("ledger.void", hold, hold, hold, |context, hold| Ok(ledger::void(context, hold)?)).await
    }

    /// Marks a hold that has run out. The timers do it by themselves, and so does whatever it stands in the way of.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `NotDue` while it holds.
    pub async fn expire(&self, hold: &LedgerHoldId) -> Result<Done<Hold>, Failure> {
        self.step("ledger.expire", hold, hold, hold, |context, hold| Ok(ledger::expire(context, hold)?)).await
    }

    async fn step<C: serde::Serialize>(
        &self,
        operation: &'static str,
        key: &str,
        hold: &LedgerHoldId,
        command: &C,
        decide: impl Fn(&Context, &Versioned<Hold>) -> Result<Change, Stop>,
    ) -> Result<Done<Hold>, Failure> {
        let decide = |context: &Context, snapshot: &Snapshot| {
            let current: Option<Versioned<Hold>> = versioned(snapshot, 0)?;
            let current = current.ok_or_else(|| ledger::Rejection::UnknownHold { hold: hold.clone() })?;
            decide(context, &current)
        };
        let fill = |ask: Ask| ask.record(ledger::hold_key(hold));
        self.services.decider.run(operation, key, command, fill, decide, explain).await
    }
}
