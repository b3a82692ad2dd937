//! Tables and identities of the arithmetic.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use proptest::prelude::*;

use super::*;

const ALL_ROUNDINGS: [Rounding; 6] =
    [Rounding::HalfEven, Rounding::HalfUp, Rounding::Down, Rounding::Up, Rounding::Ceiling, Rounding::Floor];

fn usd(minor: i128) -> Money {
    Money::from_minor(minor, Currency::USD)
}

fn is_overflow(result: Result<Money, MoneyError>) -> bool {
    matches!(result, Err(MoneyError::Overflow { bits: 128, .. }))
}

/// Case B3. The caller gets the error before it has anything to post.
#[test]
fn what_leaves_the_range_overflows() {
    let (most, least) = (usd(i128::MAX), usd(i128::MIN));
    assert!(is_overflow(most.try_add(usd(1))));
    assert!(is_overflow(least.try_sub(usd(1))));
    assert!(is_overflow(least.try_add(usd(-1))));
    assert!(is_overflow(most.try_mul(2)));
    assert!(is_overflow(least.try_mul(-1)));
    assert!(is_overflow(Money::sum(Currency::USD, [most, usd(1), usd(-1)])), "overflow on the second leg");
    assert_eq!(most.try_add(usd(0)), Ok(most));
    assert_eq!(usd(i128::from(i64::MAX)).try_add(usd(1)), Ok(usd(i128::from(i64::MAX) + 1)), "i64 is not the range");
    let message = most.try_add(usd(1)).unwrap_err().to_string();
    let expected =
        "add 1701411834604692317316873037158841057.27 USD and 0.01 USD: the result is outside the range of 128 bits";
    assert_eq!(message, expected);
}

/// Case B5.
#[test]
fn the_least_amount_has_no_counterpart() {
    assert!(is_overflow(usd(i128::MIN).try_neg()));
    assert!(is_overflow(usd(i128::MIN).try_abs()));
    assert_eq!(usd(i128::from(i64::MIN)).try_neg(), Ok(usd(i128::from(i64::MIN).abs())), "the least i64 has one here");
    assert_eq!(usd(i128::MAX).try_neg().and_then(Money::try_abs), Ok(usd(i128::MAX)));
}

#[test]
fn two_currencies_never_meet() {
    let (left, right) = (usd(1000), Money::from_minor(1000, Currency::JPY));
    let mismatch = MoneyError::CurrencyMismatch { left: Currency::USD, right: Currency::JPY };
    assert_eq!(left.try_add(right), Err(mismatch.clone()));
    assert_eq!(left.try_sub(right), Err(mismatch.clone()));
    assert_eq!(left.try_cmp(right), Err(mismatch.clone()));
    assert_eq!(Money::sum(Currency::USD, [left, right]), Err(mismatch));
    assert_ne!(left, right);
    assert_ne!(Money::zero(Currency::USD), Money::zero(Currency::JPY));
}

#[test]
fn signs_and_order() {
    let signs = |money: Money| (money.is_negative(), money.is_zero(), money.is_positive());
    assert_eq!(signs(usd(-1)), (true, false, false));
    assert_eq!(signs(usd(0)), (false, true, false));
    assert_eq!(signs(usd(1)), (false, false, true));
    assert_eq!(usd(-1).try_cmp(usd(1)), Ok(Ordering::Less));
    assert_eq!(Money::sum(Currency::USD, []), Ok(usd(0)));
}

#[test]
fn every_rounding_of_every_kind_of_rest() {
    // tenths, then HalfEven, HalfUp, Down, Up, Ceiling, Floor
    let table = [
        (24, [2, 2, 2, 3, 3, 2]),
        (25, [2, 3, 2, 3, 3, 2]),
        (26, [3, 3, 2, 3, 3, 2]),
        (35, [4, 4, 3, 4, 4, 3]),
        (30, [3, 3, 3, 3, 3, 3]),
        (5, [0, 1, 0, 1, 1, 0]),
        (0, [0, 0, 0, 0, 0, 0]),
        (-5, [0, -1, 0, -1, 0, -1]),
        (-24, [-2, -2, -2, -3, -2, -3]),
        (-25, [-2, -3, -2, -3, -2, -3]),
        (-26, [-3, -3, -2, -3, -2, -3]),
        (-35, [-4, -4, -3, -4, -3, -4]),
    ];
    let tenth = Decimal::new(1, 1);
    for (tenths, expected) in table {
        for (rounding, minor) in ALL_ROUNDINGS.into_iter().zip(expected) {
            assert_eq!(usd(tenths).try_mul_decimal(tenth, rounding), Ok(usd(minor)), "{tenths} tenths {rounding:?}");
            let other_sign = usd(-tenths).try_mul_decimal(-tenth, rounding);
            assert_eq!(other_sign, Ok(usd(minor)), "{tenths} tenths {rounding:?}, both signs turned");
        }
    }
}

