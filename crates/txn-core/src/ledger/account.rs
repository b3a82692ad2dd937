//! Accounts: their record, and the counter that holds their balance.

use alloc::{string::String, sync::Arc, vec};

use serde::{Deserialize, Serialize};
use txn_change::{Change, Class, Counter, Guard, Key, Kind, Lanes, Open, Opening};

use super::rejection::Rejection;
use crate::{
    decide::{Context, Versioned, body, documents, key},
    id::AccountId,
    money::{Currency, Money},
};

/// The kind of balance counters.
pub const LEDGER_KIND: Kind = Kind::reserved("ledger");
/// The kind of account records.
pub const ACCOUNT_KIND: Kind = Kind::reserved("account");

/// The side on which an account grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormalSide {
    /// Assets and expenses.
    Debit,
    /// Liabilities, equity and income.
    Credit,
}

/// The record of an account. A transfer does not read it: all that a transfer needs stands in the counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// The side on which it grows.
    pub normal: NormalSide,
    /// Whether its balance may pass below zero.
    pub may_overdraw: bool,
    /// A name for people.
    pub name: String,
}

documents! {
    Account => "account", 1;
}

/// The key of an account's balance counter.
#[must_use]
pub fn account_key(account: &AccountId, currency: Currency) -> Key {
    key(LEDGER_KIND, &[account, currency.code()])
}

/// The key of an account's record.
#[must_use]
pub fn record_key(account: &AccountId, currency: Currency) -> Key {
    key(ACCOUNT_KIND, &[account, currency.code()])
}

/// The account and currency of a balance counter's key.
#[must_use]
pub fn account_prefix(key: &Key) -> Option<(String, String)> {
    match key.segments().as_slice() {
        [txn_change::Segment::Text(account), txn_change::Segment::Text(currency)]
            if key.kind() == LEDGER_KIND.as_str() =>
        {
            Some((account.clone(), currency.clone()))
        }
        _ => None,
    }
}

fn opening(account: &Account) -> Arc<Opening> {
    let class = Class {
        name: "ledger".into(),
        signed: [false; 4],
        history: true,
        conserves: [Some([1, 0, -1, 0]), Some([0, 1, 0, -1])],
    };
    // What is available: the normal side's posted amount, less the other side's posted and pending.
    let weights = match account.normal {
        NormalSide::Debit => [0, 1, -1, -1],
        NormalSide::Credit => [-1, -1, 0, 1],
    };
    let guard = (!account.may_overdraw).then_some(Guard { weights, min: 0 });
    Arc::new(Opening { class: Arc::new(class), unit: Arc::from(account.currency.code()), guards: [guard, None] })
}

/// Open an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAccount {
    /// The account as it will be recorded.
    pub account: Account,
}

/// Opens an account: its record and its balance of zero.
///
/// # Errors
/// [`Rejection::AccountExists`].
pub fn open_account(
    context: &Context,
    existing: Option<&Versioned<Account>>,
    command: &OpenAccount,
) -> Result<Change, Rejection> {
    let account = &command.account;
    if existing.is_some() {
        return Err(Rejection::AccountExists { account: account.id.clone(), currency: account.currency });
    }
    let mut change = context.change().insert(record_key(&account.id, account.currency), body(account), vec![]);
    change.open.push(Open { counter: account_key(&account.id, account.currency), opening: opening(account) });
    Ok(change.answer(body(account)))
}

/// An account's balance, read from its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// The currency.
    pub currency: Currency,
    /// `[debits_pending, debits_posted, credits_pending, credits_posted]`, in minor units.
    pub lanes: Lanes,
}

impl Balance {
    /// The balance that a counter holds.
    #[must_use]
    pub const fn of(counter: &Counter, currency: Currency) -> Self {
        Self { currency, lanes: counter.lanes }
    }

    fn money(&self, weights: [i8; 4]) -> Money {
        Money::from_minor(self.lanes.weighted(weights).unwrap_or(i128::MIN), self.currency)
    }

    /// Posted: debits less credits for a debit account, the reverse for a credit account.
    #[must_use]
    pub fn posted(&self, normal: NormalSide) -> Money {
        match normal {
            NormalSide::Debit => self.money([0, 1, 0, -1]),
            NormalSide::Credit => self.money([0, -1, 0, 1]),
        }
    }

    /// What can be spent: posted, less what is pending on the other side. Pending amounts on the normal side do not count yet.
    #[must_use]
    pub fn available(&self, normal: NormalSide) -> Money {
        match normal {
            NormalSide::Debit => self.money([0, 1, -1, -1]),
            NormalSide::Credit => self.money([-1, -1, 0, 1]),
        }
    }
}
