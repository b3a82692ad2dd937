//! How a queue is opened, and what holds when nothing is said.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use sqlx::postgres::PgConnectOptions;

use super::Postgres;
use crate::{
    clock::Clock,
    error::{Error, ErrorKind},
    limits::QueueLimits,
};

/// How a queue is opened.
///
/// ```no_run
/// use std::time::Duration;
/// use txn_queue::postgres::Postgres;
/// # async fn example() -> Result<(), txn_queue::Error> {
/// let queue = Postgres::options("postgres://shop@localhost/shop")?.schema("orders_queue").deadline(Duration::from_secs(5)).open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Options {
    pub(super) connect: PgConnectOptions,
    pub(super) schema: String,
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) limits: QueueLimits,
    pub(super) lanes: usize,
    pub(super) answer_max: Duration,
}

impl Options {
    pub(super) fn of(url: &str) -> Result<Self, Error> {
        // What is wrong with it is not repeated: a URL holds a password.
        let connect = PgConnectOptions::from_str(url).map_err(|_| {
            Error::new(ErrorKind::Invalid, "not a URL of the form postgres://user:password@host/database")
        })?;
        Ok(Self {
            connect,
            schema: "txn_queue".to_owned(),
            clock: None,
            limits: QueueLimits::default(),
            lanes: 3,
            answer_max: Duration::from_secs(10),
        })
    }

    /// Another schema than `txn_queue`: 1 to 31 of `a-z`, `0-9` and `_`.
    #[must_use]
    pub fn schema(mut self, name: &str) -> Self {
        name.clone_into(&mut self.schema);
        self
    }

    /// Another clock than the server's. For tests: processes that share a schema must share a clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Other limits than the default ones.
    #[must_use]
    pub const fn limits(mut self, limits: QueueLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How many topics can be worked at at once, each on a session of its own: 1 to 64; 3 when nothing is said. Beside them a queue keeps three sessions: one that extends leases while the others are busy, one that tells and one that hears.
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes.clamp(1, 64);
        self
    }

    /// How long the server may take for one step; 10 seconds when nothing is said.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.answer_max = deadline.max(Duration::from_millis(1));
        self
    }

    /// Opens the queue, making its schema when there is none. Its tasks run on the runtime that this is called from.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] outside of a tokio runtime, for a name that cannot name a schema, and for a login that is refused; [`ErrorKind::Newer`] when a newer build has written it; [`ErrorKind::Unavailable`] when the server cannot be reached.
    pub async fn open(self) -> Result<Postgres, Error> {
        Postgres::start(self).await
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Options");
        shown.field("host", &self.connect.get_host()).field("database", &self.connect.get_database());
        shown.field("schema", &self.schema).field("limits", &self.limits).finish_non_exhaustive()
    }
}
