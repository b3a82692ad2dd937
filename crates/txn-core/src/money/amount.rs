//! The amount itself and its checked arithmetic. Reading, writing and dividing stand beside it.

use alloc::format;
use alloc::string::{String, ToString};
use core::cmp::Ordering;

use rust_decimal::Decimal;

use super::format::Text;
use super::ratio::{mul_div, signed};
use super::{Currency, MoneyError, Rounding};

/// A whole number of minor units of one currency; every operation on it is exact or an error.
///
/// The range is that of `i128`. The sign belongs to the number (a credit line, a balance below zero); it is never a direction of
/// payment. There is no `Ord`: compare with [`Money::try_cmp`].
///
/// ```
/// use txn_core::money::{Currency, Money, MoneyError};
///
/// let price = Money::parse("10.05", Currency::USD)?;
/// let total = price.try_mul(3)?.try_add(Money::from_minor(99, Currency::USD))?;
/// assert_eq!((total.minor(), total.to_string().as_str()), (3114, "31.14 USD"));
///
/// let refused = total.try_add(Money::from_minor(99, Currency::EUR));
/// assert_eq!(refused, Err(MoneyError::CurrencyMismatch { left: Currency::USD, right: Currency::EUR }));
/// # Ok::<(), MoneyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i128,
    currency: Currency,
}

impl Money {
    /// An amount of `minor` units: `1005` is 10.05 USD, 1005 JPY and 1.005 BHD.
    #[must_use]
    pub const fn from_minor(minor: i128, currency: Currency) -> Money {
        Money { minor, currency }
    }

    /// Nothing, in a currency.
    #[must_use]
    pub const fn zero(currency: Currency) -> Money {
        Money::from_minor(0, currency)
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor(self) -> i128 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether the amount is 0.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Whether the amount is above 0.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.minor > 0
    }

