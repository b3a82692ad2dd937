//! Everything that storefront promises, from the outside.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test computes with small numbers, may fail loudly, and prints what it has seen"
)]

mod arguments;
mod binary;
mod crash_steps;
mod demo;
mod generator;
mod invoice_faults;
mod invoices;
mod kill;
mod killed_replay;
#[cfg(feature = "servers")]
mod on_postgres;
mod oracle;
mod process;
mod records;
mod replays;
mod side_file;
mod stored;
mod workload;
mod year;
