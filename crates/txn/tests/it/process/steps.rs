//! Steps: declined, lost, not executed, undone; runners that share them, and die.

use super::{bank::Told, *};

fn count(asked: &[String], what: &str) -> usize {
    asked.iter().filter(|asked| *asked == what).count()
}

#[test]
fn a_checkout_goes_through_its_steps_to_its_end() {
    on_all(async |world| {
        world.tell("web-1", "e-1", Event::Placed).await;
        let passes = world.run().await;
        assert_eq!(world.state("web-1").await, "Done");
        assert_eq!(world.bank.asked(), ["execute reserve", "execute authorise", "execute capture"]);
        assert_eq!(world.effects("web-1").await, (4, 4));
        assert_eq!(passes.last().unwrap().next_due, None, "nothing is left to be due");
    });
}

/// Case Q57.
#[test]
fn a_step_that_fails_for_good_has_those_before_it_undone_the_last_first() {
    on_all(async |world| {
        world.bank.tell("capture", &[Told::Decline]);
        // What undoes a step is itself repeated until it is answered.
        world.bank.tell("undo-authorise", &[Told::LostAfter]);
        world.bank.tell("undo-reserve", &[Told::NotExecuted]);
        world.tell("web-1", "e-1", Event::Placed).await;
        world.run().await;
        assert_eq!(world.state("web-1").await, "Cancelled");
        assert_eq!(world.bank.done(), ["reserve", "authorise", "undo-authorise", "undo-reserve"]);
        assert_eq!(world.effects("web-1").await, (5, 5), "placed, reserved, authorised, not captured, undone");
        assert!(world.bank.executed().values().all(|calls| calls.len() <= 3));
    });
}

/// Case Q57.
#[test]
fn what_cannot_be_undone_waits_for_a_person_and_goes_on_when_helped() {
    on_all(async |world| {
        world.bank.tell("capture", &[Told::Decline]);
        world.bank.tell("undo-authorise", &[Told::Decline]);
        world.tell("web-1", "e-1", Event::Placed).await;
        world.run().await;
        let stuck = world.instance("web-1").await;
        assert_eq!(stuck.phase, Phase::Stuck);
        assert_eq!(stuck.stuck.unwrap().cause, txn::process::Cause::NotUndone { step: 2 });
        assert!(world.lines("web-1").await.iter().any(|what| matches!(what, What::Stuck { .. })), "it is told");
        assert_eq!(world.bank.done(), ["reserve", "authorise"], "what is before it is not undone past it");

        // The same key gives the same answer; a person orders it again under another.
        people::help(world, "web-1", "h-1", &txn::process::Remedy::Resume).await;
        world.run().await;
        assert_eq!(world.instance("web-1").await.phase, Phase::Stuck);
        people::help(world, "web-1", "h-2", &txn::process::Remedy::Retry).await;
        world.run().await;
        assert_eq!(world.state("web-1").await, "Cancelled");
        assert_eq!(world.bank.done(), ["reserve", "authorise", "undo-authorise", "undo-reserve"]);
    });
}

/// Case Q58.
#[test]
fn a_lost_answer_is_asked_for_and_neither_called_again_nor_undone_blindly() {
    on_all(async |world| {
        world.bank.tell("authorise", &[Told::LostAfter]);
        world.bank.mute(2);
        world.tell("web-1", "e-1", Event::Placed).await;
        world.run().await;
        assert_eq!(world.state("web-1").await, "Done");
        let asked = world.bank.asked();
        assert_eq!(count(&asked, "execute authorise"), 1, "{asked:?}");
        assert_eq!(count(&asked, "query authorise"), 3, "{asked:?}");

        // Lost on the way: it is called again, under the same key.
        world.bank.tell("authorise", &[Told::LostBefore]);
        world.tell("web-2", "e-1", Event::Placed).await;
        world.run().await;
        assert_eq!(world.state("web-2").await, "Done");
        let twice: Vec<_> = world.bank.executed().into_values().filter(|calls| calls.len() > 1).collect();
        assert_eq!(twice, [["authorise", "authorise"]]);
    });
}

/// Case Q58.
#[test]
fn a_checkout_that_is_called_off_while_an_answer_is_lost_undoes_only_what_is_known() {
    on_all(async |world| {
        world.bank.tell("authorise", &[Told::LostAfter]);
        world.bank.mute(2);
        world.tell("web-1", "e-1", Event::Placed).await;
        world.run_now().await;
        world.tell("web-1", "e-2", Event::Cancel).await;
        world.run_now().await;
        assert_eq!(world.bank.done(), ["reserve", "authorise"], "nothing is undone while one is not known");
        world.run().await;
        assert_eq!(world.state("web-1").await, "Cancelled");
        assert_eq!(world.bank.done(), ["reserve", "authorise", "undo-authorise", "undo-reserve"]);

        // Lost on the way: there is nothing to undo, and it is not called again.
        world.bank.tell("authorise", &[Told::LostBefore]);
        world.tell("web-2", "e-1", Event::Placed).await;
        world.run_now().await;
        world.tell("web-2", "e-2", Event::Cancel).await;
        world.run().await;
        assert_eq!(world.state("web-2").await, "Cancelled");
        assert_eq!(world.bank.done()[4..], ["reserve", "undo-reserve"]);
    });
}

