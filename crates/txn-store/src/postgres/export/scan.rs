//! What is read, table by table, and how it is put together.

use sqlx::{PgConnection, postgres::PgRow};
use txn_change::{Entry, Event, FactId, Link, Tenant, Term};

use super::{
    super::{
        Shared,
        find::entry,
        get::event,
        load::counter,
        names::Names,
        values::{Damage, Fields},
    },
    Cursor, Sink,
};
use crate::{
    admin::Row,
    reading::Stop,
    store::{Position, Recorded},
};

/// Where a row of a change stands: link, ticket, number in the group. What has no link yet stands behind all that have.
pub(super) type Place = (i64, i64, i32);

pub(super) fn place_of(row: &PgRow) -> Result<Place, Stop> {
    let fields = Fields(row);
    let read = || Ok((fields.get(0)?, fields.get(1)?, fields.get(2)?));
    read().map_err(|damage: Damage| Stop::Failed(damage.of("a row of the export")))
}

const UNCHAINED: i64 = i64::MAX;

const CHANGES: &str = "SELECT coalesce(l.number, 9223372036854775807), c.ticket, c.at, t.name, c.id, c.recorded_at, (c.entries::int8 << 32) | c.events, \
    c.fingerprint, c.digest, c.type, (c.schema::int8 << 8) | c.format, c.answer, c.passed \
    FROM $s.change c LEFT JOIN $s.link l ON l.ticket = c.ticket LEFT JOIN $s.tenant t ON t.no = c.tenant ORDER BY 1, c.ticket, c.at";
const ENTRIES: &str = "SELECT coalesce(l.number, 9223372036854775807), e.ticket, e.at, t.name, k.key, \
    e.sequence, e.effective_at, e.label, e.short, e.d0, e.d1, e.d2, e.d3, e.a0, e.a1, e.a2, e.a3 \
    FROM $s.entry e LEFT JOIN $s.link l ON l.ticket = e.ticket LEFT JOIN $s.counter k ON k.no = e.counter \
    LEFT JOIN $s.tenant t ON t.no = k.tenant ORDER BY 1, e.ticket, e.at, e.ord";
const EVENTS: &str = "SELECT coalesce(l.number, 9223372036854775807), e.ticket, e.at, t.name, e.fact, e.subject, e.type, (e.schema::int8 << 8) | e.format, \
    e.body, e.terms FROM $s.event e LEFT JOIN $s.link l ON l.ticket = e.ticket LEFT JOIN $s.tenant t ON t.no = e.tenant ORDER BY 1, e.ticket, e.at, e.ord";
const PURGED: &str = "SELECT coalesce((SELECT l.total FROM $s.link l WHERE l.number = (SELECT until FROM $s.purge WHERE what = 0)), 0), \
    (SELECT position FROM $s.purge WHERE what = 1)";
const LINKS: &str = "SELECT number, ticket, hash, changes, events, position FROM $s.link ORDER BY number";
const COUNTERS: &str = "SELECT key, (class::int8 << 8) | status, version, sequence, unit, guards, l0, l1, l2, l3, class, t.name \
    FROM $s.counter k LEFT JOIN $s.tenant t ON t.no = k.tenant ORDER BY k.tenant, k.key";
const RECORDS: &str = "SELECT key, version, terms, type, (schema::int8 << 8) | format, body, tenant, t.name \
    FROM $s.record r LEFT JOIN $s.tenant t ON t.no = r.tenant ORDER BY r.tenant, r.key";
const TERMS: &str = "SELECT tenant, key, term FROM $s.term ORDER BY tenant, key, term";
const EVENT_TERMS: &str = "SELECT ticket, ord, tenant, term FROM $s.event_term ORDER BY ticket, ord, tenant, term";
const TERMS_OF_EVENTS: &str = "SELECT ticket, ord, tenant, terms FROM $s.event ORDER BY ticket, ord";

/// What reads; it takes the session with it when it ends.
pub(super) struct Scan<'a> {
    pub(super) session: PgConnection,
    pub(super) names: Names,
    pub(super) shared: &'a Shared,
}

