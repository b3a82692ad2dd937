//! Accounts: opened, limited, described, frozen and closed, and what they are and were.

use txn_change::{Change, Counter, Document, Key, Status, Timestamp};
use txn_core::{
    Context, Versioned,
    id::AccountId,
    ledger::{
        self, Account, AccountChanged, AccountState, AccountType, Balance, DescribeAccount, OpenAccount, Overdraft,
        Rejection, SetLimits, SetStatus,
    },
    money::Currency,
};
use txn_store::{Ask, Cursor, Found, Query, Range, Snapshot};

use super::{Ledger, explain};
use crate::{
    decide::{Done, Stop, versioned},
    failure::Failure,
};

/// How an account stands: its record, status and balance, true together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Its record.
    pub account: Account,
    /// Whether it takes postings.
    pub status: Status,
    /// Its balance.
    pub balance: Balance,
    /// The version of its balance, which grows with every change of it: what a condition can ask for.
    pub version: u64,
}

/// A part of an account's history, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountHistory {
    /// What was changed, and when it was recorded.
    pub changes: Vec<(Timestamp, AccountChanged)>,
    /// Where the next part begins; `None` when there was nothing more.
    pub next: Option<Cursor>,
}

/// Changes of an account that are read at once.
const HISTORY_PAGE: usize = 256;

