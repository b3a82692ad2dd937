//! Where it takes place: a store and a queue that are empty, and as many handles of both as there are relays.

use std::{path::Path, sync::Arc};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use txn_store::{Store, StoreAdmin, memory::Memory, postgres::Postgres, sqlite::Sqlite};

use super::noted::Noted;
use crate::{
    medium::Medium,
    postgres::server::Server,
    queue::{Backend, topology},
};

/// The database of the world that is open.
const DATABASE: &str = "txn_bench_relay";

/// Room for everything that a run publishes.
const MESSAGES_MAX: u64 = 100_000_000;

/// Whether the queue is in memory; how many relays; whether each has handles of its own, as processes have, and not those of whoever commits.
pub(super) const ARRANGEMENTS: [(InMemory, usize, bool); 4] =
    [(InMemory::No, 1, false), (InMemory::Yes, 1, false), (InMemory::No, 1, true), (InMemory::No, 2, true)];

/// Whether the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InMemory {
    Yes,
    No,
}

/// Where stores and queues are made.
pub(super) enum Places {
    Memory,
    Folder(Medium),
    Server(Box<Server>),
}

impl Places {
    pub(super) const fn on(medium: Medium) -> Self {
        Self::Folder(medium)
    }

    pub(super) fn server(runtime: &Runtime, url: &str) -> Result<Self, String> {
        runtime.block_on(Server::reach(url)).map(Box::new).map(Self::Server)
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Memory => "in memory".into(),
            Self::Folder(medium) => format!("on {} ({})", medium.folder.display(), medium.name),
            Self::Server(server) => format!("on {}", server.name),
        }
    }

    pub(super) const fn store(&self) -> Backend {
        match self {
            Self::Memory => Backend::Memory,
            Self::Folder(_) => Backend::Sqlite,
            Self::Server(_) => Backend::Postgres,
        }
    }

    /// A file is one process's, so that its relays share the handles.
    pub(super) const fn has(&self, queue: InMemory, apart: bool) -> bool {
        match self {
            Self::Memory => matches!(queue, InMemory::Yes),
            Self::Folder(_) => !apart,
            Self::Server(_) => true,
        }
    }

    pub(super) fn clear(&self, runtime: &Runtime) -> Result<(), String> {
        let Self::Server(server) = self else { return Ok(()) };
        runtime.block_on(server.drop_database(DATABASE)).map_err(|error| error.to_string())
    }
}

/// An empty store and an empty queue.
pub(super) struct World {
    /// Of whoever commits.
    pub(super) store: Arc<dyn Store>,
    /// Of each relay.
    pub(super) relays: Vec<(Arc<dyn Store>, Arc<Noted>)>,
    queue: InMemory,
    is_apart: bool,
    _folder: Option<TempDir>,
}

impl World {
    pub(super) fn open(
        runtime: &Runtime,
        places: &Places,
        queue: InMemory,
        relays: usize,
        is_apart: bool,
    ) -> Result<Self, String> {
        runtime.block_on(Self::opened(places, queue, relays, is_apart))
    }

    async fn opened(places: &Places, queue: InMemory, relays: usize, is_apart: bool) -> Result<Self, String> {
        let folder = match places {
            Places::Folder(medium) => Some(tempfile::tempdir_in(&medium.folder).map_err(|error| error.to_string())?),
            Places::Memory | Places::Server(_) => None,
        };
        let url = match places {
            Places::Server(server) => server.fresh_database(DATABASE).await.map_err(|error| error.to_string())?.url,
            Places::Memory | Places::Folder(_) => String::new(),
        };
        let path = folder.as_ref().map_or(Path::new(""), TempDir::path);
        let file = path.join("queue.db").display().to_string();
        let (backend, place) = match queue {
            InMemory::Yes => (Backend::Memory, ""),
            InMemory::No if url.is_empty() => (Backend::Sqlite, &*file),
            InMemory::No => (Backend::Postgres, &*url),
        };
        let store = store(places, &url, path).await?;
        let first = backend.open(place).await?;
        first.declare(topology(MESSAGES_MAX)).await.map_err(|error| error.to_string())?;
        let mut handles = Vec::new();
        for _ in 0..relays {
            handles.push(match is_apart {
                false => (Arc::clone(&store), Noted::new(Arc::clone(&first))),
                true => (self::store(places, &url, path).await?, Noted::new(backend.open(place).await?)),
            });
        }
        Ok(Self { store, relays: handles, queue, is_apart, _folder: folder })
    }

    /// What the arrangement is called.
    pub(super) fn suffix(&self) -> &'static str {
        match (self.queue, self.relays.len(), self.is_apart) {
            (InMemory::Yes, ..) => ".to-memory",
            (InMemory::No, 1, false) => "",
            (InMemory::No, 1, true) => ".apart",
            (InMemory::No, ..) => ".two",
        }
    }

    /// Whether the clocks of both are one server's.
    pub(super) fn has_one_clock(&self) -> bool {
        self.queue == InMemory::No
    }
}

async fn store(places: &Places, url: &str, folder: &Path) -> Result<Arc<dyn Store>, String> {
    let admin: Arc<dyn StoreAdmin> = match places {
        Places::Memory => Arc::new(Memory::new()),
        Places::Folder(_) => Arc::new(Sqlite::open(folder.join("store.db")).map_err(|error| error.to_string())?),
        Places::Server(_) => {
            let opened = Postgres::open(url).await;
            Arc::new(opened.map_err(|error| error.to_string())?)
        }
    };
    Ok(admin)
}
