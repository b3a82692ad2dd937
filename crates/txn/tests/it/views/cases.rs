//! What holds on every backend.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use txn::{
    InertGateway, Services, Tenant, Txn,
    core::{
        id::{AccountId, CustomerId, HoldId, LocationId, MovementId, OrderId, PaymentId, Sku, TransferId},
        inventory::{Demand, Item, Receive},
        ledger::{Account, AccountType, OpenAccount, Overdraft, Transfer},
        money::{Currency, Money},
        order::{NewLine, PlaceOrder},
        quantity::Quantity,
    },
    store::{
        StoreAdmin,
        views::{Column, Definition, View},
    },
    views,
};

use super::{Database, Row, blob, expected, select, value, view};
use crate::scenario::{self, SHOP};

const HOSTILE: &str = "O'Brien \"; DROP TABLE record; -- \\u0000 \\ \u{202e}\u{fc} %s $1";

fn services(store: &Arc<dyn StoreAdmin>) -> Services {
    let gateway = Arc::new(InertGateway::default());
    Txn::builder(Arc::clone(store), gateway).build().tenant(Tenant::new(SHOP).unwrap())
}

/// Whatever the checked types let through.
async fn add_hostile(shop: &Services) {
    let account = |id: &str, name: &str| {
        let id = AccountId::new(id).unwrap();
        Account::new(id, AccountType::Liability, Currency::JPY).named(name).overdraft(Overdraft::Unlimited)
    };
    for (id, name) in [("%--~:..", HOSTILE), ("nul", "before\0after")] {
        shop.ledger().open_account(&OpenAccount { account: account(id, name) }).await.unwrap();
    }
    let most = Money::from_minor(300_000_000_000_000_000, Currency::JPY);
    for (id, reference) in [("a", HOSTILE.to_owned()), ("b", "long ".repeat(1_000)), ("c", String::new())] {
        let (debit, credit) = (AccountId::new("%--~:..").unwrap(), AccountId::new("nul").unwrap());
        let transfer = Transfer::simple(TransferId::new(id).unwrap(), debit, credit, most).about(reference);
        shop.ledger().transfer(&transfer).await.unwrap();
    }
    place(shop, "%27.OR.1~1:--", "%27--").await;
}

async fn place(shop: &Services, id: &str, sku: &str) {
    let line = |quantity| NewLine {
        sku: Sku::new(sku).unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        price: Money::parse("1.25", Currency::USD).unwrap(),
    };
    let command = PlaceOrder {
        order: OrderId::new(id).unwrap(),
        customer: Some(CustomerId::new("bob").unwrap()),
        currency: Currency::USD,
        location: LocationId::new("main").unwrap(),
        hold: HoldId::new(id).unwrap(),
        payment: PaymentId::new(id).unwrap(),
        expires_at: None,
        lines: vec![line(1), line(2)],
    };
    shop.orders().place(&command).await.unwrap();
}

async fn receive(shop: &Services, id: &str) {
    let item = Item { sku: Sku::new(id).unwrap(), location: LocationId::new("main").unwrap() };
    let lines = vec![Demand { item, quantity: Quantity::new(3).unwrap() }];
    shop.inventory().receive(&Receive { id: MovementId::new(id).unwrap(), lines }).await.unwrap();
}

/// A backend may chain later than it commits, and an export ends with the chain.
fn wait_for_chain(store: &dyn StoreAdmin) {
    while pollster::block_on(store.health()).unwrap().unchained > 0 {
        thread::sleep(Duration::from_millis(5));
    }
}

fn played(database: &dyn Database) -> Arc<dyn StoreAdmin> {
    let store = database.open(&views::all());
    scenario::play(Arc::clone(&store), &database.clock(), &|_| {});
    pollster::block_on(add_hostile(&services(&store)));
    wait_for_chain(&*store);
    store
}

