//! What is done is deleted, also by a process that did not do it.

use std::{sync::Arc, time::Duration};

use txn_queue::{
    Action, Address, Group, GroupName, GroupSpec, Message, MessageId, MessageType, Publish, Queue as _,
    QueueAdmin as _, QueueLimits, Receive, Settle, Source, Topic, TopicSpec, Topology, WorkerId,
    postgres::{Postgres, sqlx},
};

use crate::server;

fn group() -> Group {
    Group::new(Topic::new("orders").unwrap(), GroupName::new("workers").unwrap())
}

async fn open(schema: &str) -> Postgres {
    let limits = QueueLimits { steps_max: 1, ..QueueLimits::default() };
    Postgres::options(&server::url()).unwrap().schema(schema).limits(limits).lanes(1).open().await.unwrap()
}

async fn go_through(queue: &Postgres, count: usize) {
    let (source, kind) = (Source::new("/done").unwrap(), MessageType::new("a").unwrap());
    let message = Arc::new(Message::new(MessageId::new("1").unwrap(), source, kind));
    let to = Address::Topic(group().topic().clone());
    queue.publish(vec![Publish { to, messages: vec![message; count] }]).await.unwrap();
    let worker = WorkerId::new("w").unwrap();
    let receive = Receive { group: group(), worker, max: count, lease: Duration::from_secs(60) };
    let deliveries = queue.receive(receive).await.unwrap().deliveries;
    assert_eq!(deliveries.len(), count);
    let ack = |delivery: txn_queue::Delivery| Settle { lease: delivery.lease, action: Action::Ack };
    queue.settle(&group(), deliveries.into_iter().map(ack).collect()).await.unwrap();
}

/// Whoever opens a topic through which much has gone does not look for what was deleted long ago before it deletes what is done now.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_deleted_soon_after_a_long_history() {
    let schema = server::name("tidied");
    let queue = open(&schema).await;
    queue
        .declare(Topology::default().topic(TopicSpec::new(group().topic().clone())).group(GroupSpec::new(group())))
        .await
        .unwrap();
    for _ in 0..20 {
        go_through(&queue, 4_096).await;
    }
    drop(queue);
    let queue = open(&schema).await;
    go_through(&queue, 1).await;
    // One lane: when this is answered, what stands before it has been deleted.
    queue.stats().await.unwrap();
    let mut session = <sqlx::PgConnection as sqlx::Connection>::connect(&server::url()).await.unwrap();
    let text = format!("SELECT count(*) FROM {schema}.pack");
    let packs: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&mut session).await.unwrap();
    assert_eq!(packs, 0);
}
