//! Limits: how far an account's balance may go, on both sides.
//!
//! A limit is a guard of the balance's counter, judged where the balance stands and on the net result of a change. It refuses what would pass it or make it worse; it never
//! refuses what makes it better.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use txn_change::{Change, Counter, Guard, SetGuards};

use super::{
    account::{Account, NormalSide, account_key, change_account},
    history::AccountChange,
    rejection::Rejection,
};
use crate::{
    decide::{Context, Versioned},
    id::AccountId,
    money::{Currency, Money},
};

/// How far below zero an account's available balance may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overdraft {
    /// Not at all.
    #[default]
    None,
    /// By this much, at most.
    UpTo(Money),
    /// As far as amounts go.
    Unlimited,
}

/// How far an account's balance may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How far below zero what is available may go: posted, less what is pending on the other side.
    pub overdraft: Overdraft,
    /// How much the account may come to hold at most: posted, and what is pending on its own side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_max: Option<Money>,
}

/// Which guard of the counter keeps the greatest balance; the other one keeps the overdraft.
pub(super) const CEILING: u8 = 1;

/// What is available: the normal side's posted amount, less the other side's posted and pending.
pub(super) const fn available(normal: NormalSide) -> [i8; 4] {
    match normal {
        NormalSide::Debit => [0, 1, -1, -1],
        NormalSide::Credit => [-1, -1, 0, 1],
    }
}

/// The room below a greatest balance: what the balance could come to, with its sign turned.
const fn room(normal: NormalSide) -> [i8; 4] {
    match normal {
        NormalSide::Debit => [-1, -1, 0, 1],
        NormalSide::Credit => [0, 1, -1, -1],
    }
}

impl Limits {
    /// Neither limit.
    pub const NONE: Self = Self { overdraft: Overdraft::Unlimited, balance_max: None };

    /// The guards of the balance's counter: the floor, then the ceiling. There is a floor without a limit, too, so that what is available always stays a number.
    #[must_use]
    pub fn guards(&self, normal: NormalSide) -> [Option<Guard>; 2] {
        let floor = match self.overdraft {
            Overdraft::None => 0,
            // Both are above zero by `check`, so that their negatives are numbers; a damaged one is no limit at all, or the widest.
            Overdraft::UpTo(most) => most.minor().checked_neg().unwrap_or(i128::MIN),
            Overdraft::Unlimited => i128::MIN,
        };
        let ceiling = |max: Money| Guard { weights: room(normal), min: max.minor().checked_neg().unwrap_or(i128::MIN) };
        [Some(Guard { weights: available(normal), min: floor }), self.balance_max.map(ceiling)]
    }

    /// Whether both are in the account's currency and not below zero.
    pub(super) fn check(&self, expected: Currency) -> Result<(), Rejection> {
        let overdraft = match self.overdraft {
            Overdraft::UpTo(most) => Some(most),
            Overdraft::None | Overdraft::Unlimited => None,
        };
        for limit in overdraft.into_iter().chain(self.balance_max) {
            let found = limit.currency();
            if found != expected {
                return Err(Rejection::CurrencyMismatch { expected, found });
            }
            if limit.is_negative() {
                return Err(Rejection::InvalidLimit { limit });
            }
        }
        Ok(())
    }
}

/// Set an account's limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLimits {
    /// The account.
    pub account: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// Its limits from now on.
    pub limits: Limits,
    /// Why; kept in the account's history.
    #[serde(default)]
    pub reason: String,
}

/// Gives an account other limits. They bind whatever is posted later; a balance that is beyond them stands, and may only come back. The account stays as open, frozen or
/// closed as it is.
///
/// # Errors
/// [`Rejection::CurrencyMismatch`], [`Rejection::InvalidLimit`], [`Rejection::TooLong`].
pub fn set_limits(
    context: &Context,
    account: &Versioned<Account>,
    counter: &Counter,
    command: &SetLimits,
) -> Result<Change, Rejection> {
    command.limits.check(account.value.currency)?;
    let after = Account { limits: command.limits, ..account.value.clone() };
    let what = AccountChange::Limited(command.limits);
    let mut change = change_account(context, account, &after, what, &command.reason)?;
    change.set.push(SetGuards {
        counter: account_key(&after.id, after.currency),
        expect: counter.version,
        guards: after.limits.guards(after.normal),
        status: counter.status,
    });
    Ok(change)
}