impl Scan<'_> {
    pub(super) async fn run(mut self, sink: &mut Sink) -> Result<(), Stop> {
        let mut purged = self.open("purged", PURGED).await?;
        while let Some(row) = purged.next(&mut self.session).await? {
            let fields = Fields(&row);
            let read = || Ok(Row::Purged { answers: fields.count(0)?, events: Position(fields.count(1)?) });
            let damaged = |damage: Damage| Row::Orphan { what: format!("how far the store was purged: {}", damage.0) };
            sink.put(read().unwrap_or_else(damaged)).await?;
        }
        self.commits(sink).await?;
        self.counters(sink).await?;
        self.records(sink).await?;
        self.event_terms(sink).await
    }

    async fn open(&mut self, name: &'static str, text: &str) -> Result<Cursor, Stop> {
        Cursor::open(&mut self.session, self.shared, name, text).await
    }

    async fn commits(&mut self, sink: &mut Sink) -> Result<(), Stop> {
        let mut changes = self.open("changes", CHANGES).await?;
        let mut entries = self.open("entries", ENTRIES).await?;
        let mut events = self.open("events", EVENTS).await?;
        let mut links = self.open("links", LINKS).await?;
        while let Some(row) = changes.next(&mut self.session).await? {
            let place = place_of(&row)?;
            self.links_before(&mut links, place.0, sink).await?;
            let (mut of_commit, mut recorded, mut orphans) = (Vec::new(), Vec::new(), Vec::new());
            let fields = Fields(&row);
            let head = change(&fields);
            while let Some((found, row)) = entries.up_to(&mut self.session, &place).await? {
                let read = entry_of(&Fields(&row), &head);
                match (read, &head) {
                    (Ok((tenant, entry)), Ok(Row::Commit { tenant: owner, .. }))
                        if found == place && tenant == *owner =>
                    {
                        of_commit.push(entry);
                    }
                    (Ok((tenant, entry)), _) => orphans.push(format!(
                        "entry {} of counter {} of tenant {tenant}, which belongs to no change of it",
                        entry.sequence, entry.counter
                    )),
                    (Err(damage), _) => orphans.push(format!("entry of change {place:?}: {}", damage.0)),
                }
            }
            while let Some((found, row)) = events.up_to(&mut self.session, &place).await? {
                match event_of(&Fields(&row)) {
                    Ok((tenant, event)) if found == place => recorded.push((tenant, event)),
                    Ok((tenant, event)) => orphans.push(stray_event(&tenant, &event)),
                    Err(damage) => orphans.push(format!("event of change {place:?}: {}", damage.0)),
                }
            }
            match head {
                Ok(Row::Commit { tenant, id, stored, .. }) => {
                    let recorded_at = stored.recorded_at;
                    let events = recorded
                        .into_iter()
                        .map(|(tenant, event)| Recorded { tenant, change: id.clone(), recorded_at, event })
                        .collect();
                    sink.put(Row::Commit { tenant, id, stored, entries: of_commit, events }).await?;
                }
                Ok(_) => {}
                Err(damage) => orphans.push(format!("change {place:?}: {}", damage.0)),
            }
            for what in orphans {
                sink.put(Row::Orphan { what }).await?;
            }
        }
        self.links_before(&mut links, UNCHAINED, sink).await?;
        while let Some(row) = entries.next(&mut self.session).await? {
            let what = match entry_of(&Fields(&row), &Err(Damage(String::new()))) {
                Ok((tenant, entry)) => format!(
                    "entry {} of counter {} of tenant {tenant}, whose change does not exist",
                    entry.sequence, entry.counter
                ),
                Err(damage) => format!("entry: {}", damage.0),
            };
            sink.put(Row::Orphan { what }).await?;
        }
        while let Some(row) = events.next(&mut self.session).await? {
            let what = match event_of(&Fields(&row)) {
                Ok((tenant, event)) => stray_event(&tenant, &event),
                Err(damage) => format!("event: {}", damage.0),
            };
            sink.put(Row::Orphan { what }).await?;
        }
        Ok(())
    }

    /// The links below `number`.
    async fn links_before(&mut self, links: &mut Cursor, number: i64, sink: &mut Sink) -> Result<(), Stop> {
        while let Some(row) = links.peek(&mut self.session).await? {
            let fields = Fields(row);
            let found = fields.int(0).map_err(|damage| Stop::Failed(damage.of("a link")))?;
            if found >= number {
                return Ok(());
            }
            let read = || {
                Ok(Row::Link {
                    link: Link { number: fields.count(0)?, hash: fields.array(2)? },
                    changes: fields.count(3)?,
                    events: fields.count(4)?,
                    position: Position(fields.count(5)?),
                })
            };
            let row =
                read().unwrap_or_else(|damage: Damage| Row::Orphan { what: format!("link {found}: {}", damage.0) });
            links.rows.pop_front();
            sink.put(row).await?;
        }
        Ok(())
    }

    async fn counters(&mut self, sink: &mut Sink) -> Result<(), Stop> {
        let mut counters = self.open("counters", COUNTERS).await?;
        while let Some(row) = counters.next(&mut self.session).await? {
            let fields = Fields(&row);
            self.names.trim();
            if let Ok(class) = fields.get::<i32>(10)
                && self.names.class_spec(class).is_none()
            {
                self.names.learn_numbers(&mut self.session, &[], &[class]).await?;
            }
            let read = || {
                let counter = counter(&fields, &self.names, [1, 4, 5, 2, 3, 6])?;
                Ok(Row::Counter { tenant: tenant(&fields, 11)?, key: fields.key(0)?, counter })
            };
            sink.put(read().unwrap_or_else(|damage| orphan("counter", &fields, &damage))).await?;
        }
        Ok(())
    }

    async fn records(&mut self, sink: &mut Sink) -> Result<(), Stop> {
        let mut records = self.open("records", RECORDS).await?;
        let mut terms = self.open("terms", TERMS).await?;
        let place = |row: &PgRow, tenant: usize, key: usize| -> Result<(i32, Vec<u8>), Stop> {
            let fields = Fields(row);
            let read = || Ok((fields.get::<i32>(tenant)?, fields.bytes(key)?.to_vec()));
            read().map_err(|damage: Damage| Stop::Failed(damage.of("an index term")))
        };
        while let Some(row) = records.next(&mut self.session).await? {
            let at = place(&row, 6, 0)?;
            let mut indexed: Vec<Term> = Vec::new();
            while let Some(next) = terms.peek(&mut self.session).await? {
                let of = place(next, 0, 1)?;
                if of > at {
                    break;
                }
                let term = Fields(next).key(2);
                terms.rows.pop_front();
                match term {
                    Ok(term) if of == at => indexed.push(term),
                    Ok(term) => sink.put(Row::Orphan { what: format!("index term {term} of no record") }).await?,
                    Err(damage) => sink.put(Row::Orphan { what: format!("index term: {}", damage.0) }).await?,
                }
            }
            let fields = Fields(&row);
            let read = || {
                let record = fields.record([1, 2, 3, 4, 5])?;
                // In the order of the record, and what the record does not state behind it.
                let stated = record.terms.iter().filter(|term| indexed.contains(term)).cloned();
                let unstated = indexed.iter().filter(|term| !record.terms.contains(term)).cloned();
                let indexed = stated.chain(unstated).collect();
                Ok(Row::Record { tenant: tenant(&fields, 7)?, key: fields.key(0)?, record, indexed })
            };
            sink.put(read().unwrap_or_else(|damage| orphan("record", &fields, &damage))).await?;
        }
        while let Some(row) = terms.next(&mut self.session).await? {
            let what = match Fields(&row).key(2) {
                Ok(term) => format!("index term {term} of no record"),
                Err(damage) => format!("index term: {}", damage.0),
            };
            sink.put(Row::Orphan { what }).await?;
        }
        Ok(())
    }

    /// Index terms of events against the events: a missing one hides a fact from its statement.
    async fn event_terms(&mut self, sink: &mut Sink) -> Result<(), Stop> {
        let mut events = self.open("term_events", TERMS_OF_EVENTS).await?;
        let mut terms = self.open("event_terms", EVENT_TERMS).await?;
        while let Some(row) = events.next(&mut self.session).await? {
            let place = place_of(&row).or_else(|_| event_place(&row))?;
            let mut indexed: Vec<Term> = Vec::new();
            let mut orphans = Vec::new();
            while let Some(next) = terms.peek(&mut self.session).await? {
                let of = event_place(next)?;
                if of > place {
                    break;
                }
                let term = Fields(next).key(3);
                terms.rows.pop_front();
                match term {
                    Ok(term) if of == place => indexed.push(term),
                    Ok(term) => orphans.push(format!("index term {term} of no event")),
                    Err(damage) => orphans.push(format!("index term: {}", damage.0)),
                }
            }
            // An event that cannot be read has been named already.
            let stated = Fields(&row).terms(3).unwrap_or_default();
            let missing = stated.iter().filter(|term| !indexed.contains(term));
            orphans.extend(missing.map(|term| format!("event {place:?}: its index term {term} is missing")));
            let unstated = indexed.iter().filter(|term| !stated.contains(term));
            orphans
                .extend(unstated.map(|term| format!("index term {term} of event {place:?}, which does not state it")));
            for what in orphans {
                sink.put(Row::Orphan { what }).await?;
            }
        }
        while terms.next(&mut self.session).await?.is_some() {
            sink.put(Row::Orphan { what: "index term of no event".to_owned() }).await?;
        }
        Ok(())
    }
}

