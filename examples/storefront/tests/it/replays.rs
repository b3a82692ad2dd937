//! Replays of generated files, folded back from the store, against the oracle.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

use storefront::{
    names,
    replay::{self, Replay, ReplayError},
    totals::Totals,
};
use tempfile::TempDir;
use txn::{
    InertGateway, Services, Txn,
    core::{
        id::LocationId,
        inventory::{Item, STOCK_KIND},
    },
    store::{Query, Range, StoreAdmin, memory::Memory, sqlite::Sqlite},
};

use crate::{
    generator::generate,
    oracle::{self, Outcome},
};

/// A file in a folder of its own.
pub(crate) struct Invoices {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

pub(crate) fn invoices(bytes: &[u8]) -> Invoices {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invoices.csv");
    fs::write(&path, bytes).unwrap();
    Invoices { folder, path }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap().block_on(future)
}

pub(crate) fn shop(store: &Arc<dyn StoreAdmin>) -> (Txn, Services) {
    let txn = Txn::builder(Arc::clone(store), Arc::new(InertGateway::default())).build();
    let shop = txn.tenant(replay::tenant());
    (txn, shop)
}

/// Checks every total of a replay, and the stock code by code.
pub(crate) async fn check(what: &str, store: &Arc<dyn StoreAdmin>, totals: &Totals, outcome: &Outcome) {
    let figures = &outcome.figures;
    let amount = |amounts: &BTreeMap<String, String>| {
        assert_eq!(amounts.keys().collect::<Vec<_>>(), ["GBP"], "{what}");
        assert!(amounts["GBP"].split_once('.').is_some_and(|(_, decimals)| decimals.len() >= 2), "{what}: {amounts:?}");
        oracle::decimal(amounts["GBP"].as_bytes())
    };
    assert_eq!((totals.orders, totals.lines), (figures.orders, figures.lines), "{what}");
    assert_eq!(i128::from(totals.units), i128::from(figures.units), "{what}");
    assert_eq!(amount(&totals.gross), figures.gross, "{what}");
    let quarantined: BTreeMap<&str, u64> = totals.quarantined.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(quarantined, figures.quarantined, "{what}");

    let returns = &totals.returns;
    assert_eq!((returns.lines, returns.orders), (figures.return_lines, figures.return_orders), "{what}");
    assert_eq!(i128::from(returns.units), i128::from(figures.return_units), "{what}");
    assert_eq!(amount(&returns.refunded), figures.refunded, "{what}");
    assert_eq!(i128::from(returns.unmatched_units), i128::from(figures.unmatched_units), "{what}");
    assert_eq!(amount(&returns.unmatched_amount), figures.unmatched_amount, "{what}");

    // What was captured and what went back, each posted on both sides; held and captured once per order, and refunded once per order of a cancellation.
    let receipts = outcome.parts.chunk_by(|a, b| a[..2] == b[..2]).count() as u64;
    assert_eq!(totals.ledger.debits, totals.ledger.credits, "{what}");
    assert_eq!(amount(&totals.ledger.debits), figures.gross + figures.refunded, "{what}");
    assert_eq!((totals.ledger.accounts, totals.ledger.transfers), (3, 2 * figures.orders + receipts), "{what}");
    assert!(totals.commits >= 6 * figures.orders + figures.return_lines, "{what}: {}", totals.commits);
    assert_eq!(totals.violations, 0, "{what}");

    assert_eq!((totals.stock.on_hand, totals.stock.reserved), (i128::from(figures.return_units), 0), "{what}");
    let (_, shop) = shop(store);
    let location = LocationId::new("main").unwrap();
    for (code, units) in &outcome.on_hand {
        let item = Item { sku: names::sku(code).unwrap(), location: location.clone() };
        let stock = shop.inventory().stock(&item).await.unwrap();
        assert_eq!((stock.on_hand, stock.reserved), (i128::from(*units), 0), "{what}: {item:?}");
    }
    let counters = shop.scope().find(&Query::Counters(Range::kind(STOCK_KIND)), None, 1_000).await.unwrap();
    assert_eq!(counters.items.len(), outcome.on_hand.len().min(1_000), "{what}");
}

async fn replay_and_check(what: &str, store: &Arc<dyn StoreAdmin>, seed: u64, invoices_count: u64, limit: Option<u64>) {
    let bytes = generate(seed, invoices_count);
    let file = invoices(&bytes);
    let first = replay::replay(Arc::clone(store), &file.path, limit).await.unwrap();
    assert!(!first.replayed, "{what}");
    check(what, store, &first.totals, &oracle::judge(&bytes, limit)).await;

    let again = replay::replay(Arc::clone(store), &file.path, limit).await.unwrap();
    assert!(again.replayed, "{what}: a second run has committed something");
    assert_eq!(again.totals, first.totals, "{what}");
    assert_eq!((again.seconds.to_string(), again.orders_per_second.to_string()), ("0.000".into(), "0.000".into()));
}

#[test]
fn a_replay_on_memory_comes_to_what_the_naive_rule_says() {
    block_on(async {
        for seed in 0..40 {
            let store: Arc<dyn StoreAdmin> = Arc::new(Memory::new());
            let limit = (seed % 4 == 3).then_some(seed * 2);
            replay_and_check(&format!("seed {seed}"), &store, seed, 1 + seed * 3, limit).await;
        }
    });
}

#[test]
fn a_replay_on_sqlite_comes_to_what_the_naive_rule_says_and_is_there_after_closing() {
    block_on(async {
        for seed in [11, 2_012, 7] {
            let folder = tempfile::tempdir().unwrap();
            let open = || -> Arc<dyn StoreAdmin> { Arc::new(Sqlite::open(folder.path().join("shop.db")).unwrap()) };
            replay_and_check(&format!("seed {seed}"), &open(), seed, 60, None).await;

            let bytes = generate(seed, 60);
            let store = open();
            let (txn, shop) = shop(&store);
            let totals = Totals::fold(&txn, &shop).await.unwrap();
            check(&format!("seed {seed}, closed"), &store, &totals, &oracle::judge(&bytes, None)).await;
            drop((txn, shop));
            let again = replay::replay(store, &invoices(&bytes).path, None).await.unwrap();
            assert!(again.replayed && again.totals == totals, "seed {seed}, closed");
        }
    });
}

#[test]
fn a_file_with_the_greatest_order_is_replayed() {
    let lines: String = (0..storefront::invoices::ORDER_LINES_MAX)
        .map(|line| format!("1,{},,2147483647,2010-12-01T08:26:00Z,9999.99,x,\n", line % 1_500))
        .collect();
    let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";
    let bytes = format!("{header}{lines}C1,7,,-2147483647,2010-12-01T08:26:00Z,1,x,\n").into_bytes();
    block_on(async {
        let store: Arc<dyn StoreAdmin> = Arc::new(Memory::new());
        let replay = replay::replay(Arc::clone(&store), &invoices(&bytes).path, None).await.unwrap();
        check("the greatest order", &store, &replay.totals, &oracle::judge(&bytes, None)).await;
    });
}

#[test]
fn a_tenant_holds_one_file_with_one_limit() {
    let (bytes, other) = (generate(5, 30), generate(6, 30));
    let (file, other) = (invoices(&bytes), invoices(&other));
    block_on(async {
        let store: Arc<dyn StoreAdmin> = Arc::new(Memory::new());
        let Replay { totals, .. } = replay::replay(Arc::clone(&store), &file.path, Some(50)).await.unwrap();
        for (path, limit) in [(&other.path, Some(50)), (&file.path, None), (&file.path, Some(49)), (&other.path, None)]
        {
            let refused = replay::replay(Arc::clone(&store), path, limit).await.unwrap_err();
            let ReplayError::Refused(line) = refused else { panic!("{refused}") };
            let shown = |limit: Option<u64>| limit.map_or("no limit".to_owned(), |limit| format!("limit {limit}"));
            let sha256 = |path| storefront::invoices::read(path, None).unwrap().sha256().to_owned();
            let (held, given) = (sha256(&file.path), sha256(path));
            let limit = shown(limit);
            let expected = format!("sha256 {held} with limit 50, not sha256 {given} with {limit}");
            assert_eq!(line, format!("the tenant replay holds another file: {expected}"));
        }
        let (txn, shop) = shop(&store);
        assert_eq!(Totals::fold(&txn, &shop).await.unwrap(), totals, "a refused file has changed something");
    });
}
