//! Topics of one queue whose times differ: the clock was ahead when one of them was written to last.

use std::{path::Path, sync::Arc, time::Duration};

use txn_queue::{
    Action, Address, Group, GroupName, GroupSpec, ManualClock, Message, MessageId, MessageType, Publish, Published,
    Queue as _, QueueAdmin as _, QueueLimits, Receive, Settle, Settled, Source, Topic, TopicSpec, Topology, WorkerId,
    conformance::block_on, sqlite::Sqlite,
};

const LEASE: Duration = Duration::from_secs(10);

fn group() -> Group {
    Group::new(Topic::new("orders").unwrap(), GroupName::new("workers").unwrap())
}

/// The queue, when it is so many seconds past the beginning.
fn open(folder: &Path, seconds: u64) -> Sqlite {
    let clock = ManualClock::at("2030-01-01T00:00:00Z".parse().unwrap());
    clock.advance(Duration::from_secs(seconds));
    Sqlite::with(folder.join("queue.db"), Arc::new(clock), QueueLimits::default()).unwrap()
}

fn publish(queue: &Sqlite, topic: &Topic, id: &str) {
    let (source, kind) = (Source::new("/ahead").unwrap(), MessageType::new("a").unwrap());
    let message = Arc::new(Message::new(MessageId::new(id).unwrap(), source, kind));
    let published = block_on(queue.publish(vec![Publish::one(Address::Topic(topic.clone()), message)]));
    assert_eq!(published.unwrap(), [Published::Accepted { copies: 1 }]);
}

fn receive(queue: &Sqlite) -> Vec<txn_queue::Delivery> {
    let receive = Receive { group: group(), worker: WorkerId::new("w").unwrap(), max: 10, lease: LEASE };
    block_on(queue.receive(receive)).unwrap().deliveries
}

/// What is settled in a turn that comes upon dead letters of a later time is settled for whoever reads the turn, too.
#[test]
fn what_was_settled_stays_so_beside_dead_letters_of_a_later_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), 0);
    let topology = Topology::default().topic(TopicSpec::new(group().topic().clone())).group(GroupSpec::new(group()));
    block_on(first.declare(topology)).unwrap();
    publish(&first, group().topic(), "1");
    publish(&first, group().topic(), "2");
    let deliveries = receive(&first);
    drop(first);
    publish(&open(folder.path(), 60), &GroupSpec::new(group()).dead_letter_topic(), "ahead");
    let settle = |at: usize, action| Settle { lease: deliveries[at].lease, action };
    let batch = vec![settle(0, Action::Ack), settle(1, Action::Dead { reason: "no".into() })];
    let queue = open(folder.path(), 1);
    let settled = block_on(queue.settle(&group(), batch)).unwrap();
    // Both or neither: the time of the dead letters may be the time of all.
    assert_eq!(settled[0], settled[1]);
    let left = if settled[0] == Settled::Applied { 0 } else { 2 };
    drop(queue);
    assert_eq!(receive(&open(folder.path(), 120)).len(), left, "{settled:?}");
}
