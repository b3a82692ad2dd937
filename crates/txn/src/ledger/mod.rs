//! The ledger of one tenant.

mod accounts;
mod chart;
mod holds;
mod sweep;
mod transfers;

use txn_change::Refusal;
use txn_core::ledger;

pub use accounts::{AccountHistory, Standing};
pub use chart::{AccountBalance, BALANCES_MAX, RolledUp};
pub(crate) use sweep::Sweep;

use crate::{failure::Rejection, services::Services};

/// The ledger of one tenant.
#[derive(Debug, Clone, Copy)]
pub struct Ledger<'a> {
    pub(crate) services: &'a Services,
}

/// What the evaluator's refusal means to a ledger.
pub(crate) fn explain(refusal: &Refusal) -> Option<Rejection> {
    ledger::explain(refusal).map(Rejection::Ledger)
}
