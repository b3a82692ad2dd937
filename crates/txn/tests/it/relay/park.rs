//! What cannot be sent: it is set aside with a reason, does not hold up what follows, and is not purged.

use txn::{
    queue::{Attribute, AttributeName, Criterion, DedupeId, ExchangeKind, ExchangeName},
    relay::{Origin, Retried, Verdict},
    store::{Consumer, Purge},
};

use super::*;

/// Sends by what an event is about.
fn mapping(origin: &Origin<'_>) -> Verdict {
    let message = origin.message().unwrap();
    let exchange = |name: &str| queue::Address::Exchange { name: ExchangeName::new(name).unwrap(), routing_key: None };
    match message.subject.as_deref().unwrap() {
        "note/lost" => Verdict::topic(Topic::new("lost").unwrap(), message),
        "note/nowhere" => Verdict::publish(exchange("void"), message),
        "note/unknown" => Verdict::publish(exchange("unknown"), message),
        "note/large" => Verdict::topic(topic(), message.data("text/plain", vec![b'x'; (256 << 10) + 1])),
        "note/header" => {
            let name = AttributeName::new("txnown").unwrap();
            Verdict::topic(topic(), message.extension(name, Attribute::Integer(1)))
        }
        "note/same" => {
            let mut message = message;
            message.dedupe_id = Some(DedupeId::new("same").unwrap());
            Verdict::topic(topic(), message)
        }
        "note/poison" => Verdict::Poison("it makes no sense".into()),
        "note/panic" => panic!("a mapping that panics"),
        "note/silent" => Verdict::Skip,
        _ => Verdict::topic(topic(), message),
    }
}

fn relay(world: &World) -> Relay {
    let (name, queue) = (RelayName::new("notes").unwrap(), Arc::clone(&world.queue) as _);
    Relay::builder(world.store(), queue, name, mapping).build().unwrap()
}

const POISON: [&str; 8] = ["lost", "nowhere", "unknown", "large", "header", "same", "poison", "panic"];

fn write_poison(world: &World) {
    let exchange = ExchangeName::new("void").unwrap();
    block_on(world.queue.declare(Topology::default().exchange(exchange, ExchangeKind::Fanout))).unwrap();
    world.write("first-same", vec![event("same", "an earlier one")]);
    for name in POISON {
        world.write(&format!("bad-{name}"), vec![event("good", name), event(name, "x"), event("good", "after")]);
    }
}

/// Case Q24. What can never be sent does not hold up what stands behind it, not even of its own change; it is parked once, with the reason and where it stands.
#[test]
fn poison_is_parked_with_its_reason_and_those_behind_it_go_on() {
    for world in worlds() {
        write_poison(&world);
        world.write("quiet", vec![event("silent", "x")]);
        let pass = block_on(relay(&world).run_once()).unwrap();
        assert_eq!((pass.published, pass.parked, pass.left), (17, 8, 0));
        let parked = block_on(relay(&world).parked().list()).unwrap();
        let reasons: Vec<(&str, &str)> = parked.iter().map(|p| (p.change.as_str(), p.reason.as_str())).collect();
        assert_eq!(
            reasons,
            [
                ("bad-lost", "there is no topic lost"),
                ("bad-nowhere", "the exchange void sends the message nowhere"),
                ("bad-unknown", "there is no exchange unknown"),
                ("bad-large", "262145 bytes of data; at most 262144 are allowed"),
                ("bad-header", "the attribute txnown is reserved"),
                ("bad-same", "another message was published under the dedupe id same"),
                ("bad-poison", "it makes no sense"),
                ("bad-panic", "the mapping panicked"),
            ]
        );
        assert!(parked.iter().all(|parked| (parked.index, parked.kind.as_str()) == (1, "note.written")));
        let nths: Vec<Option<u32>> = parked.iter().map(|parked| parked.nth).collect();
        assert_eq!(nths, [Some(0), Some(0), Some(0), Some(0), Some(0), Some(0), None, None]);
        let good = texts(&world.received())["note/good"].clone();
        let expected: Vec<String> =
            POISON.iter().flat_map(|name| [format!("{name:?}"), "\"after\"".to_owned()]).collect();
        assert_eq!(good, expected);
    }
}

