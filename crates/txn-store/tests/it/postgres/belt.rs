//! The second belt: the schema itself refuses rows that no store would write.

use std::collections::BTreeSet;

use pollster::block_on;
use sqlx::{AssertSqlSafe, Row as _, raw_sql};
use txn_store::{Position, Store};

use super::{
    sample::{done, mixed, run, session},
    server,
};

const CHECK: &str = "23514";
const UNIQUE: &str = "23505";
const NULL: &str = "23502";
const RANGE: &str = "22003";

/// A table, what is done to one row of it, and the SQLSTATE of the refusal.
const BAD: &[(&str, &str, &str)] = &[
    ("tenant", "UPDATE tenant SET name = ''", CHECK),
    ("tenant", "INSERT INTO tenant(name) SELECT name FROM tenant", UNIQUE),
    ("class", "UPDATE class SET spec = ''", CHECK),
    ("class", "INSERT INTO class(spec) SELECT spec FROM class", UNIQUE),
    ("change_group", "UPDATE change_group SET changes = 0", CHECK),
    ("change_group", "UPDATE change_group SET events = -1", CHECK),
    ("change_group", "UPDATE change_group SET digest = '\\x00'", CHECK),
    ("change_group", "INSERT INTO change_group SELECT * FROM change_group", UNIQUE),
    ("change", "UPDATE change SET at = -1 WHERE at = 0", CHECK),
    ("change", "UPDATE change SET entries = -1", CHECK),
    ("change", "UPDATE change SET events = -1", CHECK),
    ("change", "UPDATE change SET id = '' WHERE at = 0", CHECK),
    ("change", "UPDATE change SET fingerprint = substr(fingerprint, 2)", CHECK),
    ("change", "UPDATE change SET digest = digest || '\\x00'", CHECK),
    ("change", "UPDATE change SET passed = ''", CHECK),
    ("change", "UPDATE change SET answer = NULL", NULL),
    ("change", "UPDATE change SET id = (SELECT id FROM change WHERE at = 0) WHERE at = 1", UNIQUE),
    ("change", "UPDATE change SET at = 0 WHERE at = 1", UNIQUE),
    ("record", "UPDATE record SET version = -1", CHECK),
    ("record", "UPDATE record SET version = 0", CHECK),
    ("record", "UPDATE record SET key = ''", CHECK),
    ("record", "UPDATE record SET key = decode(repeat('01', 513), 'hex')", CHECK),
    ("record", "UPDATE record SET body = NULL", NULL),
    ("record", "INSERT INTO record SELECT * FROM record", UNIQUE),
    ("term", "INSERT INTO term SELECT * FROM term", UNIQUE),
    ("counter", "UPDATE counter SET status = 3", CHECK),
    ("counter", "UPDATE counter SET version = 0", CHECK),
    ("counter", "UPDATE counter SET sequence = -1", CHECK),
    ("counter", "UPDATE counter SET key = ''", CHECK),
    ("counter", "UPDATE counter SET key = decode(repeat('01', 513), 'hex')", CHECK),
    ("counter", "UPDATE counter SET l0 = 1e39", RANGE),
    ("counter", "UPDATE counter SET l3 = NULL", NULL),
    ("counter", "UPDATE counter SET key = (SELECT key FROM counter LIMIT 1)", UNIQUE),
    ("counter", "UPDATE counter SET no = 1", UNIQUE),
    ("entry", "UPDATE entry SET sequence = 0", CHECK),
    ("entry", "UPDATE entry SET a0 = -1e39", RANGE),
    ("entry", "INSERT INTO entry SELECT * FROM entry", UNIQUE),
    ("event", "UPDATE event SET ord = 0", UNIQUE),
    ("event", "UPDATE event SET fact = 'twice'", UNIQUE),
    ("event_term", "INSERT INTO event_term SELECT * FROM event_term", UNIQUE),
    ("fence", "INSERT INTO fence SELECT * FROM fence", UNIQUE),
    ("link", "UPDATE link SET number = 0", CHECK),
    ("link", "UPDATE link SET hash = '\\x00'", CHECK),
    ("link", "INSERT INTO link SELECT number + 9, ticket, changes, events, position, total, hash FROM link", UNIQUE),
    ("purge", "INSERT INTO purge SELECT * FROM purge", UNIQUE),
];

#[test]
fn bad_rows_are_refused_by_the_schema_itself() {
    block_on(server::RUNTIME.spawn(async {
        let schema = server::fresh_schema();
        let store = server::options(&schema).open().await.unwrap();
        done(&store, (0..21).map(|nth| mixed(0, nth)).collect()).await;
        // The log is read behind everything that was answered, so there is a link.
        assert!(!store.read(Position(0), 1).await.unwrap().items.is_empty());
        store.close().await;
        let mut session = session().await;
        run(&mut session, format!("SET search_path = {schema}")).await;
        let mut accepted = Vec::new();
        for (table, bad, state) in BAD {
            let told = raw_sql(AssertSqlSafe((*bad).to_owned())).execute(&mut session).await;
            let found = told.err().and_then(|error| error.as_database_error()?.code().map(String::from));
            if found.as_deref() != Some(state) {
                accepted.push((table, bad, state, found));
            }
        }
        assert!(accepted.is_empty(), "{accepted:#?}");
        let text = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 AND tablename <> 'txn_format'";
        let tables = sqlx::query(text).bind(&schema).fetch_all(&mut session).await.unwrap();
        let tables: BTreeSet<String> = tables.iter().map(|row| row.get(0)).collect();
        let refused: BTreeSet<String> = BAD.iter().map(|(table, ..)| (*table).to_owned()).collect();
        assert_eq!(tables, refused, "a table that refuses nothing, or the other way round");
        // Keys are a tenant's own.
        run(&mut session, "INSERT INTO record SELECT 9, schema, format, version, key, type, terms, body FROM record")
            .await;
    }))
    .unwrap();
}
