//! The rows of a group: as they are stored, and as its changes so far leave them.

use std::collections::{BTreeMap, HashMap, HashSet};

use txn_change::{Change, ChangeId, Counter, FactId, FenceName, Key, Record, Stored, Term, View};

use super::asked::Item;

/// One tenant's rows.
pub(in crate::postgres) struct Rows {
    pub(in crate::postgres) number: i32,
    pub(in crate::postgres) changes: HashMap<ChangeId, Stored>,
    pub(in crate::postgres) records: BTreeMap<Key, RecordRow>,
    pub(in crate::postgres) counters: BTreeMap<Key, CounterRow>,
    pub(in crate::postgres) facts: HashSet<FactId>,
    pub(in crate::postgres) fences: BTreeMap<FenceName, FenceRow>,
}

/// A record of a group; its body is not loaded, since no rule looks at it.
#[derive(Default)]
pub(in crate::postgres) struct RecordRow {
    pub(in crate::postgres) is_written: bool,
    pub(in crate::postgres) is_taken: bool,
    /// The version that is stored.
    pub(in crate::postgres) stored: Option<u64>,
    /// The terms under which the index holds it.
    pub(in crate::postgres) indexed: Vec<Term>,
    pub(in crate::postgres) now: Option<Record>,
    pub(in crate::postgres) is_dirty: bool,
}

#[derive(Default)]
pub(in crate::postgres) struct CounterRow {
    pub(in crate::postgres) is_written: bool,
    pub(in crate::postgres) is_taken: bool,
    /// The number that it has, or that it will have when it is opened.
    pub(in crate::postgres) no: Option<i64>,
    pub(in crate::postgres) stored: Option<Counter>,
    pub(in crate::postgres) now: Option<Counter>,
    pub(in crate::postgres) is_dirty: bool,
}

#[derive(Default)]
pub(in crate::postgres) struct FenceRow {
    pub(in crate::postgres) is_taken: bool,
    pub(in crate::postgres) stored: Option<u64>,
    pub(in crate::postgres) now: u64,
    pub(in crate::postgres) is_dirty: bool,
}

impl View for Rows {
    fn stored(&self, id: &ChangeId) -> Option<&Stored> {
        self.changes.get(id)
    }

    fn record(&self, key: &Key) -> Option<&Record> {
        self.records.get(key)?.now.as_ref()
    }

    fn counter(&self, key: &Key) -> Option<&Counter> {
        self.counters.get(key)?.now.as_ref()
    }

    fn has_fact(&self, id: &FactId) -> bool {
        self.facts.contains(id)
    }

    fn fence(&self, name: &FenceName) -> u64 {
        self.fences.get(name).map_or(0, |row| row.now)
    }
}

impl Rows {
    pub(super) fn of(number: i32) -> Self {
        Self {
            number,
            changes: HashMap::new(),
            records: BTreeMap::new(),
            counters: BTreeMap::new(),
            facts: HashSet::new(),
            fences: BTreeMap::new(),
        }
    }

    /// Whether somebody else holds a row that the change touches.
    pub(in crate::postgres) fn is_taken(&self, change: &Change) -> bool {
        let records = change.require.iter().map(|r| &r.key).chain(change.put.iter().map(|p| &p.key));
        records.into_iter().any(|key| self.records.get(key).is_some_and(|row| row.is_taken))
            || change.counters().any(|key| self.counters.get(key).is_some_and(|row| row.is_taken))
            || change.fence.iter().any(|fence| self.fences.get(&fence.name).is_some_and(|row| row.is_taken))
    }

    pub(super) fn want(&mut self, change: &Change) {
        for require in &change.require {
            self.records.entry(require.key.clone()).or_default();
        }
        for put in &change.put {
            self.records.entry(put.key.clone()).or_default().is_written = true;
        }
        for hold in &change.hold {
            self.counters.entry(hold.counter.clone()).or_default();
        }
        let written = change.open.iter().map(|open| &open.counter).chain(change.set.iter().map(|set| &set.counter));
        for key in written.chain(change.add.iter().map(|add| &add.counter)) {
            match self.counters.get_mut(key) {
                Some(row) => row.is_written = true,
                None => {
                    drop(self.counters.insert(key.clone(), CounterRow { is_written: true, ..CounterRow::default() }))
                }
            }
        }
        for fence in &change.fence {
            self.fences.entry(fence.name.clone()).or_default();
        }
    }

    /// Puts in its place what was read.
    pub(super) fn take(&mut self, item: Item) {
        match item {
            Item::Change(id, stored) => drop(self.changes.insert(id, stored)),
            Item::Fact(id) => drop(self.facts.insert(id)),
            Item::Record(key, record) => {
                let row = self.records.entry(key).or_default();
                row.stored = Some(record.version);
                row.indexed.clone_from(&record.terms);
                row.now = Some(record);
            }
            Item::RecordTaken(key) => self.records.entry(key).or_default().is_taken = true,
            Item::Counter(key, no, counter) => {
                let row = self.counters.entry(key).or_default();
                row.no = Some(no);
                row.stored = Some(counter.clone());
                row.now = Some(counter);
            }
            Item::CounterTaken(key) => self.counters.entry(key).or_default().is_taken = true,
            Item::CounterAbsent(key, no) => self.counters.entry(key).or_default().no = Some(no),
            Item::Fence(name, token) => {
                let row = self.fences.entry(name).or_default();
                row.stored = Some(token);
                row.now = token;
            }
            Item::FenceTaken(name) => self.fences.entry(name).or_default().is_taken = true,
        }
    }
}
