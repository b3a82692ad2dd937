//! What a group is judged by: every row that it touches, locked and read by one statement.
//!
//! Rows that exist are locked in key order. A hasty group never waits: a row that somebody else holds is *taken*, and changes that touch it are put off. A patient group waits for them. What does
//! not exist cannot be locked; whoever builds on that proves it when the group is written.

mod asked;
mod rows;

use std::collections::BTreeMap;

use sqlx::{PgConnection, postgres::PgRow};
use txn_change::{Change, Tenant, Timestamp};

use super::{
    keys::Keys,
    names::Names,
    values::{Damage, Fields},
};
use crate::error::{Error, ErrorKind};

pub(super) use asked::counter;
pub(super) use rows::Rows;

use asked::{Asked, kind};

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
