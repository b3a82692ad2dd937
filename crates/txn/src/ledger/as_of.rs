//! Balances as of a time, on both axes: when a posting counts, and when it was recorded.

use txn_change::Timestamp;
use txn_core::{id::AccountId, ledger::Balance, money::Currency};

use super::{Ledger, history::History};
use crate::failure::Failure;

/// As of when a balance is asked for.
///
/// | effective | known | the balance of |
/// |---|---|---|
/// | none | none | everything that is committed |
/// | `E` | none | everything that counts at `E`, by all that is known now |
/// | none | `R` | everything that was committed at `R` |
/// | `E` | `R` | what a report as of `E` said when it was made at `R` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AsOf {
    /// Only what counts at this instant or before.
    pub effective: Option<Timestamp>,
    /// Only what was recorded at this instant or before, in the store's time.
    pub known: Option<Timestamp>,
}

impl AsOf {
    /// Everything.
    pub const NOW: Self = Self { effective: None, known: None };

    /// What counts at an instant or before.
    #[must_use]
    pub const fn effective(mut self, at: Timestamp) -> Self {
        self.effective = Some(at);
        self
    }

    /// What was recorded at an instant or before.
    #[must_use]
    pub const fn known(mut self, at: Timestamp) -> Self {
        self.known = Some(at);
        self
    }
}

impl Ledger<'_> {
    /// An account's balance as of a time, on either axis or both; zero before its first posting. Exact, whatever was posted back or ahead of its time, and however much has been posted since.
    ///
    /// A balance by the time of record is found in the entries by halving. One by the time of effect reads, beyond that, every transfer over the account that says when it counts.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use std::sync::Arc;
    /// # use txn::{AsOf, core::{id::{AccountId, TransferId}, ledger::{NormalSide, Transfer}, money::{Currency, Money}}, store::memory::Memory, InertGateway, Tenant, Txn};
    /// # pollster::block_on(async {
    /// # let shop = Txn::builder(Arc::new(Memory::new()), Arc::new(InertGateway::default())).build().tenant(Tenant::default());
    /// # shop.ledger().open_payment_accounts(Currency::USD).await?;
    /// let (gateway, sales) = (AccountId::new("assets:gateway")?, AccountId::new("income:sales")?);
    /// let sale = |id: &str| Ok::<_, Box<dyn std::error::Error>>(
    ///     Transfer::simple(TransferId::new(id)?, gateway.clone(), sales.clone(), Money::from_minor(100, Currency::USD)));
    /// let now = shop.ledger().transfer(&sale("s-1")?).await?.recorded_at();
    /// let may = "2020-05-31T12:00:00Z".parse()?;
    /// shop.effective_at(may).ledger().transfer(&sale("s-2")?).await?;
    ///
    /// let balance = |as_of| async move { shop.ledger().balance_as_of(&sales, Currency::USD, as_of).await };
    /// let of_may = balance(AsOf::NOW.effective(may)).await?;
    /// assert_eq!(of_may.posted(NormalSide::Credit), Money::from_minor(100, Currency::USD));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `UnknownAccount`. [`Failure::Unreadable`] when a dated transfer over the account was erased.
    pub async fn balance_as_of(
        &self,
        account: &AccountId,
        currency: Currency,
        as_of: AsOf,
    ) -> Result<Balance, Failure> {
        let history = History::of(self, account, currency, as_of.known).await?;
        let behind = as_of.effective.map(|time| time.as_nanos().checked_add(1).map(Timestamp::from_nanos));
        // Nothing counts behind the last instant.
        let lanes = history.effective_before(behind.flatten()).await?;
        Ok(Balance { currency, lanes })
    }
}
