//! The history of an account: an event for everything that was changed about it, and what it was as of any of them.

use alloc::string::{String, ToString};

use serde::{Deserialize, Serialize};
use txn_change::{Event, Key, KeyBuilder, Kind, Status};

use super::{
    account::{Account, check_length, record_key},
    limits::Limits,
    metadata::Metadata,
    rejection::Rejection,
};
use crate::{
    decide::{body, documents, key},
    id::AccountId,
    money::Currency,
};

/// The greatest length of a reason, in bytes.
pub const REASON_BYTES_MAX: usize = 500;

/// What was changed about an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum AccountChange {
    /// It was opened so.
    Opened(Account),
    /// It has other limits.
    Limited(Limits),
    /// It has another name and other metadata.
    Described {
        /// Its name from then on.
        name: String,
        /// All of its metadata from then on.
        metadata: Metadata,
    },
    /// It was frozen, opened again, or closed.
    Status {
        /// What it was.
        from: Status,
        /// What it is from then on.
        to: Status,
    },
}

/// `ledger.account.changed`: what was changed about an account, and why. It moves no money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountChanged {
    /// The account.
    pub account: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// What was changed.
    pub what: AccountChange,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

documents! {
    AccountChanged => "ledger.account.changed", 1;
}

const CHANGE_INDEX: Kind = Kind::reserved("account-change");

/// The index term of everything that was changed about an account.
#[must_use]
pub fn changes_of(account: &AccountId, currency: Currency) -> KeyBuilder {
    let fits = "an id has at most 100 bytes and the term two texts";
    Key::of(CHANGE_INDEX).text(account).expect(fits).text(currency.code()).expect(fits)
}

impl AccountChanged {
    pub(super) fn of(account: &Account, what: AccountChange, reason: &str) -> Self {
        Self { account: account.id.clone(), currency: account.currency, what, reason: reason.to_string() }
    }

    pub(super) fn because(account: &Account, what: AccountChange, reason: &str) -> Result<Self, Rejection> {
        check_length("a reason", reason, REASON_BYTES_MAX)?;
        Ok(Self::of(account, what, reason))
    }

    pub(super) fn event(&self) -> Event {
        let term = key(CHANGE_INDEX, &[&self.account, self.currency.code()]);
        Event::new(body(self)).about(record_key(&self.account, self.currency)).with_term(term)
    }
}

/// What an account was at some time, beside its balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountState {
    /// Its record.
    pub account: Account,
    /// Whether it took postings.
    pub status: Status,
}

impl AccountState {
    /// What follows on a state, or on none, when one more change is known. `None` stays when the first change is not that it was opened.
    ///
    /// ```
    /// use txn_change::Status;
    /// use txn_core::{id::AccountId, ledger::{Account, AccountChange, AccountChanged, AccountState, AccountType}, money::Currency};
    /// let account = Account::new(AccountId::new("wallets:ann")?, AccountType::Liability, Currency::USD);
    /// let changed = |what| AccountChanged { account: account.id.clone(), currency: account.currency, what, reason: String::new() };
    /// let frozen = AccountChange::Status { from: Status::Open, to: Status::Frozen };
    /// let changes = [changed(AccountChange::Opened(account.clone())), changed(frozen)];
    /// let state = changes.into_iter().fold(None, AccountState::after).expect("it was opened");
    /// assert_eq!(state.status, Status::Frozen);
    /// # Ok::<(), txn_change::NameError>(())
    /// ```
    #[must_use]
    pub fn after(before: Option<Self>, changed: AccountChanged) -> Option<Self> {
        match (before, changed.what) {
            (None, AccountChange::Opened(account)) => Some(Self { account, status: Status::Open }),
            (None, _) => None,
            (Some(state), AccountChange::Opened(_)) => Some(state),
            (Some(state), AccountChange::Limited(limits)) => {
                Some(Self { account: Account { limits, ..state.account }, ..state })
            }
            (Some(state), AccountChange::Described { name, metadata }) => {
                Some(Self { account: Account { name, metadata, ..state.account }, ..state })
            }
            (Some(state), AccountChange::Status { to, .. }) => Some(Self { status: to, ..state }),
        }
    }
}
