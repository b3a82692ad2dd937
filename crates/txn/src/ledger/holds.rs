//! Holds: promised, and captured, voided or run out.

use txn_change::Change;
use txn_core::{
    Context, Versioned,
    id::LedgerHoldId,
    ledger::{self, Capture, Hold},
};
use txn_store::{Ask, Snapshot};

use super::{Ledger, explain};
use crate::{
    decide::{Done, Stop, versioned},
    failure::Failure,
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
    pub async fn authorise(&self, hold: &Hold) -> Result<Done<Hold>, Failure> {
        let decide = |context: &Context, snapshot: &Snapshot| {
            Ok(ledger::authorise(context, versioned(snapshot, 0)?.as_ref(), hold)?)
        };
        let fill = |ask: Ask| ask.record(ledger::hold_key(&hold.id));
        self.services.decider.run("ledger.authorise", &hold.id, hold, fill, decide, explain).await
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

    /// Gives back what is left of a hold.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`].
    pub async fn void(&self, hold: &LedgerHoldId) -> Result<Done<Hold>, Failure> {
        self.step("ledger.void", hold, hold, hold, |context, hold| Ok(ledger::void(context, hold)?)).await
    }

    /// Marks a hold that has run out.
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
