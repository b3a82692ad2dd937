//! The demo, against what is to be true of it whatever the interleaving: its totals are a function of seed and number, and a second run writes nothing.

use std::{
    process::{Command, Output},
    time::Duration,
};

use storefront::{
    demo::{self, Demo, DemoStore, ORDERS_MAX, Request},
    open::StoreUrl,
};

fn run(store: &DemoStore, orders: u64, seed: u64) -> Demo {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(demo::run(store, Request::new(orders, seed).unwrap())).unwrap()
}

fn open(url: &StoreUrl) -> DemoStore {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(DemoStore::open(url)).unwrap()
}

fn memory() -> DemoStore {
    open(&StoreUrl::Memory)
}

#[test]
fn the_same_demo_again_commits_nothing_and_asks_no_gateway() {
    let store = memory();
    let first = run(&store, 250, 7);
    let second = run(&store, 250, 7);
    assert!(!first.replayed && first.gateway_calls > 0);
    assert!(second.replayed);
    assert_eq!(second.gateway_calls, 0);
    assert_eq!(second.totals, first.totals);
}

/// Two demos in one store: neither sees the other, and the clock that the first has moved does not hinder the second.
#[test]
fn another_seed_is_another_tenant() {
    let store = memory();
    let first = run(&store, 100, 1);
    let other = run(&store, 100, 2);
    assert!(!other.replayed);
    assert_ne!(other.tenant, first.tenant);
    assert_ne!(other.totals.money, first.totals.money);
    assert_eq!(run(&store, 100, 1).totals, first.totals);
}

#[test]
fn every_story_is_told_and_the_books_balance() {
    let totals = run(&memory(), 500, 3).totals;
    assert_eq!(totals.violations, 0);
    assert_eq!(totals.placed, 500);
    let cancelled = &totals.cancelled;
    let called_off = [cancelled.before_payment, cancelled.after_decline, cancelled.voided, cancelled.sold_out];
    assert_eq!(totals.completed + totals.expired + called_off.iter().sum::<u64>(), 500);
    assert_eq!(totals.paid, totals.completed);
    // Ten decks of fifty, each with the same stories.
    assert_eq!(called_off[..3], [30, 20, 30]);
    assert_eq!((totals.expired, totals.holds_expired), (50, 20));
    assert_eq!((totals.declined.then_paid, totals.declined.given_up), (30, 20));
    assert_eq!((totals.lost_answers.done, totals.lost_answers.not_executed), (20 + 10 + 10, 20));
    assert_eq!((totals.refunds.done, totals.refunds.failed, totals.returned.returns), (30, 10, 60));
    assert!(totals.returned.damaged > 0 && totals.returned.damaged < totals.returned.units);
    assert_eq!(i128::from(totals.returned.damaged), totals.stock.damaged);
    assert_eq!(totals.money.debits, totals.money.credits);
    assert_eq!(totals.money.pending["GBP"], "0.00");
    assert_eq!(totals.stock.reserved, 0);
}

#[test]
fn the_limited_item_is_sold_to_the_last_and_no_further() {
    for seed in 0..5 {
        let limited = run(&memory(), 200, seed).totals.limited;
        assert_eq!((limited.wanted, limited.sold, limited.refused, limited.left), (12, 5, 7, 0), "seed {seed}");
    }
}

#[test]
fn memory_and_sqlite_come_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::Sqlite(folder.path().join("shop.db"));
    let in_memory = run(&memory(), 150, 11);
    let in_file = run(&open(&url), 150, 11);
    assert_eq!(in_file.totals, in_memory.totals);
    let reopened = run(&open(&url), 150, 11);
    assert!(reopened.replayed);
    assert_eq!(reopened.totals, in_memory.totals);
}

/// Stopped anywhere, even between a claim and its result, a demo ends as one that was never stopped: also when the gateway has done what nobody wrote down.
#[test]
fn a_demo_that_was_stopped_ends_with_the_same_totals() {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::Sqlite(folder.path().join("shop.db"));
    let mut stops = 0u32;
    loop {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
        let store = open(&url);
        // Each time a little longer, so that it gets past where it was stopped.
        let patience = Duration::from_millis(u64::from(stops + 1) * 20);
        let ended = runtime
            .block_on(async { tokio::time::timeout(patience, demo::run(&store, Request::new(150, 5).unwrap())).await });
        // Dropping the runtime ends its tasks wherever they stand.
        drop(runtime);
        match ended {
            Ok(demo) => {
                assert!(stops > 0);
                assert_eq!(demo.unwrap().totals, run(&memory(), 150, 5).totals, "after {stops} stops");
                return;
            }
            Err(_) => stops += 1,
        }
    }
}

fn storefront(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_storefront")).args(arguments).output().unwrap()
}

#[test]
fn bad_arguments_are_one_line_and_status_2() {
    let too_many = (ORDERS_MAX + 1).to_string();
    let nonsense: [&[&str]; 9] = [
        &["demo", "--orders", "0"],
        &["demo", "--orders", &too_many],
        &["demo", "--orders", "-5"],
        &["demo", "--orders", "many"],
        &["demo", "--orders"],
        &["demo", "--seed", "1.5"],
        &["demo", "--limit", "5"],
        &["demo", "--store", "mysql://shop"],
        &["demo", "file.csv"],
    ];
    for arguments in nonsense {
        let output = storefront(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1, "{arguments:?}");
    }
    let zero = String::from_utf8(storefront(&["demo", "--orders", "0"]).stderr).unwrap();
    assert_eq!(zero, format!("storefront: --orders 0: 1 to {ORDERS_MAX} are allowed\n"));
}

#[test]
fn json_is_one_line_with_the_same_totals() {
    let arguments = ["demo", "--orders", "60", "--seed", "9", "--store", "memory:", "--json"];
    let output = storefront(&arguments);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1);
    let printed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = run(&memory(), 60, 9);
    assert_eq!(printed["tenant"], "demo-9-60");
    assert_eq!(printed["money"], serde_json::to_value(&expected.totals.money).unwrap());
    assert_eq!((&printed["placed"], &printed["violations"]), (&60.into(), &0.into()));
    assert_eq!(printed["replayed"], false);
}
