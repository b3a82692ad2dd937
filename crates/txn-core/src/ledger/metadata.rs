//! Metadata: a few words of the host's on an account or a transfer.

use alloc::{collections::BTreeMap, string::String};

use serde::{Deserialize, Deserializer, Serialize};

/// Why something is not taken as metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Too many entries.
    #[error("{found} entries of metadata; at most {max} are allowed")]
    TooMany {
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A key is empty or too long.
    #[error("a metadata key of {found} bytes; 1 to {max} are allowed")]
    Key {
        /// Its length in bytes.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A value is too long.
    #[error("the metadata {key:?} has {found} bytes; at most {max} are allowed")]
    Value {
        /// Its key.
        key: String,
        /// Its length in bytes.
        found: usize,
        /// The limit.
        max: usize,
    },
}

/// A few texts under keys, ordered by key, each within its limit. Nothing is decided by them.
///
/// ```
/// use txn_core::ledger::{Metadata, MetadataError};
/// let metadata = Metadata::new([("invoice", "2026-17"), ("channel", "web")])?;
/// assert_eq!(metadata.get("invoice"), Some("2026-17"));
/// assert_eq!(Metadata::new([("", "x")]), Err(MetadataError::Key { found: 0, max: 40 }));
/// # Ok::<(), MetadataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// No metadata.
    pub const EMPTY: Self = Self(BTreeMap::new());
    /// Entries, at most.
    pub const ENTRIES_MAX: usize = 16;
    /// Bytes of a key, at most.
    pub const KEY_BYTES_MAX: usize = 40;
    /// Bytes of a value, at most.
    pub const VALUE_BYTES_MAX: usize = 200;

    /// Checks and takes the entries; of two under one key, the later stays.
    ///
    /// # Errors
    /// [`MetadataError`], with the value and the limit.
    pub fn new<K: Into<String>, V: Into<String>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, MetadataError> {
        Self::checked(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    fn checked(entries: BTreeMap<String, String>) -> Result<Self, MetadataError> {
        if entries.len() > Self::ENTRIES_MAX {
            return Err(MetadataError::TooMany { found: entries.len(), max: Self::ENTRIES_MAX });
        }
        for (key, value) in &entries {
            if key.is_empty() || key.len() > Self::KEY_BYTES_MAX {
                return Err(MetadataError::Key { found: key.len(), max: Self::KEY_BYTES_MAX });
            }
            if value.len() > Self::VALUE_BYTES_MAX {
                let (found, max) = (value.len(), Self::VALUE_BYTES_MAX);
                return Err(MetadataError::Value { key: key.clone(), found, max });
            }
        }
        Ok(Self(entries))
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::deserialize(deserializer)?;
        Self::checked(entries).map_err(serde::de::Error::custom)
    }
}
