//! Which accounts a payment moves.

use serde::{Deserialize, Serialize};

use crate::id::AccountId;

/// The accounts that payments post to. Authorising holds `gateway` against `sales`; capturing posts it; refunding debits `refunds` and credits `gateway`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostingRules {
    /// What the gateway owes us: an asset.
    pub gateway: AccountId,
    /// What customers paid: income.
    pub sales: AccountId,
    /// What went back to them: set against income.
    pub refunds: AccountId,
}

impl Default for PostingRules {
    /// `assets:gateway`, `income:sales`, `income:refunds`.
    fn default() -> Self {
        let account = |name| AccountId::new(name).expect("a fixed name of allowed characters");
        Self { gateway: account("assets:gateway"), sales: account("income:sales"), refunds: account("income:refunds") }
    }
}
