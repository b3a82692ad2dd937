//! On PostgreSQL: a host's tables in the same database, over a pool of its own.

use std::{
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection as _, PgPool, Row as _, postgres::PgPoolOptions, query, raw_sql};
use txn_change::{Condition, Refusal};
use txn_store::{Error, ErrorKind, postgres::Postgres};

use super::*;
use crate::postgres::server::{self, RUNTIME};

/// A store and a host beside it.
struct Host {
    store: Arc<Postgres>,
    schema: String,
    pool: PgPool,
}

const LEVELS: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

impl Host {
    async fn open(sessions: u32) -> Self {
        let schema = server::fresh_schema();
        let store = Arc::new(server::open(server::options(&schema)).await.unwrap());
        let options: sqlx::postgres::PgConnectOptions = server::url().parse().unwrap();
        let host = format!("{schema}_h");
        // Names that the store's statements do not state in full would be looked for in the wrong place.
        let options = options.application_name(&host).options([("search_path", &host)]);
        let pool = PgPoolOptions::new().max_connections(sessions).connect_with(options).await.unwrap();
        let text = format!("CREATE SCHEMA {host}; CREATE TABLE visits(visitor text); CREATE TABLE record(other text)");
        raw_sql(AssertSqlSafe(text)).execute(&pool).await.unwrap();
        Self { store, schema, pool }
    }

    async fn begin(&self, level: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
        let mut tx = self.store.begin(&self.pool).await.unwrap();
        let text = format!("SET TRANSACTION ISOLATION LEVEL {level}");
        query(AssertSqlSafe(text)).execute(&mut *tx).await.unwrap();
        tx
    }

    async fn visits(&self) -> i64 {
        query("SELECT count(*) FROM visits").fetch_one(&self.pool).await.unwrap().get(0)
    }

    /// A transaction of the host's with one row of its own and this change, begun again while others are in the way.
    async fn visit(&self, level: &str, change: &Change) -> Tentative {
        for _ in 0..200 {
            match self.try_visit(level, change).await {
                Ok(tentative) => return tentative,
                Err(error) => assert!(error.kind() == ErrorKind::Contended && error.is_retryable(), "{error}"),
            }
        }
        panic!("always contended")
    }

    async fn try_visit(&self, level: &str, change: &Change) -> Result<Tentative, Error> {
        let mut tx = self.begin(level).await;
        query("INSERT INTO visits VALUES ('ann')").execute(&mut *tx).await.unwrap();
        let tentative = self.store.commit_in(&mut tx, &tenant(), change).await?;
        match &tentative {
            Tentative::Pending(pending) if !pending.is_replayed() => match tx.commit().await {
                Ok(()) => drop(self.store.committed(pending.clone())),
                Err(error) => {
                    let state = error.as_database_error().and_then(|e| e.code()).map(|code| code.to_string());
                    assert_eq!(state.as_deref(), Some("40001"), "{error}");
                    return Err(Error::new(ErrorKind::Contended, "at the host's COMMIT"));
                }
            },
            _ => tx.rollback().await.unwrap(),
        }
        Ok(tentative)
    }

