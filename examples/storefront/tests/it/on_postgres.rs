//! A real retailer's rows on PostgreSQL, in a database of its own, whose URL begins as `TXN_POSTGRES_URL`: `cargo xtask test` starts a server.

use std::{sync::Arc, time::Instant};

use serde_json::Value;
use storefront::replay;
use txn::store::{
    StoreAdmin,
    memory::Memory,
    postgres::sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, query, raw_sql},
    sqlite::{Durability, Sqlite},
};

use crate::{
    binary::{command, run},
    process::{End, Process, wait_for},
    year::path,
};

const ROWS: u64 = 4_000;

/// A database that nobody else uses, gone with the value.
struct Database {
    server: String,
    name: String,
    runtime: tokio::runtime::Runtime,
}

impl Database {
    fn make() -> Self {
        let server = std::env::var("TXN_POSTGRES_URL")
            .expect("TXN_POSTGRES_URL is the URL of a server; `cargo xtask test` starts one");
        let started = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() % 10_000_000_000;
        let name = format!("s{}_{started}", std::process::id());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let database = Self { server, name, runtime };
        database.execute(&format!("CREATE DATABASE {}", database.name));
        database
    }

    fn url(&self) -> String {
        format!("{}/{}", self.server.rsplit_once('/').unwrap().0, self.name)
    }

    fn execute(&self, text: &str) {
        let text = AssertSqlSafe(text.to_owned());
        self.runtime.block_on(async {
            let mut session = PgConnection::connect(&self.server).await.unwrap();
            raw_sql(text).execute(&mut session).await.unwrap();
        });
    }

    /// Changes that are committed; none while there is no store yet.
    fn changes(&self) -> i64 {
        self.runtime.block_on(async {
            let mut session = PgConnection::connect(&self.url()).await.unwrap();
            let counted = query("SELECT count(*) FROM txn.change").fetch_one(&mut session).await;
            counted.map_or(0, |row| row.get(0))
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// Killed in the middle and run again, it comes to what it comes to on the other backends; run once more, it changes nothing.
///
/// Where the file is not beside the repository, it says that it tests nothing. The whole year is for hand and a release build, some minutes of it: `storefront replay FILE --store postgres://… --json` gives the totals of `--store memory:`.
#[test]
fn the_first_rows_of_the_year_come_to_the_same_as_on_the_other_backends() {
    let Some(file) = path() else { return };
    let begun = Instant::now();
    let (database, folder) = (Database::make(), tempfile::tempdir().unwrap());
    let (url, limit, file_name) = (database.url(), ROWS.to_string(), file.to_str().unwrap());
    let arguments = ["replay", file_name, "--limit", &limit, "--store", &url, "--json"];

    let process = Process::spawn(&mut command(folder.path(), &arguments));
    wait_for("a replay in its middle", || database.changes() > 200);
    assert!(matches!(process.kill(&folder.path().join("none")), End::Killed { .. }));
    let killed_at = database.changes();
    assert_eq!(run(folder.path(), &["verify", "--store", &url]).line(), "0 violations");

    let ended: Value = serde_json::from_str(run(folder.path(), &arguments).line()).unwrap();
    let took = begun.elapsed();
    assert_eq!(ended["replayed"], Value::Bool(false));
    let again: Value = serde_json::from_str(run(folder.path(), &arguments).line()).unwrap();
    assert_eq!(again["replayed"], Value::Bool(true));
    assert_eq!(run(folder.path(), &["verify", "--store", &url]).line(), "0 violations");
    println!("{ROWS} rows, killed at commit {killed_at} of {}, in {took:?}", ended["commits"]);

    let sqlite = Sqlite::options(folder.path().join("shop.db")).durability(Durability::Process).open().unwrap();
    let others: [(&str, Arc<dyn StoreAdmin>); 2] = [("memory", Arc::new(Memory::new())), ("sqlite", Arc::new(sqlite))];
    for (name, store) in others {
        let replay = database.runtime.block_on(replay::replay(store, &file, Some(ROWS))).unwrap();
        let totals = serde_json::to_value(&replay.totals).unwrap();
        for (total, value) in totals.as_object().unwrap() {
            assert_eq!((&ended[total], &again[total]), (value, value), "{total} on {name}");
        }
    }
}
