//! Holds that have run out do not eat funds: whatever change they stand in the way of gives them back first, in the same commit.

use std::ops::Range;

use txn_change::{Change, Key, Refusal, Timestamp};
use txn_core::{
    Context, Versioned,
    ledger::{self, Hold},
};
use txn_store::{Ask, Found, Query, Range as Keys, Scope, Snapshot};

use crate::{
    decide::{Stop, versioned},
    failure::Failure,
};

/// Holds that are found at once, before a change is judged again.
const SWEEP_PAGE: usize = 64;
/// Holds that one change sweeps on its way, at most; beyond, it waits for the timers.
const SWEEP_MAX: usize = 512;

/// The holds that one call gives back on its way.
#[derive(Default)]
pub(crate) struct Sweep(Vec<Key>);

impl Sweep {
    /// Asks for them behind what a decision reads itself; says where they stand in the snapshot.
    pub(crate) fn ask(&self, ask: &mut Ask) -> Range<usize> {
        let first = ask.records.len();
        // What the decision reads itself is its own to put.
        let others: Vec<Key> = self.0.iter().filter(|key| !ask.records.contains(key)).cloned().collect();
        ask.records.extend(others);
        first..ask.records.len()
    }

    /// Joins what has run out of them to the decision's change.
    pub(crate) fn join(
        context: &Context,
        snapshot: &Snapshot,
        swept: Range<usize>,
        change: Change,
    ) -> Result<Change, Stop> {
        if swept.is_empty() {
            return Ok(change);
        }
        let mut holds: Vec<Versioned<Hold>> = Vec::with_capacity(swept.len());
        for index in swept {
            holds.extend(versioned(snapshot, index)?);
        }
        Ok(ledger::sweep(context, change, &holds)?)
    }

    /// Finds holds that have run out on the account whose limit refused a change, in the order in which they did; says whether there were any that are not known yet.
    pub(crate) async fn find_due(&mut self, scope: &Scope, refusal: &Refusal) -> Result<bool, Failure> {
        let Refusal::GuardBroken { counter, .. } = refusal else { return Ok(false) };
        let Some((account, currency)) = ledger::account_prefix(counter) else { return Ok(false) };
        self.find_due_of(scope, &account, &currency).await
    }

    /// The same, of an account.
    pub(crate) async fn find_due_of(&mut self, scope: &Scope, account: &str, currency: &str) -> Result<bool, Failure> {
        let due = ledger::due_prefix(account, currency)?;
        let now = scope.get(scope.ask()).await?.now;
        let until = Timestamp::from_nanos(now.as_nanos().saturating_add(1));
        let query = Query::RecordsByTerm(Keys::prefix(due.clone()).until(due.time(until)));
        let (known, mut after) = (self.0.len(), None);
        // Pages of holds that are swept already are passed over, until there is one with others.
        while self.0.len() == known && known < SWEEP_MAX {
            let page = scope.find(&query, after.as_ref(), SWEEP_PAGE).await?;
            for found in page.items {
                if let Found::Record(key, _) = found
                    && !self.0.contains(&key)
                {
                    self.0.push(key);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(self.0.len() > known)
    }
}
