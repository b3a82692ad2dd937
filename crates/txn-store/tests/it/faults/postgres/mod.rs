//! PostgreSQL under faults: the server, its sessions, and the way to it.

mod commit;
mod disk;
#[cfg(feature = "sqlite")]
mod handles;
mod migration;
mod network;
mod own;
mod runtime;
mod settings;
#[cfg(feature = "sqlite")]
mod storm;
mod timeouts;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};
use tempfile::TempDir;
use txn_store::{
    Store, StoreAdmin,
    faults::{Proxy, Ran, SideFile, Workload},
    postgres::Postgres,
};

use crate::postgres::server::{self, RUNTIME};

/// Of a store whose server may not answer: long enough for an idle machine, and short enough to be waited for.
const DEADLINE: Duration = Duration::from_millis(800);

/// Of a store whose server answers, or says at once that it cannot, however busy the machine.
const PATIENT: Duration = Duration::from_secs(10);

/// A schema of the server under test, with the notes of a workload.
struct Scene {
    url: String,
    schema: String,
    folder: TempDir,
    workload: Workload,
    side: SideFile,
}

impl Scene {
    fn new(workload: Workload) -> Self {
        Self::at(server::url(), workload)
    }

    fn at(url: String, workload: Workload) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let side = SideFile::open(folder.path().join("side")).unwrap();
        Self { url, schema: server::fresh_schema(), folder, workload, side }
    }

    fn side_path(&self) -> PathBuf {
        self.folder.path().join("side")
    }

    fn open(&self) -> Arc<dyn StoreAdmin> {
        self.open_at(&self.url)
    }

    fn open_at(&self, url: &str) -> Arc<dyn StoreAdmin> {
        Arc::new(self.try_open(url).unwrap())
    }

    fn try_open(&self, url: &str) -> Result<Postgres, txn_store::Error> {
        self.try_open_within(url, PATIENT)
    }

    fn try_open_within(&self, url: &str, deadline: Duration) -> Result<Postgres, txn_store::Error> {
        assert!(self.folder.path().exists());
        let options = Postgres::options(url).unwrap().schema(&self.schema).readers(1).deadline(deadline);
        RUNTIME.block_on(options.open())
    }

    /// A store that reaches its server through a proxy, which may keep it waiting.
    fn through(&self) -> (Proxy, Arc<dyn StoreAdmin>) {
        self.through_within(DEADLINE)
    }

    fn through_within(&self, deadline: Duration) -> (Proxy, Arc<dyn StoreAdmin>) {
        let proxy = Proxy::to(address(&self.url)).unwrap();
        let store = self.try_open_within(&self.url_of(&proxy), deadline).unwrap();
        (proxy, Arc::new(store))
    }

    /// The server's URL, as it is reached through a proxy.
    fn url_of(&self, proxy: &Proxy) -> String {
        self.url.replace(&address(&self.url).to_string(), &proxy.address().to_string())
    }

    /// Runs the workload until it is over, or this says so.
    fn run(&self, store: &Arc<dyn StoreAdmin>, is_over: &(dyn Fn(&Ran) -> bool + Sync)) -> Ran {
        let plain: Arc<dyn Store> = Arc::clone(store) as _;
        self.workload.run(&plain, &self.side, is_over)
    }

    /// The store, opened again, has kept its word and works.
    fn end(&self) {
        let store = self.open();
        let report = super::is_whole(&store, &self.workload, &self.side);
        super::is_alive(&store, &self.workload, &self.side);
        println!(
            "{} acknowledged changes are there; of the others {} are, {} are not",
            report.done, report.present, report.absent
        );
        drop(store);
        execute(&self.url, &format!("DROP SCHEMA \"{}\" CASCADE", self.schema)).unwrap();
    }
}

fn address(url: &str) -> SocketAddr {
    let host = url.rsplit_once('@').unwrap().1.split('/').next().unwrap();
    host.parse().unwrap()
}

/// Runs statements on a session of their own, behind the back of every store.
fn execute(url: &str, text: &str) -> sqlx::Result<()> {
    RUNTIME.block_on(async {
        let mut session = PgConnection::connect(url).await?;
        raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut session).await?;
        session.close().await
    })
}

/// The one number that a query gives.
fn number(url: &str, text: &str) -> i64 {
    RUNTIME.block_on(async {
        let mut session = PgConnection::connect(url).await.unwrap();
        let number = sqlx::query_scalar(AssertSqlSafe(text.to_owned())).fetch_one(&mut session).await.unwrap();
        session.close().await.unwrap();
        number
    })
}

/// Ends the session that the server sees at this address, and waits until it is gone.
fn terminate(url: &str, seen_as: SocketAddr) {
    let port = seen_as.port();
    execute(url, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port = {port}"))
        .unwrap();
    super::wait_for("a session to end", || {
        number(url, &format!("SELECT count(*) FROM pg_stat_activity WHERE client_port = {port}")) == 0
    });
}
