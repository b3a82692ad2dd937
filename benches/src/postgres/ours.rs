//! Ours: a store in a fresh schema, driven by concurrent callers.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::runtime::Runtime;
use txn_bench::{
    callers::drive,
    ledger::{self, Means, Work},
};
use txn_store::{Store, StoreAdmin, postgres::Postgres};

use super::server::Server;

/// What a run took.
pub(super) struct Ran {
    pub(super) time: Duration,
    /// Groups of changes that were committed together, counted by the receipts.
    pub(super) groups: usize,
    /// Changes that were committed and not yet chained when the last answer came.
    pub(super) unchained: u64,
}

/// A store in its schema, made anew, with its accounts.
pub(super) async fn fresh(server: &Server) -> Result<Arc<Postgres>, String> {
    server.fresh(super::OURS).await.map_err(|error| error.to_string())?;
    let store = open(&server.url).await?;
    ledger::open_accounts(&*store).await;
    Ok(store)
}

/// A store in its schema as it stands.
pub(super) async fn open(url: &str) -> Result<Arc<Postgres>, String> {
    let open = async { Postgres::options(url)?.schema(super::OURS).open().await };
    open.await.map(Arc::new).map_err(|error| error.to_string())
}

/// Commits by so many callers on a fresh schema, and checks what that leaves.
pub(super) fn run(runtime: &Runtime, server: &Server, callers: usize, work: Vec<Work>) -> Result<Ran, String> {
    let store = runtime.block_on(fresh(server))?;
    let count = work.len();
    let ran = commit(runtime, &store, callers, work)?;
    runtime.block_on(close(store));
    runtime.block_on(super::check::is_sound(server, super::OURS, count))?;
    Ok(ran)
}

/// Commits by so many callers.
pub(super) fn commit(runtime: &Runtime, store: &Arc<Postgres>, callers: usize, work: Vec<Work>) -> Result<Ran, String> {
    let shared: Arc<dyn Store> = Arc::clone(store) as _;
    let each = move |work: Work| ledger::commit(Arc::clone(&shared), work.change, Means::Enough);
    let (time, receipts) = drive(runtime, callers, work, each);
    let health = runtime.block_on(store.health()).map_err(|error| error.to_string())?;
    let tickets: HashSet<_> = receipts.iter().flatten().map(|receipt| receipt.freshness).collect();
    Ok(Ran { time, groups: tickets.len(), unchained: health.unchained })
}

/// Ends its sessions, once nobody else holds it.
pub(super) async fn close(store: Arc<Postgres>) {
    if let Some(store) = Arc::into_inner(store) {
        store.close().await;
    }
}
