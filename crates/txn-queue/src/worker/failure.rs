//! How a handler ends: it is done, or it failed in one of a few ways that a worker can act on.

use std::{convert::Infallible, error, fmt, sync::Arc, time::Duration};

/// So many bytes of a reason are kept with a message.
const REASON_MAX: usize = 1_024;

/// How a handler is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Done {
    /// The worker is to acknowledge it.
    Ack,
    /// The handler has settled it itself, with [`Job::lease`](super::Job::lease), such as in a transaction of the host's: the worker does not.
    Settled,
}

impl From<()> for Done {
    fn from((): ()) -> Self {
        Self::Ack
    }
}

/// What is to become of a message whose handler failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// It may succeed later: again after the policy's wait, until the group's deliveries are used up.
    Retry,
    /// The same, after this wait.
    RetryAfter(Duration),
    /// It can never succeed: to the dead letters now.
    Fatal,
    /// It was not begun, or another may begin it: back to the queue, and this time is not counted.
    Release,
    /// What the handler needs is out for every message alike: back to the queue, uncounted, and the worker's circuit is told.
    Unavailable,
}

impl Class {
    /// One word for it, for labels and spans.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Retry | Self::RetryAfter(_) => "retry",
            Self::Fatal => "fatal",
            Self::Release => "release",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A failure: what to do about it, why, for people, and what caused it. The reason is cut at 1,024 bytes; it is kept with a dead letter, and stands in no span and no metric.
///
/// ```
/// use core::time::Duration;
/// use txn_queue::worker::{Class, Failure};
/// let failure = Failure::retry_after(Duration::from_secs(30), "the bank asks us to slow down");
/// assert_eq!(failure.class(), Class::RetryAfter(Duration::from_secs(30)));
/// assert_eq!(failure.to_string(), "the bank asks us to slow down");
/// ```
#[derive(Debug, Clone)]
pub struct Failure {
    class: Class,
    reason: Arc<str>,
    source: Option<Arc<dyn error::Error + Send + Sync>>,
}

impl Failure {
    /// A failure of a class.
    pub fn new(class: Class, reason: impl AsRef<str>) -> Self {
        Self { class, reason: cut(reason.as_ref()).into(), source: None }
    }

    /// [`Class::Retry`].
    pub fn retry(reason: impl AsRef<str>) -> Self {
        Self::new(Class::Retry, reason)
    }

    /// [`Class::RetryAfter`].
    pub fn retry_after(wait: Duration, reason: impl AsRef<str>) -> Self {
        Self::new(Class::RetryAfter(wait), reason)
    }

    /// [`Class::Fatal`].
    pub fn fatal(reason: impl AsRef<str>) -> Self {
        Self::new(Class::Fatal, reason)
    }

    /// [`Class::Release`].
    #[must_use]
    pub fn release() -> Self {
        Self::new(Class::Release, "released")
    }

    /// [`Class::Unavailable`].
    pub fn unavailable(reason: impl AsRef<str>) -> Self {
        Self::new(Class::Unavailable, reason)
    }

    /// An error as a failure of a class; the error's text is the reason.
    pub fn because(class: Class, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        let source: Arc<dyn error::Error + Send + Sync> = source.into().into();
        Self { source: Some(Arc::clone(&source)), ..Self::new(class, source.to_string()) }
    }

    /// What to do about it.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Why, for people.
    #[must_use]
    pub fn reason(&self) -> &Arc<str> {
        &self.reason
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=REASON_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl error::Error for Failure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl From<Infallible> for Failure {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Failure, REASON_MAX};

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(Failure::retry("é".repeat(REASON_MAX)).reason().len(), REASON_MAX);
        assert_eq!(Failure::retry(format!("a{}", "é".repeat(REASON_MAX))).reason().len(), REASON_MAX - 1);
        let failure = Failure::because(Class::Fatal, "no such account");
        assert_eq!(&**failure.reason(), "no such account");
        assert!(std::error::Error::source(&failure).is_some());
    }
}
