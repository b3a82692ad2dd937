//! Filters and pages on a filled store: what the documentation calls indexed is.

use txn::views;

use super::{Database, blob, cases::page, view};

/// Orders, payments and transfers of the first tenant; accounts and items are half as many.
const ROWS: usize = 12_000;

/// A view, a documented filter, and the index that serves it.
const FILTERS: &[(&str, &str, &str)] = &[
    ("orders", "tenant = 'shop' AND order_id = 'o-77'", "view_orders_id"),
    ("orders", "tenant = 'shop' AND customer_id = 'c-77'", "view_orders_customer"),
    ("orders", "tenant = 'shop' AND lifecycle = 'expired'", "view_orders_lifecycle"),
    ("orders", "tenant = 'shop' AND {placed}", "view_orders_placed"),
    ("order_lines", "tenant = 'shop' AND order_id = 'o-77'", "view_orders_id"),
    ("order_lines", "tenant = 'shop' AND customer_id = 'c-77'", "view_orders_customer"),
    ("order_lines", "tenant = 'shop' AND {placed} AND sku = 's-1'", "view_orders_placed"),
    ("payments", "tenant = 'shop' AND payment_id = 'o-77'", "view_payments_id"),
    ("payments", "tenant = 'shop' AND order_id = 'o-77'", "view_payments_order"),
    ("payments", "tenant = 'shop' AND state = 'capture_unknown'", "view_payments_state"),
    ("stock", "tenant = 'shop' AND sku = 's-77'", "view_stock_sku"),
    ("stock", "tenant = 'shop' AND sku = 's-79' AND location = 'l-9'", "view_stock_"),
    ("stock", "tenant = 'shop' AND location = 'rare'", "view_stock_location"),
    ("accounts", "tenant = 'shop' AND account_id = 'a-77'", "view_accounts_id"),
    ("accounts", "tenant = 'shop' AND account_id = 'a-79' AND currency = 'USD'", "view_accounts_"),
    ("accounts", "tenant = 'shop' AND currency = 'JPY'", "view_accounts_currency"),
    ("transfers", "tenant = 'shop' AND transfer_id = 'o-77'", "view_transfers_id"),
    ("transfers", "tenant = 'shop' AND reference = 'o-77'", "view_transfers_reference"),
    ("transfers", "tenant = 'shop' AND {recorded}", "view_changes_recorded"),
    // Without the tenant too, as long as there are few of them.
    ("orders", "customer_id = 'c-77'", "view_orders_customer"),
];

/// The tables that grow. A tenant's name is looked up in a table of some rows, which may be read as a whole.
const TABLES: [&str; 6] = ["record", "counter", "event", "entry", "change", "term"];

pub(crate) fn every_documented_filter_is_served_by_an_index(database: &dyn Database) {
    drop(database.open(&views::all()));
    fill(database);
    let (placed, recorded) = match database.is_postgres() {
        true => (
            "placed_at >= '2030-01-01 00:01:00Z' AND placed_at < '2030-01-01 00:02:00Z'",
            "recorded_at >= '2030-01-01 00:01:00Z' AND recorded_at < '2030-01-01 00:02:00Z'",
        ),
        false => (
            "placed_at_ns >= 1893456060000000000 AND placed_at_ns < 1893456120000000000",
            "recorded_at_ns >= 1893456060000000000 AND recorded_at_ns < 1893456120000000000",
        ),
    };
    for (name, filter, index) in FILTERS {
        let filter = filter.replace("{placed}", placed).replace("{recorded}", recorded);
        let sql = format!("SELECT * FROM {name} WHERE {filter}");
        let found = database.query(&format!("SELECT CAST(count(*) AS TEXT) FROM {name} WHERE {filter}"));
        assert_ne!(found[0][0].as_deref(), Some("0"), "{sql}");
        check(database, &sql, index);
    }
    let time = if database.is_postgres() { "placed_at" } else { "placed_at_ns" };
    let after = if database.is_postgres() { "2030-01-01 00:01:00+00" } else { "1893456060000000000" };
    let pages: [(&str, &[&str], &[&str], &str); 7] = [
        ("accounts", &["account_id", "currency"], &["a-77", "USD"], "view_accounts_id"),
        ("order_lines", &["order_id", "line"], &["o-77", "0"], "view_orders_id"),
        ("orders", &["order_id"], &["o-77"], "view_orders_id"),
        ("orders", &[time, "order_id"], &[after, "o-77"], "view_orders_placed"),
        ("payments", &["payment_id"], &["o-77"], "view_payments_id"),
        ("stock", &["sku", "location"], &["s-77", "l-7"], "view_stock_sku"),
        ("transfers", &["transfer_id", "leg"], &["o-77", "0"], "view_transfers_id"),
    ];
    for (name, keys, after, index) in pages {
        let after = after.iter().map(|value| Some((*value).to_owned())).collect();
        let plan = check(database, &page(&view(name), keys, Some(&after), 100), index);
        // Rows come in the index's order; at most those of one document are put in theirs.
        let is_sorted = plan.lines().nth(1).is_some_and(|line| line.contains("->  Sort  ("));
        assert!(!is_sorted && !plan.contains("USE TEMP B-TREE FOR ORDER BY"), "{name}:\n{plan}");
    }
}

fn check(database: &dyn Database, sql: &str, index: &str) -> String {
    let plan = database.plan(sql);
    assert!(plan.contains(index), "{sql}\n{plan}");
    for table in TABLES {
        for line in plan.lines() {
            let is_scan = line.contains(&format!("Seq Scan on {table} ")) || line == format!("SCAN {table}");
            assert!(!is_scan, "{sql}\n{plan}");
        }
    }
    plan
}

