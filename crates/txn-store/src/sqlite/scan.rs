//! Every row of a store, in the order of an export, within one read transaction.
//!
//! Changes are joined with their entries and events by reading the three tables side by side, so that memory stays flat. What does not fit is held back for a
//! while, since a damaged number must not hide what stands behind it, and is named at the end.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use txn_change::{ChangeId, Entry, Event, Key, Stored, Tenant, Term};

use super::{
    export::{Sink, Stop},
    find::name,
    purge,
    rows::{Damage, Fields, Names, Unread},
    sql,
};
use crate::{
    admin::Row,
    store::{Position, Recorded},
};

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

/// Rows of entries or events that may be held back while the rest of a change is looked for.
const HELD_MAX: usize = 4_096;

/// Counters whose keys are remembered, at most.
const KEYS_MAX: usize = 65_536;

impl Reader<'_> {
    fn commits(&mut self, sink: &mut Sink) -> Result<(), Stop> {
        let connection = self.connection;
        let mut changes = connection.prepare(sql::EXPORT_CHANGES)?;
        let (mut entries, mut events) =
            (connection.prepare(sql::EXPORT_ENTRIES)?, connection.prepare(sql::EXPORT_EVENTS)?);
        let mut changes = changes.query([])?;
        let mut entries = Side { rows: entries.query([])?, held: BTreeMap::new(), count: 0, at_end: false };
        let mut events = Side { rows: events.query([])?, held: BTreeMap::new(), count: 0, at_end: false };
        let mut keys = Keys { connection, names: Names::default(), known: HashMap::new() };
        let mut links = connection.prepare(sql::EXPORT_LINKS)?;
        let mut links = Links { rows: links.query([])?, next: None, last: 0 };
        links.step()?;
        let (mut orphans, mut end, mut last) = (Vec::new(), Position(0), 0);
        while let Some(row) = changes.next()? {
            let fields = Fields(row);
            let n = fields.int(0).unwrap_or_default();
            last = n;
            while let Some(link) = links.before(Some(n))? {
                sink.put(link)?;
            }
            let head = self.change(&fields);
            let wanted = head.as_ref().map_or((0, 0), |(_, _, stored)| (stored.entries, stored.events));
            let entries = entries.of(n, wanted.0, &mut orphans, |row| {
                let fields = Fields(row);
                let (tenant, key) = keys.get(fields.int(1)?)?;
                // The change is named when it is known.
                Ok((tenant, fields.entry(key, ChangeId::new("unknown").expect("a valid id"), fields.time(3)?)?))
            })?;
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
                    let mut of_commit = Vec::with_capacity(entries.len());
                    for (owner, entry) in entries {
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
        entries.rest(sink)?;
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
            let mut read = || {
                let tenant = self.names.tenant(self.connection, fields.int(12)?)?;
                let counter = fields.counter(&mut self.names, self.connection)?.1;
                Ok(Row::Counter { tenant, key: fields.key(0)?, counter })
            };
            sink.put(read().or_else(|unread| orphan(unread, format!("counter {}", name(row))))?)?;
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

/// The links beside the changes that they close.
struct Links<'s> {
    rows: rusqlite::Rows<'s>,
    /// The link read last and not yet taken, and its last change.
    next: Option<(i64, Row)>,
    /// The last change of any link.
    last: i64,
}

impl Links<'_> {
    fn step(&mut self) -> Result<(), Stop> {
        self.next = match self.rows.next()? {
            None => None,
            Some(row) => {
                let fields = Fields(row);
                let read = || {
                    Ok(Row::Link {
                        link: fields.link(1, 5)?,
                        changes: fields.count(2)?,
                        events: fields.count(3)?,
                        position: Position(fields.count(4)?),
                    })
                };
                let link = read().or_else(|unread| orphan(unread, format!("link of change {}", name(row))))?;
                let n = fields.int(0).unwrap_or_default();
                self.last = self.last.max(n);
                Some((n, link))
            }
        };
        Ok(())
    }

    /// A link whose changes all stand before change `n`, or any that is left.
    fn before(&mut self, n: Option<i64>) -> Result<Option<Row>, Stop> {
        let link = self.next.take_if(|(last, _)| n.is_none_or(|n| *last < n));
        if link.is_some() {
            self.step()?;
        }
        Ok(link.map(|(_, row)| row))
    }
}

/// Entries or events beside the changes they belong to. Column 0 is the number of the change.
struct Side<'s, T> {
    rows: rusqlite::Rows<'s>,
    /// What was read and not yet taken, by the number of its change.
    held: BTreeMap<i64, Vec<T>>,
    count: usize,
    at_end: bool,
}

