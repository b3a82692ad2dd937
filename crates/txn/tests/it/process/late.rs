//! What comes late: the end of a call while the instance waits for a person, a call whose claim ran out before it began, a timeout that was called off when it was due already.

use txn::{
    change::{Body, Change, Expect, Fingerprint},
    process::{Cause, Operation, Remedy, StepResult},
    store::{Found, Outcome, Query, Range, Scope},
};

use super::{
    desk::{Knock, Office, SHORT},
    *,
};

/// A refund failed while the instance waited for a person for another reason. The person helped with that, and the instance was undone, as it said.
#[test]
fn what_could_not_be_undone_while_an_instance_waited_for_a_person_is_asked_about_next() {
    on_all(async |world| {
        let office = Office::of(&world.shop);
        office.begin("undo").await;
        office.tell_beside(world, 50, StepResult::done_empty());
        // While the refund is called, the deadline leaves the instance to a person.
        office.tell_beside(world, 45, StepResult::Failed("closed".into()));
        office.pass().await;
        assert_eq!(office.cause().await, Some(Cause::NotApplied { event: "Deadline".to_owned() }));
        office.help("h-1", &Remedy::Skip(None)).await;
        assert_eq!(office.cause().await, Some(Cause::NotUndone { step: 1 }));
        // It is undone when the person says so, or when it is called again.
        office.help("h-2", &Remedy::Retry).await;
        office.pass().await;
        let over = office.instance().await;
        assert_eq!((over.phase, over.state.as_deref()), (Phase::Finished, Some("Shut")));
    });
}

/// A call that was taken as failed turned out to be done while the instance waited for a person for another reason: nobody was told.
#[test]
fn what_turned_out_to_be_done_while_an_instance_waited_for_a_person_is_asked_about_next() {
    on_all(async |world| {
        let office = Office::of(&world.shop);
        office.begin("poison").await;
        office.tell_beside(world, 61, StepResult::done_empty());
        office.pass().await;
        assert_eq!(office.cause().await, Some(Cause::NotApplied { event: "NotHeld".to_owned() }));
        office.help("h-1", &Remedy::Skip(None)).await;
        let late = Cause::DoneLate { step: 1, operation: Operation::Execute };
        assert_eq!(office.cause().await, Some(late));
        office.help("h-2", &Remedy::Resume).await;
        let resumed = office.instance().await;
        assert_eq!((resumed.phase, &resumed.stuck), (Phase::Running, &None), "once");
        assert_eq!(resumed.steps[0].execute.class, None);
    });
}

/// A runner was held up between its claim and the call: by then the claim had run out, and another had asked and called.
#[test]
fn a_call_whose_claim_ran_out_before_it_began_is_not_made() {
    on_all(async |world| {
        let office = Office::of(&world.shop);
        office.begin("short").await;
        world.store.answers_late(SHORT);
        let runner = office.desk.runner();
        runner.run_once().await.unwrap();
        assert_eq!(office.hand.called.lock().unwrap().len(), 0, "the claim had run out");
        assert!(office.instance().await.steps[0].execute.status == txn::process::Status::Calling);
        // It is asked about, and called under another claim, which has not run out.
        for _ in 0..100 {
            world.later(5);
            office.pass().await;
            if office.instance().await.state.as_deref() != Some("Open") {
                break;
            }
        }
        assert_eq!(office.instance().await.state.as_deref(), Some("Ready"));
        let called = office.hand.called.lock().unwrap();
        assert_eq!(called.len(), 1);
        assert!(called[0].lease < SHORT, "the deadline is what is left: {:?}", called[0].lease);
    });
}

