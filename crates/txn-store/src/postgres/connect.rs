//! Connections: how a session is set up, and what a failure of one means.

use std::{error, fmt, future::poll_fn, pin::pin, task::Poll, time::Duration};

use futures_channel::oneshot;
use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgDatabaseError},
    query,
};

use super::{Shared, names::Names};
use crate::error::{Error, ErrorKind};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// One round trip, at most.
    pub(super) answer_max: Duration,
    /// A lock that somebody else holds, at most.
    pub(super) lock_max: Duration,
}

/// What every session of ours is told. A session plans with indexes only: rows are always found by key, and a plan that was made while a table was empty must be good when it is full.
pub(super) fn session(options: PgConnectOptions, waits: Waits, name: &str) -> PgConnectOptions {
    // A server that does not hear of its client ends a transaction by itself, so that its locks are not kept.
    let idle = millis(waits.answer_max.saturating_mul(2));
    options
        .application_name(name)
        .statement_cache_capacity(256)
        .options([
            ("statement_timeout", millis(statement_wait(waits))),
            ("lock_timeout", millis(lock_wait(waits))),
            ("idle_in_transaction_session_timeout", idle),
            // Between two commits a session of ours is at rest, for as long as nobody asks.
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

/// How long a statement may take on the server: less than its answer is waited for, so that the server says that it took too long. From silence nobody could tell which change of a group was the reason.
fn statement_wait(waits: Waits) -> Duration {
    waits.answer_max.saturating_mul(3).checked_div(4).unwrap_or_default()
}

/// How long a lock is waited for: less than a statement may take, so that the server says that it was a lock. A change that waits for one is tried again, and one that takes too long has failed.
fn lock_wait(waits: Waits) -> Duration {
    waits.lock_max.min(waits.answer_max.checked_div(2).unwrap_or_default())
}

/// A wait as a setting: at least a millisecond, and no more than the server takes.
pub(super) fn millis(wait: Duration) -> String {
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1).to_string()
}

/// Opens a session, within the time that one answer may take.
pub(super) async fn connect(options: &PgConnectOptions, waits: Waits) -> Result<PgConnection, Error> {
    let connecting = async {
        let mut session = PgConnection::connect_with(options).await?;
        if let Some(text) = of_version(session.server_version_num()) {
            query(text).execute(&mut session).await?;
        }
        Ok(session)
    };
    within(waits.answer_max, connecting).await.map_err(|error| match state(&error) {
        // Undefined object: a setting of ours that came with version 14, or one that the URL names.
        Some("42704") => {
            let context =
                "connecting: the server does not know a setting of the session; PostgreSQL 14 or newer is needed";
            Error::new(ErrorKind::Invalid, context).because(Said(error))
        }
        _ => failed("connecting")(error),
    })
}

/// What a session is told that only newer servers know: version 17 can end a transaction by its age, which a role or a database may have set.
fn of_version(version: Option<u32>) -> Option<&'static str> {
    version.is_some_and(|version| version >= 170_000).then_some("SET transaction_timeout = 0")
}

/// A session, and the numbers of tenants and classes as it has read them. No session lives through a failover, and a standby may have lost the newest names and given their numbers to others: what was learnt on one is never used on
/// the next.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    pub(super) names: Names,
}

impl Session {
    pub(super) async fn open(shared: &Shared, options: &PgConnectOptions) -> Result<Self, Error> {
        let connection = connect(options, shared.waits).await?;
        Ok(Self { connection, names: Names::new(&shared.schema) })
    }
}

/// Waits for an answer no longer than this.
pub(super) async fn within<T>(wait: Duration, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match tokio::time::timeout(wait, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no answer within {wait:?}"),
        ))),
    }
}

/// Works as long as somebody waits for the reply; gives nothing when the caller has gone. A session that was in the middle of something is closed then, and the server rolls back.
pub(super) async fn while_wanted<T, R>(reply: &mut oneshot::Sender<R>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match reply.poll_canceled(context) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(context).map(Some),
    })
    .await
}

