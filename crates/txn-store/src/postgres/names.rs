//! What never changes once it is stored, remembered for one session of the server: the numbers of tenants and classes, and the guards that many counters share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::{AssertSqlSafe, PgConnection, Row, query};
use txn_change::{Class, Guard, Tenant};

use crate::encode::guards_from_text;

/// The names that one session has read.
pub(super) struct Names {
    tables: [Table; 2],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tenants: HashMap<Tenant, i32>,
    tenant_names: HashMap<i32, Tenant>,
    classes: HashMap<Arc<Class>, i32>,
    class_specs: HashMap<i32, Arc<Class>>,
    guards: HashMap<String, [Option<Guard>; 2]>,
}

/// The statements of one table of names.
struct Table {
    insert: String,
    by_name: String,
    by_number: String,
}

/// Tenants remembered, at most, when a piece of work begins.
const TENANTS_MAX: usize = 10_000;
/// Classes, likewise.
const CLASSES_MAX: usize = 1_024;
/// Guards remembered, at most: hosts may give every account its own limit.
const GUARDS_MAX: usize = 1_024;
const TENANTS: usize = 0;
const CLASSES: usize = 1;

impl Names {
    pub(super) fn new(schema: &str) -> Self {
        let table = |table: &str, column: &str| Table {
            insert: format!(
                "INSERT INTO {schema}.{table}({column}) SELECT n FROM unnest($1::text[]) n \
                 WHERE NOT EXISTS (SELECT 1 FROM {schema}.{table} t WHERE t.{column} = n) ORDER BY n ON CONFLICT DO NOTHING"
            ),
            by_name: format!("SELECT no, {column} FROM {schema}.{table} WHERE {column} = ANY($1::text[])"),
            by_number: format!("SELECT no, {column} FROM {schema}.{table} WHERE no = ANY($1::integer[])"),
        };
        Self { tables: [table("tenant", "name"), table("class", "spec")], state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic between two writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self, table: usize) -> &Table {
        self.tables.get(table).expect("there are two tables of names")
    }

    /// Forgets what has become too much. Called when a piece of work begins, and not within it: what it has learnt it needs to its end.
    pub(super) fn trim(&self) {
        self.state().trim();
    }

    /// The number of a tenant that is known.
    pub(super) fn tenant(&self, tenant: &Tenant) -> Option<i32> {
        self.state().tenants.get(tenant).copied()
    }

    pub(super) fn tenant_name(&self, number: i32) -> Option<Tenant> {
        self.state().tenant_names.get(&number).cloned()
    }

    pub(super) fn class(&self, class: &Arc<Class>) -> Option<i32> {
        self.state().classes.get(class).copied()
    }

    pub(super) fn class_spec(&self, number: i32) -> Option<Arc<Class>> {
        self.state().class_specs.get(&number).cloned()
    }

    pub(super) fn guards(&self, text: &str) -> Option<[Option<Guard>; 2]> {
        let mut state = self.state();
        if let Some(guards) = state.guards.get(text) {
            return Some(*guards);
        }
        let guards = guards_from_text(text)?;
        if state.guards.len() >= GUARDS_MAX {
            state.guards.clear();
        }
        state.guards.insert(text.to_owned(), guards);
        Some(guards)
    }

    /// Learns the numbers of these tenants; one that is not stored stays unknown.
    pub(super) async fn learn_tenants(&self, session: &mut PgConnection, tenants: &[&Tenant]) -> sqlx::Result<()> {
        let unknown: Vec<&str> =
            tenants.iter().filter(|t| self.tenant(t).is_none()).map(|tenant| tenant.as_str()).collect();
        self.learn(session, TENANTS, &unknown).await
    }

    /// Learns the names behind these numbers.
    pub(super) async fn learn_numbers(
        &self,
        session: &mut PgConnection,
        tenants: &[i32],
        classes: &[i32],
    ) -> sqlx::Result<()> {
        for (table, numbers) in [(TENANTS, tenants), (CLASSES, classes)] {
            if !numbers.is_empty() {
                let found = query(AssertSqlSafe(self.table(table).by_number.clone())).bind(numbers);
                self.keep(table, &found.fetch_all(&mut *session).await?)?;
            }
        }
        Ok(())
    }

    /// Gives numbers to the tenants and classes that have none, in transactions of their own: a name without rows does no harm, and no commit waits for one.
    pub(super) async fn give_numbers(
        &self,
        session: &mut PgConnection,
        tenants: &[&Tenant],
        classes: &[&Arc<Class>],
    ) -> sqlx::Result<()> {
        let unknown: Vec<&str> =
            tenants.iter().filter(|t| self.tenant(t).is_none()).map(|tenant| tenant.as_str()).collect();
        self.give(session, TENANTS, &unknown).await?;
        let unknown: Vec<String> =
            classes.iter().filter(|c| self.class(c).is_none()).map(|class| spec(class)).collect();
        let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
        self.give(session, CLASSES, &unknown).await
    }

    async fn give(&self, session: &mut PgConnection, table: usize, names: &[&str]) -> sqlx::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        query(AssertSqlSafe(self.table(table).insert.clone())).bind(names).execute(&mut *session).await?;
        self.learn(session, table, names).await
    }

