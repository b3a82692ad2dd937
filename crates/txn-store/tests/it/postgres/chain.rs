//! The chain when groups become visible out of the order of their tickets, late, and many at once.

use std::{collections::BTreeSet, time::Duration};

use pollster::block_on;
use sqlx::{Connection, PgConnection, Row, postgres::PgConnectOptions};
use txn_change::{Body, Change, ChangeId, Event, Fingerprint, Tenant};
use txn_store::{Commit, Outcome, Position, Store, StoreAdmin, postgres::Postgres};

use super::server;

fn change(id: &str) -> Change {
    let event = Event::new(Body::raw("e", 1, b"{}".to_vec()));
    Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("chain", id.as_bytes())).append(event)
}

async fn done(store: &Postgres, id: &str) {
    let batch = vec![Commit { tenant: Tenant::default(), change: change(id) }];
    assert!(matches!(store.commit(batch).await.remove(0).unwrap(), Outcome::Done(_)));
}

/// The ids of the whole log, in its order.
async fn log(store: &Postgres) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), Position(0));
    loop {
        let page = store.read(after, 1_000).await.unwrap();
        let Some(last) = page.items.last() else { return ids };
        after = last.position;
        ids.extend(page.items.into_iter().map(|item| item.recorded.change.as_str().to_owned()));
    }
}

/// Runs on the runtime of the stores.
fn run(test: impl Future<Output = ()> + Send + 'static) {
    block_on(server::RUNTIME.spawn(test)).unwrap();
}

async fn session() -> PgConnection {
    PgConnection::connect(&server::url()).await.unwrap()
}

/// A transaction that had drawn its ticket was taken for ended, because its number was the end of a snapshot and not below it: its group was in no log, for ever.
#[test]
fn a_group_whose_ticket_was_missing_is_chained_however_late_it_is_committed() {
    run(async {
        let schema = server::fresh_schema();
        let store = server::options(&schema).open().await.unwrap();
        done(&store, "first").await;
        let text = |text: &str| sqlx::AssertSqlSafe(text.replace("$s", &schema));
        for round in 0..10 {
            // Two commits as bare as can be: begun in one order, numbered in the other.
            let (mut early, mut late) = (session().await, session().await);
            let (mut early, mut late) = (early.begin().await.unwrap(), late.begin().await.unwrap());
            for tx in [&mut early, &mut late] {
                sqlx::query("SELECT pg_current_xact_id()").execute(&mut **tx).await.unwrap();
            }
            let mut tickets: Vec<i64> = Vec::new();
            for tx in [&mut late, &mut early] {
                let drawn = sqlx::query(text("SELECT nextval('$s.ticket')")).fetch_one(&mut **tx).await.unwrap();
                tickets.push(drawn.get(0));
            }
            let group = "INSERT INTO $s.change_group(ticket, recorded_at, changes, events, digest) \
                         VALUES ($1, 0, 1, 0, decode(repeat('00', 32), 'hex'))";
            sqlx::query(text(group)).bind(tickets[1]).execute(&mut *early).await.unwrap();
            early.commit().await.unwrap();
            for step in 0..3 {
                // Each is chained above the ticket that is missing.
                done(&store, &format!("between-{round}-{step}")).await;
                log(&store).await;
            }
            sqlx::query(text(group)).bind(tickets[0]).execute(&mut *late).await.unwrap();
            late.commit().await.unwrap();
            log(&store).await;
            let linked = sqlx::query(text("SELECT count(*) FROM $s.link WHERE ticket = ANY($1)")).bind(&tickets);
            let linked: i64 = linked.fetch_one(&mut session().await).await.unwrap().get(0);
            assert_eq!(linked, 2, "round {round}");
        }
        assert_eq!(store.health().await.unwrap().unchained, 0);
        store.close().await;
    });
}

/// A step that was full forgot the missing tickets that it had not come to.
#[test]
fn more_late_groups_than_one_step_takes_are_all_chained() {
    run(async {
        let schema = server::fresh_schema();
        let store = server::options(&schema).open().await.unwrap();
        done(&store, "first").await;
        let mut host = session().await;
        let mut tx = host.begin().await.unwrap();
        let mut expected = BTreeSet::from(["first".to_owned()]);
        for index in 0..600 {
            let id = format!("host-{index}");
            let _pending = store.commit_in(&mut tx, &Tenant::default(), &change(&id)).await.unwrap();
            expected.insert(id);
        }
        // Chained above six hundred missing tickets.
        done(&store, "above").await;
        expected.insert("above".to_owned());
        assert_eq!(log(&store).await.len(), 2);
        tx.commit().await.unwrap();
        let found: Vec<String> = log(&store).await;
        assert_eq!(found.len(), expected.len(), "each once");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
        store.close().await;
    });
}