#[test]
fn a_rate_of_28_digits_loses_none() {
    let third = Decimal::from_i128_with_scale(3_333_333_333_333_333_333_333_333_333, 28);
    let trillions = usd(300_000_000_000_000_000);
    assert_eq!(trillions.try_mul_decimal(third, Rounding::Down), Ok(usd(99_999_999_999_999_999)));
    assert_eq!(trillions.try_mul_decimal(third, Rounding::HalfEven), Ok(usd(100_000_000_000_000_000)));
    assert_eq!(usd(i128::MAX).try_mul_decimal(Decimal::ONE, Rounding::Up), Ok(usd(i128::MAX)));
    assert_eq!(usd(i128::MIN).try_mul_decimal(Decimal::ONE, Rounding::Up), Ok(usd(i128::MIN)));
    assert!(is_overflow(usd(i128::MAX).try_mul_decimal(Decimal::MAX, Rounding::Down)));
    assert!(is_overflow(usd(i128::MIN).try_mul_decimal(-Decimal::ONE, Rounding::Down)));
    assert_eq!(usd(5).try_mul_decimal(Decimal::ZERO, Rounding::Up), Ok(usd(0)));
}

#[test]
fn decimals_convert_exactly_or_not_at_all() {
    assert_eq!(usd(1005).to_decimal(), Ok(Decimal::new(1005, 2)));
    assert_eq!(Money::from_decimal(Decimal::new(-15, 1), Currency::USD), Ok(usd(-150)));
    assert_eq!(Money::from_decimal(Decimal::new(10_050, 3), Currency::USD), Ok(usd(1005)));
    let inexact = Money::from_decimal(Decimal::new(15, 1), Currency::JPY);
    assert_eq!(inexact, Err(MoneyError::Scale { value: "1.5".into(), currency: Currency::JPY, decimals_max: 0 }));
    assert!(matches!(usd(i128::MAX).to_decimal(), Err(MoneyError::Overflow { bits: 96, .. })));
    assert!(Money::from_decimal(Decimal::MAX, Currency::CLF).is_ok(), "96 bits and four decimals fit 128");
}

fn currencies() -> impl Strategy<Value = Currency> {
    prop::sample::select(Currency::all().collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn adding_then_subtracting_gives_the_same(a: i128, b: i128) {
        let (a, b) = (usd(a), usd(b));
        prop_assert_eq!(a.try_add(b).ok(), b.try_add(a).ok());
        match a.try_add(b) {
            Ok(sum) => prop_assert_eq!(sum.try_sub(b), Ok(a)),
            Err(_) => prop_assert_eq!(a.minor().checked_add(b.minor()), None),
        }
    }

    #[test]
    fn turning_the_sign_twice_gives_the_same(a in i128::MIN + 1..) {
        prop_assert_eq!(usd(a).try_neg().and_then(Money::try_neg), Ok(usd(a)));
        prop_assert_eq!(usd(a).try_neg(), usd(a).try_mul(-1));
    }

    #[test]
    fn multiplying_is_repeated_adding(a in -1_000_000i128..1_000_000, times in 0usize..50) {
        let repeated = Money::sum(Currency::USD, core::iter::repeat_n(usd(a), times));
        prop_assert_eq!(usd(a).try_mul(times as i128), repeated);
    }

    #[test]
    fn a_whole_rate_is_a_factor(a in -1i128 << 80..1 << 80, factor in -1i64 << 40..1 << 40) {
        for rounding in ALL_ROUNDINGS {
            prop_assert_eq!(usd(a).try_mul_decimal(Decimal::from(factor), rounding), usd(a).try_mul(i128::from(factor)));
        }
    }

    #[test]
    fn roundings_lie_within_one_unit_and_mirror_each_other(a in -1i128 << 70..1 << 70, mantissa in -1i64 << 50..1 << 50, scale in 0u32..28) {
        let rate = Decimal::new(mantissa, scale);
        let by = |rounding| usd(a).try_mul_decimal(rate, rounding).unwrap().minor();
        let (floor, ceiling) = (by(Rounding::Floor), by(Rounding::Ceiling));
        prop_assert!(ceiling == floor || ceiling == floor + 1);
        for rounding in ALL_ROUNDINGS {
            prop_assert!((floor..=ceiling).contains(&by(rounding)));
        }
        let turned = |rounding| usd(-a).try_mul_decimal(rate, rounding).unwrap().minor();
        prop_assert_eq!(turned(Rounding::Floor), -ceiling);
        prop_assert_eq!(turned(Rounding::HalfEven), -by(Rounding::HalfEven));
        prop_assert_eq!(turned(Rounding::HalfUp), -by(Rounding::HalfUp));
    }

    #[test]
    fn a_decimal_and_back_gives_the_same(minor in -1i128 << 95..1 << 95, currency in currencies()) {
        let money = Money::from_minor(minor, currency);
        prop_assert_eq!(Money::from_decimal(money.to_decimal().unwrap(), money.currency()), Ok(money));
    }
}
