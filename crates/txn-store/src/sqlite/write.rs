//! What an accepted group writes: collected while it is judged, then stored table by table, in statements of many rows.

use std::{collections::HashMap, mem, sync::Arc};

use rusqlite::Connection;
use txn_change::{
    Change, ChangeId, Class, Counter, Effects, Entry, Event, GroupDigest, Key, Link, Record, Stored, Tenant, Term,
};

use super::{
    load::{CounterRow, Dirt, RecordRow, Rows},
    rows::{Binder, Fields, failed},
    sql::{self, Insert},
};
use crate::{
    encode::{guards_to_text, terms_to_bytes},
    error::Error,
};

/// The last number given in each sequence. Who holds the write lock gives numbers; a group that is rolled back gives its numbers back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Numbers {
    pub(super) commit: i64,
    entry: i64,
    pub(super) position: i64,
    counter: i64,
    tenant: i64,
    class: i64,
    /// The head of the chain.
    pub(super) link: Link,
}

impl Numbers {
    pub(super) fn read(connection: &Connection) -> Result<Self, Error> {
        let read = || {
            connection.query_row(sql::LAST_NUMBERS, [], |row| {
                let last = |at| row.get::<_, Option<i64>>(at).map(Option::unwrap_or_default);
                let numbers = Self {
                    commit: last(0)?,
                    entry: last(1)?,
                    position: last(2)?,
                    counter: last(3)?,
                    tenant: last(4)?,
                    class: last(5)?,
                    link: Link::START,
                };
                Ok((numbers, Fields(row).link(6, 7)))
            })
        };
        let (numbers, link) = read().map_err(failed("reading the last numbers"))?;
        Ok(Self { link: link.map_err(|damage| damage.of("the last link"))?, ..numbers })
    }
}

fn next(last: &mut i64) -> i64 {
    *last = last.saturating_add(1);
    *last
}

/// The rows of one group that only grow: changes, entries, events, tenants and classes. Records, counters and fences are kept in [`Rows`], where later changes of
/// the group see them, and are written once, as they are at its end.
#[derive(Default)]
pub(super) struct Written<'g> {
    changes: Vec<ChangeRow<'g>>,
    entries: Vec<EntryRow>,
    events: Vec<EventRow<'g>>,
    tenants: Vec<(i64, Tenant)>,
    classes: Vec<(i64, String)>,
    group: GroupDigest,
}

struct ChangeRow<'g> {
    n: i64,
    tenant: i64,
    id: &'g ChangeId,
    stored: Stored,
}

struct EntryRow {
    no: i64,
    n: i64,
    counter: i64,
    previous: i64,
    entry: Entry,
}

struct EventRow<'g> {
    position: i64,
    n: i64,
    tenant: i64,
    event: &'g Event,
}

/// The numbers of the classes that are stored.
pub(super) type Classes = HashMap<Arc<Class>, i64>;

pub(super) fn classes(connection: &Connection) -> Result<Classes, Error> {
    let read = || {
        let mut statement = connection.prepare(sql::CLASSES)?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    let rows = read().map_err(failed("reading the classes"))?;
    // One that cannot be read is named when a counter needs it.
    Ok(rows.into_iter().filter_map(|(no, spec)| Some((Arc::new(serde_json::from_str(&spec).ok()?), no))).collect())
}

impl<'g> Written<'g> {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Takes the effects of an accepted change, and makes them visible to the next one.
    pub(super) fn accept(
        &mut self,
        rows: &mut Rows,
        classes: &mut Classes,
        numbers: &mut Numbers,
        change: &'g Change,
        effects: Effects,
    ) {
        let n = next(&mut numbers.commit);
        let tenant = *rows.number.get_or_insert_with(|| {
            let number = next(&mut numbers.tenant);
            self.tenants.push((number, rows.tenant.clone()));
            number
        });
        for write in effects.records {
            let row = rows.records.entry(write.key).or_default();
            row.now = write.after;
            row.dirty = true;
        }
        for write in effects.counters {
            if !classes.contains_key(&write.after.class) {
                let number = next(&mut numbers.class);
                let spec = serde_json::to_string(&*write.after.class).expect("a class is names and numbers");
                self.classes.push((number, spec));
                classes.insert(Arc::clone(&write.after.class), number);
            }
            let row = match rows.counters.get_mut(&write.key) {
                Some(row) => row,
                None => rows.counters.entry(write.key.clone()).or_default(),
            };
            let dirt = match &row.now {
                None => Dirt::New,
                Some(before) if before.guards == write.after.guards && before.status == write.after.status => {
                    Dirt::Lanes
                }
                Some(_) => Dirt::Whole,
            };
            if row.dirt == Dirt::Clean {
                rows.dirty_counters.push(write.key);
            }
            row.dirt = row.dirt.max(dirt);
            row.no = row.no.or_else(|| Some(next(&mut numbers.counter)));
            row.now = Some(write.after);
        }
        for entry in effects.entries {
            let row = rows.counters.get_mut(&entry.counter).and_then(|row| Some((row.no?, &mut row.last)));
            let (counter, last) = row.expect("the evaluator writes the counter of every entry");
            let no = next(&mut numbers.entry);
            self.entries.push(EntryRow { no, n, counter, previous: mem::replace(last, no), entry });
        }
        for event in &change.append {
            rows.facts.extend(event.id.clone());
            self.events.push(EventRow { position: next(&mut numbers.position), n, tenant, event });
        }
        for fence in effects.fences {
            rows.dirty_fences.push(fence.name.clone());
            rows.fences.insert(fence.name, fence.token);
        }
        self.group.add(&rows.tenant, &change.id, &effects.stored.digest, effects.stored.events);
        rows.changes.insert(change.id.clone(), effects.stored.clone());
        self.changes.push(ChangeRow { n, tenant, id: &change.id, stored: effects.stored });
    }

    /// Writes everything of the group and its link; `tenants` are those that it touched.
    pub(super) fn store(
        &self,
        connection: &Connection,
        tenants: &[&Rows],
        classes: &Classes,
        numbers: &mut Numbers,
    ) -> Result<(), Error> {
        let into = Into { connection };
        let stored = into
            .logs(self)
            .and_then(|()| into.link(self, numbers))
            .and_then(|()| tenants.iter().try_for_each(|rows| into.records(rows)))
            .and_then(|()| into.counters(tenants, classes))
            .and_then(|()| tenants.iter().try_for_each(|rows| into.fences(rows)));
        stored.map_err(failed("writing rows"))
    }
}

/// Where rows are written.
struct Into<'a> {
    connection: &'a Connection,
}

