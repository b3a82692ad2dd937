//! The store's tests beyond its units: the conformance suite on every backend, random histories against a naive model, and named cases.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests stop at once, print, and calculate with small numbers"
)]

#[cfg(feature = "memory")]
mod backends;
#[cfg(feature = "memory")]
mod cases;
#[cfg(any(feature = "sqlite", all(feature = "memory", feature = "conformance", feature = "servers")))]
mod commit_in;
#[cfg(all(feature = "memory", feature = "conformance"))]
mod conformance;
mod dropped;
#[cfg(all(feature = "faults", unix))]
mod faults;
#[cfg(feature = "memory")]
mod histories;
#[cfg(all(feature = "memory", feature = "conformance"))]
mod isolation;
#[cfg(feature = "memory")]
mod model;
#[cfg(all(feature = "memory", feature = "sqlite"))]
mod observe;
#[cfg(all(feature = "memory", feature = "conformance", feature = "servers"))]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
