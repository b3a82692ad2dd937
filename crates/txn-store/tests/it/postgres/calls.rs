//! The changes of one call keep their order, whoever commits them.

use std::time::Duration;

use sqlx::PgConnection;
use txn_change::Expect;
use txn_store::{Outcome, StoreLimits};

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
