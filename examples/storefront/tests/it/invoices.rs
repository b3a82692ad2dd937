//! What a file comes to: against the oracle on generated files, and case by case where the rule is easily misread.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use storefront::invoices::{self, ORDER_LINES_MAX, Plan, Reason, Totals};

use crate::generator::generate;
use crate::oracle::{self, Figures};

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

fn plan_of(bytes: &[u8], limit: Option<u64>) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("invoices.csv");
    fs::write(&path, bytes).unwrap();
    invoices::plan(&invoices::read(&path, limit).unwrap()).unwrap()
}

/// A plan of rows written as `invoice code quantity price customer`, a minute apart; `-` is no customer.
fn plan_of_rows(rows: &[&str]) -> Plan {
    let mut text = HEADER.to_owned();
    for (minute, row) in rows.iter().enumerate() {
        let fields: Vec<&str> = row.split(' ').collect();
        let [invoice, code, quantity, price, customer] = fields[..] else { panic!("{row}") };
        let customer = customer.trim_start_matches('-');
        text += &format!("{invoice},{code},,{quantity},2010-12-01T08:{minute:02}:00Z,{price},{customer},\n");
    }
    plan_of(text.as_bytes(), None)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Cancellation row, order row, line row, units of every part.
fn parts(plan: &Plan) -> Vec<[i64; 4]> {
    let mut parts = Vec::new();
    for planned in &plan.returns {
        for part in &planned.parts {
            let order = &plan.orders[part.order];
            let rows = [planned.row, order.row, order.lines[part.line].row];
            let [cancellation, order, line] = rows.map(|row| i64::try_from(row).unwrap());
            parts.push([cancellation, order, line, part.quantity]);
        }
    }
    parts
}

fn on_hand(plan: &Plan) -> BTreeMap<Vec<u8>, i64> {
    let mut on_hand: Vec<i64> = plan.stock.iter().map(|stock| stock.opening).collect();
    for line in plan.orders.iter().flat_map(|order| &order.lines) {
        on_hand[line.stock] -= line.quantity;
    }
    for part in plan.returns.iter().flat_map(|planned| &planned.parts) {
        on_hand[plan.orders[part.order].lines[part.line].stock] += part.quantity;
    }
    plan.stock.iter().map(|stock| stock.code.to_vec()).zip(on_hand).collect()
}

#[test]
fn generated_files_come_to_what_the_naive_rule_says() {
    let mut seen = Totals::of(&plan_of(HEADER.as_bytes(), None));
    let (mut interrupted, mut partly, mut line_below) = (0, 0, 0);
    for seed in 0..400 {
        let bytes = generate(seed, 1 + seed / 2);
        let limit = (seed % 5 == 0).then_some(seed);
        let plan = plan_of(&bytes, limit);
        let outcome = oracle::judge(&bytes, limit);
        let totals = Totals::of(&plan);
        assert_eq!(Figures::of(&totals), outcome.figures, "seed {seed}");
        assert_eq!(parts(&plan), outcome.parts, "seed {seed}");
        assert_eq!(on_hand(&plan), outcome.on_hand, "seed {seed}");

        for (reason, count) in totals.quarantined {
            *seen.quarantined.entry(reason).or_default() += count;
        }
        interrupted += plan.orders.windows(2).filter(|two| two[0].lines.last().unwrap().row > two[1].row).count();
        partly += plan.unmatched.iter().filter(|line| plan.returns.iter().any(|found| found.row == line.row)).count();
        line_below += outcome.parts.iter().filter(|[cancellation, _, line, _]| line > cancellation).count();
    }
    let rare = [interrupted, partly, line_below].into_iter().min();
    assert!(rare > Some(100), "the files lack a wart: {interrupted} {partly} {line_below}");
    assert_eq!(seen.quarantined.len(), 4);
    assert!(seen.quarantined.values().all(|count| *count > 100), "{:?}", seen.quarantined);
}

#[test]
fn plain_gzip_and_joined_gzip_are_the_same_file() {
    let bytes = generate(7, 100);
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let plan = plan_of(&bytes, None);
    assert_eq!(plan_of(&gzip(&bytes), None), plan);
    assert_eq!(plan_of(&[gzip(head), gzip(tail)].concat(), None), plan);
}

#[test]
fn the_sha256_is_that_of_the_whole_file_whatever_the_limit() {
    for limit in [None, Some(0), Some(1)] {
        let plan = plan_of(b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n1,A,,1,2010-12-01T08:26:00Z,1,,\n2,A,,1,2010-12-01T08:26:00Z,1,,\n", limit);
        assert_eq!(plan.sha256, "4db48a0879aa591f64d7a4022184ea226a72987f502e693372840f5af9f2b737");
        assert_eq!(plan.limit, limit);
    }
}

#[test]
fn a_limit_takes_the_first_rows_and_judges_no_other() {
    let text = format!("{HEADER}1,A,,1,2010-12-01T08:26:00Z,1,,\n2,A,,1,2010-12-01T08:26:00Z,1,,\n3,A,,many,never,\"1");
    for limit in [0, 1, 2] {
        let plan = plan_of(text.as_bytes(), Some(limit));
        assert_eq!(plan.orders.len() as u64, limit);
    }
    let short = format!("{HEADER}1,A,,1,2010-12-01T08:26:00Z,1,,\n");
    assert_eq!(plan_of(short.as_bytes(), Some(9)).orders.len(), 1);
}

#[test]
fn a_line_is_quarantined_under_the_first_reason_that_applies() {
    let cases = [
        ("1 A 1 1 -", None),
        ("1 A 1 2.500 -", None),
        ("1 A 1 0.010 -", None),
        (" A 1 1 -", Some(Reason::NotASale)),
        ("A1 A 0 0.001 -", Some(Reason::NotASale)),
        ("c1 A -1 1 -", Some(Reason::NotASale)),
        ("1 A 0 0 -", Some(Reason::QuantityNotPositive)),
        ("1 A -1 0.001 -", Some(Reason::QuantityNotPositive)),
        ("1 A 1 -0.00 -", Some(Reason::PriceNotPositive)),
        ("1 A 1 -0.001 -", Some(Reason::PriceNotPositive)),
        ("1 A 1 0.001 -", Some(Reason::PriceScale)),
        ("1 A 1 2.5001 -", Some(Reason::PriceScale)),
    ];
    for (row, reason) in cases {
        let plan = plan_of_rows(&[row]);
        assert_eq!(plan.quarantined.first().map(|line| line.reason), reason, "{row}");
        assert_eq!(plan.orders.len(), usize::from(reason.is_none()), "{row}");
    }
}

#[test]
fn an_interrupted_invoice_is_one_order_at_its_first_sale_line() {
    let plan = plan_of_rows(&["1 A 0 1 x", "1 A 2 1 y", "2 A 1 1 z", "1 A 3 2.5 x", "01 B 1 1 -"]);
    let orders: Vec<_> = plan.orders.iter().map(|order| (order.row, order.lines.len())).collect();
    assert_eq!(orders, [(2, 2), (3, 1), (5, 1)]);
    assert_eq!(plan.orders[0].customer.as_deref(), Some(b"y".as_slice()));
    assert_eq!(plan.orders[0].at_s, 1_291_190_460);
    assert_eq!(plan.orders[2].customer, None);
    assert_eq!(plan.stock.iter().map(|stock| stock.opening).collect::<Vec<_>>(), [6, 1]);
    assert_eq!(Totals::of(&plan).gross_minor, 1_150);
}

#[test]
fn a_cancellation_takes_from_the_nearest_order_above_and_its_last_line_first() {
    let rows = [
        "1 A 2 1 x",
        "1 A 3 2 x",
        "2 A 4 3 x",
        "2 B 9 1 x",
        "3 A 9 1 y",
        "C1 A -8 7 x",
        "4 A 9 1 x",
        "C2 A -9 1 x",
        "C3 A -1 0.125 x",
    ];
    let plan = plan_of_rows(&rows);
    let expected = [[6, 3, 3, 4], [6, 1, 2, 3], [6, 1, 1, 1], [8, 7, 7, 9], [9, 1, 1, 1]];
    assert_eq!(parts(&plan), expected);
    let returns = Totals::of(&plan).returns;
    assert_eq!((returns.lines, returns.units, returns.orders), (3, 18, 3));
    assert_eq!((returns.refunded_minor, returns.unmatched_units), (1_200 + 600 + 100 + 900 + 100, 0));
    assert_eq!(returns.unmatched_amount.to_string(), "0.00");
}

#[test]
fn an_order_above_a_cancellation_gives_lines_that_follow_it() {
    let plan = plan_of_rows(&["1 A 1 1 x", "C1 A -2 1 x", "1 A 1 1 x", "2 A 1 1 x"]);
    assert_eq!(parts(&plan), [[2, 1, 3, 1], [2, 1, 1, 1]]);
}

#[test]
fn what_finds_no_unit_is_unmatched_at_its_own_price() {
    let rows =
        ["1 A 2 1 x", "2 A 2 1 -", "C1 A -5 0.125 x", "C2 A -1 -3 -", "C3 a -1 1.10 x", "C4 B -1 0 x", "C5 A -1 1 X"];
    let plan = plan_of_rows(&rows);
    let unmatched: Vec<_> = plan.unmatched.iter().map(|line| (line.row, line.quantity)).collect();
    assert_eq!(unmatched, [(3, 3), (4, 1), (5, 1), (6, 1), (7, 1)]);
    assert_eq!(parts(&plan), [[3, 1, 1, 2]]);
    assert_eq!(plan.unmatched_amount.to_string(), "-0.525");
}

#[test]
fn an_order_holds_its_limit_of_lines() {
    let line = "1,A,,1,2010-12-01T08:26:00Z,1,,\n";
    let plan = plan_of(format!("{HEADER}{}", line.repeat(ORDER_LINES_MAX)).as_bytes(), None);
    assert_eq!(plan.orders[0].lines.len(), ORDER_LINES_MAX);
}
