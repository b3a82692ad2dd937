//! What a person sees and does.

use txn::{
    Failure, Rejection,
    change::Body,
    process::{self, Cause, ListBy, Order, Remedy},
};

use super::{bank::Told, *};

pub(crate) fn order(id: &str) -> Order {
    Order { id: IncomingId::new(id).unwrap(), by: "ann".to_owned(), note: "seen at the bank".to_owned() }
}

pub(crate) async fn help(world: &World, name: &str, id: &str, remedy: &Remedy) {
    world.processes.help("checkout", &about(name), remedy, &order(id)).await.unwrap();
}

async fn names(world: &World, by: ListBy, limit: usize) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = world.processes.list("checkout", &by, after.as_ref(), limit).await.unwrap();
        assert!(page.instances.len() <= limit);
        names.extend(page.instances.iter().map(|instance| instance.correlation.to_string()));
        after = page.next;
        if after.is_none() {
            return names;
        }
    }
}

#[test]
fn instances_are_listed_by_phase_state_and_version_page_by_page_the_longest_stuck_first() {
    on_all(async |world| {
        for index in [3, 1, 4, 0, 2] {
            let name = format!("o-{index}");
            world.bank.tell("reserve", &[Told::LostAfter]);
            world.bank.mute(4);
            world.tell(&name, "e-1", Event::Placed).await;
            world.run().await;
            world.later(1);
        }
        world.tell("fine", "e-1", Event::Placed).await;
        world.run().await;
        let stuck = names(world, ListBy::Phase(Phase::Stuck), 2).await;
        assert_eq!(stuck, ["o-3", "o-1", "o-4", "o-0", "o-2"]);
        assert_eq!(names(world, ListBy::State("Reserving".to_owned()), 2).await, ["o-0", "o-1", "o-2", "o-3", "o-4"]);
        assert_eq!(names(world, ListBy::State("Done".to_owned()), 2).await, ["fine"]);
        assert_eq!(names(world, ListBy::Version(1), 3).await.len(), 5, "what is over is in no version's list");
        assert_eq!(names(world, ListBy::Version(2), 3).await, [""; 0]);

        // It does not happen twice for a request that is repeated, and not without a reason.
        help(world, "o-3", "h-1", &Remedy::Skip(None)).await;
        help(world, "o-3", "h-1", &Remedy::Skip(None)).await;
        let other = world.processes.help("checkout", &about("o-3"), &Remedy::Fail, &order("h-1")).await.unwrap_err();
        assert!(matches!(other, Failure::KeyReused { .. }), "{other}");
        let fine = world.processes.help("checkout", &about("o-3"), &Remedy::Fail, &order("h-2")).await.unwrap_err();
        assert!(matches!(fine, Failure::Rejected(Rejection::Process(process::Rejection::NotStuck { .. }))), "{fine}");
        let long = Order { note: "x".repeat(1_001), ..order("h-3") };
        assert!(world.processes.help("checkout", &about("o-1"), &Remedy::Fail, &long).await.is_err());
        world.run().await;
        assert_eq!(world.state("o-3").await, "Done");
        let helped = world.lines("o-3").await.into_iter().filter(|what| matches!(what, What::Helped { .. })).count();
        assert_eq!(helped, 1);
    });
}

/// Case Q57.
#[test]
fn a_person_skips_fails_or_gives_up() {
    on_all(async |world| {
        // Taken as failed: what is before it is undone.
        world.bank.tell("authorise", &[Told::LostBefore]);
        world.bank.mute(4);
        world.tell("failed", "e-1", Event::Placed).await;
        world.run().await;
        help(world, "failed", "h-1", &Remedy::Fail).await;
        world.run().await;
        assert_eq!(world.state("failed").await, "Cancelled");
        assert_eq!(world.bank.done(), ["reserve", "undo-reserve"]);

        // What cannot be undone is taken as undone, by hand.
        world.bank.tell("capture", &[Told::Decline]);
        world.bank.tell("undo-authorise", &[Told::Decline]);
        world.tell("skipped", "e-1", Event::Placed).await;
        world.run().await;
        help(world, "skipped", "h-1", &Remedy::Skip(None)).await;
        world.run().await;
        assert_eq!(world.state("skipped").await, "Cancelled");
        assert_eq!(world.bank.done().last().unwrap(), "undo-reserve");

        // Given up: nothing happens any more, and who asks is told.
        world.bank.tell("capture", &[Told::Decline]);
        world.bank.tell("undo-authorise", &[Told::Decline]);
        world.tell("given-up", "e-1", Event::Placed).await;
        world.run().await;
        assert_eq!(world.tell("given-up", "e-2", Event::Cancel).await, Ending::Deferred);
        help(world, "given-up", "h-1", &Remedy::Fail).await;
        assert_eq!(world.instance("given-up").await.phase, Phase::Abandoned);
        assert_eq!(world.instance("given-up").await.waiting, []);
        assert!(matches!(world.tell("given-up", "e-3", Event::Cancel).await, Ending::Rejected { .. }));
        world.later(100_000);
        world.run().await;
        assert_eq!(names(world, ListBy::Phase(Phase::Abandoned), 9).await, ["given-up"]);
    });
}

/// Case Q60. The decision panics on an event of the instance's own: a poison.
#[test]
fn a_poison_instance_waits_for_a_person_and_the_others_go_on() {
    on_all(async |world| {
        for name in ["a", "poison", "z"] {
            let total = if name == "poison" { "panic" } else { "1.00 EUR" };
            let body = Body::of(&Basket { total: total.to_owned() }).unwrap();
            world.processes.handle(&Incoming { body, ..incoming(name, "e-1", Event::Placed) }).await.unwrap();
        }
        world.run().await;
        assert_eq!(world.state("a").await, "Done");
        assert_eq!(world.state("z").await, "Done");
        let poison = world.instance("poison").await;
        let cause = poison.stuck.unwrap().cause;
        assert_eq!(cause, Cause::NotApplied { event: "Reserved".to_owned() });
        help(world, "poison", "h-1", &Remedy::Resume).await;
        assert_eq!(world.instance("poison").await.phase, Phase::Stuck, "it is as poisonous as before");
        help(world, "poison", "h-2", &Remedy::Skip(None)).await;
        let skipped = world.instance("poison").await;
        assert_eq!((skipped.phase, skipped.waiting.len()), (Phase::Running, 0), "without the event, it goes on");
    });
}
