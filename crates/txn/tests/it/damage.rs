//! Damage on the medium: each table of a SQLite store is edited once behind the store's back, and the audit names it.

#[cfg(feature = "servers")]
#[path = "damage/postgres.rs"]
mod postgres;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use rusqlite::Connection;
use txn::{
    Tenant,
    audit::{self, Report, Rule},
    change::{Body, Change, ChangeId, Event, Fingerprint, Key, Kind, Link},
    store::{Commit, ManualClock, Outcome, Store, sqlite::Sqlite},
};

use crate::scenario;

/// What the audit says of a damage.
enum Says {
    /// A violation that contains this.
    Names(&'static str),
    /// Nothing: the row says it alone, and no other row would have to be different.
    Nothing,
}
use Says::{Names, Nothing};

struct Damage {
    table: &'static str,
    what: &'static str,
    sql: &'static str,
    says: Says,
}

const fn damage(table: &'static str, what: &'static str, sql: &'static str, says: Says) -> Damage {
    Damage { table, what, sql, says }
}

/// `SHOP` stands for the tenant's number, `edit(column, from, to)` for the column with the text replaced.
const DAMAGES: &[Damage] = &[
    damage(
        "event",
        "an amount in a transfer",
        "UPDATE event SET body = edit(body, 100.00, 900.00) WHERE fact = 'transfer/t-1'",
        Names(
            "shop: change ledger.transfer/t-1: the command, answer, entries and events of a change are those that it was committed with",
        ),
    ),
    damage(
        "event",
        "a total in the fact of an order",
        "UPDATE event SET body = edit(body, 29.90, 19.90) WHERE tenant = SHOP AND fact = 'order/o-1'",
        Names(
            "shop: order/o-1: an order's total, lines and units are those of its lines, and of the fact that it was placed: expected the fact's total of 19.90 USD, found 29.90 USD",
        ),
    ),
    damage(
        "event",
        "two events of a payment, swapped",
        "CREATE TEMP TABLE pair AS SELECT position, body FROM event WHERE tenant = SHOP AND type = 'payment.changed' \
           ORDER BY position LIMIT 2; \
         UPDATE event SET body = (SELECT p.body FROM pair p WHERE p.position <> event.position) \
           WHERE position IN (SELECT position FROM pair); \
         DROP TABLE pair",
        Names(
            "shop: payment p-1: a payment moves along its machine: expected a step from Authorised, found Authorising",
        ),
    ),
    damage(
        "event",
        "a deleted event",
        "DELETE FROM event WHERE tenant = SHOP AND type = 'return.received' AND has(body, r-1)",
        Names("shop: change return.receive/r-1: a change has all of its entries and events"),
    ),
    damage(
        "entry",
        "a deleted entry",
        "DELETE FROM entry WHERE sequence = 2 AND counter = (SELECT min(no) FROM counter WHERE tenant = SHOP)",
        Names("the entries of a counter are numbered from 1 without gaps: expected entry 2, found 3"),
    ),
    damage(
        "entry",
        "an edited entry",
        "UPDATE entry SET d1 = d1 + 1, a1 = a1 + 1 WHERE no = (SELECT max(no) FROM entry WHERE d1 > 0)",
        Names(": the command, answer, entries and events of a change are those that it was committed with"),
    ),
    damage(
        "entry",
        "a back-dated entry",
        "UPDATE entry SET effective_at = effective_at - 1 WHERE no = 1",
        Names(
            "shop: change stock.receive/m-1: the command, answer, entries and events of a change are those that it was committed with",
        ),
    ),
    damage(
        "entry",
        "an entry that leads past the one before",
        "UPDATE entry SET previous = previous - 1 WHERE sequence = 2 AND counter = (SELECT min(no) FROM counter WHERE tenant = SHOP)",
        Names("every stored row fits the others and can be read"),
    ),
    damage(
        "counter",
        "a counter that leads past its last entry",
        "UPDATE counter SET last = last - 1 WHERE tenant = SHOP AND unit = 'item'",
        Names("every stored row fits the others and can be read"),
    ),
    damage(
        "counter",
        "a lane",
        "UPDATE counter SET l0 = l0 + 1 WHERE tenant = SHOP AND class = (SELECT class FROM counter WHERE unit = 'item')",
        Names("shop: stock/cup/main: a counter stands where its last entry left it: expected lanes ["),
    ),
    damage(
        "counter",
        "an overdraft allowed",
        "UPDATE counter SET guards = '[null,null]' WHERE tenant = SHOP AND unit = 'USD'",
        Names("shop: ledger/equity/USD: a counter's class, unit, guards and version are those of what it counts"),
    ),
    damage(
        "counter",
        "a deleted counter",
        "DELETE FROM counter WHERE tenant = SHOP AND unit = 'visit'; DELETE FROM counter WHERE tenant = SHOP AND unit = 'item'",
        Names("every stored row fits the others and can be read"),
    ),
    damage("counter", "a status", "UPDATE counter SET status = 1 WHERE tenant = SHOP AND unit = 'item'", Nothing),
    damage(
        "record",
        "an amount in an order",
        "UPDATE record SET body = edit(body, 3.50, 3.00) WHERE tenant = SHOP AND type = 'order' AND has(body, o-1)",
        Names(
            "shop: order/o-1: an order's total, lines and units are those of its lines, and of the fact that it was placed: expected a total of 28.40 USD, found 29.90 USD",
        ),
    ),
    damage(
        "record",
        "an amount in a payment",
        "UPDATE record SET body = edit(body, 29.90, 90.00) WHERE tenant = SHOP AND type = 'payment' AND has(body, p-1)",
        Names(
            "shop: payment p-1: an order that costs something has one payment over its total, and ships when it is captured",
        ),
    ),
    damage(
        "record",
        "a reopened hold",
        "UPDATE record SET body = edit(body, :\"released\", :\"held\") WHERE tenant = SHOP AND type = 'hold' AND has(body, h-2)",
        Names("shop: hold/h-2: a hold stands where its movements left it: expected Released, found Held"),
    ),
    damage(
        "record",
        "a deleted order",
        "DELETE FROM record WHERE tenant = SHOP AND type = 'order' AND has(body, o-1)",
        Names("shop: order o-1: an order and the fact that it was placed exist together"),
    ),
    damage(
        "record",
        "a deleted refund",
        "DELETE FROM record WHERE tenant = SHOP AND type = 'refund' AND has(body, f-3)",
        Names("shop: payment p-1: a payment's refunds add up to what it says was refunded and is being refunded"),
    ),
    damage(
        "record",
        "a deleted timer",
        "DELETE FROM record WHERE tenant = SHOP AND type = 'timer' AND has(body, h-10)",
        Names("shop: hold h-10: what runs out has a timer"),
    ),
    damage(
        "record",
        "a body that is no text of ours",
        "UPDATE record SET body = x'00' WHERE tenant = SHOP AND type = 'return' AND has(body, r-1)",
        Names("shop: return/r-1: what txn writes can be read back"),
    ),
    damage("record", "a host's own record", "UPDATE record SET body = x'00' WHERE type = 'note'", Nothing),
    damage(
        "term",
        "a removed index term",
        "DELETE FROM term WHERE tenant = SHOP AND key = (SELECT key FROM record WHERE type = 'order' AND has(body, o-1))",
        Names("shop: order/o-1: a record is indexed by its terms, and those are the terms of what it holds"),
    ),
    damage(
        "term",
        "an added index term",
        "INSERT INTO term SELECT tenant, term, (SELECT key FROM record WHERE tenant = SHOP AND type = 'order' AND has(body, o-3)) \
           FROM term WHERE tenant = SHOP AND key = (SELECT key FROM record WHERE type = 'order' AND has(body, o-1))",
        Names("shop: order/o-3: a record is indexed by its terms, and those are the terms of what it holds"),
    ),
    damage(
        "term",
        "an index term of nothing",
        "UPDATE term SET key = CAST(key || x'01' AS BLOB) WHERE tenant = SHOP AND key = (SELECT key FROM record WHERE type = 'order' AND has(body, o-1))",
        Names("every stored row fits the others and can be read"),
    ),
    damage(
        "record",
        "how much of a transfer was reversed",
        "UPDATE record SET body = edit(body, 4.00, 5.00) WHERE tenant = SHOP AND type = 'ledger.reversed'",
        Names(
            "shop: ledger-reversal/t-2: what was reversed of a transfer is the sum of its reversals, and no more than the transfer: expected reversed 400, found 500",
        ),
    ),
    damage(
        "record",
        "how far periods are closed",
        "UPDATE record SET body = edit(body, 2030, 2029) WHERE tenant = SHOP AND type = 'ledger.period'",
        Names("shop: ledger-period: nothing that counts in a closed period was recorded after it was closed"),
    ),
    damage(
        "event",
        "when a transfer counts",
        "UPDATE event SET body = edit(body, 2030, 2029) WHERE tenant = SHOP AND fact = 'transfer/t-2'",
        Names("shop: transfer t-2: a transfer is indexed by what it says"),
    ),
    damage(
        "change",
        "a deleted id",
        "DELETE FROM change WHERE tenant = SHOP AND id = 'order.place/o-1'",
        Names("every stored row fits the others and can be read"),
    ),
    damage(
        "change",
        "a changed answer",
        "UPDATE change SET answer = edit(answer, 29.90, 19.90) WHERE tenant = SHOP AND id = 'order.place/o-1'",
        Names("shop: the answer of change order.place/o-1: an answer says what its change did"),
    ),
    damage(
        "change",
        "a time",
        "UPDATE change SET recorded_at = recorded_at + 1 WHERE tenant = SHOP AND id = 'order.place/o-1'",
        Names(
            "shop: change order.place/o-1: the command, answer, entries and events of a change are those that it was committed with",
        ),
    ),
    damage(
        "change",
        "a fingerprint",
        "UPDATE change SET fingerprint = zeroblob(32) WHERE tenant = SHOP AND id = 'order.place/o-1'",
        Names(
            "shop: change order.place/o-1: the command, answer, entries and events of a change are those that it was committed with",
        ),
    ),
    damage(
        "change",
        "an answer that no other row contradicts",
        "UPDATE change SET answer = edit(answer, o-1, o-9) WHERE tenant = SHOP AND id = 'order.place/o-1'",
        Names(
            "shop: change order.place/o-1: the command, answer, entries and events of a change are those that it was committed with",
        ),
    ),
    damage(
        "change",
        "a change that left nothing but itself, removed",
        "DELETE FROM change WHERE tenant = SHOP AND id = 'alone/2'",
        Names(
            "a link holds the changes that it was made of, no fewer and no more: expected 1 changes and 0 events, found 0 and 0",
        ),
    ),
    damage(
        "change",
        "a change removed with everything of it",
        "DELETE FROM record WHERE type = 'alone'; DELETE FROM event WHERE type = 'alone'; \
         DELETE FROM change WHERE tenant = SHOP AND id = 'alone/1'",
        Names(
            "a link holds the changes that it was made of, no fewer and no more: expected 1 changes and 1 events, found 0 and 0",
        ),
    ),
    damage(
        "change",
        "two changes, swapped with everything of them",
        "CREATE TEMP TABLE pair AS SELECT n FROM change WHERE tenant = SHOP AND id IN ('alone/2', 'alone/3'); \
         UPDATE change SET n = -n WHERE n IN (SELECT n FROM pair); \
         UPDATE change SET n = (SELECT p.n FROM pair p WHERE p.n <> -change.n) WHERE n < 0; \
         DROP TABLE pair",
        Names("the hash of a link is that over its changes, in order, and the link before"),
    ),
    damage(
        "event",
        "two events of different changes, in each other's places",
        "CREATE TEMP TABLE pair AS SELECT position FROM event WHERE type = 'stock.moved' ORDER BY position LIMIT 2; \
         UPDATE event SET position = -position WHERE position IN (SELECT position FROM pair); \
         UPDATE event SET position = (SELECT p.position FROM pair p WHERE p.position <> -event.position) WHERE position < 0; \
         DROP TABLE pair",
        Names("every stored row fits the others and can be read"),
    ),
    damage(
        "link",
        "a removed link",
        "DELETE FROM link WHERE number = 7",
        Names("link 8: the links of the chain are numbered from 1 without gaps: expected link 7, found 8"),
    ),
    damage(
        "link",
        "the last link removed",
        "DELETE FROM link WHERE number = (SELECT max(number) FROM link)",
        Names("it stands behind the last link, which is that of change"),
    ),
    damage(
        "link",
        "an edited hash",
        "UPDATE link SET hash = zeroblob(32) WHERE number = 7",
        Names("link 7: the hash of a link is that over its changes, in order, and the link before"),
    ),
    damage(
        "link",
        "an edited count",
        "UPDATE link SET changes = changes + 1 WHERE number = 7",
        Names("link 7: a link states how many changes and events it holds: expected 1 and "),
    ),
    damage(
        "link",
        "an edited position",
        "UPDATE link SET position = 0 WHERE number = 20",
        Names("link 20: with every link the log grows by its events at least: expected the log to end at "),
    ),
    damage(
        "link",
        "a change moved to the group before",
        "UPDATE link SET n = n + 1 WHERE number = 7",
        Names("link 7: a link holds the changes that it was made of, no fewer and no more: expected 1 changes"),
    ),
    damage(
        "link",
        "two links, swapped",
        "UPDATE link SET n = -n WHERE number IN (7, 8); UPDATE link SET n = CASE number WHEN 7 THEN 8 ELSE 7 END WHERE n < 0",
        Names("link 7: the links of the chain are numbered from 1 without gaps: expected link 9, found 7"),
    ),
    damage(
        "class",
        "a class that conserves nothing",
        "UPDATE class SET spec = replace(spec, '[1,0,-1,0]', 'null')",
        Names("shop: ledger/equity/USD: a counter's class, unit, guards and version are those of what it counts"),
    ),
    damage("class", "deleted classes", "DELETE FROM class", Names("every stored row fits the others and can be read")),
    damage("tenant", "a deleted tenant", "DELETE FROM tenant WHERE name = 'shop'", Names("there is no tenant 1")),
    damage(
        "tenant",
        "a renamed tenant",
        "UPDATE tenant SET name = 'shoe' WHERE name = 'shop'",
        Names("link 1: the hash of a link is that over its changes, in order, and the link before"),
    ),
    damage(
        "event_term",
        "the index of events",
        "DELETE FROM event_term WHERE position = (SELECT position FROM event WHERE fact = 'transfer/t-1')",
        Names("its index term transfer/t-1 is missing"),
    ),
    damage("fence", "a token", "INSERT INTO fence VALUES (1, 'door', 7)", Nothing),
    damage(
        "purge",
        "where the log begins",
        "INSERT INTO purge VALUES (1, 2, 2)",
        Names("where the log begins: what was let go of"),
    ),
];

/// Writes out the shorthand of [`DAMAGES`].
fn expand(sql: &str) -> String {
    let mut sql = sql.replace("SHOP", "(SELECT no FROM tenant WHERE name = 'shop')");
    for name in ["edit", "has"] {
        while let Some(start) = sql.find(&format!("{name}(")) {
            let inner = start + name.len() + 1;
            let end = inner + sql[inner..].find(')').unwrap();
            let parts: Vec<&str> = sql[inner..end].split(", ").collect();
            let written = match parts[..] {
                [column, from, to] => {
                    format!("CAST(replace(CAST({column} AS TEXT), '{from}', '{to}') AS BLOB)")
                }
                [column, id] => format!("CAST({column} AS TEXT) LIKE '%\"{id}\"%'"),
                _ => unreachable!("two or three parts"),
            };
            sql.replace_range(start..=end, &written);
        }
    }
    sql
}

fn verify(path: &Path) -> Report {
    let store = Sqlite::open(path).unwrap();
    pollster::block_on(audit::verify(&store)).unwrap()
}

/// A closed store with a day in it.
fn shop(path: &Path) {
    let clock = Arc::new(ManualClock::at(scenario::start()));
    let store = Arc::new(Sqlite::options(path).clock(Arc::clone(&clock) as _).open().unwrap());
    scenario::play(Arc::clone(&store) as _, &clock, &|_| {});
    fill(&*store);
    assert_eq!(Arc::strong_count(&store), 1);
}

/// Changes that nothing else speaks of: their removal leaves no other trace.
fn fill(store: &dyn Store) {
    alone(store, 1, |change| {
        let body = || Body::raw("alone", 1, b"{}".to_vec());
        let key = Key::of(Kind::new("alone").unwrap()).number(1).build();
        change.insert(key, body(), vec![]).append(Event::new(body()))
    });
    for number in 2..=4 {
        alone(store, number, |change| change);
    }
}

fn alone(store: &dyn Store, number: u32, fill: impl Fn(Change) -> Change) -> Link {
    let id = ChangeId::new(format!("alone/{number}")).unwrap();
    let change = fill(Change::new(id, Fingerprint::of("alone", &number)));
    let commit = Commit { tenant: Tenant::new(scenario::SHOP).unwrap(), change };
    match pollster::block_on(store.commit(vec![commit])).pop() {
        Some(Ok(Outcome::Done(receipt))) => receipt.head,
        other => panic!("expected Done, found {other:?}"),
    }
}

/// Case L31.
#[test]
fn one_damage_in_each_table_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let clean = folder.path().join("clean.db");
    shop(&clean);
    let report = verify(&clean);
    assert!(report.is_clean(), "{:#?}", report.violations);

