//! A topic without room: what it holds up, what it lets pass, and how far.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Waker},
};

use txn::{
    queue::{Reschedule, ScheduleKey},
    relay::{Origin, Verdict},
};

use super::*;

fn tight() -> Topic {
    Topic::new("tight").unwrap()
}

/// A world with a topic that has room for one message, and two that go there.
fn world() -> World {
    let world = in_memory();
    world.declare(TopicSpec { messages_max: 1, ..TopicSpec::new(tight()) });
    world.write("tight", vec![event("tight", "one"), event("tight", "two")]);
    world
}

fn mapping(origin: &Origin<'_>) -> Verdict {
    let message = origin.message().unwrap();
    match message.subject.as_deref() {
        Some("note/tight") => Verdict::topic(tight(), message),
        Some("note/nobody") => Verdict::Skip,
        Some(subject) if subject.starts_with("note/cancel") => {
            let key = ScheduleKey::new("order.expire/42").unwrap();
            Verdict::reschedule(Reschedule { topic: topic(), key, due: None })
        }
        _ => Verdict::topic(topic(), message),
    }
}

fn relay(world: &World) -> txn::relay::Builder {
    let queue = Arc::clone(&world.queue) as _;
    Relay::builder(world.store(), queue, RelayName::new("notes").unwrap(), mapping).lanes(1)
}

/// What is done behind a message that waits takes no room of what is read ahead.
#[test]
fn a_full_topic_does_not_stop_what_goes_elsewhere() {
    let world = world();
    for n in 0..100 {
        world.write(&format!("c{n}"), vec![event(&format!("s{n}"), "say")]);
    }
    let relay = relay(&world).page_max(4).buffer_max(10, 1 << 20).build().unwrap();
    let pass = block_on(relay.run_once()).unwrap();
    assert_eq!((pass.published, pass.left), (101, 1));
    assert_eq!(world.received_from(&tight()).len(), 1);
    let pass = block_on(relay.run_once()).unwrap();
    assert_eq!((pass.published, pass.left), (1, 0));
    assert_eq!(world.received().len(), 100);
}

/// What is read again after a crash is bounded: the log is read 65,536 events beyond the first that waits, and no farther.
#[test]
fn the_log_is_read_a_bounded_way_beyond_what_waits() {
    let world = world();
    for n in 0..700 {
        world.write(&format!("c{n}"), (0..100).map(|_| event("nobody", "x")).collect());
    }
    world.write("last", vec![event("other", "say")]);
    let relay = relay(&world).build().unwrap();
    let pass = block_on(relay.run_once()).unwrap();
    assert_eq!((pass.published, pass.left), (1, 1));
    assert_eq!(world.received_from(&tight()).len(), 1);
    let pass = block_on(relay.run_once()).unwrap();
    assert_eq!((pass.published, pass.left), (2, 0));
}

/// Cancellations that are carried out beyond what waits are remembered in one record, which must not outgrow its limit: there are 8,192 of them, and those that had been read.
#[test]
fn so_many_cancellations_pass_what_waits_as_can_be_remembered() {
    let world = world();
    for n in 0..200 {
        let events = (0..100).map(|m| event(&format!("cancel-{n}-{m}"), "x")).collect();
        world.write(&format!("c{n}"), events);
    }
    let relay = relay(&world).build().unwrap();
    let pass = block_on(relay.run_once()).unwrap();
    assert_eq!((pass.published, pass.left), (1, 1));
    assert!((8_192..18_000).contains(&pass.rescheduled), "{pass:?}");
    assert_eq!(world.received_from(&tight()).len(), 1);
    // Those that were remembered are not carried out again; those of the last batch may be.
    let rest = block_on(relay.run_once()).unwrap();
    assert_eq!((rest.published, rest.left), (1, 0));
    assert!((20_000..=24_096).contains(&(pass.rescheduled + rest.rescheduled)), "{rest:?}");
}

/// One waits for room, however many batches land meanwhile.
#[test]
fn a_lane_waits_for_room_once() {
    let world = world();
    for n in 0..50 {
        world.write(&format!("c{n}"), vec![event(&format!("s{n}"), "say")]);
    }
    let waits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&waits);
    let sleep = move |time: Duration| {
        counted.fetch_add((time == Duration::from_millis(20)).into(), Ordering::SeqCst);
        std::future::pending()
    };
    let relay = relay(&world).batch_max(1).build().unwrap();
    let mut process = pin!(relay.run(sleep, std::future::pending()));
    let depth = || block_on(world.queue.stats()).unwrap().topics[&topic()].messages;
    for _ in 0..1_000 {
        assert!(process.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!((depth(), waits.load(Ordering::SeqCst)), (50, 1));
}
