//! How many pieces: a count that is at least one.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest text read as a quantity, in bytes.
const QUANTITY_BYTES_MAX: usize = 20;

/// A count of whole pieces from 1 to 2,147,483,647; no other value can exist.
///
/// The limit is that of a signed 32-bit integer, which every database and client holds. "None" is the absence of a line, not a
/// quantity of 0, and a return is a movement of its own, not a negative quantity. In serde, an integer.
///
/// ```
/// use txn_core::quantity::{Quantity, QuantityError};
///
/// let three = Quantity::new(3)?;
/// assert_eq!(three.try_add("4".parse()?)?.get(), 7);
/// assert_eq!(Quantity::new(0), Err(QuantityError::OutOfRange { value: 0, min: 1, max: 2_147_483_647 }));
/// # Ok::<(), QuantityError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u64);

/// Why a number is not a [`Quantity`].
///
/// ```
/// use txn_core::quantity::Quantity;
///
/// let refused = Quantity::new(1 << 31).unwrap_err();
/// assert_eq!(refused.to_string(), "a quantity of 2147483648 is outside 1 to 2147483647");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// Below 1 or above the limit.
    #[error("a quantity of {value} is outside {min} to {max}")]
    OutOfRange {
        /// The number given or computed.
        value: i128,
        /// The least quantity.
        min: u64,
        /// The greatest quantity.
        max: u64,
    },
    /// Not a run of ASCII digits.
    #[error("{value:?} is not a quantity: expected 1 to {bytes_max} ASCII digits")]
    Malformed {
        /// The first 32 characters of the text given.
        value: String,
        /// The most digits read.
        bytes_max: usize,
    },
}

impl Quantity {
    /// One piece.
    pub const MIN: Quantity = Quantity(1);
    /// The most pieces of one line.
    pub const MAX: Quantity = Quantity(2_147_483_647);

    /// The quantity `value`.
    ///
    /// # Errors
    ///
    /// [`QuantityError::OutOfRange`].
    pub fn new(value: u64) -> Result<Quantity, QuantityError> {
        if (Quantity::MIN.0..=Quantity::MAX.0).contains(&value) {
            return Ok(Quantity(value));
        }
        Err(out_of_range(i128::from(value)))
    }

    /// The number of pieces.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Both quantities together.
    ///
    /// # Errors
    ///
    /// [`QuantityError::OutOfRange`] above the limit.
    pub fn try_add(self, other: Quantity) -> Result<Quantity, QuantityError> {
        Quantity::new(self.0.saturating_add(other.0))
    }

    /// What is left of `self` without `other`.
    ///
    /// # Errors
    ///
    /// [`QuantityError::OutOfRange`] if nothing, or less than nothing, is left.
    pub fn try_sub(self, other: Quantity) -> Result<Quantity, QuantityError> {
        Quantity::try_from(i128::from(self).saturating_sub(i128::from(other)))
    }
}

fn out_of_range(value: i128) -> QuantityError {
    QuantityError::OutOfRange { value, min: Quantity::MIN.0, max: Quantity::MAX.0 }
}

impl TryFrom<i128> for Quantity {
    type Error = QuantityError;

    fn try_from(value: i128) -> Result<Quantity, QuantityError> {
        u64::try_from(value).map_err(|_| out_of_range(value)).and_then(Quantity::new)
    }
}

impl From<Quantity> for i128 {
    fn from(quantity: Quantity) -> i128 {
        i128::from(quantity.0)
    }
}

impl From<Quantity> for u64 {
    fn from(quantity: Quantity) -> u64 {
        quantity.0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Quantity, QuantityError> {
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let digits = Some(text).filter(|text| is_digits && text.len() <= QUANTITY_BYTES_MAX);
        let value: Option<i128> = digits.and_then(|digits| digits.parse().ok());
        Quantity::try_from(value.ok_or_else(|| QuantityError::Malformed {
            value: text.chars().take(32).collect(),
            bytes_max: QUANTITY_BYTES_MAX,
        })?)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        struct Integer;

        impl Visitor<'_> for Integer {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an integer from {} to {}", Quantity::MIN, Quantity::MAX)
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Quantity, E> {
                Quantity::new(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Quantity, E> {
                Quantity::try_from(i128::from(value)).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
            }
        }

        deserializer.deserialize_u64(Integer)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cases B17, O18.
    #[test]
    fn zero_negative_fractional_and_oversized_quantities_are_refused() {
        for value in [0, -1, 1 << 31, i128::from(i64::MAX), i128::from(i64::MIN), i128::MAX, i128::MIN] {
            assert_eq!(Quantity::try_from(value), Err(out_of_range(value)));
        }
        for value in [0, 1 << 31, u64::MAX] {
            assert_eq!(Quantity::new(value), Err(out_of_range(i128::from(value))));
        }
        let json = [
            "0",
            "-1",
            "2147483648",
            "0.5",
            "1.0",
            "1e3",
            "9223372036854775807",
            "18446744073709551616",
            "\"1\"",
            "null",
            "true",
        ];
        for text in json {
            let refused = serde_json::from_str::<Quantity>(text).unwrap_err().to_string();
            assert!(refused.contains("an integer from 1 to 2147483647"), "{text}: {refused}");
        }
        for text in ["", "-1", "+1", "0.5", "1.0", " 1", "1_000", "１", "1e3", "0x1", &"1".repeat(21)] {
            let malformed = QuantityError::Malformed { value: text.into(), bytes_max: QUANTITY_BYTES_MAX };
            assert_eq!(text.parse::<Quantity>(), Err(malformed));
        }
        for (text, value) in [("0", 0), ("2147483648", 1 << 31), ("99999999999999999999", 99_999_999_999_999_999_999)] {
            assert_eq!(text.parse::<Quantity>(), Err(out_of_range(value)));
        }
    }

    #[test]
    fn both_ends_of_the_range_are_accepted() {
        for (text, quantity) in [("1", Quantity::MIN), ("2147483647", Quantity::MAX)] {
            assert_eq!(text.parse(), Ok(quantity));
            assert_eq!(serde_json::from_str::<Quantity>(text).unwrap(), quantity);
            assert_eq!(serde_json::to_string(&quantity).unwrap(), text);
            assert_eq!(quantity.to_string(), text);
        }
        assert_eq!(Quantity::MAX.try_add(Quantity::MIN), Err(out_of_range(1 << 31)));
        assert_eq!(Quantity::MIN.try_sub(Quantity::MIN), Err(out_of_range(0)));
        assert_eq!(Quantity::MIN.try_sub(Quantity::MAX), Err(out_of_range(-2_147_483_646)));
    }

    proptest! {
        #[test]
        fn arithmetic_agrees_with_integers(a in 1u64..=2_147_483_647, b in 1u64..=2_147_483_647) {
            let (left, right) = (Quantity::new(a).unwrap(), Quantity::new(b).unwrap());
            prop_assert_eq!(left.try_add(right), Quantity::new(a + b));
            prop_assert_eq!(left.try_sub(right), Quantity::try_from(i128::from(a) - i128::from(b)));
            prop_assert_eq!(left.to_string().parse(), Ok(left));
        }
    }
}
