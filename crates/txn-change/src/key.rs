//! Keys: order-preserving bytes, compared as bytes.
//!
//! A key is a kind and a list of segments. A text segment is tagged, escaped and terminated, a number is eight big-endian bytes, so that
//! no segment can run into the next and a range of keys is a range of bytes. (The scheme is that of the FoundationDB tuple layer.)

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use crate::{name::NameError, time::Timestamp};

/// What a key is about, such as `order`. Kinds of txn's own are reserved: a host cannot write `ledger` keys around the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(&'static str);

/// Why a key could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The kind is no valid name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The kind belongs to txn.
    #[error("the kind {kind:?} is reserved by txn")]
    Reserved {
        /// The kind asked for.
        kind: &'static str,
    },
    /// The encoded key is too long.
    #[error("the key has {length} bytes; at most {max} are allowed")]
    TooLong {
        /// The length found.
        length: usize,
        /// The greatest length.
        max: usize,
    },
    /// The bytes are not those of a key.
    #[error("these bytes are not a key")]
    Malformed,
}

/// The kinds that only txn writes.
const RESERVED: [&str; 18] = [
    "account", "change", "dispute", "hold", "inbox", "intent", "ledger", "movement", "order", "payment", "process",
    "refund", "return", "shipment", "stock", "timer", "transfer", "txn",
];

/// Whether a name belongs to txn: a reserved word, alone or before a `-`, `.` or `/`.
pub(crate) fn is_reserved(name: &str) -> bool {
    let family = name.split(['-', '.', '/']).next().unwrap_or(name);
    RESERVED.contains(&family)
}

impl Kind {
    /// The greatest length, in bytes.
    pub const LENGTH_MAX: usize = 32;

    /// A kind of the host's own: 1 to 32 bytes of `a-z`, `0-9` and `-`.
    ///
    /// # Errors
    /// [`KeyError::Name`] for another shape, [`KeyError::Reserved`] for a kind that belongs to txn.
    pub fn new(kind: &'static str) -> Result<Self, KeyError> {
        let what = "kind";
        if kind.is_empty() || kind.len() > Self::LENGTH_MAX {
            return Err(NameError::Length { what, length: kind.len(), max: Self::LENGTH_MAX }.into());
        }
        let bad = |c: &char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-');
        if let Some((at, found)) = kind.char_indices().find(|(_, c)| bad(c)) {
            return Err(NameError::Character { what, found, at, allowed: "a-z, 0-9 and '-'" }.into());
        }
        if is_reserved(kind) {
            return Err(KeyError::Reserved { kind });
        }
        Ok(Self(kind))
    }

    /// A kind of txn's own. Not for hosts: what txn's services keep under these kinds is only consistent when they alone write it.
    #[doc(hidden)]
    #[must_use]
    pub const fn reserved(kind: &'static str) -> Self {
        Self(kind)
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// The bytes that every key of this kind begins with, and no key of another kind.
    #[must_use]
    pub fn prefix(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len().saturating_add(1));
        bytes.extend_from_slice(self.0.as_bytes());
        bytes.push(0);
        bytes
    }
}

/// Few keys are longer.
const KEY_BYTES_USUAL: usize = 96;

const TEXT: u8 = 1;
const NUMBER: u8 = 2;
const TIME: u8 = 3;

/// One part of a key, as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
    /// An instant.
    Time(Timestamp),
}

/// The name of a record, a counter or an index term within a tenant. Cheap to clone; ordered and compared as bytes.
///
/// ```
/// use txn_change::{Key, Kind};
/// let note = Kind::new("note")?;
/// let (a, b) = (Key::of(note).number(9).build(), Key::of(note).number(10).build());
/// assert!(a < b);
/// assert_eq!(b.to_string(), "note/10");
/// assert!(Kind::new("ledger").is_err(), "reserved");
/// # Ok::<(), txn_change::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<[u8]>);

/// An index entry of a record or an event. It has the shape of a key; its kind is the index's name. Terms are never unique: uniqueness is a
/// record put under a key that must be absent.
pub type Term = Key;

impl Key {
    /// The greatest length of the encoded key, in bytes.
    pub const LENGTH_MAX: usize = 512;

    /// Begins a key of that kind.
    #[must_use]
    pub fn of(kind: Kind) -> KeyBuilder {
        // Room for most keys: building them allocates once.
        let mut bytes = Vec::with_capacity(KEY_BYTES_USUAL.max(kind.0.len().saturating_add(1)));
        bytes.extend_from_slice(kind.0.as_bytes());
        bytes.push(0);
        KeyBuilder(bytes)
    }

