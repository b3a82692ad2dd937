//! The server that tests of PostgreSQL use.

use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn url() -> String {
    std::env::var("TXN_POSTGRES_URL").expect("TXN_POSTGRES_URL is the URL of a server; `cargo xtask test` starts one")
}

/// The name of a schema that no other test of any run has.
pub(crate) fn name(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("q{}_{what}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst))
}
