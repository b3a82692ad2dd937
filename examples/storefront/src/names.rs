//! Names of a file as ids of the SDK: an encoding that loses nothing, because a file's names compare byte for byte.

use std::fmt::Write;

use txn::change::NameError;
use txn::core::id::{CustomerId, Sku};

/// Escapes every byte that an id cannot hold as `%XX`; an empty name is a lone `%`. No two names give the same text.
///
/// ```
/// use storefront::names::escape;
/// assert_eq!(escape(b"85123A"), "85123A");
/// assert_eq!(escape(b"gift_0001_40 "), "gift_0001_40%20");
/// assert_eq!(escape(b""), "%");
/// ```
#[must_use]
pub fn escape(name: &[u8]) -> String {
    if name.is_empty() {
        return "%".into();
    }
    let mut text = String::with_capacity(name.len());
    for byte in name {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    text
}

/// The sku of a stock code.
///
/// # Errors
/// When its escaped form is longer than an id may be.
pub fn sku(code: &[u8]) -> Result<Sku, NameError> {
    Sku::new(escape(code))
}

/// The customer of a customer number.
///
/// # Errors
/// When its escaped form is longer than an id may be.
pub fn customer(number: &[u8]) -> Result<CustomerId, NameError> {
    CustomerId::new(escape(number))
}
