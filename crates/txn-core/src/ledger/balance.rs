//! Balances: the four lanes of an account, and what they come to.

use txn_change::{Counter, Lanes};

use super::{account::NormalSide, limits, rejection::Rejection};
use crate::money::{Currency, Money};

/// An account's balance, read from its counter; or that of several accounts in one currency, added up.
///
/// ```
/// use txn_change::Lanes;
/// use txn_core::{ledger::{Balance, NormalSide}, money::{Currency, Money}};
/// // A wallet of 100.00, of which 30.00 are held for a purchase, with 5.00 under way to it.
/// let wallet = Balance { currency: Currency::USD, lanes: Lanes([3_000, 0, 500, 10_000]) };
/// assert_eq!(wallet.posted(NormalSide::Credit), Money::parse("100.00", Currency::USD)?);
/// assert_eq!(wallet.available(NormalSide::Credit), Money::parse("70.00", Currency::USD)?);
/// assert_eq!(wallet.available(NormalSide::Debit).minor(), -10_500);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

    /// Nothing at all.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self { currency, lanes: Lanes::ZERO }
    }

    /// Both together: what is debited on either side stays debited.
    ///
    /// # Errors
    /// [`Rejection::CurrencyMismatch`], [`Rejection::Overflow`].
    pub fn try_add(self, other: Self) -> Result<Self, Rejection> {
        let (expected, found) = (self.currency, other.currency);
        if expected != found {
            return Err(Rejection::CurrencyMismatch { expected, found });
        }
        let lanes = self.lanes.checked_add(other.lanes).ok_or(Rejection::Overflow)?;
        for side in [NormalSide::Debit, NormalSide::Credit] {
            lanes.weighted(limits::available(side)).ok_or(Rejection::Overflow)?;
        }
        Ok(Self { currency: expected, lanes })
    }

    fn money(&self, weights: [i8; 4]) -> Money {
        let sum = self.lanes.weighted(weights);
        Money::from_minor(sum.unwrap_or(i128::MIN), self.currency)
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
        self.money(limits::available(normal))
    }

    /// Debits that are promised.
    #[must_use]
    pub fn debits_pending(&self) -> Money {
        self.money([1, 0, 0, 0])
    }

    /// Credits that are promised.
    #[must_use]
    pub fn credits_pending(&self) -> Money {
        self.money([0, 0, 1, 0])
    }
}
