//! The SQL views: every row says what the services say, filters are served by indexes, pages are stable, and no content makes a view fail.

#[path = "views/cases.rs"]
mod cases;
#[path = "views/documents.rs"]
mod documents;
#[path = "views/expected.rs"]
mod expected;
#[path = "views/plans.rs"]
mod plans;
#[cfg(feature = "servers")]
#[path = "views/postgres.rs"]
mod postgres;
#[cfg(feature = "sqlite")]
#[path = "views/sqlite.rs"]
mod sqlite;

use std::sync::Arc;

use txn::{
    store::{Error, ManualClock, StoreAdmin, views::View},
    views,
};

/// A row: every value as text.
pub(crate) type Row = Vec<Option<String>>;

/// A database with the views, and a way to ask it behind the store's back.
pub(crate) trait Database {
    /// The clock of its store.
    fn clock(&self) -> Arc<ManualClock>;
    /// Opens its store with these views.
    fn try_open(&self, views: &[View]) -> Result<Arc<dyn StoreAdmin>, Error>;
    /// The rows of a query whose columns are all text.
    fn query(&self, sql: &str) -> Vec<Row>;
    /// Runs statements by hand. No store is open then.
    fn run(&self, sql: &str);
    /// How a query would be run.
    fn plan(&self, sql: &str) -> String;
    /// The views, indexes and functions that were installed, and something that differs when one was made again.
    fn installed(&self) -> Vec<Row>;
    /// Whether it speaks PostgreSQL's dialect.
    fn is_postgres(&self) -> bool;
    /// Opens its store with these views.
    fn open(&self, views: &[View]) -> Arc<dyn StoreAdmin> {
        self.try_open(views).unwrap()
    }
}

pub(crate) fn view(name: &str) -> View {
    views::all().into_iter().find(|view| view.name == name).unwrap()
}

/// All rows of a view that fit, each as its columns' texts.
pub(crate) fn select(database: &dyn Database, view: &View, and: &str) -> Vec<Row> {
    let columns: Vec<String> = view.columns.iter().map(|column| format!("CAST({} AS TEXT)", column.name)).collect();
    let mut rows = database.query(&format!("SELECT {} FROM {} {and}", columns.join(", "), view.name));
    for row in &mut rows {
        for (value, column) in row.iter_mut().zip(view.columns) {
            if column.postgres == "boolean" && !database.is_postgres() {
                *value = value.take().map(|value| (value == "1").to_string());
            }
        }
    }
    rows
}

/// Bytes as they stand in a statement.
pub(crate) fn blob(database: &dyn Database, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if database.is_postgres() { format!("'\\x{digits}'") } else { format!("X'{digits}'") }
}

/// One value.
pub(crate) fn value(database: &dyn Database, sql: &str) -> Option<String> {
    database.query(sql).into_iter().next().and_then(|row| row.into_iter().next().flatten())
}