#[test]
fn a_person_sends_what_is_parked_again_or_gives_it_up() {
    for world in worlds() {
        write_poison(&world);
        block_on(relay(&world).run_once()).unwrap();
        world.received();
        let relay = relay(&world);
        let parked = block_on(relay.parked().list()).unwrap();
        let named = |name: &str| parked.iter().find(|parked| parked.change.ends_with(name)).unwrap();

        // Nothing has been mended.
        let retried = block_on(relay.parked().retry(named("lost"))).unwrap();
        assert_eq!(retried, Retried::Refused("there is no topic lost".to_owned()));
        assert_eq!(block_on(relay.parked().list()).unwrap()[0].retries, 1);

        // The topic, the binding, and the mapping are.
        let lost = Topic::new("lost").unwrap();
        world.declare(TopicSpec::new(lost.clone()));
        let void = ExchangeName::new("void").unwrap();
        block_on(world.queue.declare(Topology::default().bind(void, Criterion::Always, lost.clone()))).unwrap();
        for name in ["lost", "nowhere"] {
            assert_eq!(block_on(relay.parked().retry(named(name))).unwrap(), Retried::Sent, "{name}");
            assert_eq!(block_on(relay.parked().retry(named(name))).unwrap(), Retried::NotParked, "{name}");
        }
        let mended = world.relay();
        assert_eq!(block_on(mended.parked().retry(named("panic"))).unwrap(), Retried::Sent);
        let ids: Vec<String> = world.received_from(&lost).iter().map(|message| message.id.to_string()).collect();
        assert_eq!(ids, ["bad-lost/1", "bad-nowhere/1"], "the ids are those that they always had");
        assert_eq!(world.received()[0].id.as_str(), "bad-panic/1");

        assert!(block_on(relay.parked().discard(named("large"))).unwrap());
        assert!(!block_on(relay.parked().discard(named("large"))).unwrap());
        let left = block_on(relay.parked().list()).unwrap();
        let left: Vec<&str> = left.iter().map(|parked| parked.change.as_str()).collect();
        assert_eq!(left, ["bad-unknown", "bad-header", "bad-same", "bad-poison"]);
    }
}

/// Case Q26. Of a batch of 100, the 57th is refused for ever, and from the 80th on there is no room: exactly those are reported, parked, or sent later.
#[test]
fn of_a_batch_that_is_refused_in_part_exactly_that_part_is_tried_again() {
    for world in worlds() {
        let mut spec = TopicSpec::new(topic());
        spec.messages_max = 79;
        world.declare(spec.clone());
        for n in 1..=100 {
            let subject = if n == 57 { "lost".to_owned() } else { format!("s{n}") };
            world.write(&format!("c{n}"), vec![event(&subject, &n.to_string())]);
        }
        let pass = block_on(relay(&world).run_once()).unwrap();
        assert_eq!((pass.published, pass.duplicates, pass.parked, pass.left), (79, 0, 1, 20));
        spec.messages_max = 1_000;
        world.declare(spec);
        let pass = block_on(relay(&world).run_once()).unwrap();
        // What was sent behind one that had no room is not acknowledged, and comes once more as a repetition.
        assert_eq!((pass.published, pass.parked, pass.left), (20, 0, 0));
        let mut ids: Vec<String> = world.received().iter().map(|message| message.id.to_string()).collect();
        ids.sort();
        let mut expected: Vec<String> = (1..=100).filter(|n| *n != 57).map(|n| format!("c{n}/0")).collect();
        expected.sort();
        assert_eq!(ids, expected);
        let parked = block_on(relay(&world).parked().list()).unwrap();
        assert_eq!((parked.len(), parked[0].change.as_str()), (1, "c57"));
    }
}

/// Case Q31. The log is purged while the relay is behind: nothing that is unsent goes, and nothing that is parked.
#[test]
fn purging_takes_nothing_that_is_unsent_or_parked() {
    for world in worlds() {
        let purge = |world: &World| {
            world.clock.advance(Duration::from_secs(3_600));
            let before = txn::store::Clock::now(&*world.clock);
            while !block_on(world.store.purge(Purge::Events, before, 1_000)).unwrap().is_complete {}
        };
        // Begun, so that it has cursors; then away.
        block_on(relay(&world).run_once()).unwrap();
        for n in 0..20 {
            world.write(&format!("c{n}"), vec![event(if n == 7 { "lost" } else { "a" }, &n.to_string())]);
        }
        purge(&world);
        assert_eq!(block_on(world.store.health()).unwrap().tail.0, 0);
        let pass = block_on(relay(&world).run_once()).unwrap();
        assert_eq!((pass.published, pass.parked), (19, 1));
        purge(&world);
        let parked = block_on(relay(&world).parked().list()).unwrap();
        let tail = block_on(world.store.health()).unwrap().tail.0;
        assert!(0 < tail && tail < parked[0].position, "{tail} and {}", parked[0].position);
        world.declare(TopicSpec::new(Topic::new("lost").unwrap()));
        assert_eq!(block_on(relay(&world).parked().retry(&parked[0])).unwrap(), Retried::Sent);
        // It holds nothing back any more.
        block_on(relay(&world).run_once()).unwrap();
        purge(&world);
        let (health, cursors) =
            (block_on(world.store.health()).unwrap(), block_on(Consumer::list(&*world.store())).unwrap());
        assert_eq!(health.tail, health.head, "{cursors:?}");
    }
}
