//! Between rows and values: lanes as `numeric`, and columns read with their types checked.

use std::sync::Arc;

use sqlx::{
    Decode, Encode, Postgres, Row, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueRef, types::Oid},
};
use txn_change::{Body, ChangeId, FactId, Fingerprint, Format, Key, Lanes, Record, Stored, Term, Timestamp};

use crate::{
    encode::terms_from_bytes,
    error::{Error, ErrorKind},
};

/// What is wrong with a stored row.
#[derive(Debug)]
pub(super) struct Damage(pub(super) String);

impl Damage {
    /// The error of a read that met this row.
    pub(super) fn of(self, row: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{row}: {}", self.0))
    }
}

impl From<sqlx::Error> for Damage {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

/// A lane on its way to or from `numeric`, in the binary form of the protocol: digits of base 10,000, the greatest first.
///
/// Source: `numeric_send` and `numeric_recv` in PostgreSQL's `src/backend/utils/adt/numeric.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lane(pub(super) i128);

const NUMERIC: Oid = Oid(1700);
const NUMERIC_ARRAY: Oid = Oid(1231);
const BASE: u128 = 10_000;
const NEGATIVE: u16 = 0x4000;

impl Type<Postgres> for Lane {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(NUMERIC)
    }
}

impl PgHasArrayType for Lane {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(NUMERIC_ARRAY)
    }
}

impl Encode<'_, Postgres> for Lane {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // 128 bits are ten digits at most.
        let (mut digits, mut count, mut rest) = ([0u16; 10], 0u16, self.0.unsigned_abs());
        for digit in digits.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *digit = u16::try_from(rest % BASE)?;
            rest /= BASE;
            count = count.saturating_add(1);
        }
        let weight = count.saturating_sub(1);
        let sign = if self.0 < 0 { NEGATIVE } else { 0 };
        for field in [count, weight, sign, 0] {
            buffer.extend(field.to_be_bytes());
        }
        let first = digits.len().saturating_sub(usize::from(count));
        for digit in digits.iter().skip(first) {
            buffer.extend(digit.to_be_bytes());
        }
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Lane {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        numeric(value.as_bytes()?).map(Lane).ok_or_else(|| "not a whole number of 128 bits".into())
    }
}

fn numeric(bytes: &[u8]) -> Option<i128> {
    let mut fields = bytes.chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(*pair.first_chunk()?)));
    let (count, weight, sign, _scale) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if count == 0 {
        return (sign == 0).then_some(0);
    }
    // The places from the first digit to the last before the point; a digit behind it is not ours.
    let places = usize::from(weight).checked_add(1)?;
    let digits: Vec<u16> = fields.collect();
    if digits.len() != usize::from(count) || digits.len() > places || places > 10 {
        return None;
    }
    let mut number = 0i128;
    for place in 0..places {
        let digit = i128::from(digits.get(place).copied().unwrap_or(0));
        let signed = if sign == NEGATIVE { digit.checked_neg()? } else { digit };
        number = number.checked_mul(10_000)?.checked_add(signed)?;
    }
    matches!(sign, 0 | NEGATIVE).then_some(number)
}

/// The columns of a row.
pub(super) struct Fields<'a>(pub(super) &'a PgRow);

