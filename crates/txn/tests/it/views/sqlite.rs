//! The cases on SQLite, read by a connection of its own.

use std::{path::PathBuf, sync::Arc};

use rusqlite::{Connection, OpenFlags, types::Value};
use tempfile::TempDir;
use txn::store::{
    Error, ManualClock, StoreAdmin,
    sqlite::{Durability, Sqlite},
    views::View,
};

use super::{Database, Row, cases};
use crate::scenario;

struct File {
    clock: Arc<ManualClock>,
    path: PathBuf,
    _folder: TempDir,
}

fn file() -> File {
    let folder = tempfile::tempdir().unwrap();
    File { clock: Arc::new(ManualClock::at(scenario::start())), path: folder.path().join("shop.db"), _folder: folder }
}

impl File {
    fn reader(&self) -> Connection {
        Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }
}

impl Database for File {
    fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }

    fn try_open(&self, views: &[View]) -> Result<Arc<dyn StoreAdmin>, Error> {
        let options = Sqlite::options(&self.path).clock(self.clock() as _).durability(Durability::Process);
        Ok(Arc::new(options.views(views.iter().copied()).open()?))
    }

    fn query(&self, sql: &str) -> Vec<Row> {
        let reader = self.reader();
        let mut statement = reader.prepare(sql).unwrap();
        let columns = statement.column_count();
        let text = |value: Value| match value {
            Value::Null => None,
            Value::Integer(number) => Some(number.to_string()),
            Value::Text(text) => Some(text),
            other => panic!("{other:?} in {sql}"),
        };
        let rows = statement.query_map([], |row| (0..columns).map(|at| row.get(at).map(text)).collect()).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    fn run(&self, sql: &str) {
        Connection::open(&self.path).unwrap().execute_batch(sql).unwrap();
    }

    fn plan(&self, sql: &str) -> String {
        let reader = self.reader();
        let mut statement = reader.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps: Result<Vec<String>, _> = statement.query_map([], |row| row.get(3)).unwrap().collect();
        steps.unwrap().join("\n")
    }

    fn installed(&self) -> Vec<Row> {
        let version = self.query("PRAGMA schema_version").remove(0).remove(0);
        let names = "SELECT name, sql FROM sqlite_schema WHERE type = 'view' OR name LIKE 'view%' ORDER BY name";
        let mut rows = self.query(names);
        rows.iter_mut().for_each(|row| row.push(version.clone()));
        rows
    }

    fn is_postgres(&self) -> bool {
        false
    }
}

#[test]
fn every_row_says_what_the_store_says() {
    cases::every_row_says_what_the_store_says(&file());
}

#[test]
fn no_content_makes_a_view_fail() {
    cases::no_content_makes_a_view_fail(&file());
}

#[test]
fn pages_are_stable_while_others_write() {
    cases::pages_are_stable_while_others_write(&file());
}

#[test]
fn every_documented_filter_is_served_by_an_index() {
    super::plans::every_documented_filter_is_served_by_an_index(&file());
}

#[test]
fn views_are_installed_once_replaced_when_changed_and_taken_away() {
    cases::views_are_installed_once_replaced_when_changed_and_taken_away(&file());
}

/// What SQLite cannot hold in a number is shown as digits, and nothing is computed of it.
#[test]
fn a_lane_beyond_64_bits_is_shown_in_hexadecimal() {
    let file = file();
    drop(file.open(&txn::views::all()));
    file.run(
        "INSERT INTO tenant VALUES (1, 'shop');
         INSERT INTO counter VALUES (1, 1, CAST('stock' || char(0, 1) || 'tea' || char(0, 1) || 'main' || char(0) AS BLOB), 1, 'item', '[null,null]', 0, 1, 1, 1,
             X'00000000000000010000000000000000', 0, 0, 7);",
    );
    let row = super::select(&file, &super::view("stock"), "");
    let shown: Vec<Option<&str>> = row[0].iter().map(Option::as_deref).collect();
    let lanes = [Some("0x00000000000000010000000000000000"), Some("0"), Some("0"), Some("7"), None];
    assert_eq!(shown[2..9], [&[Some("tea"), Some("main")][..], &lanes[..]].concat()[..]);
}
