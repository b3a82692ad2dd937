//! Stores on the server under test, each in a schema of its own.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::runtime::Runtime;
use txn_store::{
    Clock, Error, StoreLimits,
    postgres::{Options, Postgres},
};

/// One runtime for all stores of this process: their tasks run on it, whatever the tests run on.
pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

pub(crate) fn url() -> String {
    std::env::var("TXN_POSTGRES_URL").expect("TXN_POSTGRES_URL is the URL of a server; `cargo xtask test` starts one")
}

/// A schema that nobody has used.
pub(crate) fn fresh_schema() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let started = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() % 10_000_000_000;
    format!("t{}_{started}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst))
}

pub(crate) fn options(schema: &str) -> Options {
    Postgres::options(&url()).unwrap().schema(schema).readers(1)
}

/// Opens a store from any executor.
pub(crate) async fn open(options: Options) -> Result<Postgres, Error> {
    RUNTIME.spawn(options.open()).await.unwrap()
}

pub(crate) async fn open_with(schema: &str, clock: Arc<dyn Clock>, limits: StoreLimits) -> Result<Postgres, Error> {
    open(options(schema).clock(clock).limits(limits)).await
}

/// Does something that no store does.
pub(crate) fn execute(text: &str) {
    let text = sqlx::AssertSqlSafe(text.to_owned());
    let url = url();
    let execution = async move {
        let mut session = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        sqlx::raw_sql(text).execute(&mut session).await.unwrap();
    };
    pollster::block_on(RUNTIME.spawn(execution)).unwrap();
}
