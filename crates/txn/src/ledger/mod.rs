//! The ledger of one tenant.

mod accounts;
mod as_of;
mod chart;
mod history;
mod holds;
mod periods;
mod reversal;
mod statement;
mod sweep;
mod transfers;

use txn_change::Refusal;
use txn_core::ledger;

pub use accounts::{AccountHistory, Standing};
pub use as_of::AsOf;
pub use chart::{AccountBalance, BALANCES_MAX, RolledUp};
pub use statement::{Axis, Line, Statement, StatementOf};
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