impl Into<'_> {
    fn insert<T>(
        &self,
        insert: &Insert,
        mut rows: &[T],
        bind: impl Fn(&mut Binder<'_, '_>, &T) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        for size in sql::CHUNKS {
            if rows.len() < size {
                continue;
            }
            let mut statement = self.connection.prepare_cached(&insert.statement(size))?;
            while let Some((chunk, rest)) = rows.split_at_checked(size) {
                let mut binder = Binder::new(&mut statement);
                chunk.iter().try_for_each(|row| bind(&mut binder, row))?;
                statement.raw_execute()?;
                rows = rest;
            }
        }
        Ok(())
    }

    /// What is only appended.
    fn logs(&self, written: &Written<'_>) -> rusqlite::Result<()> {
        self.insert(&sql::INSERT_TENANT, &written.tenants, |to, (number, name)| {
            to.put(number)?.put(name.as_str())?;
            Ok(())
        })?;
        self.insert(&sql::INSERT_CLASS, &written.classes, |to, (number, spec)| {
            to.put(number)?.put(spec)?;
            Ok(())
        })?;
        self.insert(&sql::INSERT_CHANGE, &written.changes, |to, row| {
            let Stored { fingerprint, answer, recorded_at, entries, events, digest, passed: _ } = &row.stored;
            to.put(row.n)?.put(row.tenant)?.put(row.id.as_str())?.put(&fingerprint.0[..])?;
            to.put(recorded_at.as_nanos())?.put(entries)?.put(events)?.put(&digest[..])?;
            to.body(answer)?.put(answer.bytes())?;
            Ok(())
        })?;
        self.insert(&sql::INSERT_ENTRY, &written.entries, |to, row| {
            let entry = &row.entry;
            to.put(row.no)?.put(row.n)?.put(row.counter)?.put(entry.sequence.cast_signed())?.put(row.previous)?;
            to.put(entry.effective_at.as_nanos())?.put(entry.label.as_str())?.put(entry.short)?;
            to.lanes(entry.delta)?.lanes(entry.after)?;
            Ok(())
        })?;
        self.insert(&sql::INSERT_EVENT, &written.events, |to, row| {
            let event = row.event;
            to.put(row.position)?.put(row.n)?.put(row.tenant)?.put(event.id.as_deref())?;
            to.put(event.subject.as_ref().map(Key::as_bytes))?.body(&event.body)?;
            to.put(terms_to_bytes(&event.terms))?.put(event.body.bytes())?;
            Ok(())
        })?;
        let events = written.events.iter();
        let mut terms: Vec<(i64, &Term, i64)> =
            events.flat_map(|row| row.event.terms.iter().map(|term| (row.tenant, term, row.position))).collect();
        // In the order of the index, so that neighbours are written together; an event may state a term twice.
        terms.sort_unstable();
        terms.dedup();
        self.insert(&sql::INSERT_EVENT_TERM, &terms, |to, (tenant, term, position)| {
            to.put(tenant)?.put(term.as_bytes())?.put(position)?;
            Ok(())
        })
    }

    fn link(&self, written: &Written<'_>, numbers: &mut Numbers) -> rusqlite::Result<()> {
        let group = written.group.clone().finish();
        numbers.link = numbers.link.next(&group);
        let Link { number, hash } = numbers.link;
        let [number, changes, events] = [number, group.changes, group.events].map(u64::cast_signed);
        let mut statement = self.connection.prepare_cached(sql::INSERT_LINK)?;
        statement.execute((number, changes, events, numbers.commit, numbers.position, &hash[..])).map(drop)
    }

    fn records(&self, rows: &Rows) -> rusqlite::Result<()> {
        let Some(tenant) = rows.number else { return Ok(()) };
        let mut dirty: Vec<(&Key, &RecordRow)> = rows.records.iter().filter(|(_, row)| row.dirty).collect();
        dirty.sort_unstable_by_key(|(key, _)| *key);
        let mut new: Vec<(&Key, &Record)> = Vec::new();
        let mut removed: Vec<(&Term, &Key)> = Vec::new();
        let mut added: Vec<(&Term, &Key)> = Vec::new();
        let mut update = self.connection.prepare_cached(sql::UPDATE_RECORD)?;
        for (key, row) in dirty {
            let terms: &[Term] = row.now.as_ref().map_or(&[], |record| &record.terms);
            removed.extend(row.indexed.iter().filter(|term| !terms.contains(term)).map(|term| (term, key)));
            added.extend(terms.iter().filter(|term| !row.indexed.contains(term)).map(|term| (term, key)));
            match (row.no, &row.now) {
                (None, None) => {}
                (None, Some(record)) => new.push((key, record)),
                (Some(no), None) => {
                    self.connection.prepare_cached(sql::DELETE_RECORD)?.execute([no])?;
                }
                (Some(no), Some(record)) => {
                    let mut to = Binder::new(&mut update);
                    to.put(no)?.put(record.version.cast_signed())?.body(&record.body)?;
                    to.put(terms_to_bytes(&record.terms))?.put(record.body.bytes())?;
                    update.raw_execute()?;
                }
            }
        }
        self.insert(&sql::INSERT_RECORD, &new, |to, (key, record)| {
            to.put(tenant)?.put(key.as_bytes())?.put(record.version.cast_signed())?.body(&record.body)?;
            to.put(terms_to_bytes(&record.terms))?.put(record.body.bytes())?;
            Ok(())
        })?;
        let mut delete = self.connection.prepare_cached(sql::DELETE_TERM)?;
        for (term, key) in removed {
            delete.execute((tenant, term.as_bytes(), key.as_bytes()))?;
        }
        added.sort_unstable();
        added.dedup();
        self.insert(&sql::INSERT_TERM, &added, |to, (term, key)| {
            to.put(tenant)?.put(term.as_bytes())?.put(key.as_bytes())?;
            Ok(())
        })
    }

    fn counters(&self, tenants: &[&Rows], classes: &Classes) -> rusqlite::Result<()> {
        let mut new: Vec<(i64, i64, &Key, i64, &Counter)> = Vec::new();
        let mut old: Vec<(i64, Dirt, i64, &Counter)> = Vec::new();
        for rows in tenants {
            let dirty = rows.dirty_counters.iter().filter_map(|key| rows.counters.get_key_value(key));
            for (key, row) in dirty {
                let CounterRow { no: Some(no), last, now: Some(counter), dirt } = row else { continue };
                match dirt {
                    Dirt::New => new.push((*no, rows.number.unwrap_or_default(), key, *last, counter)),
                    dirt => old.push((*no, *dirt, *last, counter)),
                }
            }
        }
        // In the order of the table.
        new.sort_unstable_by_key(|(no, ..)| *no);
        old.sort_unstable_by_key(|(no, ..)| *no);
        let numbers = |to: &mut Binder<'_, '_>, last: i64, counter: &Counter| -> rusqlite::Result<()> {
            to.put(counter.version.cast_signed())?.put(counter.sequence.cast_signed())?.put(last)?;
            to.lanes(counter.lanes)?;
            Ok(())
        };
        let mut lanes = self.connection.prepare_cached(sql::UPDATE_LANES)?;
        let mut whole = self.connection.prepare_cached(sql::UPDATE_COUNTER)?;
        for (no, dirt, last, counter) in old {
            if dirt == Dirt::Lanes {
                let mut to = Binder::new(&mut lanes);
                numbers(&mut to, last, counter)?;
                to.put(no)?;
                lanes.raw_execute()?;
            } else {
                let mut to = Binder::new(&mut whole);
                numbers(&mut to, last, counter)?;
                to.put(counter.status.code())?.put(guards_to_text(&counter.guards))?.put(no)?;
                whole.raw_execute()?;
            }
        }
        self.insert(&sql::INSERT_COUNTER, &new, |to, (no, tenant, key, last, counter)| {
            numbers(to, *last, counter)?;
            to.put(counter.status.code())?.put(guards_to_text(&counter.guards))?.put(no)?.put(tenant)?;
            to.put(key.as_bytes())?.put(classes.get(&counter.class))?.put(&*counter.unit)?;
            Ok(())
        })
    }

    fn fences(&self, rows: &Rows) -> rusqlite::Result<()> {
        let Some(tenant) = rows.number else { return Ok(()) };
        for name in &rows.dirty_fences {
            let token = rows.fences.get(name).copied().unwrap_or_default();
            let mut statement = self.connection.prepare_cached(sql::PUT_FENCE)?;
            statement.execute((tenant, name.as_str(), token.cast_signed()))?;
        }
        Ok(())
    }
}