    async fn learn(&self, session: &mut PgConnection, table: usize, names: &[&str]) -> sqlx::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let found = query(AssertSqlSafe(self.table(table).by_name.clone())).bind(names).fetch_all(session).await?;
        self.keep(table, &found)
    }

    fn keep(&self, table: usize, rows: &[sqlx::postgres::PgRow]) -> sqlx::Result<()> {
        let mut state = self.state();
        for row in rows {
            let (number, name): (i32, &str) = (row.try_get(0)?, row.try_get(1)?);
            if table == TENANTS {
                // One that cannot be read is named when a row needs it.
                if let Ok(tenant) = Tenant::new(name) {
                    state.keep_tenant(tenant, number);
                }
            } else if let Ok(class) = serde_json::from_str::<Class>(name) {
                let class = Arc::new(class);
                state.classes.insert(Arc::clone(&class), number);
                state.class_specs.insert(number, class);
            }
        }
        Ok(())
    }
}

impl State {
    fn trim(&mut self) {
        if self.tenants.len() > TENANTS_MAX {
            self.tenants.clear();
            self.tenant_names.clear();
        }
        if self.classes.len() > CLASSES_MAX {
            self.classes.clear();
            self.class_specs.clear();
        }
    }

    fn keep_tenant(&mut self, tenant: Tenant, number: i32) {
        self.tenants.insert(tenant.clone(), number);
        self.tenant_names.insert(number, tenant);
    }
}

/// The names for the sessions of hosts, which are not ours to keep anything with: each by what tells it from every other.
#[derive(Default)]
pub(super) struct Hosts(Mutex<HashMap<String, Arc<Names>>>);

/// Sessions of hosts that names are remembered for, at most.
const HOSTS_MAX: usize = 64;

impl Hosts {
    pub(super) fn names(&self, session: String, schema: &str) -> Arc<Names> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= HOSTS_MAX && !sessions.contains_key(&session) {
            sessions.clear();
        }
        Arc::clone(sessions.entry(session).or_insert_with(|| Arc::new(Names::new(schema))))
    }
}

fn spec(class: &Class) -> String {
    serde_json::to_string(class).expect("a class is names and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tenants_do_not_grow_what_is_remembered_without_end() {
        let names = Names::new("s");
        let tenant = |number: i32| Tenant::new(format!("t-{number}")).expect("a valid name");
        for number in 0..50_000 {
            names.trim();
            names.state().keep_tenant(tenant(number), number);
            assert_eq!(names.tenant(&tenant(number)), Some(number));
        }
        let state = names.state();
        assert!(state.tenants.len() <= TENANTS_MAX.saturating_add(1), "{}", state.tenants.len());
        assert_eq!(state.tenants.len(), state.tenant_names.len());
    }

    #[test]
    fn what_was_learnt_on_one_session_of_a_host_is_not_known_on_another() {
        let hosts = Hosts::default();
        let tenant = Tenant::default();
        hosts.names("1 of a server".into(), "s").state().keep_tenant(tenant.clone(), 7);
        assert_eq!(hosts.names("1 of a server".into(), "s").tenant(&tenant), Some(7));
        assert_eq!(hosts.names("1 of another".into(), "s").tenant(&tenant), None);
        for number in 0..1_000 {
            hosts.names(number.to_string(), "s");
        }
        assert!(hosts.0.lock().unwrap_or_else(PoisonError::into_inner).len() <= HOSTS_MAX);
    }
}
