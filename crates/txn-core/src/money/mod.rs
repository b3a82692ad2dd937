//! Money that is never created, lost or rounded in silence.
//!
//! An amount is a whole number of minor units (cents for USD, yen for JPY, fils for BHD) together with its currency. Every operation
//! is checked: what does not fit, mixes two currencies or would need rounding is a [`MoneyError`], never a panic, a wrap or a guess.
//!
//! | to | use |
//! |---|---|
//! | read `"10.05"` | [`Money::parse`] |
//! | add, subtract, negate, multiply by a count | [`Money::try_add`], [`Money::try_sub`], [`Money::try_neg`], [`Money::try_mul`], [`Money::sum`] |
//! | apply a rate | [`Money::try_mul_decimal`], with an explicit [`Rounding`] |
//! | divide | [`allocate`] and [`split`], whose parts add up to the whole |
//! | store or send | serde: `{"amount":"10.05","currency":"USD"}` |
//!
//! What is absent, on purpose: floats, operators (`+` cannot answer with an error), `Ord` (two currencies have no order), exchange
//! rates, and the symbols and separators of a locale.
//!
//! ```
//! use core::num::NonZeroU32;
//! use txn_core::money::{Currency, Money, split};
//!
//! let bill = Money::parse("100.00", Currency::USD)?;
//! let parts = split(bill, NonZeroU32::new(3).expect("3 is not 0"))?;
//! assert_eq!(parts[0].to_string(), "33.34 USD");
//! assert_eq!(Money::sum(Currency::USD, parts)?, bill);
//! # Ok::<(), txn_core::money::MoneyError>(())
//! ```

mod allocate;
mod amount;
mod currency;
mod error;
mod format;
mod json;
mod parse;
mod ratio;
mod rounding;
mod table;

pub use allocate::{PARTS_MAX, allocate, split};
pub use amount::Money;
pub use currency::Currency;
pub use error::{CurrencyError, MoneyError};
pub use parse::AMOUNT_BYTES_MAX;
pub use rounding::Rounding;
