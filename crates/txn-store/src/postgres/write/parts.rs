//! The parts of the statement that stores a group: one for each table that it writes.

use txn_change::{Counter, GroupDigest, Key, Lanes, Record, Term, Timestamp};

use super::{
    super::{load::Loaded, names::Names, statement::Statement},
    Absent, ChangeRow, Collision, EntryRow, EventRow,
    columns::{bind_lanes, named, unnest, unnest_named, used},
    number,
};
use crate::encode::{guards_to_text, terms_to_bytes};

/// The statement while its parts are added.
pub(super) struct Writing<'s> {
    pub(super) s: Statement,
    pub(super) schema: &'s str,
    /// What must hold of the answers of the parts.
    pub(super) checks: Vec<String>,
    pub(super) collision: Collision,
}

impl Writing<'_> {
    fn part(&mut self, text: &str) {
        self.s.part("WITH ", ", ", text);
    }

    /// A part whose rows are counted: fewer than `expected` means that somebody else was first. Parts that are counted run in the order in which they are added; the server would run others backwards.
    fn counted(&mut self, name: &str, text: &str, expected: usize) {
        self.part(&format!("{name} AS ({text} RETURNING 1)"));
        let expected = self.s.bind(i64::try_from(expected).unwrap_or(i64::MAX));
        self.checks.push(format!("(SELECT count(*) FROM {name}) = {expected}"));
    }

    /// A part that inserts what somebody else may insert too.
    fn insert(&mut self, name: &str, text: &str, rows: usize) {
        match self.collision {
            Collision::Fail => self.counted(name, text, rows),
            Collision::Report => self.counted(name, &format!("{text} ON CONFLICT DO NOTHING"), rows),
        }
    }

    pub(super) fn group(&mut self, digest: GroupDigest, now: Timestamp) {
        let group = digest.finish();
        let [time, changes, events] =
            [now.as_nanos(), group.changes.cast_signed(), group.events.cast_signed()].map(|n| self.s.bind(n));
        let digest = self.s.bind(group.digest.to_vec());
        let schema = self.schema;
        self.part(&format!(
            "g AS (INSERT INTO {schema}.change_group(ticket, recorded_at, changes, events, digest) \
             SELECT no, {time}, {changes}, {events}, {digest} FROM t)"
        ));
    }

    pub(super) fn changes(&mut self, rows: &[ChangeRow<'_>], now: Timestamp) {
        let mut order: Vec<(usize, &ChangeRow<'_>)> = rows.iter().enumerate().collect();
        order.sort_unstable_by_key(|(_, row)| (row.tenant, row.id.as_str()));
        let rows = || order.iter().map(|(_, row)| *row);
        let s = &mut self.s;
        let lists = [
            s.bind(order.iter().map(|(at, _)| number(*at)).collect::<Vec<_>>()),
            s.bind(rows().map(|row| row.tenant).collect::<Vec<_>>()),
            s.bind(rows().map(|row| row.stored.entries.cast_signed()).collect::<Vec<i32>>()),
            s.bind(rows().map(|row| row.stored.events.cast_signed()).collect::<Vec<i32>>()),
            s.bind(rows().map(|row| i32::from(row.stored.answer.schema())).collect::<Vec<_>>()),
            s.bind(rows().map(|row| i16::from(row.stored.answer.format().code())).collect::<Vec<_>>()),
            s.bind(rows().map(|row| row.id.as_str()).collect::<Vec<_>>()),
            s.bind(rows().map(|row| &row.stored.fingerprint.0[..]).collect::<Vec<&[u8]>>()),
            s.bind(rows().map(|row| &row.stored.digest[..]).collect::<Vec<&[u8]>>()),
            s.bind(rows().map(|row| row.stored.answer.type_name()).collect::<Vec<_>>()),
            s.bind(rows().map(|row| row.stored.answer.bytes()).collect::<Vec<_>>()),
        ];
        let from = unnest(
            &lists,
            &["int4", "int4", "int4", "int4", "int4", "int2", "text", "bytea", "bytea", "text", "bytea"],
        );
        // All of a group have one time.
        let recorded_at = self.s.bind(now.as_nanos());
        let text = format!(
            "INSERT INTO {}.change(ticket, recorded_at, at, tenant, entries, events, schema, format, id, fingerprint, digest, type, answer) \
             SELECT t.no, {recorded_at}, u.* FROM t, {from} u",
            self.schema
        );
        self.insert("c", &text, order.len());
    }

    pub(super) fn new_records(&mut self, loaded: &Loaded, vacant: &[(i32, Key)]) {
        let dirty = loaded.tenants.values().flat_map(|rows| {
            let dirty = rows.records.iter().filter(|(_, row)| row.is_dirty && row.stored.is_none());
            dirty.filter_map(|(key, row)| Some((rows.number, key, row.now.as_ref()?)))
        });
        let mut rows: Vec<(i32, &Key, Option<&Record>)> =
            dirty.map(|(tenant, key, record)| (tenant, key, Some(record))).collect();
        rows.extend(vacant.iter().map(|(tenant, key)| (*tenant, key, None)));
        if rows.is_empty() {
            return;
        }
        rows.sort_unstable_by_key(|(tenant, key, _)| (*tenant, key.as_bytes()));
        let s = &mut self.s;
        let body = |record: &Option<&Record>| record.map(|r| r.body.clone());
        let lists = [
            s.bind(rows.iter().map(|(tenant, ..)| *tenant).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|(.., r)| body(r).map_or(0, |b| i32::from(b.schema()))).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|(.., r)| body(r).map_or(0, |b| i16::from(b.format().code()))).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|(.., r)| r.map_or(1, |r| r.version.cast_signed())).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|(_, key, _)| key.as_bytes()).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|(.., r)| r.map_or("", |r| r.body.type_name())).collect::<Vec<_>>()),
            s.bind(
                rows.iter().map(|(.., r)| r.map(|r| terms_to_bytes(&r.terms)).unwrap_or_default()).collect::<Vec<_>>(),
            ),
            s.bind(rows.iter().map(|(.., r)| r.map_or(&[][..], |r| r.body.bytes())).collect::<Vec<_>>()),
        ];
        let from = unnest(&lists, &["int4", "int4", "int2", "int8", "bytea", "text", "bytea", "bytea"]);
        let text = format!(
            "INSERT INTO {}.record(tenant, schema, format, version, key, type, terms, body) SELECT * FROM {from} u",
            self.schema
        );
        self.insert("rn", &text, rows.len());
    }

    pub(super) fn old_records(&mut self, loaded: &Loaded) {
        let dirty = || {
            loaded.tenants.values().flat_map(|rows| {
                let dirty = rows.records.iter().filter(|(_, row)| row.is_dirty);
                dirty.filter_map(|(key, row)| Some((rows.number, key, row.stored?, row.now.as_ref())))
            })
        };
        let kept: Vec<(i32, &Key, u64, &Record)> =
            dirty().filter_map(|(tenant, key, stored, now)| Some((tenant, key, stored, now?))).collect();
        let schema = self.schema;
        if !kept.is_empty() {
            let s = &mut self.s;
            let lists = [
                s.bind(kept.iter().map(|row| row.0).collect::<Vec<_>>()),
                s.bind(kept.iter().map(|row| row.1.as_bytes()).collect::<Vec<_>>()),
                s.bind(kept.iter().map(|row| row.2.cast_signed()).collect::<Vec<_>>()),
                s.bind(kept.iter().map(|row| row.3.version.cast_signed()).collect::<Vec<_>>()),
                s.bind(kept.iter().map(|row| i32::from(row.3.body.schema())).collect::<Vec<_>>()),
                s.bind(kept.iter().map(|row| i16::from(row.3.body.format().code())).collect::<Vec<_>>()),
                s.bind(kept.iter().map(|row| row.3.body.type_name()).collect::<Vec<_>>()),
                s.bind(kept.iter().map(|row| terms_to_bytes(&row.3.terms)).collect::<Vec<_>>()),
                s.bind(kept.iter().map(|row| row.3.body.bytes()).collect::<Vec<_>>()),
            ];
            let from = unnest(&lists, &["int4", "bytea", "int8", "int8", "int4", "int2", "text", "bytea", "bytea"]);
            let text = format!(
                "UPDATE {schema}.record r SET version = u.version, schema = u.schema, format = u.format, type = u.type, terms = u.terms, body = u.body \
                 FROM {from} u(tenant, key, stored, version, schema, format, type, terms, body) \
                 WHERE r.tenant = u.tenant AND r.key = u.key AND r.version = u.stored"
            );
            self.counted("ro", &text, kept.len());
        }
        let removed: Vec<(i32, &Key, u64)> =
            dirty().filter(|(.., now)| now.is_none()).map(|(tenant, key, stored, _)| (tenant, key, stored)).collect();
        if !removed.is_empty() {
            let s = &mut self.s;
            let lists = [
                s.bind(removed.iter().map(|row| row.0).collect::<Vec<_>>()),
                s.bind(removed.iter().map(|row| row.1.as_bytes()).collect::<Vec<_>>()),
                s.bind(removed.iter().map(|row| row.2.cast_signed()).collect::<Vec<_>>()),
            ];
            let from = unnest(&lists, &["int4", "bytea", "int8"]);
            let text = format!(
                "DELETE FROM {schema}.record r USING {from} u(tenant, key, stored) \
                 WHERE r.tenant = u.tenant AND r.key = u.key AND r.version = u.stored"
            );
            self.counted("rd", &text, removed.len());
        }
    }

    pub(super) fn terms(&mut self, loaded: &Loaded) {
        let mut added: Vec<(i32, &Term, &Key)> = Vec::new();
        let mut removed: Vec<(i32, &Term, &Key)> = Vec::new();
        for rows in loaded.tenants.values() {
            for (key, row) in rows.records.iter().filter(|(_, row)| row.is_dirty) {
                let terms: &[Term] = row.now.as_ref().map_or(&[], |record| &record.terms);
                added.extend(terms.iter().filter(|t| !row.indexed.contains(t)).map(|t| (rows.number, t, key)));
                removed.extend(row.indexed.iter().filter(|t| !terms.contains(t)).map(|t| (rows.number, t, key)));
            }
        }
        added.sort_unstable();
        added.dedup();
        removed.sort_unstable();
        removed.dedup();
        let schema = self.schema;
        for (rows, name, text) in [
            (
                removed,
                "td",
                format!(
                    "DELETE FROM {schema}.term d USING $u u(tenant, term, key) WHERE d.tenant = u.tenant AND d.term = u.term AND d.key = u.key"
                ),
            ),
            (added, "tn", format!("INSERT INTO {schema}.term(tenant, term, key) SELECT * FROM $u u")),
        ] {
            if rows.is_empty() {
                continue;
            }
            let s = &mut self.s;
            let lists = [
                s.bind(rows.iter().map(|row| row.0).collect::<Vec<_>>()),
                s.bind(rows.iter().map(|row| row.1.as_bytes()).collect::<Vec<_>>()),
                s.bind(rows.iter().map(|row| row.2.as_bytes()).collect::<Vec<_>>()),
            ];
            let from = unnest(&lists, &["int4", "bytea", "bytea"]);
            let text = text.replace("$u", &from);
            if name == "tn" {
                self.insert(name, &text, rows.len());
            } else {
                self.part(&format!("{name} AS ({text})"));
            }
        }
    }

    pub(super) fn new_counters(&mut self, loaded: &Loaded, names: &Names, vacant: &[(i32, Key)]) {
        let mut rows: Vec<(i32, &Key, i64, Option<&Counter>)> = Vec::new();
        for of_tenant in loaded.tenants.values() {
            let new = of_tenant.counters.iter().filter(|(_, row)| row.is_dirty && row.stored.is_none());
            rows.extend(new.map(|(key, row)| (of_tenant.number, key, row.no.unwrap_or_default(), row.now.as_ref())));
        }
        for (index, (tenant, key)) in vacant.iter().enumerate() {
            // It has to differ from others only until it is taken away; numbers of counters that stay are above zero.
            let own = i64::from(number(index)).saturating_add(1);
            let no = loaded.xact.saturating_mul(1 << 16).saturating_add(own).saturating_neg();
            rows.push((*tenant, key, no, None));
        }
        if rows.is_empty() {
            return;
        }
        rows.sort_unstable_by_key(|(tenant, key, ..)| (*tenant, key.as_bytes()));
        let s = &mut self.s;
        let lists = vec![
            s.bind(rows.iter().map(|row| row.2).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.0).collect::<Vec<_>>()),
            s.bind(
                rows.iter()
                    // None, which the table refuses, for a class without a number.
                    .map(|row| row.3.map_or(Some(0), |c| names.class(&c.class)))
                    .collect::<Vec<_>>(),
            ),
            s.bind(rows.iter().map(|row| row.3.map_or(0, |c| i16::from(c.status.code()))).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.3.map_or(1, |c| c.version.cast_signed())).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.3.map_or(0, |c| c.sequence.cast_signed())).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.1.as_bytes()).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.3.map_or("", |c| &*c.unit)).collect::<Vec<_>>()),
            s.bind(
                rows.iter().map(|row| row.3.map(|c| guards_to_text(&c.guards)).unwrap_or_default()).collect::<Vec<_>>(),
            ),
        ];
        let types = ["int8", "int4", "int4", "int2", "int8", "int8", "bytea", "text", "text"];
        let names = ["no", "tenant", "class", "status", "version", "sequence", "key", "unit", "guards"];
        let mut lists = named(lists, &types, &names);
        let lanes = rows.iter().map(|row| row.3.map_or(Lanes::ZERO, |c| c.lanes));
        bind_lanes(s, &mut lists, "l", [true; 4], lanes);
        let text = format!(
            "INSERT INTO {}.counter(no, tenant, class, status, version, sequence, key, unit, guards, l0, l1, l2, l3) \
             SELECT * FROM {}",
            self.schema,
            unnest_named(&lists)
        );
        self.insert("n", &text, rows.len());
    }

    pub(super) fn old_counters(&mut self, loaded: &Loaded) {
        let mut changed: Vec<(i64, &Counter, &Counter)> = Vec::new();
        for rows in loaded.tenants.values() {
            let dirty = rows.counters.values().filter(|row| row.is_dirty);
            changed.extend(dirty.filter_map(|row| Some((row.no?, row.stored.as_ref()?, row.now.as_ref()?))));
        }
        if changed.is_empty() {
            return;
        }
        changed.sort_unstable_by_key(|(no, ..)| *no);
        let s = &mut self.s;
        let lists = vec![
            s.bind(changed.iter().map(|row| row.0).collect::<Vec<_>>()),
            s.bind(changed.iter().map(|row| row.1.version.cast_signed()).collect::<Vec<_>>()),
            s.bind(changed.iter().map(|row| row.2.version.cast_signed()).collect::<Vec<_>>()),
            s.bind(changed.iter().map(|row| row.2.sequence.cast_signed()).collect::<Vec<_>>()),
        ];
        let mut lists = named(lists, &["int8"; 4], &["no", "stored", "version", "sequence"]);
        let lanes = changed.iter().map(|row| row.2.lanes);
        let [l0, l1, l2, l3] = bind_lanes(s, &mut lists, "l", used(lanes.clone()), lanes);
        let mut set = "";
        if changed.iter().any(|(_, stored, now)| stored.guards != now.guards || stored.status != now.status) {
            let status = s.bind(changed.iter().map(|row| i16::from(row.2.status.code())).collect::<Vec<_>>());
            let guards = s.bind(changed.iter().map(|row| guards_to_text(&row.2.guards)).collect::<Vec<_>>());
            lists.extend([(status, "int2", "status".to_owned()), (guards, "text", "guards".to_owned())]);
            set = ", status = u.status, guards = u.guards";
        }
        let text = format!(
            "UPDATE {}.counter c SET version = u.version, sequence = u.sequence, l0 = {l0}, l1 = {l1}, l2 = {l2}, l3 = {l3}{set} \
             FROM {} WHERE c.no = u.no AND c.version = u.stored",
            self.schema,
            unnest_named(&lists)
        );
        self.counted("o", &text, changed.len());
    }

    pub(super) fn entries(&mut self, rows: &[EntryRow]) {
        if rows.is_empty() {
            return;
        }
        let s = &mut self.s;
        let lists = vec![
            s.bind(rows.iter().map(|row| row.counter).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.entry.sequence.cast_signed()).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.at).collect::<Vec<_>>()),
            s.bind((0..rows.len()).map(number).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.entry.short).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.entry.effective_at.as_nanos()).collect::<Vec<_>>()),
            s.bind(rows.iter().map(|row| row.entry.label.as_str()).collect::<Vec<_>>()),
        ];
        let names = ["counter", "sequence", "at", "ord", "short", "effective_at", "label"];
        let mut lists = named(lists, &["int8", "int8", "int4", "int4", "bool", "int8", "text"], &names);
        let (deltas, afters) = (rows.iter().map(|row| row.entry.delta), rows.iter().map(|row| row.entry.after));
        let used = used(deltas.clone().chain(afters.clone()));
        let deltas = bind_lanes(s, &mut lists, "d", used, deltas).join(", ");
        let afters = bind_lanes(s, &mut lists, "a", used, afters).join(", ");
        self.part(&format!(
            "en AS (INSERT INTO {}.entry(ticket, counter, sequence, at, ord, short, effective_at, label, d0, d1, d2, d3, a0, a1, a2, a3) \
             SELECT t.no, u.counter, u.sequence, u.at, u.ord, u.short, u.effective_at, u.label, {deltas}, {afters} FROM t, {})",
            self.schema,
            unnest_named(&lists)
        ));
    }

    pub(super) fn events(&mut self, rows: &[EventRow<'_>]) {
        if rows.is_empty() {
            return;
        }
        // Facts in byte order, since they can collide; then the rest.
        let mut order: Vec<(usize, &EventRow<'_>)> = rows.iter().enumerate().collect();
        order.sort_by_key(|(_, row)| (row.event.id.is_none(), row.tenant, row.event.id.clone()));
        let s = &mut self.s;
        let lists = [
            s.bind(order.iter().map(|(ord, _)| number(*ord)).collect::<Vec<_>>()),
            s.bind(order.iter().map(|(_, row)| row.at).collect::<Vec<_>>()),
            s.bind(order.iter().map(|(_, row)| row.tenant).collect::<Vec<_>>()),
            s.bind(order.iter().map(|(_, row)| i32::from(row.event.body.schema())).collect::<Vec<_>>()),
            s.bind(order.iter().map(|(_, row)| i16::from(row.event.body.format().code())).collect::<Vec<_>>()),
            s.bind(order.iter().map(|(_, row)| row.event.id.as_deref()).collect::<Vec<Option<&str>>>()),
            s.bind(
                order
                    .iter()
                    .map(|(_, row)| row.event.subject.as_ref().map(Key::as_bytes))
                    .collect::<Vec<Option<&[u8]>>>(),
            ),
            s.bind(order.iter().map(|(_, row)| row.event.body.type_name()).collect::<Vec<_>>()),
            s.bind(order.iter().map(|(_, row)| terms_to_bytes(&row.event.terms)).collect::<Vec<_>>()),
            s.bind(order.iter().map(|(_, row)| row.event.body.bytes()).collect::<Vec<_>>()),
        ];
        let from = unnest(&lists, &["int4", "int4", "int4", "int4", "int2", "text", "bytea", "text", "bytea", "bytea"]);
        let text = format!(
            "INSERT INTO {}.event(ticket, ord, at, tenant, schema, format, fact, subject, type, terms, body) \
             SELECT t.no, u.* FROM t, {from} u",
            self.schema
        );
        self.insert("ev", &text, order.len());
        let mut terms: Vec<(i32, &Term, usize)> = rows
            .iter()
            .enumerate()
            .flat_map(|(ord, row)| row.event.terms.iter().map(move |term| (row.tenant, term, ord)))
            .collect();
        if terms.is_empty() {
            return;
        }
        // In the order of the index, so that neighbours are written together; an event may state a term twice.
        terms.sort_unstable();
        terms.dedup();
        let s = &mut self.s;
        let lists = [
            s.bind(terms.iter().map(|row| row.0).collect::<Vec<_>>()),
            s.bind(terms.iter().map(|row| row.1.as_bytes()).collect::<Vec<_>>()),
            s.bind(terms.iter().map(|row| number(row.2)).collect::<Vec<_>>()),
        ];
        let from = unnest(&lists, &["int4", "bytea", "int4"]);
        self.part(&format!(
            "et AS (INSERT INTO {}.event_term(tenant, term, ticket, ord) SELECT u.tenant, u.term, t.no, u.ord FROM t, {from} u(tenant, term, ord))",
            self.schema
        ));
    }

    pub(super) fn fences(&mut self, loaded: &Loaded) {
        let schema = self.schema;
        for is_new in [true, false] {
            let rows: Vec<(i32, &str, i64)> = loaded
                .tenants
                .values()
                .flat_map(|rows| {
                    let dirty = rows.fences.iter().filter(|(_, row)| row.is_dirty && row.stored.is_none() == is_new);
                    dirty.map(|(name, row)| (rows.number, name.as_str(), row.now.cast_signed()))
                })
                .collect();
            if rows.is_empty() {
                continue;
            }
            let s = &mut self.s;
            let lists = [
                s.bind(rows.iter().map(|row| row.0).collect::<Vec<_>>()),
                s.bind(rows.iter().map(|row| row.1).collect::<Vec<_>>()),
                s.bind(rows.iter().map(|row| row.2).collect::<Vec<_>>()),
            ];
            let from = unnest(&lists, &["int4", "text", "int8"]);
            let (name, text) = if is_new {
                ("fn", format!("INSERT INTO {schema}.fence(tenant, name, token) SELECT * FROM {from} u"))
            } else {
                (
                    "fo",
                    format!(
                        "UPDATE {schema}.fence f SET token = u.token FROM {from} u(tenant, name, token) \
                         WHERE f.tenant = u.tenant AND f.name = u.name"
                    ),
                )
            };
            if is_new {
                self.insert(name, &text, rows.len());
            } else {
                self.counted(name, &text, rows.len());
            }
        }
    }

    /// Whether these keys are still absent. This looks at what was committed before the statement began, and so not at what it writes itself.
    pub(super) fn absent(&mut self, absent: &Absent) -> String {
        let mut looked = vec!["true".to_owned()];
        let schema = self.schema;
        for (keys, (table, column)) in absent.text.iter().zip([("change", "id"), ("event", "fact"), ("fence", "name")])
        {
            if !keys.is_empty() {
                let tenants = self.s.bind(keys.iter().map(|(tenant, _)| *tenant).collect::<Vec<_>>());
                let names = self.s.bind(keys.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>());
                looked.push(format!(
                    "NOT EXISTS (SELECT 1 FROM unnest({tenants}::int4[], {names}::text[]) k(tenant, name) \
                     JOIN {schema}.{table} v ON v.tenant = k.tenant AND v.{column} = k.name)"
                ));
            }
        }
        for (keys, table) in absent.keys.iter().zip(["record", "counter"]) {
            if !keys.is_empty() {
                let tenants = self.s.bind(keys.iter().map(|(tenant, _)| *tenant).collect::<Vec<_>>());
                let bytes = self.s.bind(keys.iter().map(|(_, key)| key.as_bytes()).collect::<Vec<_>>());
                looked.push(format!(
                    "NOT EXISTS (SELECT 1 FROM unnest({tenants}::int4[], {bytes}::bytea[]) k(tenant, key) \
                     JOIN {schema}.{table} v ON v.tenant = k.tenant AND v.key = k.key)"
                ));
            }
        }
        looked.join(" AND ")
    }
}