    /// Whether the amount is below 0.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.minor < 0
    }

    /// The exact sum.
    ///
    /// # Errors
    ///
    /// [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn try_add(self, other: Money) -> Result<Money, MoneyError> {
        self.same_currency(other)?;
        self.with(self.minor.checked_add(other.minor), || overflow("add", format!("{self} and {other}")))
    }

    /// The exact difference.
    ///
    /// # Errors
    ///
    /// [`MoneyError::CurrencyMismatch`], [`MoneyError::Overflow`].
    pub fn try_sub(self, other: Money) -> Result<Money, MoneyError> {
        self.same_currency(other)?;
        self.with(self.minor.checked_sub(other.minor), || overflow("subtract", format!("{other} from {self}")))
    }

    /// The amount with its sign turned.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`] for `i128::MIN`, which has no counterpart.
    pub fn try_neg(self) -> Result<Money, MoneyError> {
        self.with(self.minor.checked_neg(), || overflow("negate", self.to_string()))
    }

    /// The amount without its sign.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`] for `i128::MIN`, which has no counterpart.
    pub fn try_abs(self) -> Result<Money, MoneyError> {
        self.with(self.minor.checked_abs(), || overflow("take the absolute of", self.to_string()))
    }

    /// The amount `factor` times, such as a unit price times a quantity.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`].
    pub fn try_mul(self, factor: i128) -> Result<Money, MoneyError> {
        self.with(self.minor.checked_mul(factor), || overflow("multiply", format!("{self} by {factor}")))
    }

    /// The amount times a rate, computed exactly and then rounded once, as told.
    ///
    /// No digit is lost on the way: the product is kept whole, even where it exceeds 128 bits, until it is divided.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`] if the result does not fit.
    ///
    /// ```
    /// use rust_decimal::Decimal;
    /// use txn_core::money::{Currency, Money, Rounding};
    ///
    /// let net = Money::from_minor(19_99, Currency::EUR);
    /// let tax = net.try_mul_decimal(Decimal::new(19, 2), Rounding::HalfEven)?;
    /// assert_eq!(tax.to_string(), "3.80 EUR"); // 3.7981
    /// # Ok::<(), txn_core::money::MoneyError>(())
    /// ```
    pub fn try_mul_decimal(self, rate: Decimal, rounding: Rounding) -> Result<Money, MoneyError> {
        let exact = || {
            let negative = self.is_negative() != (rate.mantissa() < 0);
            let divisor = 10u128.checked_pow(rate.scale())?;
            let (quotient, rest) = mul_div(self.minor.unsigned_abs(), rate.mantissa().unsigned_abs(), divisor)?;
            let grown = u128::from(rounding.grows(negative, quotient, rest, divisor));
            signed(negative, quotient.checked_add(grown)?)
        };
        self.with(exact(), || overflow("multiply", format!("{self} by {rate}")))
    }

    /// The exact sum of all amounts, which must be in `currency`; zero for none.
    ///
    /// # Errors
    ///
    /// [`MoneyError::CurrencyMismatch`] with `currency` on the left; [`MoneyError::Overflow`] if a running total leaves the range.
    ///
    /// ```
    /// use txn_core::money::{Currency, Money};
    ///
    /// let lines = [250, 199].map(|minor| Money::from_minor(minor, Currency::JPY));
    /// assert_eq!(Money::sum(Currency::JPY, lines)?.minor(), 449);
    /// # Ok::<(), txn_core::money::MoneyError>(())
    /// ```
    pub fn sum(currency: Currency, amounts: impl IntoIterator<Item = Money>) -> Result<Money, MoneyError> {
        amounts.into_iter().try_fold(Money::zero(currency), Money::try_add)
    }

    /// The order of two amounts of one currency.
    ///
    /// # Errors
    ///
    /// [`MoneyError::CurrencyMismatch`].
    pub fn try_cmp(self, other: Money) -> Result<Ordering, MoneyError> {
        self.same_currency(other)?;
        Ok(self.minor.cmp(&other.minor))
    }

    /// The amount with exactly the decimals of its currency and without its code: `10.05`. [`Money::parse`] reads it back.
    ///
    /// ```
    /// use txn_core::money::{Currency, Money};
    ///
    /// assert_eq!(Money::from_minor(-5, Currency::BHD).to_decimal_string(), "-0.005");
    /// ```
    #[must_use]
    pub fn to_decimal_string(self) -> String {
        Text::of(self).as_str().to_string()
    }

    /// The amount as an exact decimal in major units.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Overflow`] above the 96 bits of a [`Decimal`].
    pub fn to_decimal(self) -> Result<Decimal, MoneyError> {
        Decimal::try_from_i128_with_scale(self.minor, u32::from(self.currency.exponent()))
            .map_err(|_| MoneyError::Overflow { operation: "convert", value: self.to_string(), bits: 96 })
    }

    /// A decimal in major units as money, if it is a whole number of minor units. Zeros behind the point do not count as decimals.
    ///
    /// # Errors
    ///
    /// [`MoneyError::Scale`] if it would have to be rounded; [`MoneyError::Overflow`].
    ///
    /// ```
    /// use rust_decimal::Decimal;
    /// use txn_core::money::{Currency, Money};
    ///
    /// assert_eq!(Money::from_decimal(Decimal::new(10_500, 3), Currency::USD)?.minor(), 1050);
    /// assert!(Money::from_decimal(Decimal::new(10_005, 3), Currency::USD).is_err());
    /// # Ok::<(), txn_core::money::MoneyError>(())
    /// ```
    pub fn from_decimal(value: Decimal, currency: Currency) -> Result<Money, MoneyError> {
        let decimals_max = currency.exponent();
        let exact = || {
            let unit = 10u128.checked_pow(u32::from(decimals_max))?;
            mul_div(value.mantissa().unsigned_abs(), unit, 10u128.checked_pow(value.scale())?)
        };
        let (magnitude, rest) = exact().ok_or_else(|| overflow("convert", value.to_string()))?;
        if rest != 0 {
            return Err(MoneyError::Scale { value: value.to_string(), currency, decimals_max });
        }
        Money::zero(currency).with(signed(value.mantissa() < 0, magnitude), || overflow("convert", value.to_string()))
    }

    fn with(self, minor: Option<i128>, refusal: impl FnOnce() -> MoneyError) -> Result<Money, MoneyError> {
        minor.map(|minor| Money { minor, ..self }).ok_or_else(refusal)
    }

    fn same_currency(self, other: Money) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency })
    }
}

fn overflow(operation: &'static str, value: String) -> MoneyError {
    MoneyError::Overflow { operation, value, bits: 128 }
}

#[cfg(test)]
mod tests;
