//! Postings: transfers are found by what they say, reversals add up, and closed periods stay as they are.

use std::collections::HashMap;

use txn_change::{Entry, Event, Key, Timestamp};
use txn_core::{
    id::TransferId,
    ledger::{Period, Reversed, Transferred, period_key, reversal_key},
};

use super::report::{Findings, Rule};

/// What is kept of the postings of one tenant.
#[derive(Default)]
pub(super) struct Postings {
    /// How often, and by how much, each transfer was reversed.
    reversals: HashMap<TransferId, (u32, i128)>,
    closed_until: Option<Timestamp>,
    is_period_read: bool,
}

impl Postings {
    /// Judges entries by the periods that were closed before.
    pub(super) fn entries(&self, findings: &mut Findings<'_>, entries: &[Entry]) {
        let Some(until) = self.closed_until else { return };
        // What counts when it is committed never says so, and may have been on its way while the period was closed.
        for entry in
            entries.iter().filter(|entry| entry.effective_at < until && entry.effective_at != entry.recorded_at)
        {
            let subject = format_args!("entry {} of {}", entry.sequence, entry.counter);
            findings.add(Rule::PeriodKept, subject, format_args!("{until} or later"), entry.effective_at);
        }
    }

    pub(super) fn transferred(&mut self, findings: &mut Findings<'_>, event: &Event, fact: &Transferred) {
        let subject = format_args!("transfer {}", fact.id);
        let expected = fact.terms();
        for term in expected.iter().filter(|term| !event.terms.contains(term)) {
            findings.add(Rule::TransferIndexed, subject, term, "none");
        }
        for term in event.terms.iter().filter(|term| !expected.contains(term)) {
            findings.add(Rule::TransferIndexed, subject, "no term beside its own", term);
        }
        if let Some(reversed) = &fact.reverses {
            let (count, sum) = self.reversals.entry(reversed.clone()).or_default();
            *count = count.saturating_add(1);
            // Of a transfer of two legs each of them says it.
            *sum = sum.saturating_add(fact.posted.first().map_or(0, |posting| posting.amount.minor()));
        }
    }

    pub(super) fn period_closed(&mut self, until: Timestamp) {
        self.closed_until = Some(until.max(self.closed_until.unwrap_or(Timestamp::MIN)));
    }

    pub(super) fn period(&mut self, findings: &mut Findings<'_>, key: &Key, period: Period) {
        self.is_period_read = true;
        if self.closed_until != Some(period.closed_until) {
            let expected = self.closed_until.map_or_else(|| "no closed period".to_owned(), |until| until.to_string());
            findings.add(Rule::PeriodKept, key, expected, period.closed_until);
        }
    }

    pub(super) fn reversed(&mut self, findings: &mut Findings<'_>, key: &Key, version: u64, record: &Reversed) {
        let rule = Rule::ReversalsAddUp;
        let (count, sum) = self.reversals.remove(&record.transfer).unwrap_or_default();
        findings.same(Rule::VersionCounts, key, "version", u64::from(record.count), version);
        findings.same(rule, key, "reversals", count, record.count);
        match (record.whole, record.amount) {
            (Some(whole), Some(amount)) => {
                findings.same(rule, key, "reversed", sum, amount.minor());
                if amount.minor() > whole.minor() {
                    findings.add(rule, key, format_args!("{whole} at most"), amount);
                }
            }
            (None, None) => findings.same(rule, key, "reversals in full", 1, record.count),
            _ => findings.add(rule, key, "an amount and the whole of it, or neither", "one of them"),
        }
    }

    /// Ends the reading.
    pub(super) fn close(self, findings: &mut Findings<'_>) {
        if let Some(until) = self.closed_until.filter(|_| !self.is_period_read) {
            findings.add(Rule::PeriodKept, period_key(), until, "no record of it");
        }
        for (transfer, (count, _)) in self.reversals {
            let found = format_args!("none, and {count} reversals");
            findings.add(Rule::ReversalsAddUp, reversal_key(&transfer), "a record of what was reversed", found);
        }
    }
}
