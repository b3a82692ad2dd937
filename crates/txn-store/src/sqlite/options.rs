//! How a store is opened, and what holds when nothing is said.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::Sqlite;
#[cfg(doc)]
use crate::{ErrorKind, Outcome, StoreAdmin};
use crate::{
    clock::{Clock, SystemClock},
    error::Error,
    limits::StoreLimits,
    views::View,
};

/// How durable a commit is when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// It survives a loss of power.
    #[default]
    Full,
    /// It survives the death of the process, but the latest commits may be lost with the power; the store stays whole. For tests, and for what can be
    /// made again.
    Process,
}

/// How a store is opened.
///
/// ```
/// use txn_store::sqlite::Sqlite;
/// let folder = tempfile::tempdir()?;
/// let store = Sqlite::options(folder.path().join("shop.db")).readers(1).open()?;
/// # drop(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(super) path: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: StoreLimits,
    pub(super) readers: usize,
    pub(super) durability: Durability,
    pub(super) deadline: Duration,
    pub(super) views: Option<Vec<View>>,
}

impl Options {
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            clock: Arc::new(SystemClock),
            limits: StoreLimits::default(),
            readers: 2,
            durability: Durability::default(),
            deadline: Duration::from_secs(10),
            views: None,
        }
    }

    /// Another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Other limits than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: StoreLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How many threads read: 1 to 64; 2 when nothing is said.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.clamp(1, 64);
        self
    }

    /// Another durability than [`Durability::Full`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How long a call waits for its answer; 10 seconds when nothing is said. After that a change that was begun is [`Outcome::Unknown`], since it may still be committed; one that was not is an error, and never will be. A read is an error. A
    /// flush that hangs so holds up no caller for ever; what waits behind it is bounded by [`StoreLimits::queue_max`].
    ///
    /// *Not* for [`Sqlite::begin`] and [`Sqlite::commit_in`], which block the thread that calls them, nor for the parts of an export, [`StoreAdmin::erase`] and opening.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline.max(Duration::from_millis(1));
        self
    }

    /// Sees to it that the file holds exactly these [views](crate::views) when the store is open; an empty list takes all of them away. Nothing is changed when nothing is said.
    #[must_use]
    pub fn views(mut self, views: impl IntoIterator<Item = View>) -> Self {
        self.views = Some(views.into_iter().collect());
        self
    }

    /// Opens the store, making it when there is none, and bringing an older format up to date. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] when it is open elsewhere, [`ErrorKind::Newer`] when a newer build has written it, [`ErrorKind::Invalid`] when the file is another
    /// program's, [`ErrorKind::Corrupt`] when it is damaged or its write-ahead log was removed, [`ErrorKind::Unavailable`] when the medium fails.
    pub fn open(self) -> Result<Sqlite, Error> {
        Sqlite::start(self)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Options");
        shown.field("path", &self.path).field("limits", &self.limits);
        shown.field("readers", &self.readers).field("durability", &self.durability).finish_non_exhaustive()
    }
}