pub(crate) fn every_row_says_what_the_store_says(database: &dyn Database) {
    let store = played(database);
    let mut expected = expected::rows(&*store);
    for account in expected.get_mut("accounts").unwrap() {
        // No text of PostgreSQL holds a NUL.
        let title = account.get_mut("title").unwrap();
        let put = |title: &str| match database.is_postgres() {
            true => title.replace('\0', "\u{fffd}"),
            false => title.to_owned(),
        };
        *title = title.as_deref().map(put);
    }
    for view in views::all() {
        let mut said = expected::named_rows(&view, select(database, &view, ""));
        let mut wanted = expected.remove(view.name).unwrap();
        said.sort();
        wanted.sort();
        assert!(wanted.len() > 3);
        assert_eq!(said, wanted, "{}", view.name);
    }
    times_are_exact(database);
    sums_agree(database);
}

fn times_are_exact(database: &dyn Database) {
    let at =
        |column: &str| format!("SELECT CAST({column} AS TEXT) FROM orders WHERE tenant = 'shop' AND order_id = 'o-1'");
    let (placed, expires) = (value(database, &at("placed_at")), value(database, &at("expires_at")));
    let wanted = match database.is_postgres() {
        true => ["2030-01-01 00:00:00+00", "2030-01-01 01:00:00+00"],
        false => ["2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z"],
    };
    assert_eq!([placed.as_deref(), expires.as_deref()], wanted.map(Some));
}

/// Lines add up to their order, legs to their accounts, and nothing is won or lost.
fn sums_agree(database: &dyn Database) {
    let none = |sql: &str| assert_eq!(database.query(sql), Vec::<Row>::new(), "{sql}");
    none(
        "SELECT o.order_id FROM orders o JOIN order_lines l ON l.tenant_no = o.tenant_no AND l.order_id = o.order_id \
         GROUP BY o.tenant_no, o.order_id, o.total_minor HAVING sum(l.amount_minor) <> o.total_minor",
    );
    let legs = |movement: &str, side: &str| {
        format!("coalesce(sum(CASE WHEN movement = '{movement}' AND side = '{side}' THEN amount_minor END), 0)")
    };
    let (posted, pended, unpended) = (legs("posted", "debit"), legs("pended", "credit"), legs("unpended", "credit"));
    none(&format!(
        "SELECT a.account_id FROM accounts a LEFT JOIN transfers t ON t.tenant_no = a.tenant_no AND t.account_id = a.account_id AND t.currency = a.currency \
         GROUP BY a.tenant_no, a.account_id, a.currency, a.debits_posted_minor, a.credits_pending_minor \
         HAVING {posted} <> a.debits_posted_minor OR {pended} - {unpended} <> a.credits_pending_minor",
    ));
    none(
        "SELECT currency FROM accounts GROUP BY tenant_no, currency HAVING sum(debits_posted_minor) <> sum(credits_posted_minor)",
    );
    none(
        "SELECT payment_id FROM payments p JOIN orders o USING (tenant_no, payment_id) WHERE p.amount_minor <> o.total_minor",
    );
    none("SELECT sku FROM stock WHERE on_hand - reserved - unavailable <> available");
}

