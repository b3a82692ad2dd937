//! What a change was asked to do, as a digest: the same id with another fingerprint is another request.

use core::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{body::canonical_json, canon::Canon};

/// SHA-256 over the command behind a change. It covers the command alone: never the time, ids made on the way, or versions read, so that
/// a retry has the same fingerprint.
///
/// ```
/// use txn_change::Fingerprint;
/// let first = Fingerprint::of("note.write", &("n-1", "hello"));
/// assert_eq!(first, Fingerprint::of("note.write", &("n-1", "hello")));
/// assert_ne!(first, Fingerprint::of("note.write", &("n-1", "bye")));
/// assert_ne!(first, Fingerprint::of("note.erase", &("n-1", "hello")));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of [`crate::Change::not_done`]. No command has it, since no input is known whose SHA-256 is zero.
    pub const NOT_DONE: Self = Self([0; 32]);

    /// Digests an operation's name and its command.
    ///
    /// A command that cannot be serialised (none of txn's) is digested as that fact, and so differs from any other command.
    #[must_use]
    pub fn of<C: Serialize + ?Sized>(operation: &str, command: &C) -> Self {
        match canonical_json(command) {
            Ok(bytes) => Self::of_bytes(operation, &bytes),
            Err(_) => Self::of_bytes(operation, b"\0unserialisable"),
        }
    }

    /// Digests an operation's name and the bytes of its command.
    #[must_use]
    pub fn of_bytes(operation: &str, command: &[u8]) -> Self {
        // As `Canon` writes them; the command may be long, and need not be copied.
        let mut hasher = Sha256::new();
        for bytes in [operation.as_bytes(), command] {
            let mut length = Canon::with_capacity(10);
            length.int(bytes.len() as u64);
            hasher.update(length.as_bytes());
            hasher.update(bytes);
        }
        Self(hasher.finalize().into())
    }

    /// The fingerprint of two commands asked as one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(other.0);
        Self(hasher.finalize().into())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(8) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…")
    }
}
