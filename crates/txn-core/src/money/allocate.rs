//! Division of money: parts that add up to the whole, to the last minor unit.

use alloc::format;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::ratio::{mul_div, signed};
use super::{Money, MoneyError};

/// The most parts of one division.
pub const PARTS_MAX: usize = 65_536;

/// Divides `whole` in proportion to `weights`; the parts add up to `whole` exactly, whatever its sign.
///
/// Each part is its exact share, rounded toward zero; the units left over go one each to the largest remainders, and among equal
/// remainders to the earlier index. The same arguments always give the same parts, a weight of 0 always gives 0, and dividing `-whole` gives
/// the same parts negated, so that a refund of all parts returns what was charged.
///
/// Source: the largest remainder method (Hamilton, with a Hare quota).
///
/// # Errors
///
/// [`MoneyError::InvalidWeights`] without a weight above 0; [`MoneyError::TooManyParts`] above [`PARTS_MAX`]. A negative weight cannot be
/// written, and no sum of weights or intermediate product overflows within the limit.
///
/// ```
/// use txn_core::money::{Currency, Money, allocate};
///
/// let discount = Money::from_minor(100, Currency::USD);
/// let per_line: Vec<i128> = allocate(discount, &[1, 1, 1])?.iter().map(|part| part.minor()).collect();
/// assert_eq!(per_line, [34, 33, 33]);
/// # Ok::<(), txn_core::money::MoneyError>(())
/// ```
pub fn allocate(whole: Money, weights: &[u64]) -> Result<Vec<Money>, MoneyError> {
    if weights.len() > PARTS_MAX {
        return Err(MoneyError::TooManyParts { parts: weights.len(), parts_max: PARTS_MAX });
    }
    let overflow = || MoneyError::Overflow { operation: "allocate", value: format!("{whole}"), bits: 128 };
    let total =
        weights.iter().try_fold(0u128, |sum, weight| sum.checked_add(u128::from(*weight))).ok_or_else(overflow)?;
    if total == 0 {
        return Err(MoneyError::InvalidWeights { count: weights.len() });
    }

    let magnitude = whole.minor().unsigned_abs();
    let mut left = magnitude;
    let mut shares = Vec::with_capacity(weights.len());
    for weight in weights {
        let (share, remainder) = mul_div(magnitude, u128::from(*weight), total).ok_or_else(overflow)?;
        left = left.checked_sub(share).ok_or_else(overflow)?;
        shares.push(Share { magnitude: share, remainder });
    }
    hand_out(left, &mut shares);

    let negative = whole.is_negative();
    shares
        .into_iter()
        .map(|share| signed(negative, share.magnitude).map(|minor| Money::from_minor(minor, whole.currency())))
        .collect::<Option<_>>()
        .ok_or_else(overflow)
}

/// Divides `whole` into `parts` equal ones, the first of them one unit larger where it does not divide; they add up to `whole` exactly.
///
/// # Errors
///
/// [`MoneyError::TooManyParts`] above [`PARTS_MAX`].
///
/// ```
/// use core::num::NonZeroU32;
/// use txn_core::money::{Currency, Money, split};
///
/// let seven = NonZeroU32::new(7).expect("7 is not 0");
/// let parts = split(Money::from_minor(-1, Currency::JPY), seven)?;
/// assert_eq!((parts[0].minor(), parts[1].minor(), parts.len()), (-1, 0, 7));
/// # Ok::<(), txn_core::money::MoneyError>(())
/// ```
pub fn split(whole: Money, parts: NonZeroU32) -> Result<Vec<Money>, MoneyError> {
    let count = usize::try_from(parts.get()).unwrap_or(usize::MAX);
    if count > PARTS_MAX {
        return Err(MoneyError::TooManyParts { parts: count, parts_max: PARTS_MAX });
    }
    allocate(whole, &alloc::vec![1; count])
}

struct Share {
    magnitude: u128,
    remainder: u128,
}

