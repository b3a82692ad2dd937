//! Our own timeouts: of a lock that somebody holds, and of a statement that takes too long.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};
use txn_change::{Body, Change, ChangeId, Fingerprint, Key, Kind};
use txn_store::{
    Ask, Commit, Error, ErrorKind, Outcome, StoreAdmin, StoreLimits, conformance::block_on, faults::Workload,
    postgres::Postgres,
};

use super::{Scene, execute, number};
use crate::{
    faults::{PATIENCE, hit},
    postgres::server::RUNTIME,
};

const DEADLINE: Duration = Duration::from_secs(2);

fn key(name: &str) -> Key {
    Key::of(Kind::new("timeout").unwrap()).text(name).unwrap().build()
}

/// A record and an event.
fn change(name: &str) -> Commit {
    let body = || Body::raw("n", 1, name.as_bytes().to_vec());
    let change = Change::new(ChangeId::new(name).unwrap(), Fingerprint::of_bytes("timeout", name.as_bytes()));
    let change = change.insert(key(name), body(), vec![key("all")]).append(txn_change::Event::new(body()));
    Commit { tenant: Workload::tenant(), change }
}

fn commit(store: &dyn StoreAdmin, names: &[&str]) -> Vec<Result<Outcome, Error>> {
    block_on(store.commit(names.iter().map(|name| change(name)).collect()))
}

/// Whether each has its id, its record and its term; a half change is none of these.
fn are_there(store: &dyn StoreAdmin, names: &[&str]) -> Vec<bool> {
    let asks =
        names.iter().map(|name| Ask::new(Workload::tenant()).stored(ChangeId::new(name).unwrap()).record(key(name)));
    let found = block_on(store.get(asks.collect())).unwrap();
    let is_there = found.iter().map(|found| {
        assert_eq!(found.stored.is_some(), found.records[0].is_some(), "half a change");
        found.stored.is_some()
    });
    is_there.collect()
}

/// When the transaction of the store that waits for a lock was begun, in microseconds; 0 when none waits.
fn waits_since(scene: &Scene) -> i64 {
    let name = format!("txn {}", scene.schema);
    let text = "SELECT coalesce(max(extract(epoch FROM xact_start) * 1000000), 0)::int8 FROM pg_stat_activity \
                WHERE wait_event_type = 'Lock' AND application_name";
    number(&scene.url, &format!("{text} = '{name}'"))
}

fn open(scene: &Scene, deadline: Duration, limits: StoreLimits) -> Postgres {
    let options = Postgres::options(&scene.url).unwrap().schema(&scene.schema).readers(1);
    RUNTIME.block_on(options.deadline(deadline).limits(limits).open()).unwrap()
}

