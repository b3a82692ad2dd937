//! Money on the wire: `{"amount":"10.05","currency":"USD"}`.
//!
//! The amount is a string, since a JSON number passes through a binary float in most readers and loses digits above 2^53.

use alloc::borrow::Cow;

use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::format::Text;
use super::{Currency, Money};

impl Money {
    /// Adds the decimal text, as it stands in JSON.
    pub(crate) fn push_to(self, json: &mut alloc::string::String) {
        json.push_str(Text::of(self).as_str());
    }
}

impl Serialize for Money {
    /// Writes the digits from the stack; nothing is allocated here.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Money", 2)?;
        object.serialize_field("amount", Text::of(*self).as_str())?;
        object.serialize_field("currency", self.currency().code())?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Money {
    /// Refuses an amount that is a number, another or a repeated field, and all that [`Money::parse`] refuses.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        Money::parse(&fields.amount, fields.currency).map_err(D::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Money")]
struct Fields<'a> {
    #[serde(borrow)]
    amount: Cow<'a, str>,
    currency: Currency,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_is_fixed() {
        let money = Money::from_minor(1005, Currency::USD);
        assert_eq!(serde_json::to_string(&money).unwrap(), r#"{"amount":"10.05","currency":"USD"}"#);
        let read: Money = serde_json::from_str(r#"{ "currency": "USD", "amount": "10\u002e05" }"#).unwrap();
        assert_eq!(read, money);
        let owned = serde_json::to_value(money).unwrap();
        assert_eq!(serde_json::from_value::<Money>(owned).unwrap(), money);
    }

    /// Cases B8, L29.
    #[test]
    fn a_number_is_no_amount() {
        for number in ["0.1", "0.30000000000000004", "1e308", "9007199254740993", "10", "-0", "0"] {
            let refused =
                serde_json::from_str::<Money>(&format!(r#"{{"amount":{number},"currency":"USD"}}"#)).unwrap_err();
            assert!(refused.to_string().contains("expected a string"), "{number}: {refused}");
        }
        let beyond_float: Money = serde_json::from_str(r#"{"amount":"9007199254740993","currency":"JPY"}"#).unwrap();
        assert_eq!(beyond_float.minor(), 9_007_199_254_740_993);
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let refused = [
            (r#"{"amount":"10.05"}"#, "missing field `currency`"),
            (r#"{"currency":"USD"}"#, "missing field `amount`"),
            (r#"{"amount":"1","currency":"USD","scale":2}"#, "unknown field `scale`"),
            (r#"{"amount":"1","amount":"2","currency":"USD"}"#, "duplicate field `amount`"),
            (r#"{"amount":"1","currency":"USD","currency":"EUR"}"#, "duplicate field `currency`"),
            (r#"{"amount":"10.005","currency":"USD"}"#, "USD has 2 decimals"),
            (r#"{"amount":"1e2","currency":"USD"}"#, "\"1e2\" is not an amount"),
            (r#"{"amount":null,"currency":"USD"}"#, "expected a string"),
            (r#"{"amount":"1","currency":"usd"}"#, "\"usd\" is not the code"),
            (r#"{"amount":"1","currency":840}"#, "an ISO 4217 code"),
            (r#""10.05 USD""#, "invalid type"),
        ];
        for (text, reason) in refused {
            let error = serde_json::from_str::<Money>(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    fn currencies() -> impl Strategy<Value = Currency> {
        prop::sample::select(Currency::all().collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn reading_what_was_written_gives_the_same(minor: i128, currency in currencies()) {
            let money = Money::from_minor(minor, currency);
            let text = serde_json::to_string(&money).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&text).unwrap(), money);
        }
    }
}
