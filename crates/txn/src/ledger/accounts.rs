//! Accounts: opened, and their balances read.

use txn_core::{
    Context,
    id::AccountId,
    ledger::{self, Account, Balance, NormalSide, OpenAccount},
    money::Currency,
};
use txn_store::Snapshot;

use super::{Ledger, explain};
use crate::{
    decide::{Done, versioned},
    failure::Failure,
};

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
}
