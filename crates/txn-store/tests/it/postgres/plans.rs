//! Plans from the first minute: no statement of a store reads a whole table, though nothing was ever analysed.

use std::{collections::BTreeMap, time::Duration};

use pollster::block_on;
use sqlx::{PgConnection, Row as _, postgres::PgPoolOptions};
use txn_change::{Expect, FactId, Kind, Tenant};
use txn_store::{Ask, Position, Query, Range, Store, StoreAdmin, Tentative, postgres::Postgres};

use super::{
    sample::{change, done, key, mixed, note, session, tally, value},
    server,
};

/// How often each table was read as a whole, and by an index, when all sessions of the store have ended, which is when the server has counted all that they did.
async fn scans(session: &mut PgConnection, schema: &str) -> BTreeMap<String, (i64, i64)> {
    let running = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%{schema}'");
    while value::<i64>(session, running.clone()).await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = "SELECT relname::text, seq_scan, coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE schemaname = $1";
    let rows = sqlx::query(text).bind(schema).fetch_all(session).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

async fn read_everything(store: &Postgres) {
    let tenant = Tenant::default();
    let asks = (0..50).map(|n| {
        let ask = Ask::new(tenant.clone()).stored(mixed(0, n).id).record(note(n)).counter(tally(n));
        ask.fact(FactId::new(format!("fact/0/{n}")).unwrap())
    });
    store.get(asks.collect()).await.unwrap();
    let range = |kind| Range::kind(Kind::new(kind).unwrap());
    let queries = [
        Query::Records(range("note")),
        Query::RecordsByTerm(range("by-word")),
        Query::Counters(range("tally")),
        Query::entries(tally(2)),
        Query::EventsByTerm(range("by-number")),
        Query::Changes,
    ];
    for query in queries {
        let first = store.find(&tenant, &query, None, 2).await.unwrap();
        assert!(!first.items.is_empty(), "{query:?}");
        store.find(&tenant, &query, first.next.as_ref(), 10).await.unwrap();
    }
    let page = store.read(Position(0), 10).await.unwrap();
    store.read(page.items[9].position, 10).await.unwrap();
    store.health().await.unwrap();
}

#[test]
fn no_table_of_a_fresh_schema_is_ever_read_as_a_whole() {
    block_on(server::RUNTIME.spawn(async {
        let schema = server::fresh_schema();
        let mut session = session().await;
        server::options(&schema).open().await.unwrap().close().await;
        let before = scans(&mut session, &schema).await;

        let store = server::options(&schema).open().await.unwrap();
        let host = server::url().parse::<sqlx::postgres::PgConnectOptions>().unwrap();
        let host = host.application_name(&format!("host {schema}"));
        let pool = PgPoolOptions::new().max_connections(1).connect_with(host).await.unwrap();
        for round in 0..4 {
            done(&store, (0..140).map(|nth| mixed(round, nth)).collect()).await;
            // What is built on being absent, by the store and by a host, and a refusal, which looks again.
            let absent = |id: String| change(&id).require(key("absent", 1), Expect::Absent);
            done(&store, vec![absent(format!("absent/{round}"))]).await;
            let mut tx = store.begin(&pool).await.unwrap();
            let mut changes: Vec<_> = (140..147).map(|nth| mixed(round, nth)).collect();
            changes.push(absent(format!("absent/host/{round}")));
            for change in changes {
                let told = store.commit_in(&mut tx, &Tenant::default(), &change).await.unwrap();
                assert!(matches!(told, Tentative::Pending(_)), "{told:?}");
            }
            tx.commit().await.unwrap();
            let refused = change("refused").require(note(1), Expect::Version(99));
            super::sample::commit(&store, vec![refused]).await;
            read_everything(&store).await;
        }
        pool.close().await;
        store.close().await;
        let after = scans(&mut session, &schema).await;
        for table in
            ["change", "change_group", "counter", "entry", "event", "event_term", "fence", "link", "record", "term"]
        {
            let ((whole_before, index_before), (whole, index)) = (before[table], after[table]);
            assert_eq!(whole, whole_before, "{table} was read as a whole");
            // Which shows that it was used, and that what is done is counted. Terms are only written, but by their index when they are taken away.
            assert!(index > index_before, "{table} was never read");
        }
        let analysed = format!("SELECT count(*) FROM pg_stats WHERE schemaname = '{schema}'");
        assert_eq!(value::<i64>(&mut session, analysed).await, 0);
    }))
    .unwrap();
}