/// Ticket, number and tenant of an event, in the order of its table.
fn event_place(row: &PgRow) -> Result<Place, Stop> {
    let fields = Fields(row);
    let read = || Ok((fields.get::<i64>(0)?, i64::from(fields.get::<i32>(1)?), fields.get::<i32>(2)?));
    read().map_err(|damage: Damage| Stop::Failed(damage.of("an index term of an event")))
}

fn tenant(fields: &Fields<'_>, at: usize) -> Result<Tenant, Damage> {
    if fields.is_null(at) {
        return Err(Damage("its tenant does not exist".into()));
    }
    Tenant::new(fields.text(at)?).map_err(|_| Damage("its tenant has no valid name".into()))
}

/// A change, without its entries and events.
fn change(fields: &Fields<'_>) -> Result<Row, Damage> {
    let stored = fields.passed(12, fields.stored([5, 6, 7, 8, 9, 10, 11])?)?;
    Ok(Row::Commit { tenant: tenant(fields, 3)?, id: fields.id(4)?, stored, entries: Vec::new(), events: Vec::new() })
}

fn entry_of(fields: &Fields<'_>, head: &Result<Row, Damage>) -> Result<(Tenant, Entry), Damage> {
    let (id, time) = match head {
        Ok(Row::Commit { id, stored, .. }) => (id.clone(), stored.recorded_at),
        _ => (txn_change::ChangeId::new("unknown").expect("a valid id"), txn_change::Timestamp::MIN),
    };
    if fields.is_null(4) {
        return Err(Damage("its counter does not exist".into()));
    }
    Ok((tenant(fields, 3)?, entry(fields, 5, fields.key(4)?, id, time)?))
}

fn event_of(fields: &Fields<'_>) -> Result<(Tenant, Event), Damage> {
    let id: Option<FactId> = fields.fact(4)?;
    Ok((tenant(fields, 3)?, event(fields, id, [5, 6, 7, 8, 9])?))
}

fn stray_event(tenant: &Tenant, event: &Event) -> String {
    let name = event.id.as_ref().map_or("without a name", |id| id.as_str());
    format!("event {name} ({}) of tenant {tenant}, whose change does not exist", event.body.type_name())
}

fn orphan(what: &str, fields: &Fields<'_>, damage: &Damage) -> Row {
    let name = fields.key(0).map_or_else(|_| "without a name".to_owned(), |key| key.to_string());
    Row::Orphan { what: format!("{what} {name}: {}", damage.0) }
}
