//! The statement that locks and reads the rows of a group, and what its answer says.

use txn_change::{Body, ChangeId, Counter, FactId, FenceName, Format, Key, Record, Status, Stored, Tenant};

use super::{
    super::{
        keys::{Keys, unnest},
        names::Names,
        statement::Statement,
        values::{Damage, Fields},
    },
    Patience,
};
use crate::error::Error;

/// What kind of row a row of the answer is.
pub(super) mod kind {
    pub(in super::super) const TIME: i16 = 0;
    pub(in super::super) const CHANGE: i16 = 1;
    pub(in super::super) const RECORD: i16 = 2;
    pub(in super::super) const RECORD_TAKEN: i16 = 3;
    pub(in super::super) const COUNTER: i16 = 4;
    pub(in super::super) const COUNTER_TAKEN: i16 = 5;
    pub(in super::super) const COUNTER_ABSENT: i16 = 6;
    pub(in super::super) const FACT: i16 = 7;
    pub(in super::super) const FENCE: i16 = 8;
    pub(in super::super) const FENCE_TAKEN: i16 = 9;
}

/// The keys that a statement asks for.
pub(super) struct Asked<'a> {
    pub(super) ids: Keys<'a, str>,
    pub(super) records: [Keys<'a, [u8]>; 2],
    pub(super) counters: [Keys<'a, [u8]>; 2],
    pub(super) facts: Keys<'a, str>,
    pub(super) fences: Keys<'a, str>,
}

/// Read, not written; written. Counted apart in the answer by this much.
const WRITTEN: i64 = 1 << 32;

/// A row as it was read.
pub(super) enum Item {
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

/// The columns of every part; those that a part has nothing for are null.
const COLUMNS: &str = "kind, i, a, b, c, d, t, u, x, y, z, l0, l1, l2, l3";

impl Asked<'_> {
    pub(super) fn statement(&self, schema: &str, patience: Patience) -> Statement {
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

    pub(super) fn read(&self, kind: i16, fields: &Fields<'_>, names: &Names) -> Result<(Tenant, Item), Error> {
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
pub(in crate::postgres) fn counter(fields: &Fields<'_>, names: &Names, at: [usize; 6]) -> Result<Counter, Damage> {
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