    let mut unnamed = Vec::new();
    for (n, Damage { table, what, sql, says }) in DAMAGES.iter().enumerate() {
        let copy = folder.path().join(format!("{n}.db"));
        std::fs::copy(&clean, &copy).unwrap();
        let by_hand = Connection::open(&copy).unwrap();
        by_hand.execute_batch(&expand(sql)).unwrap_or_else(|error| panic!("{table}, {what}: {error}"));
        assert!(by_hand.total_changes() > 0, "{table}, {what}: nothing was damaged");
        drop(by_hand);
        let report = verify(&copy);
        let found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        let is_said = match says {
            Names(text) => found.iter().any(|found| found.contains(text)),
            Nothing => report.is_clean(),
        };
        if !is_said {
            unnamed.push((table, what, found));
        }
    }
    assert!(unnamed.is_empty(), "{unnamed:#?}");

    let tables = Connection::open(&clean).unwrap();
    let mut tables =
        tables.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'").unwrap();
    let tables: BTreeSet<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let damaged: BTreeSet<String> = DAMAGES.iter().map(|damage| damage.table.to_owned()).collect();
    assert_eq!(tables, damaged, "a table without a damage, or the other way round");
}

/// Case L31. Who cuts the end off, with everything that it did, leaves a store that fits together: only a link that was kept elsewhere tells.
#[test]
fn a_cut_tail_is_named_against_a_link_that_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    shop(&path);
    let store = Sqlite::open(&path).unwrap();
    let before = pollster::block_on(audit::verify(&store)).unwrap().chain;
    let kept = alone(&store, 5, |change| change);
    drop(store);
    let by_hand = Connection::open(&path).unwrap();
    let cut = "DELETE FROM change WHERE n = (SELECT max(n) FROM change); \
               DELETE FROM link WHERE number = (SELECT max(number) FROM link)";
    by_hand.execute_batch(cut).unwrap();
    drop(by_hand);
    // The mark of the last commit says so too, until it is taken away.
    assert!(Sqlite::open(&path).is_err());
    std::fs::remove_file(folder.path().join("shop.db.lock")).unwrap();

    let store = Sqlite::open(&path).unwrap();
    assert!(pollster::block_on(audit::verify(&store)).unwrap().is_clean());
    assert!(pollster::block_on(audit::verify_since(&store, before)).unwrap().is_clean());
    let named = pollster::block_on(audit::verify_since(&store, kept)).unwrap().violations;
    assert_eq!(named.iter().map(|found| found.rule).collect::<Vec<_>>(), [Rule::ChainKept]);
    let found = named[0].to_string();
    assert!(found.contains(&format!("found none, in a chain that ends with link {}", before.number)), "{found}");
    // Written on, the chain comes to that number again, and by another way.
    alone(&store, 6, |change| change);
    let named = pollster::block_on(audit::verify_since(&store, kept)).unwrap().violations;
    assert!(matches!(&named[..], [one] if one.to_string().contains("found another")), "{named:?}");
}
