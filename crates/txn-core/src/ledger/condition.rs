//! Conditions: what a caller wants to be true of an account before a transfer is posted.

use serde::{Deserialize, Serialize};
use txn_change::{Change, Condition as OnCounter, Label};

use super::{
    account::{NormalSide, account_key},
    rejection::Rejection,
};
use crate::{
    id::AccountId,
    money::{Currency, Money},
};

/// Which amount of an account a condition is about. The account's normal side says which way it is counted: a condition reads no account record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// What is posted.
    Posted(NormalSide),
    /// What can be spent: posted, less what is pending on the other side.
    Available(NormalSide),
}

impl Measure {
    const fn weights(self) -> [i8; 4] {
        match self {
            Self::Posted(NormalSide::Debit) => [0, 1, 0, -1],
            Self::Posted(NormalSide::Credit) => [0, -1, 0, 1],
            Self::Available(NormalSide::Debit) => [0, 1, -1, -1],
            Self::Available(NormalSide::Credit) => [-1, -1, 0, 1],
        }
    }
}

/// What must be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Is {
    /// The amount is this or more.
    AtLeast(Measure, Money),
    /// The amount is this or less.
    AtMost(Measure, Money),
    /// The amount is this.
    Equals(Measure, Money),
    /// The balance is at this version: nothing has touched it since it was read. See [`super::Balance`].
    Version(u64),
}

/// A condition on one account, judged when the change is committed, on the state before it: before the whole chain for a transfer of a chain, and behind the transfers before it for one of a batch.
///
/// ```
/// use txn_core::{id::AccountId, ledger::{Condition, Is, Measure, NormalSide}, money::{Currency, Money}};
/// let wallet = AccountId::new("customers:c-1:wallet")?;
/// let least = Money::parse("10.00", Currency::USD)?;
/// let condition = Condition::new(wallet, Currency::USD, Is::AtLeast(Measure::Available(NormalSide::Credit), least));
/// assert_eq!(condition.currency, Currency::USD);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The account.
    pub account: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// What must be true of it.
    pub is: Is,
}

/// The label of a transfer's conditions, before the number.
pub(super) const LABEL: &str = "condition";

impl Condition {
    /// A condition on an account in a currency.
    #[must_use]
    pub const fn new(account: AccountId, currency: Currency, is: Is) -> Self {
        Self { account, currency, is }
    }

    /// States it in a change, as its condition of that number.
    pub(super) fn state(&self, change: Change, number: usize) -> Result<Change, Rejection> {
        let minor = |money: Money| {
            let (expected, found) = (self.currency, money.currency());
            if expected == found { Ok(money.minor()) } else { Err(Rejection::CurrencyMismatch { expected, found }) }
        };
        let condition = match self.is {
            Is::AtLeast(of, money) => OnCounter::AtLeast(of.weights(), minor(money)?),
            Is::AtMost(of, money) => OnCounter::AtMost(of.weights(), minor(money)?),
            Is::Equals(of, money) => OnCounter::Equals(of.weights(), minor(money)?),
            Is::Version(version) => OnCounter::Version(version),
        };
        Ok(change.hold(account_key(&self.account, self.currency), condition, Label::indexed(LABEL, number)))
    }
}
