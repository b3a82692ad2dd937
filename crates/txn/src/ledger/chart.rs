//! The chart of accounts: balances of many accounts from one snapshot, and what they come to together.

use std::collections::BTreeSet;

use txn_change::{Counter, Kind, Segment, Status};
use txn_core::{
    id::AccountId,
    ledger::{self, Balance, LEDGER_KIND, Rejection},
    money::Currency,
};
use txn_store::{Found, Query, Range};

use super::Ledger;
use crate::failure::Failure;

/// Accounts of which the balances are read at once, at most.
pub const BALANCES_MAX: usize = 1_000;

/// The balance of one account among others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountBalance {
    /// The account.
    pub account: AccountId,
    /// Whether it takes postings.
    pub status: Status,
    /// Its balance.
    pub balance: Balance,
}

/// An account and all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RolledUp {
    /// What all of them come to.
    pub total: Balance,
    /// Each of them, by id.
    pub accounts: Vec<AccountBalance>,
}

/// A page of children.
const CHILDREN_PAGE: usize = 256;

impl Ledger<'_> {
    /// The balance of an account with all that stand below it, from one snapshot: a transfer between two of them is in both or in neither. `None` when there is no such
    /// account.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `TooManyAccounts` beyond [`BALANCES_MAX`], `Overflow` for a sum beyond 128 bits. [`Failure::Conflict`] when accounts are opened below it faster
    /// than they can be found.
    pub async fn rolled_up(&self, account: &AccountId, currency: Currency) -> Result<Option<RolledUp>, Failure> {
        let decider = &self.services.decider;
        let mut known = self.below(account, currency).await?;
        for _ in 0..decider.attempts_max {
            let mut ask = decider.scope.ask();
            ask.counters = known.iter().map(|id| ledger::account_key(id, currency)).collect();
            let snapshot = decider.scope.get(ask).await?;
            // Accounts are only ever added. When those found after the snapshot are those found before, they were all there are in it.
            let again = self.below(account, currency).await?;
            if again == known {
                return sum(currency, known.into_iter().zip(snapshot.counters));
            }
            known = again;
        }
        Err(Failure::Conflict { attempts: decider.attempts_max })
    }

    /// The ids of an account and all below it.
    async fn below(&self, account: &AccountId, currency: Currency) -> Result<BTreeSet<AccountId>, Failure> {
        let scope = &self.services.decider.scope;
        let mut known = BTreeSet::from([account.clone()]);
        let mut open = vec![account.clone()];
        while let Some(parent) = open.pop() {
            let query = Query::RecordsByTerm(Range::prefix(ledger::children_of(&parent, currency)));
            let mut after = None;
            loop {
                let page = scope.find(&query, after.as_ref(), CHILDREN_PAGE).await?;
                for found in page.items {
                    if let Found::Record(key, _) = found
                        && let Some(Segment::Text(id)) = key.segments().into_iter().next()
                    {
                        let child = AccountId::new(id)?;
                        if known.insert(child.clone()) {
                            open.push(child);
                        }
                    }
                }
                if known.len() > BALANCES_MAX {
                    return Err(too_many());
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(known)
    }

    /// The balances of all accounts whose ids begin with a text, in every currency, by id and currency, from one snapshot. An empty text begins every id.
    ///
    /// The text is not a path: `assets` begins `assets:cash` and `assetsheld`; `assets:` begins the first only.
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `TooManyAccounts` beyond [`BALANCES_MAX`].
    pub async fn balances(&self, prefix: &str) -> Result<Vec<AccountBalance>, Failure> {
        let query = Query::Counters(ids_that_begin_with(LEDGER_KIND, prefix)?);
        // One page is one snapshot.
        let page = self.services.decider.scope.find(&query, None, BALANCES_MAX).await?;
        if page.next.is_some() {
            return Err(too_many());
        }
        let mut balances = Vec::with_capacity(page.items.len());
        for found in page.items {
            if let Found::Counter(key, counter) = found
                && let Some((account, currency)) = ledger::account_prefix(&key)
                && let Ok(currency) = Currency::from_code(&currency)
            {
                balances.push(balance(AccountId::new(account)?, &counter, currency));
            }
        }
        Ok(balances)
    }
}

fn ids_that_begin_with(kind: Kind, prefix: &str) -> Result<Range, Failure> {
    let mut bytes = txn_change::Key::of(kind).text(prefix)?.prefix();
    // Without the end of the text, it may go on.
    bytes.pop();
    Ok(Range { prefix: bytes, from: None, until: None })
}

fn too_many() -> Failure {
    Failure::Rejected(Rejection::TooManyAccounts { max: BALANCES_MAX }.into())
}

fn balance(account: AccountId, counter: &Counter, currency: Currency) -> AccountBalance {
    AccountBalance { account, status: counter.status, balance: Balance::of(counter, currency) }
}

fn sum(
    currency: Currency,
    counters: impl Iterator<Item = (AccountId, Option<Counter>)>,
) -> Result<Option<RolledUp>, Failure> {
    let (mut total, mut accounts) = (Balance::zero(currency), Vec::new());
    for (account, counter) in counters {
        // Children stand below accounts that exist, so that an absent one is the account asked for, alone.
        let Some(counter) = counter else { return Ok(None) };
        let balance = balance(account, &counter, currency);
        total = total.try_add(balance.balance).map_err(|rejection| Failure::Rejected(rejection.into()))?;
        accounts.push(balance);
    }
    Ok(Some(RolledUp { total, accounts }))
}
