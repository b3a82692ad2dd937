//! Where the store and the queue are: the one difference between memory, a file and a server.

use std::{path::Path, sync::Arc};

use txn::{
    queue::{self, QueueAdmin},
    store::{self, StoreAdmin},
};

use crate::Error;

/// A store and a queue.
pub type Backends = (Arc<dyn StoreAdmin>, Arc<dyn QueueAdmin>);

/// In memory, for as long as the process lives.
#[must_use]
pub fn memory() -> Backends {
    (Arc::new(store::memory::Memory::new()), Arc::new(queue::memory::Memory::new()))
}

/// In two files: the store at `path`, and the queue beside it, with the extension `queue`.
///
/// # Errors
/// What SQLite says.
pub fn sqlite(path: &Path) -> Result<Backends, Error> {
    let queue = queue::sqlite::Sqlite::open(path.with_extension("queue"))?;
    Ok((Arc::new(store::sqlite::Sqlite::open(path)?), Arc::new(queue)))
}

/// In two schemas of a PostgreSQL database: `schema`, and `schema` with `_queue` behind it.
///
/// # Errors
/// What the server says.
pub async fn postgres(url: &str, schema: &str) -> Result<Backends, Error> {
    let queue = queue::postgres::Postgres::options(url)?.schema(&format!("{schema}_queue")).open().await?;
    Ok((Arc::new(store::postgres::Postgres::options(url)?.schema(schema).open().await?), Arc::new(queue)))
}