    /// No session of the host's stands inside a transaction, and none holds a lock on what is the store's.
    async fn assert_clean(&self) {
        let text = "SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state LIKE 'idle in transaction%'), \
                    (SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_class c ON c.oid = l.relation \
                     WHERE a.application_name = $1 AND c.relnamespace = $2::regnamespace)";
        let mut found = (0i64, 0i64);
        // Not one of the pool: that would be busy asking.
        let mut observer = sqlx::PgConnection::connect(&server::url()).await.unwrap();
        for _ in 0..3_000 {
            let asked = query(text).bind(format!("{}_h", self.schema)).bind(&self.schema);
            let row = asked.fetch_one(&mut observer).await.unwrap();
            found = (row.get(0), row.get(1));
            if found == (0, 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("sessions inside a transaction, locks: {found:?}")
    }
}

fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

#[test]
fn a_hosts_row_and_a_change_are_committed_together_or_not_at_all() {
    run(async {
        let host = Host::open(2).await;
        for level in LEVELS {
            for is_committed in [true, false] {
                let id = format!("{}-{is_committed}", level.replace(' ', "-"));
                let (visits, before) = (host.visits().await, sum(&*host.store, "all").await);
                let mut tx = host.begin(level).await;
                query("INSERT INTO visits VALUES ('ann')").execute(&mut *tx).await.unwrap();
                let pending = pending(host.store.commit_in(&mut tx, &tenant(), &whole(&id)).await.unwrap());
                assert!(!pending.is_replayed() && *pending.answer() == body());
                assert_eq!(parts(&*host.store, &id).await, 0);
                assert!(!facts(&*host.store).await.contains(&id));
                if is_committed {
                    tx.commit().await.unwrap();
                    assert!(!host.store.committed(pending).replayed);
                } else {
                    tx.rollback().await.unwrap();
                }
                assert_eq!(parts(&*host.store, &id).await, if is_committed { 3 } else { 0 });
                assert_eq!(facts(&*host.store).await.contains(&id), is_committed);
                assert_eq!(host.visits().await, visits + i64::from(is_committed));
                done(&*host.store, whole(&format!("{id}-ordinary"))).await;
                assert_eq!(sum(&*host.store, "all").await, before + i128::from(is_committed) + 1);
            }
        }
        assert_eq!(prove(&*host.store).await, 9);
        host.assert_clean().await;
    });
}

#[test]
fn replays_and_refusals_write_nothing_and_the_transaction_goes_on_as_it_was() {
    run(async {
        let host = Host::open(2).await;
        let store = &*host.store;
        done(store, whole("ordinary")).await;
        for level in LEVELS {
            let mut tx = host.begin(level).await;
            query("SET LOCAL enable_seqscan = on").execute(&mut *tx).await.unwrap();
            query("SET LOCAL lock_timeout = '1234ms'").execute(&mut *tx).await.unwrap();
            let below = change("below").add(add("all", -100));
            let id = format!("a-{}", level.replace(' ', "-"));
            let reserved = Key::of(Kind::reserved("ledger")).number(1).build();
            let ours = change("ours").insert(reserved, body(), vec![]);
            let none = whole("none").remove(note("none-there"), 1);
            for refused in [&below, &none, &ours] {
                let tentative = store.commit_in(&mut tx, &tenant(), refused).await.unwrap();
                assert!(is_refused(&tentative), "{tentative:?}");
            }
            let first = pending(store.commit_in(&mut tx, &tenant(), &whole(&id)).await.unwrap());
            assert!(is_refused(&store.commit_in(&mut tx, &tenant(), &below).await.unwrap()));
            let again = pending(store.commit_in(&mut tx, &tenant(), &whole(&id)).await.unwrap());
            assert!(!first.is_replayed() && again.is_replayed() && again.recorded_at() == first.recorded_at());
            assert!(pending(store.commit_in(&mut tx, &tenant(), &whole("ordinary")).await.unwrap()).is_replayed());
            let reused = Change { fingerprint: Fingerprint::of_bytes("test", b"other"), ..whole(&id) };
            let refused = store.commit_in(&mut tx, &tenant(), &reused).await.unwrap();
            assert!(matches!(refused, Tentative::Refused(Refusal::KeyReused { .. })), "{refused:?}");
            let settings = "SELECT current_setting('enable_seqscan'), current_setting('lock_timeout'), \
                            current_setting('plan_cache_mode'), current_setting('enable_hashjoin'), current_setting('jit')";
            let row = query(settings).fetch_one(&mut *tx).await.unwrap();
            let found: [String; 4] = [0, 1, 2, 3].map(|at| row.get(at));
            assert_eq!(found, ["on", "1234ms", "auto", "on"]);
            query("INSERT INTO visits VALUES ('ann')").execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
            store.committed(first);
            assert_eq!((parts(store, &id).await, parts(store, "none").await), (3, 0));
        }
        assert_eq!((host.visits().await, sum(store, "all").await), (3, 4));
        assert_eq!(prove(store).await, 4);
    });
}

#[test]
fn a_transaction_that_will_not_do_is_refused_by_kind() {
    run(async {
        let host = Host::open(2).await;
        let kind = async |tx: &mut sqlx::PgConnection| {
            host.store.commit_in(tx, &tenant(), &whole("a")).await.unwrap_err().kind()
        };
        assert_eq!(kind(&mut *host.pool.acquire().await.unwrap()).await, ErrorKind::Invalid);
        let mut tx = host.begin("READ COMMITTED, READ ONLY").await;
        assert_eq!(kind(&mut tx).await, ErrorKind::Invalid);
        assert_eq!(query("SELECT 1").fetch_one(&mut *tx).await.unwrap().get::<i32, _>(0), 1, "it goes on");
        tx.rollback().await.unwrap();
        let mut tx = host.begin("READ COMMITTED").await;
        query("SELECT 1 / 0").execute(&mut *tx).await.unwrap_err();
        assert_eq!(kind(&mut tx).await, ErrorKind::Invalid);
        tx.rollback().await.unwrap();
        assert_eq!(prove(&*host.store).await, 0);
    });
}

/// Case F35.
#[test]
fn at_every_level_two_of_which_one_can_pass_are_one() {
    run(async {
        let host = Host::open(4).await;
        for level in LEVELS {
            let limit = level.replace(' ', "-");
            done(&*host.store, change(&format!("{limit}-open")).add(add(&limit, 5))).await;
            let take = |nth: u32| change(&format!("{limit}-{nth}")).add(add(&limit, -4));
            let (first, second, third) = (take(1), take(2), take(3));
            let ordinary = commit(&*host.store, take(4));
            let (first, second, third, ordinary) = tokio::join!(
                host.visit(level, &first),
                host.visit(level, &second),
                host.visit(level, &third),
                ordinary
            );
            let passed = [&first, &second, &third].into_iter().filter(|tentative| !is_refused(tentative)).count();
            assert_eq!(passed + usize::from(matches!(ordinary, Outcome::Done(_))), 1, "{level}");
            assert_eq!(sum(&*host.store, &limit).await, 1, "{level}");
        }
        prove(&*host.store).await;
        host.assert_clean().await;
    });
}

/// A limit that two accounts share: each host looks at the other's account, and withdraws from its own. At no level may both, and at each the host's transaction keeps its level.
///
/// Case F35.
#[test]
fn of_two_hosts_that_each_look_at_the_others_account_one_withdraws_at_every_level() {
    run(async {
        let host = Host::open(4).await;
        let store = &*host.store;
        for level in LEVELS {
            let (mut written, mut refused) = (0, 0);
            for round in 0..20 {
                let name = |account: &str| format!("{}/{round}/{account}", level.replace(' ', "-"));
                done(store, change(&name("open")).add(add(&name("a"), 1)).add(add(&name("b"), 1))).await;
                let withdraw = |from: &str, other: &str| {
                    let sees = Condition::AtLeast([1, 0, 0, 0], 1);
                    let change =
                        change(&name(&format!("from-{from}"))).hold(tally(&name(other)), sees, Label::new("joint"));
                    change.add(add(&name(from), -1))
                };
                let (first, second) = (withdraw("a", "b"), withdraw("b", "a"));
                let told = tokio::join!(host.visit(level, &first), host.visit(level, &second));
                for told in [told.0, told.1] {
                    match told {
                        Tentative::Pending(pending) => written += usize::from(!pending.is_replayed()),
                        Tentative::Refused(Refusal::ConditionFailed { .. }) => refused += 1,
                        Tentative::Refused(other) => panic!("{level}, round {round}: {other:?}"),
                    }
                }
                assert_eq!((written, refused), (round + 1, round + 1), "{level}, round {round}");
                assert_eq!(sum(store, &name("a")).await + sum(store, &name("b")).await, 1, "{level}, round {round}");
            }
            let mut tx = host.begin(level).await;
            is_written(store.commit_in(&mut tx, &tenant(), &whole(&level.replace(' ', "-"))).await.unwrap());
            let found: String = query("SHOW transaction_isolation").fetch_one(&mut *tx).await.unwrap().get(0);
            assert_eq!(found.to_uppercase(), level);
            tx.rollback().await.unwrap();
        }
        prove(store).await;
        host.assert_clean().await;
    });
}

/// Somebody else inserts what was judged as absent: the same id, the same record, a key that had to stay absent.
#[test]
fn what_somebody_else_wrote_first_is_judged_again() {
    run(async {
        let host = Host::open(4).await;
        for level in LEVELS {
            for step in 0..10 {
                let id = format!("{}-{step}", level.replace(' ', "-"));
                let own = whole(&id);
                let (by_host, by_other, ordinary) =
                    tokio::join!(host.visit(level, &own), host.visit(level, &own), commit(&*host.store, own.clone()));
                let written = [by_host, by_other].map(pending).iter().filter(|p| !p.is_replayed()).count();
                let Outcome::Done(receipt) = ordinary else { panic!("{ordinary:?}") };
                assert_eq!(written + usize::from(!receipt.replayed), 1);
                assert_eq!(parts(&*host.store, &id).await, 3);
            }
        }
        assert_eq!((prove(&*host.store).await, sum(&*host.store, "all").await), (30, 30));
    });
}

/// Case F34.
#[test]
fn hosts_in_opposite_order_are_told_to_begin_again_and_the_store_goes_on() {
    run(async {
        let host = Host::open(4).await;
        let store = &*host.store;
        for name in ["a", "b"] {
            done(store, change(name).add(add(name, 10))).await;
        }
        let has_first = tokio::sync::Barrier::new(2);
        let both = async |first: &str, second: &str| {
            let mut tx = host.begin("READ COMMITTED").await;
            let take = |name: &str| change(&format!("{first}-{second}-{name}")).add(add(name, 1));
            is_written(store.commit_in(&mut tx, &tenant(), &take(first)).await?);
            has_first.wait().await;
            let second = store.commit_in(&mut tx, &tenant(), &take(second)).await;
            if second.is_err() {
                // What the host has done so far stands, if it wants it.
                query("INSERT INTO visits VALUES ('alone')").execute(&mut *tx).await.unwrap();
            }
            tx.commit().await.unwrap();
            second.map(pending)
        };
        let (one, other) = tokio::join!(both("a", "b"), both("b", "a"));
        let errors: Vec<Error> = [one, other].into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].kind() == ErrorKind::Contended && errors[0].is_retryable(), "{}", errors[0]);
        assert!(errors[0].to_string().contains("40P01"), "{}", errors[0]);
        done(store, change("after").add(add("a", 1)).add(add("b", 1))).await;
        assert_eq!((sum(store, "a").await + sum(store, "b").await, host.visits().await), (20 + 3 + 2, 1));
        assert_eq!(prove(store).await, 6);
        host.assert_clean().await;
    });
}

