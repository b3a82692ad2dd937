//! What an accepted group writes: collected while it is judged, then stored by one statement.
//!
//! What can collide with somebody else comes first, in the same order in every process: ids, records, counters, facts, fences; in each, keys in byte order. Each says how many rows it really wrote;
//! fewer than asked means that somebody else was first, and the whole group is judged again.

mod columns;
mod parts;

use std::collections::{BTreeMap, BTreeSet};

use txn_change::{Change, ChangeId, Effects, Entry, Event, GroupDigest, Key, Stored, Tenant, Timestamp, View};

use parts::Writing;

use super::{
    load::{Loaded, Rows},
    names::Names,
    statement::Statement,
};

/// The rows of one group that only grow. Records, counters and fences are kept in [`Loaded`], where later changes of the group see them, and are written once, as they are
/// at its end.
#[derive(Default)]
pub(super) struct Written<'g> {
    changes: Vec<ChangeRow<'g>>,
    entries: Vec<EntryRow>,
    events: Vec<EventRow<'g>>,
    digest: GroupDigest,
    /// Records and counters that an accepted change built on being absent.
    vacant: [BTreeSet<(i32, Key)>; 2],
    /// What was absent when a change was refused.
    absent: Absent,
}

/// What becomes of an insertion when somebody else was first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collision {
    /// The statement fails, and with it the transaction: the cheaper way, since nothing has to be looked for beforehand.
    Fail,
    /// The row is passed over, and the answer says so: for a transaction that is not ours to lose.
    Report,
}

/// Keys of ids, records, counters, facts and fences.
#[derive(Default)]
struct Absent {
    text: [Vec<(i32, String)>; 3],
    keys: [Vec<(i32, Key)>; 2],
}

/// Keys that are written and taken away again: until the transaction ends, nobody else can write them.
#[derive(Default)]
pub(super) struct Vacant {
    records: Vec<(i32, Key)>,
    counters: Vec<(i32, Key)>,
}

struct ChangeRow<'g> {
    tenant: i32,
    id: &'g ChangeId,
    stored: Stored,
}

struct EntryRow {
    at: i32,
    counter: i64,
    entry: Entry,
}

struct EventRow<'g> {
    at: i32,
    tenant: i32,
    event: &'g Event,
}