fn key(kind: &str, texts: &[&str]) -> Vec<u8> {
    let mut key = format!("{kind}\0").into_bytes();
    for text in texts {
        key.extend(format!("\u{1}{text}\0").into_bytes());
    }
    key
}

fn fill(database: &dyn Database) {
    database.run("INSERT INTO tenant(name) VALUES ('shop'), ('other'), ('third')");
    let b = |bytes: &[u8]| blob(database, bytes);
    let zero = b(&[0; 32]);
    let (mut records, mut counters, mut changes, mut events) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..ROWS {
        let (tenant, id) = (if n % 10 == 0 { 2 } else { 1 }, format!("o-{n}"));
        let (lifecycle, state) = if n % 500 == 77 { ("expired", "capture_unknown") } else { ("completed", "captured") };
        let (hour, minute, second) = (n / 3_600, n / 60 % 60, n % 60);
        let order = format!(
            r#"{{"id":"{id}","customer":"c-{}","currency":"USD","location":"main","lifecycle":"{lifecycle}","placed_at":"2030-01-01T{hour:02}:{minute:02}:{second:02}Z","total":{{"amount":"7.00","currency":"USD"}},"hold":"{id}","payment":"{id}","lines":[{{"sku":"s-1","price":{{"amount":"3.50","currency":"USD"}},"ordered":2}}]}}"#,
            n % 1_000
        );
        let zero_usd = r#"{"amount":"0.00","currency":"USD"}"#;
        let payment = format!(
            r#"{{"id":"{id}","order":"{id}","amount":{{"amount":"7.00","currency":"USD"}},"state":"{state}","attempts":1,"captured":{zero_usd},"refunded":{zero_usd},"refunding":{zero_usd}}}"#
        );
        for (kind, body) in [("order", order), ("payment", payment)] {
            records.push(format!(
                "({tenant}, 1, 1, 1, {}, '{kind}', {}, {})",
                b(&key(kind, &[&id])),
                b(&[]),
                b(body.as_bytes())
            ));
        }
        if n % 2 == 1 {
            let location = if n % 500 == 77 { "rare".to_owned() } else { format!("l-{}", n % 10) };
            let currency = if n % 500 == 77 { "JPY" } else { "USD" };
            let (sku, account) = (format!("s-{n}"), format!("a-{n}"));
            let account_body = format!(
                r#"{{"id":"{account}","currency":"{currency}","type":"asset","normal":"debit","name":"x","limits":{{"overdraft":"none"}}}}"#
            );
            records.push(format!(
                "({tenant}, 1, 1, 1, {}, 'account', {}, {})",
                b(&key("account", &[&account, currency])),
                b(&[]),
                b(account_body.as_bytes())
            ));
            for (no, kind, texts, unit) in
                [(n * 2, "stock", [&*sku, &*location], "item"), (n * 2 + 1, "ledger", [&*account, currency], currency)]
            {
                let last = if database.is_postgres() { "" } else { "0, " };
                counters.push(format!(
                    "({last}{no}, {tenant}, 1, 0, 1, 1, {}, '{unit}', '[null,null]', 9, 1, 0, 0)",
                    b(&key(kind, &texts))
                ));
            }
        }
        let leg = |side: &str| {
            format!(r#"{{"account":"a-{n}","side":"{side}","amount":{{"amount":"7.00","currency":"USD"}}}}"#)
        };
        let transfer = format!(
            r#"{{"id":"{id}","kind":"posted","reference":"{id}","posted":[{},{}]}}"#,
            leg("debit"),
            leg("credit")
        );
        let at = 1_893_456_000_000_000_000 + n * 1_000_000_000;
        let (first, empty) = (if database.is_postgres() { format!("{n}, 0") } else { n.to_string() }, b(&[]));
        changes.push(format!("({first}, {tenant}, 'c-{n}', {zero}, {at}, 0, 1, {zero}, 'x', 1, 1, {empty})"));
        let place = if database.is_postgres() { format!("{n}, 0, 0") } else { format!("{}, {n}", n + 1) };
        events.push(format!(
            "({place}, {tenant}, 'transfer/{id}', 'ledger.transferred', 1, 1, {empty}, {})",
            b(transfer.as_bytes())
        ));
        // Others of the same change, so that transfers are a part of the log.
        let place = if database.is_postgres() { format!("{n}, 1, 0") } else { format!("{}, {n}", n + 1 + ROWS) };
        events.push(format!("({place}, {tenant}, NULL, 'order.placed', 1, 1, {empty}, {})", b(b"{}")));
    }
    let (change, event, counter) = match database.is_postgres() {
        true => ("ticket, at", "ticket, ord, at", "no"),
        false => ("n", "position, n", "last, no"),
    };
    let counter =
        format!("counter({counter}, tenant, class, status, version, sequence, key, unit, guards, l0, l1, l2, l3)");
    let change = format!(
        "change({change}, tenant, id, fingerprint, recorded_at, entries, events, digest, type, schema, format, answer)"
    );
    let event = format!("event({event}, tenant, fact, type, schema, format, terms, body)");
    for (table, rows) in [
        ("record(tenant, schema, format, version, key, type, terms, body)", records),
        (&counter, counters),
        (&change, changes),
        (&event, events),
    ] {
        for rows in rows.chunks(1_000) {
            database.run(&format!("INSERT INTO {table} VALUES {}", rows.join(", ")));
        }
    }
    database.run("ANALYZE");
}