/// A table that a host has locked: the lock is not given in time, the group is rolled back and tried again, for as long as a change may wait: nine times by those who do not wait for rows, and then by the one who does, whose wait for a
/// lock was longer than a statement might take, so that it never came to try again. Who waited longer is told so, and nothing is executed; who did not is done when the host has ended.
///
/// Case F37.
#[test]
fn a_lock_that_is_not_given_in_time_rolls_back_and_the_change_is_tried_again_until_it_has_waited_too_long() {
    // By the hasty ones for half a second each time, by the patient one for 600 ms.
    let deadline = Duration::from_millis(1_200);
    let scene = Scene::new(Workload { seed: 370, changes: 20, workers: 2, ..Workload::default() });
    let short = Duration::from_secs(8);
    for (is_given, tries_min, wait_max) in [(true, 2, PATIENCE), (true, 11, PATIENCE), (false, 2, short)] {
        let store = open(&scene, deadline, StoreLimits { wait_max, ..StoreLimits::default() });
        let name = format!("held/{is_given}/{tries_min}");
        assert!(matches!(commit(&store, &[&format!("first/{name}")])[..], [Ok(Outcome::Done(_))]));
        let mut host = RUNTIME.block_on(PgConnection::connect(&scene.url)).unwrap();
        let lock = format!("BEGIN; LOCK TABLE \"{}\".term IN ACCESS EXCLUSIVE MODE", scene.schema);
        RUNTIME.block_on(raw_sql(AssertSqlSafe(lock)).execute(&mut host)).unwrap();
        let begun = Instant::now();
        let (told, took) = thread::scope(|scope| {
            let asked = scope.spawn(|| (commit(&store, &[&name]).pop().unwrap(), begun.elapsed()));
            // Each that waits is another transaction: the one before has ended.
            let mut tries = BTreeSet::new();
            while !asked.is_finished() && (!is_given || tries.len() < tries_min) {
                assert!(begun.elapsed() < PATIENCE, "{name}: tried {} times, and is not answered", tries.len());
                tries.extend(Some(waits_since(&scene)).filter(|since| *since > 0));
                thread::sleep(Duration::from_millis(5));
            }
            assert!(tries.len() >= tries_min, "{name}: tried {} times in {:?}", tries.len(), begun.elapsed());
            hit("a transaction that waited for a lock", tries.len() as u64);
            assert_eq!(asked.is_finished(), !is_given, "{name}: answered while the lock was held, and in time");
            if is_given {
                RUNTIME.block_on(raw_sql("COMMIT").execute(&mut host)).unwrap();
            }
            asked.join().unwrap()
        });
        println!("{name}: {told:?} after {took:?}");
        if is_given {
            assert!(matches!(&told, Ok(Outcome::Done(receipt)) if !receipt.replayed), "{told:?}");
        } else {
            let error = told.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Overloaded, "it has waited too long: {error}");
            assert!(error.is_retryable(), "{error}");
            assert!(wait_max <= took && took < wait_max * 5, "after {took:?}, of {wait_max:?}");
            assert_eq!(waits_since(&scene), 0, "it is rolled back");
            RUNTIME.block_on(raw_sql("COMMIT").execute(&mut host)).unwrap();
            assert_eq!(are_there(&store, &[&name]), [false]);
            assert!(matches!(&commit(&store, &[&name])[..], [Ok(Outcome::Done(receipt))] if !receipt.replayed));
        }
        assert_eq!(are_there(&store, &[&name]), [true]);
    }
    scene.end();
}

/// A statement that takes too long is ended by the server: the group is rolled back and halved, until the change that is the reason is alone. That one is told so, and the others of its group are done.
///
/// Case F37.
#[test]
fn a_statement_that_takes_too_long_rolls_back_and_only_its_change_is_refused() {
    let scene = Scene::new(Workload { seed: 371, changes: 20, workers: 2, ..Workload::default() });
    let store = open(&scene, DEADLINE, StoreLimits::default());
    let schema = &scene.schema;
    let slow = format!(
        "CREATE FUNCTION \"{schema}\".slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF convert_from(new.body, 'UTF8') = 'slow' THEN PERFORM pg_sleep(30); END IF; RETURN new; \
         END $$; \
         CREATE TRIGGER slow BEFORE INSERT ON \"{schema}\".record FOR EACH ROW EXECUTE FUNCTION \"{schema}\".slow()"
    );
    execute(&scene.url, &slow).unwrap();
    let names = ["a", "b", "slow", "c"];
    let begun = Instant::now();
    let told = commit(&store, &names);
    println!("{told:?} after {:?}", begun.elapsed());
    let mut hits = 0;
    for (name, told) in names.iter().zip(&told) {
        match told {
            Ok(Outcome::Done(_)) => assert_ne!(*name, "slow"),
            Err(error) => {
                assert_eq!((*name, error.kind()), ("slow", ErrorKind::Unavailable), "{error}");
                hits += u64::from(format!("{error:?}").contains("57014"));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    hit("a statement that the server ended", hits);
    assert_eq!(are_there(&store, &names), [true, true, false, true]);
    execute(&scene.url, &format!("DROP TRIGGER slow ON \"{schema}\".record")).unwrap();
    assert!(matches!(&commit(&store, &["slow"])[..], [Ok(Outcome::Done(receipt))] if !receipt.replayed));
    assert_eq!(are_there(&store, &names), [true; 4]);
    drop(store);
    scene.end();
}
