//! The state of all tenants, and how a change is applied to it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap as StdHashMap},
    ops::Range,
    sync::Arc,
};

use foldhash::quality::RandomState;

use txn_change::{
    Change, ChangeId, Counter, Effects, Entry, FactId, FenceName, GroupDigest, Key, Link, Record, Stored, Tenant, Term,
    Timestamp, Verdict, View, evaluate,
};

use crate::{
    error::Error,
    store::{Ask, Freshness, LogItem, LogPage, Outcome, Position, Receipt, Recorded, Snapshot},
    tail::before_the_log,
};

/// Maps by short keys, under a random seed of the process.
type HashMap<K, V> = StdHashMap<K, V, RandomState>;

/// Everything. Entries and events stand in the order of commit; counters and terms point to them.
#[derive(Default)]
pub(super) struct State {
    pub(super) tenants: HashMap<Tenant, TenantState>,
    pub(super) commits: Vec<Committed>,
    pub(super) entries: Vec<Entry>,
    /// `None` where an event was purged.
    pub(super) log: Vec<Option<Recorded>>,
    /// How far the log was purged.
    pub(super) tail: usize,
    /// How many changes the log lost with that.
    pub(super) unlogged: usize,
    /// How many changes were looked at when answers were purged.
    pub(super) unanswered: usize,
    /// How many changes stand among their tenant's ids in order.
    indexed: usize,
    /// The chain: one link per call that committed anything.
    pub(super) links: Vec<Linked>,
    /// What the next link will hold.
    group: GroupDigest,
}

/// A link, and where the commits and the log ended with it.
pub(super) struct Linked {
    pub(super) link: Link,
    pub(super) commits: usize,
    pub(super) events: usize,
}

/// A committed change and what it left behind.
pub(super) struct Committed {
    pub(super) tenant: Tenant,
    pub(super) id: ChangeId,
    pub(super) entries: Range<usize>,
    pub(super) events: Range<usize>,
}

#[derive(Default)]
pub(super) struct TenantState {
    pub(super) changes: HashMap<ChangeId, Arc<Stored>>,
    /// Ids of changes in order, as far as [`State::index_changes`] has come. Few ask for it, and so no commit pays for it.
    pub(super) change_ids: Vec<ChangeId>,
    pub(super) records: BTreeMap<Key, Record>,
    pub(super) record_terms: BTreeSet<(Term, Key)>,
    pub(super) counters: HashMap<Key, Row>,
    pub(super) counter_keys: BTreeSet<Key>,
    pub(super) facts: HashMap<FactId, usize>,
    pub(super) event_terms: BTreeSet<(Term, usize)>,
    fences: HashMap<FenceName, u64>,
}

/// A counter and where its entries stand in [`State::entries`].
pub(super) struct Row {
    pub(super) counter: Counter,
    pub(super) entries: Vec<usize>,
}

impl View for TenantState {
    fn stored(&self, id: &ChangeId) -> Option<&Stored> {
        self.changes.get(id).map(|stored| &**stored)
    }

    fn record(&self, key: &Key) -> Option<&Record> {
        self.records.get(key)
    }

    fn counter(&self, key: &Key) -> Option<&Counter> {
        self.counters.get(key).map(|row| &row.counter)
    }

    fn has_fact(&self, id: &FactId) -> bool {
        self.facts.contains_key(id)
    }

    fn fence(&self, name: &FenceName) -> u64 {
        self.fences.get(name).copied().unwrap_or(0)
    }
}

impl State {
    pub(super) fn head(&self) -> Position {
        Position(self.log.len() as u64)
    }

    pub(super) fn chain(&self) -> Link {
        self.links.last().map_or(Link::START, |last| last.link)
    }

    /// Chains what was committed since the last link, if anything was.
    pub(super) fn link(&mut self) {
        if self.links.last().map_or(0, |last| last.commits) < self.commits.len() {
            let link = self.chain().next(&std::mem::take(&mut self.group).finish());
            self.links.push(Linked { link, commits: self.commits.len(), events: self.log.len() });
        }
    }

    /// Judges a change and applies it. Its receipt states the head so far: the link that will hold it is made by [`State::link`].
    pub(super) fn commit(&mut self, tenant: &Tenant, change: Change, now: Timestamp) -> Outcome {
        if !self.tenants.contains_key(tenant) {
            self.tenants.insert(tenant.clone(), TenantState::default());
        }
        let state = self.tenants.get(tenant).expect("inserted above");
        match evaluate(state, &change, now) {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(Verdict::Replayed(stored)) => self.receipt(&stored, true),
            Ok(Verdict::Accepted(effects)) => {
                let stored = self.apply(tenant, change, effects);
                self.receipt(&stored, false)
            }
        }
    }

