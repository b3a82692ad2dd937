//! Building, and the services of one tenant.

use std::{fmt, sync::Arc};

use txn_change::{Link, Tenant, Timestamp};
use txn_core::payment::PostingRules;
use txn_store::{Scope, StoreAdmin};

use crate::{
    audit::{self, Report},
    decide::Decider,
    gateway::Gateway,
    inventory::Inventory,
    ledger::Ledger,
    orders::Orders,
    payments::Payments,
    returns::Returns,
    timers::Timers,
};

/// The whole assembly. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Txn {
    parts: Arc<Parts>,
}

pub(crate) struct Parts {
    pub(crate) store: Arc<dyn StoreAdmin>,
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) rules: PostingRules,
    attempts_max: u32,
}

/// Builds a [`Txn`].
pub struct Builder {
    parts: Parts,
}

impl Builder {
    /// Which accounts payments post to.
    #[must_use]
    pub fn posting_rules(mut self, rules: PostingRules) -> Self {
        self.parts.rules = rules;
        self
    }

    /// How often a decision is made again when what it read has changed; 32 unless said otherwise, at least once.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.parts.attempts_max = attempts.max(1);
        self
    }

    /// Finishes.
    #[must_use]
    pub fn build(self) -> Txn {
        Txn { parts: Arc::new(self.parts) }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("rules", &self.parts.rules).finish_non_exhaustive()
    }
}

impl Txn {
    /// Begins to build over a store and a payment gateway.
    #[must_use]
    pub fn builder(store: Arc<dyn StoreAdmin>, gateway: Arc<dyn Gateway>) -> Builder {
        Builder { parts: Parts { store, gateway, rules: PostingRules::default(), attempts_max: 32 } }
    }

    /// The store behind everything.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn StoreAdmin> {
        &self.parts.store
    }

    /// The services of one tenant.
    #[must_use]
    pub fn tenant(&self, tenant: Tenant) -> Services {
        let store: Arc<dyn txn_store::Store> = Arc::clone(&self.parts.store) as _;
        let decider = Decider {
            scope: Scope::of_services(store, tenant),
            attempts_max: self.parts.attempts_max,
            effective_at: None,
        };
        Services { parts: Arc::clone(&self.parts), decider }
    }

    /// Checks every invariant over the whole store.
    ///
    /// # Errors
    /// As [`audit::verify`].
    pub async fn verify(&self) -> Result<Report, txn_store::Error> {
        audit::verify(&*self.parts.store).await
    }

    /// Checks every invariant over the whole store, and that the chain still holds a link that was kept.
    ///
    /// # Errors
    /// As [`audit::verify_since`].
    pub async fn verify_since(&self, kept: Link) -> Result<Report, txn_store::Error> {
        audit::verify_since(&*self.parts.store, kept).await
    }
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Txn").field("rules", &self.parts.rules).finish_non_exhaustive()
    }
}

/// The services of one tenant. A call that carries a request's id decides on one snapshot, commits one change, and gives its first answer when it is
/// repeated. A payment's operations take two commits around the gateway.
#[derive(Clone)]
pub struct Services {
    pub(crate) parts: Arc<Parts>,
    pub(crate) decider: Decider,
}

impl Services {
    /// The same services, whose changes count from `time` on instead of now: for what happened earlier.
    #[must_use]
    pub fn effective_at(&self, time: Timestamp) -> Self {
        let decider = Decider { effective_at: Some(time), ..self.decider.clone() };
        Self { parts: Arc::clone(&self.parts), decider }
    }

    /// The tenant's store, for reading, for a host's own records, and to settle the id of a [`crate::Failure::Unknown`] with [`Scope::resolve`].
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::new(Arc::clone(self.decider.scope.store()), self.decider.scope.tenant().clone())
    }

    /// Orders.
    #[must_use]
    pub fn orders(&self) -> Orders<'_> {
        Orders { services: self }
    }

    /// Stock.
    #[must_use]
    pub fn inventory(&self) -> Inventory<'_> {
        Inventory { services: self }
    }

    /// Payments.
    #[must_use]
    pub fn payments(&self) -> Payments<'_> {
        Payments { services: self }
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger { services: self }
    }

    /// Returns.
    #[must_use]
    pub fn returns(&self) -> Returns<'_> {
        Returns { services: self }
    }

    /// Timers.
    #[must_use]
    pub fn timers(&self) -> Timers<'_> {
        Timers { services: self }
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("tenant", self.decider.scope.tenant()).finish_non_exhaustive()
    }
}