/// Case Q58.
#[test]
fn an_outcome_that_is_never_known_waits_for_a_person_who_cannot_have_it_done_twice() {
    on_all(async |world| {
        world.bank.tell("authorise", &[Told::LostAfter]);
        world.bank.mute(4);
        world.tell("web-1", "e-1", Event::Placed).await;
        world.run().await;
        let cause = world.instance("web-1").await.stuck.unwrap().cause;
        let operation = txn::process::Operation::Execute;
        assert_eq!(cause, txn::process::Cause::OutcomeUnknown { step: 2, operation });
        let order = people::order("h-1");
        let refused = world.processes.help("checkout", &about("web-1"), &txn::process::Remedy::Retry, &order).await;
        assert!(refused.unwrap_err().to_string().contains("done twice"));
        // What comes meanwhile waits.
        assert_eq!(world.tell("web-1", "e-2", Event::Cancel).await, Ending::Deferred);
        people::help(world, "web-1", "h-2", &txn::process::Remedy::Resume).await;
        world.run().await;
        assert_eq!(world.bank.done(), ["reserve", "authorise", "undo-authorise", "undo-reserve"]);
        assert_eq!(world.state("web-1").await, "Cancelled");
    });
}

#[test]
fn a_step_that_never_happens_is_tried_a_bounded_number_of_times_with_growing_waits_and_a_panic_is_not_known() {
    on_all(async |world| {
        world.bank.tell("authorise", &[Told::NotExecuted; 9]);
        world.tell("web-1", "e-1", Event::Placed).await;
        let begun = world.now();
        world.run().await;
        assert_eq!(world.state("web-1").await, "Cancelled");
        assert_eq!(count(&world.bank.asked(), "execute authorise"), 3);
        assert_eq!(world.now(), begun.after(Duration::from_secs(5 + 10)).unwrap());
        let failed = world.instance("web-1").await.steps[1].execute.class.clone();
        assert_eq!(failed.as_deref(), Some("exhausted"));

        world.bank.tell("capture", &[Told::Panic]);
        world.tell("web-2", "e-1", Event::Placed).await;
        world.bank.tell("authorise", &[]);
        world.run().await;
        // Six are left of those that do not happen; three more use this one up as well.
        assert_eq!(world.state("web-2").await, "Cancelled");
        world.tell("web-3", "e-1", Event::Placed).await;
        world.run().await;
        world.tell("web-4", "e-1", Event::Placed).await;
        world.run().await;
        assert_eq!(world.state("web-4").await, "Done");
        assert_eq!(count(&world.bank.asked(), "query capture"), 1);
    });
}

/// A runner that is slow, and not dead, comes back after its claim ran out and another has taken over.
#[test]
fn runners_share_the_steps_and_a_claim_whose_runner_died_is_asked_about_after_it_ran_out() {
    on_all(async |world| {
        for order in 0..20 {
            world.tell(&format!("o-{order}"), "e-1", Event::Placed).await;
        }
        at_once(4, |_| {
            let runner = world.processes.runner();
            while pollster::block_on(runner.run_once()).unwrap().did_something() {}
        });
        // What conflicted is left for the next pass.
        world.run_now().await;
        assert!(world.bank.executed().values().all(|calls| calls.len() == 1), "no step was called twice");
        assert_eq!(world.bank.done().len(), 60);

        world.tell("web-1", "e-1", Event::Placed).await;
        // The claim and the call stand; the result does not.
        world.store.dies_after(4);
        let _ = world.processes.runner().run_once().await;
        assert!(world.store.lives());
        let asked = world.bank.asked().len();
        world.run_now().await;
        assert_eq!(world.bank.asked().len(), asked, "the claim has not run out");
        let pass = world.processes.runner().run_once().await.unwrap();
        assert_eq!(pass.next_due, world.now().after(Duration::from_secs(60)).ok());
        world.later(60);
        world.run().await;
        assert_eq!(world.bank.asked()[asked..], ["query reserve", "execute authorise", "execute capture"]);
        assert_eq!(world.state("web-1").await, "Done");
    });
}

/// Polls a call so many times and drops it. Says whether it had ended.
fn poll_and_drop<F: Future + Send>(call: F, polls: usize) -> bool {
    let mut call = std::pin::pin!(call);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    (0..polls).any(|_| {
        let is_ready = call.as_mut().poll(&mut context).is_ready();
        std::thread::sleep(Duration::from_millis(2));
        is_ready
    })
}

/// A host may drop a call at any await, and move it to another thread at any.
#[test]
fn a_call_that_is_dropped_leaves_a_whole_change_or_none() {
    let world = on_sqlite();
    pollster::block_on(async {
        for polls in 0..16 {
            let name = format!("o-{polls}");
            poll_and_drop(world.processes.handle(&incoming(&name, "e-1", Event::Placed)), polls);
            world.tell(&name, "e-1", Event::Placed).await;
            let runner = world.processes.runner();
            for _ in 0..8 {
                poll_and_drop(runner.run_once(), polls * 3);
            }
            // What was dropped with a claim is asked about when that has run out.
            world.later(61);
            world.run().await;
            assert_eq!(world.state(&name).await, "Done");
            assert_eq!(world.effects(&name).await, (4, 4));
        }
        assert!(world.bank.executed().values().all(|calls| calls.len() <= 3));
        assert_eq!(world.bank.done().len(), 48);
        world.is_clean().await;
    });
}
