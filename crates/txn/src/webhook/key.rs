//! The secret bytes behind either scheme: they sign, and are never shown.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use txn_change::Timestamp;
use zeroize::Zeroizing;

/// An HMAC-SHA256.
pub(super) type Tag = [u8; 32];

/// Bytes of a secret as text, at most.
pub(super) const TEXT_BYTES_MAX: usize = 255;

/// Why a secret cannot be used. It is not told what it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSecret {
    /// It has no byte, or nothing but its prefix: everybody could sign with it.
    #[error("the secret is empty")]
    Empty,
    /// It holds a space, a line's end or another character that no secret has: what comes of reading it from a file.
    #[error("the secret holds something else than graphic ASCII characters, such as a line's end")]
    NotGraphic,
    /// It is too short to be safe.
    #[error("the secret has {bytes} bytes; at least {bytes_min} are needed")]
    TooShort {
        /// Of the secret.
        bytes: usize,
        /// The limit.
        bytes_min: usize,
    },
    /// It is too long.
    #[error("the secret has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLong {
        /// Of the secret.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// It is not base64.
    #[error("the secret is not base64")]
    NotBase64,
    /// It is a key of the asymmetric scheme, `whsk_` or `whpk_`.
    #[error("the key is of the asymmetric scheme v1a; only the secrets of v1 are known")]
    Asymmetric,
    /// A verifier was given none.
    #[error("there is no secret")]
    NoneGiven,
    /// A verifier was given too many.
    #[error("there are {found} secrets; at most {max} are allowed")]
    TooMany {
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
}

/// The bytes are overwritten when they are dropped. What the hash makes of them while it signs is not.
#[derive(Clone)]
pub(super) struct Key {
    bytes: Zeroizing<Box<[u8]>>,
    until: Option<Timestamp>,
}

impl Key {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { bytes: Zeroizing::new(bytes.into()), until: None }
    }

    pub(super) fn until(self, until: Timestamp) -> Self {
        Self { until: Some(until), ..self }
    }

    pub(super) fn is_active(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at < until)
    }

    /// The signature over the parts, one after the other.
    pub(super) fn sign<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> Tag {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.bytes).expect("HMAC takes a key of any length");
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("bytes", &format_args!("redacted")).field("until", &self.until).finish()
    }
}

/// Refuses what no secret looks like, before it is decoded.
pub(super) fn graphic(text: &str) -> Result<(), BadSecret> {
    if text.is_empty() {
        return Err(BadSecret::Empty);
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(BadSecret::TooLong { bytes: text.len(), bytes_max: TEXT_BYTES_MAX });
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadSecret::NotGraphic);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that Stripe's library for Node.js holds its own providers of cryptography against (`test/crypto/helpers.ts`).
    #[test]
    fn signs_as_the_published_vectors_say() {
        let vectors = [
            ("", "f7f9bd47fb987337b5796fdc1fdb9ba221d0d5396814bfcaf9521f43fd8927fd"),
            (r#"{"obj1":"hello","obj2":"world"}"#, "bebb1a643997f419b315ddba19e6f5411e1ce7f810ba6d3617ce72823092f363"),
            ("\u{1F600}", "837da296d05c4fe31f61d5d7ead035099d9585a5bcde87de952012a78f0b0c43"),
        ];
        for (payload, expected) in vectors {
            let tag = Key::new(b"test_secret").sign([payload.as_bytes()]);
            let hex = tag.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert_eq!(hex, expected, "{payload:?}");
        }
    }
}
