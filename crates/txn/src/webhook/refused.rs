//! Why a webhook is not believed, or could not be signed. Headers are named, numbers are given; secrets, signatures and bodies never are.

use std::time::Duration;

/// Why a request is not believed. The same request later is no better, but for [`Refused::NotYet`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The body is larger than the limit.
    #[error("the body has {bytes} bytes; at most {bytes_max} are allowed")]
    BodyTooLarge {
        /// Of the body.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A header is absent.
    #[error("there is no header {header}")]
    HeaderMissing {
        /// Its name.
        header: &'static str,
    },
    /// A header is there more than once, so that two readers could each see another one.
    #[error("the header {header} is there more than once")]
    HeaderRepeated {
        /// Its name.
        header: &'static str,
    },
    /// A header is longer than the limit.
    #[error("the header {header} has {bytes} bytes; at most {bytes_max} are allowed")]
    HeaderTooLong {
        /// Its name.
        header: &'static str,
        /// Of its value.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A header is not of the form that its scheme says.
    #[error("the header {header} is malformed: {problem}")]
    HeaderMalformed {
        /// Its name.
        header: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There are more signatures than the limit.
    #[error("the header {header} has more than {parts_max} parts")]
    TooManyParts {
        /// Its name.
        header: &'static str,
        /// The limit.
        parts_max: usize,
    },
    /// None of the signatures is of the scheme `v1`. Others are never a substitute.
    #[error("there is no signature of the scheme v1")]
    SignatureMissing,
    /// It was signed too long ago.
    #[error("it was signed {age:?} ago; at most {tolerance:?} are allowed")]
    TooOld {
        /// How long ago.
        age: Duration,
        /// The limit.
        tolerance: Duration,
    },
    /// It was signed too far in the future.
    #[error("it was signed {ahead:?} in the future; at most {tolerance:?} are allowed")]
    NotYet {
        /// How far.
        ahead: Duration,
        /// The limit.
        tolerance: Duration,
    },
    /// All secrets have ended.
    #[error("no secret is active any more")]
    SecretsEnded,
    /// No signature is of an active secret over these bytes.
    #[error("no signature fits an active secret, the time and the body")]
    SignatureWrong,
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsigned {
    /// There is no secret, or all have ended.
    #[error("no secret is active")]
    NoActiveSecret,
    /// The time lies before 1970, and cannot be written.
    #[error("the time lies before 1970")]
    BeforeEpoch,
    /// A full stop in an id would let a receiver take a part of the id for the time.
    #[error("the id has a full stop")]
    FullStopInId,
}
