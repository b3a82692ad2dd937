//! An export holds a transaction open, but not for ever.

use std::time::{Duration, Instant};

use pollster::block_on;
use sqlx::{Connection, PgConnection, Row};
use txn_change::{Change, ChangeId, Fingerprint, Tenant};
use txn_store::{Commit, ErrorKind, Outcome, Store, StoreAdmin};

use super::server;

/// How many sessions of a store in this schema stand in a transaction and do nothing.
async fn idle(schema: &str) -> i64 {
    let mut session = PgConnection::connect(&server::url()).await.unwrap();
    let text = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle in transaction'";
    sqlx::query(text).bind(format!("txn {schema}")).fetch_one(&mut session).await.unwrap().get(0)
}

/// Waits until so many do. Right after a part was answered, its session may be fetching rows of the next.
async fn until_idle(schema: &str, count: i64, at_most: Duration) {
    let since = Instant::now();
    loop {
        let found = idle(schema).await;
        if found == count {
            return;
        }
        assert!(since.elapsed() < at_most, "{found} transactions are open and at rest, and not {count}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whoever asked for one part and no more kept a transaction open until the process ended, and the server from cleaning up anything younger.
#[test]
fn a_reading_that_is_not_asked_or_dropped_ends_its_transaction() {
    block_on(server::RUNTIME.spawn(async {
        let schema = server::fresh_schema();
        let store = server::options(&schema).deadline(Duration::from_millis(200)).open().await.unwrap();
        for id in ["a", "b", "c"] {
            let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("export", id.as_bytes()));
            let told = store.commit(vec![Commit { tenant: Tenant::default(), change }]).await.remove(0).unwrap();
            assert!(matches!(told, Outcome::Done(_)));
        }
        let mut dropped = store.export().await.unwrap();
        assert_eq!(dropped.next(1).await.unwrap().len(), 1);
        until_idle(&schema, 1, Duration::from_secs(30)).await;
        drop(dropped);
        until_idle(&schema, 0, Duration::from_secs(30)).await;

        let mut stalled = store.export().await.unwrap();
        assert_eq!(stalled.next(1).await.unwrap().len(), 1);
        // Sixty deadlines, and as much again for a slow machine: the server itself would take 24 seconds.
        let since = Instant::now();
        until_idle(&schema, 1, Duration::from_secs(10)).await;
        until_idle(&schema, 0, Duration::from_secs(20)).await;
        assert!(since.elapsed() > Duration::from_secs(10), "{:?}", since.elapsed());
        for _ in 0..2 {
            let late = stalled.next(1).await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Closed, "{late}");
            assert!(late.to_string().contains("12s"), "{late}");
        }
        store.close().await;
    }))
    .unwrap();
}
