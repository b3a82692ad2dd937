//! The cases on PostgreSQL, read by a session of its own. A server is given by `TXN_POSTGRES_URL`.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _, raw_sql};
use tokio::runtime::Runtime;
use txn::store::{Error, ManualClock, StoreAdmin, postgres::Postgres, views::View};

use super::{Database, Row, cases, value};
use crate::scenario;

/// One runtime for all stores of this process.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

struct Schema {
    clock: Arc<ManualClock>,
    name: String,
}

fn url() -> String {
    std::env::var("TXN_POSTGRES_URL").expect("TXN_POSTGRES_URL is the URL of a server; `cargo xtask test` starts one")
}

fn schema() -> Schema {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let started = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() % 10_000_000_000;
    let name = format!("v{}_{started}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    Schema { clock: Arc::new(ManualClock::at(scenario::start())), name }
}

impl Schema {
    async fn session(&self) -> PgConnection {
        let mut session = PgConnection::connect(&url()).await.unwrap();
        let path = format!("SET search_path = {}", self.name);
        raw_sql(AssertSqlSafe(path)).execute(&mut session).await.unwrap();
        session
    }

    async fn store(&self, views: &[View]) -> Result<Postgres, Error> {
        let options = Postgres::options(&url()).unwrap().schema(&self.name).readers(1).clock(self.clock() as _);
        options.views(views.iter().copied()).open().await
    }
}

impl Database for Schema {
    fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }

    fn try_open(&self, views: &[View]) -> Result<Arc<dyn StoreAdmin>, Error> {
        Ok(Arc::new(RUNTIME.block_on(self.store(views))?))
    }

    fn query(&self, sql: &str) -> Vec<Row> {
        RUNTIME.block_on(async {
            let mut session = self.session().await;
            let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut session).await;
            let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
            rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
        })
    }

    fn run(&self, sql: &str) {
        RUNTIME.block_on(async {
            let mut session = self.session().await;
            raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut session).await.unwrap();
        });
    }

    fn plan(&self, sql: &str) -> String {
        let steps = self.query(&format!("EXPLAIN {sql}"));
        steps.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
    }

    fn installed(&self) -> Vec<Row> {
        self.query(
            "SELECT relname::text, oid::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND (relkind = 'v' OR relname LIKE 'view%') \
             UNION ALL SELECT proname::text, oid::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'view%' ORDER BY 1",
        )
    }

    fn is_postgres(&self) -> bool {
        true
    }
}

#[test]
fn every_row_says_what_the_store_says() {
    cases::every_row_says_what_the_store_says(&schema());
}

#[test]
fn no_content_makes_a_view_fail() {
    cases::no_content_makes_a_view_fail(&schema());
}

#[test]
fn pages_are_stable_while_others_write() {
    cases::pages_are_stable_while_others_write(&schema());
}

#[test]
fn every_documented_filter_is_served_by_an_index() {
    super::plans::every_documented_filter_is_served_by_an_index(&schema());
}

#[test]
fn views_are_installed_once_replaced_when_changed_and_taken_away() {
    cases::views_are_installed_once_replaced_when_changed_and_taken_away(&schema());
}

/// Types are what the definitions say, and people find the meaning of a column in the database.
#[test]
fn columns_have_their_types_and_comments() {
    let schema = schema();
    drop(schema.open(&txn::views::all()));
    for view in txn::views::all() {
        let found = schema.query(&format!(
            "SELECT a.attname::text, format_type(a.atttypid, NULL), col_description(a.attrelid, a.attnum) FROM pg_attribute a \
             WHERE a.attrelid = '{}'::regclass AND a.attnum > 0 ORDER BY a.attnum",
            view.name
        ));
        let said = view
            .columns
            .iter()
            .map(|column| [column.name, column.postgres, column.meaning].map(|text| Some(text.to_owned())).to_vec());
        assert_eq!(found, said.collect::<Vec<_>>(), "{}", view.name);
    }
}

/// Ten processes start at once on a schema that is not there: one installs, and nine find it done.
#[test]
fn ten_stores_that_start_at_once_agree() {
    let schema = schema();
    let stores: Vec<Postgres> = RUNTIME.block_on(async {
        let all = txn::views::all();
        let starts: Vec<_> = (0..10)
            .map(|_| {
                let options = Postgres::options(&url()).unwrap().schema(&schema.name).readers(1).views(all);
                tokio::spawn(options.open())
            })
            .collect();
        let mut stores = Vec::new();
        for start in starts {
            stores.push(start.await.unwrap().unwrap());
        }
        stores
    });
    assert_eq!(stores.len(), 10);
    let count =
        "SELECT count(*)::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'v'";
    assert_eq!(value(&schema, count).as_deref(), Some("6"));
}

/// A person who was given the right to read a view still has it after the view has changed.
#[test]
fn rights_survive_a_change_and_others_views_are_never_dropped() {
    let schema = schema();
    drop(schema.open(&txn::views::all()));
    schema.run("GRANT SELECT ON orders TO PUBLIC; CREATE VIEW mine AS SELECT order_id FROM orders");
    let mut changed = txn::views::all();
    for view in &mut changed {
        view.meaning = "Another meaning.";
    }
    drop(schema.open(&changed));
    let rights = "SELECT relacl::text FROM pg_class WHERE oid = 'orders'::regclass";
    assert!(value(&schema, rights).unwrap().contains("=r/"));
    let error = schema.try_open(&[]).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("something by others"), "{error}");
    assert!(schema.query("SELECT order_id FROM mine").is_empty());
}
