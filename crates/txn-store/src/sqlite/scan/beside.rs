//! Rows that are read beside those that they belong to, both in one order: links, entries and events beside changes, index terms beside records and events.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use txn_change::{Entry, Event, Key, Tenant, Term};

use super::{
    super::{
        export::{Sink, Stop},
        find::name,
        rows::{Damage, Fields, Names, Unread},
        sql,
    },
    orphan, stop,
};
use crate::{admin::Row, store::Position};

/// Rows of entries or events that may be held back while the rest of a change is looked for.
const HELD_MAX: usize = 4_096;

/// Counters whose keys are remembered, at most.
const KEYS_MAX: usize = 65_536;

/// The links beside the changes that they close.
pub(super) struct Links<'s> {
    pub(super) rows: rusqlite::Rows<'s>,
    /// The link read last and not yet taken, and its last change.
    pub(super) next: Option<(i64, Row)>,
    /// The last change of any link.
    pub(super) last: i64,
}

impl Links<'_> {
    pub(super) fn step(&mut self) -> Result<(), Stop> {
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
    pub(super) fn before(&mut self, n: Option<i64>) -> Result<Option<Row>, Stop> {
        let link = self.next.take_if(|(last, _)| n.is_none_or(|n| *last < n));
        if link.is_some() {
            self.step()?;
        }
        Ok(link.map(|(_, row)| row))
    }
}

/// Entries or events beside the changes they belong to. Column 0 is the number of the change.
pub(super) struct Side<'s, T> {
    pub(super) rows: rusqlite::Rows<'s>,
    /// What was read and not yet taken, by the number of its change.
    pub(super) held: BTreeMap<i64, Vec<T>>,
    pub(super) count: usize,
    pub(super) at_end: bool,
}

impl<T: Named> Side<'_, T> {
    /// The rows of change `n`. Reads on until there are as many as the change states, or too many of others are held.
    pub(super) fn of(
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
    pub(super) fn rest(mut self, sink: &mut Sink) -> Result<(), Stop> {
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
pub(super) trait Named {
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
pub(super) struct Keys<'a> {
    pub(super) connection: &'a Connection,
    pub(super) names: Names,
    pub(super) known: HashMap<i64, (Tenant, Key)>,
}

impl Keys<'_> {
    pub(super) fn get(&mut self, number: i64) -> Result<(Tenant, Key), Unread> {
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
pub(super) struct Terms<'s> {
    pub(super) rows: rusqlite::Rows<'s>,
    /// The term read last and not yet taken, and where it points.
    pub(super) next: Option<(Place, Vec<u8>)>,
}

/// Of a record, its tenant and key; of an event, its position and the digits of its tenant.
pub(super) type Place = (i64, Vec<u8>);

fn shown(bytes: &[u8]) -> String {
    Key::from_bytes(bytes).map_or_else(|_| "(no key)".into(), |key| key.to_string())
}

pub(super) fn no_record((tenant, key): &Place, term: &[u8]) -> Row {
    Row::Orphan { what: format!("index term {} of no record {} of tenant {tenant}", shown(term), shown(key)) }
}

pub(super) fn no_event((position, _): &Place, term: &[u8]) -> String {
    format!("index term {} of no event at position {position}", shown(term))
}

impl Terms<'_> {
    pub(super) fn step(&mut self) -> Result<(), Stop> {
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
    pub(super) fn stray(&mut self, place: Option<&Place>) -> Result<Option<(Place, Vec<u8>)>, Stop> {
        let stray = self.next.take_if(|(of, _)| place.is_none_or(|place| &*of < place));
        if stray.is_some() {
            self.step()?;
        }
        Ok(stray)
    }

    /// The terms that point to this place.
    pub(super) fn of(&mut self, place: &Place) -> Result<Vec<Term>, Stop> {
        let mut terms = Vec::new();
        while let Some((_, term)) = self.next.take_if(|(of, _)| of == place) {
            // A term that is no key is seen as missing, which is what it is to every query.
            terms.extend(Key::from_bytes(&term).ok());
            self.step()?;
        }
        Ok(terms)
    }
}
