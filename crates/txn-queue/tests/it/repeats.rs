//! What it costs to look whether messages are repetitions.

use std::time::{Duration, Instant};

use txn_queue::{
    Address, DedupeId, Message, MessageId, MessageType, Publish, Published, Queue as _, QueueAdmin as _, Source, Topic,
    TopicSpec, Topology,
    postgres::{
        Postgres,
        sqlx::{self, Connection as _, PgConnection},
    },
};

use crate::server;

/// Messages in a call, and calls.
const BATCH: u32 = 100;
const CALLS: u32 = 20;

/// Story: a session planned the question once, while nothing was remembered, and then went through all that was, in the order in which it would be forgotten, for every call. A relay, whose messages all have dedupe ids, handed
/// over 3,000 messages a second, and ever fewer; now it is 26,000 on the same machine.
///
/// Case Q27.
#[test]
fn looking_for_repetitions_does_not_go_through_all_that_is_remembered() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (schema, topic) = (server::name("repeats"), Topic::new("orders").unwrap());
        let queue = Postgres::options(&server::url()).unwrap().schema(&schema).open().await.unwrap();
        queue.declare(Topology::default().topic(TopicSpec::new(topic.clone()))).await.unwrap();
        let message = |number: u32| {
            let id = MessageId::new(number.to_string()).unwrap();
            let message = Message::new(id, Source::new("/shop").unwrap(), MessageType::new("order.placed").unwrap());
            let message = message.dedupe_id(DedupeId::new(format!("order-{number}")).unwrap());
            Publish::one(Address::Topic(topic.clone()), message)
        };
        for call in 0..CALLS {
            // The first is a repetition of the last of the call before.
            let first = (call * BATCH).saturating_sub(1);
            let published = queue.publish((first..(call + 1) * BATCH).map(message).collect()).await.unwrap();
            let repetitions = published.iter().filter(|published| **published == Published::Duplicate).count();
            assert_eq!(repetitions, usize::from(call > 0), "in call {call}");
            assert_eq!(published[0] == Published::Duplicate, call > 0, "in call {call}");
        }
        // Sessions tell what they did when they end.
        drop(queue);
        let mut session = PgConnection::connect(&server::url()).await.unwrap();
        let begun = Instant::now();
        let read = |index: &'static str| {
            let text =
                "SELECT idx_scan, idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = $1 AND indexrelname = $2";
            sqlx::query_as::<_, (i64, i64)>(text).bind(schema.clone()).bind(index)
        };
        while read("repeat_pkey").fetch_one(&mut session).await.unwrap().0 < i64::from(CALLS * BATCH) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the repetitions are not found through their ids");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (_, by_end) = read("repeat_until").fetch_one(&mut session).await.unwrap();
        assert!(by_end <= i64::from(BATCH), "{by_end} were looked at in the order of their ends");
    });
}