    /// A key read back from a storage.
    ///
    /// # Errors
    /// [`KeyError::TooLong`] or [`KeyError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        check_length(bytes.len())?;
        let kind_end = bytes.iter().position(|b| *b == 0).ok_or(KeyError::Malformed)?;
        if core::str::from_utf8(bytes.get(..kind_end).unwrap_or_default()).is_err() {
            return Err(KeyError::Malformed);
        }
        let key = Self(Arc::from(bytes));
        key.parse().ok_or(KeyError::Malformed)?;
        Ok(key)
    }

    /// Where a range begins that starts with these bytes, which need not be a whole key. For backends that keep keys in ordered maps; not to be stored.
    #[must_use]
    pub fn lower_bound(prefix: &[u8]) -> Self {
        Self(Arc::from(prefix))
    }

    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The kind's text.
    #[must_use]
    pub fn kind(&self) -> &str {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        self.0.get(..end).and_then(|kind| core::str::from_utf8(kind).ok()).unwrap_or_default()
    }

    /// Whether the key's kind belongs to txn.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_reserved(self.kind())
    }

    /// The segments behind the kind.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        self.parse().unwrap_or_default()
    }

    fn parse(&self) -> Option<Vec<Segment>> {
        let kind_end = self.0.iter().position(|b| *b == 0)?;
        let mut rest = self.0.get(kind_end.checked_add(1)?..)?;
        let mut segments = Vec::new();
        while let Some((tag, tail)) = rest.split_first() {
            rest = match *tag {
                TEXT => {
                    let (text, tail) = unescape(tail)?;
                    segments.push(Segment::Text(text));
                    tail
                }
                NUMBER | TIME => {
                    let (number, tail) = tail.split_first_chunk::<8>()?;
                    let number = u64::from_be_bytes(*number);
                    segments.push(match *tag {
                        NUMBER => Segment::Number(number),
                        _ => Segment::Time(Timestamp::from_nanos((number ^ SIGN).cast_signed())),
                    });
                    tail
                }
                _ => return None,
            };
        }
        Some(segments)
    }
}

/// Flips the order of negative numbers so that times compare as bytes.
const SIGN: u64 = 1 << 63;

fn check_length(length: usize) -> Result<(), KeyError> {
    if length > Key::LENGTH_MAX {
        return Err(KeyError::TooLong { length, max: Key::LENGTH_MAX });
    }
    Ok(())
}

fn unescape(bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut text = Vec::new();
    let mut rest = bytes;
    loop {
        let (byte, tail) = rest.split_first()?;
        rest = tail;
        if *byte != 0 {
            text.push(*byte);
        } else if let Some((0xFF, tail)) = rest.split_first() {
            text.push(0);
            rest = tail;
        } else {
            return Some((String::from_utf8(text).ok()?, rest));
        }
    }
}

/// Builds a [`Key`] segment by segment.
#[derive(Debug, Clone)]
pub struct KeyBuilder(Vec<u8>);

impl KeyBuilder {
    /// Adds a text.
    ///
    /// # Errors
    /// [`KeyError::TooLong`] when the key would pass [`Key::LENGTH_MAX`].
    pub fn text(mut self, text: impl AsRef<str>) -> Result<Self, KeyError> {
        let text = text.as_ref().as_bytes();
        self.0.push(TEXT);
        if text.contains(&0) {
            for byte in text {
                self.0.push(*byte);
                if *byte == 0 {
                    self.0.push(0xFF);
                }
            }
        } else {
            self.0.extend_from_slice(text);
        }
        self.0.push(0);
        check_length(self.0.len())?;
        Ok(self)
    }

    /// Adds a number; keys order by it as a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.push(NUMBER);
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Adds an instant; keys order by it in time.
    #[must_use]
    pub fn time(mut self, time: Timestamp) -> Self {
        self.0.push(TIME);
        self.0.extend_from_slice(&(time.as_nanos().cast_unsigned() ^ SIGN).to_be_bytes());
        self
    }

    /// Finishes the key.
    #[must_use]
    pub fn build(self) -> Key {
        Key(Arc::from(self.0))
    }

    /// The bytes so far: what every key that continues so begins with.
    #[must_use]
    pub fn prefix(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        for segment in self.segments() {
            match segment {
                Segment::Text(text) => write!(f, "/{}", text.escape_debug())?,
                Segment::Number(number) => write!(f, "/{number}")?,
                Segment::Time(time) => write!(f, "/{time}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_cannot_name_our_kinds() {
        assert!(matches!(Kind::new("ledger"), Err(KeyError::Reserved { .. })));
        assert!(matches!(Kind::new("ledger-notes"), Err(KeyError::Reserved { .. })));
        assert!(Kind::new("Crm").is_err());
        assert!(Kind::new("").is_err());
        assert!(Kind::new("crm-note").is_ok());
    }

    #[test]
    fn a_key_of_512_bytes_fits_and_one_more_does_not() {
        let kind = Kind::new("n").unwrap();
        assert!(Key::of(kind).text("x".repeat(508)).is_ok());
        assert_eq!(Key::of(kind).text("x".repeat(509)).unwrap_err(), KeyError::TooLong { length: 513, max: 512 });
    }

    proptest! {
        #[test]
        fn bytes_order_as_the_parts_do(a in ("[a-c\0]{0,4}", any::<u64>(), any::<i64>()), b in ("[a-c\0]{0,4}", any::<u64>(), any::<i64>())) {
            let kind = Kind::new("n").unwrap();
            let key = |(text, number, nanos): &(String, u64, i64)| {
                Key::of(kind).text(text).unwrap().number(*number).time(Timestamp::from_nanos(*nanos)).build()
            };
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn bytes_and_back(text in "\\PC{0,20}|[\0-\u{10}]{0,5}", number in any::<u64>()) {
            let key = Key::of(Kind::new("n").unwrap()).text(&text).unwrap().number(number).build();
            prop_assert_eq!(Key::from_bytes(key.as_bytes()).unwrap().segments(), vec![Segment::Text(text), Segment::Number(number)]);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(key) = Key::from_bytes(&bytes) {
                let _ = key.to_string();
            }
        }
    }
}
