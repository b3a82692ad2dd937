//! The ledger of one tenant.

mod accounts;
mod holds;
mod transfers;

use txn_change::Refusal;
use txn_core::ledger;

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
