//! How a store is opened, and what holds when nothing is said.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use sqlx::postgres::PgConnectOptions;

use super::{Postgres, connect::Waits};
use crate::{
    clock::Clock,
    error::{Error, ErrorKind},
    limits::StoreLimits,
    views::View,
};

/// How a store is opened.
///
/// ```no_run
/// use std::time::Duration;
/// use txn_store::postgres::Postgres;
/// # async fn example() -> Result<(), txn_store::Error> {
/// let store = Postgres::options("postgres://shop@localhost/shop")?.schema("orders").deadline(Duration::from_secs(5)).open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Options {
    pub(super) connect: PgConnectOptions,
    pub(super) schema: String,
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) limits: StoreLimits,
    pub(super) readers: usize,
    pub(super) waits: Waits,
    pub(super) must_exist: bool,
    pub(super) views: Option<Vec<View>>,
}

impl Options {
    pub(super) fn of(url: &str) -> Result<Self, Error> {
        // What is wrong with it is not repeated: a URL holds a password.
        let connect = PgConnectOptions::from_str(url).map_err(|_| {
            Error::new(ErrorKind::Invalid, "not a URL of the form postgres://user:password@host/database")
        })?;
        Ok(Self {
            connect,
            schema: "txn".to_owned(),
            clock: None,
            limits: StoreLimits::default(),
            readers: 2,
            waits: Waits { answer_max: Duration::from_secs(10), lock_max: Duration::from_millis(500) },
            must_exist: false,
            views: None,
        })
    }

    /// Another schema than `txn`: 1 to 31 of `a-z`, `0-9` and `_`.
    #[must_use]
    pub fn schema(mut self, name: &str) -> Self {
        name.clone_into(&mut self.schema);
        self
    }

    /// Opens only a store that is there already, instead of making one.
    #[must_use]
    pub const fn must_exist(mut self) -> Self {
        self.must_exist = true;
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
    pub fn limits(mut self, limits: StoreLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How many sessions read: 1 to 64; 2 when nothing is said. Beside them a store keeps up to five: three that commit, one that chains, one that listens. An export has one
    /// more as long as it is read, and for what is erased, and for what a host names first, there are up to two more meanwhile.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.clamp(1, 64);
        self
    }

    /// How long a read waits for its answer, and how long the server may take for one step of a commit; 10 seconds when nothing is said. A read is [`ErrorKind::Unavailable`] then, also when it only stood in
    /// the queue. A commit gives its session up, and what was asked is an error, or unknown when it was a COMMIT. The server
    /// itself ends a statement after three quarters of it, and a wait for a lock after half; with less than two of its `deadlock_timeout`, a second unless an operator says otherwise, hosts that lock the store's rows in each other's
    /// way are in its way for longer, since the server looks for deadlocks of those only who wait so long.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.waits.answer_max = deadline.max(Duration::from_millis(1));
        self
    }

    /// Sees to it that the schema holds exactly these [views](crate::views) when the store is open; an empty list takes all of them away. Nothing is changed when nothing is said. Writers of a table wait while an
    /// index is built over it: a store that is filled wants a quiet hour for its first views.
    #[must_use]
    pub fn views(mut self, views: impl IntoIterator<Item = View>) -> Self {
        self.views = Some(views.into_iter().collect());
        self
    }

    /// Opens the store, making its schema when there is none, and bringing an older one up to date. Its tasks run on the runtime that this is called from.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] outside of a tokio runtime, for a server before PostgreSQL 14, for a name that cannot name a schema, for a schema of another program or one that must exist and does not, and for a login that is refused; [`ErrorKind::Newer`] when a newer
    /// build has written it; [`ErrorKind::Unavailable`] when the server cannot be reached.
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
