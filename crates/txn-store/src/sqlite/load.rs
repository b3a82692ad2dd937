//! What the writer sees of a tenant while it judges a group: the group's footprint, loaded by one statement per table, with earlier effects applied.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry as Slot},
    rc::Rc,
};

use rusqlite::{Connection, Row, types::Value};
use txn_change::{Change, ChangeId, Counter, FactId, FenceName, Key, Record, Stored, Tenant, Term, View};

use super::{
    rows::{Fields, Names, Unread, failed},
    sql,
};
use crate::error::{Error, ErrorKind};

/// One tenant's rows. Counters stay from group to group, until another connection has written; the rest is of one group.
pub(super) struct Rows {
    pub(super) tenant: Tenant,
    /// `None` until the tenant's first commit.
    pub(super) number: Option<i64>,
    pub(super) changes: HashMap<ChangeId, Stored>,
    pub(super) records: HashMap<Key, RecordRow>,
    pub(super) counters: HashMap<Key, CounterRow>,
    pub(super) facts: HashSet<FactId>,
    pub(super) fences: HashMap<FenceName, u64>,
    /// Counters and fences that a change of this group wrote.
    pub(super) dirty_counters: Vec<Key>,
    pub(super) dirty_fences: Vec<FenceName>,
}

/// A record of a group; its body is not loaded, since no rule looks at it.
#[derive(Default)]
pub(super) struct RecordRow {
    /// Its row, when it is stored.
    pub(super) no: Option<i64>,
    /// The terms under which the index holds it.
    pub(super) indexed: Vec<Term>,
    pub(super) now: Option<Record>,
    pub(super) dirty: bool,
}

/// A counter, or the knowledge that there is none.
#[derive(Default)]
pub(super) struct CounterRow {
    pub(super) no: Option<i64>,
    /// The row of its last entry; 0 when it has none.
    pub(super) last: i64,
    pub(super) now: Option<Counter>,
    pub(super) dirt: Dirt,
}

/// What of a counter has to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Dirt {
    #[default]
    Clean,
    /// Lanes, version and sequence.
    Lanes,
    /// Guards and status too.
    Whole,
    /// All of it: it is new.
    New,
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
        self.fences.get(name).copied().unwrap_or(0)
    }
}

impl Rows {
    pub(super) fn of(tenant: Tenant) -> Self {
        Self {
            tenant,
            number: None,
            changes: HashMap::new(),
            records: HashMap::new(),
            counters: HashMap::new(),
            facts: HashSet::new(),
            fences: HashMap::new(),
            dirty_counters: Vec::new(),
            dirty_fences: Vec::new(),
        }
    }

    /// Forgets the group; keeps the counters.
    pub(super) fn end_group(&mut self) {
        self.changes.clear();
        self.records.clear();
        self.facts.clear();
        self.fences.clear();
        for key in self.dirty_counters.drain(..) {
            if let Some(row) = self.counters.get_mut(&key) {
                row.dirt = Dirt::Clean;
            }
        }
        self.dirty_fences.clear();
    }

