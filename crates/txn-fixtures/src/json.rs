//! Documents with one thing changed, and what serde says of them.

use serde_json::{Map, Value};

/// A name that no document knows.
const UNKNOWN: &str = "no-such-name";

/// The document once for each object in it, with a field more there; and the fields that the object has.
pub(crate) fn with_a_field_more(document: &Value) -> Vec<(Value, Vec<String>)> {
    each(document, &mut |value| match value {
        Value::Object(fields) => {
            let names = fields.keys().cloned().collect();
            let mut more = fields.clone();
            more.insert(UNKNOWN.into(), Value::from(1));
            vec![(Value::Object(more), names)]
        }
        _ => Vec::new(),
    })
}

/// The document once for each text and each object of one field in it, with another name there; and the name that stood there.
pub(crate) fn with_another_variant(document: &Value) -> Vec<(Value, String)> {
    each(document, &mut |value| match value {
        Value::String(text) => vec![(Value::from(UNKNOWN), text.clone())],
        Value::Object(fields) if fields.len() == 1 => {
            let renamed = |(name, value): (&String, &Value)| {
                (Value::Object(Map::from_iter([(UNKNOWN.to_owned(), value.clone())])), name.clone())
            };
            fields.iter().map(renamed).collect()
        }
        _ => Vec::new(),
    })
}

/// Each place of the document replaced by what `change` makes of it.
fn each<T>(value: &Value, change: &mut impl FnMut(&Value) -> Vec<(Value, T)>) -> Vec<(Value, T)> {
    let mut changed = change(value);
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let put = |(inner, of_it)| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), inner);
                    (Value::Object(fields), of_it)
                };
                changed.extend(each(inner, change).into_iter().map(put));
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                let put = |(inner, of_it)| {
                    let with = items.iter().enumerate().map(|(place, item)| if place == at { &inner } else { item });
                    (Value::Array(with.cloned().collect()), of_it)
                };
                changed.extend(each(inner, change).into_iter().map(put));
            }
        }
        _ => {}
    }
    changed
}

/// The names that serde says it expected: "unknown field `x`, expected one of `a`, `b`".
pub(crate) fn expected(reason: &str, what: &str) -> Option<Vec<String>> {
    let (_, behind) = reason.split_once(&format!("{what} `{UNKNOWN}`, "))?;
    Some(behind.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}
