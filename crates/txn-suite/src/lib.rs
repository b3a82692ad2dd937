//! What txn's conformance suites are made of: checks that say what was expected and found, a report, an executor that needs no runtime, calls that are dropped wherever they can stand, and processes that are killed.
//!
//! It knows no backend and no contract. The suites themselves stand in the crates whose traits they hold.

mod check;
mod drops;
mod executor;
mod mortal;
mod report;

pub use check::{Checked, Failure, equal, holds, only, some};
pub use drops::Drops;
pub use executor::{Run, at_most, block_on, race, within};
pub use mortal::Mortal;
pub use report::{Line, Report, Verdict};
