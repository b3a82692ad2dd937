//! The integration tests of `txn`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    reason = "tests stop at once, and their helpers are library code to clippy"
)]

#[cfg(feature = "memory")]
mod audit;
#[cfg(feature = "sqlite")]
mod damage;
mod inbox;
#[cfg(all(feature = "memory", feature = "sqlite"))]
mod leases;
#[cfg(feature = "sqlite")]
mod mortals;
#[cfg(all(feature = "memory", feature = "sqlite"))]
mod postings;
#[cfg(all(feature = "memory", feature = "sqlite"))]
mod process;
#[cfg(all(feature = "memory", feature = "sqlite"))]
mod relay;
mod scenario;
#[cfg(all(feature = "memory", feature = "sqlite", feature = "cron"))]
mod schedules;
#[cfg(all(feature = "memory", feature = "sqlite"))]
mod services;
#[cfg(any(feature = "sqlite", feature = "servers"))]
mod views;
#[cfg(feature = "webhooks")]
mod webhook;
