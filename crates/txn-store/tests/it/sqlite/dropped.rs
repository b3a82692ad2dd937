//! Dropped calls: all of a change or nothing of it, no transaction left open, and the file free for whoever opens it next. Opening and closing are no futures here; what they find of dropped calls is.

use txn_store::{Erase, conformance::Drops};

use super::*;

/// Nobody reads an old state or writes: the write-ahead log can be emptied.
fn assert_at_rest(path: &Path) {
    for _ in 0..3_000 {
        let reader = rusqlite::Connection::open(path).unwrap();
        let busy = reader.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).unwrap();
        if busy == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("a dropped call has left a transaction open");
}

/// Case F38.
#[test]
fn every_call_is_dropped_while_it_waits_and_leaves_all_or_nothing() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    let (tenant, query) = (Tenant::default(), Query::Records(Range::kind(Kind::new(NOTE).unwrap())));
    done(&store, whole("first"));
    let mut written = 1;
    macro_rules! dropped {
        ($($name:literal: $call:expr),+ $(,)?) => {$({
            let mut drops = Drops::new();
            while !drops.is_over() {
                let id = |nth: u32| format!("{}-{}-{nth}", $name, drops.calls());
                let ids: Vec<String> = (0..3).map(id).collect();
                block_on(drops.call($call(&ids)));
                for id in &ids {
                    assert!([0, 3].contains(&parts(&store, id)), "{id} is half there");
                    done(&store, whole(id));
                    written += 1;
                }
            }
            println!("{}: {} calls, dropped after {} different numbers of polls", $name, drops.calls(), drops.places());
            assert!(drops.places() > 1 && drops.calls() > 8, "{}: {drops:?}", $name);
        })+};
    }
    dropped![
        "commit": |ids: &Vec<String>| store.commit(ids.iter().map(|id| commit_of(whole(id))).collect()),
        "erase": |_: &Vec<String>| store.erase(&tenant, vec![Erase::Record(key(NOTE, "first"))]),
        "get": |ids: &Vec<String>| store.get(vec![Ask::new(tenant.clone()).record(key(NOTE, &ids[0]))]),
        "find": |_: &Vec<String>| store.find(&tenant, &query, None, 10),
        "read": |_: &Vec<String>| store.read(Position(0), 10),
        "health": |_: &Vec<String>| store.health(),
        "export": |_: &Vec<String>| store.export(),
        "part": |_: &Vec<String>| async { store.export().await.unwrap().next(2).await },
    ];
    let all = get(&store, Ask::new(tenant.clone()).counter(key(TALLY, "all"))).unwrap();
    assert_eq!(all.counters[0].as_ref().unwrap().lanes.0[0], written);
    // Exports end on threads of their own, a moment after they are dropped.
    assert_at_rest(&path);
}

/// What a dropped call has begun went on after the store was closed: a log was left beside a file that was to be one, and somebody still wrote into it.
///
/// Case F38.
#[test]
fn a_store_that_is_closed_after_dropped_calls_is_one_file_and_opens_at_once() {
    let (_folder, path) = place();
    drop(Sqlite::open(&path).unwrap());
    for round in 0..60 {
        let id = format!("c-{round}");
        let store = Sqlite::open(&path).unwrap();
        done(&store, whole(&id));
        let what = vec![Erase::Record(key(NOTE, &id)), Erase::Answer(ChangeId::new(&id).unwrap())];
        for _ in 0..3 {
            // Dropped before the first poll, and after it.
            let (mut erasing, mut exporting) = (Drops::at_moments(0), Drops::at_moments(0));
            while erasing.calls() < 2 {
                block_on(erasing.call(store.erase(&Tenant::default(), what.clone())));
            }
            while exporting.calls() < 2 {
                block_on(exporting.call(store.export()));
            }
        }
        let mut begun = block_on(store.export()).unwrap();
        block_on(begun.next(1)).unwrap();
        drop(begun);
        drop(store);
        assert!(!beside(&path, "-wal").exists(), "round {round}: somebody has the file open");
        let store = Sqlite::open(&path).unwrap();
        done(&store, whole(&format!("d-{round}")));
    }
}

/// Case F38.
#[test]
fn a_hosts_transaction_that_is_dropped_after_any_step_holds_up_nobody() {
    let (_folder, path) = place();
    let store = Sqlite::open(&path).unwrap();
    let mut host = store.connection().unwrap();
    host.execute_batch("CREATE TABLE app_visits(visitor TEXT NOT NULL)").unwrap();
    for steps in 0..3 {
        let id = format!("h-{steps}");
        let tx = store.begin(&mut host).unwrap();
        if steps > 0 {
            tx.execute("INSERT INTO app_visits VALUES ('ann')", []).unwrap();
        }
        if steps > 1 {
            let _pending = store.commit_in(&tx, &Tenant::default(), &whole(&id)).unwrap();
        }
        drop(tx);
        assert_eq!(parts(&store, &id), 0);
        assert!(!done(&store, whole(&id)).replayed);
    }
    let visits: i64 = host.query_row("SELECT count(*) FROM app_visits", [], |row| row.get(0)).unwrap();
    assert_eq!(visits, 0);
    drop(host);
    assert_at_rest(&path);
}
