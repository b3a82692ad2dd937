//! Validated names: tenants, ids and labels. Each is compared byte for byte, and none can hold a separator,
//! a control character or a look-alike outside ASCII.

use alloc::{borrow::Cow, string::String, sync::Arc};
use core::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not a valid name. Names the kind of name, the limit, and the offending length or byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty or longer than allowed.
    #[error("{what} has {length} bytes; 1 to {max} are allowed")]
    Length {
        /// Which name was being made.
        what: &'static str,
        /// The length found, in bytes.
        length: usize,
        /// The greatest length allowed, in bytes.
        max: usize,
    },
    /// A byte outside the declared set.
    #[error("{what} holds {found:?} at byte {at}; allowed: {allowed}")]
    Character {
        /// Which name was being made.
        what: &'static str,
        /// The character found.
        found: char,
        /// Its byte offset.
        at: usize,
        /// The allowed set, in words.
        allowed: &'static str,
    },
}

/// Checks a name of a type made by `name!`.
#[doc(hidden)]
pub fn check_name(
    what: &'static str,
    text: &str,
    max: usize,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), NameError> {
    if text.is_empty() || text.len() > max {
        return Err(NameError::Length { what, length: text.len(), max });
    }
    match text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        Some((at, found)) => Err(NameError::Character { what, found, at, allowed }),
        None => Ok(()),
    }
}

const GRAPHIC: &str = "ASCII letters, digits and punctuation, no space";

fn is_graphic(c: char) -> bool {
    c.is_ascii_graphic()
}

/// Makes a validated text type: `name!(/// Docs. Name, "what", length_max, "allowed, in words", |c| allowed(c))`. For txn's own crates.
#[doc(hidden)]
#[macro_export]
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $allowed:expr, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($crate::__private::Arc<str>);

        impl $name {
            /// The greatest length, in bytes.
            pub const LENGTH_MAX: usize = $max;

            /// Checks and takes the text.
            ///
            /// # Errors
            /// A [`NameError`]($crate::NameError) when the text is empty, longer than [`Self::LENGTH_MAX`], or holds a
            /// character outside the declared set.
            pub fn new(text: impl AsRef<str>) -> Result<Self, $crate::NameError> {
                let text = text.as_ref();
                $crate::check_name($what, text, $max, $allowed, $is_allowed)?;
                Ok(Self($crate::__private::Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text, shared and not copied.
            #[must_use]
            pub fn to_shared(&self) -> $crate::__private::Arc<str> {
                $crate::__private::Arc::clone(&self.0)
            }
        }

        impl ::core::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl ::core::convert::AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl ::core::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl $crate::__private::Serialize for $name {
            fn serialize<S: $crate::__private::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> $crate::__private::Deserialize<'de> for $name {
            fn deserialize<D: $crate::__private::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <$crate::__private::String as $crate::__private::Deserialize>::deserialize(deserializer)?;
                Self::new(text).map_err($crate::__private::Error::custom)
            }
        }
    };
}

name!(
    /// One tenant of a store: 1 to 64 bytes of lower-case ASCII letters, digits, `-` and `_`. Nothing of one tenant
    /// can be reached from another.
    ///
    /// ```
    /// use txn_change::Tenant;
    /// assert!(Tenant::new("shop-7").is_ok());
    /// assert!(Tenant::new("a:b").is_err());
    /// ```
    Tenant, "tenant", 64, "a-z, 0-9, '-' and '_'",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_'
);

impl Default for Tenant {
    /// `default`, for hosts with a single tenant.
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

name!(
    /// The idempotency id of a change within its tenant: 1 to 255 bytes of graphic ASCII, compared as bytes.
    /// Services build it as `operation/key`, so that the same key under another operation is another id.
    ///
    /// ```
    /// use txn_change::ChangeId;
    /// assert!(ChangeId::new("order.place/7f3a").is_ok());
    /// assert!(ChangeId::new("").is_err());
    /// assert!(ChangeId::new("with space").is_err());
    /// ```
    ChangeId, "change id", 255, GRAPHIC, is_graphic
);

name!(
    /// The unique id of a fact (an event that is readable by id) within its tenant: 1 to 255 bytes of graphic ASCII.
    FactId, "fact id", 255, GRAPHIC, is_graphic
);

name!(
    /// The name of a lock whose tokens a store checks: 1 to 128 bytes of graphic ASCII.
    FenceName, "fence name", 128, GRAPHIC, is_graphic
);

/// A short word that a refusal gives back, so that a service can say which line was short: at most 64 bytes.
///
/// ```
/// use txn_change::Label;
/// let label = Label::indexed("line", 3);
/// assert_eq!(label.as_str(), "line:3");
/// assert_eq!(label.index("line"), Some(3));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Label(Cow<'static, str>);

impl Label {
    /// The greatest length that [`crate::Change::check`] lets through, in bytes.
    pub const LENGTH_MAX: usize = 64;

    /// A fixed word.
    #[must_use]
    pub const fn new(word: &'static str) -> Self {
        Self(Cow::Borrowed(word))
    }

    /// A word and a number, such as the line of a basket.
    #[must_use]
    pub fn indexed(word: &str, index: usize) -> Self {
        Self(Cow::Owned(alloc::format!("{word}:{index}")))
    }

    /// A word read back from a storage.
    #[must_use]
    pub fn stored(word: String) -> Self {
        Self(Cow::Owned(word))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number behind `word`, when this label was made by [`Label::indexed`] with that word.
    #[must_use]
    pub fn index(&self, word: &str) -> Option<usize> {
        self.0.strip_prefix(word)?.strip_prefix(':')?.parse().ok()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case B29.
    #[test]
    fn an_idempotency_key_is_one_to_255_graphic_ascii_bytes() {
        let long = "k".repeat(255);
        assert_eq!(ChangeId::new(&long).unwrap().as_str(), long);
        for bad in ["", " ", "a\0b", "a\nb", "\u{202e}abc", "caf\u{e9}", "cafe\u{301}", "\u{0430}bc"] {
            assert!(ChangeId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ChangeId::new("k".repeat(256)), Err(NameError::Length { what: "change id", length: 256, max: 255 }));
        assert!(ChangeId::new("x".repeat(10 << 20)).is_err());
        assert_ne!(ChangeId::new("Key").unwrap(), ChangeId::new("key").unwrap());
    }

    /// Case B34.
    #[test]
    fn a_tenant_cannot_hold_a_separator() {
        for bad in ["", "*", "a:b", "../x", "a\0b", "A", "\u{dc}"] {
            assert!(Tenant::new(bad).is_err(), "{bad:?}");
        }
        assert!(Tenant::new("t".repeat(300)).is_err());
        assert!(Tenant::new("t".repeat(64)).is_ok());
    }

    #[test]
    fn a_refused_character_is_named_with_its_place() {
        assert_eq!(
            Tenant::new("a:b").unwrap_err().to_string(),
            "tenant holds ':' at byte 1; allowed: a-z, 0-9, '-' and '_'"
        );
    }
}
