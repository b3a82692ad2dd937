//! The example runs, twice, and what it leaves behind adds up.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests stop at once")]

use std::sync::Arc;

use host_tables::{Redeem, Redeemed, Shop, demo, sqlite::SqliteShop, voucher};
use txn::{InertGateway, Txn};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn tells_its_story(shop: &dyn Shop) {
    let balances = ["ann: 200 points, a voucher of 300 cents", "bob: 300 points, a voucher of 200 cents"];
    let told = demo(shop).await.unwrap();
    assert_eq!(
        told[..4],
        [
            "r-1: ann redeems 300: Done",
            "r-2: bob redeems 200: Done",
            "r-1: ann redeems 300: Before",
            "r-3: ann redeems 300: TooFewPoints"
        ]
    );
    assert_eq!(told[4..], balances);
    let again = demo(shop).await.unwrap();
    assert_eq!(again[..2], ["r-1: ann redeems 300: Before", "r-2: bob redeems 200: Before"]);
    assert_eq!(again[4..], balances);
    // The same id for something else.
    let other = Redeem { id: "r-1".into(), member: "bob".into(), points: 1 };
    assert!(matches!(shop.redeem(&other).await.unwrap(), Redeemed::Refused(_)));
    assert_eq!(shop.points("bob").await.unwrap(), 300);
}

/// All points that left the table are in a voucher, whoever redeems beside whom.
async fn adds_up(shop: Arc<dyn Shop>) {
    shop.enrol("carol", 100).await.unwrap();
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let shop = Arc::clone(&shop);
            tokio::spawn(async move {
                for step in 0..10 {
                    let redeem = Redeem { id: format!("c-{caller}-{step}"), member: "carol".into(), points: 3 };
                    shop.redeem(&redeem).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(shop.points("carol").await.unwrap(), 1);
    assert_eq!(voucher::balance(&shop.store(), "carol").await.unwrap(), 99);
    let txn = Txn::builder(shop.store(), Arc::new(InertGateway::default())).build();
    let report = txn.verify().await.unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
}

#[test]
fn on_sqlite_it_tells_its_story_twice_and_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let shop = Arc::new(SqliteShop::open(&folder.path().join("shop.db")).unwrap());
        tells_its_story(&*shop).await;
        adds_up(shop).await;
    });
}

#[cfg(feature = "servers")]
#[test]
fn on_postgres_it_tells_its_story_twice_and_adds_up() {
    use host_tables::postgres::PostgresShop;
    use txn::store::postgres::sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

    let url = std::env::var("TXN_POSTGRES_URL")
        .expect("TXN_POSTGRES_URL is the URL of a server; `cargo xtask test` starts one");
    let started = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() % 10_000_000_000;
    let schema = format!("e{}_{started}", std::process::id());
    runtime().block_on(async {
        let mut session = PgConnection::connect(&url).await.unwrap();
        raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {schema}_own"))).execute(&mut session).await.unwrap();
        let shop = PostgresShop::open(&url, &schema, &format!("{schema}_own")).await.unwrap();
        let shop = Arc::new(shop);
        tells_its_story(&*shop).await;
        adds_up(shop).await;
    });
}
