//! Sessions: how one is set up, and what a failure of one means.

use std::{error, fmt, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgDatabaseError},
};

use crate::error::{Error, ErrorKind};

/// What every session of ours is told. Rows are always found by key, and a plan that was made while a table was empty must be good when it is full.
pub(super) fn session(options: PgConnectOptions, answer_max: Duration, name: &str) -> PgConnectOptions {
    let millis = |wait: Duration| i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1).to_string();
    let shorter = answer_max.saturating_mul(3).checked_div(4).unwrap_or_default();
    options
        .application_name(name)
        .statement_cache_capacity(64)
        .options([
            // Less than an answer is waited for, so that the server says that it took too long.
            ("statement_timeout", millis(shorter)),
            ("lock_timeout", millis(shorter)),
            ("idle_in_transaction_session_timeout", millis(answer_max.saturating_mul(2))),
            ("idle_session_timeout", "0".to_owned()),
            ("client_connection_check_interval", "1000".to_owned()),
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            ("enable_seqscan", "off".to_owned()),
            ("enable_hashjoin", "off".to_owned()),
            ("enable_mergejoin", "off".to_owned()),
            ("jit", "off".to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("synchronous_commit", "on".to_owned()),
        ])
        .disable_statement_logging()
}

pub(super) async fn connect(options: &PgConnectOptions, answer_max: Duration) -> Result<PgConnection, Error> {
    within(answer_max, PgConnection::connect_with(options)).await.map_err(failed("connecting"))
}

/// Waits for an answer no longer than this.
pub(super) async fn within<T>(wait: Duration, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match tokio::time::timeout(wait, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let said = format!("no answer within {wait:?}");
            Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, said)))
        }
    }
}

/// The SQLSTATE, if the server gave one.
pub(super) fn state(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::code)
}

/// The error for what the server, or the way to it, said. Its words are for people; the kind tells a caller what to do.
pub(super) fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |error| {
        let kind = match state(&error) {
            None => match &error {
                sqlx::Error::Configuration(_) => ErrorKind::Invalid,
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound => {
                    ErrorKind::Corrupt
                }
                _ => ErrorKind::Unavailable,
            },
            Some(state) => match state.get(..2).unwrap_or_default() {
                // No connection, no resources, an operator, the system under the server; locks and serialisation; a server that only reads.
                "08" | "53" | "57" | "58" | "40" | "55" | "25" => ErrorKind::Unavailable,
                // A wrong password, a database that is not there, a missing right or setting.
                "28" | "3D" | "42" => ErrorKind::Invalid,
                _ => ErrorKind::Corrupt,
            },
        };
        Error::new(kind, doing).because(Said(error))
    }
}

/// What the server said, without the values of a row, which may be personal.
#[derive(Debug)]
struct Said(sqlx::Error);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>()) {
            Some(said) => write!(f, "{} (SQLSTATE {})", said.message(), said.code()),
            None => write!(f, "{}", self.0),
        }
    }
}

impl error::Error for Said {}
