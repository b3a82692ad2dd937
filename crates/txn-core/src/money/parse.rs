//! From text to money: one grammar, no leniency.

use alloc::string::ToString;

use super::ratio::signed;
use super::{Currency, Money, MoneyError};

/// The longest text read as an amount, in bytes. Every `i128` amount fits in 42; the rest is room for leading zeros.
pub const AMOUNT_BYTES_MAX: usize = 64;

impl Money {
    /// Reads exactly the amount written, or refuses; it never rounds.
    ///
    /// `-?[0-9]+(\.[0-9]+)?` in ASCII, with at most the decimals of the currency: `10`, `10.5` and `10.05` are USD, `10.050` is not,
    /// even though the last digit is 0. Refused as well are zero with a sign (`-0.00`), exponents, separators of thousands, a decimal
    /// comma, spaces, a plus sign, and the digits of other scripts.
    ///
    /// # Errors
    ///
    /// [`MoneyError::TooLong`], [`MoneyError::Malformed`], [`MoneyError::Scale`], [`MoneyError::Overflow`]; checked in this order.
    ///
    /// ```
    /// use txn_core::money::{Currency, Money};
    ///
    /// assert_eq!(Money::parse("10.5", Currency::USD)?.minor(), 1050);
    /// for refused in ["10.005", "1e3", "1,000.00", "-0", ".5"] {
    ///     assert!(Money::parse(refused, Currency::USD).is_err());
    /// }
    /// # Ok::<(), txn_core::money::MoneyError>(())
    /// ```
    pub fn parse(text: &str, currency: Currency) -> Result<Money, MoneyError> {
        if text.len() > AMOUNT_BYTES_MAX {
            return Err(MoneyError::TooLong { bytes: text.len(), bytes_max: AMOUNT_BYTES_MAX });
        }
        let (negative, number) = match text.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, text),
        };
        let (whole, decimals) = match number.split_once('.') {
            Some((whole, decimals)) => (whole, Some(decimals)),
            None => (number, None),
        };
        let decimals = match decimals {
            None => "",
            Some(decimals) if is_digits(decimals) => decimals,
            Some(_) => return Err(malformed(text)),
        };
        let is_zero = !number.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
        if !is_digits(whole) || (negative && is_zero) {
            return Err(malformed(text));
        }
        let decimals_max = currency.exponent();
        let missing = usize::from(decimals_max).checked_sub(decimals.len()).ok_or_else(|| MoneyError::Scale {
            value: text.to_string(),
            currency,
            decimals_max,
        })?;

        let digits = whole.bytes().chain(decimals.bytes()).chain(core::iter::repeat_n(b'0', missing));
        magnitude(digits)
            .and_then(|magnitude| signed(negative, magnitude))
            .map(|minor| Money::from_minor(minor, currency))
            .ok_or_else(|| MoneyError::Overflow { operation: "parse", value: text.to_string(), bits: 128 })
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn malformed(text: &str) -> MoneyError {
    MoneyError::Malformed { value: text.to_string() }
}

fn magnitude(mut digits: impl Iterator<Item = u8>) -> Option<u128> {
    digits.try_fold(0u128, |sum, digit| sum.checked_mul(10)?.checked_add(u128::from(digit & 0x0f)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cases B6, L29.
    #[test]
    fn what_is_not_plain_ascii_decimal_is_malformed() {
        let refused = [
            "",
            "-",
            "+1",
            "--1",
            "1-",
            " 1",
            "1 ",
            "1\n",
            "\t1",
            "1e2",
            "1e3",
            "1E2",
            "0x10",
            "1_000",
            "1,00",
            "1,000.00",
            "1.",
            ".5",
            ".",
            "-.5",
            "1..2",
            "1.2.3",
            "1.-2",
            "-0",
            "-0.00",
            "-000",
            "\u{2212}0",
            "\u{2212}1",
            "NaN",
            "nan",
            "Infinity",
            "-inf",
            "１２",
            "１００",
            "٣",
            "1\u{0}",
            "10.0５",
            "$1",
            "1 USD",
            "10.05e1",
            "½",
            "1\u{a0}000",
        ];
        for text in refused {
            assert_eq!(
                Money::parse(text, Currency::USD),
                Err(MoneyError::Malformed { value: text.into() }),
                "{text:?}"
            );
        }
    }

    /// Cases B7, L29.
    #[test]
    fn too_many_decimals_are_refused_and_not_rounded() {
        let refused = [
            ("10.005", Currency::USD, 2),
            ("10.050", Currency::USD, 2),
            ("0.000", Currency::USD, 2),
            ("1.5", Currency::JPY, 0),
            ("1.0", Currency::JPY, 0),
            ("1.2345", Currency::KWD, 3),
            ("-1.23456", Currency::CLF, 4),
        ];
        for (text, currency, decimals_max) in refused {
            let expected = MoneyError::Scale { value: text.into(), currency, decimals_max };
            assert_eq!(Money::parse(text, currency), Err(expected), "{text}");
        }
    }

    #[test]
    fn accepted_texts_are_read_exactly() {
        let accepted = [
            ("0", Currency::USD, 0),
            ("0.00", Currency::USD, 0),
            ("10.05", Currency::USD, 1005),
            ("10.5", Currency::USD, 1050),
            ("-3", Currency::USD, -300),
            ("-0.01", Currency::USD, -1),
            ("007", Currency::JPY, 7),
            ("1.234", Currency::BHD, 1234),
            ("1.2", Currency::CLF, 12_000),
            ("1701411834604692317316873037158841057.27", Currency::USD, i128::MAX),
            ("-1701411834604692317316873037158841057.28", Currency::USD, i128::MIN),
        ];
        for (text, currency, minor) in accepted {
            assert_eq!(Money::parse(text, currency), Ok(Money::from_minor(minor, currency)), "{text}");
        }
    }

    /// Case B3.
    #[test]
    fn one_more_than_the_range_overflows_and_one_byte_more_than_the_limit_is_too_long() {
        for text in
            ["1701411834604692317316873037158841057.28", "-1701411834604692317316873037158841057.29", &"9".repeat(64)]
        {
            let expected = MoneyError::Overflow { operation: "parse", value: text.into(), bits: 128 };
            assert_eq!(Money::parse(text, Currency::USD), Err(expected));
        }
        let longest = format!("{}1", "0".repeat(AMOUNT_BYTES_MAX - 1));
        assert_eq!(Money::parse(&longest, Currency::JPY), Ok(Money::from_minor(1, Currency::JPY)));
        let too_long = MoneyError::TooLong { bytes: 65, bytes_max: 64 };
        assert_eq!(Money::parse(&format!("0{longest}"), Currency::JPY), Err(too_long));
    }

    fn currencies() -> impl Strategy<Value = Currency> {
        prop::sample::select(Currency::all().collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn reading_what_was_written_gives_the_same(minor: i128, currency in currencies()) {
            let money = Money::from_minor(minor, currency);
            prop_assert_eq!(Money::parse(&money.to_decimal_string(), money.currency()), Ok(money));
        }

        #[test]
        fn any_text_is_an_amount_or_a_typed_error(text in r"\PC{0,70}|-?[0-9]{0,3}[.,e]?[0-9]{0,5}") {
            if let Ok(money) = Money::parse(&text, Currency::USD) {
                // What is accepted denotes the same number: only zeros and the point may be missing.
                prop_assert!(text.bytes().all(|byte| matches!(byte, b'-' | b'.' | b'0'..=b'9')));
                prop_assert_eq!(Money::parse(&money.to_decimal_string(), Currency::USD), Ok(money));
            }
        }
    }
}
