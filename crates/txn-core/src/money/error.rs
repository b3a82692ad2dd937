//! The refusals of money. Each names the value and the limit it broke; none carries another crate's error.

use alloc::string::String;

use super::Currency;

/// Why an operation on money was refused; nothing was computed.
///
/// ```
/// use txn_core::money::{Currency, Money, MoneyError};
///
/// let refused = Money::parse("10.005", Currency::USD).unwrap_err();
/// assert!(matches!(refused, MoneyError::Scale { decimals_max: 2, .. }));
/// assert_eq!(refused.to_string(), "\"10.005\" is not a whole number of minor units: USD has 2 decimals");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// The exact result lies outside the range of `i128` minor units (or, converting to [`rust_decimal::Decimal`], of its 96 bits).
    #[error("{operation} {value}: the result is outside the range of {bits} bits")]
    Overflow {
        /// The operation, as a verb: `add`, `negate`, `parse`.
        operation: &'static str,
        /// The operands, as text.
        value: String,
        /// The width that was exceeded.
        bits: u32,
    },
    /// Two currencies met in one operation.
    #[error("{left} and {right} are different currencies")]
    CurrencyMismatch {
        /// The currency of the left or expected side.
        left: Currency,
        /// The currency of the right or given side.
        right: Currency,
    },
    /// More decimals than the currency has. The value is refused and never rounded.
    #[error("{value:?} is not a whole number of minor units: {currency} has {decimals_max} decimals")]
    Scale {
        /// The text or number given.
        value: String,
        /// The currency it was read in.
        currency: Currency,
        /// The decimals that the currency has.
        decimals_max: u8,
    },
    /// Not a decimal number in the one form accepted.
    #[error("{value:?} is not an amount: expected ASCII digits such as \"10.05\" or \"-3\"")]
    Malformed {
        /// The text given.
        value: String,
    },
    /// The text is longer than any amount. It is not repeated here.
    #[error("an amount of {bytes} bytes is over the limit of {bytes_max}")]
    TooLong {
        /// The length given.
        bytes: usize,
        /// The limit, [`AMOUNT_BYTES_MAX`](super::AMOUNT_BYTES_MAX).
        bytes_max: usize,
    },
    /// No weight is above 0, so there is nobody to give the money to.
    #[error("{count} weights add up to 0: at least one must be above 0")]
    InvalidWeights {
        /// The number of weights given.
        count: usize,
    },
    /// More parts than one division may have.
    #[error("{parts} parts are over the limit of {parts_max}")]
    TooManyParts {
        /// The number asked for.
        parts: usize,
        /// The limit, [`PARTS_MAX`](super::PARTS_MAX).
        parts_max: usize,
    },
}

/// Why a text is not a [`Currency`].
///
/// ```
/// use txn_core::money::{Currency, CurrencyError};
///
/// let refused = Currency::from_code("usd").unwrap_err();
/// assert_eq!(refused, CurrencyError::Unknown { code: "usd".into() });
/// assert_eq!(refused.to_string(), "\"usd\" is not the code of a current ISO 4217 currency with a minor unit");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CurrencyError {
    /// Not an exact, current code of the table.
    #[error("{code:?} is not the code of a current ISO 4217 currency with a minor unit")]
    Unknown {
        /// The first 16 characters of the text given.
        code: String,
    },
}
