//! The same on PostgreSQL, a few of each sort: what is done there by a statement is named as it is in a file. A server is given by `TXN_POSTGRES_URL`.

use std::sync::{Arc, LazyLock};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};
use tokio::runtime::Runtime;
use txn::{
    audit::{self, Report, Rule},
    change::Link,
    store::{ManualClock, postgres::Postgres},
};

use super::{alone, fill};
use crate::scenario;

/// One runtime for all stores of this process.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// What was done by hand, the statement, and what the audit says of it. `SHOP` stands for the tenant's number.
const DAMAGES: [(&str, &str, &str); 9] = [
    (
        "a deleted event",
        "DELETE FROM event WHERE tenant = SHOP AND type = 'return.received'",
        "shop: change return.receive/r-1: a change has all of its entries and events",
    ),
    (
        "an edited entry",
        "UPDATE entry SET d1 = d1 + 1, a1 = a1 + 1 WHERE (counter, sequence) = (SELECT counter, sequence FROM entry WHERE d1 > 0 ORDER BY ticket DESC, ord DESC LIMIT 1)",
        ": the command, answer, entries and events of a change are those that it was committed with",
    ),
    (
        "a deleted entry",
        "DELETE FROM entry WHERE sequence = 2 AND counter = (SELECT min(no) FROM counter WHERE tenant = SHOP)",
        "the entries of a counter are numbered from 1 without gaps: expected entry 2, found 3",
    ),
    (
        "two answers, swapped",
        "UPDATE change c SET answer = o.answer FROM change o WHERE c.tenant = SHOP AND o.tenant = SHOP \
           AND (c.id, o.id) IN (('order.place/o-1', 'order.place/o-3'), ('order.place/o-3', 'order.place/o-1'))",
        "shop: the answer of change order.place/o-1: an answer says what its change did",
    ),
    (
        "a removed change",
        "DELETE FROM change WHERE tenant = SHOP AND id = 'alone/2'",
        "a link holds the changes that it was made of, no fewer and no more: expected 1 changes and 0 events, found 0 and 0",
    ),
    (
        "an amount in a record",
        "UPDATE record SET body = convert_to(replace(convert_from(body, 'UTF8'), '3.50', '3.00'), 'UTF8') \
           WHERE tenant = SHOP AND type = 'order' AND convert_from(body, 'UTF8') LIKE '%\"o-1\"%'",
        "shop: order/o-1: an order's total, lines and units are those of its lines, and of the fact that it was placed: expected a total of 28.40 USD, found 29.90 USD",
    ),
    (
        "a lane of a counter",
        "UPDATE counter SET l0 = l0 + 1 WHERE tenant = SHOP AND unit = 'item'",
        "shop: stock/cup/main: a counter stands where its last entry left it: expected lanes [",
    ),
    (
        "a removed link",
        "DELETE FROM link WHERE number = 7",
        "link 8: the links of the chain are numbered from 1 without gaps: expected link 7, found 8",
    ),
    (
        "an edited hash",
        "UPDATE link SET hash = decode(repeat('00', 32), 'hex') WHERE number = 7",
        "link 7: the hash of a link is that over its changes, in order, and the link before",
    ),
];

const TABLES: [&str; 8] = ["change", "change_group", "counter", "entry", "event", "link", "record", "term"];

struct Schema(String);

impl Schema {
    fn new(what: &str) -> Self {
        let started = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() % 10_000_000_000;
        Self(format!("d{}_{started}_{what}", std::process::id()))
    }

    fn url() -> String {
        std::env::var("TXN_POSTGRES_URL")
            .expect("TXN_POSTGRES_URL is the URL of a server; `cargo xtask test` starts one")
    }

    /// Does something with a store that is open no longer than that.
    fn with<T>(&self, act: impl FnOnce(&Arc<Postgres>, &ManualClock) -> T) -> T {
        let clock = Arc::new(ManualClock::at(scenario::start()));
        let options = Postgres::options(&Self::url()).unwrap().schema(&self.0).readers(1);
        let store = Arc::new(RUNTIME.block_on(options.clock(Arc::clone(&clock) as _).open()).unwrap());
        let acted = act(&store, &clock);
        RUNTIME.block_on(Arc::try_unwrap(store).expect("nobody keeps it").close());
        acted
    }

