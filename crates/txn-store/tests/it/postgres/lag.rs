//! The chain when it cannot go on: how far it lags is told.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::runtime;
use txn_store::StoreAdmin;

use super::{
    sample::{change, done, run, session, value},
    server,
};
use crate::observe::Listener;

const LAG: &str = "txn_store_unchained_changes";

/// The lock of the chain, as the function that takes it names it.
async fn lock_of_chain(session: &mut PgConnection, schema: &str) -> i64 {
    let text = format!(
        "SELECT substring(prosrc FROM 'pg_advisory_xact_lock\\((-?[0-9]+)\\)')::int8 FROM pg_proc \
         WHERE proname = 'chain' AND pronamespace = '{schema}'::regnamespace"
    );
    value(session, text).await
}

async fn until(listener: &Listener, expected: f64) {
    let begun = Instant::now();
    while listener.last(LAG) != Some(expected) {
        assert!(begun.elapsed() < Duration::from_secs(60), "told {:?}, not {expected}", listener.last(LAG));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether another process is busy with the chain for long, or a step fails: the gauge says how many changes wait for their place.
#[test]
fn the_gauge_of_the_lag_rises_while_nothing_is_chained_and_falls_again() {
    let listener = Listener::default();
    let test = async {
        let schema = server::fresh_schema();
        let store = server::options(&schema).open().await.unwrap();
        done(&store, vec![change("first")]).await;
        until(&listener, 0.0).await;
        let mut host = session().await;
        let lock = lock_of_chain(&mut host, &schema).await;
        let broken = format!("ALTER TABLE {schema}.link ADD CONSTRAINT broken CHECK (false) NOT VALID");
        let mended = format!("ALTER TABLE {schema}.link DROP CONSTRAINT broken");
        for (round, holds, releases) in [
            ("busy", format!("SELECT pg_advisory_lock({lock})"), format!("SELECT pg_advisory_unlock({lock})")),
            ("failing", broken, mended),
        ] {
            run(&mut host, holds).await;
            done(&store, (0..3).map(|n| change(&format!("{round}/{n}"))).collect()).await;
            until(&listener, 3.0).await;
            done(&store, vec![change(&format!("{round}/more"))]).await;
            until(&listener, 4.0).await;
            assert_eq!(store.health().await.unwrap().unchained, 4, "{round}");
            run(&mut host, releases).await;
            until(&listener, 0.0).await;
            assert_eq!(store.health().await.unwrap().unchained, 0, "{round}");
        }
        store.close().await;
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&listener, || runtime.block_on(test));
}
