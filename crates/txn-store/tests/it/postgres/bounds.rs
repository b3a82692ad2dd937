//! How long a call waits, and for whom: not for others beyond its own deadline, and not for pages when it only wants a snapshot.

use std::{
    net::ToSocketAddrs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime, task::JoinSet};
use txn_change::{Kind, Tenant};
use txn_store::{Ask, ErrorKind, Query, Range, Store, faults::Proxy, postgres::Postgres};

use super::{
    sample::{body, change, done, note},
    server,
};

fn alone(test: impl Future<Output = ()>) {
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn notes() -> Query {
    Query::Records(Range::kind(Kind::new("note").unwrap()))
}

/// A way to the server, and the URL through it.
fn through() -> (Proxy, String) {
    let url = server::url();
    let (head, tail) = url.split_once('@').unwrap();
    let (place, database) = tail.split_once('/').unwrap();
    let proxy = Proxy::to(place.to_socket_addrs().unwrap().next().unwrap()).unwrap();
    let through = format!("{head}@{}/{database}", proxy.address());
    (proxy, through)
}

/// Each question that a server did not answer once had its deadline to itself, one after another: of sixty pages asked for together, over two readers, the last was given up after thirty deadlines. Each is given up at its own
/// deadline, wherever it stands, and when the server answers again nothing of it is left in the way.
#[test]
fn of_sixty_pages_asked_of_a_server_that_hangs_none_waits_longer_than_its_deadline() {
    alone(async {
        let (proxy, through) = through();
        let deadline = Duration::from_millis(500);
        let options =
            Postgres::options(&through).unwrap().schema(&server::fresh_schema()).readers(2).deadline(deadline);
        let store = Arc::new(options.open().await.unwrap());
        done(&store, vec![change("first").insert(note(1), body(), vec![])]).await;
        proxy.hold();
        let begun = Instant::now();
        let mut pages = JoinSet::new();
        for _ in 0..60 {
            let store = Arc::clone(&store);
            pages.spawn(async move {
                let error = store.find(&Tenant::default(), &notes(), None, 1).await.unwrap_err();
                (error.kind(), begun.elapsed())
            });
        }
        for (kind, took) in pages.join_all().await {
            // Ten seconds, for a machine that is busy; the last one took fifteen and more.
            assert!(
                kind == ErrorKind::Unavailable && took >= deadline && took < deadline * 20,
                "{kind:?} after {took:?}"
            );
        }
        proxy.flow();
        while store.find(&Tenant::default(), &notes(), None, 1).await.is_err() {
            assert!(begun.elapsed() < deadline * 28, "the readers still ask for those who have gone");
        }
    });
}

/// A reader once served what it had taken in turn, and snapshots last: whoever had something to decide waited for up to 64 pages that others looked at, and for all that stood before those.
#[test]
fn a_snapshot_stands_behind_no_more_than_the_page_that_is_being_read() {
    alone(async {
        let (proxy, through) = through();
        let options = Postgres::options(&through).unwrap().schema(&server::fresh_schema()).readers(1);
        let store = Arc::new(options.open().await.unwrap());
        done(&store, vec![change("first").insert(note(1), body(), vec![])]).await;
        // So long that who is answered hears of it before the next one is.
        proxy.delay(Duration::from_millis(10));
        let seen = Arc::new(AtomicUsize::new(0));
        let mut pages = JoinSet::new();
        for _ in 0..200 {
            let (store, seen) = (Arc::clone(&store), Arc::clone(&seen));
            pages.spawn(async move {
                store.find(&Tenant::default(), &notes(), None, 10).await.unwrap();
                seen.fetch_add(1, Ordering::SeqCst);
            });
        }
        pages.join_next().await;
        for _ in 0..4 {
            let before = seen.load(Ordering::SeqCst);
            let told = store.get(vec![Ask::new(Tenant::default()).record(note(1))]).await.unwrap();
            assert_eq!(told[0].records[0].as_ref().map(|record| record.version), Some(1));
            let passed = seen.load(Ordering::SeqCst) - before;
            assert!(passed <= 2, "{passed} pages came first");
        }
        assert!(seen.load(Ordering::SeqCst) < 200, "pages were waiting all the time");
    });
}
