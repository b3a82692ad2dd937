//! What txn's conformance suites are made of: checks that say what was expected and found, a report, an executor that needs no runtime, and calls that are dropped wherever they can stand.
//!
//! It knows no backend and no contract. The suites themselves stand in the crates whose traits they hold.

mod check;
mod drops;
mod executor;
mod report;

pub use check::{Checked, Failure, equal, holds, only, some};
pub use drops::Drops;
pub use executor::{Run, at_most, block_on, race, within};
pub use report::{Line, Report, Verdict};
