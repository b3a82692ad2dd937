//! Counters: each is the fold of its entries, within its lanes and guards; what a class conserves adds up.

use std::collections::{BTreeMap, HashMap};

use txn_change::{ChangeId, Counter, Entry, Key, Lanes, Opening, Segment, Status, Timestamp};
use txn_core::{
    inventory::{self, STOCK_KIND},
    ledger::LEDGER_KIND,
};

use super::report::{Findings, Rule};

/// What is known of one counter.
#[derive(Default)]
pub(super) struct Fold {
    sequence: u64,
    recorded_at: Option<Timestamp>,
    pub(super) lanes: Lanes,
    /// What the facts about it add up to; kept for our own kinds.
    pub(super) facts: Lanes,
    /// How many changes have touched it, and the last of them.
    changes: u64,
    last: Option<ChangeId>,
    was_short: bool,
    is_stored: bool,
    /// How a balance was opened, or is limited now.
    opening: Option<Opening>,
    status: Option<Status>,
    /// Where the lanes stood when the guards were last set.
    limited_at: Option<Lanes>,
}

/// The counters of one tenant.
#[derive(Default)]
pub(super) struct Counters {
    folds: HashMap<Key, Fold>,
    /// Conserved sums over all counters, by class, unit and weights.
    totals: BTreeMap<(String, String, [i8; 4]), Option<i128>>,
}

/// Pending and posted debits less credits, per currency.
const BALANCES: [[i8; 4]; 2] = [[1, 0, -1, 0], [0, 1, 0, -1]];

impl Counters {
    pub(super) fn entries(&mut self, findings: &mut Findings<'_>, change: &ChangeId, entries: &[Entry]) {
        let mut balances: Vec<(String, [Option<i128>; 2])> = Vec::new();
        for entry in entries {
            self.entry(findings, change, entry);
            if let Some(currency) = currency_of(&entry.counter) {
                let place = balances.iter().position(|(known, _)| *known == currency).unwrap_or_else(|| {
                    balances.push((currency, [Some(0); 2]));
                    balances.len().saturating_sub(1)
                });
                let sums = balances.get_mut(place).map(|(_, sums)| sums).expect("found or just pushed");
                for (sum, weights) in sums.iter_mut().zip(BALANCES) {
                    *sum = sum.and_then(|sum| sum.checked_add(entry.delta.weighted(weights)?));
                }
            }
        }
        for (currency, sums) in balances {
            for (sum, what) in sums.into_iter().zip(["pending", "posted"]).filter(|(sum, _)| *sum != Some(0)) {
                let found = sum.map_or_else(|| "more than can be counted".into(), |sum| sum.to_string());
                let subject = format_args!("{what} {currency} in change {change}");
                findings.add(Rule::Conserved, subject, "debits less credits of 0", found);
            }
        }
    }

    fn entry(&mut self, findings: &mut Findings<'_>, change: &ChangeId, entry: &Entry) {
        let fold = self.fold(&entry.counter);
        if fold.sequence.checked_add(1) != Some(entry.sequence) {
            let next = fold.sequence.saturating_add(1);
            let found = format_args!("{} in change {change}", entry.sequence);
            findings.add(Rule::EntriesGapless, &entry.counter, format_args!("entry {next}"), found);
        } else if fold.lanes.checked_add(entry.delta) != Some(entry.after) {
            let subject = format_args!("entry {} of {}", entry.sequence, entry.counter);
            let expected = format_args!("{:?} and {:?}", fold.lanes.0, entry.delta.0);
            findings.add(Rule::EntriesAdd, subject, expected, format_args!("{:?}", entry.after.0));
        }
        if let Some(before) = fold.recorded_at.filter(|before| *before > entry.recorded_at) {
            let subject = format_args!("entry {} of {}", entry.sequence, entry.counter);
            findings.add(Rule::EntriesInTime, subject, format_args!("{before} or later"), entry.recorded_at);
        }
        // Go on from what is stored: one damaged entry is named once.
        fold.recorded_at = Some(entry.recorded_at);
        fold.sequence = entry.sequence;
        fold.lanes = entry.after;
        fold.was_short |= entry.short;
        if fold.last.as_ref() != Some(change) {
            fold.last = Some(change.clone());
            fold.changes = fold.changes.saturating_add(1);
        }
    }

    fn fold(&mut self, key: &Key) -> &mut Fold {
        if !self.folds.contains_key(key) {
            self.folds.insert(key.clone(), Fold::default());
        }
        self.folds.get_mut(key).expect("inserted above")
    }

    /// What the entries of a counter have come to; nothing when there are none.
    pub(super) fn get(&self, key: &Key) -> Option<&Fold> {
        self.folds.get(key)
    }

    /// Adds what a fact says of a counter.
    pub(super) fn fact(&mut self, findings: &mut Findings<'_>, key: &Key, delta: Lanes) {
        let fold = self.fold(key);
        match fold.facts.checked_add(delta) {
            Some(sum) => fold.facts = sum,
            None => {
                findings.add(Rule::FactsAreEntries, key, "amounts that can be added", format_args!("{:?}", delta.0))
            }
        }
    }

