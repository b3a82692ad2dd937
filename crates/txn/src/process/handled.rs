//! What became of an event that was handled.

use serde::{Deserialize, Serialize};
use txn_change::Document;

use super::record::{Phase, documents};

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ending {
    /// It was applied. `from` is missing when it began the instance.
    Applied {
        /// The state before.
        from: Option<String>,
        /// The state after.
        to: String,
    },
    /// It was dropped, as the table says.
    Ignored,
    /// It waits: for the beginning, for another state, for a person, or for a build that knows the instance's version. It is applied later, and needs not be brought again.
    Deferred,
    /// It was refused.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// The answer to an event, the same however often it is brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Handled {
    /// What became of it.
    pub ending: Ending,
    /// Where the instance was then.
    pub phase: Phase,
}

documents! {
    Handled => "process.handled", 1;
}
