//! A replay that is killed at seeded moments, and run again until it has come to its end.

use std::{fs, sync::Arc, thread, time::Duration};

use serde_json::Value;
use storefront::replay;
use txn::store::{StoreAdmin, memory::Memory};

use crate::{
    binary::{command, names_in, run},
    generator::{Random, generate},
    oracle,
    process::{End, Process, wait_for},
    replays::{block_on, check, invoices},
};

const INVOICES: u64 = 700;
const KILLS_MIN: u64 = 12;
const KILLS_MAX: u64 = 100;
const FINISHED_MAX: u64 = 100;

/// The kills fall on any moment: while the file is read, while the store is opened or recovers, inside a commit, between two.
#[test]
fn a_replay_that_is_killed_and_run_again_ends_with_the_same_totals() {
    let bytes = generate(77, INVOICES);
    let file = invoices(&bytes);
    let folder = file.folder.path();
    let arguments = ["replay", "invoices.csv", "--store", "sqlite:shop.db", "--json"];
    let mut random = Random(77);
    let (mut kills, mut in_commits, mut finished) = (0, 0, 0);
    while kills < KILLS_MIN || (in_commits == 0 && kills < KILLS_MAX) {
        let mut process = Process::spawn(&mut command(folder, &arguments));
        // Some die before they have opened the store, which may take a busy machine long.
        if !random.one_in(5) {
            let log = folder.join("shop.db-wal");
            wait_for("a replay to begin", || process.is_over() || log.metadata().is_ok_and(|log| log.len() > 0));
        }
        thread::sleep(Duration::from_micros(random.next() % 300_000));
        let End::Killed { in_commit } = process.kill(&folder.join("shop.db")) else {
            // It has come to its end between two kills: the next begins anew.
            for name in names_in(folder).iter().filter(|name| name.starts_with("shop.db")) {
                fs::remove_file(folder.join(name)).unwrap();
            }
            finished += 1;
            assert!(finished < FINISHED_MAX, "the replay is too quick to be killed: {kills} kills");
            continue;
        };
        kills += 1;
        in_commits += u64::from(in_commit);
        // A store that holds half a replay is sound.
        if kills % 4 == 0 && folder.join("shop.db").metadata().is_ok_and(|file| file.len() > 0) {
            assert_eq!(run(folder, &["verify", "--store", "sqlite:shop.db"]).line(), "0 violations");
        }
    }
    println!("{kills} kills of a replay, {in_commits} inside an open commit");
    assert!(in_commits > 0, "no kill fell inside a commit");

    let ended = run(folder, &arguments);
    let ended: Value = serde_json::from_str(ended.line()).unwrap();
    block_on(async {
        let store: Arc<dyn StoreAdmin> = Arc::new(Memory::new());
        let unharmed = replay::replay(Arc::clone(&store), &file.path, None).await.unwrap();
        check("unharmed", &store, &unharmed.totals, &oracle::judge(&bytes, None)).await;
        let report = run(folder, &["report", "--store", "sqlite:shop.db", "--json"]);
        let report: Value = serde_json::from_str(report.line()).unwrap();
        assert_eq!(report, serde_json::to_value(&unharmed.totals).unwrap());
        assert!(report.as_object().unwrap().iter().all(|(key, value)| ended[key] == *value));
    });
    let again: Value = serde_json::from_str(run(folder, &arguments).line()).unwrap();
    assert_eq!(again["replayed"], Value::Bool(true));
    assert_eq!(run(folder, &["verify", "--store", "sqlite:shop.db"]).line(), "0 violations");
}
