//! Snapshots: everything that many asks want, read by one statement, and so true together.

use txn_change::{Counter, Event, FactId, Key, Record, Stored, Tenant, Timestamp};

use super::{
    Shared,
    connect::Session,
    keys::{Keys, unnest},
    load::counter,
    names::Names,
    reader::Unread,
    statement::Statement,
    values::{Damage, Fields},
};
use crate::{
    error::Error,
    store::{Ask, Recorded, Snapshot},
};

/// What kind of row a row of the answer is.
mod kind {
    pub(super) const TIME: i16 = 0;
    pub(super) const CHANGE: i16 = 1;
    pub(super) const RECORD: i16 = 2;
    pub(super) const COUNTER: i16 = 3;
    pub(super) const FACT: i16 = 4;
}

/// What is asked for, table by table, each key with its place in the answer.
struct Asked<'a> {
    ids: (Keys<'a, str>, Vec<(usize, usize)>),
    records: (Keys<'a, [u8]>, Vec<(usize, usize)>),
    counters: (Keys<'a, [u8]>, Vec<(usize, usize)>),
    facts: (Keys<'a, str>, Vec<(usize, usize)>),
}

/// Reads one snapshot per ask, in order.
pub(super) async fn snapshots(session: &mut Session, shared: &Shared, asks: &[&Ask]) -> Result<Vec<Snapshot>, Unread> {
    let sql = Unread::sql("reading");
    let Session { connection: session, names } = session;
    names.trim();
    let mut tenants: Vec<&Tenant> = asks.iter().map(|ask| &ask.tenant).collect();
    tenants.sort_unstable();
    tenants.dedup();
    names.learn_tenants(session, &tenants).await.map_err(&sql)?;
    let asked = Asked::of(names, asks);
    let rows = asked.statement(&shared.schema).query().fetch_all(&mut *session).await.map_err(&sql)?;
    let unknown = rows.iter().filter_map(|row| {
        let fields = Fields(row);
        let is_counter = fields.get::<i16>(0).ok()? == kind::COUNTER;
        let class = i32::try_from(fields.int(2).ok()? >> 8).ok()?;
        (is_counter && names.class_spec(class).is_none()).then_some(class)
    });
    let unknown: Vec<i32> = unknown.collect();
    names.learn_numbers(session, &[], &unknown).await.map_err(&sql)?;
    let mut snapshots: Vec<Snapshot> = asks.iter().map(|ask| empty(ask)).collect();
    let mut now = Timestamp::MIN;
    for row in &rows {
        let fields = Fields(row);
        let kind: i16 = fields.get(0).map_err(|damage| damage.of("a row"))?;
        if kind == kind::TIME {
            let read = || Ok((fields.time(2)?, fields.time(3)?));
            let (clock, last) = read().map_err(|damage: Damage| damage.of("the time"))?;
            now = shared.time.now(clock, last)?;
        } else {
            asked.read(kind, &fields, names, &mut snapshots)?;
        }
    }
    snapshots.iter_mut().for_each(|snapshot| snapshot.now = now);
    Ok(snapshots)
}

fn empty(ask: &Ask) -> Snapshot {
    Snapshot {
        now: Timestamp::MIN,
        stored: None,
        records: vec![None; ask.records.len()],
        counters: vec![None; ask.counters.len()],
        facts: vec![None; ask.facts.len()],
    }
}

const COLUMNS: &str = "kind, i, a, b, c, t, u, x, y, z, l0, l1, l2, l3, w";

impl<'a> Asked<'a> {
    fn of(names: &Names, asks: &[&'a Ask]) -> Self {
        // Of a tenant without a number nothing is stored.
        let known: Vec<(usize, i32, &'a Ask)> = asks
            .iter()
            .enumerate()
            .filter_map(|(index, ask)| Some((index, names.tenant(&ask.tenant)?, *ask)))
            .collect();
        fn keys<'a, K: ?Sized>(
            known: &[(usize, i32, &'a Ask)],
            of: impl Fn(&'a Ask) -> Vec<&'a K>,
        ) -> (Keys<'a, K>, Vec<(usize, usize)>) {
            let all = known.iter().flat_map(|(index, number, ask)| {
                of(ask).into_iter().enumerate().map(move |(place, key)| (*index, place, &ask.tenant, *number, key))
            });
            let all: Vec<_> = all.collect();
            let places = all.iter().map(|(index, place, ..)| (*index, *place)).collect();
            (Keys::of(all.into_iter().map(|(_, _, tenant, number, key)| (tenant, number, key))), places)
        }
        Self {
            ids: keys(&known, |ask| ask.id.iter().map(|id| id.as_str()).collect()),
            records: keys(&known, |ask| ask.records.iter().map(Key::as_bytes).collect()),
            counters: keys(&known, |ask| ask.counters.iter().map(Key::as_bytes).collect()),
            facts: keys(&known, |ask| ask.facts.iter().map(|id| id.as_str()).collect()),
        }
    }

    fn statement(&self, schema: &str) -> Statement {
        let mut s = Statement::default();
        let mut parts: Vec<String> = Vec::new();
        let null = |count: usize, of: &str| format!(", NULL::{of}").repeat(count);
        let lanes = null(4, "numeric");
        let rest = format!("{lanes}{}", null(1, "bytea"));
        if !self.ids.0.is_empty() {
            let keys = unnest(&mut s, &self.ids.0, "text");
            parts.push(format!(
                "SELECT {}::int2, k.i, c.recorded_at, (c.entries::int8 << 32) | c.events, (c.schema::int8 << 8) | c.format, \
                 c.type, NULL::text, c.fingerprint, c.digest, c.answer{lanes}, c.passed \
                 FROM {keys} JOIN {schema}.change c ON c.tenant = k.tenant AND c.id = k.key",
                kind::CHANGE,
            ));
        }
        if !self.records.0.is_empty() {
            let keys = unnest(&mut s, &self.records.0, "bytea");
            parts.push(format!(
                "SELECT {}::int2, k.i, r.version, (r.schema::int8 << 8) | r.format, NULL::int8, r.type, NULL::text, r.terms, r.body, NULL::bytea{rest} \
                 FROM {keys} JOIN {schema}.record r ON r.tenant = k.tenant AND r.key = k.key",
                kind::RECORD,
            ));
        }
        if !self.counters.0.is_empty() {
            let keys = unnest(&mut s, &self.counters.0, "bytea");
            parts.push(format!(
                "SELECT {}::int2, k.i, (c.class::int8 << 8) | c.status, c.version, c.sequence, c.unit, c.guards{}, c.l0, c.l1, c.l2, c.l3, NULL::bytea \
                 FROM {keys} JOIN {schema}.counter c ON c.tenant = k.tenant AND c.key = k.key",
                kind::COUNTER,
                null(3, "bytea"),
            ));
        }
        if !self.facts.0.is_empty() {
            let keys = unnest(&mut s, &self.facts.0, "text");
            parts.push(format!(
                "SELECT {}::int2, k.i, c.recorded_at, (e.schema::int8 << 8) | e.format, NULL::int8, e.type, c.id, e.subject, e.terms, e.body{rest} \
                 FROM {keys} JOIN {schema}.event e ON e.tenant = k.tenant AND e.fact = k.key \
                 LEFT JOIN {schema}.change c ON c.ticket = e.ticket AND c.at = e.at",
                kind::FACT,
            ));
        }
        parts.push(format!(
            "SELECT {}::int2, 0::int8, (extract(epoch FROM clock_timestamp()) * 1000000)::int8 * 1000, \
             {schema}.latest(), NULL::int8{}{}{rest}",
            kind::TIME,
            null(2, "text"),
            null(3, "bytea"),
        ));
        s.push(&format!("SELECT * FROM ({}) AS found({COLUMNS})", parts.join(" UNION ALL ")));
        s
    }

    fn read(&self, kind: i16, fields: &Fields<'_>, names: &Names, into: &mut [Snapshot]) -> Result<(), Error> {
        let lost = |damage: Damage| damage.of("a row that was read");
        let nth = fields.int(1).map_err(lost)?;
        let place = |places: &[(usize, usize)]| {
            let index = usize::try_from(nth).unwrap_or(0).wrapping_sub(1);
            places.get(index).copied().ok_or_else(|| lost(Damage("that was not asked for".into())))
        };
        match kind {
            kind::CHANGE => {
                let (tenant, id) = self.ids.0.at(nth).map_err(lost)?;
                let stored = fields.stored([2, 3, 7, 8, 5, 4, 9]).and_then(|stored| fields.passed(14, stored));
                let stored: Stored = stored.map_err(|d| d.of(format_args!("change {id} of tenant {tenant}")))?;
                if let Some(snapshot) = into.get_mut(place(&self.ids.1)?.0) {
                    snapshot.stored = Some(stored);
                }
            }
            kind::RECORD => {
                let (tenant, key) = self.records.0.at(nth).map_err(lost)?;
                let record = fields.record([2, 7, 5, 3, 8]);
                let record: Record =
                    record.map_err(|d| d.of(format_args!("record {} of tenant {tenant}", shown(key))))?;
                let (index, place) = place(&self.records.1)?;
                put(into.get_mut(index).map(|snapshot| &mut snapshot.records), place, record);
            }
            kind::COUNTER => {
                let (tenant, key) = self.counters.0.at(nth).map_err(lost)?;
                let read = counter(fields, names, [2, 5, 6, 3, 4, 10]);
                let read: Counter =
                    read.map_err(|d| d.of(format_args!("counter {} of tenant {tenant}", shown(key))))?;
                let (index, place) = place(&self.counters.1)?;
                put(into.get_mut(index).map(|snapshot| &mut snapshot.counters), place, read);
            }
            kind::FACT => {
                let (tenant, id) = self.facts.0.at(nth).map_err(lost)?;
                let read = || {
                    Ok(Recorded {
                        tenant: tenant.clone(),
                        change: fields.id(6)?,
                        recorded_at: fields.time(2)?,
                        event: event(fields, FactId::new(id).ok(), [7, 5, 3, 9, 8])?,
                    })
                };
                let fact = read().map_err(|d: Damage| d.of(format_args!("fact {id} of tenant {tenant}")))?;
                let (index, place) = place(&self.facts.1)?;
                put(into.get_mut(index).map(|snapshot| &mut snapshot.facts), place, fact);
            }
            _ => return Err(lost(Damage(format!("of an unknown kind {kind}")))),
        }
        Ok(())
    }
}

/// An event: subject, type, shape, body, terms.
pub(super) fn event(fields: &Fields<'_>, id: Option<FactId>, at: [usize; 5]) -> Result<Event, Damage> {
    let [subject, type_name, shape, body, terms] = at;
    let subject = if fields.is_null(subject) { None } else { Some(fields.key(subject)?) };
    Ok(Event { id, subject, body: fields.body(type_name, shape, body)?, terms: fields.terms(terms)? })
}

fn put<T>(places: Option<&mut Vec<Option<T>>>, at: usize, value: T) {
    if let Some(place) = places.and_then(|places| places.get_mut(at)) {
        *place = Some(value);
    }
}

/// A key as a person reads it.
fn shown(key: &[u8]) -> String {
    Key::from_bytes(key).map_or_else(|_| "without a name".to_owned(), |key| key.to_string())
}
