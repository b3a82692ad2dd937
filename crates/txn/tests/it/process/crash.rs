//! The process dies at every boundary there is: before and after each commit, before and after each call.

use super::{bank::Told, *};

/// One checkout whose process dies at the n-th boundary, and whose successor ends it. Says whether it died.
async fn dies_and_goes_on(world: &World, boundaries: i64) -> bool {
    world.store.dies_after(boundaries);
    let placed = incoming("web-1", "e-1", Event::Placed);
    let _ = world.processes.handle(&placed).await;
    let runner = world.processes.runner();
    while let Ok(pass) = runner.run_once().await {
        match pass.next_due {
            _ if pass.did_something() => {}
            Some(due) if due > world.now() && pass.failures.is_empty() => world.clock.set(due),
            _ => break,
        }
    }
    let died = world.store.lives();
    // The event is brought again, as it is by whoever was not answered.
    world.processes.handle(&placed).await.unwrap();
    world.run().await;
    died
}

fn at_every_boundary(told: &[(&str, Told)], check: impl AsyncFn(&World)) {
    for (nth, make) in backends().into_iter().enumerate() {
        // On a server, some of them: a schema for each takes its time.
        let stride = if nth < 2 { 1 } else { 4 };
        let (mut boundary, mut died) = (0, true);
        while died {
            let world = make();
            pollster::block_on(async {
                for (operation, told) in told {
                    world.bank.tell(operation, &[*told]);
                }
                died = dies_and_goes_on(&world, boundary).await;
                check(&world).await;
                for (key, calls) in world.bank.executed() {
                    let mut names = calls.clone();
                    names.dedup();
                    assert_eq!(names.len(), 1, "{key} is of one operation: {calls:?}");
                    assert!(calls.len() <= 3, "at boundary {boundary}: {calls:?}");
                }
                world.is_clean().await;
            });
            boundary += stride;
        }
        assert!(boundary > 20, "only {boundary} boundaries");
    }
}

/// Case Q59.
#[test]
fn each_effect_is_committed_once_and_each_step_called_a_bounded_number_of_times_under_one_key() {
    at_every_boundary(&[], async |world| {
        assert_eq!(world.state("web-1").await, "Done");
        assert_eq!(world.bank.done(), ["reserve", "authorise", "capture"]);
        assert_eq!(world.effects("web-1").await, (4, 4));
        assert_eq!(applied(&world.lines("web-1").await), 4);
    });
}

/// Cases Q57, Q59.
#[test]
fn an_undoing_that_a_death_cut_off_is_ended_in_its_order() {
    at_every_boundary(&[("capture", Told::Decline)], async |world| {
        assert_eq!(world.state("web-1").await, "Cancelled");
        assert_eq!(world.bank.done(), ["reserve", "authorise", "undo-authorise", "undo-reserve"]);
        assert_eq!(world.effects("web-1").await, (5, 5));
    });
}

/// Cases Q58, Q59.
#[test]
fn an_answer_that_is_lost_and_a_death_are_no_second_call() {
    at_every_boundary(&[("authorise", Told::LostAfter)], async |world| {
        assert_eq!(world.state("web-1").await, "Done");
        assert_eq!(world.bank.done(), ["reserve", "authorise", "capture"]);
        assert_eq!(world.effects("web-1").await, (4, 4));
    });
}

/// Case Q59. Every life is short.
#[test]
fn process_after_process_dies_and_the_work_is_ended() {
    for boundaries in 7..14 {
        let world = in_memory();
        pollster::block_on(async {
            world.tell("web-1", "e-1", Event::Placed).await;
            for _ in 0..100 {
                world.store.dies_after(boundaries);
                let runner = world.processes.runner();
                while runner.run_once().await.is_ok_and(|pass| pass.did_something()) {}
                world.store.lives();
                world.later(61);
            }
            assert_eq!(world.state("web-1").await, "Done", "{boundaries} boundaries");
            assert_eq!(world.bank.done(), ["reserve", "authorise", "capture"]);
            assert_eq!(world.effects("web-1").await, (4, 4));
        });
    }
}