pub(crate) fn no_content_makes_a_view_fail(database: &dyn Database) {
    drop(played(database));
    let counts: BTreeMap<&str, usize> =
        views::all().iter().map(|view| (view.name, select(database, view, "").len())).collect();
    // Erased by hand: the row stays, with its key and its versions.
    let digest = blob(database, &[7; 32]);
    database
        .run(&format!("UPDATE record SET format = 0, body = {digest}; UPDATE event SET format = 0, body = {digest}"));
    let erased = |name: &str, and: &str| select(database, &view(name), &format!("WHERE tenant = 'shop' AND {and}"));
    let shown = |rows: &[Row]| rows.iter().map(|row| row.iter().flatten().count()).collect::<Vec<_>>();
    // The tenant's name and number, the id, the version, and that it was erased.
    assert_eq!(shown(&erased("orders", "order_id = 'o-1' AND is_erased")), [5]);
    assert_eq!(shown(&erased("payments", "payment_id = 'p-1' AND is_erased")), [5]);
    assert_eq!(shown(&erased("order_lines", "order_id = 'o-1' AND line = 0 AND sku IS NULL AND is_erased")), [5]);
    assert_eq!(shown(&erased("transfers", "transfer_id = 'a' AND leg = 0 AND is_erased")), [8]);
    assert_eq!(erased("accounts", "account_id = 'nul' AND title IS NULL AND credits_posted_minor > 0").len(), 1);
    // What a newer build may write, and what nobody should.
    let bodies: [&[u8]; 9] = [
        b"{",
        b"[]",
        b"7",
        b"\"x\"",
        b"\xff\xfe",
        b"",
        br#"{"total":5,"lines":{"a":[1]},"placed_at":7,"customer":{"x":1},"lifecycle":["a"],"state":{},"posted":{"a":{}},"pended":7,"type":{},"limits":{"overdraft":{"up_to":7},"balance_max":["x"]}}"#,
        br#"{"lines":[1,"x",{"sku":5,"price":7,"ordered":"2","shipped":1.5},null,[]],"placed_at":"2030-02-31T00:00:00Z","total":{"amount":"1e5"},"posted":[1,"x",null,{"amount":7}]}"#,
        br#"{"lines":[{"price":{"amount":"99999999999999999999999999.99","currency":"USD"},"ordered":99999999999999999999}],"placed_at":"9999-12-31T23:59:59.999999999Z","posted":[{"amount":{"amount":"-"}}]}"#,
    ];
    for body in bodies {
        let text = String::from_utf8_lossy(body);
        let body = blob(database, body);
        // Written with the indexes in place: none of them refuses it.
        let set = format!("SET format = 1, schema = 99, body = {body}");
        database.run(&format!("UPDATE record {set}; UPDATE event {set}"));
        for view in views::all() {
            let rows = select(database, &view, "").len();
            let is_split = ["order_lines", "transfers"].contains(&view.name);
            assert!(rows == counts[view.name] || is_split && rows > 0, "{} over {text}", view.name);
            let ordered = format!("ORDER BY {} DESC", view.columns[2].name);
            assert_eq!(select(database, &view, &ordered).len(), rows);
        }
    }
}

/// The columns that page each view, as its documentation says.
fn pagings(database: &dyn Database) -> [(&'static str, Vec<&'static str>); 7] {
    let placed = if database.is_postgres() { "placed_at" } else { "placed_at_ns" };
    [
        ("accounts", vec!["account_id", "currency"]),
        ("order_lines", vec!["order_id", "line"]),
        ("orders", vec!["order_id"]),
        ("orders", vec![placed, "order_id"]),
        ("payments", vec!["payment_id"]),
        ("stock", vec!["sku", "location"]),
        ("transfers", vec!["transfer_id", "leg"]),
    ]
}

/// The rows behind a row, in the documented order.
pub(crate) fn page(view: &View, keys: &[&str], after: Option<&Row>, limit: usize) -> String {
    // Under another name, since PostgreSQL orders by what is shown before it looks for a column.
    let shown: Vec<String> = keys.iter().map(|key| format!("CAST({key} AS TEXT) AS shown_{key}")).collect();
    let literal = |(key, value): (&&str, &Option<String>)| {
        let column = view.columns.iter().find(|column| column.name == *key).unwrap();
        let value = value.clone().unwrap();
        if column.sqlite == "INTEGER" { value } else { format!("'{}'", value.replace('\'', "''")) }
    };
    let behind = after.map(|row| {
        let values: Vec<String> = keys.iter().zip(row).map(literal).collect();
        // The first condition follows from the second; PostgreSQL finds the place in the index by it when the others are not in the index.
        format!("AND {} >= {} AND ({}) > ({})", keys[0], values[0], keys.join(", "), values.join(", "))
    });
    format!(
        "SELECT {} FROM {} WHERE tenant_no = 1 {} ORDER BY {} LIMIT {limit}",
        shown.join(", "),
        view.name,
        behind.unwrap_or_default(),
        keys.join(", ")
    )
}