/// The SQLSTATE, if the server gave one.
pub(super) fn state(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::code)
}

/// Whether the session may be used again, after a rollback: the server answered, and did not end it.
pub(super) fn is_session_sound(error: &sqlx::Error) -> bool {
    state(error).is_some_and(|state| !state.starts_with("57P") && !state.starts_with("08"))
}

/// The keys on which two that insert at once meet. A collision on any other is damage.
const COLLISIONS: [&str; 6] = ["change_once", "record_once", "counter_once", "fact_once", "fence_once", "term_pkey"];

/// Whether a lock was not given in time.
pub(super) fn is_lock_wait(error: &sqlx::Error) -> bool {
    state(error) == Some("55P03")
}

/// Whether the statement took too long: something in the group may be the reason.
pub(super) fn is_too_slow(error: &sqlx::Error) -> bool {
    state(error) == Some("57014")
}

/// Whether somebody else was in the way, so that the same may succeed when tried again: a serialisation failure, a deadlock, a lock not given in time, a key that was
/// inserted first.
pub(super) fn is_in_the_way(error: &sqlx::Error) -> bool {
    match state(error) {
        Some("40001" | "40P01" | "55P03") => true,
        Some("23505") => error
            .as_database_error()
            .and_then(|error| error.constraint())
            .is_some_and(|constraint| COLLISIONS.contains(&constraint)),
        _ => false,
    }
}

/// The parts of the server that speak to its file system. A file system that became read-only has no state of its own.
const OF_THE_MEDIUM: [&str; 4] = ["md.c", "fd.c", "slru.c", "xlog.c"];

fn is_of_the_medium(error: &sqlx::Error) -> bool {
    let said = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    said.and_then(PgDatabaseError::file).is_some_and(|file| OF_THE_MEDIUM.contains(&file))
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
            // The same state as that of a missing right.
            Some("42501") if is_of_the_medium(&error) => ErrorKind::Unavailable,
            Some(state) => match state.get(..2).unwrap_or_default() {
                // No connection, no resources, an operator, the system under the server; locks and serialisation; a server that only reads.
                "08" | "53" | "57" | "58" | "40" | "55" | "25" => ErrorKind::Unavailable,
                // A wrong password, a database that is not there, a missing right.
                "28" | "3D" | "42" => ErrorKind::Invalid,
                // A constraint of the second belt, a value that does not fit, damage.
                _ => ErrorKind::Corrupt,
            },
        };
        Error::new(kind, doing).because(Said(error))
    }
}

/// What the server said, without the values of a row, which may be personal.
#[derive(Debug)]
pub(super) struct Said(pub(super) sqlx::Error);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>()) {
            Some(said) => write!(f, "{} (SQLSTATE {})", said.message(), said.code()),
            None => write!(f, "{}", self.0),
        }
    }
}

impl error::Error for Said {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_transaction_is_no_reason_to_end_it_where_it_can_be_one() {
        assert_eq!([Some(150_019), Some(169_999), None].map(of_version), [None; 3]);
        assert_eq!(of_version(Some(170_000)), Some("SET transaction_timeout = 0"));
    }

    #[test]
    fn a_lock_is_waited_for_less_long_than_a_statement_may_take_and_that_less_long_than_its_answer() {
        for (answer, lock, expected) in [(10_000, 3_000, 3_000), (3_000, 3_000, 1_500), (800, 500, 400), (4, 500, 2)] {
            let waits = Waits { answer_max: Duration::from_millis(answer), lock_max: Duration::from_millis(lock) };
            assert_eq!(lock_wait(waits).as_millis(), expected, "a lock of {lock} ms within {answer} ms");
            assert!(lock_wait(waits) < statement_wait(waits) && statement_wait(waits) < waits.answer_max);
        }
    }

    #[test]
    fn a_wait_is_a_number_that_the_server_takes() {
        assert_eq!(millis(Duration::ZERO), "1");
        assert_eq!(millis(Duration::from_secs(2)), "2000");
        assert_eq!(millis(Duration::MAX), i32::MAX.to_string());
    }
}
