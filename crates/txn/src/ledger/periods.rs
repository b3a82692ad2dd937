//! Periods: closed one after the other, and never opened again.

use txn_change::Timestamp;
use txn_core::{
    Context,
    ledger::{self, ClosePeriod, Period},
};
use txn_store::{Ask, Snapshot};

use super::{Ledger, explain};
use crate::{
    decide::{Done, versioned},
    failure::Failure,
};

impl Ledger<'_> {
    /// Closes everything before an instant that has come: from then on, whatever says that it counts before it is refused, by every service of the tenant.
    /// What does not say when it counts is not concerned. A closed period stays closed.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use std::sync::Arc;
    /// # use txn::{change::Timestamp, core::{id::{AccountId, TransferId}, ledger::{ClosePeriod, Transfer}, money::{Currency, Money}}, store::memory::Memory, InertGateway, Tenant, Txn};
    /// # pollster::block_on(async {
    /// # let shop = Txn::builder(Arc::new(Memory::new()), Arc::new(InertGateway::default())).build().tenant(Tenant::default());
    /// # shop.ledger().open_payment_accounts(Currency::USD).await?;
    /// let until: Timestamp = "2020-01-01T00:00:00Z".parse()?;
    /// shop.ledger().close_period(&ClosePeriod { until }).await?;
    /// let (gateway, sales) = (AccountId::new("assets:gateway")?, AccountId::new("income:sales")?);
    /// let sale = Transfer::simple(TransferId::new("s-1")?, gateway, sales, Money::from_minor(250, Currency::USD));
    /// let late = shop.effective_at("2019-12-31T23:00:00Z".parse()?);
    /// assert!(late.ledger().transfer(&sale).await.is_err());
    /// assert!(shop.effective_at(until).ledger().transfer(&sale).await.is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `PeriodNotOver`, `PeriodClosed` when it is closed further already.
    pub async fn close_period(&self, command: &ClosePeriod) -> Result<Done<Period>, Failure> {
        let decide = |context: &Context, snapshot: &Snapshot| {
            Ok(ledger::close_period(context, versioned(snapshot, 0)?.as_ref(), command)?)
        };
        let fill = |ask: Ask| ask.record(ledger::period_key());
        let key = command.until.as_nanos().to_string();
        self.services.decider.run("ledger.close-period", &key, command, fill, decide, explain).await
    }

    /// Until when periods are closed; `None` when none ever was.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn closed_until(&self) -> Result<Option<Timestamp>, Failure> {
        let record = self.services.decider.scope.record(ledger::period_key()).await?;
        let period: Option<Period> = record.map(|record| record.body.read()).transpose()?;
        Ok(period.map(|period| period.closed_until))
    }
}
