//! Reversals and corrections: what is wrong stays, and what makes it right is found from it.

use txn_change::KeyBuilder;
use txn_core::{
    Context,
    id::TransferId,
    ledger::{self, Effective, Rejection, Reverse, Transferred, original_date},
};
use txn_store::{Ask, Cursor, Found, Query, Range, Snapshot};

use super::{Ledger, explain};
use crate::{
    decide::{Done, Stop, check_open, versioned},
    failure::Failure,
};

impl Ledger<'_> {
    /// Reverses a posted transfer, or a part of one of two legs: by a transfer of the opposite legs that is linked to it. In all, no more is reversed than was posted.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use std::sync::Arc;
    /// # use txn::{core::{id::{AccountId, TransferId}, ledger::{Reverse, Transfer}, money::{Currency, Money}}, store::memory::Memory, InertGateway, Tenant, Txn};
    /// # pollster::block_on(async {
    /// # let shop = Txn::builder(Arc::new(Memory::new()), Arc::new(InertGateway::default())).build().tenant(Tenant::default());
    /// # shop.ledger().open_payment_accounts(Currency::USD).await?;
    /// let (gateway, sales) = (AccountId::new("assets:gateway")?, AccountId::new("income:sales")?);
    /// let sale = TransferId::new("s-1")?;
    /// shop.ledger().transfer(&Transfer::simple(sale.clone(), gateway, sales, Money::from_minor(250, Currency::USD))).await?;
    /// shop.ledger().reverse(&Reverse::new(TransferId::new("undo-1")?, sale.clone())).await?;
    /// let again = shop.ledger().reverse(&Reverse::new(TransferId::new("undo-2")?, sale)).await;
    /// assert_eq!(again.unwrap_err().to_string(), "the transfer s-1 was reversed before");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `UnknownTransfer`, `IsReversal`, `AlreadyReversed`, `ExceedsTransfer`, `NotTwoLegged`; `InsufficientFunds` when the money is gone and it is not forced; `PeriodClosed`.
    pub async fn reverse(&self, command: &Reverse) -> Result<Done<Transferred>, Failure> {
        let is_dated = command.effective == Effective::Original;
        let fill = |ask: Ask| {
            let ask = ask.record(ledger::reversal_key(&command.transfer));
            let ask = ask.fact(ledger::transfer_fact(&command.transfer));
            if is_dated { ask.record(ledger::period_key()) } else { ask }
        };
        let decide = |context: &Context, snapshot: &Snapshot| {
            let fact = snapshot.facts.first().and_then(Option::as_ref);
            let unknown = || Rejection::UnknownTransfer { transfer: command.transfer.clone() };
            let fact = fact.ok_or_else(unknown)?;
            let original: Transferred = fact.event.body.read().map_err(Stop::Unreadable)?;
            if is_dated {
                let period = snapshot.records.get(1).and_then(Option::as_ref);
                check_open(period, original_date(&original, fact.recorded_at)).map_err(Stop::Failed)?;
            }
            Ok(ledger::reverse(context, (&original, fact.recorded_at), versioned(snapshot, 0)?.as_ref(), command)?)
        };
        self.services.decider.run("ledger.reverse", &command.id, command, fill, decide, explain).await
    }

    /// The transfers that reverse another, in whole or in part: at most `limit`, behind the cursor, in the order of commit.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn reversals(
        &self,
        transfer: &TransferId,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<Transferred>, Option<Cursor>), Failure> {
        self.linked(ledger::reversals_of(transfer), after, limit).await
    }

    /// The transfers that say that they correct another: at most `limit`, behind the cursor, in the order of commit.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn corrections(
        &self,
        transfer: &TransferId,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<Transferred>, Option<Cursor>), Failure> {
        self.linked(ledger::corrections_of(transfer), after, limit).await
    }

    async fn linked(
        &self,
        prefix: KeyBuilder,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<Transferred>, Option<Cursor>), Failure> {
        let query = Query::EventsByTerm(Range::prefix(prefix));
        let page = self.services.decider.scope.find(&query, after, limit).await?;
        let mut transfers = Vec::with_capacity(page.items.len());
        for found in page.items {
            if let Found::Event(fact) = found {
                transfers.push(fact.event.body.read()?);
            }
        }
        Ok((transfers, page.next))
    }
}