impl<'a> Fields<'a> {
    pub(super) fn get<T: Decode<'a, Postgres> + Type<Postgres>>(&self, at: usize) -> Result<T, Damage> {
        Ok(self.0.try_get(at)?)
    }

    pub(super) fn is_null(&self, at: usize) -> bool {
        self.0.try_get_raw(at).is_ok_and(|value| sqlx::ValueRef::is_null(&value))
    }

    pub(super) fn int(&self, at: usize) -> Result<i64, Damage> {
        self.get(at)
    }

    pub(super) fn count(&self, at: usize) -> Result<u64, Damage> {
        u64::try_from(self.int(at)?).map_err(|_| Damage(format!("column {at} is less than 0")))
    }

    pub(super) fn text(&self, at: usize) -> Result<&'a str, Damage> {
        self.get(at)
    }

    pub(super) fn bytes(&self, at: usize) -> Result<&'a [u8], Damage> {
        self.get(at)
    }

    pub(super) fn time(&self, at: usize) -> Result<Timestamp, Damage> {
        self.int(at).map(Timestamp::from_nanos)
    }

    pub(super) fn array(&self, at: usize) -> Result<[u8; 32], Damage> {
        self.bytes(at)?.try_into().map_err(|_| Damage(format!("column {at} is not of 32 bytes")))
    }

    pub(super) fn key(&self, at: usize) -> Result<Key, Damage> {
        Key::from_bytes(self.bytes(at)?).map_err(|_| Damage(format!("column {at} is not a key")))
    }

    pub(super) fn terms(&self, at: usize) -> Result<Vec<Term>, Damage> {
        terms_from_bytes(self.bytes(at)?).ok_or_else(|| Damage(format!("column {at} is not a list of terms")))
    }

    pub(super) fn id(&self, at: usize) -> Result<ChangeId, Damage> {
        if self.is_null(at) {
            return Err(Damage("its change does not exist".into()));
        }
        ChangeId::new(self.text(at)?).map_err(|_| Damage(format!("column {at} is not a change id")))
    }

    pub(super) fn fact(&self, at: usize) -> Result<Option<FactId>, Damage> {
        let text: Option<&str> = self.get(at)?;
        text.map(FactId::new).transpose().map_err(|_| Damage(format!("column {at} is not a fact id")))
    }

    pub(super) fn lanes(&self, at: usize) -> Result<Lanes, Damage> {
        let mut lanes = Lanes::ZERO;
        for (lane, at) in lanes.0.iter_mut().zip(at..) {
            *lane = self.get::<Lane>(at)?.0;
        }
        Ok(lanes)
    }

    /// A body: type, `schema << 8 | format`, bytes.
    pub(super) fn body(&self, type_name: usize, shape: usize, bytes: usize) -> Result<Body, Damage> {
        let (schema, format) = split(self.int(shape)?);
        let format = format.and_then(Format::from_code).ok_or_else(|| Damage("of an unknown format".into()))?;
        let schema = schema.ok_or_else(|| Damage("of an impossible schema version".into()))?;
        Ok(Body::stored(Arc::from(self.text(type_name)?), schema, format, Arc::from(self.bytes(bytes)?)))
    }

    /// What is stored under an id: recorded_at, `entries << 32 | events`, fingerprint, digest, then type, shape, answer.
    pub(super) fn stored(&self, at: [usize; 7]) -> Result<Stored, Damage> {
        let [recorded_at, counts, fingerprint, digest, type_name, shape, answer] = at;
        let counts = self.count(counts)?.to_be_bytes();
        let [a, b, c, d, e, f, g, h] = counts;
        Ok(Stored {
            fingerprint: Fingerprint(self.array(fingerprint)?),
            answer: self.body(type_name, shape, answer)?,
            recorded_at: self.time(recorded_at)?,
            entries: u32::from_be_bytes([a, b, c, d]),
            events: u32::from_be_bytes([e, f, g, h]),
            digest: self.array(digest)?,
            passed: None,
        })
    }

    /// What is kept of the events that have passed, added to what is stored under an id.
    pub(super) fn passed(&self, at: usize, stored: Stored) -> Result<Stored, Damage> {
        Ok(Stored { passed: if self.is_null(at) { None } else { Some(self.array(at)?) }, ..stored })
    }

    /// A record: version, terms, type, shape, body.
    pub(super) fn record(&self, at: [usize; 5]) -> Result<Record, Damage> {
        let [version, terms, type_name, shape, body] = at;
        Ok(Record {
            version: self.count(version)?,
            terms: self.terms(terms)?,
            body: self.body(type_name, shape, body)?,
        })
    }
}

fn split(shape: i64) -> (Option<u16>, Option<u8>) {
    let [.., high, low, format] = shape.to_be_bytes();
    let is_small = (0..1 << 24).contains(&shape);
    (is_small.then_some(u16::from_be_bytes([high, low])), is_small.then_some(format))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(number: i128) -> Vec<u8> {
        let mut buffer = PgArgumentBuffer::default();
        assert!(matches!(Lane(number).encode_by_ref(&mut buffer), Ok(IsNull::No)));
        buffer.to_vec()
    }

    #[test]
    fn lanes_at_their_ends() {
        for number in [0, 1, -1, 9_999, 10_000, -10_000, 100_000_000, i128::MAX, i128::MIN] {
            assert_eq!(numeric(&encoded(number)), Some(number));
        }
        assert_eq!(encoded(0), [0; 8]);
        // Two digits, weight 1, negative, scale 0: -(1 * 10,000 + 258).
        assert_eq!(encoded(-10_258), [0, 2, 0, 1, 0x40, 0, 0, 0, 0, 1, 1, 2]);
        // NaN, a fraction, too large, cut.
        assert_eq!(numeric(&[0, 0, 0, 0, 0xC0, 0, 0, 0]), None);
        assert_eq!(numeric(&[0, 1, 0xFF, 0xFF, 0, 0, 0, 4, 0, 1]), None);
        assert_eq!(numeric(&[0, 1, 0, 40, 0, 0, 0, 0, 0, 1]), None);
        assert_eq!(numeric(&[0, 2, 0, 1, 0, 0, 0, 0, 0, 1]), None);
        // Zeros at the end are not sent.
        assert_eq!(numeric(&[0, 1, 0, 2, 0, 0, 0, 0, 0, 5]), Some(500_000_000));
    }

    proptest! {
        #[test]
        fn a_lane_comes_back(number in any::<i128>(), shift in 0u32..128) {
            prop_assert_eq!(numeric(&encoded(number >> shift)), Some(number >> shift));
        }
    }
}
