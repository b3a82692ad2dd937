//! Every row of a store, in the order of an export, within one read transaction.
//!
//! Changes are joined with their entries and events by reading the three tables side by side, so that memory stays flat. What does not fit is held back for a
//! while, since a damaged number must not hide what stands behind it, and is named at the end.

mod beside;

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use txn_change::{ChangeId, Entry, Stored, Tenant};

use super::{
    entries,
    export::{Sink, Stop},
    find::name,
    purge,
    rows::{Fields, Names, Unread},
    sql,
};
use crate::{
    admin::Row,
    store::{Position, Recorded},
};
use beside::{Keys, Links, Named as _, Side, Terms, no_event, no_record};

/// Puts every row into the sink.
pub(super) fn run(connection: &Connection, sink: &mut Sink) -> Result<(), Stop> {
    sink.put(purge::told(connection)?)?;
    let mut reader = Reader { connection, names: Names::default() };
    reader.commits(sink)?;
    reader.counters(sink)?;
    reader.records(sink)?;
    reader.event_terms(sink)
}

struct Reader<'a> {
    connection: &'a Connection,
    names: Names,
}

impl Reader<'_> {
    fn commits(&mut self, sink: &mut Sink) -> Result<(), Stop> {
        let connection = self.connection;
        let mut changes = connection.prepare(sql::EXPORT_CHANGES)?;
        let (mut entries, mut events) =
            (connection.prepare(sql::EXPORT_ENTRIES)?, connection.prepare(sql::EXPORT_EVENTS)?);
        let mut changes = changes.query([])?;
        let mut side = Side { rows: entries.query([])?, held: BTreeMap::new(), count: 0, at_end: false };
        let mut events = Side { rows: events.query([])?, held: BTreeMap::new(), count: 0, at_end: false };
        let mut keys = Keys { connection, names: Names::default(), known: HashMap::new() };
        let mut links = connection.prepare(sql::EXPORT_LINKS)?;
        let mut links = Links { rows: links.query([])?, next: None, last: 0 };
        links.step()?;
        let (mut orphans, mut unlinked, mut end, mut last) = (Vec::new(), Vec::new(), Position(0), 0);
        while let Some(row) = changes.next()? {
            let fields = Fields(row);
            let n = fields.int(0).unwrap_or_default();
            last = n;
            while let Some(link) = links.before(Some(n))? {
                sink.put(link)?;
            }
            let head = self.change(&fields);
            let wanted = head.as_ref().map_or((0, 0), |(_, _, stored)| (stored.entries, stored.events));
            let of_change = side.of(n, wanted.0, &mut orphans, |row| {
                let fields = Fields(row);
                let (tenant, key) = keys.get(fields.int(1)?)?;
                // The change is named when it is known.
                let entry = fields.entry(key, ChangeId::new("unknown").expect("a valid id"), fields.time(3)?)?;
                let read = (tenant, entry);
                if !entries::is_linked(&fields) {
                    unlinked.push(format!("{}: it does not lead to the one before", read.name()));
                }
                Ok(read)
            })?;
            orphans.append(&mut unlinked);
            let names = &mut self.names;
            let events = events.of(n, wanted.1, &mut orphans, |row| {
                let fields = Fields(row);
                let (position, event) = fields.event()?;
                Ok((names.tenant(connection, fields.int(3)?)?, (position, event)))
            })?;
            match head {
                Err(unread) => {
                    let Unread::Damage(damage) = unread else { return Err(stop(unread)) };
                    // Its entries and events are named as orphans when they have been passed.
                    let what = format!("change {n}: {}", damage.0);
                    sink.put(Row::Orphan { what })?;
                }
                Ok((tenant, id, stored)) => {
                    let mut of_commit = Vec::with_capacity(of_change.len());
                    for (owner, entry) in of_change {
                        if owner == tenant {
                            of_commit.push(Entry { change: id.clone(), recorded_at: stored.recorded_at, ..entry });
                        } else {
                            let Entry { counter, sequence, .. } = entry;
                            let what = format!(
                                "entry {sequence} of counter {counter} of tenant {owner}, in change {id} of tenant {tenant}"
                            );
                            orphans.push(what);
                        }
                    }
                    let mut items = Vec::with_capacity(events.len());
                    for (owner, (position, event)) in events {
                        // An export gives no positions; that they are in the order of the commits is seen here.
                        if position <= end {
                            orphans.push(format!(
                                "event at position {} of change {id}, behind that at {}",
                                position.0, end.0
                            ));
                        }
                        end = end.max(position);
                        let (change, recorded_at) = (id.clone(), stored.recorded_at);
                        items.push(Recorded { tenant: owner, change, recorded_at, event });
                    }
                    sink.put(Row::Commit { tenant, id, stored, entries: of_commit, events: items })?;
                }
            }
            for what in orphans.drain(..) {
                sink.put(Row::Orphan { what })?;
            }
        }
        while let Some(link) = links.before(None)? {
            sink.put(link)?;
        }
        // A change and its link are written together.
        if last > links.last {
            let what = format!("change {last}: it stands behind the last link, which is that of change {}", links.last);
            sink.put(Row::Orphan { what })?;
        }
        side.rest(sink)?;
        events.rest(sink)
    }

    fn change(&mut self, fields: &Fields<'_, '_>) -> Result<(Tenant, ChangeId, Stored), Unread> {
        Ok((self.names.tenant(self.connection, fields.int(11)?)?, fields.id(12)?, fields.stored()?))
    }

    fn counters(&mut self, sink: &mut Sink) -> Result<(), Stop> {
        let mut statement = self.connection.prepare(sql::EXPORT_COUNTERS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let fields = Fields(row);
            let mut leads = true;
            let mut read = || {
                let tenant = self.names.tenant(self.connection, fields.int(12)?)?;
                let counter = fields.counter(&mut self.names, self.connection)?.1;
                leads = entries::has_its_last(&fields, &counter);
                Ok(Row::Counter { tenant, key: fields.key(0)?, counter })
            };
            sink.put(read().or_else(|unread| orphan(unread, format!("counter {}", name(row))))?)?;
            if !leads {
                sink.put(Row::Orphan { what: format!("counter {}: it does not lead to its last entry", name(row)) })?;
            }
        }
        Ok(())
    }

    fn records(&mut self, sink: &mut Sink) -> Result<(), Stop> {
        let mut records = self.connection.prepare(sql::EXPORT_RECORDS)?;
        let mut terms = self.connection.prepare(sql::EXPORT_TERMS)?;
        let (mut records, mut terms) = (records.query([])?, Terms { rows: terms.query([])?, next: None });
        terms.step()?;
        while let Some(row) = records.next()? {
            let fields = Fields(row);
            let place = (fields.int(7).unwrap_or_default(), fields.blob(0).unwrap_or_default().to_vec());
            while let Some((of, term)) = terms.stray(Some(&place))? {
                sink.put(no_record(&of, &term))?;
            }
            let indexed = terms.of(&place)?;
            let mut read = || {
                let tenant = self.names.tenant(self.connection, fields.int(7)?)?;
                let record = fields.record()?;
                // In the order of the record, and what the record does not state behind it.
                let stated = record.terms.iter().filter(|term| indexed.contains(term)).cloned();
                let unstated = indexed.iter().filter(|term| !record.terms.contains(term)).cloned();
                let indexed = stated.chain(unstated).collect();
                Ok(Row::Record { tenant, key: fields.key(0)?, record, indexed })
            };
            sink.put(read().or_else(|unread| orphan(unread, format!("record {}", name(row))))?)?;
        }
        while let Some((of, term)) = terms.stray(None)? {
            sink.put(no_record(&of, &term))?;
        }
        Ok(())
    }

    /// Index terms of events against the events: a missing one hides a fact from its statement.
    fn event_terms(&mut self, sink: &mut Sink) -> Result<(), Stop> {
        let mut events = self.connection.prepare(sql::EXPORT_EVENTS)?;
        let mut terms = self.connection.prepare(sql::EXPORT_EVENT_TERMS)?;
        let (mut events, mut terms) = (events.query([])?, Terms { rows: terms.query([])?, next: None });
        terms.step()?;
        let mut orphans = Vec::new();
        while let Some(row) = events.next()? {
            let fields = Fields(row);
            let position = fields.int(1).unwrap_or_default();
            let place = (position, fields.int(3).unwrap_or_default().to_string().into_bytes());
            while let Some((of, term)) = terms.stray(Some(&place))? {
                orphans.push(no_event(&of, &term));
            }
            let indexed = terms.of(&place)?;
            // An event that cannot be read has been named already.
            let Ok((_, event)) = fields.event() else { continue };
            let missing = event.terms.iter().filter(|term| !indexed.contains(term));
            orphans
                .extend(missing.map(|term| format!("event at position {position}: its index term {term} is missing")));
            let unstated = indexed.iter().filter(|term| !event.terms.contains(term));
            orphans.extend(
                unstated
                    .map(|term| format!("index term {term} of event at position {position}, which does not state it")),
            );
            for what in orphans.drain(..) {
                sink.put(Row::Orphan { what })?;
            }
        }
        while let Some((of, term)) = terms.stray(None)? {
            sink.put(Row::Orphan { what: no_event(&of, &term) })?;
        }
        Ok(())
    }
}

fn stop(unread: Unread) -> Stop {
    Stop::Failed(unread.of("export"))
}

fn orphan(unread: Unread, row: String) -> Result<Row, Stop> {
    match unread {
        Unread::Damage(damage) => Ok(Row::Orphan { what: format!("{row}: {}", damage.0) }),
        Unread::Sql(error) => Err(error.into()),
    }
}
