//! A failover to a standby that had not received the newest transactions: the numbers of tenants and classes that were given last are gone, or others have them.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, postgres::PgPoolOptions, query};
use txn_change::{
    Add, Body, Change, ChangeId, Class, Expect, Fingerprint, Key, Kind, Label, Lanes, Opening, Tenant, Timestamp,
};
use txn_store::{Ask, Commit, Outcome, Snapshot, Store, Tentative, postgres::Postgres};

use super::server::{self, RUNTIME};

fn note() -> Key {
    Key::of(Kind::new("note").unwrap()).number(1).build()
}

fn tally() -> Key {
    Key::of(Kind::new("tally").unwrap()).number(1).build()
}

/// A record, and a counter of a class of this name.
fn written(id: &str, class: &str) -> Change {
    let class = Class { name: class.into(), signed: [true; 4], history: true, conserves: [None; 2] };
    let opening = Opening { class: Arc::new(class), unit: "item".into(), guards: [None; 2] };
    Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("test", id.as_bytes()))
        .insert(note(), Body::raw("note", 1, id.as_bytes().to_vec()), vec![])
        .add(Add {
            counter: tally(),
            delta: Lanes([1, 0, 0, 0]),
            or_open: Some(Arc::new(opening)),
            force: false,
            effective_at: Some(Timestamp::EPOCH),
            label: Label::new("line"),
        })
}

async fn commit(store: &Postgres, tenant: &Tenant, change: Change) -> Outcome {
    store.commit(vec![Commit { tenant: tenant.clone(), change }]).await.pop().unwrap().unwrap()
}

async fn seen(store: &Postgres, tenant: &Tenant) -> Snapshot {
    store.get(vec![Ask::new(tenant.clone()).record(note()).counter(tally())]).await.unwrap().pop().unwrap()
}

/// What stands in the schema behind the store's back: the tenant of the record, the class of the counter.
async fn owners(session: &mut PgConnection, schema: &str, id: &str) -> (String, String) {
    let text = format!(
        "SELECT t.name, cl.spec FROM {schema}.record r JOIN {schema}.tenant t ON t.no = r.tenant \
         JOIN {schema}.counter c ON c.tenant = r.tenant JOIN {schema}.class cl ON cl.no = c.class WHERE r.body = $1"
    );
    let row = query(AssertSqlSafe(text)).bind(id.as_bytes()).fetch_one(session).await.unwrap();
    (row.get(0), row.get(1))
}

/// The process remembered the numbers for as long as it lived: after a failover, what a new tenant ordered stood among another's rows.
#[test]
fn after_a_failover_that_lost_names_rows_stand_under_the_right_tenant_and_class() {
    RUNTIME.block_on(async {
        let schema = server::fresh_schema();
        let store = server::options(&schema).open().await.unwrap();
        let host_name = format!("{schema}_h");
        let host: sqlx::postgres::PgConnectOptions = server::url().parse().unwrap();
        let pool = PgPoolOptions::new().max_connections(1).connect_with(host.application_name(&host_name)).await.unwrap();
        let mut session = PgConnection::connect(&server::url()).await.unwrap();
        for round in 0..4 {
            let by_host = round % 2 == 1;
            let (newest, class) = (Tenant::new(format!("newest-{round}")).unwrap(), format!("class-{round}"));
            let (id, other) = (format!("id-{round}"), format!("other-{round}"));
            // Refused, so that of the tenant and the class there is nothing but a number, which each session has read.
            let refused = written(&format!("refused-{round}"), &class).require(note(), Expect::Version(7));
            assert!(matches!(commit(&store, &newest, refused.clone()).await, Outcome::Refused(_)));
            let mut tx = store.begin(&pool).await.unwrap();
            assert!(matches!(store.commit_in(&mut tx, &newest, &refused).await.unwrap(), Tentative::Refused(_)));
            tx.rollback().await.unwrap();
            assert!(seen(&store, &newest).await.records[0].is_none());

            // What a standby may not have received; and others are first to take the numbers.
            let text = format!(
                "UPDATE {schema}.tenant SET name = '{other}' WHERE name = '{newest}'; \
                 UPDATE {schema}.class SET spec = replace(spec, '\"{class}\"', '\"{other}\"'); \
                 SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name IN ('txn {schema}', '{host_name}')"
            );
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut session).await.unwrap();

            if by_host {
                let mut tx = store.begin(&pool).await.unwrap();
                let tentative = store.commit_in(&mut tx, &newest, &written(&id, &class)).await.unwrap();
                assert!(matches!(tentative, Tentative::Pending(_)), "{tentative:?}");
                tx.commit().await.unwrap();
            } else {
                let outcome = commit(&store, &newest, written(&id, &class)).await;
                assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
            }
            let (tenant, spec) = owners(&mut session, &schema, &id).await;
            assert_eq!(tenant, newest.as_str(), "round {round}");
            assert!(spec.contains(&class), "round {round}: {spec}");
            let own = seen(&store, &newest).await;
            assert!(own.records[0].is_some(), "round {round}");
            assert_eq!(own.counters[0].as_ref().unwrap().class.name, class, "round {round}");
            let others = seen(&store, &Tenant::new(other).unwrap()).await;
            assert!(others.records[0].is_none() && others.counters[0].is_none(), "round {round}");
        }
        store.close().await;
    });
}
