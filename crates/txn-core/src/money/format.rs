//! Digits without an allocation: an amount as text, in a buffer on the stack.

use core::fmt;

use super::Money;

/// A sign, 39 digits of 2^127, a point, and a leading zero.
const TEXT_BYTES: usize = 48;

/// The decimal text of an amount, with exactly the decimals of its currency.
pub(super) struct Text {
    bytes: [u8; TEXT_BYTES],
    start: usize,
}

impl Text {
    pub(super) fn of(money: Money) -> Text {
        let mut text = Text { bytes: [0; TEXT_BYTES], start: TEXT_BYTES };
        let mut decimals = money.currency().exponent();
        let mut rest = money.minor().unsigned_abs();
        // Decimals first, then the point, then at least one digit.
        while decimals > 0 {
            text.prepend_digit(&mut rest);
            decimals = decimals.saturating_sub(1);
            if decimals == 0 {
                text.prepend(b'.');
            }
        }
        text.prepend_digit(&mut rest);
        while rest > 0 {
            text.prepend_digit(&mut rest);
        }
        if money.is_negative() {
            text.prepend(b'-');
        }
        text
    }

    pub(super) fn as_str(&self) -> &str {
        let written = self.bytes.get(self.start..).expect("the start never passes the end");
        core::str::from_utf8(written).expect("only ASCII is written")
    }

    fn prepend_digit(&mut self, rest: &mut u128) {
        // Nearly every amount fits 64 bits, where a division is one instruction and not a call.
        let digit = match u64::try_from(*rest) {
            Ok(small) => {
                *rest = u128::from(small / 10);
                (small % 10) as u8
            }
            Err(_) => {
                let digit = (*rest % 10) as u8;
                *rest /= 10;
                digit
            }
        };
        self.prepend(b'0' | digit);
    }

    fn prepend(&mut self, byte: u8) {
        self.start = self.start.checked_sub(1).expect("48 bytes hold every i128 with a sign and a point");
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Text::of(*self).as_str())?;
        f.write_str(" ")?;
        f.write_str(self.currency().code())
    }
}

#[cfg(test)]
mod tests {
    use crate::money::Currency;

    use super::*;

    #[test]
    fn every_exponent_is_written_in_full() {
        let cases = [
            (0, Currency::USD, "0.00"),
            (5, Currency::USD, "0.05"),
            (-5, Currency::USD, "-0.05"),
            (1005, Currency::USD, "10.05"),
            (0, Currency::JPY, "0"),
            (-7, Currency::JPY, "-7"),
            (1, Currency::BHD, "0.001"),
            (-12_345, Currency::CLF, "-1.2345"),
            (i128::MAX, Currency::CLF, "17014118346046923173168730371588410.5727"),
            (i128::MIN, Currency::JPY, "-170141183460469231731687303715884105728"),
            (i128::MIN, Currency::USD, "-1701411834604692317316873037158841057.28"),
            (i128::from(u64::MAX), Currency::USD, "184467440737095516.15"),
        ];
        for (minor, currency, expected) in cases {
            let money = Money::from_minor(minor, currency);
            assert_eq!(money.to_decimal_string(), expected);
            assert_eq!(money.to_string(), format!("{expected} {currency}"));
        }
    }
}