fn number(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

impl<'g> Written<'g> {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether a refusal has to be looked at again before it may be answered.
    pub(super) fn must_look(&self) -> bool {
        self.absent.text.iter().any(|keys| !keys.is_empty()) || self.absent.keys.iter().any(|keys| !keys.is_empty())
    }

    /// Takes the effects of an accepted change, and makes them visible to the next one.
    pub(super) fn accept(&mut self, loaded: &mut Loaded, tenant: &Tenant, change: &'g Change, effects: Effects) {
        let at = number(self.changes.len());
        let Some(rows) = loaded.tenants.get_mut(tenant) else { return };
        for write in effects.records {
            let row = rows.records.entry(write.key).or_default();
            row.now = write.after;
            row.is_dirty = true;
        }
        for write in effects.counters {
            if let Some(row) = rows.counters.get_mut(&write.key) {
                row.now = Some(write.after);
                row.is_dirty = true;
            }
        }
        for entry in effects.entries {
            let counter = rows.counters.get(&entry.counter).and_then(|row| row.no).unwrap_or_default();
            self.entries.push(EntryRow { at, counter, entry });
        }
        for event in &change.append {
            rows.facts.extend(event.id.clone());
            self.events.push(EventRow { at, tenant: rows.number, event });
        }
        for fence in effects.fences {
            let row = rows.fences.entry(fence.name).or_default();
            row.now = fence.token;
            row.is_dirty = true;
        }
        for require in &change.require {
            if rows.records.get(&require.key).is_none_or(|row| row.now.is_none() && row.stored.is_none()) {
                self.vacant[0].insert((rows.number, require.key.clone()));
            }
        }
        for hold in &change.hold {
            if rows.counters.get(&hold.counter).is_none_or(|row| row.now.is_none()) {
                self.vacant[1].insert((rows.number, hold.counter.clone()));
            }
        }
        rows.changes.insert(change.id.clone(), effects.stored.clone());
        self.digest.add(tenant, &change.id, &effects.stored.digest, effects.stored.events);
        self.changes.push(ChangeRow { tenant: rows.number, id: &change.id, stored: effects.stored });
    }

    /// Remembers what a refused change found absent: the refusal stands only if it is still so while all its other rows are locked. Else somebody may have committed that very id, and the change be
    /// refused for what it did itself.
    pub(super) fn refuse(&mut self, loaded: &Loaded, tenant: &Tenant, change: &Change) {
        let Some(rows) = loaded.tenants.get(tenant) else { return };
        let number = rows.number;
        let Absent { text: [ids, facts, fences], keys: [records, counters] } = &mut self.absent;
        if !rows.changes.contains_key(&change.id) {
            ids.push((number, change.id.as_str().to_owned()));
        }
        let absent = change.append.iter().filter_map(|event| event.id.as_ref()).filter(|id| !rows.facts.contains(*id));
        facts.extend(absent.map(|id| (number, id.as_str().to_owned())));
        let absent = change.fence.iter().filter(|f| rows.fences.get(&f.name).is_none_or(|row| row.stored.is_none()));
        fences.extend(absent.map(|fence| (number, fence.name.as_str().to_owned())));
        let read = change.require.iter().map(|r| &r.key).chain(change.put.iter().map(|p| &p.key));
        let absent = read.filter(|key| rows.records.get(*key).is_none_or(|row| row.stored.is_none()));
        records.extend(absent.map(|key| (number, key.clone())));
        let absent = change.counters().filter(|key| rows.counters.get(*key).is_none_or(|row| row.stored.is_none()));
        counters.extend(absent.map(|key| (number, key.clone())));
    }

    /// What must be written only to keep it absent: what a change built on, and nothing of this group leaves behind.
    pub(super) fn vacant(&self, loaded: &Loaded) -> Vacant {
        let [records, counters] = &self.vacant;
        let by_number: BTreeMap<i32, &Rows> = loaded.tenants.values().map(|rows| (rows.number, rows)).collect();
        let mut vacant: BTreeSet<(i32, Key)> = records
            .iter()
            .filter(|(tenant, key)| by_number.get(tenant).and_then(|rows| rows.record(key)).is_none())
            .cloned()
            .collect();
        // Put and removed again within the group.
        for rows in loaded.tenants.values() {
            let gone = rows.records.iter().filter(|(_, row)| row.is_dirty && row.stored.is_none() && row.now.is_none());
            vacant.extend(gone.map(|(key, _)| (rows.number, key.clone())));
        }
        let unopened =
            counters.iter().filter(|(tenant, key)| by_number.get(tenant).and_then(|rows| rows.counter(key)).is_none());
        Vacant { records: vacant.into_iter().collect(), counters: unopened.cloned().collect() }
    }

    /// The statement that stores the group. Its answer is one row: the ticket, whether every row that could collide was written, and whether what was absent still is.
    pub(super) fn statement(
        &self,
        schema: &str,
        loaded: &Loaded,
        names: &Names,
        now: Timestamp,
        vacant: &Vacant,
        collision: Collision,
    ) -> Statement {
        let mut w = Writing { s: Statement::default(), schema, checks: Vec::new(), collision };
        let is_empty = self.is_empty();
        if !is_empty {
            w.s.part("WITH ", ", ", &format!("t AS MATERIALIZED (SELECT nextval('{schema}.ticket') AS no)"));
            w.group(self.digest.clone(), now);
            w.changes(&self.changes, now);
            w.new_records(loaded, &vacant.records);
            w.new_counters(loaded, names, &vacant.counters);
            w.events(&self.events);
            w.fences(loaded);
            w.old_records(loaded);
            w.old_counters(loaded);
            w.terms(loaded);
            w.entries(&self.entries);
        }
        let looked = w.absent(&self.absent);
        let ticket = if is_empty { "0::int8" } else { "(SELECT no FROM t)" };
        let complete = if w.checks.is_empty() { "true".to_owned() } else { w.checks.join(" AND ") };
        w.s.push(&format!(" SELECT {ticket}, {complete}, {looked}"));
        w.s
    }
}

impl Vacant {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.counters.is_empty()
    }

    /// The statement that does both at once, for a transaction that is not ours to end. Its answer says whether nobody else was first.
    pub(super) fn keep(&self, schema: &str) -> Statement {
        let mut s = Statement::default();
        let [records, counters] = [&self.records, &self.counters].map(|keys| {
            let tenants = s.bind(keys.iter().map(|(tenant, _)| *tenant).collect::<Vec<i32>>());
            let bytes = s.bind(keys.iter().map(|(_, key)| key.as_bytes()).collect::<Vec<_>>());
            format!("{tenants}, {bytes}")
        });
        s.push(&format!("SELECT {schema}.keep_absent({records}, {counters})"));
        s
    }

    /// The statement that takes them away.
    pub(super) fn clear(&self, schema: &str) -> Statement {
        let mut s = Statement::default();
        for (keys, table) in [(&self.records, "record"), (&self.counters, "counter")] {
            if keys.is_empty() {
                continue;
            }
            let tenants = s.bind(keys.iter().map(|(tenant, _)| *tenant).collect::<Vec<i32>>());
            let bytes = s.bind(keys.iter().map(|(_, key)| key.as_bytes()).collect::<Vec<_>>());
            let text = format!(
                "{table}s AS (DELETE FROM {schema}.{table} v USING unnest({tenants}::int4[], {bytes}::bytea[]) k(tenant, key) \
                 WHERE v.tenant = k.tenant AND v.key = k.key)"
            );
            s.part("WITH ", ", ", &text);
        }
        s.push(" SELECT 1");
        s
    }
}
