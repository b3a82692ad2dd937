//! What the binary answers about a store: the keys of its answers, a report without the file, an audit that names what is wrong.

use std::{fs, path::Path, sync::Arc};

use serde_json::{Value, json};
use storefront::replay;
use txn::store::{StoreAdmin, memory::Memory, sqlite::Sqlite};

use crate::{
    binary::{Run, names_in, run},
    generator::generate,
    replays::block_on,
};

/// A folder with a file of invoices.
fn folder(seed: u64, invoices: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("invoices.csv"), generate(seed, invoices)).unwrap();
    folder
}

/// The keys of a value, nested: `{"a":{"b":1}}` is `["a", "a.b"]`.
fn keys(value: &Value) -> Vec<String> {
    let Value::Object(fields) = value else { return Vec::new() };
    let mut all = Vec::new();
    for (key, value) in fields {
        all.push(key.clone());
        if key != "quarantined" {
            all.extend(keys(value).into_iter().map(|below| format!("{key}.{below}")));
        }
    }
    all.sort();
    all
}

const TOTALS: [&str; 27] = [
    "commits",
    "gross",
    "gross.GBP",
    "ledger",
    "ledger.accounts",
    "ledger.credits",
    "ledger.credits.GBP",
    "ledger.debits",
    "ledger.debits.GBP",
    "ledger.transfers",
    "lines",
    "orders",
    "quarantined",
    "returns",
    "returns.lines",
    "returns.orders",
    "returns.refunded",
    "returns.refunded.GBP",
    "returns.units",
    "returns.unmatched_amount",
    "returns.unmatched_amount.GBP",
    "returns.unmatched_units",
    "stock",
    "stock.on_hand",
    "stock.reserved",
    "units",
    "violations",
];

