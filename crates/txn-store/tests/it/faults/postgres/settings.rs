//! What an administrator has set for a role: timeouts, isolation, read-only.

use std::{sync::Arc, thread, time::Instant};

use txn_change::{
    Add, Change, ChangeId, Class, Condition, Fingerprint, Key, Kind, Label, Lanes, Opening, Refusal, Timestamp,
};
use txn_store::{
    Commit, ErrorKind, Outcome, Store, StoreAdmin,
    conformance::block_on,
    faults::{Ran, Workload},
};

use super::{PATIENT, Scene, execute, number};
use crate::{
    faults::{hit, is_alive, is_whole, rounds},
    postgres::server,
};

/// PostgreSQL refuses two grants on one database at once, also of two processes: some of these tests are one of their own.
const ONE: &str = "SELECT pg_advisory_xact_lock(4711);";

/// A role of its own on the server under test, with these settings; its URL.
pub(super) struct Role {
    pub(super) name: String,
    pub(super) url: String,
}

impl Role {
    pub(super) fn new(settings: &[&str]) -> Self {
        let name = server::fresh_schema();
        let password = "of-a-test";
        let (url, address) = (server::url(), super::address(&server::url()));
        let database = url.rsplit('/').next().unwrap();
        let create = format!(
            "{ONE} CREATE ROLE {name} LOGIN PASSWORD '{password}'; GRANT CREATE ON DATABASE {database} TO {name}"
        );
        execute(&url, &create).unwrap();
        let role = Self { url: format!("postgres://{name}:{password}@{address}/{database}"), name };
        settings.iter().for_each(|setting| role.set(setting));
        role
    }

    fn set(&self, setting: &str) {
        execute(&server::url(), &format!("ALTER ROLE {} SET {setting}", self.name)).unwrap();
    }

    fn reset(&self) {
        execute(&server::url(), &format!("ALTER ROLE {} RESET ALL", self.name)).unwrap();
    }

    /// How many sessions it has on the server.
    pub(super) fn sessions(&self) -> i64 {
        number(&server::url(), &format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", self.name))
    }

    /// Ends all of its sessions; how many.
    pub(super) fn disconnect(&self) -> u64 {
        let text = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename";
        u64::try_from(number(&server::url(), &format!("{text} = '{}'", self.name))).unwrap()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = execute(&server::url(), &format!("{ONE} DROP OWNED BY {0} CASCADE; DROP ROLE {0}", self.name));
    }
}

/// An administrator's timeouts are not ours.
///
/// Case F37.
#[test]
fn timeouts_that_are_set_for_a_role_neither_stop_nor_split_a_commit() {
    let role = Role::new(&[]);
    let scene = Scene::at(role.url.clone(), Workload { seed: 37, changes: 120, workers: 4, ..Workload::default() });
    drop(scene.open());
    for setting in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        role.set(&format!("{setting} = '1ms'"));
    }
    let is_set = execute(&role.url, "SELECT pg_sleep(0.1)").unwrap_err();
    assert!(is_set.to_string().contains("statement timeout"), "{is_set}");
    // The last, since it would end the session that was to show that the others are set.
    role.set("idle_session_timeout = '1ms'");
    let store = scene.open();
    let ran = scene.run(&store, &|ran| ran.done > 40);
    assert_eq!((ran.unknown, ran.failed, ran.given_up), (0, 0, 0), "our sessions set their own: {ran:?}");
    hit("commits of a role whose timeouts are a millisecond", ran.done);
    // An operator who ends them at rest costs a new session each, and no commit.
    let mut ran = Ran::default();
    let mut ended = 0;
    for _ in 0..rounds(10) {
        ran = scene.run(&store, &|ran| ran.done > 2);
        assert_eq!((ran.unknown, ran.given_up), (0, 0), "{ran:?}");
        assert_eq!(ran.failed, 0, "{ran:?}");
        ended += role.disconnect();
    }
    println!("{ran:?}");
    hit("sessions ended at rest", ended);
    drop(store);
    role.reset();
    let store = scene.open();
    is_whole(&store, &scene.workload, &scene.side);
    is_alive(&store, &scene.workload, &scene.side);
}

/// As a server before version 14 answers, which does not know all the settings of our sessions.
#[test]
fn a_server_that_does_not_know_a_setting_is_refused_with_the_version_that_is_needed() {
    let scene = Scene::new(Workload::default());
    let error = scene.try_open(&format!("{}?options[of_version_99]=on", scene.url)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("PostgreSQL 14 or newer is needed"), "{error}");
}

