//! Moving and cancelling by a schedule key, wherever the message is.

use txn::{
    queue::{Reschedule, ScheduleKey, When},
    relay::{Origin, Verdict},
};

use super::*;

fn key() -> ScheduleKey {
    ScheduleKey::new("order.expire/42").unwrap()
}

/// What an event says is done with one message, which is due in an hour.
fn mapping(origin: &Origin<'_>) -> Verdict {
    let reschedule = |due| Verdict::reschedule(Reschedule { topic: topic(), key: key(), due });
    match origin.recorded().event.body.bytes() {
        b"\"later\"" => {
            let due = origin.recorded().recorded_at.after(Duration::from_secs(3_600)).unwrap();
            Verdict::topic(topic(), origin.message().unwrap().due_at(due).schedule_key(key()))
        }
        b"\"cancel\"" => reschedule(None),
        b"\"move\"" => reschedule(Some(When::After(Duration::from_secs(7_200)))),
        _ => Verdict::Skip,
    }
}

fn relay(world: &World) -> Relay {
    relay_to(world, Arc::clone(&world.queue) as _)
}

fn relay_to(world: &World, queue: Arc<dyn QueueAdmin>) -> Relay {
    let name = RelayName::new("notes").unwrap();
    Relay::builder(world.store(), queue, name, mapping).build().unwrap()
}

fn say(world: &World, words: &[&str]) {
    for word in words {
        let count = block_on(world.store.health()).unwrap().commits;
        world.write(&format!("change-{count}"), vec![event("42", word)]);
    }
}

/// Case Q39. A cancellation that is committed while the message is still in the log reaches the queue behind it, and nobody is given the message; one that comes when it waits in the queue cancels it; one that comes when it is leased or done
/// is too late, and is no failure.
#[test]
fn a_message_is_cancelled_wherever_it_waits_until_it_is_due() {
    for world in worlds() {
        say(&world, &["later", "cancel"]);
        let pass = block_on(relay(&world).run_once()).unwrap();
        assert_eq!((pass.published, pass.rescheduled, pass.parked), (1, 1, 0));

        say(&world, &["later"]);
        block_on(relay(&world).run_once()).unwrap();
        say(&world, &["cancel"]);
        block_on(relay(&world).run_once()).unwrap();
        world.queue_clock.advance(Duration::from_secs(3_601));
        assert_eq!(world.received(), []);

        world.clock.advance(Duration::from_secs(3_601));
        say(&world, &["later"]);
        block_on(relay(&world).run_once()).unwrap();
        world.queue_clock.advance(Duration::from_secs(3_601));
        let receive =
            Receive { group: group(), worker: WorkerId::new("a-1").unwrap(), max: 10, lease: Duration::from_secs(30) };
        let leased = block_on(world.queue.receive(receive)).unwrap().deliveries;
        assert_eq!(leased.len(), 1);
        say(&world, &["cancel"]);
        let pass = block_on(relay(&world).run_once()).unwrap();
        assert_eq!((pass.rescheduled, pass.parked, pass.left), (1, 0, 0));
        let ack = queue::Settle { lease: leased[0].lease, action: queue::Action::Ack };
        assert_eq!(block_on(world.queue.settle(&group(), vec![ack])).unwrap(), [queue::Settled::Applied]);
    }
}

/// A new time that is told as a wait counts from when it was recorded: done again an hour later, it is the same instant.
#[test]
fn a_message_is_moved_to_an_instant() {
    for world in worlds() {
        say(&world, &["later", "move"]);
        world.clock.advance(Duration::from_secs(1_000));
        world.queue_clock.advance(Duration::from_secs(1_000));
        block_on(relay(&world).run_once()).unwrap();
        world.queue_clock.advance(Duration::from_secs(6_199));
        assert_eq!(world.received(), []);
        world.queue_clock.advance(Duration::from_secs(1));
        assert_eq!(world.received().len(), 1);
    }
}

/// A queue in a file, which decides many calls together and reads what it knew when it is opened: a message is cancelled and moved there as anywhere. Case Q39.
#[test]
fn a_message_is_cancelled_and_moved_in_a_durable_queue() {
    for world in worlds() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
        let open = || {
            let path = folder.path().join("queue.db");
            let queue = queue::sqlite::Sqlite::with(path, Arc::clone(&clock) as _, queue::QueueLimits::default());
            Arc::new(queue.unwrap()) as Arc<dyn QueueAdmin>
        };
        let run = || block_on(relay_to(&world, open()).run_once()).unwrap();
        let count = || {
            let worker = WorkerId::new("a-1").unwrap();
            let receive = Receive { group: group(), worker, max: 10, lease: Duration::from_secs(1) };
            block_on(open().receive(receive)).unwrap().deliveries.len()
        };
        let topology = Topology::default().topic(TopicSpec::new(topic())).group(GroupSpec::new(group()));
        block_on(open().declare(topology)).unwrap();
        say(&world, &["later", "cancel"]);
        assert_eq!((run().published, count()), (1, 0));
        say(&world, &["later"]);
        run();
        say(&world, &["move"]);
        assert_eq!(run().rescheduled, 1);
        clock.advance(Duration::from_secs(7_199));
        assert_eq!(count(), 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(count(), 1);
    }
}
