//! The `postgres` backend on a real server, whose URL is in `TXN_POSTGRES_URL`: `cargo xtask test` starts one.

mod belt;
#[cfg(feature = "faults")]
mod bounds;
mod calls;
mod chain;
mod conformance;
mod dropped;
mod export;
mod failover;
mod held;
mod lag;
#[cfg(feature = "faults")]
mod orphaned;
mod plans;
mod poison;
#[cfg(feature = "faults")]
mod purged;
mod requirers;
mod sample;
pub(crate) mod server;
mod several;
mod skipped;
#[cfg(feature = "faults")]
mod trips;
