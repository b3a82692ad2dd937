//! The inputs of all measurements: made once, from a seed, outside every timed region. The same inputs go to the criterion benches, to the comparison runner
//! and to its peers.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "measurements: an overflow or a wrong index stops the program, as it should"
)]

pub mod callers;
pub mod carts;
pub mod ledger;
mod random;

pub use random::Random;
