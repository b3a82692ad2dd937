//! The ledger of one tenant.

use txn_change::{Change, Refusal};
use txn_core::{
    Context, Versioned,
    id::{AccountId, LedgerHoldId},
    ledger::{self, Account, Balance, Capture, Hold, NormalSide, OpenAccount, Transfer, Transferred},
    money::Currency,
};
use txn_store::{Ask, Snapshot};

use crate::{
    decide::{Done, Stop, versioned},
    failure::{Failure, Rejection},
    services::Services,
};

/// The ledger of one tenant.
#[derive(Debug, Clone, Copy)]
pub struct Ledger<'a> {
    pub(crate) services: &'a Services,
}

/// What the evaluator's refusal means to a ledger.
pub(crate) fn explain(refusal: &Refusal) -> Option<Rejection> {
    ledger::explain(refusal).map(Rejection::Ledger)
}

impl Ledger<'_> {
    /// Opens an account in a currency.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`].
    pub async fn open_account(&self, command: &OpenAccount) -> Result<Done<Account>, Failure> {
        let account = &command.account;
        let key = ledger::record_key(&account.id, account.currency);
        let decide = |context: &Context, snapshot: &Snapshot| {
            Ok(ledger::open_account(context, versioned(snapshot, 0)?.as_ref(), command)?)
        };
        let name = format!("{}/{}", account.id, account.currency.code());
        self.services.decider.run("account.open", &name, command, |ask| ask.record(key.clone()), decide, explain).await
    }

    /// Opens the accounts that payments in a currency post to, by the posting rules. Repeating it changes nothing.
    ///
    /// # Errors
    /// As [`Ledger::open_account`].
    pub async fn open_payment_accounts(&self, currency: Currency) -> Result<(), Failure> {
        let rules = &self.services.parts.rules;
        let accounts = [
            (&rules.gateway, NormalSide::Debit, "Owed by the payment gateway"),
            (&rules.sales, NormalSide::Credit, "Sales"),
            (&rules.refunds, NormalSide::Debit, "Refunds"),
        ];
        for (id, normal, name) in accounts {
            // A gateway may owe less than nothing: refunds can pass what it has not paid out yet.
            let may_overdraw = *id == rules.gateway;
            let account = Account { id: id.clone(), currency, normal, may_overdraw, name: name.into() };
            self.open_account(&OpenAccount { account }).await?;
        }
        Ok(())
    }

    /// An account's balance; `None` when there is no such account.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn balance(&self, account: &AccountId, currency: Currency) -> Result<Option<Balance>, Failure> {
        let counter = self.services.decider.scope.counter(ledger::account_key(account, currency)).await?;
        Ok(counter.map(|counter| Balance::of(&counter, currency)))
    }

    /// Posts a transfer. Its id is the request's id.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: an unsound transfer, an unknown account, insufficient funds.
    pub async fn transfer(&self, command: &Transfer) -> Result<Done<Transferred>, Failure> {
        let decide = |context: &Context, _: &Snapshot| Ok(ledger::transfer(context, command)?);
        self.services.decider.run("ledger.transfer", &command.id, command, |ask| ask, decide, explain).await
    }

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
