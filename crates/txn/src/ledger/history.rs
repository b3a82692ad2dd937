//! The entries and dated transfers of one account, read as they were at one point: what is committed meanwhile is not seen.

use std::{cmp::Ordering, collections::HashSet};

use txn_change::{ChangeId, Entry, Key, Lanes, Timestamp};
use txn_core::{
    id::{AccountId, TransferId},
    ledger::{self, Rejection, Transferred, dated_transfers_of},
    money::Currency,
};
use txn_store::{Found, Query, Range, Scope};

use super::Ledger;
use crate::failure::Failure;

/// Rows read at once.
pub(super) const PAGE: usize = 256;

/// The history of one account up to one of its entries.
pub(super) struct History<'a> {
    scope: &'a Scope,
    account: &'a AccountId,
    pub(super) currency: Currency,
    counter: Key,
    /// The last entry that is seen; 0 for none.
    pub(super) last: u64,
    /// When that was recorded.
    pub(super) known: Timestamp,
}

/// What a dated transfer moved on the account.
pub(super) struct Dated {
    pub(super) transfer: TransferId,
    pub(super) change: ChangeId,
    pub(super) effective_at: Timestamp,
    pub(super) recorded_at: Timestamp,
    pub(super) moved: Lanes,
}

impl<'a> History<'a> {
    /// All that is committed now, or what of it was known at a time.
    pub(super) async fn of(
        ledger: &'a Ledger<'_>,
        account: &'a AccountId,
        currency: Currency,
        known: Option<Timestamp>,
    ) -> Result<Self, Failure> {
        let (scope, counter) = (&ledger.services.decider.scope, ledger::account_key(account, currency));
        let Some(row) = scope.counter(counter.clone()).await? else {
            let (account, currency) = (account.as_str().into(), currency.code().into());
            return Err(Failure::Rejected(Rejection::UnknownAccount { account, currency }.into()));
        };
        let mut history = Self { scope, account, currency, counter, last: row.sequence, known: Timestamp::MIN };
        if let Some(known) = known {
            history.last = history.first_not(|entry| entry.recorded_at <= known).await?;
        }
        let last = history.last;
        history.until(last).await
    }

    /// The same as it was behind one of its entries.
    pub(super) async fn until(mut self, last: u64) -> Result<Self, Failure> {
        self.last = last;
        self.known = self.entry(last).await?.map_or(Timestamp::MIN, |entry| entry.recorded_at);
        Ok(self)
    }

    async fn entry(&self, sequence: u64) -> Result<Option<Entry>, Failure> {
        let Some(before) = sequence.checked_sub(1) else { return Ok(None) };
        let query = Query::Entries { counter: self.counter.clone(), after: before };
        Ok(match self.scope.find(&query, None, 1).await?.items.pop() {
            Some(Found::Entry(entry)) => Some(entry),
            _ => None,
        })
    }

    /// The lanes behind an entry.
    pub(super) async fn lanes(&self, sequence: u64) -> Result<Lanes, Failure> {
        Ok(self.entry(sequence).await?.map_or(Lanes::ZERO, |entry| entry.after))
    }

    /// The last entry for which `is_before` holds, as it does for all before that one.
    async fn first_not(&self, is_before: impl Fn(&Entry) -> bool) -> Result<u64, Failure> {
        let (mut low, mut high) = (0, self.last);
        while low < high {
            // Upwards, so that it ends.
            let middle = high.saturating_sub(high.saturating_sub(low) / 2);
            if self.entry(middle).await?.is_some_and(|entry| is_before(&entry)) {
                low = middle;
            } else {
                high = middle.saturating_sub(1);
            }
        }
        Ok(low)
    }

    /// The last entry that was recorded before a time.
    pub(super) async fn recorded_before(&self, time: Timestamp) -> Result<u64, Failure> {
        self.first_not(|entry| entry.recorded_at < time).await
    }

    /// A page of entries behind one, up to another.
    pub(super) async fn entries(&self, after: u64, until: u64, limit: usize) -> Result<Vec<Entry>, Failure> {
        let left = usize::try_from(until.saturating_sub(after)).unwrap_or(usize::MAX).min(limit);
        if left == 0 {
            return Ok(Vec::new());
        }
        let query = Query::Entries { counter: self.counter.clone(), after };
        let entry = |found| match found {
            Found::Entry(entry) => Some(entry),
            _ => None,
        };
        Ok(self.scope.find(&query, None, left).await?.items.into_iter().filter_map(entry).collect())
    }

