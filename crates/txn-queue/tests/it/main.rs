//! The tests of `txn-queue`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    reason = "tests may stop at once"
)]

mod ahead;
#[cfg(feature = "servers")]
mod alternating;
#[cfg(feature = "servers")]
mod clocks;
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
#[cfg(feature = "servers")]
mod mortals;
#[cfg(feature = "worker")]
mod observe;
#[cfg(feature = "servers")]
mod own;
#[cfg(feature = "servers")]
mod pinned;
#[cfg(feature = "servers")]
mod proxy;
mod reopened;
#[cfg(feature = "servers")]
mod repeats;
#[cfg(feature = "servers")]
mod reserved;
#[cfg(feature = "servers")]
mod restored;
#[cfg(feature = "servers")]
mod room;
mod routes;
#[cfg(feature = "servers")]
mod server;
#[cfg(feature = "worker")]
mod soak;
#[cfg(feature = "postgres")]
mod table;
#[cfg(feature = "servers")]
mod tidied;
#[cfg(feature = "worker")]
mod worker;
