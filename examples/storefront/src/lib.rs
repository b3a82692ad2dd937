//! A starter shop on txn: a demo, the replay of a retailer's invoices, a report and an audit.
//!
//! `main.rs` reads arguments and prints; everything else is here, so that a test can call it.

pub mod demo;
pub mod invoices;
pub mod names;
pub mod open;
pub mod progress;
pub mod replay;
pub mod totals;
