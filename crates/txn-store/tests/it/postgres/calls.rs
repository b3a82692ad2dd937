//! The changes of one call keep their order, whoever commits them.

use std::time::Duration;

use sqlx::PgConnection;
use txn_change::{Change, Expect, Tenant};
use txn_store::{Commit, Outcome, Store as _, StoreLimits};

use super::{
    sample::{alone, body, change, commit, done, note, run, session},
    server,
};

/// One host that holds the record 1, and another that is writing the record 2, which is not there yet.
async fn others(schema: &str) -> (PgConnection, PgConnection) {
    let (mut holds, mut inserts) = (session().await, session().await);
    run(&mut holds, format!("BEGIN; SELECT FROM {schema}.record FOR UPDATE")).await;
    let hex: String = note(2).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let insert = format!(
        "BEGIN; INSERT INTO {schema}.record(tenant, schema, format, version, key, type, terms, body) \
         SELECT no, 1, 1, 1, '\\x{hex}', '', '', '' FROM {schema}.tenant"
    );
    run(&mut inserts, insert).await;
    (holds, inserts)
}

/// The story: a change whose key another was inserting went to the patient committer; what followed it in its call did not, since a change of another call stood before it in the line. It was committed first, and its
/// predecessor refused for it.
///
/// "In one call, a later change sees the earlier ones": also when the earlier one is left to the patient committer, while another change, that was put off beside it, stands before the rest of its call.
#[test]
fn the_rest_of_a_call_follows_its_first_to_the_patient_one() {
    alone(async {
        let schema = server::fresh_schema();
        let limits = StoreLimits { group_max: 2, ..StoreLimits::default() };
        let store = server::options(&schema).limits(limits).open().await.unwrap();
        done(&store, vec![change("first").insert(note(1), body(), vec![])]).await;
        let (mut holds, mut inserts) = others(&schema).await;
        let beside = commit(&store, vec![change("beside").put(note(1), Expect::Version(1), body(), vec![])]);
        let call = commit(
            &store,
            vec![
                change("call/0").insert(note(2), body(), vec![]),
                change("call/1").put(note(2), Expect::Version(1), body(), vec![]),
            ],
        );
        let release = async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            run(&mut inserts, "ROLLBACK").await;
            run(&mut holds, "ROLLBACK").await;
        };
        let (beside, call, ()) = tokio::join!(beside, call, release);
        assert!(matches!(beside[..], [Ok(Outcome::Done(_))]), "{beside:?}");
        assert!(matches!(call[..], [Ok(Outcome::Done(_)), Ok(Outcome::Done(_))]), "{call:?}");
    });
}

/// The second change of a call is committed although the first was not, and could not be judged before.
#[test]
fn the_second_change_of_a_call_is_not_committed_before_the_first() {
    alone(async {
        let schema = server::fresh_schema();
        let limits = StoreLimits { group_max: 2, ..StoreLimits::default() };
        let store = server::options(&schema).limits(limits).open().await.unwrap();
        done(&store, vec![change("first").insert(note(1), body(), vec![])]).await;
        let (mut holds, mut inserts) = others(&schema).await;
        let beside = commit(&store, vec![change("beside").put(note(1), Expect::Version(1), body(), vec![])]);
        // The second wants the record of the first to be absent.
        let call = commit(
            &store,
            vec![
                change("call/0").insert(note(2), body(), vec![]).insert(note(3), body(), vec![]),
                change("call/1").insert(note(3), body(), vec![]),
            ],
        );
        let release = async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            run(&mut inserts, "ROLLBACK").await;
            run(&mut holds, "ROLLBACK").await;
        };
        let (_, call, ()) = tokio::join!(beside, call, release);
        assert!(matches!(call[..], [Ok(Outcome::Done(_)), Ok(Outcome::Refused(_))]), "{call:?}");
    });
}

/// The story: what two calls had in one group was left to the patient committer in one piece, and then what was left of both. There a call that comes apart was taken for another, and stood in another line: its end was committed before its middle.
#[test]
fn a_call_over_several_tenants_keeps_its_order_when_it_has_to_wait() {
    alone(async {
        let schema = server::fresh_schema();
        let limits = StoreLimits { group_max: 6, ..StoreLimits::default() };
        let store = server::options(&schema).limits(limits).open().await.unwrap();
        let of = |tenant: &str, change: Change| Commit { tenant: Tenant::new(tenant).unwrap(), change };
        for tenant in ["a", "b"] {
            let told = store.commit(vec![of(tenant, change("first").insert(note(1), body(), vec![]))]).await;
            assert!(matches!(told[..], [Ok(Outcome::Done(_))]), "{told:?}");
        }
        let mut holds = session().await;
        run(&mut holds, format!("BEGIN; SELECT FROM {schema}.record FOR UPDATE")).await;
        // The first waits for a row; of the others, each needs what the one before has done.
        let call = |tenant: &str, at: u64| -> Vec<Commit> {
            let first = of(tenant, change(&format!("{tenant}/0")).put(note(1), Expect::Version(1), body(), vec![]));
            let others = (1..12u64).map(|n| {
                let change = change(&format!("{tenant}/{n}"));
                let record = note(at);
                let change = if n == 1 {
                    change.insert(record, body(), vec![])
                } else {
                    change.put(record, Expect::Version(n - 1), body(), vec![])
                };
                of("shared", change)
            });
            std::iter::once(first).chain(others).collect()
        };
        let release = async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            run(&mut holds, "ROLLBACK").await;
        };
        let (a, b, ()) = tokio::join!(store.commit(call("a", 100)), store.commit(call("b", 200)), release);
        for told in a.iter().chain(&b) {
            assert!(matches!(told, Ok(Outcome::Done(_))), "{told:?}\n{a:?}\n{b:?}");
        }
    });
}
