//! The tests of `txn-queue`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests may stop at once"
)]

#[cfg(feature = "servers")]
mod alternating;
mod cloudevents;
mod conformance;
mod crowd;
mod histories;
mod kill;
#[cfg(feature = "servers")]
mod own;
#[cfg(feature = "servers")]
mod proxy;
mod reopened;
mod routes;
#[cfg(feature = "servers")]
mod server;