#[test]
fn a_host_waits_no_longer_than_its_own_limit_for_locks() {
    run(async {
        let host = Host::open(3).await;
        done(&*host.store, change("open").add(add("a", 10))).await;
        let mut holder = host.begin("READ COMMITTED").await;
        let held = host.store.commit_in(&mut holder, &tenant(), &change("held").add(add("a", 1))).await.unwrap();
        let mut tx = host.begin("READ COMMITTED").await;
        query("SET LOCAL lock_timeout = '50ms'").execute(&mut *tx).await.unwrap();
        let begun = Instant::now();
        let error = host.store.commit_in(&mut tx, &tenant(), &change("waits").add(add("a", 1))).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Contended && begun.elapsed() < Duration::from_secs(30), "{error}");
        assert!(is_refused(&host.store.commit_in(&mut tx, &tenant(), &change("b").add(add("b", -1))).await.unwrap()));
        holder.commit().await.unwrap();
        host.store.committed(pending(held));
        is_written(host.store.commit_in(&mut tx, &tenant(), &change("waits").add(add("a", 1))).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(sum(&*host.store, "a").await, 12);
    });
}

#[test]
fn hosts_beside_a_storm_of_ordinary_commits_lose_nothing() {
    run(async {
        let host = Arc::new(Host::open(3).await);
        let mut callers = Vec::new();
        for caller in 0..6usize {
            let host = Arc::clone(&host);
            callers.push(tokio::spawn(async move {
                for step in 0..30 {
                    let name = format!("{}", step % 3);
                    let change = whole(&format!("{caller}-{step}")).add(add(&name, 1));
                    match LEVELS.get(caller) {
                        Some(level) => drop(pending(host.visit(level, &change).await)),
                        None => done(&*host.store, change).await,
                    }
                }
            }));
        }
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!((host.visits().await, sum(&*host.store, "all").await), (90, 180));
        for name in ["0", "1", "2"] {
            assert_eq!(sum(&*host.store, name).await, 60);
        }
        assert_eq!((prove(&*host.store).await, facts(&*host.store).await.len()), (180, 180));
        host.assert_clean().await;
    });
}

