//! SQL views for people and for tools that read databases: orders, order lines, payments, stock, accounts and transfers.
//!
//! The definitions stand here; a store installs them when it is opened with them. `docs/views.md` tells every column, which filters an index serves, and how to
//! page. Amounts are in minor units beside their currency. A body that was erased, or that is of a shape this build does not know, shows nulls, never an error.
//!
//! *Not* here: rows as Rust types. A program reads through the services, or finds records with [`Scope::find`](txn_store::Scope::find).
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! use txn::{store::sqlite::Sqlite, views};
//! let folder = tempfile::tempdir()?;
//! let store = Sqlite::options(folder.path().join("shop.db")).views(views::all()).open()?;
//! # drop(store);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[macro_use]
mod postgres;
#[macro_use]
mod sqlite;

mod accounts;
mod order_lines;
mod orders;
mod payments;
mod stock;
mod transfers;

use txn_store::views::{Column, View};

/// Every view.
///
/// ```
/// let names: Vec<&str> = txn::views::all().iter().map(|view| view.name).collect();
/// assert_eq!(names, ["accounts", "order_lines", "orders", "payments", "stock", "transfers"]);
/// ```
#[must_use]
pub const fn all() -> [View; 6] {
    [accounts::VIEW, order_lines::VIEW, orders::VIEW, payments::VIEW, stock::VIEW, transfers::VIEW]
}

/// A column of text.
const fn text(name: &'static str, meaning: &'static str) -> Column {
    Column { name, postgres: "text", sqlite: "TEXT", meaning }
}

/// A column of numbers that fit 64 bits.
const fn count(name: &'static str, meaning: &'static str) -> Column {
    Column { name, postgres: "bigint", sqlite: "INTEGER", meaning }
}

/// A column of amounts in minor units, or of anything else that may pass 64 bits.
const fn amount(name: &'static str, meaning: &'static str) -> Column {
    Column { name, postgres: "numeric", sqlite: "INTEGER", meaning }
}

/// A column of instants.
const fn instant(name: &'static str, meaning: &'static str) -> Column {
    Column { name, postgres: "timestamp with time zone", sqlite: "TEXT", meaning }
}

const fn small(name: &'static str, meaning: &'static str) -> Column {
    Column { name, postgres: "smallint", sqlite: "INTEGER", meaning }
}

const fn truth(name: &'static str, meaning: &'static str) -> Column {
    Column { name, postgres: "boolean", sqlite: "INTEGER", meaning }
}

const TENANT: Column = text("tenant", "The tenant's name.");
const TENANT_NO: Column =
    Column { name: "tenant_no", postgres: "integer", sqlite: "INTEGER", meaning: "The tenant's number, for paging." };
const VERSION: Column = count("version", "The version of the row that the store keeps; it grows with every change.");
const IS_ERASED: Column = truth("is_erased", "Whether the content was erased; what stood in it is null.");
