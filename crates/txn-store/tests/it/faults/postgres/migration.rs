//! A migration whose session is ended.

use txn_store::{
    ErrorKind,
    faults::{Fate, Place, Proxy, Strike, Workload},
};

use super::{Scene, address, execute, number, own::Own, terminate};
use crate::faults::{hit, is_alive, is_whole};

/// Ends the session that makes a migration, at the nth definition that it makes. On a server of its own, since it stands in the way of every definition there.
fn end_at(url: &str, nth: usize) {
    let text = format!(
        "CREATE OR REPLACE FUNCTION end_at() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF current_setting('application_name') NOT LIKE 'txn t%' THEN RETURN; END IF; \
             PERFORM set_config('test.nth', (coalesce(nullif(current_setting('test.nth', true), ''), '0')::int + 1)::text, false); \
             IF current_setting('test.nth')::int = {nth} THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); END IF; \
         END $$"
    );
    execute(url, &text).unwrap();
}

fn tables(scene: &Scene) -> i64 {
    number(&scene.url, &format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{}'", scene.schema))
}

/// Opens it again; whether there was nothing before.
fn is_made_whole(scene: &Scene) -> bool {
    let found = tables(scene);
    let store = scene.open();
    let all = tables(scene);
    assert!(all > 8 && [0, all].contains(&found), "a migration is one transaction: {found} tables of {all}");
    is_whole(&store, &scene.workload, &scene.side);
    is_alive(&store, &scene.workload, &scene.side);
    found == 0
}

/// At every table, index, sequence and function of it, and before and behind each round trip.
///
/// Case F28.
#[test]
fn a_migration_whose_session_is_ended_at_any_statement_is_made_whole_by_the_next_opening() {
    let own = Own::start();
    end_at(&own.url(), 0);
    execute(&own.url(), "CREATE EVENT TRIGGER end_at ON ddl_command_end EXECUTE FUNCTION end_at()").unwrap();
    let scene = || Scene::at(own.url(), Workload { seed: 28, changes: 3, workers: 1, ..Workload::default() });
    let mut definitions = 0;
    loop {
        end_at(&own.url(), definitions + 1);
        let scene = scene();
        match scene.try_open(&scene.url) {
            Ok(store) => break drop(store),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                definitions += 1;
            }
        }
        end_at(&own.url(), 0);
        assert!(is_made_whole(&scene), "ended within");
    }
    hit("a session ended at a definition", definitions as u64);
    assert!(definitions > 15, "every definition of the schema: {definitions}");

    end_at(&own.url(), 0);
    let mut trips = 0;
    for place in (0..=12).map(Place::Later) {
        let scene = scene();
        let proxy = Proxy::to(address(&scene.url)).unwrap();
        let url = scene.url.clone();
        let fate = Fate::Call(Box::new(move |seen_as| terminate(&url, seen_as)));
        proxy.strike(Strike::from_begin(place, fate));
        if let Err(error) = scene.try_open(&scene.url_of(&proxy)).map(drop) {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{place:?}: {error}");
            assert_eq!(proxy.strikes(), 1, "{place:?}");
            trips += u64::from(is_made_whole(&scene));
        }
    }
    hit("a session ended between two round trips of a migration", trips);
    assert!(trips >= 6, "{trips}");

    // Done, and not told: the next opening finds it.
    let scene = scene();
    let proxy = Proxy::to(address(&scene.url)).unwrap();
    proxy.strike(Strike::at_commit(Place::Reply(0), Fate::Cut));
    assert_eq!(scene.try_open(&scene.url_of(&proxy)).map(drop).unwrap_err().kind(), ErrorKind::Unavailable);
    hit("an answer to the COMMIT of a migration lost", proxy.strikes());
    assert!(tables(&scene) > 8);
    is_alive(&scene.open(), &scene.workload, &scene.side);
}
