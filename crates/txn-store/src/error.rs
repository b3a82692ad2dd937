//! One error for everything that is not a refusal: what kind it is, whether to try again, and where to look.

use std::{error, fmt};

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong: a page size, a cursor, too many keys. Trying again does not help.
    Invalid,
    /// A bounded queue is full. Nothing was executed; try again later.
    Overloaded,
    /// The store is closed, or its committer has died.
    Closed,
    /// The medium does not answer now.
    Unavailable,
    /// Others were first, or held what was needed for too long. A host's transaction must be begun again.
    Contended,
    /// Another process owns the store, or another consumer the cursor.
    Locked,
    /// The stored format is newer than this build.
    Newer,
    /// The log no longer reaches back so far: what was asked for has been purged.
    Purged,
    /// What is stored is not what was written.
    Corrupt,
}

/// Certainly not executed. `kind` says what to do about it; the source is for people.
///
/// ```
/// use txn_store::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Overloaded, "65536 changes are waiting; at most 65536 may");
/// assert!(error.is_retryable());
/// assert_eq!(error.to_string(), "overloaded: 65536 changes are waiting; at most 65536 may");
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

    /// Adds what caused it.
    #[must_use]
    pub fn because(mut self, source: impl error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The same for another change of the same group; the source becomes text.
    #[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
    pub(crate) fn again(&self) -> Self {
        let context = match &self.source {
            Some(source) => format!("{}: {source}", self.context),
            None => self.context.clone(),
        };
        Self::new(self.kind, context)
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Overloaded | ErrorKind::Unavailable | ErrorKind::Contended)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ErrorKind::Invalid => "invalid request",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::Closed => "closed",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Contended => "contended",
            ErrorKind::Locked => "locked",
            ErrorKind::Newer => "newer format",
            ErrorKind::Purged => "purged",
            ErrorKind::Corrupt => "corrupt",
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
        self.source.as_ref().map(|s| &**s as _)
    }
}