#[test]
fn an_answer_is_one_object_with_these_keys_and_a_report_the_same_without_the_run() {
    let folder = folder(3, 40);
    let replayed = run(folder.path(), &["replay", "invoices.csv", "--json", "--store", "sqlite:shop.db"]);
    let mut first: Value = serde_json::from_str(replayed.line()).unwrap();
    let totals = || TOTALS.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut expected = totals();
    expected.extend(["orders_per_second", "replayed", "seconds"].map(String::from));
    expected.sort();
    assert_eq!(keys(&first), expected);
    assert_eq!((&first["replayed"], &first["violations"]), (&json!(false), &json!(0)));
    assert!(first["seconds"].as_f64().unwrap() > 0.0 && first["orders_per_second"].as_f64().unwrap() > 0.0);

    let mut again: Value = serde_json::from_str(
        run(folder.path(), &["replay", "invoices.csv", "--json", "--store", "sqlite:shop.db"]).line(),
    )
    .unwrap();
    assert_eq!(again["replayed"], json!(true));
    for answer in [&mut first, &mut again] {
        let answer = answer.as_object_mut().unwrap();
        assert!(["replayed", "seconds", "orders_per_second"].iter().all(|key| answer.remove(*key).is_some()));
    }
    assert_eq!(first, again);

    // Without the file, from the store alone.
    fs::remove_file(folder.path().join("invoices.csv")).unwrap();
    let report: Value =
        serde_json::from_str(run(folder.path(), &["report", "--store", "sqlite:shop.db", "--json"]).line()).unwrap();
    assert_eq!(keys(&report), totals());
    assert_eq!(report, first);
    let verified = run(folder.path(), &["verify", "--store", "sqlite:shop.db", "--json"]);
    assert_eq!(verified.line(), r#"{"named":[],"violations":0}"#);
    let verified = run(folder.path(), &["verify", "--store", "sqlite:shop.db"]);
    assert_eq!(verified.line(), "0 violations");
}

#[test]
fn a_replay_for_people_is_the_same_totals_and_nothing_else_on_a_pipe() {
    let folder = folder(4, 20);
    for store in ["memory:", "sqlite:shop.db"] {
        let Run { status, out, err } =
            run(folder.path(), &["replay", "invoices.csv", "--limit", "60", "--store", store]);
        assert_eq!((status, err.as_str()), (0, ""));
        let of_store: Arc<dyn StoreAdmin> = Arc::new(Memory::new());
        let file = folder.path().join("invoices.csv");
        let expected = block_on(replay::replay(of_store, &file, Some(60))).unwrap();
        let table = storefront::totals::table(&expected.totals);
        assert!(out.starts_with(&format!("{table}\n")) && out.ends_with(" orders a second\n"), "{out}");
    }
}

#[test]
fn without_a_word_the_store_is_a_file_here_and_the_next_file_is_refused() {
    let folder = folder(5, 10);
    run(folder.path(), &["replay", "invoices.csv", "--json"]).line();
    assert!(names_in(folder.path()).contains(&"storefront.db".to_owned()));
    for arguments in [&["replay", "invoices.csv", "--limit", "3"][..], &["replay", "other.csv", "--json"]] {
        fs::write(folder.path().join("other.csv"), generate(6, 10)).unwrap();
        let refused = run(folder.path(), arguments);
        assert!(refused.refusal().starts_with("the tenant replay holds another file: sha256 "), "{refused:?}");
    }
    let again: Value = serde_json::from_str(run(folder.path(), &["replay", "invoices.csv", "--json"]).line()).unwrap();
    assert_eq!(again["replayed"], json!(true));
}

#[test]
fn a_store_without_a_replay_has_nothing_to_report() {
    let folder = tempfile::tempdir().unwrap();
    drop(Sqlite::open(folder.path().join("shop.db")).unwrap());
    assert_eq!(run(folder.path(), &["report", "--store", "sqlite:shop.db"]).refusal(), "the store holds no replay");
    assert_eq!(run(folder.path(), &["verify", "--store", "sqlite:shop.db"]).line(), "0 violations");
    fs::write(folder.path().join("empty.db"), "").unwrap();
    assert_eq!(
        run(folder.path(), &["verify", "--store", "sqlite:empty.db"]).refusal(),
        "there is no store at empty.db"
    );
    fs::write(folder.path().join("letter.db"), "Dear customer,\n".repeat(1_000)).unwrap();
    let refused = run(folder.path(), &["verify", "--store", "sqlite:letter.db"]);
    assert!(refused.refusal().starts_with("letter.db: "), "{refused:?}");
}

/// Case F27.
#[test]
fn a_second_process_is_refused_until_the_first_has_gone() {
    let folder = folder(7, 10);
    let first = Sqlite::open(folder.path().join("shop.db")).unwrap();
    for arguments in [
        &["replay", "invoices.csv", "--store", "sqlite:shop.db"][..],
        &["report", "--store", "sqlite:shop.db"],
        &["verify", "--store", "sqlite:shop.db", "--json"],
    ] {
        let refused = run(folder.path(), arguments);
        let path = fs::canonicalize(folder.path()).unwrap().join("shop.db");
        let expected = format!("shop.db: locked: {} is open already, in this process or another", path.display());
        assert_eq!(refused.refusal(), expected);
    }
    drop(first);
    run(folder.path(), &["replay", "invoices.csv", "--store", "sqlite:shop.db", "--json"]).line();
}

const ROWS: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,HOLDER,6,2010-12-01T08:26:00Z,2.55,17850,EIRE
536366,85123B,HOLDER,3,2010-12-01T08:26:00Z,2.55,17850,EIRE
C1,85123A,HOLDER,-2,2010-12-01T08:26:00Z,2.55,17850,EIRE
";

fn damage(folder: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(folder.join("shop.db")).unwrap();
    assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
}

#[test]
fn a_damaged_store_is_named_with_status_1() {
    let cases = [
        ("DELETE FROM entry WHERE no = (SELECT max(no) FROM entry)", "replay: change return.receive/row-3:1: "),
        ("UPDATE counter SET l0 = l0 + 1 WHERE no = (SELECT max(no) FROM counter)", "replay: stock/85123B/main: "),
        ("DELETE FROM record WHERE no = (SELECT min(no) FROM record WHERE type = 'order')", "replay: order row-1: "),
    ];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("invoices.csv"), ROWS).unwrap();
    run(folder.path(), &["replay", "invoices.csv", "--store", "sqlite:shop.db", "--json"]).line();
    let whole = fs::read(folder.path().join("shop.db")).unwrap();
    for (sql, named) in cases {
        fs::write(folder.path().join("shop.db"), &whole).unwrap();
        damage(folder.path(), sql);
        let verified = run(folder.path(), &["verify", "--store", "sqlite:shop.db"]);
        assert_eq!((verified.status, verified.err.as_str()), (1, ""), "{sql}: {verified:?}");
        let lines: Vec<&str> = verified.out.lines().collect();
        let (last, violations) = lines.split_last().unwrap();
        assert_eq!(*last, format!("{} violations", violations.len()), "{sql}");
        assert!(violations.iter().any(|line| line.starts_with(named)), "{sql}: {violations:?}");

        let verified = run(folder.path(), &["verify", "--store", "sqlite:shop.db", "--json"]);
        assert_eq!((verified.status, verified.err.as_str()), (1, ""), "{sql}");
        let answer: Value = serde_json::from_str(verified.out.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(answer, json!({ "violations": violations.len(), "named": violations }), "{sql}");
    }
    // A counter that is wrong is still added up, and the report says so too.
    fs::write(folder.path().join("shop.db"), &whole).unwrap();
    damage(folder.path(), cases[1].0);
    let report = run(folder.path(), &["report", "--store", "sqlite:shop.db", "--json"]);
    assert_eq!(report.status, 1);
    let report: Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!((&report["violations"], &report["stock"]["on_hand"]), (&json!(1), &json!(3)));
}
