//! Keys on their way into a statement, and rows of its answer on their way back to them.

use txn_change::Tenant;

use super::{statement::Statement, values::Damage};

/// The keys of one table that a statement asks for, each with its tenant.
pub(super) struct Keys<'a, K: ?Sized> {
    tenants: Vec<i32>,
    names: Vec<&'a Tenant>,
    keys: Vec<&'a K>,
}

impl<'a, K: ?Sized> Keys<'a, K> {
    pub(super) fn of(keys: impl Iterator<Item = (&'a Tenant, i32, &'a K)>) -> Self {
        let mut all = Self { tenants: Vec::new(), names: Vec::new(), keys: Vec::new() };
        for (name, tenant, key) in keys {
            all.names.push(name);
            all.tenants.push(tenant);
            all.keys.push(key);
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that a row of the answer is about, counted from 1.
    pub(super) fn at(&self, nth: i64) -> Result<(&'a Tenant, &'a K), Damage> {
        let index = usize::try_from(nth).unwrap_or(0).wrapping_sub(1);
        match (self.names.get(index), self.keys.get(index)) {
            (Some(name), Some(key)) => Ok((name, key)),
            _ => Err(Damage("a row that was not asked for".into())),
        }
    }
}

/// Keys as a table `k(tenant, key, i)`.
pub(super) fn unnest<'a, K: ?Sized>(s: &mut Statement, keys: &Keys<'a, K>, of: &str) -> String
where
    Vec<&'a K>: sqlx::Type<sqlx::Postgres> + sqlx::Encode<'a, sqlx::Postgres>,
{
    let tenants = s.bind(keys.tenants.clone());
    let keys = s.bind(keys.keys.clone());
    format!(
        "(SELECT unnest({tenants}::int4[]), unnest({keys}::{of}[]), generate_subscripts({keys}::{of}[], 1)::int8) k(tenant, key, i)"
    )
}
