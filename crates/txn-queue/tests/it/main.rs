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

mod cloudevents;
mod conformance;
mod routes;
#[cfg(feature = "worker")]
mod worker;
