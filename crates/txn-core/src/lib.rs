//! Pure decisions of commerce: every rule is `decide(state, command, now) -> Change | Rejection`.
//!
//! Plain data in, plain data out. Nothing here awaits, locks, logs, reads a clock or makes an id: time and ids are arguments. A decision returns a
//! [`Change`](txn_change::Change), which a store commits, or a rejection that reads as a sentence.
//!
//! | module | decides |
//! |---|---|
//! | [`money`], [`quantity`] | amounts that are never rounded in silence, counts that are never zero |
//! | [`machine`] | transition tables, verified and drawn |
//! | [`order`] | placing, shipping, delivering, cancelling, expiring |
//! | [`inventory`] | holds on baskets, movements of stock |
//! | [`ledger`] | accounts, transfers, holds of money |
//! | [`payment`] | attempts, captures, voids and refunds with their postings |
//! | [`aftersale`] | returns with refund and restock |
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod aftersale;
mod decide;
pub mod id;
pub mod inventory;
pub mod ledger;
pub mod machine;
pub mod money;
pub mod order;
pub mod payment;
pub mod quantity;

pub use decide::{Context, READ, Versioned};