pub(crate) fn pages_are_stable_while_others_write(database: &dyn Database) {
    let store = played(database);
    let shop = services(&store);
    pollster::block_on(async {
        for n in 0..25 {
            database.clock().advance(Duration::from_nanos(1_500));
            place(&shop, &format!("page-{n:02}"), "tea").await;
            receive(&shop, &format!("page-{n:02}")).await;
        }
    });
    let (stop, pages) = (AtomicBool::new(false), pagings(database));
    let pages = pages.map(|(name, keys)| (view(name), keys));
    let before = pages.clone().map(|(view, keys)| database.query(&page(&view, &keys, None, 10_000)));
    thread::scope(|scope| {
        scope.spawn(|| pollster::block_on(write(&shop, &stop)));
        for ((view, keys), before) in pages.iter().zip(before) {
            let mut seen = Vec::new();
            loop {
                let page = database.query(&page(view, keys, seen.last(), 7));
                if page.is_empty() {
                    break;
                }
                seen.extend(page);
            }
            let once: BTreeSet<&Row> = seen.iter().collect();
            assert_eq!(once.len(), seen.len(), "{} repeats", view.name);
            assert!(before.len() >= 4 && before.iter().all(|row| once.contains(row)), "{} loses", view.name);
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(database.query("SELECT CAST(order_id AS TEXT) FROM orders").len() > 40);
}

/// Adds rows before, between and behind those that are read, and changes every row of stock.
async fn write(shop: &Services, stop: &AtomicBool) {
    for n in 0.. {
        if n > 1 && stop.load(Ordering::SeqCst) {
            return;
        }
        for id in [format!("a-{n}"), format!("page-{:02}-{n}", n % 25), format!("z-{n}")] {
            place(shop, &id, "tea").await;
            receive(shop, &id).await;
            let name = id.clone();
            let account = Account::new(AccountId::new(id.clone()).unwrap(), AccountType::Asset, Currency::USD);
            let account = account.named(name).overdraft(Overdraft::Unlimited);
            shop.ledger().open_account(&OpenAccount { account: account.clone() }).await.unwrap();
            let cash = AccountId::new("assets:cash").unwrap();
            let amount = Money::parse("0.01", Currency::USD).unwrap();
            let transfer = Transfer::simple(TransferId::new(id).unwrap(), cash, account.id, amount);
            // Paid in, or refused: both are well here.
            let _ = shop.ledger().transfer(&transfer).await;
        }
        shop.orders().cancel(&OrderId::new(format!("page-{:02}", n % 25)).unwrap()).await.unwrap();
    }
}

pub(crate) fn views_are_installed_once_replaced_when_changed_and_taken_away(database: &dyn Database) {
    const EMPTY: Definition = Definition { functions: &[], select: "SELECT id FROM $s.change", indexes: &[] };
    const ID: Column = Column { name: "change_id", postgres: "text", sqlite: "TEXT", meaning: "The change's id." };
    const AT: Column = Column { name: "at", postgres: "bigint", sqlite: "INTEGER", meaning: "It isn't text." };
    const LITE: Definition = Definition { select: "SELECT id FROM change", ..EMPTY };
    let one = View { name: "changes", meaning: "A change's id.", columns: &[ID], postgres: EMPTY, sqlite: LITE };
    let two = View {
        columns: &[AT, ID],
        postgres: Definition { select: "SELECT recorded_at, id FROM $s.change", ..EMPTY },
        sqlite: Definition { select: "SELECT recorded_at, id FROM change", ..EMPTY },
        ..one
    };
    drop(database.open(&views::all()));
    let first = database.installed();
    assert!(first.len() > 20);
    drop(database.open(&views::all()));
    assert_eq!(database.installed(), first, "what is current was left alone");
    let names = |rows: Vec<Row>| rows.into_iter().map(|mut row| row.remove(0).unwrap()).collect::<Vec<_>>();
    drop(database.open(&[one]));
    assert_eq!(names(database.installed()), ["changes"]);
    drop(database.open(&[two]));
    assert_eq!(database.query("SELECT CAST(at AS TEXT), change_id FROM changes"), Vec::<Row>::new());
    drop(database.open(&[]));
    assert_eq!(names(database.installed()), Vec::<String>::new());
    // A name that is taken by others is theirs.
    database.run("CREATE TABLE changes(x integer)");
    let refused = database.try_open(&[one]).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("cannot install changes"), "{refused}");
    drop(database.open(&views::all()));
    assert_eq!(names(database.installed()), names(first));
}
