//! What a scenario says when a promise is not kept.

use std::{error, fmt};

use txn_change::{BodyError, KeyError, NameError, TimeError};

/// Why a scenario failed: what was expected, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

/// What a check comes to.
pub type Checked<T = ()> = Result<T, Failure>;

impl Failure {
    /// Says it.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Failure {
    /// An error where none was expected.
    pub fn unexpected(error: &dyn error::Error) -> Self {
        Self(format!("expected no error, found: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Failure {}

macro_rules! our_own_input {
    ($($error:ty),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self(format!("the scenario itself is wrong: {error}"))
            }
        }
    )+};
}
our_own_input!(BodyError, KeyError, NameError, TimeError);

/// Both are equal.
///
/// # Errors
/// A [`Failure`] that shows both.
pub fn equal<T: PartialEq + fmt::Debug>(what: &str, found: &T, expected: &T) -> Checked {
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(format!("{what}: expected {expected:?}, found {found:?}")))
}

/// The statement is true.
///
/// # Errors
/// A [`Failure`] with the statement.
pub fn holds(statement: impl fmt::Display, is_true: bool) -> Checked {
    if is_true { Ok(()) } else { Err(Failure::new(format!("expected that {statement}; it is not so"))) }
}

/// There is a value.
///
/// # Errors
/// A [`Failure`] that says what is missing.
pub fn some<T>(what: &str, value: Option<T>) -> Checked<T> {
    value.ok_or_else(|| Failure::new(format!("expected {what}, found nothing")))
}

/// The only one.
///
/// # Errors
/// A [`Failure`] with how many there are.
pub fn only<T>(what: &str, mut values: Vec<T>) -> Checked<T> {
    let count = values.len();
    match (values.pop(), count) {
        (Some(value), 1) => Ok(value),
        _ => Err(Failure::new(format!("expected one {what}, found {count}"))),
    }
}
