//! What a host knows of something: a few short texts under names of its own.

use alloc::{collections::BTreeMap, string::String};

use serde::{Deserialize, Serialize};

/// A few short texts under names, in the order of the names. Finite by construction; no amounts, no rules, nothing that a decision reads.
///
/// ```
/// use txn_core::ledger::{Metadata, MetadataError};
/// let metadata = Metadata::new([("branch", "Lyon"), ("crm", "4711")])?;
/// assert_eq!(metadata.get("crm"), Some("4711"));
/// let long = Metadata::new([("note", "x".repeat(201))]);
/// assert_eq!(long, Err(MetadataError::Value { name: "note".into(), length: 201, max: 200 }));
/// # Ok::<(), MetadataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Metadata(BTreeMap<String, String>);

/// Why texts were not taken as metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// More than the limit allows.
    #[error("{found} entries of metadata; at most {max} are allowed")]
    TooMany {
        /// How many there are.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A name is empty or too long.
    #[error("a name of {length} bytes in metadata; 1 to {max} are allowed")]
    Name {
        /// The length found.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A value is too long.
    #[error("a value of {length} bytes under {name:?} in metadata; at most {max} are allowed")]
    Value {
        /// The name.
        name: String,
        /// The length found.
        length: usize,
        /// The limit.
        max: usize,
    },
}

impl Metadata {
    /// No metadata.
    pub const EMPTY: Self = Self(BTreeMap::new());
    /// Entries, at most.
    pub const ENTRIES_MAX: usize = 16;
    /// Bytes of a name, at most.
    pub const NAME_BYTES_MAX: usize = 40;
    /// Bytes of a value, at most.
    pub const VALUE_BYTES_MAX: usize = 200;

    /// Takes texts under names; of two under one name, the later.
    ///
    /// # Errors
    /// [`MetadataError`], with the value and the limit.
    pub fn new<N: Into<String>, V: Into<String>>(
        entries: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, MetadataError> {
        entries.into_iter().map(|(name, value)| (name.into(), value.into())).collect::<BTreeMap<_, _>>().try_into()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Every name with its text, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl TryFrom<BTreeMap<String, String>> for Metadata {
    type Error = MetadataError;

    fn try_from(entries: BTreeMap<String, String>) -> Result<Self, MetadataError> {
        let (found, max) = (entries.len(), Self::ENTRIES_MAX);
        if found > max {
            return Err(MetadataError::TooMany { found, max });
        }
        for (name, value) in &entries {
            if name.is_empty() || name.len() > Self::NAME_BYTES_MAX {
                return Err(MetadataError::Name { length: name.len(), max: Self::NAME_BYTES_MAX });
            }
            if value.len() > Self::VALUE_BYTES_MAX {
                let (name, length) = (name.clone(), value.len());
                return Err(MetadataError::Value { name, length, max: Self::VALUE_BYTES_MAX });
            }
        }
        Ok(Self(entries))
    }
}

impl From<Metadata> for BTreeMap<String, String> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn each_limit_is_kept_at_its_number_and_passed_by_one() {
        let entries = |n: usize| (0..n).map(|n| (format!("n{n}"), "")).collect::<alloc::vec::Vec<_>>();
        assert!(Metadata::new(entries(16)).is_ok());
        assert_eq!(Metadata::new(entries(17)), Err(MetadataError::TooMany { found: 17, max: 16 }));
        let named = |length| Metadata::new([("n".repeat(length), "")]).map(|_| ());
        assert_eq!((named(40), named(1)), (Ok(()), Ok(())));
        for length in [0, 41] {
            assert_eq!(named(length), Err(MetadataError::Name { length, max: 40 }));
        }
        assert!(Metadata::new([("n", "v".repeat(200))]).is_ok());
        assert!(matches!(
            Metadata::new([("n", "v".repeat(201))]),
            Err(MetadataError::Value { length: 201, max: 200, .. })
        ));
    }

    #[test]
    fn what_is_read_is_checked_as_what_is_made() {
        let read = |text: &str| serde_json::from_str::<Metadata>(text);
        assert_eq!(read(r#"{"a":"b"}"#).unwrap().get("a"), Some("b"));
        assert!(read(r#"{"":"b"}"#).is_err());
    }
}
