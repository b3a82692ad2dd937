//! Several processes of one relay, and what remains when one dies between the queue and the store.

use super::{flaky::pause, *};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

fn poll<F: Future>(process: std::pin::Pin<&mut F>) {
    assert!(process.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    // What a store does on a thread of its own takes a moment.
    std::thread::sleep(Duration::from_micros(200));
}

/// Cases Q22 and Q61. A process dies when the queue has taken its messages and before the store knows: they come again, with the same ids and dedupe ids, and the queue knows them; where it has forgotten them, the messages are the same to the byte.
#[test]
fn what_is_published_twice_is_the_same_message() {
    for world in worlds() {
        for n in 0..10 {
            world.write(&format!("c{n}"), vec![event("a", &n.to_string())]);
        }
        let relay = world.relay();
        {
            let mut process = pin!(relay.run(|_| std::future::pending(), std::future::pending()));
            // Its clock stands still, so that no cursor is moved.
            let begun = std::time::Instant::now();
            while block_on(world.queue.stats()).unwrap().topics[&topic()].messages < 10 {
                assert!(begun.elapsed() < Duration::from_secs(60));
                poll(process.as_mut());
            }
        }
        let first = world.received();
        world.pass_lease();
        let pass = block_on(world.relay().run_once()).unwrap();
        assert_eq!((pass.published, pass.duplicates), (0, 10));

        // Another queue, which has seen nothing of it.
        block_on(world.relay().retire()).unwrap();
        let other = Arc::new(queue::memory::Memory::new());
        let spec = Topology::default().topic(TopicSpec::new(topic())).group(GroupSpec::new(group()));
        block_on(other.declare(spec)).unwrap();
        let pass = block_on(world.relay_to(Arc::clone(&other) as _).run_once()).unwrap();
        assert_eq!((pass.published, pass.duplicates), (10, 0));
        let receive =
            Receive { group: group(), worker: WorkerId::new("a-1").unwrap(), max: 1, lease: Duration::from_secs(30) };
        let mut second = Vec::new();
        loop {
            let received = block_on(other.receive(receive.clone())).unwrap();
            let Some(delivery) = received.deliveries.into_iter().next() else { break };
            let ack = queue::Settle { lease: delivery.lease, action: queue::Action::Ack };
            block_on(other.settle(&receive.group, vec![ack])).unwrap();
            second.push(delivery.message);
        }
        assert_eq!(first, second);
    }
}

/// The lanes are shared out evenly, those of a process that leaves go to the others at once, and those of one that is dead when its lease is over.
#[test]
fn lanes_go_to_who_is_there() {
    for world in worlds() {
        let relay = world.relay();
        let mut first = Box::pin(relay.run(|_| pause(), std::future::pending()));
        let mut second = Box::pin(relay.run(|_| pause(), std::future::pending()));
        let messages = || block_on(world.queue.stats()).unwrap().topics[&topic()].messages;
        // It takes some steps of both until each has its half; then one alone sends only that.
        let begun = std::time::Instant::now();
        let mut written = 0;
        loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "one always has all");
            for _ in 0..200 {
                poll(first.as_mut());
                poll(second.as_mut());
            }
            for _ in 0..40 {
                written += 1;
                world.write(&format!("c{written}"), vec![event(&format!("s{written}"), "x")]);
            }
            let before = messages();
            (0..400).for_each(|_| poll(first.as_mut()));
            if (5..=35).contains(&(messages() - before)) {
                break;
            }
        }
        // The other dies; the first has its lanes when the lease is over.
        drop(second);
        world.pass_lease();
        let begun = std::time::Instant::now();
        while messages() < written {
            assert!(begun.elapsed() < Duration::from_secs(60));
            poll(first.as_mut());
        }
    }
}
