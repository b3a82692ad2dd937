//! What a group is judged by: every row that it touches, locked and read by one statement.
//!
//! Rows that exist are locked in key order. A hasty group never waits: a row that somebody else holds is *taken*, and changes that touch it are put off. A patient group waits for them. What does
//! not exist cannot be locked; whoever builds on that proves it when the group is written.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{PgConnection, postgres::PgRow};
use txn_change::{
    Body, Change, ChangeId, Counter, FactId, FenceName, Format, Key, Record, Status, Stored, Tenant, Term, Timestamp,
    View,
};

use super::{
    keys::{Keys, unnest},
    names::Names,
    statement::Statement,
    values::{Damage, Fields},
};
use crate::error::{Error, ErrorKind};

/// Whether a group waits for rows that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Passes them over.
    Hasty,
    /// Waits, as long as the session allows.
    Patient,
}

/// Whether facts are looked for before they are written. Almost all are new, and one that is not shows when it is written: then the group is judged again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Facts {
    /// Taken for new.
    Presumed,
    /// Looked for.
    LookedFor,
}

/// The rows of a group, and when it is.
pub(super) struct Loaded {
    pub(super) tenants: BTreeMap<Tenant, Rows>,
    /// The number of the transaction.
    pub(super) xact: i64,
    /// The server's time, after the last lock.
    pub(super) clock: Timestamp,
    /// The time of the group that drew the highest ticket so far.
    pub(super) last: Timestamp,
}

/// One tenant's rows.
pub(super) struct Rows {
    pub(super) number: i32,
    pub(super) changes: HashMap<ChangeId, Stored>,
    pub(super) records: BTreeMap<Key, RecordRow>,
    pub(super) counters: BTreeMap<Key, CounterRow>,
    pub(super) facts: HashSet<FactId>,
    pub(super) fences: BTreeMap<FenceName, FenceRow>,
}

/// A record of a group; its body is not loaded, since no rule looks at it.
#[derive(Default)]
pub(super) struct RecordRow {
    pub(super) is_written: bool,
    pub(super) is_taken: bool,
    /// The version that is stored.
    pub(super) stored: Option<u64>,
    /// The terms under which the index holds it.
    pub(super) indexed: Vec<Term>,
    pub(super) now: Option<Record>,
    pub(super) is_dirty: bool,
}

#[derive(Default)]
pub(super) struct CounterRow {
    pub(super) is_written: bool,
    pub(super) is_taken: bool,
    /// The number that it has, or that it will have when it is opened.
    pub(super) no: Option<i64>,
    pub(super) stored: Option<Counter>,
    pub(super) now: Option<Counter>,
    pub(super) is_dirty: bool,
}

