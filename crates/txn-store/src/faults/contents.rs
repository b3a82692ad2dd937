//! Everything that a store exports, held together: the chain, the digests, the entries and the guards. None of it knows the workload.

use std::collections::BTreeMap;

use txn_change::{ChangeId, Counter, Entry, GroupDigest, Key, Link, Record, Stored, Tenant};

use crate::{
    admin::{Row, StoreAdmin},
    error::Error,
    store::Recorded,
};

/// A committed change with what it left behind.
pub(super) struct Committed {
    pub(super) stored: Stored,
    pub(super) entries: Vec<Entry>,
    pub(super) events: Vec<Recorded>,
}

/// A store, read whole.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) commits: BTreeMap<(Tenant, ChangeId), Committed>,
    pub(super) records: BTreeMap<(Tenant, Key), Record>,
    pub(super) links: BTreeMap<u64, Link>,
    pub(super) unchained: u64,
    counters: BTreeMap<(Tenant, Key), Counter>,
    entries: BTreeMap<(Tenant, Key), Vec<Entry>>,
    pub(super) violations: Vec<String>,
}

/// Rows read at once.
const ROWS: usize = 500;

impl Contents {
    /// Reads everything, and finds what does not fit together.
    pub(super) async fn read(store: &dyn StoreAdmin) -> Result<Self, Error> {
        let mut contents = Self::default();
        let mut export = store.export().await?;
        let (mut last, mut group) = (Link::START, GroupDigest::default());
        contents.links.insert(0, last);
        loop {
            let rows = export.next(ROWS).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                match row {
                    Row::Commit { tenant, id, stored, entries, events } => {
                        group.add(&tenant, &id, &stored.digest, stored.events);
                        contents.unchained = contents.unchained.saturating_add(1);
                        contents.commit(tenant, id, Committed { stored, entries, events });
                    }
                    Row::Link { link, .. } => {
                        let computed = last.next(&std::mem::take(&mut group).finish());
                        contents.unless(link == computed, || format!("link {} is not over its changes", link.number));
                        contents.links.insert(link.number, link);
                        (last, contents.unchained) = (link, 0);
                    }
                    Row::Counter { tenant, key, counter } => {
                        contents.counters.insert((tenant, key), counter);
                    }
                    Row::Record { tenant, key, record, indexed } => {
                        let mut stated = record.terms.clone();
                        let mut indexed = indexed;
                        stated.sort();
                        indexed.sort();
                        contents.unless(stated == indexed, || format!("{key} is indexed under {indexed:?}"));
                        contents.records.insert((tenant, key), record);
                    }
                    Row::Orphan { what } => contents.violations.push(what),
                    Row::Purged { .. } => {}
                }
            }
        }
        contents.add_up();
        contents.conserve();
        Ok(contents)
    }

    pub(super) fn unless(&mut self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(violation());
        }
    }

    fn commit(&mut self, tenant: Tenant, id: ChangeId, commit: Committed) {
        let Committed { stored, entries, events } = &commit;
        let counted = (u32::try_from(entries.len()), u32::try_from(events.len()));
        let is_counted = counted == (Ok(stored.entries), Ok(stored.events));
        let plain: Vec<_> = events.iter().map(|recorded| recorded.event.clone()).collect();
        let is_true = stored.proves(&id, entries, &plain);
        for entry in entries {
            self.entries.entry((tenant.clone(), entry.counter.clone())).or_default().push(entry.clone());
        }
        self.unless(is_counted, || format!("{id} has {counted:?} entries and events, and states others"));
        self.unless(is_true, || format!("{id} is not what its digest was made of"));
        let is_new = self.commits.insert((tenant, id.clone()), commit).is_none();
        self.unless(is_new, || format!("{id} is committed twice"));
    }

    /// The entries of a counter are without gaps, add up to it, and keep its guards.
    fn add_up(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        for ((tenant, key), mut entries) in entries {
            entries.sort_by_key(|entry| entry.sequence);
            let Some(counter) = self.counters.get(&(tenant.clone(), key.clone())).cloned() else {
                self.violations.push(format!("{key} has entries and does not exist"));
                continue;
            };
            let (mut sequence, mut lanes) = (0u64, txn_change::Lanes::ZERO);
            for entry in &entries {
                sequence = sequence.saturating_add(1);
                let after = lanes.checked_add(entry.delta);
                let is_next = entry.sequence == sequence && after == Some(entry.after);
                self.unless(is_next, || format!("entry {} of {key} does not follow from those before", entry.sequence));
                lanes = entry.after;
                let keeps = |guard: &txn_change::Guard| guard.value(lanes).is_some_and(|value| value >= guard.min);
                let is_kept = entry.short || counter.guards.iter().flatten().all(keeps);
                self.unless(is_kept, || format!("entry {} of {key} breaks a guard with {lanes:?}", entry.sequence));
            }
            let is_whole = (counter.sequence, counter.lanes) == (sequence, lanes);
            self.unless(is_whole, || format!("{key} is {:?}, its entries give {lanes:?}", counter.lanes));
        }
    }

    /// What a class conserves sums to zero over all of its counters.
    fn conserve(&mut self) {
        let mut sums: BTreeMap<(Tenant, String, String), [Option<i128>; 2]> = BTreeMap::new();
        for ((tenant, _), counter) in &self.counters {
            let name = (tenant.clone(), counter.class.name.clone(), counter.unit.to_string());
            let sums = sums.entry(name).or_insert([Some(0); 2]);
            for (sum, weights) in sums.iter_mut().zip(counter.class.conserves) {
                if let Some(weights) = weights {
                    let weighted = counter.lanes.weighted(weights);
                    *sum = sum.zip(weighted).and_then(|(sum, weighted)| sum.checked_add(weighted));
                }
            }
        }
        for ((_, class, unit), sums) in sums {
            self.unless(sums == [Some(0); 2], || format!("{class} counters in {unit} are off by {sums:?}"));
        }
    }
}
