//! Installing views: in one transaction, under the lock of the one owner.
//!
//! SQLite keeps the text of what it made, and in it the mark that names its digest: no table of ours remembers it.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::rows::failed;
use crate::{
    error::{Error, ErrorKind},
    views::{PREFIX, View, Wanted, columns},
};

/// What stands in the text of everything that was made here.
const MARK: &str = "/* txn view";

/// The texts of views and indexes, by kind and name. What has no text was made by a constraint.
const INSTALLED: &str = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL";

pub(super) fn install(connection: &mut Connection, views: &[View]) -> Result<(), Error> {
    let doing = failed("installing the views");
    let wanted = Wanted::of(views, |view| &view.sqlite)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&doing)?;
    let is_changed = run(&transaction, &wanted)?;
    if is_changed { transaction.commit() } else { transaction.rollback() }.map_err(&doing)
}

fn run(transaction: &Transaction<'_>, wanted: &Wanted) -> Result<bool, Error> {
    let doing = failed("installing the views");
    let make = wanted
        .views
        .iter()
        .map(|(name, (view, digest))| {
            let select = view.sqlite.select;
            (*name, ("view", format!("CREATE VIEW {name}({}) AS {MARK} {digest} */ {select}", columns(view))))
        })
        .chain(wanted.indexes.iter().map(|(name, (text, digest))| {
            (*name, ("index", format!("CREATE INDEX {name} {MARK} {digest} */ ON {text}")))
        }));
    let make: BTreeMap<&str, (&str, String)> = make.collect();
    let mut current = Vec::new();
    let mut drop = String::new();
    for (kind, name, text) in installed(transaction).map_err(&doing)? {
        let is_ours = text.contains(MARK) || (kind == "index" && name.starts_with(PREFIX));
        match make.get(name.as_str()) {
            Some((_, wanted)) if *wanted == text => current.push(name),
            Some(_) if !is_ours => {
                let context = format!("cannot install {name}: the database holds a {kind} of that name by others");
                return Err(Error::new(ErrorKind::Invalid, context));
            }
            // Quoted: a name of ours needs it no more than any, and a name by others is never here.
            _ if is_ours => drop.push_str(&format!("DROP {kind} \"{}\";", name.replace('"', "\"\""))),
            _ => {}
        }
    }
    let mut is_changed = !drop.is_empty();
    transaction.execute_batch(&drop).map_err(&doing)?;
    for (name, (_, statement)) in make {
        if !current.iter().any(|current| current == name) {
            transaction.execute_batch(&statement).map_err(&doing)?;
            is_changed = true;
        }
    }
    Ok(is_changed)
}

fn installed(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(String, String, String)>> {
    let mut statement = transaction.prepare(INSTALLED)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}
