//! The currencies of ISO 4217, as one-byte values. The registrations themselves are data, in `table`.

use core::fmt;
use core::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::CurrencyError;
use super::table::{Row, TABLE, key};

/// A current ISO 4217 currency that has a minor unit; no other value can exist.
///
/// The code is the exact registered one: upper case, three letters. Refused are codes without a minor unit (gold, special drawing
/// rights, `XXX`, `XTS`), withdrawn codes (`HRK`, `ZWL`) and everything private (`BTC`). Fund codes with a minor unit (`CLF`, four
/// decimals) are accepted. A redenomination is another currency with another code: `VES` and `VED` never meet.
///
/// One byte in memory; ordered by code; in serde, the code as a string. Each currency is also a constant.
///
/// Source: ISO 4217 list one, as kept by its maintenance agency.
///
/// ```
/// use txn_core::money::Currency;
///
/// let yen = Currency::from_code("JPY")?;
/// assert_eq!((yen, yen.numeric(), yen.exponent()), (Currency::JPY, 392, 0));
/// assert!(Currency::from_code("jpy").is_err());
/// # Ok::<(), txn_core::money::CurrencyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(pub(super) u8);

impl Currency {
    /// The currency registered under exactly this code.
    ///
    /// # Errors
    ///
    /// [`CurrencyError::Unknown`], with the text given.
    pub fn from_code(code: &str) -> Result<Currency, CurrencyError> {
        let unknown = || CurrencyError::Unknown { code: code.chars().take(16).collect() };
        let position = TABLE.binary_search_by_key(&key(code), |row| row.key).map_err(|_| unknown())?;
        u8::try_from(position).map(Currency).map_err(|_| unknown())
    }

    /// All currencies, in the order of their codes.
    ///
    /// ```
    /// use txn_core::money::Currency;
    ///
    /// assert_eq!(Currency::all().filter(|currency| currency.exponent() == 4).count(), 2);
    /// ```
    pub fn all() -> impl Iterator<Item = Currency> {
        (0..u8::MAX).zip(TABLE).map(|(position, _)| Currency(position))
    }

    /// The three-letter code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// The three-digit code, as a number.
    #[must_use]
    pub fn numeric(self) -> u16 {
        self.row().numeric
    }

    /// How many decimals the minor unit stands behind the point: 0 to 4.
    #[must_use]
    pub fn exponent(self) -> u8 {
        self.row().exponent
    }

    fn row(self) -> &'static Row {
        TABLE.get(usize::from(self.0)).expect("positions are only taken from the table")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(code: &str) -> Result<Currency, CurrencyError> {
        Currency::from_code(code)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Currency, D::Error> {
        struct Code;

        impl Visitor<'_> for Code {
            type Value = Currency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an ISO 4217 code such as \"USD\"")
            }

            fn visit_str<E: serde::de::Error>(self, code: &str) -> Result<Currency, E> {
                Currency::from_code(code).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases B12, L28.
    #[test]
    fn only_the_exact_code_of_a_current_currency_is_accepted() {
        let private = ["usd", "US", "USDT", "BTC", "", "USD\0", " USD", "USD ", "U\u{405}D", "840"];
        let without_minor_unit = ["XXX", "XTS", "XAU", "XAG", "XPT", "XPD", "XDR", "XUA", "XSU", "XBA"];
        let withdrawn = ["HRK", "BGN", "DEM", "VEF", "ZWL", "SLL", "MRO", "STD", "BYR", "ANG", "CUC", "LTL"];
        for code in private.iter().chain(&without_minor_unit).chain(&withdrawn) {
            assert_eq!(Currency::from_code(code), Err(CurrencyError::Unknown { code: (*code).into() }), "{code:?}");
            assert!(serde_json::from_value::<Currency>((*code).into()).is_err(), "{code:?}");
        }
        let long = "X".repeat(1_000_000);
        assert_eq!(Currency::from_code(&long), Err(CurrencyError::Unknown { code: "X".repeat(16) }));
    }

    /// Case L28. The ouguiya and the ariary are divided by five in use, and by a hundred in ISO 4217, which decides here.
    #[test]
    fn exponents_are_those_of_the_standard() {
        let expected = [
            ("JPY", 0),
            ("KRW", 0),
            ("CLP", 0),
            ("ISK", 0),
            ("UYI", 0),
            ("USD", 2),
            ("EUR", 2),
            ("MRU", 2),
            ("MGA", 2),
            ("VED", 2),
            ("BHD", 3),
            ("KWD", 3),
            ("TND", 3),
            ("CLF", 4),
            ("UYW", 4),
        ];
        for (code, exponent) in expected {
            assert_eq!(Currency::from_code(code).map(Currency::exponent), Ok(exponent), "{code}");
        }
        assert_ne!(Currency::VES, Currency::VED, "a redenomination is another currency");
    }

    #[test]
    fn the_table_is_sorted_and_every_constant_is_its_code() {
        assert!(TABLE.is_sorted_by(|left, right| left.code < right.code && left.key < right.key));
        assert!(TABLE.len() < usize::from(u8::MAX));
        assert_eq!(Currency::all().count(), TABLE.len());
        for currency in Currency::all() {
            assert_eq!(currency.code().parse(), Ok(currency));
            let json = serde_json::to_string(&currency).unwrap();
            assert_eq!(json, format!("\"{}\"", currency.code()));
            assert_eq!(serde_json::from_str::<Currency>(&json).unwrap(), currency);
        }
        assert_eq!([Currency::AED, Currency::USD, Currency::ZWG].map(Currency::code), ["AED", "USD", "ZWG"]);
        assert_eq!(size_of::<Currency>(), 1);
        assert_eq!(format!("{:?} {:>5}", Currency::USD, Currency::EUR), "USD   EUR");
    }

    /// Both directions, over every code of three letters, against a table kept by others.
    #[test]
    fn the_table_agrees_with_a_maintained_crate() {
        // Withdrawn from list one, and still known to that crate as superseded.
        let withdrawn = ["BGN", "CUC", "HRK", "SLL", "ZWL"];
        let letters = || b'A'..=b'Z';
        let codes = letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
        let mut compared = 0;
        for code in codes {
            let code = str::from_utf8(&code).unwrap();
            let ours = Currency::from_code(code).ok().map(|one| (one.numeric(), u16::from(one.exponent())));
            let theirs = iso_currency::Currency::from_code(code)
                .filter(|_| !withdrawn.contains(&code))
                .and_then(|one| Some((one.numeric(), one.exponent()?)));
            assert_eq!(ours, theirs, "{code}");
            compared += usize::from(ours.is_some());
        }
        assert_eq!(compared, TABLE.len());
        // That crate calls VES superseded by VED; list one carries both, so both are accepted here.
        assert!(Currency::from_code("VES").is_ok());
    }
}
