//! The tests of `txn-queue`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    reason = "tests may stop at once"
)]

#[cfg(feature = "servers")]
mod alternating;
mod cloudevents;
mod conformance;
mod crowd;
mod histories;
// `strace` is among what the tests with servers install.
#[cfg(feature = "servers")]
mod hurt;
#[cfg(feature = "servers")]
mod in_host;
mod kill;
#[cfg(feature = "worker")]
mod observe;
#[cfg(feature = "servers")]
mod own;
#[cfg(feature = "servers")]
mod proxy;
mod reopened;
#[cfg(feature = "servers")]
mod repeats;
#[cfg(feature = "servers")]
mod reserved;
mod routes;
#[cfg(feature = "servers")]
mod server;
#[cfg(feature = "postgres")]
mod table;
#[cfg(feature = "worker")]
mod worker;