impl Ledger<'_> {
    /// Opens an account in a currency.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`].
    pub async fn open_account(&self, command: &OpenAccount) -> Result<Done<Account>, Failure> {
        let account = &command.account;
        let record = |id| ledger::record_key(id, account.currency);
        let fill = |ask: Ask| match &account.parent {
            Some(parent) if *parent != account.id => ask.record(record(&account.id)).record(record(parent)),
            _ => ask.record(record(&account.id)),
        };
        let decide = |context: &Context, snapshot: &Snapshot| {
            let parent: Option<Versioned<Account>> = versioned(snapshot, 1)?;
            let parent = parent.as_ref().map(|parent| &parent.value);
            Ok(ledger::open_account(context, versioned(snapshot, 0)?.as_ref(), parent, command)?)
        };
        let name = format!("{}/{}", account.id, account.currency.code());
        self.services.decider.run("account.open", &name, command, fill, decide, explain).await
    }

    /// Opens the accounts that payments in a currency post to, by the posting rules. Repeating it changes nothing.
    ///
    /// # Errors
    /// As [`Ledger::open_account`].
    pub async fn open_payment_accounts(&self, currency: Currency) -> Result<(), Failure> {
        let rules = &self.services.parts.rules;
        let account = |id: &AccountId, account_type| Account::new(id.clone(), account_type, currency);
        // A gateway may owe less than nothing: refunds can pass what it has not paid out yet.
        let gateway = account(&rules.gateway, AccountType::Asset).overdraft(Overdraft::Unlimited);
        let accounts = [
            gateway.named("Owed by the payment gateway"),
            account(&rules.sales, AccountType::Income).named("Sales"),
            account(&rules.refunds, AccountType::Income).contra().named("Refunds"),
        ];
        for account in accounts {
            self.open_account(&OpenAccount { account }).await?;
        }
        Ok(())
    }

    /// Gives an account other limits; they bind what is posted later. `request` names this change within the account.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`].
    pub async fn set_limits(&self, command: &SetLimits, request: &str) -> Result<Done<AccountChanged>, Failure> {
        let decide = |context: &Context, account: &Versioned<Account>, counter: &Counter| {
            Ok(ledger::set_limits(context, account, counter, command)?)
        };
        self.change("account.limit", request, (&command.account, command.currency), command, decide).await
    }

    /// Freezes an account, opens it again, or closes it. `request` names this change within the account.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `StatusUnchanged`, `HasPending`, `NotZero`.
    pub async fn set_status(&self, command: &SetStatus, request: &str) -> Result<Done<AccountChanged>, Failure> {
        let decide = |context: &Context, account: &Versioned<Account>, counter: &Counter| {
            Ok(ledger::set_status(context, account, counter, command)?)
        };
        self.change("account.status", request, (&command.account, command.currency), command, decide).await
    }

    /// Gives an account another name and other metadata. `request` names this change within the account.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`].
    pub async fn describe_account(
        &self,
        command: &DescribeAccount,
        request: &str,
    ) -> Result<Done<AccountChanged>, Failure> {
        let decide = |context: &Context, account: &Versioned<Account>, _: &Counter| {
            Ok(ledger::describe_account(context, account, command)?)
        };
        self.change("account.describe", request, (&command.account, command.currency), command, decide).await
    }

    async fn change<C: serde::Serialize>(
        &self,
        operation: &'static str,
        request: &str,
        (account, currency): (&AccountId, Currency),
        command: &C,
        decide: impl Fn(&Context, &Versioned<Account>, &Counter) -> Result<Change, Stop>,
    ) -> Result<Done<AccountChanged>, Failure> {
        let decide = |context: &Context, snapshot: &Snapshot| {
            let record: Option<Versioned<Account>> = versioned(snapshot, 0)?;
            let counter = snapshot.counters.first().and_then(Option::as_ref);
            let (Some(record), Some(counter)) = (record, counter) else {
                let (account, currency) = (account.as_str().into(), currency.code().into());
                return Err(Rejection::UnknownAccount { account, currency }.into());
            };
            decide(context, &record, counter)
        };
        let fill = |ask: Ask| {
            ask.record(ledger::record_key(account, currency)).counter(ledger::account_key(account, currency))
        };
        let key = format!("{account}/{}/{request}", currency.code());
        self.services.decider.run(operation, &key, command, fill, decide, explain).await
    }

    /// An account's balance; `None` when there is no such account.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn balance(&self, account: &AccountId, currency: Currency) -> Result<Option<Balance>, Failure> {
        let counter = self.services.decider.scope.counter(ledger::account_key(account, currency)).await?;
        Ok(counter.map(|counter| Balance::of(&counter, currency)))
    }

    /// How an account stands; `None` when there is no such account.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn account(&self, account: &AccountId, currency: Currency) -> Result<Option<Standing>, Failure> {
        let scope = &self.services.decider.scope;
        let key = |key: fn(&AccountId, Currency) -> Key| key(account, currency);
        let ask = scope.ask().record(key(ledger::record_key)).counter(key(ledger::account_key));
        let snapshot = scope.get(ask).await?;
        let record = snapshot.records.into_iter().next().flatten();
        let counter = snapshot.counters.into_iter().next().flatten();
        let (Some(record), Some(counter)) = (record, counter) else { return Ok(None) };
        Ok(Some(Standing {
            account: record.body.read()?,
            status: counter.status,
            balance: Balance::of(&counter, currency),
            version: counter.version,
        }))
    }

    /// What was changed about an account, oldest first: at most 256 changes at once, behind the cursor of the part before. Nothing for an unknown account.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn account_history(
        &self,
        account: &AccountId,
        currency: Currency,
        after: Option<&Cursor>,
    ) -> Result<AccountHistory, Failure> {
        let query = Query::EventsByTerm(Range::prefix(ledger::changes_of(account, currency)));
        let page = self.services.decider.scope.find(&query, after, HISTORY_PAGE).await?;
        let mut changes = Vec::with_capacity(page.items.len());
        for found in page.items {
            if let Found::Event(recorded) = found
                && recorded.event.body.type_name() == AccountChanged::TYPE
            {
                changes.push((recorded.recorded_at, recorded.event.body.read()?));
            }
        }
        Ok(AccountHistory { changes, next: page.next })
    }

    /// What an account was at an instant, in the store's time: its limits, name, metadata and status. `None` when it was not open yet.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn account_as_of(
        &self,
        account: &AccountId,
        currency: Currency,
        known: Timestamp,
    ) -> Result<Option<AccountState>, Failure> {
        let (mut state, mut after) = (None, None);
        loop {
            let part = self.account_history(account, currency, after.as_ref()).await?;
            for (recorded_at, changed) in part.changes {
                if recorded_at > known {
                    return Ok(state);
                }
                state = AccountState::after(state, changed);
            }
            match part.next {
                Some(next) => after = Some(next),
                None => return Ok(state),
            }
        }
    }
}