#[derive(Default)]
pub(super) struct FenceRow {
    pub(super) is_taken: bool,
    pub(super) stored: Option<u64>,
    pub(super) now: u64,
    pub(super) is_dirty: bool,
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
    fn of(number: i32) -> Self {
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
    pub(super) fn is_taken(&self, change: &Change) -> bool {
        let records = change.require.iter().map(|r| &r.key).chain(change.put.iter().map(|p| &p.key));
        records.into_iter().any(|key| self.records.get(key).is_some_and(|row| row.is_taken))
            || change.counters().any(|key| self.counters.get(key).is_some_and(|row| row.is_taken))
            || change.fence.iter().any(|fence| self.fences.get(&fence.name).is_some_and(|row| row.is_taken))
    }

    fn want(&mut self, change: &Change) {
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
}

/// What kind of row a row of the answer is.
mod kind {
    pub(super) const TIME: i16 = 0;
    pub(super) const CHANGE: i16 = 1;
    pub(super) const RECORD: i16 = 2;
    pub(super) const RECORD_TAKEN: i16 = 3;
    pub(super) const COUNTER: i16 = 4;
    pub(super) const COUNTER_TAKEN: i16 = 5;
    pub(super) const COUNTER_ABSENT: i16 = 6;
    pub(super) const FACT: i16 = 7;
    pub(super) const FENCE: i16 = 8;
    pub(super) const FENCE_TAKEN: i16 = 9;
}

/// Why a group could not be loaded.
pub(super) enum Unloaded {
    Sql(sqlx::Error),
    Damage(Error),
}

impl From<sqlx::Error> for Unloaded {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// The keys that a statement asks for.
struct Asked<'a> {
    ids: Keys<'a, str>,
    records: [Keys<'a, [u8]>; 2],
    counters: [Keys<'a, [u8]>; 2],
    facts: Keys<'a, str>,
    fences: Keys<'a, str>,
}

/// Read, not written; written. Counted apart in the answer by this much.
const WRITTEN: i64 = 1 << 32;

/// Locks and reads what these changes touch. Every tenant has its number.
pub(super) async fn load(
    session: &mut PgConnection,
    schema: &str,
    names: &Names,
    changes: &[(&Tenant, &Change)],
    patience: Patience,
    facts: Facts,
) -> Result<Loaded, Unloaded> {
    let mut tenants: BTreeMap<Tenant, Rows> = BTreeMap::new();
    for (tenant, change) in changes {
        if !tenants.contains_key(*tenant) {
            let number = names.tenant(tenant).ok_or_else(|| {
                Unloaded::Damage(Error::new(ErrorKind::Corrupt, format!("tenant {tenant} has no number")))
            })?;
            tenants.insert((*tenant).clone(), Rows::of(number));
        }
        tenants.get_mut(*tenant).expect("inserted above").want(change);
    }
    let number = |tenant: &Tenant| tenants.get(tenant).map_or(0, |rows| rows.number);
    let by_tenant = {
        let mut all: Vec<(&Tenant, &Rows)> = tenants.iter().collect();
        all.sort_unstable_by_key(|(_, rows)| rows.number);
        all
    };
    let records = |written: bool| {
        Keys::of(by_tenant.iter().flat_map(move |(tenant, rows)| {
            let keys = rows.records.iter().filter(move |(_, row)| row.is_written == written);
            keys.map(move |(key, _)| (*tenant, rows.number, key.as_bytes()))
        }))
    };
    let counters = |written: bool| {
        Keys::of(by_tenant.iter().flat_map(move |(tenant, rows)| {
            let keys = rows.counters.iter().filter(move |(_, row)| row.is_written == written);
            keys.map(move |(key, _)| (*tenant, rows.number, key.as_bytes()))
        }))
    };
    let looked_for = if facts == Facts::LookedFor { changes } else { &[] };
    let facts = looked_for.iter().flat_map(|(tenant, change)| {
        let facts = change.append.iter().filter_map(|event| event.id.as_ref());
        facts.map(|fact| (*tenant, number(tenant), fact.as_str()))
    });
    let asked = Asked {
        ids: Keys::of(changes.iter().map(|(tenant, change)| (*tenant, number(tenant), change.id.as_str()))),
        records: [records(false), records(true)],
        counters: [counters(false), counters(true)],
        facts: Keys::of(facts),
        fences: Keys::of(
            by_tenant
                .iter()
                .flat_map(|(tenant, rows)| rows.fences.keys().map(|name| (*tenant, rows.number, name.as_str()))),
        ),
    };
    let rows = asked.statement(schema, patience).query().fetch_all(&mut *session).await?;
    let unknown: Vec<i32> =
        rows.iter().filter_map(|row| class_of(row).filter(|no| names.class_spec(*no).is_none())).collect();
    names.learn_numbers(session, &[], &unknown).await?;
    let mut found = Vec::with_capacity(rows.len());
    let (mut xact, mut clock, mut last) = (0, Timestamp::MIN, Timestamp::MIN);
    for row in &rows {
        let fields = Fields(row);
        let kind: i16 = fields.get(0).map_err(|damage| Unloaded::Damage(damage.of("a row")))?;
        if kind == kind::TIME {
            let read = || Ok((fields.int(2)?, fields.time(3)?, fields.time(4)?));
            (xact, clock, last) = read().map_err(|damage: Damage| Unloaded::Damage(damage.of("the time")))?;
        } else {
            found.push(asked.read(kind, &fields, names).map_err(Unloaded::Damage)?);
        }
    }
    for (tenant, item) in found {
        if let Some(rows) = tenants.get_mut(&tenant) {
            rows.take(item);
        }
    }
    Ok(Loaded { tenants, xact, clock, last })
}

fn class_of(row: &PgRow) -> Option<i32> {
    let fields = Fields(row);
    let kind: i16 = fields.get(0).ok()?;
    (kind == kind::COUNTER).then(|| fields.int(3).ok())?.and_then(|packed| i32::try_from(packed >> 8).ok())
}

/// A row as it was read.
enum Item {
    Change(ChangeId, Stored),
    Record(Key, Record),
    RecordTaken(Key),
    Counter(Key, i64, Counter),
    CounterTaken(Key),
    CounterAbsent(Key, i64),
    Fact(FactId),
    Fence(FenceName, u64),
    FenceTaken(FenceName),
}

impl Rows {
    fn take(&mut self, item: Item) {
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

/// The columns of every part; those that a part has nothing for are null.
const COLUMNS: &str = "kind, i, a, b, c, d, t, u, x, y, z, l0, l1, l2, l3";

impl Asked<'_> {
    fn statement(&self, schema: &str, patience: Patience) -> Statement {
        let mut s = Statement::default();
        let skip = if patience == Patience::Hasty { " SKIP LOCKED" } else { "" };
        let mut parts: Vec<String> = Vec::new();
        let null = |count: usize, of: &str| format!(", NULL::{of}").repeat(count);
        if !self.ids.is_empty() {
            let keys = unnest(&mut s, &self.ids, "text");
            parts.push(format!(
                "SELECT {}::int2, k.i, c.recorded_at, (c.entries::int8 << 32) | c.events, (c.schema::int8 << 8) | c.format, NULL::int8, \
                 c.type, NULL::text, c.fingerprint, c.digest, c.answer{} \
                 FROM {keys} JOIN {schema}.change c ON c.tenant = k.tenant AND c.id = k.key",
                kind::CHANGE,
                null(4, "numeric"),
            ));
        }
        let is_hasty = patience == Patience::Hasty;
        for (written, keys) in [false, true].into_iter().zip(&self.records) {
            if keys.is_empty() {
                continue;
            }
            let (name, strength, offset) = if written { ("rw", "NO KEY UPDATE", WRITTEN) } else { ("rr", "SHARE", 0) };
            let keys = unnest(&mut s, keys, "bytea");
            s.part(
                "WITH ",
                ", ",
                &format!(
                    "{name} AS MATERIALIZED (SELECT k.i, r.version, r.terms FROM {keys} \
                 JOIN {schema}.record r ON r.tenant = k.tenant AND r.key = k.key FOR {strength} OF r{skip})"
                ),
            );
            parts.push(format!(
                "SELECT {}::int2, i + {offset}, version, NULL::int8, NULL::int8, NULL::int8, NULL::text, NULL::text, terms, NULL::bytea, NULL::bytea{} FROM {name}",
                kind::RECORD, null(4, "numeric"),
            ));
            if is_hasty {
                parts.push(format!(
                    "SELECT {}::int2, k.i + {offset}{}{}{}{} FROM {keys} JOIN {schema}.record r ON r.tenant = k.tenant AND r.key = k.key \
                     WHERE k.i NOT IN (SELECT i FROM {name})",
                    kind::RECORD_TAKEN, null(4, "int8"), null(2, "text"), null(3, "bytea"), null(4, "numeric"),
                ));
            }
        }
        for (written, keys) in [false, true].into_iter().zip(&self.counters) {
            if keys.is_empty() {
                continue;
            }
            let (name, strength, offset) = if written { ("cw", "NO KEY UPDATE", WRITTEN) } else { ("cr", "SHARE", 0) };
            let keys = unnest(&mut s, keys, "bytea");
            s.part("WITH ", ", ", &format!(
                "{name} AS MATERIALIZED (SELECT k.i, c.no, (c.class::int8 << 8) | c.status AS b, c.version, c.sequence, c.unit, c.guards, \
                 c.l0, c.l1, c.l2, c.l3 FROM {keys} JOIN {schema}.counter c ON c.tenant = k.tenant AND c.key = k.key FOR {strength} OF c{skip})"
            ));
            parts.push(format!(
                "SELECT {}::int2, i + {offset}, no, b, version, sequence, unit, guards{}, l0, l1, l2, l3 FROM {name}",
                kind::COUNTER,
                null(3, "bytea"),
            ));
            let next = if written {
                format!("CASE WHEN c.no IS NULL THEN nextval('{schema}.counter_no') END")
            } else {
                "NULL::int8".to_owned()
            };
            parts.push(format!(
                "SELECT (CASE WHEN c.no IS NULL THEN {} ELSE {} END)::int2, k.i + {offset}, {next}{}{}{}{} \
                 FROM {keys} LEFT JOIN {schema}.counter c ON c.tenant = k.tenant AND c.key = k.key WHERE k.i NOT IN (SELECT i FROM {name})",
                kind::COUNTER_ABSENT, kind::COUNTER_TAKEN, null(3, "int8"), null(2, "text"), null(3, "bytea"), null(4, "numeric"),
            ));
        }
        if !self.fences.is_empty() {
            let keys = unnest(&mut s, &self.fences, "text");
            s.part("WITH ", ", ", &format!(
                "fw AS MATERIALIZED (SELECT k.i, f.token FROM {keys} JOIN {schema}.fence f ON f.tenant = k.tenant AND f.name = k.key \
                 FOR NO KEY UPDATE OF f{skip})"
            ));
            let rest = format!("{}{}{}{}", null(3, "int8"), null(2, "text"), null(3, "bytea"), null(4, "numeric"));
            parts.push(format!("SELECT {}::int2, i, token{rest} FROM fw", kind::FENCE));
            if is_hasty {
                parts.push(format!(
                    "SELECT {}::int2, k.i, NULL::int8{rest} FROM {keys} JOIN {schema}.fence f ON f.tenant = k.tenant AND f.name = k.key \
                     WHERE k.i NOT IN (SELECT i FROM fw)",
                    kind::FENCE_TAKEN,
                ));
            }
        }
        if !self.facts.is_empty() {
            let keys = unnest(&mut s, &self.facts, "text");
            parts.push(format!(
                "SELECT {}::int2, k.i{}{}{}{} FROM {keys} JOIN {schema}.event e ON e.tenant = k.tenant AND e.fact = k.key",
                kind::FACT, null(4, "int8"), null(2, "text"), null(3, "bytea"), null(4, "numeric"),
            ));
        }
        // The last part: after the locks.
        parts.push(format!(
            "SELECT {}::int2, 0::int8, pg_current_xact_id()::text::int8, (extract(epoch FROM clock_timestamp()) * 1000000)::int8 * 1000, \
             {schema}.latest(){}{}{}{}",
            kind::TIME, null(1, "int8"), null(2, "text"), null(3, "bytea"), null(4, "numeric"),
        ));
        let list = parts.join(" UNION ALL ");
        s.push(&format!(" SELECT * FROM ({list}) AS found({COLUMNS})"));
        s
    }

    fn read(&self, kind: i16, fields: &Fields<'_>, names: &Names) -> Result<(Tenant, Item), Error> {
        let lost = |damage: Damage| damage.of("a loaded row");
        let nth = fields.int(1).map_err(lost)?;
        let of = |keys: &[Keys<'_, [u8]>; 2]| -> Result<(Tenant, Key), Error> {
            let [read, written] = keys;
            let (tenant, key) =
                if nth > WRITTEN { written.at(nth.saturating_sub(WRITTEN)) } else { read.at(nth) }.map_err(lost)?;
            Ok((tenant.clone(), Key::from_bytes(key).expect("a key that was asked for")))
        };
        match kind {
            kind::CHANGE => {
                let (tenant, id) = self.ids.at(nth).map_err(lost)?;
                let stored = fields
                    .stored([2, 3, 8, 9, 6, 4, 10])
                    .map_err(|d| d.of(format_args!("change {id} of tenant {tenant}")))?;
                Ok((tenant.clone(), Item::Change(ChangeId::new(id).expect("an id that was asked for"), stored)))
            }
            kind::RECORD => {
                let (tenant, key) = of(&self.records)?;
                let read = || {
                    let body = Body::stored("".into(), 0, Format::Json, [].into());
                    Ok(Record { version: fields.count(2)?, terms: fields.terms(8)?, body })
                };
                let record = read().map_err(|d: Damage| d.of(format_args!("record {key} of tenant {tenant}")))?;
                Ok((tenant, Item::Record(key, record)))
            }
            kind::RECORD_TAKEN => of(&self.records).map(|(tenant, key)| (tenant, Item::RecordTaken(key))),
            kind::COUNTER => {
                let (tenant, key) = of(&self.counters)?;
                let read = || counter(fields, names, [3, 6, 7, 4, 5, 11]);
                let counter = read().map_err(|d: Damage| d.of(format_args!("counter {key} of tenant {tenant}")))?;
                Ok((tenant, Item::Counter(key, fields.int(2).map_err(lost)?, counter)))
            }
            kind::COUNTER_TAKEN => of(&self.counters).map(|(tenant, key)| (tenant, Item::CounterTaken(key))),
            kind::COUNTER_ABSENT => {
                let (tenant, key) = of(&self.counters)?;
                let no: Option<i64> = fields.get(2).map_err(lost)?;
                Ok((tenant, Item::CounterAbsent(key, no.unwrap_or_default())))
            }
            kind::FACT => {
                let (tenant, id) = self.facts.at(nth).map_err(lost)?;
                Ok((tenant.clone(), Item::Fact(FactId::new(id).expect("a fact that was asked for"))))
            }
            kind::FENCE | kind::FENCE_TAKEN => {
                let (tenant, name) = self.fences.at(nth).map_err(lost)?;
                let name = FenceName::new(name).expect("a fence that was asked for");
                // A token may use all 64 bits; they are stored as they are.
                let item = if kind == kind::FENCE {
                    Item::Fence(name, fields.int(2).map_err(lost)?.cast_unsigned())
                } else {
                    Item::FenceTaken(name)
                };
                Ok((tenant.clone(), item))
            }
            _ => Err(Damage(format!("of an unknown kind {kind}")).of("a loaded row")),
        }
    }
}

/// A counter: `class << 8 | status`, unit, guards, version, sequence, the first of four lanes.
pub(super) fn counter(fields: &Fields<'_>, names: &Names, at: [usize; 6]) -> Result<Counter, Damage> {
    let [packed, unit, guards, version, sequence, lanes] = at;
    let packed = fields.int(packed)?;
    let class = i32::try_from(packed >> 8).ok().and_then(|number| names.class_spec(number));
    let status = u8::try_from(packed & 0xFF).ok().and_then(Status::from_code);
    Ok(Counter {
        class: class.ok_or_else(|| Damage(format!("there is no class {}", packed >> 8)))?,
        unit: fields.text(unit)?.into(),
        guards: names.guards(fields.text(guards)?).ok_or_else(|| Damage("its guards cannot be read".into()))?,
        status: status.ok_or_else(|| Damage("of an unknown status".into()))?,
        lanes: fields.lanes(lanes)?,
        version: fields.count(version)?,
        sequence: fields.count(sequence)?,
    })
}
