//! Room that another process makes.

use std::{sync::Arc, time::Duration};

use txn_queue::{
    Action, Address, Group, GroupName, GroupSpec, Message, MessageId, MessageType, Publish, Published, Queue as _,
    QueueAdmin as _, Receive, Settle, Source, Topic, TopicSpec, Topology, Wait, WorkerId, postgres::Postgres,
};

use crate::server;

fn group() -> Group {
    Group::new(Topic::new("orders").unwrap(), GroupName::new("workers").unwrap())
}

fn message(id: &str) -> Vec<Publish> {
    let (source, kind) = (Source::new("/shop").unwrap(), MessageType::new("a").unwrap());
    let message = Arc::new(Message::new(MessageId::new(id).unwrap(), source, kind));
    vec![Publish::one(Address::Topic(group().topic().clone()), message)]
}

/// Publishers wait in one process, and workers acknowledge in another.
///
/// Case Q48.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_room_is_woken_by_an_acknowledgement_in_another_process() {
    let schema = server::name("room");
    let open = || async { Postgres::options(&server::url()).unwrap().schema(&schema).lanes(1).open().await.unwrap() };
    let (publisher, worker) = (open().await, open().await);
    let small = TopicSpec { messages_max: 1, ..TopicSpec::new(group().topic().clone()) };
    publisher.declare(Topology::default().topic(small).group(GroupSpec::new(group()))).await.unwrap();
    publisher.publish(message("0")).await.unwrap();
    for round in 1..10 {
        let receive =
            Receive { group: group(), worker: WorkerId::new("w").unwrap(), max: 1, lease: Duration::from_secs(60) };
        let held = worker.receive(receive).await.unwrap().deliveries.remove(0);
        let mut waiting = Box::pin(publisher.wait(Wait::Room(group().topic().clone())));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "there is no room");
        worker.settle(&group(), vec![Settle { lease: held.lease, action: Action::Ack }]).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it is woken").unwrap();
        let published = publisher.publish(message(&round.to_string())).await.unwrap();
        assert_eq!(published, [Published::Accepted { copies: 1 }]);
    }
}
