//! Where pages of a database begin and end: places as bytes, the same for every database.

use txn_change::Key;

use crate::{
    error::{Error, ErrorKind},
    query::Range,
};

/// The least key of the page. Nothing stands between a byte string and the same with a zero behind it.
pub(crate) fn start(range: &Range, after: Option<&[u8]>) -> Vec<u8> {
    match after {
        Some(key) => [key, &[0]].concat(),
        None => range.start().to_vec(),
    }
}

/// Behind the greatest key of the range.
pub(crate) fn end(range: &Range) -> Vec<u8> {
    range.end().unwrap_or_else(|| vec![0xFF; Key::LENGTH_MAX.saturating_add(1)])
}

pub(crate) fn foreign() -> Error {
    Error::new(ErrorKind::Invalid, "the cursor does not belong to this query")
}

/// A pair of keys as one place: the length of the first in two bytes, then both.
pub(crate) fn join_pair(first: &Key, second: &Key) -> Vec<u8> {
    let length = u16::try_from(first.as_bytes().len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), first.as_bytes(), second.as_bytes()].concat()
}

pub(crate) fn split_pair(place: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (length, rest) = place.split_first_chunk::<2>().ok_or_else(foreign)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(foreign)
}
