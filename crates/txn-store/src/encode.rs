//! How terms, guards and kinds of purges are stored, the same in every database.

use txn_change::{Guard, Key, Term};

use crate::admin::Purge;

/// Terms as one byte string: each behind its length in two bytes.
pub(crate) fn terms_to_bytes(terms: &[Term]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for term in terms {
        let length = u16::try_from(term.as_bytes().len()).expect("a checked term has at most 512 bytes");
        bytes.extend(length.to_be_bytes());
        bytes.extend(term.as_bytes());
    }
    bytes
}

/// The terms again; `None` for what is no such list.
pub(crate) fn terms_from_bytes(mut bytes: &[u8]) -> Option<Vec<Term>> {
    let mut terms = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (term, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        terms.push(Key::from_bytes(term).ok()?);
        bytes = rest;
    }
    Some(terms)
}

/// The row that says how far this was purged.
pub(crate) const fn purge_to_number(what: Purge) -> i16 {
    match what {
        Purge::Answers => 0,
        Purge::Events => 1,
    }
}

pub(crate) fn guards_to_text(guards: &[Option<Guard>; 2]) -> String {
    serde_json::to_string(guards).expect("guards are numbers and have a JSON form")
}

/// The guards again; `None` for what are none.
pub(crate) fn guards_from_text(text: &str) -> Option<[Option<Guard>; 2]> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use txn_change::Kind;

    #[test]
    fn terms_and_back_and_damage_is_none() {
        let kind = Kind::new("by-user").unwrap();
        let terms = vec![Key::of(kind).number(1).build(), Key::of(kind).text("x").unwrap().build()];
        let bytes = terms_to_bytes(&terms);
        assert_eq!(terms_from_bytes(&bytes), Some(terms));
        assert_eq!(terms_from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(terms_from_bytes(&[0]), None);
        assert_eq!(terms_from_bytes(&[]), Some(vec![]));
    }

    /// Stored by every build: others must read them.
    #[test]
    fn the_bytes_of_terms_stay_what_they_are() {
        let kind = Kind::new("by-user").unwrap();
        let terms = vec![Key::of(kind).number(1).build(), Key::of(kind).text("x").unwrap().build()];
        let expected = b"\0\x11by-user\0\x02\0\0\0\0\0\0\0\x01\0\x0bby-user\0\x01x\0";
        assert_eq!(terms_to_bytes(&terms), expected);
    }

    #[test]
    fn guards_of_128_bits_and_back() {
        let guards = [Some(Guard { weights: [1, -1, 0, -128], min: i128::MIN }), None];
        assert_eq!(guards_from_text(&guards_to_text(&guards)), Some(guards));
        assert_eq!(guards_from_text("[]"), None);
    }
}
