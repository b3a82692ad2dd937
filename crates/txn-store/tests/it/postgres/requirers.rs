//! A record that many processes require, and that one of them wants to write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pollster::block_on;
use txn_change::{Body, Change, ChangeId, Expect, Fingerprint, Key, Kind, Tenant};
use txn_store::{Commit, Outcome, Store, postgres::Postgres};

use super::server::{self, RUNTIME};

fn change(id: &str) -> Change {
    Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("requirers", id.as_bytes()))
}

async fn commit(store: &Postgres, change: Change) -> Outcome {
    let batch = vec![Commit { tenant: Tenant::default(), change }];
    store.commit(batch).await.pop().unwrap().unwrap()
}

fn price() -> Key {
    Key::of(Kind::new("price").unwrap()).number(1).build()
}

fn write(id: &str, expect: Expect) -> Change {
    change(id).put(price(), expect, Body::raw("price", 1, b"1".to_vec()), Vec::new())
}

/// A price that every order requires, in this process and in others, can be changed while orders come, though those who only read a row share its lock and pass one who waits to write.
#[test]
fn a_record_that_others_require_all_the_time_can_be_written() {
    let schema = server::fresh_schema();
    let open = || Arc::new(block_on(server::open(server::options(&schema))).unwrap());
    let stores: Vec<_> = (0..5).map(|_| open()).collect();
    assert!(matches!(block_on(commit(&stores[0], write("first", Expect::Absent))), Outcome::Done(_)));
    let (is_over, required) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for (number, store) in stores.iter().flat_map(|store| [store; 8]).enumerate() {
        let (store, is_over, required) = (Arc::clone(store), Arc::clone(&is_over), Arc::clone(&required));
        tasks.push(RUNTIME.spawn(async move {
            for round in 0.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let requirer = change(&format!("r/{number}/{round}")).require(price(), Expect::Version(1));
                if matches!(commit(&store, requirer).await, Outcome::Done(_)) {
                    required.fetch_add(1, Ordering::SeqCst);
                }
            }
        }));
    }
    while required.load(Ordering::SeqCst) < 200 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (began, before) = (Instant::now(), required.load(Ordering::SeqCst));
    let written = block_on(commit(&stores[0], write("second", Expect::Version(1))));
    let (took, passed) = (began.elapsed(), required.load(Ordering::SeqCst) - before);
    is_over.store(true, Ordering::SeqCst);
    for task in tasks {
        block_on(task).unwrap();
    }
    println!("written after {took:?}, while {passed} were done that require it");
    assert!(matches!(written, Outcome::Done(_)), "{written:?}");
    assert!(took < Duration::from_secs(10), "by chance, and not because it was its turn");
}
