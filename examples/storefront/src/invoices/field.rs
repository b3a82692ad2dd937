//! Strict readings of one number: what is not exactly of the form is an error, never a guess.

use rust_decimal::Decimal;

use super::error::Wrong;
use super::limits::{PRICE_DIGITS_MAX, PRICE_WHOLE_DIGITS_MAX, QUANTITY_MAX};

/// An optional `-` and ASCII digits, within [`QUANTITY_MAX`] either way.
pub(super) fn quantity(value: &[u8]) -> Result<i64, Wrong> {
    let (negative, digits) = sign(value);
    if !is_digits(digits) {
        return Err(Wrong::NotAWholeNumber);
    }
    let units = number(digits)
        .filter(|units| u64::try_from(*units).is_ok_and(|units| units <= QUANTITY_MAX))
        .ok_or(Wrong::QuantityTooLarge)?;
    Ok(signed(negative, units))
}

/// An optional `-`, digits, and optionally a point and more digits: exactly the decimal that is written.
pub(super) fn price(value: &[u8]) -> Result<Decimal, Wrong> {
    let (negative, value) = sign(value);
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let decimals = parts.next();
    if !is_digits(whole) || decimals.is_some_and(|decimals| !is_digits(decimals)) {
        return Err(Wrong::NotADecimal);
    }
    let digits = [whole, decimals.unwrap_or_default()].concat();
    if whole.len() > PRICE_WHOLE_DIGITS_MAX || digits.len() > PRICE_DIGITS_MAX {
        return Err(Wrong::PriceTooLong);
    }
    let minor = number(&digits).ok_or(Wrong::PriceTooLong)?;
    let scale = u32::try_from(decimals.map_or(0, <[u8]>::len)).map_err(|_| Wrong::PriceTooLong)?;
    Ok(Decimal::new(signed(negative, minor), scale))
}

fn sign(value: &[u8]) -> (bool, &[u8]) {
    match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    }
}

fn signed(negative: bool, number: i64) -> i64 {
    if negative { number.saturating_neg() } else { number }
}

fn is_digits(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(u8::is_ascii_digit)
}

/// The number that ASCII digits write, if an `i64` holds it.
pub(super) fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = i64::from(digit.checked_sub(b'0')?);
        number.checked_mul(10)?.checked_add(digit)
    })
}
