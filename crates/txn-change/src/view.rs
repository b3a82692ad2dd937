//! What the evaluator needs to see, and which rows that is.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::{
    body::Body,
    change::Change,
    counter::Counter,
    evaluate::Effects,
    fingerprint::Fingerprint,
    key::{Key, Term},
    name::{ChangeId, FactId, FenceName},
    time::Timestamp,
};

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// 1 when first put, one more with every put.
    pub version: u64,
    /// What it holds.
    pub body: Body,
    /// Its index entries.
    pub terms: Vec<Term>,
}

/// What is stored under the id of a committed change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// What was answered.
    pub answer: Body,
    /// When, in the store's time.
    pub recorded_at: Timestamp,
    /// How many entries the change left behind.
    pub entries: u32,
    /// How many events the change left behind.
    pub events: u32,
    /// The digest over them, the command and the answer.
    pub digest: [u8; 32],
    /// Once those of its events that are not lasting have been let go of: the [digest](crate::passing_digest) over them. Snapshots may leave it out.
    pub passed: Option<[u8; 32]>,
}

/// The state of one tenant that a change is judged against. Everything of the change's [`Footprint`] must be visible; nothing else is asked for.
pub trait View {
    /// What is stored under the id of a change.
    fn stored(&self, id: &ChangeId) -> Option<&Stored>;
    /// A record.
    fn record(&self, key: &Key) -> Option<&Record>;
    /// A counter.
    fn counter(&self, key: &Key) -> Option<&Counter>;
    /// Whether a fact with this id exists.
    fn has_fact(&self, id: &FactId) -> bool;
    /// The highest token seen for a lock; 0 when none was.
    fn fence(&self, name: &FenceName) -> u64;
}

/// The rows that changes touch: what a storage loads, under lock, before it evaluates them. Each is listed once and in key order, so that two
/// storages, or two groups, lock in the same order.
///
/// ```
/// use txn_change::{Body, Change, ChangeId, Fingerprint, Footprint, Key, Kind};
/// let key = Key::of(Kind::new("note")?).number(1).build();
/// let change = Change::new(ChangeId::new("a")?, Fingerprint::of_bytes("op", b""))
///     .insert(key.clone(), Body::raw("note", 1, b"{}".to_vec()), vec![]);
/// let footprint = Footprint::of([&change]);
/// assert!(footprint.records.contains(&key));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Ids of the changes themselves.
    pub changes: BTreeSet<ChangeId>,
    /// Records required or put.
    pub records: BTreeSet<Key>,
    /// Counters held, opened, set or added to.
    pub counters: BTreeSet<Key>,
    /// Facts appended.
    pub facts: BTreeSet<FactId>,
    /// Fences checked.
    pub fences: BTreeSet<FenceName>,
}

impl Footprint {
    /// The rows of these changes.
    #[must_use]
    pub fn of<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Self {
        let mut footprint = Self::default();
        for change in changes {
            footprint.changes.insert(change.id.clone());
            footprint.records.extend(change.require.iter().map(|r| r.key.clone()));
            footprint.records.extend(change.put.iter().map(|p| p.key.clone()));
            footprint.counters.extend(change.counters().cloned());
            footprint.facts.extend(change.append.iter().filter_map(|e| e.id.clone()));
            footprint.fences.extend(change.fence.iter().map(|f| f.name.clone()));
        }
        footprint
    }
}

/// A view held in maps: what a storage loads a group into, and what small tests run against.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MapView {
    /// Committed changes.
    pub changes: BTreeMap<ChangeId, Stored>,
    /// Records.
    pub records: BTreeMap<Key, Record>,
    /// Counters.
    pub counters: BTreeMap<Key, Counter>,
    /// Facts.
    pub facts: BTreeSet<FactId>,
    /// The highest token seen of each lock.
    pub fences: BTreeMap<FenceName, u64>,
}

impl MapView {
    /// Makes the effects of an accepted change visible to the next one.
    pub fn apply(&mut self, change: &Change, effects: &Effects) {
        for write in &effects.records {
            match &write.after {
                Some(record) => self.records.insert(write.key.clone(), record.clone()),
                None => self.records.remove(&write.key),
            };
        }
        for write in &effects.counters {
            self.counters.insert(write.key.clone(), write.after.clone());
        }
        self.facts.extend(change.append.iter().filter_map(|e| e.id.clone()));
        for fence in &effects.fences {
            self.fences.insert(fence.name.clone(), fence.token);
        }
        self.changes.insert(change.id.clone(), effects.stored.clone());
    }
}

impl View for MapView {
    fn stored(&self, id: &ChangeId) -> Option<&Stored> {
        self.changes.get(id)
    }

    fn record(&self, key: &Key) -> Option<&Record> {
        self.records.get(key)
    }

    fn counter(&self, key: &Key) -> Option<&Counter> {
        self.counters.get(key)
    }

    fn has_fact(&self, id: &FactId) -> bool {
        self.facts.contains(id)
    }

    fn fence(&self, name: &FenceName) -> u64 {
        self.fences.get(name).copied().unwrap_or(0)
    }
}