/// Gives the units left over, of which there are fewer than shares with a remainder.
fn hand_out(left: u128, shares: &mut [Share]) {
    let mut by_remainder: Vec<&mut Share> = shares.iter_mut().filter(|share| share.remainder > 0).collect();
    // Stable, so that the earlier index wins a tie.
    by_remainder.sort_by_key(|share| core::cmp::Reverse(share.remainder));
    for (share, _) in by_remainder.into_iter().zip(0..left) {
        share.magnitude = share.magnitude.saturating_add(1);
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use proptest::prelude::*;

    use crate::money::Currency;

    use super::*;

    fn usd(minor: i128) -> Money {
        Money::from_minor(minor, Currency::USD)
    }

    fn minors(parts: Result<Vec<Money>, MoneyError>) -> Vec<i128> {
        parts.unwrap().into_iter().map(Money::minor).collect()
    }

    fn count(parts: u32) -> NonZeroU32 {
        NonZeroU32::new(parts).unwrap()
    }

    /// Cases L27, B9, O26.
    #[test]
    fn parts_add_up_and_the_earlier_part_takes_the_odd_unit() {
        let hundred = Money::parse("100.00", Currency::USD).unwrap();
        let parts = split(hundred, count(3)).unwrap();
        assert_eq!(parts.iter().map(Money::to_string).collect::<Vec<_>>(), ["33.34 USD", "33.33 USD", "33.33 USD"]);
        assert_eq!(Money::sum(Currency::USD, parts), Ok(hundred));

        assert_eq!(minors(split(usd(100), count(3))), [34, 33, 33]);
        assert_eq!(minors(split(usd(1), count(3))), [1, 0, 0], "0.01 into 3");
        assert_eq!(minors(split(usd(1), count(7))), [1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(minors(split(usd(-100), count(3))), [-34, -33, -33], "the refund of each part");
        assert_eq!(minors(split(usd(0), count(2))), [0, 0]);
        assert_eq!(minors(allocate(usd(101), &[1, 0, 1])), [51, 0, 50]);
        assert_eq!(minors(allocate(usd(5), &[3, 7])), [2, 3], "1.5 and 3.5: a tie goes to the earlier");
        assert_eq!(minors(allocate(usd(10), &[1, 2, 4])), [1, 3, 6], "1.43, 2.86, 5.71");
    }

    /// Cases L27, B9.
    #[test]
    fn weights_that_give_to_nobody_are_refused() {
        for weights in [&[][..], &[0], &[0, 0]] {
            let expected = MoneyError::InvalidWeights { count: weights.len() };
            assert_eq!(allocate(usd(100), weights), Err(expected));
        }
        // A negative weight has no value: what reads weights refuses it.
        assert!(serde_json::from_str::<Vec<u64>>("[2,-1]").is_err());
    }

    #[test]
    fn the_number_of_parts_is_limited() {
        let most = u32::try_from(PARTS_MAX).unwrap();
        let parts = split(usd(i128::MAX), count(most)).unwrap();
        assert_eq!(Money::sum(Currency::USD, parts), Ok(usd(i128::MAX)));
        let expected = MoneyError::TooManyParts { parts: PARTS_MAX + 1, parts_max: PARTS_MAX };
        assert_eq!(split(usd(1), count(most + 1)), Err(expected.clone()));
        assert_eq!(allocate(usd(1), &vec![1; PARTS_MAX + 1]), Err(expected));
        assert!(matches!(split(usd(1), NonZeroU32::MAX), Err(MoneyError::TooManyParts { .. })));
    }

    #[test]
    fn the_largest_amount_and_weights_stay_exact() {
        let weights = vec![u64::MAX; PARTS_MAX];
        for whole in [usd(i128::MAX), usd(i128::MIN)] {
            assert_eq!(Money::sum(Currency::USD, allocate(whole, &weights).unwrap()), Ok(whole));
        }
        assert_eq!(minors(allocate(usd(i128::MIN), &[u64::MAX])), [i128::MIN]);
    }

    proptest! {
        /// Case L27.
        #[test]
        fn the_parts_are_the_whole(minor: i128, shift in 0u32..127, weights in prop::collection::vec(any::<u64>(), 1..20)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let whole = usd(minor >> shift);
            let parts = allocate(whole, &weights).unwrap();
            prop_assert_eq!(Money::sum(Currency::USD, parts.clone()), Ok(whole));
            prop_assert_eq!(&allocate(whole, &weights).unwrap(), &parts);
            for (part, weight) in parts.iter().zip(&weights) {
                prop_assert!(part.is_zero() || (part.is_negative() == whole.is_negative() && *weight > 0));
            }
            if let Ok(refund) = whole.try_neg() {
                let negated: Vec<_> = parts.iter().map(|part| part.try_neg().unwrap()).collect();
                prop_assert_eq!(allocate(refund, &weights).unwrap(), negated);
            }
        }

        #[test]
        fn each_part_is_within_one_unit_of_its_exact_share(
            minor in 0i128..1_000_000_000, weights in prop::collection::vec(0u64..1000, 1..20)
        ) {
            let total: u64 = weights.iter().sum();
            prop_assume!(total > 0);
            for (part, weight) in allocate(usd(minor), &weights).unwrap().iter().zip(weights) {
                let floor = minor * i128::from(weight) / i128::from(total);
                prop_assert!((floor..=floor + 1).contains(&part.minor()));
            }
        }
    }
}
