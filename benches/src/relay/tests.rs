use super::*;

const SMALL: Size = Size { events: 3_000, steady: 200, rate: 2_000 };

/// The names of what was measured; each value is one of one run, and above zero or a time.
fn names(store: Backend) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let medium = || Ok(Medium { folder: folder.path().into(), name: String::new() });
    let measured = measure(store, 1, SMALL, medium, || unreachable!("no server is asked")).unwrap();
    assert!(measured.iter().all(|m| m.ours.len() == 1 && m.ours[0].is_finite() && m.ours[0] >= 0.0));
    let drained = measured.iter().filter(|m| m.unit == "events/s");
    assert!(drained.map(|m| m.ours[0]).all(|rate| rate > 0.0));
    measured.into_iter().map(|m| m.name).collect()
}

#[test]
fn a_small_run_measures_the_load_and_the_backlog_and_finds_everything_in_the_queue() {
    let to_memory = |store: &str| {
        let what = ["steady.from-answer.p50", "steady.from-answer.p99", "steady.events-a-call"];
        what.map(|what| format!("relay.{store}.to-memory.{what}"))
    };
    let of_memory = names(Backend::Memory);
    assert!(to_memory("memory").iter().all(|name| of_memory.contains(name)), "{of_memory:?}");
    let of_sqlite = names(Backend::Sqlite);
    assert!(to_memory("sqlite").iter().all(|name| of_sqlite.contains(name)), "{of_sqlite:?}");
    for name in ["relay.sqlite.steady.by-server.p50", "relay.sqlite.drain", "relay.sqlite.to-memory.drain"] {
        assert!(of_sqlite.iter().any(|known| known == name), "{name}: {of_sqlite:?}");
    }
}

/// Story: a relay that loses an event, and one that sends it twice, would both be fast.
#[test]
fn what_is_missing_and_what_is_there_twice_is_found() {
    let runtime = callers::runtime();
    for (sent, expected) in [(&[1, 2, 3][..], 4), (&[1, 1], 2)] {
        let world = World::open(&runtime, &Places::Memory, world::InMemory::Yes, 1, false).unwrap();
        runtime.block_on(work::fill(&world.store, 4)).unwrap();
        let messages = sent.iter().map(|number| {
            let id = txn_queue::MessageId::new(format!("order.place/{number:08}/0")).unwrap();
            let source = txn_queue::Source::new("/txn").unwrap();
            let kind = txn_queue::MessageType::new("order.placed").unwrap();
            let mut message = txn_queue::Message::new(id, source, kind).key(txn_queue::Key::new("a").unwrap());
            message.time = Some(txn_change::Timestamp::from_nanos(0));
            txn_queue::Publish::one(txn_queue::Address::Topic(topic()), message)
        });
        runtime.block_on(world.relays[0].1.queue.publish(messages.collect())).unwrap();
        assert!(runtime.block_on(drain::take_out(&world, expected)).is_err());
    }
}
