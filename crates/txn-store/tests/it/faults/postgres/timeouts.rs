//! Our own timeouts: of a lock that somebody holds, and of a statement that takes too long.

use std::{
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
    faults::{hit, wait_for},
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

/// How many of the store's sessions wait for a lock.
fn waiting(scene: &Scene) -> i64 {
    let name = format!("txn {}", scene.schema);
    let text = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name";
    number(&scene.url, &format!("{text} = '{name}'"))
}

fn open(scene: &Scene, limits: StoreLimits) -> Postgres {
    let options = Postgres::options(&scene.url).unwrap().schema(&scene.schema).readers(1);
    RUNTIME.block_on(options.deadline(DEADLINE).limits(limits).open()).unwrap()
}

/// A table that a host has locked: the lock is not given in time, the group is rolled back and tried again, for as long as a change may wait. Who waited longer is told, and nothing is executed; who did not is done when
/// the host has ended.
///
/// Case F37.
#[test]
fn a_lock_that_is_not_given_in_time_rolls_back_and_the_change_is_tried_again() {
    let scene = Scene::new(Workload { seed: 370, changes: 20, workers: 2, ..Workload::default() });
    let store = open(&scene, StoreLimits { wait_max: Duration::from_secs(4), ..StoreLimits::default() });
    assert!(matches!(commit(&store, &["first"])[..], [Ok(Outcome::Done(_))]));
    for (held, is_done) in [(Duration::from_millis(1_500), true), (Duration::from_secs(8), false)] {
        let name = format!("held/{}", held.as_millis());
        let mut host = RUNTIME.block_on(PgConnection::connect(&scene.url)).unwrap();
        let lock = format!("BEGIN; LOCK TABLE \"{}\".term IN ACCESS EXCLUSIVE MODE", scene.schema);
        RUNTIME.block_on(raw_sql(AssertSqlSafe(lock)).execute(&mut host)).unwrap();
        let begun = Instant::now();
        let told = thread::scope(|scope| {
            let asked = scope.spawn(|| commit(&store, &[&name]).pop().unwrap());
            wait_for("a session that waits for the lock", || waiting(&scene) > 0);
            let mut ended = 0;
            while begun.elapsed() < held && !asked.is_finished() {
                // A session that gave up waiting has none of its transaction left.
                ended += u64::from(waiting(&scene) == 0);
                thread::sleep(Duration::from_millis(1));
            }
            hit("a wait for a lock that ended while it was held", ended);
            if is_done {
                RUNTIME.block_on(raw_sql("COMMIT").execute(&mut host)).unwrap();
            }
            asked.join().unwrap()
        });
        println!("held {held:?}: {told:?} after {:?}", begun.elapsed());
        if is_done {
            assert!(matches!(&told, Ok(Outcome::Done(receipt)) if !receipt.replayed), "{told:?}");
        } else {
            let error = told.unwrap_err();
            assert!(error.is_retryable(), "{error}");
            assert!(begun.elapsed() < held, "answered while the lock was held: {:?}", begun.elapsed());
            RUNTIME.block_on(raw_sql("COMMIT").execute(&mut host)).unwrap();
            assert_eq!(are_there(&store, &[&name]), [false]);
            assert!(matches!(&commit(&store, &[&name])[..], [Ok(Outcome::Done(receipt))] if !receipt.replayed));
        }
        assert_eq!(are_there(&store, &[&name]), [true]);
    }
    drop(store);
    scene.end();
}

/// A statement that takes too long is ended by the server: the group is rolled back and halved, until the change that is the reason is alone. That one is told so, and the others of its group are done.
///
/// Case F37.
#[test]
fn a_statement_that_takes_too_long_rolls_back_and_only_its_change_is_refused() {
    let scene = Scene::new(Workload { seed: 371, changes: 20, workers: 2, ..Workload::default() });
    let store = open(&scene, StoreLimits::default());
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