    fn receipt(&self, stored: &Stored, replayed: bool) -> Outcome {
        let freshness = Freshness(self.commits.len() as u64);
        let Stored { answer, recorded_at, .. } = stored;
        let head = self.chain();
        Outcome::Done(Receipt { answer: answer.clone(), replayed, recorded_at: *recorded_at, freshness, head })
    }

    fn apply(&mut self, tenant: &Tenant, change: Change, effects: Effects) -> Arc<Stored> {
        let Self { tenants, commits, entries, log, group, .. } = self;
        let state = tenants.get_mut(tenant).expect("the caller made it");
        for write in effects.records {
            for term in write.terms_removed {
                state.record_terms.remove(&(term, write.key.clone()));
            }
            for term in write.terms_added {
                state.record_terms.insert((term, write.key.clone()));
            }
            match write.after {
                Some(record) => state.records.insert(write.key, record),
                None => state.records.remove(&write.key),
            };
        }
        for write in effects.counters {
            if let Some(row) = state.counters.get_mut(&write.key) {
                row.counter = write.after;
            } else {
                state.counter_keys.insert(write.key.clone());
                state.counters.insert(write.key, Row { counter: write.after, entries: Vec::new() });
            }
        }
        let first_entry = entries.len();
        for entry in effects.entries {
            let row = state.counters.get_mut(&entry.counter).expect("an entry's counter is written");
            row.entries.push(entries.len());
            entries.push(entry);
        }
        let first_event = log.len();
        for event in change.append {
            let place = log.len();
            if let Some(id) = &event.id {
                state.facts.insert(id.clone(), place);
            }
            state.event_terms.extend(event.terms.iter().map(|term| (term.clone(), place)));
            log.push(Some(Recorded {
                tenant: tenant.clone(),
                change: change.id.clone(),
                recorded_at: effects.stored.recorded_at,
                event,
            }));
        }
        state.fences.extend(effects.fences.into_iter().map(|fence| (fence.name, fence.token)));
        let stored = Arc::new(effects.stored);
        group.add(tenant, &change.id, &stored.digest, stored.events);
        state.changes.insert(change.id.clone(), Arc::clone(&stored));
        commits.push(Committed {
            tenant: tenant.clone(),
            id: change.id,
            entries: first_entry..entries.len(),
            events: first_event..log.len(),
        });
        stored
    }

    /// Brings the ids of changes up to date, for all tenants.
    pub(super) fn index_changes(&mut self) {
        let Self { tenants, commits, indexed, .. } = self;
        let mut grown: BTreeSet<Tenant> = BTreeSet::new();
        for commit in commits.get(*indexed..).unwrap_or_default() {
            if let Some(state) = tenants.get_mut(&commit.tenant) {
                state.change_ids.push(commit.id.clone());
                grown.insert(commit.tenant.clone());
            }
        }
        // What was in order is a run, and so is what most hosts give as ids: such are merged rather than sorted.
        for tenant in grown {
            if let Some(state) = tenants.get_mut(&tenant) {
                state.change_ids.sort();
            }
        }
        *indexed = commits.len();
    }

    pub(super) fn get(&self, ask: &Ask, now: Timestamp) -> Snapshot {
        let state = self.tenants.get(&ask.tenant);
        let record = |key: &Key| state?.records.get(key).cloned();
        let counter = |key: &Key| state?.counters.get(key).map(|row| row.counter.clone());
        let fact = |id: &FactId| self.log.get(*state?.facts.get(id)?)?.clone();
        Snapshot {
            now,
            stored: ask.id.as_ref().and_then(|id| state?.changes.get(id).map(|stored| Stored::clone(stored))),
            records: ask.records.iter().map(record).collect(),
            counters: ask.counters.iter().map(counter).collect(),
            facts: ask.facts.iter().map(fact).collect(),
        }
    }

    pub(super) fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
        let tail = Position(self.tail as u64);
        if after < tail {
            return Err(before_the_log(after, tail));
        }
        let from = usize::try_from(after.0).unwrap_or(usize::MAX);
        let items = self.log.get(from..).unwrap_or_default().iter().flatten().take(limit);
        let items = items
            .zip(after.0.saturating_add(1)..)
            .map(|(recorded, position)| LogItem { position: Position(position), recorded: recorded.clone() })
            .collect();
        Ok(LogPage { items, head: self.head() })
    }
}
