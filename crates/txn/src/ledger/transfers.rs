//! Transfers: posted at once.

use txn_core::{
    Context,
    ledger::{self, Transfer, Transferred},
};
use txn_store::Snapshot;

use super::{Ledger, explain};
use crate::{decide::Done, failure::Failure};

impl Ledger<'_> {
    /// Posts a transfer. Its id is the request's id.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: an unsound transfer, an unknown account, insufficient funds.
    pub async fn transfer(&self, command: &Transfer) -> Result<Done<Transferred>, Failure> {
        let decide = |context: &Context, _: &Snapshot| Ok(ledger::transfer(context, command)?);
        self.services.decider.run("ledger.transfer", &command.id, command, |ask| ask, decide, explain).await
    }
}
