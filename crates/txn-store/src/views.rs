//! Views: named queries that a store installs beside its tables, for people and for tools that speak SQL.
//!
//! The definitions are a host's, as values; a store knows their text only. A backend's `Options::views` takes the whole list and makes the database hold
//! exactly it when the store is opened: what is missing is made, what has changed is replaced, and what an earlier list had and this one has not is dropped.
//! What is current is left alone, so that any number of processes may start at once. Data tables and their format are never touched, and a store that is opened
//! without a list changes nothing.
//!
//! An index costs every commit that writes its table, whoever reads it; that is why it comes with the view that wants it, and goes with it.
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! use txn_store::{sqlite::Sqlite, views::{Column, Definition, View}};
//! const CHANGES: View = View {
//!     name: "changes",
//!     meaning: "One row per committed change.",
//!     columns: &[Column { name: "change_id", postgres: "text", sqlite: "TEXT", meaning: "The id of the change." }],
//!     postgres: Definition { functions: &[], select: "SELECT id FROM $s.change", indexes: &[] },
//!     sqlite: Definition { functions: &[], select: "SELECT id FROM change", indexes: &[] },
//! };
//! let folder = tempfile::tempdir()?;
//! let store = Sqlite::options(folder.path().join("shop.db")).views([CHANGES]).open()?;
//! # drop(store);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod wanted;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use wanted::{PREFIX, Wanted, columns};

/// A view with what it needs, for every database. Names of views, columns, functions and indexes are 1 to 31 of `a-z`, `0-9` and `_`, no digit in front.
///
/// The texts go into statements as they are: they are a program's constants, never input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The name.
    pub name: &'static str,
    /// What a row is, for people. PostgreSQL shows it as the view's comment.
    pub meaning: &'static str,
    /// Its columns, in the order in which the query gives them.
    pub columns: &'static [Column],
    /// Its text for PostgreSQL. `$s` stands for the schema.
    pub postgres: Definition,
    /// Its text for SQLite.
    pub sqlite: Definition,
}

/// A column of a [`View`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The name.
    pub name: &'static str,
    /// Its type in PostgreSQL.
    pub postgres: &'static str,
    /// What SQLite gives, which is no declared type there: `TEXT`, `INTEGER`.
    pub sqlite: &'static str,
    /// What it says, for people. PostgreSQL shows it as the column's comment.
    pub meaning: &'static str,
}

/// The text of a [`View`] for one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// Functions that the query and the indexes call; PostgreSQL only. Views may share one, word for word.
    pub functions: &'static [Part],
    /// The query.
    pub select: &'static str,
    /// The indexes that serve it. Views may share one, word for word.
    pub indexes: &'static [Part],
}

/// A function or an index, by name. Names begin with `view_`, which keeps them apart from a store's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The name.
    pub name: &'static str,
    /// What stands behind `CREATE FUNCTION name` or `CREATE INDEX name ON`. A function whose arguments or result change takes another name.
    pub text: &'static str,
}
