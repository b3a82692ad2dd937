//! Cursors: where a page ended. A cursor is good for one tenant and one query.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use txn_change::Tenant;

use crate::{
    error::{Error, ErrorKind},
    query::Query,
};

/// Where a page ended, as text that a client may keep. Bound to its tenant and query: with another, changed or cut, it is refused. It holds
/// no secret and grants nothing, since every page is read within the tenant that asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(String);

const SEAL_BYTES: usize = 8;

impl Cursor {
    /// A cursor that a client gave back.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text for a client.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.0
    }

    /// Seals a place in the answer to a query. For backends.
    #[must_use]
    pub fn seal(tenant: &Tenant, query: &Query, place: &[u8]) -> Self {
        let mut text = String::with_capacity(place.len().saturating_add(SEAL_BYTES).saturating_mul(2));
        for byte in seal(tenant, query, place).iter().chain(place) {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Self(text)
    }

    /// The place, if this cursor belongs to the tenant and the query. For backends.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a cursor of another tenant or query, and for one that was changed or cut.
    pub fn open(&self, tenant: &Tenant, query: &Query) -> Result<Vec<u8>, Error> {
        let refused = || Error::new(ErrorKind::Invalid, "the cursor does not belong to this tenant and query");
        let digits = self.0.as_bytes();
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() || digits.len() > 4_096 {
            return Err(refused());
        }
        let byte = |pair: &[u8; 2]| {
            let text = core::str::from_utf8(pair).ok().filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(text, 16).ok()
        };
        let bytes: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>().ok_or_else(refused)?;
        let (given, place) = bytes.split_at_checked(SEAL_BYTES).ok_or_else(refused)?;
        if given != seal(tenant, query, place) {
            return Err(refused());
        }
        Ok(place.to_vec())
    }
}

fn seal(tenant: &Tenant, query: &Query, place: &[u8]) -> [u8; SEAL_BYTES] {
    let mut hasher = Sha256::new();
    let query = query.canonical();
    for part in [tenant.as_str().as_bytes(), &query, place] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let mut seal = [0; SEAL_BYTES];
    seal.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    seal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Range;
    use txn_change::{Key, Kind};

    /// Clients keep cursors over an upgrade.
    #[test]
    fn the_text_of_a_cursor_stays_what_it_is() {
        let (tenant, kind) = (Tenant::new("shop").unwrap(), Kind::new("note").unwrap());
        let range = || Range::kind(kind);
        let queries = [
            (Query::Records(range()), "7c2b7297245f420b01ff"),
            (Query::RecordsByTerm(range()), "8c96748f41ef751901ff"),
            (Query::Counters(range()), "82298f5db0ac6c6d01ff"),
            (Query::entries(Key::of(kind).number(1).build()), "278816ae16d9d28101ff"),
            (Query::EventsByTerm(Range { until: Some(vec![1, 2]), ..range() }), "c5c4bcd45719603201ff"),
            (
                Query::EventsByTerm(Range { from: Some(vec![1]), until: Some(vec![2]), ..range() }),
                "4bc614ed23567bed01ff",
            ),
            (Query::Changes, "392eacb1fdb9e81d01ff"),
        ];
        let texts = queries
            .map(|(query, expected)| (Cursor::seal(&tenant, &query, b"\x01\xff").as_text().to_owned(), expected));
        for (text, expected) in texts {
            assert_eq!(text, expected);
        }
    }
}
