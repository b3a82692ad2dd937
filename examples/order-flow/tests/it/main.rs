//! The example runs, twice, and every number is right.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests stop at once")]

use order_flow::{app, backends};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The first run places `new` orders, and the next finds them placed.
async fn is_right(backends: backends::Backends, new: u64) {
    let lines = app(backends).await.unwrap();
    assert_eq!(lines[0].1, new);
    assert!(lines.iter().all(|(_, found, wanted)| found == wanted), "{lines:?}");
}

#[test]
fn in_memory_each_order_has_its_effect_once() {
    let backends = backends::memory();
    runtime().block_on(is_right(backends.clone(), 20));
    runtime().block_on(is_right(backends, 0));
}

#[test]
fn on_sqlite_each_order_has_its_effect_once() {
    let folder = tempfile::tempdir().unwrap();
    for new in [20, 0] {
        runtime().block_on(is_right(backends::sqlite(&folder.path().join("shop.db")).unwrap(), new));
    }
}

#[cfg(feature = "servers")]
#[test]
fn on_postgres_each_order_has_its_effect_once() {
    let url = std::env::var("TXN_POSTGRES_URL").expect("TXN_POSTGRES_URL: `cargo xtask test` starts a server");
    let schema = format!("f{}_{}", std::process::id(), std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    for new in [20, 0] {
        runtime().block_on(async { is_right(backends::postgres(&url, &schema).await.unwrap(), new).await });
    }
}
