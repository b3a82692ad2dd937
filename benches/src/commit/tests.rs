//! That the comparison is fair: all sides leave the same rows.

use std::sync::Arc;

use rusqlite::Connection;
use txn_store::sqlite::Sqlite;

use super::*;

/// How many rows each table has beyond those of the openings, and all balances.
type Left = (Vec<i64>, Vec<(i64, i64, i64)>);

fn left(connection: &Connection, openings: bool) -> Left {
    let count = |table: &str, where_: &str| -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {table} WHERE {where_}"), [], |row| row.get(0)).unwrap()
    };
    // Ours opened the accounts through changes, which the peers inserted as rows.
    let transfers = if openings { "n IN (SELECT n FROM change WHERE id LIKE 'ledger.transfer/t-%')" } else { "1" };
    let terms = format!("position IN (SELECT position FROM event WHERE {transfers})");
    let counts = vec![
        count("change", transfers),
        count("entry", transfers),
        count("event", transfers),
        count("event_term", &terms),
    ];
    let mut statement =
        connection.prepare("SELECT l1, l3, sequence FROM counter WHERE l1 >= 1000000000000 ORDER BY key").unwrap();
    let balances = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    (counts, balances.map(Result::unwrap).collect())
}

#[test]
fn ours_and_both_peers_leave_the_same_rows() {
    const COUNT: usize = 96;
    let runtime = callers::runtime();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let work = || work(SEED, COUNT, Means::Enough);
    let rows = || work().into_iter().map(Row::of).collect::<Vec<Row>>();

    let ran = ours::run(&runtime, Arc::new(Sqlite::open(path("ours")).unwrap()), 8, work(), Means::Enough);
    assert!((1..=COUNT).contains(&ran.groups));
    let ours = left(&Connection::open(path("ours")).unwrap(), true);
    assert_eq!(ours.0, [96, 192, 192, 192]);
    assert_eq!(ours.1.len(), 1_000);

    let by_hand = groups::open(&path("groups")).unwrap();
    groups::run(&by_hand, rows(), 7).unwrap();
    assert_eq!(left(&by_hand, false), ours);

    let pool = runtime.block_on(transactions::open(&path("pool"), 4)).unwrap();
    transactions::run(&runtime, &pool, 8, rows());
    runtime.block_on(pool.close());
    assert_eq!(left(&Connection::open(path("pool")).unwrap(), false), ours);
}

#[test]
fn every_measurement_of_a_small_run_is_a_number_above_zero() {
    let folder = tempfile::tempdir().unwrap();
    let medium = Medium { folder: folder.path().into(), name: String::new() };
    let measurements = measure(1, &medium, Size { grouped: 64, flushed: 16, repeated: 40 });
    let names: Vec<&str> = measurements.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names.len(), 25, "{names:?}");
    assert!(measurements.iter().all(|m| m.ours.len() == 1 && m.ours[0] > 0.0), "{names:?}");
}