/// Two timeouts were due in one pass, and the first called the second off, or moved it: it happened all the same.
#[test]
fn a_timeout_that_is_cancelled_or_moved_when_it_is_due_already_does_not_happen() {
    on_all(async |world| {
        let office = Office::of(&world.shop);
        office.begin("cancelled").await;
        world.later(120);
        office.pass().await;
        let open = office.instance().await;
        assert_eq!((open.state.as_deref(), open.waiting, open.timeouts), (Some("Open"), vec![], vec![]));
    });
    on_all(async |world| {
        let office = Office::of(&world.shop);
        office.begin("moved").await;
        world.later(120);
        office.pass().await;
        let open = office.instance().await;
        assert_eq!((open.state.as_deref(), open.waiting, open.timeouts.len()), (Some("Open"), vec![], 1));
        world.later(60);
        office.pass().await;
        assert_eq!(office.instance().await.state.as_deref(), Some("Shut"), "at its new time");
    });
}

/// A timeout was due in a state that keeps its event for later, and was cancelled on the way to the state that applies it.
#[test]
fn a_timeout_that_is_cancelled_while_its_event_is_kept_for_later_does_not_happen() {
    on_all(async |world| {
        let office = Office::of(&world.shop);
        office.begin("kept").await;
        world.later(60);
        office.pass().await;
        assert_eq!(office.instance().await.waiting.len(), 1);
        office.knock("hurry", Knock::Hurry, "kept").await.unwrap();
        office.pass().await;
        let ready = office.instance().await;
        assert_eq!((ready.state.as_deref(), ready.waiting), (Some("Ready"), vec![]));
    });
}

/// A timeout's name with a space was taken, and made every runner panic when it was due.
#[test]
fn a_timeout_whose_name_is_none_is_refused_when_it_is_set() {
    on_all(async |world| {
        let office = Office::of(&world.shop);
        for what in ["spaced", "umlaut"] {
            let refused = office.knock("begin", Knock::Begun, what).await.unwrap_err();
            let txn::Failure::Rejected(txn::Rejection::Process(rejection)) = refused else { panic!("{refused}") };
            let txn::process::Rejection::NotApplied { event, reason } = rejection else { panic!("{rejection}") };
            assert!(event == "Begun" && reason.contains("process name"), "{event}: {reason}");
            assert!(office.desk.get("desk", &about("one")).await.unwrap().is_none());
        }
    });
}

/// Such a name that is stored already.
#[test]
fn a_stored_timeout_whose_name_is_none_happens_and_can_be_cancelled() {
    for (from, to) in [("first", "größe"), ("first", "\u{7f}\u{1}"), ("second", "too late")] {
        on_all(async |world| {
            let office = Office::of(&world.shop);
            office.begin("cancelled").await;
            rename(world, from, to).await;
            world.later(120);
            office.pass().await;
            let open = office.instance().await;
            assert_eq!((open.state.as_deref(), open.waiting, open.timeouts), (Some("Open"), vec![], vec![]), "{to}");
        });
    }
}

/// Gives a timeout another name where it is stored.
async fn rename(world: &World, from: &str, to: &str) {
    let scope = Scope::of_services(Arc::clone(&world.store) as _, Tenant::default());
    let all = Query::Records(Range { prefix: Vec::new(), from: None, until: None });
    let found = scope.find(&all, None, 100).await.unwrap().items.into_iter().find_map(|found| match found {
        Found::Record(key, record) if record.body.type_name() == "process.instance" => Some((key, record)),
        _ => None,
    });
    let (key, record) = found.unwrap();
    let mut instance: serde_json::Value = serde_json::from_slice(record.body.bytes()).unwrap();
    for timeout in instance["timeouts"].as_array_mut().unwrap() {
        if timeout["name"] == from {
            timeout["name"] = to.into();
        }
    }
    let body = Body::raw("process.instance", record.body.schema(), serde_json::to_vec(&instance).unwrap());
    let id = txn::change::ChangeId::new("rename").unwrap();
    let change = Change::new(id, Fingerprint::of("rename", &to));
    let change = change.put(key, Expect::Version(record.version), body, record.terms);
    assert!(matches!(scope.commit(change).await.unwrap(), Outcome::Done(_)));
}
