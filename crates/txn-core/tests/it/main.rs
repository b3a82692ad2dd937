//! The decisions of txn-core, decided and committed without a store: tables over every state and command, and random walks.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "what fails or overflows fails the test"
)]

mod accounts;
mod aftersale;
mod holds;
mod invariants;
mod inventory;
mod ledger;
mod ledger_walk;
mod order;
mod payment;
mod posting;
mod schema;
mod shop;
mod walk;
mod world;