/// A number that was learnt inside a transaction that is rolled back would belong to nobody, and then to another tenant.
#[test]
fn what_was_numbered_for_a_transaction_that_is_rolled_back_is_still_right() {
    run(async {
        let host = Host::open(2).await;
        let tenants = ["one", "two", "three"].map(|name| Tenant::new(name).unwrap());
        for tenant in &tenants {
            let mut tx = host.begin("REPEATABLE READ").await;
            is_written(host.store.commit_in(&mut tx, tenant, &whole("a")).await.unwrap());
            tx.rollback().await.unwrap();
        }
        for tenant in tenants.iter().rev() {
            let commit = Commit { tenant: tenant.clone(), change: whole("a").add(add(tenant, 1)) };
            let outcome = host.store.commit(vec![commit]).await.pop().unwrap().unwrap();
            assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        }
        // Another process has learnt nothing.
        let other = server::open(server::options(&host.schema)).await.unwrap();
        for tenant in &tenants {
            let seen = get(&other, Ask::new(tenant.clone()).counter(tally(tenant)).record(note("a"))).await;
            assert_eq!(seen.counters[0].as_ref().unwrap().lanes.0[0], 1);
            assert!(seen.records[0].is_some());
        }
        assert_eq!(prove(&other).await, 3);
    });
}