    /// Loads what these changes touch and is not here yet.
    pub(super) fn load(
        &mut self,
        connection: &Connection,
        names: &mut Names,
        changes: &[&Change],
    ) -> Result<(), Error> {
        if self.number.is_none() {
            self.number = names.number(connection, &self.tenant)?;
        }
        let mut wanted = Wanted::default();
        for change in changes {
            wanted.ids.push(&change.id);
            for key in change.require.iter().map(|r| &r.key).chain(change.put.iter().map(|p| &p.key)) {
                if let Slot::Vacant(slot) = self.records.entry(key.clone()) {
                    slot.insert(RecordRow::default());
                    wanted.records.push(key);
                }
            }
            for key in change.counters() {
                if let Slot::Vacant(slot) = self.counters.entry(key.clone()) {
                    slot.insert(CounterRow::default());
                    wanted.counters.push(key);
                }
            }
            wanted.facts.extend(change.append.iter().filter_map(|event| event.id.as_ref()));
            wanted.fences.extend(change.fence.iter().map(|fence| &fence.name));
        }
        // Of a tenant without a number nothing is stored.
        let Some(number) = self.number else { return Ok(()) };
        let source = Source { connection, tenant: number, name: &self.tenant };
        source.load(
            sql::LOAD_CHANGES,
            "change",
            &wanted.ids,
            |id| text(id),
            |_, id, row| {
                self.changes.insert((*id).clone(), Fields(row).stored()?);
                Ok(())
            },
        )?;
        source.load(
            sql::LOAD_RECORD_HEADS,
            "record",
            &wanted.records,
            |key| blob(key),
            |_, key, row| {
                let (no, record) = Fields(row).record_head()?;
                let indexed = record.terms.clone();
                self.records
                    .insert((*key).clone(), RecordRow { no: Some(no), indexed, now: Some(record), dirty: false });
                Ok(())
            },
        )?;
        source.load(
            sql::LOAD_COUNTERS,
            "counter",
            &wanted.counters,
            |key| blob(key),
            |_, key, row| {
                let (no, counter) = Fields(row).counter(names, connection)?;
                let last = Fields(row).int(12)?;
                self.counters
                    .insert((*key).clone(), CounterRow { no: Some(no), last, now: Some(counter), dirt: Dirt::Clean });
                Ok(())
            },
        )?;
        source.load(
            sql::LOAD_FACT_IDS,
            "fact",
            &wanted.facts,
            |id| text(id),
            |_, id, _| {
                self.facts.insert((*id).clone());
                Ok(())
            },
        )?;
        source.load(
            sql::LOAD_FENCES,
            "fence",
            &wanted.fences,
            |name| text(name),
            |_, name, row| {
                // A token may use all 64 bits; they are stored as they are.
                self.fences.insert((*name).clone(), Fields(row).int(1)?.cast_unsigned());
                Ok(())
            },
        )
    }
}

#[derive(Default)]
struct Wanted<'a> {
    ids: Vec<&'a ChangeId>,
    records: Vec<&'a Key>,
    counters: Vec<&'a Key>,
    facts: Vec<&'a FactId>,
    fences: Vec<&'a FenceName>,
}

pub(super) fn text(name: &str) -> Value {
    Value::Text(name.to_owned())
}

pub(super) fn blob(key: &Key) -> Value {
    Value::Blob(key.as_bytes().to_vec())
}

/// Where rows are loaded from.
pub(super) struct Source<'a> {
    pub(super) connection: &'a Connection,
    pub(super) tenant: i64,
    pub(super) name: &'a Tenant,
}

impl Source<'_> {
    /// Runs one loading statement for all these keys. `take` gets each row that exists with its key; column 0 says which key it is, counted from 1.
    pub(super) fn load<K: std::fmt::Debug>(
        &self,
        statement: &'static str,
        table: &'static str,
        keys: &[K],
        value: impl Fn(&K) -> Value,
        mut take: impl FnMut(usize, &K, &Row<'_>) -> Result<(), Unread>,
    ) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let failed = failed("loading rows");
        // Held here until the statement is back in its cache and its bindings are cleared: rusqlite 0.39 frees an array that SQLite lets go of last without what is in it, which was 150 bytes
        // lost with every change.
        let values = Rc::new(keys.iter().map(value).collect::<Vec<Value>>());
        let mut statement = self.connection.prepare_cached(statement).map_err(&failed)?;
        let mut rows = statement.query((self.tenant, &values)).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let nth = Fields(row).count(0).map_err(|damage| damage.of(table))?;
            let index = usize::try_from(nth).unwrap_or(0).wrapping_sub(1);
            let Some(key) = keys.get(index) else {
                return Err(Error::new(ErrorKind::Corrupt, format!("{table}: a row that was not asked for")));
            };
            take(index, key, row).map_err(|unread| unread.of(format!("{table} {key:?} of tenant {}", self.name)))?;
        }
        drop(rows);
        drop(statement);
        debug_assert_eq!(Rc::strong_count(&values), 1, "nobody else holds the array when it is dropped");
        Ok(())
    }
}
