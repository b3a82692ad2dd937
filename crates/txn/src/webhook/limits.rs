//! What a request may cost before it is known who sent it.

use std::time::Duration;

/// The limits of a [`Verifier`](super::Verifier). Exceeding one is a refusal that names it. All are checked before anything is hashed.
///
/// ```
/// use txn::webhook::Limits;
/// let limits = Limits { body_bytes_max: 64 << 10, ..Limits::default() };
/// assert_eq!(limits.tolerance.as_secs(), 300);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body, at most; 1 MiB. The specification recommends to send less than 20 kB.
    pub body_bytes_max: usize,
    /// Bytes of the value of any header that is read, at most; 4 KiB.
    pub header_bytes_max: usize,
    /// Parts of the header of signatures, at most: those of other schemes, and Stripe's time, count too; 16.
    pub parts_max: usize,
    /// Secrets of one verifier, at most; 4. Each hashes the body once.
    pub secrets_max: usize,
    /// How far the time that was signed may lie before or behind the time of arrival, the limit itself included; five minutes, as both schemes recommend. Whole seconds are signed, and compared with the time of arrival to
    /// the nanosecond.
    pub tolerance: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 20,
            header_bytes_max: 4 << 10,
            parts_max: 16,
            secrets_max: 4,
            tolerance: Duration::from_secs(5 * 60),
        }
    }
}
