//! Whether an account takes postings. The status stands in the balance's counter alone, where every posting meets it.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use txn_change::{Change, Counter, SetGuards, Status};

use super::{
    account::{Account, account_key},
    balance::Balance,
    history::{AccountChange, AccountChanged},
    rejection::Rejection,
};
use crate::{
    decide::{Context, Versioned, body},
    id::AccountId,
    money::Currency,
};

/// Set whether an account takes postings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetStatus {
    /// The account.
    pub account: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// What it is from now on.
    pub status: Status,
    /// Why; kept in the account's history.
    #[serde(default)]
    pub reason: String,
}

/// Freezes an account, opens it again, or closes it.
///
/// A frozen account takes no transfers, no new holds and no captures; what holds on it give back passes. An account is closed when nothing is posted and nothing pending on it,
/// and takes nothing at all until it is opened again.
///
/// # Errors
/// [`Rejection::StatusUnchanged`] for the status that it has, [`Rejection::StatusNotAllowed`] for freezing a closed account, [`Rejection::HasPending`] and
/// [`Rejection::NotZero`] for closing one that is not empty, [`Rejection::TooLong`].
pub fn set_status(
    context: &Context,
    account: &Versioned<Account>,
    counter: &Counter,
    command: &SetStatus,
) -> Result<Change, Rejection> {
    let account = &account.value;
    let (from, to) = (counter.status, command.status);
    if from == to {
        return Err(Rejection::StatusUnchanged { account: account.id.clone(), status: to });
    }
    match (from, to) {
        (Status::Open, Status::Frozen) | (Status::Frozen | Status::Closed, Status::Open) => {}
        (Status::Open | Status::Frozen, Status::Closed) => check_empty(account, counter)?,
        _ => return Err(Rejection::StatusNotAllowed { account: account.id.clone(), from, to }),
    }
    let changed = AccountChanged::because(account, AccountChange::Status { from, to }, &command.reason)?;
    let mut change = context.change().append(changed.event()).answer(body(&changed));
    change.set.push(SetGuards {
        counter: account_key(&account.id, account.currency),
        expect: counter.version,
        guards: counter.guards,
        status: to,
    });
    Ok(change)
}

fn check_empty(account: &Account, counter: &Counter) -> Result<(), Rejection> {
    let balance = Balance::of(counter, account.currency);
    let (debits, credits) = (balance.debits_pending(), balance.credits_pending());
    if !debits.is_zero() || !credits.is_zero() {
        return Err(Rejection::HasPending { account: account.id.clone(), debits, credits });
    }
    let posted = balance.posted(account.normal);
    if !posted.is_zero() {
        return Err(Rejection::NotZero { account: account.id.clone(), balance: posted });
    }
    Ok(())
}