/// A server that only reads, as after a failover to a standby: SQLSTATE 25006.
///
/// Case F36.
#[test]
fn a_server_that_turned_read_only_is_an_error_and_reads_go_on() {
    let role = Role::new(&[]);
    let scene = Scene::at(role.url.clone(), Workload { seed: 360, changes: 60, workers: 2, ..Workload::default() });
    let store = scene.open();
    scene.run(&store, &|ran| ran.done > 10);
    role.set("default_transaction_read_only = on");
    role.disconnect();
    let commit = |id: &str| {
        let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("settings", id.as_bytes()));
        block_on(store.commit(vec![Commit { tenant: Workload::tenant(), change }])).pop().unwrap()
    };
    let mut hits = 0;
    for round in 0..rounds(5) {
        let asked = Instant::now();
        let error = commit(&format!("read-only/{round}")).unwrap_err();
        assert!(asked.elapsed() < PATIENT * 2, "two sessions, each within the deadline: {:?}", asked.elapsed());
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.is_retryable());
        hits += u64::from(error.to_string().contains("25006"));
    }
    hit("a server that only reads", hits);
    role.reset();
    role.disconnect();
    assert!(matches!(commit("again"), Ok(Outcome::Done(_))));
    is_whole(&store, &scene.workload, &scene.side);
    is_alive(&store, &scene.workload, &scene.side);
}

fn pair(name: &str, round: u64) -> Key {
    Key::of(Kind::new("joint").unwrap()).text(name).unwrap().number(round).build()
}

fn add(counter: Key, amount: i128) -> Add {
    let class = Class { name: "joint".into(), signed: [true; 4], history: true, conserves: [None; 2] };
    Add {
        counter,
        delta: Lanes([amount, 0, 0, 0]),
        or_open: Some(Arc::new(Opening { class: Arc::new(class), unit: "EUR".into(), guards: [None; 2] })),
        force: false,
        effective_at: Some(Timestamp::EPOCH),
        label: Label::new("line"),
    }
}

/// Writes down the isolation that each change was written at, as its session has it.
fn watch_isolation(role: &Role, schema: &str) {
    let text = format!(
        "CREATE TABLE \"{schema}\".seen(level text PRIMARY KEY); \
         CREATE FUNCTION \"{schema}\".see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO \"{schema}\".seen VALUES (current_setting('transaction_isolation')) ON CONFLICT DO NOTHING; RETURN NULL; \
         END $$; \
         CREATE TRIGGER see AFTER INSERT ON \"{schema}\".change FOR EACH STATEMENT EXECUTE FUNCTION \"{schema}\".see()"
    );
    execute(&role.url, &text).unwrap();
}

/// Two withdrawals, each of which looks at the other's account: alone each may, together they must not. Whatever isolation the role is given, our sessions write at READ COMMITTED, and it is the rows that guard; a host's own transaction
/// may be at any, and `commit_in` has a test of the same there.
///
/// Case F35.
#[test]
fn of_two_withdrawals_that_each_look_at_the_other_one_is_refused_whatever_isolation_the_role_has() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let role = Role::new(&[&format!("default_transaction_isolation = '{level}'")]);
        let scene = Scene::at(role.url.clone(), Workload::default());
        let stores = [scene.open(), scene.open()];
        let level_of = format!("SELECT (current_setting('transaction_isolation') = '{level}')::int::int8");
        assert_eq!(number(&role.url, &level_of), 1, "a session that says nothing is at {level}");
        watch_isolation(&role, &scene.schema);
        let commit = |store: &Arc<dyn StoreAdmin>, change: Change| {
            block_on(store.commit(vec![Commit { tenant: Workload::tenant(), change }])).pop().unwrap().unwrap()
        };
        let change =
            |id: String| Change::new(ChangeId::new(&id).unwrap(), Fingerprint::of_bytes("joint", id.as_bytes()));
        let mut refused = 0;
        for round in 0..rounds(40) {
            let both = change(format!("open/{round}")).add(add(pair("a", round), 1)).add(add(pair("b", round), 1));
            assert!(matches!(commit(&stores[0], both), Outcome::Done(_)));
            let withdraw = |from: &str, other: &str| {
                let sees = Condition::AtLeast([1, 0, 0, 0], 1);
                change(format!("{from}/{round}"))
                    .hold(pair(other, round), sees, Label::new("joint"))
                    .add(add(pair(from, round), -1))
            };
            let told = thread::scope(|scope| {
                let asked = [("a", "b", &stores[0]), ("b", "a", &stores[1])]
                    .map(|(from, other, store)| scope.spawn(move || commit(store, withdraw(from, other))));
                asked.map(|asked| asked.join().unwrap())
            });
            let done = told.iter().filter(|told| matches!(told, Outcome::Done(_))).count();
            let no =
                told.iter().filter(|told| matches!(told, Outcome::Refused(Refusal::ConditionFailed { .. }))).count();
            assert_eq!((done, no), (1, 1), "{level}, round {round}: {told:?}");
            refused += 1;
        }
        let others = "count(*) FILTER (WHERE level <> 'read committed')";
        let seen = format!("SELECT count(*) * 10 + {others} FROM \"{}\".seen", scene.schema);
        assert_eq!(number(&role.url, &seen), 10, "ours are at READ COMMITTED, all of them");
        hit(&format!("a skew under {level}"), refused);
    }
}
