//! One change that the server cannot do is no other's trouble.

use pollster::block_on;
use txn_change::Event;
use txn_store::{ErrorKind, Outcome, Store, StoreAdmin};

use super::{
    sample::{body, change, commit, done, run, session},
    server,
};

/// The halves of a group are tried apart until what cannot be done stands alone.
#[test]
fn of_a_big_group_only_the_changes_that_the_server_refuses_fail() {
    block_on(server::RUNTIME.spawn(async {
        let schema = server::fresh_schema();
        let store = server::options(&schema).open().await.unwrap();
        done(&store, vec![change("first")]).await;
        let poison = format!(
            "CREATE FUNCTION {schema}.poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$; \
             CREATE TRIGGER poison BEFORE INSERT ON {schema}.change FOR EACH ROW WHEN (new.id LIKE '%/poison') EXECUTE FUNCTION {schema}.poison()"
        );
        run(&mut session().await, poison).await;
        let id = |nth: u64| if [0, 77, 78, 199].contains(&nth) { format!("{nth}/poison") } else { format!("{nth}") };
        let changes = (0..200).map(|nth| change(&id(nth)).append(Event::new(body()))).collect();
        let told = commit(&store, changes).await;
        for (nth, told) in (0..).zip(&told) {
            match told {
                Ok(Outcome::Done(receipt)) => assert!(!receipt.replayed && !id(nth).ends_with("poison"), "{nth}"),
                Err(error) => {
                    assert!(id(nth).ends_with("poison"), "{nth}: {error}");
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                }
                other => panic!("{nth}: {other:?}"),
            }
        }
        // Nothing of it is there, everything else is, and the store goes on.
        done(&store, vec![change("last")]).await;
        assert_eq!(store.health().await.unwrap().commits, 198);
        assert_eq!(store.read(txn_store::Position(0), 1_000).await.unwrap().items.len(), 196);
        store.close().await;
    }))
    .unwrap();
}