    fn verify(&self, kept: Option<Link>) -> Report {
        self.with(|store, _| match kept {
            Some(kept) => pollster::block_on(audit::verify_since(&**store, kept)).unwrap(),
            None => pollster::block_on(audit::verify(&**store)).unwrap(),
        })
    }

    /// A day in it, and changes that nothing else speaks of.
    fn play(&self) {
        self.with(|store, clock| scenario::play(Arc::clone(store) as _, clock, &|_| {}));
        self.with(|store, _| fill(&**store));
        let report = self.verify(None);
        assert!(report.is_clean() && report.unchained == 0, "{:#?}", report.violations);
    }

    fn session(&self) -> PgConnection {
        let mut session = RUNTIME.block_on(PgConnection::connect(&Self::url())).unwrap();
        run(&mut session, &format!("SET search_path = {}", self.0));
        session
    }
}

/// Runs statements by hand; how many rows they touched.
fn run(session: &mut PgConnection, sql: &str) -> u64 {
    let sql = sql.replace("SHOP", "(SELECT no FROM tenant WHERE name = 'shop')");
    let done = RUNTIME.block_on(raw_sql(AssertSqlSafe(sql.clone())).execute(session));
    done.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
}

/// Case L31.
#[test]
fn damage_by_a_statement_is_named() {
    let schema = Schema::new("named");
    schema.play();
    let mut by_hand = schema.session();
    for table in TABLES {
        run(&mut by_hand, &format!("CREATE TEMP TABLE whole_{table} AS SELECT * FROM {table}"));
    }
    let mut unnamed = Vec::new();
    for (what, sql, says) in DAMAGES {
        assert!(run(&mut by_hand, sql) > 0, "{what}: nothing was damaged");
        let report = schema.verify(None);
        let found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        if !found.iter().any(|found| found.contains(says)) {
            unnamed.push((what, found));
        }
        for table in TABLES {
            run(&mut by_hand, &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM whole_{table}"));
        }
    }
    assert!(unnamed.is_empty(), "{unnamed:#?}");
    let mended = schema.verify(None);
    assert!(mended.is_clean(), "each damage was seen alone: {:#?}", mended.violations);
}

/// Case L31. Who cuts the end off, with everything that it did, leaves a store that fits together: only a link that was kept elsewhere tells.
#[test]
fn a_tail_that_was_cut_by_a_statement_is_named_against_a_link_that_was_kept() {
    let schema = Schema::new("cut");
    schema.play();
    let before = schema.verify(None).chain;
    schema.with(|store, _| alone(&**store, 5, |change| change));
    let kept = schema.verify(None).chain;
    assert_eq!(kept.number, before.number + 1);
    let cut = "DELETE FROM change WHERE ticket = (SELECT max(ticket) FROM change_group); \
               DELETE FROM change_group WHERE ticket = (SELECT max(ticket) FROM change_group); \
               DELETE FROM link WHERE number = (SELECT max(number) FROM link)";
    assert!(run(&mut schema.session(), cut) > 0);
    assert!(schema.verify(None).is_clean());
    assert!(schema.verify(Some(before)).is_clean());
    let named = schema.verify(Some(kept)).violations;
    assert_eq!(named.iter().map(|found| found.rule).collect::<Vec<_>>(), [Rule::ChainKept]);
    let found = named[0].to_string();
    assert!(found.contains(&format!("found none, in a chain that ends with link {}", before.number)), "{found}");
    // Written on, the chain comes to that number again, and by another way.
    schema.with(|store, _| alone(&**store, 6, |change| change));
    let named = schema.verify(Some(kept)).violations;
    assert!(matches!(&named[..], [one] if one.to_string().contains("found another")), "{named:?}");
}
