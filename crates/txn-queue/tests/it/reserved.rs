//! Leases are extended and settled while everything else waits.

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
    Publish { to: Address::Topic(Topic::new(topic).unwrap()), message: Arc::new(message) }
}

async fn one(queue: &Postgres, topic: &str) -> Delivery {
    let group = Group::new(Topic::new(topic).unwrap(), GroupName::new("workers").unwrap());
    let receive = Receive { group, worker: WorkerId::new("w").unwrap(), max: 1, lease: Duration::from_secs(30) };
    queue.receive(receive).await.unwrap().deliveries.remove(0)
}

fn settle(delivery: &Delivery, action: Action) -> Vec<Settle> {
    vec![Settle { lease: delivery.lease.clone(), action }]
}

/// The only lane is stuck with another topic, and as many calls wait as may: leases are extended and settled all the same, and nothing else is.
///
/// Case Q50.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_extended_and_settled_while_every_lane_is_stuck() {
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
    let more = queue.publish(vec![message("mine", "2")]).await;
    assert_eq!(more.unwrap_err().kind(), ErrorKind::Overloaded);

    let extended = |seconds| Action::Extend { lease: Duration::from_secs(seconds) };
    for action in [extended(20), extended(40), Action::Ack] {
        let settled = tokio::time::timeout(Duration::from_secs(5), queue.settle(settle(&mine, action))).await;
        assert_eq!(settled.expect("it waits behind others").unwrap(), [Settled::Applied]);
    }
    assert!(!first.is_finished() && rest.iter().all(|call| !call.is_finished()), "they were to be stuck");
    sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
    for call in [first].into_iter().chain(rest) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(queue.settle(settle(&mine, Action::Ack)).await.unwrap(), [Settled::Gone]);
}