impl<T: Named> Side<'_, T> {
    /// The rows of change `n`. Reads on until there are as many as the change states, or too many of others are held.
    fn of(
        &mut self,
        n: i64,
        wanted: u32,
        orphans: &mut Vec<String>,
        mut read: impl FnMut(&rusqlite::Row<'_>) -> Result<T, Unread>,
    ) -> Result<Vec<T>, Stop> {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        while let Some(passed) = self.held.first_entry().filter(|held| *held.key() < n) {
            let (of, values) = passed.remove_entry();
            self.count = self.count.saturating_sub(values.len());
            orphans.extend(values.iter().map(|value| stray(of, value)));
        }
        while !self.at_end
            && self.count < HELD_MAX.saturating_add(wanted)
            && self.held.get(&n).map_or(0, Vec::len) < wanted
        {
            let Some(row) = self.rows.next()? else {
                self.at_end = true;
                break;
            };
            match read(row) {
                Ok(value) => {
                    let n = Fields(row).int(0).unwrap_or_default();
                    self.held.entry(n).or_default().push(value);
                    self.count = self.count.saturating_add(1);
                }
                Err(Unread::Damage(damage)) => {
                    orphans.push(format!("{} of change {}: {}", T::WHAT, name(row), damage.0))
                }
                Err(unread) => return Err(stop(unread)),
            }
        }
        let found = self.held.remove(&n).unwrap_or_default();
        self.count = self.count.saturating_sub(found.len());
        Ok(found)
    }

    /// What belongs to no change.
    fn rest(mut self, sink: &mut Sink) -> Result<(), Stop> {
        for (n, values) in &self.held {
            for value in values {
                sink.put(Row::Orphan { what: stray(*n, value) })?;
            }
        }
        while let Some(row) = self.rows.next()? {
            let what = format!("{} of change {}, which does not exist or states others", T::WHAT, name(row));
            sink.put(Row::Orphan { what })?;
        }
        Ok(())
    }
}

fn stray<T: Named>(n: i64, value: &T) -> String {
    format!("{} of change {n}, which does not exist or states others", value.name())
}

/// How a row without its change is named.
trait Named {
    const WHAT: &'static str;
    fn name(&self) -> String;
}

impl Named for (Tenant, Entry) {
    const WHAT: &'static str = "entry";
    fn name(&self) -> String {
        format!("entry {} of counter {} of tenant {}", self.1.sequence, self.1.counter, self.0)
    }
}

impl Named for (Tenant, (Position, Event)) {
    const WHAT: &'static str = "event";
    fn name(&self) -> String {
        format!("event at position {} of tenant {}", self.1.0.0, self.0)
    }
}

/// The keys of counters by number.
struct Keys<'a> {
    connection: &'a Connection,
    names: Names,
    known: HashMap<i64, (Tenant, Key)>,
}

impl Keys<'_> {
    fn get(&mut self, number: i64) -> Result<(Tenant, Key), Unread> {
        if let Some(known) = self.known.get(&number) {
            return Ok(known.clone());
        }
        let mut statement = self.connection.prepare_cached(sql::COUNTER_BY_NUMBER)?;
        let mut rows = statement.query([number])?;
        let row = rows.next()?.ok_or_else(|| Damage(format!("there is no counter {number}")))?;
        let found = (self.names.tenant(self.connection, Fields(row).int(0)?)?, Fields(row).key(1)?);
        if self.known.len() >= KEYS_MAX {
            self.known.clear();
        }
        self.known.insert(number, found.clone());
        Ok(found)
    }
}

/// Index terms beside the rows they point to, both in the order of their places.
struct Terms<'s> {
    rows: rusqlite::Rows<'s>,
    /// The term read last and not yet taken, and where it points.
    next: Option<(Place, Vec<u8>)>,
}

/// Of a record, its tenant and key; of an event, its position and the digits of its tenant.
type Place = (i64, Vec<u8>);

fn shown(bytes: &[u8]) -> String {
    Key::from_bytes(bytes).map_or_else(|_| "(no key)".into(), |key| key.to_string())
}

fn no_record((tenant, key): &Place, term: &[u8]) -> Row {
    Row::Orphan { what: format!("index term {} of no record {} of tenant {tenant}", shown(term), shown(key)) }
}

fn no_event((position, _): &Place, term: &[u8]) -> String {
    format!("index term {} of no event at position {position}", shown(term))
}

impl Terms<'_> {
    fn step(&mut self) -> Result<(), Stop> {
        self.next = match self.rows.next()? {
            None => None,
            Some(row) => {
                let fields = Fields(row);
                let bytes = |at| fields.blob(at).unwrap_or_default().to_vec();
                Some(((fields.int(0).unwrap_or_default(), bytes(1)), bytes(2)))
            }
        };
        Ok(())
    }

    /// A term that points to a place before this one, which nothing has taken; `None` when there is none.
    fn stray(&mut self, place: Option<&Place>) -> Result<Option<(Place, Vec<u8>)>, Stop> {
        let stray = self.next.take_if(|(of, _)| place.is_none_or(|place| &*of < place));
        if stray.is_some() {
            self.step()?;
        }
        Ok(stray)
    }

    /// The terms that point to this place.
    fn of(&mut self, place: &Place) -> Result<Vec<Term>, Stop> {
        let mut terms = Vec::new();
        while let Some((_, term)) = self.next.take_if(|(of, _)| of == place) {
            // A term that is no key is seen as missing, which is what it is to every query.
            terms.extend(Key::from_bytes(&term).ok());
            self.step()?;
        }
        Ok(terms)
    }
}