#[test]
fn who_watches_is_woken_after_the_hosts_commit_and_not_before() {
    run(async {
        let host = Host::open(2).await;
        for (round, is_told) in [(1, true), (2, false)] {
            let store = Arc::clone(&host.store);
            let watching = tokio::spawn(async move { store.watch(Position(round - 1)).await.unwrap() });
            let mut tx = host.begin("READ COMMITTED").await;
            let change = whole(&round.to_string());
            let pending = pending(host.store.commit_in(&mut tx, &tenant(), &change).await.unwrap());
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert!(!watching.is_finished() && facts(&*host.store).await.len() < change.append.len() * round as usize);
            tx.commit().await.unwrap();
            if is_told {
                host.store.committed(pending);
            }
            let woken = tokio::time::timeout(Duration::from_secs(60), watching).await;
            assert_eq!(woken.unwrap().unwrap(), Position(round));
        }
    });
}

/// Polls at most so often, and drops the future; whether it ended.
async fn polled(times: usize, future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|()| true)
    })
    .await
}

/// How often all numbers of polls are gone through: an answer that is there at once saves a poll, so that one round does not stop at every place.
const ROUNDS: usize = 4;

/// `Pool::begin` of sqlx 0.9.0, dropped while it waits, gives back a session that stands inside a transaction.
///
/// Case F38.
#[test]
fn a_hosts_transaction_may_be_dropped_after_any_poll() {
    run(async {
        let host = Host::open(2).await;
        let (mut tried, mut whole_ones) = (0, 0);
        for round in 0..ROUNDS {
            let mut is_ended = false;
            for times in 0.. {
                if is_ended {
                    break;
                }
                let own = whole(&format!("d-{round}-{times}"));
                is_ended = polled(times, async {
                    let mut tx = host.begin("READ COMMITTED").await;
                    query("INSERT INTO visits VALUES ('ann')").execute(&mut *tx).await.unwrap();
                    is_written(host.store.commit_in(&mut tx, &tenant(), &own).await.unwrap());
                    tx.commit().await.unwrap();
                })
                .await;
                host.assert_clean().await;
                let there = parts(&*host.store, own.id.as_str()).await;
                assert!([0, 3].contains(&there), "{there} parts after {times} polls");
                whole_ones += there / 3;
                assert_eq!(usize::try_from(host.visits().await).unwrap(), whole_ones);
                // Nothing is left locked.
                done(&*host.store, whole(&format!("after-{round}-{times}"))).await;
                tried += 1;
            }
        }
        assert!(tried > 3 * ROUNDS, "{tried} times");
        assert_eq!(prove(&*host.store).await, whole_ones + tried);
        assert_eq!(sum(&*host.store, "all").await, i128::try_from(whole_ones + tried).unwrap());
    });
}

/// The call alone is dropped, and the host goes on to its COMMIT: that holds the whole change or nothing of it.
#[test]
fn a_call_may_be_dropped_after_any_poll_and_the_host_commit() {
    run(async {
        let host = Host::open(2).await;
        let (mut tried, mut whole_ones) = (0, 0);
        for round in 0..ROUNDS {
            let mut is_ended = false;
            for times in 0.. {
                if is_ended {
                    break;
                }
                let own = whole(&format!("d-{round}-{times}"));
                let mut tx = host.begin("READ COMMITTED").await;
                is_ended = polled(times, async {
                    is_written(host.store.commit_in(&mut tx, &tenant(), &own).await.unwrap());
                })
                .await;
                query("INSERT INTO visits VALUES ('ann')").execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
                let there = parts(&*host.store, own.id.as_str()).await;
                assert!([0, 3].contains(&there), "{there} parts after {times} polls");
                whole_ones += there / 3;
                tried += 1;
                assert_eq!(usize::try_from(host.visits().await).unwrap(), tried);
                assert!(get(&*host.store, Ask::new(tenant()).record(note("never"))).await.records[0].is_none());
                host.assert_clean().await;
            }
        }
        assert!(tried > 2 * ROUNDS, "{tried} times");
        assert_eq!(prove(&*host.store).await, whole_ones);
        assert_eq!(sum(&*host.store, "all").await, i128::try_from(whole_ones).unwrap());
    });
}
