//! The `postgres` backend on a real server, whose URL is in `TXN_POSTGRES_URL`: `cargo xtask test` starts one.

mod chain;
mod conformance;
mod dropped;
mod export;
mod failover;
mod requirers;
pub(crate) mod server;
mod several;
