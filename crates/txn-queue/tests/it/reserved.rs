//! Leases are extended while everything else waits.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};
use txn_queue::{
    Action, Address, Delivery, ErrorKind, Group, GroupName, GroupSpec, Message, MessageId, MessageType, Publish,
    Queue as _, QueueAdmin as _, QueueLimits, Receive, Settle, Settled, Source, Topic, TopicSpec, Topology, WorkerId,
    postgres::{Postgres, sqlx},
};

use crate::server;

const DEADLINE: Duration = Duration::from_secs(8);

fn message(topic: &str, id: &str) -> Publish {
    let (source, kind) = (Source::new("/shop").unwrap(), MessageType::new("a").unwrap());
    let message = Message::new(MessageId::new(id).unwrap(), source, kind);
    Publish::one(Address::Topic(Topic::new(topic).unwrap()), message)
}

fn workers(topic: &str) -> Group {
    Group::new(Topic::new(topic).unwrap(), GroupName::new("workers").unwrap())
}

async fn one(queue: &Postgres, topic: &str) -> Delivery {
    let receive =
        Receive { group: workers(topic), worker: WorkerId::new("w").unwrap(), max: 1, lease: Duration::from_secs(30) };
    queue.receive(receive).await.unwrap().deliveries.remove(0)
}

fn settle(delivery: &Delivery, action: Action) -> Vec<Settle> {
    vec![Settle { lease: delivery.lease, action }]
}

/// The only lane is stuck with another topic, and as many calls wait as may: leases are extended all the same, and an acknowledgement waits its turn.
///
/// Case Q50.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_extended_while_every_lane_is_stuck() {
    let schema = server::name("reserved");
    let limits = QueueLimits { calls_max: 4, ..QueueLimits::default() };
    let options = Postgres::options(&server::url()).unwrap().schema(&schema).lanes(1).limits(limits);
    let queue = Arc::new(options.deadline(DEADLINE).open().await.unwrap());
    let mut topology = Topology::default();
    for topic in ["stuck", "mine"] {
        let topic = Topic::new(topic).unwrap();
        let group = Group::new(topic.clone(), GroupName::new("workers").unwrap());
        topology = topology.topic(TopicSpec::new(topic)).group(GroupSpec::new(group));
    }
    queue.declare(topology).await.unwrap();
    queue.publish(vec![message("mine", "1")]).await.unwrap();
    let mine = one(&queue, "mine").await;

    // Nobody can add messages, and nobody is told so for a while.
    let mut blocker = PgConnection::connect(&server::url()).await.unwrap();
    let lock = format!("BEGIN; LOCK TABLE {schema}.pack IN SHARE MODE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut blocker).await.unwrap();
    let stuck = |id: &'static str| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.publish(vec![message("stuck", id)]).await })
    };
    let first = stuck("first");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let rest = ["2", "3", "4", "5"].map(stuck);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ack = queue.settle(&workers("mine"), settle(&mine, Action::Ack)).await;
    assert_eq!(ack.unwrap_err().kind(), ErrorKind::Overloaded);

    for seconds in [20, 40] {
        let lease = Duration::from_secs(seconds);
        let (group, extend) = (workers("mine"), settle(&mine, Action::Extend { lease }));
        let extended = tokio::time::timeout(Duration::from_secs(2), queue.settle(&group, extend)).await;
        assert_eq!(extended.expect("an extension waits behind others").unwrap(), [Settled::Applied]);
    }
    assert!(!first.is_finished() && rest.iter().all(|call| !call.is_finished()), "they were to be stuck");
    sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
    for call in [first].into_iter().chain(rest) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(queue.settle(&workers("mine"), settle(&mine, Action::Ack)).await.unwrap(), [Settled::Applied]);
}