/// The tickets that the next step still looks for.
async fn missing(schema: &str) -> Vec<i64> {
    let text = format!("SELECT missing FROM {schema}.link ORDER BY number DESC LIMIT 1");
    sqlx::query(sqlx::AssertSqlSafe(text)).fetch_one(&mut session().await).await.unwrap().get(0)
}

/// Draws tickets whose groups are never committed, and chains groups above them.
async fn roll_back(store: &Postgres, schema: &str, round: &str) {
    let draw = format!("SELECT nextval('{schema}.ticket') FROM generate_series(1, 500)");
    sqlx::query(sqlx::AssertSqlSafe(draw)).execute(&mut session().await).await.unwrap();
    for step in ["notices", "forgets"] {
        done(store, &format!("{round}-{step}")).await;
        log(store).await;
    }
}

/// While somebody wrote for an hour in another database of the server, every step copied all tickets that had been rolled back meanwhile.
#[test]
fn tickets_that_were_rolled_back_are_forgotten_while_others_write_elsewhere() {
    run(async {
        let schema = server::fresh_schema();
        let store = server::options(&schema).open().await.unwrap();
        done(&store, "first").await;
        let elsewhere: PgConnectOptions = server::url().parse().unwrap();
        let mut elsewhere = PgConnection::connect_with(&elsewhere.database("postgres")).await.unwrap();
        let mut elsewhere = elsewhere.begin().await.unwrap();
        sqlx::query("SELECT pg_current_xact_id()").execute(&mut *elsewhere).await.unwrap();
        let mut reading = session().await;
        let mut reading = reading.begin().await.unwrap();
        let read = format!("SELECT last_value FROM {schema}.ticket");
        sqlx::query(sqlx::AssertSqlSafe(read)).execute(&mut *reading).await.unwrap();
        roll_back(&store, &schema, "elsewhere").await;
        assert_eq!(missing(&schema).await, Vec::<i64>::new());

        // Of somebody who may still commit, drawn within a savepoint.
        let mut late = session().await;
        let mut late = late.begin().await.unwrap();
        let draw = format!("SELECT nextval('{schema}.ticket') FROM pg_current_xact_id()");
        sqlx::query("SAVEPOINT inner_one").execute(&mut *late).await.unwrap();
        let ticket: i64 = sqlx::query(sqlx::AssertSqlSafe(draw)).fetch_one(&mut *late).await.unwrap().get(0);
        for round in ["one", "two", "three"] {
            roll_back(&store, &schema, round).await;
            assert!(missing(&schema).await.contains(&ticket), "{round}");
        }
        let group = format!(
            "INSERT INTO {schema}.change_group(ticket, recorded_at, changes, events, digest) \
             VALUES ({ticket}, 0, 1, 0, decode(repeat('00', 32), 'hex'))"
        );
        sqlx::query(sqlx::AssertSqlSafe(group)).execute(&mut *late).await.unwrap();
        late.commit().await.unwrap();
        roll_back(&store, &schema, "after").await;
        assert_eq!(missing(&schema).await, Vec::<i64>::new());
        let linked = format!("SELECT count(*) FROM {schema}.link WHERE ticket = {ticket}");
        let linked = sqlx::query(sqlx::AssertSqlSafe(linked)).fetch_one(&mut session().await).await.unwrap();
        assert_eq!(linked.get::<i64, _>(0), 1);
        drop((elsewhere, reading));
        store.close().await;
    });
}

/// Anybody who may connect may notify: what is told is a hint, and no end of the log.
#[test]
fn a_forged_notification_is_believed_by_nobody() {
    run(async {
        let schema = server::fresh_schema();
        let store = server::options(&schema).open().await.unwrap();
        done(&store, "first").await;
        let head = store.read(Position(0), 10).await.unwrap().head;
        let forged = format!("NOTIFY {schema}_log, '18446744073709551615'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(forged)).execute(&mut session().await).await.unwrap();
        // Long enough to have heard of it, if it were heard.
        let slept = tokio::time::timeout(Duration::from_millis(300), store.watch(head)).await;
        assert!(slept.is_err(), "{slept:?}");
        store.close().await;
    });
}