    pub(super) fn row(&mut self, findings: &mut Findings<'_>, key: &Key, counter: &Counter) {
        for weights in counter.class.conserves.iter().flatten() {
            let place = (counter.class.name.clone(), counter.unit.to_string(), *weights);
            let total = self.totals.entry(place).or_insert(Some(0));
            *total = total.and_then(|total| total.checked_add(counter.lanes.weighted(*weights)?));
        }
        for (lane, _) in counter.lanes.0.iter().zip(counter.class.signed).filter(|(lane, signed)| **lane < 0 && !signed)
        {
            findings.add(Rule::LaneNotNegative, key, "0 or more", lane);
        }
        let fold = self.fold(key);
        fold.is_stored = true;
        let (sequence, lanes, changes, was_short) = (fold.sequence, fold.lanes, fold.changes, fold.was_short);
        let limited_at = fold.limited_at;
        if counter.version < changes.max(1) {
            let expected = format_args!("version {} or more", changes.max(1));
            findings.add(Rule::CounterSound, key, expected, counter.version);
        }
        if counter.class.history {
            findings.same(Rule::CounterIsLastEntry, key, "sequence", sequence, counter.sequence);
            findings.same_name(Rule::CounterIsLastEntry, key, "lanes", lanes.0, counter.lanes.0);
        } else if sequence != 0 {
            findings.add(Rule::CounterSound, key, "no entries, as its class keeps none", format_args!("{sequence}"));
        }
        // A host may set other guards at any time, whatever the lanes are then; ours tell when they do.
        if is_ours(key) && !was_short {
            for guard in counter.guards.iter().flatten() {
                // A limit that was set below the balance binds from there on: it may not have become worse.
                let then = limited_at.and_then(|lanes| guard.value(lanes)).unwrap_or(guard.min);
                if guard.value(counter.lanes).is_none_or(|value| value < guard.min.min(then)) {
                    let expected = format_args!("{:?} of the lanes at least {}", guard.weights, guard.min);
                    findings.add(Rule::GuardHolds, key, expected, format_args!("{:?}", counter.lanes.0));
                }
            }
        }
        self.opening(findings, key, counter);
    }

    /// Class, unit and guards: those of stock are the same for every item, those of a balance are its account's to judge.
    fn opening(&mut self, findings: &mut Findings<'_>, key: &Key, counter: &Counter) {
        let stored = Opening { class: counter.class.clone(), unit: counter.unit.clone(), guards: counter.guards };
        if key.kind() == LEDGER_KIND.as_str() {
            let fold = self.fold(key);
            fold.opening = Some(stored);
            fold.status = Some(counter.status);
        } else if key.kind() == STOCK_KIND.as_str() {
            findings.same_name(Rule::CounterSound, key, "opening", &*inventory::opening(), &stored);
        }
    }

    /// Takes a ledger counter's opening, for its account to judge.
    pub(super) fn take_opening(&mut self, key: &Key) -> Option<Opening> {
        self.folds.get_mut(key).and_then(|fold| fold.opening.take())
    }

    /// The status of a ledger counter.
    pub(super) fn status(&self, key: &Key) -> Option<Status> {
        self.folds.get(key).and_then(|fold| fold.status)
    }

    /// Remembers where a counter stood when its guards were set.
    pub(super) fn limited(&mut self, key: &Key) {
        let fold = self.fold(key);
        fold.limited_at = Some(fold.lanes);
    }

    /// Balances that no account has taken.
    pub(super) fn untaken(&self) -> impl Iterator<Item = &Key> {
        self.folds.iter().filter(|(_, fold)| fold.opening.is_some()).map(|(key, _)| key)
    }

    pub(super) fn close(&self, findings: &mut Findings<'_>) {
        for (key, fold) in &self.folds {
            if !fold.is_stored {
                let expected = format_args!("a counter of {:?}", fold.lanes.0);
                findings.add(Rule::CounterExists, key, expected, "none");
            }
            if is_ours(key) {
                findings.same_name(Rule::FactsAreEntries, key, "facts of", fold.facts.0, fold.lanes.0);
            }
        }
        for ((class, unit, weights), total) in self.totals.iter().filter(|(_, total)| **total != Some(0)) {
            let found = total.map_or_else(|| "more than can be counted".into(), |total| total.to_string());
            let subject = format_args!("all {class} counters in {unit}");
            findings.add(Rule::Conserved, subject, format_args!("{weights:?} of the lanes to be 0"), found);
        }
    }
}

/// Whether facts say everything about the counter.
fn is_ours(key: &Key) -> bool {
    [LEDGER_KIND.as_str(), STOCK_KIND.as_str()].contains(&key.kind())
}

/// The currency of a balance; `None` for any other counter.
fn currency_of(key: &Key) -> Option<String> {
    if key.kind() != LEDGER_KIND.as_str() {
        return None;
    }
    match key.segments().pop() {
        Some(Segment::Text(currency)) => Some(currency),
        _ => None,
    }
}