    /// A page of what dated transfers have moved, by when it counts, then by transfer: from an instant or behind one of them, before another instant. The instant and transfer behind which to go on is
    /// given back while there may be more.
    pub(super) async fn dated(
        &self,
        from: &From,
        until: Option<Timestamp>,
        limit: usize,
    ) -> Result<(Vec<Dated>, Option<From>), Failure> {
        let prefix = dated_transfers_of(self.account, self.currency);
        let mut range = Range::prefix(prefix.clone());
        range = match from {
            From::Start => range,
            From::Instant(time) => range.from(prefix.clone().time(*time)),
            From::Behind(time, transfer) => range.from(prefix.clone().time(*time).text(transfer)?),
        };
        if let Some(until) = until {
            range = range.until(prefix.time(until));
        }
        let page = self.scope.find(&Query::EventsByTerm(range), None, limit.saturating_add(1)).await?;
        let (mut moves, mut last) = (Vec::with_capacity(page.items.len()), None);
        let is_at_the_end = |found: &Found| matches!(found, Found::Event(fact) if fact.recorded_at == self.known);
        let at_the_end =
            if page.items.iter().any(is_at_the_end) { self.changes_at_the_end().await? } else { HashSet::new() };
        for found in page.items {
            let Found::Event(fact) = found else { continue };
            let record: Transferred = fact.event.body.read()?;
            let Some(effective_at) = record.effective_at else { continue };
            if matches!(from, From::Behind(time, transfer) if *time == effective_at && *transfer == record.id) {
                continue;
            }
            last = Some(From::Behind(effective_at, record.id.clone()));
            // What was committed since is passed over, and what counts when it was recorded is read with the entries.
            let is_later = match fact.recorded_at.cmp(&self.known) {
                Ordering::Less => false,
                Ordering::Equal => !at_the_end.contains(&fact.change),
                Ordering::Greater => true,
            };
            if is_later || effective_at == fact.recorded_at {
                continue;
            }
            let moved =
                record.moves().into_iter().find(|(id, currency, _)| *id == self.account && *currency == self.currency);
            if let Some((_, _, moved)) = moved {
                let Transferred { id: transfer, .. } = record;
                let (change, recorded_at) = (fact.change, fact.recorded_at);
                moves.push(Dated { transfer, change, effective_at, recorded_at, moved });
            }
        }
        Ok((moves, last.filter(|_| page.next.is_some())))
    }

    /// The changes of the entries that were recorded at the same instant as the last one that is seen: those behind it may have been as well.
    async fn changes_at_the_end(&self) -> Result<HashSet<ChangeId>, Failure> {
        let mut changes = HashSet::new();
        let mut after = self.recorded_before(self.known).await?;
        while after < self.last {
            let entries = self.entries(after, self.last, PAGE).await?;
            let Some(last) = entries.last().map(|entry| entry.sequence) else { break };
            changes.extend(entries.into_iter().map(|entry| entry.change));
            after = last;
        }
        Ok(changes)
    }

    /// The balance of all that counts before an instant; `None` for all.
    pub(super) async fn effective_before(&self, time: Option<Timestamp>) -> Result<Lanes, Failure> {
        let Some(time) = time else { return self.lanes(self.last).await };
        let base = self.recorded_before(time).await?;
        let mut sum = self.lanes(base).await?;
        // Recorded since, and counting before.
        if base < self.last {
            let mut from = Some(From::Start);
            while let Some(begin) = from {
                let (moves, next) = self.dated(&begin, Some(time), PAGE).await?;
                for dated in moves.iter().filter(|dated| dated.recorded_at >= time) {
                    sum = plus(sum, dated.moved)?;
                }
                from = next;
            }
        }
        // Recorded before, and counting later.
        if base > 0 {
            let mut from = Some(From::Instant(time));
            while let Some(begin) = from {
                let (moves, next) = self.dated(&begin, None, PAGE).await?;
                for dated in moves.iter().filter(|dated| dated.recorded_at < time) {
                    sum = plus(sum, Lanes(dated.moved.0.map(i128::saturating_neg)))?;
                }
                from = next;
            }
        }
        Ok(sum)
    }
}

/// Where a page of dated transfers begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    Start,
    Instant(Timestamp),
    Behind(Timestamp, TransferId),
}

/// The sum of balances, which no damage may saturate.
pub(super) fn plus(sum: Lanes, more: Lanes) -> Result<Lanes, Failure> {
    sum.checked_add(more).ok_or_else(|| Failure::Rejected(Rejection::Overflow.into()))
}
