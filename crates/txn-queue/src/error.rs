//! One error for everything that is not a refusal: what kind it is, whether to try again, and where to look.

use std::{error, fmt};

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong: a size, a count, a name that nothing has. Trying again does not help.
    Invalid,
    /// The backend cannot do what is asked. Known when a topology is declared, and not when a message is on its way.
    Unsupported,
    /// A bounded queue of the backend is full. Nothing was executed; try again later.
    Overloaded,
    /// The queue is closed.
    Closed,
    /// Another process, or another handle of this one, owns the queue.
    Locked,
    /// The medium does not answer now.
    Unavailable,
    /// The stored format is newer than this build.
    Newer,
    /// What is stored is not what was written.
    Corrupt,
    /// It may or may not have been executed: the medium's answer was lost. Of calls whose results cannot say so one by one; to repeat them does no harm, and tells.
    Unknown,
}

/// Certainly not executed, unless it is [`ErrorKind::Unknown`]. `kind` says what to do about it; the source is for people.
///
/// ```
/// use txn_queue::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Invalid, "a batch of 5000 messages; at most 4096 are allowed");
/// assert!(!error.is_retryable());
/// assert_eq!(error.to_string(), "invalid request: a batch of 5000 messages; at most 4096 are allowed");
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    /// An error with its context: what was being done, with the value and the limit.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// The same, for another caller; what caused it becomes text.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn again(&self) -> Self {
        let context = match &self.source {
            Some(source) => format!("{}: {source}", self.context),
            None => self.context.clone(),
        };
        Self::new(self.kind, context)
    }

    /// The same of a call of which nobody knows whether it was executed.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn as_unknown(&self) -> Self {
        Self { kind: ErrorKind::Unknown, ..self.again() }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn because(mut self, source: impl error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Overloaded | ErrorKind::Unavailable | ErrorKind::Unknown)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ErrorKind::Invalid => "invalid request",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::Closed => "closed",
            ErrorKind::Locked => "locked",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Newer => "newer format",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Unknown => "unknown",
        };
        write!(f, "{kind}: {}", self.context)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
