//! Leases are extended and settled while everything else waits.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use txn_queue::{
    Action, Address, Delivery, Error, ErrorKind, Group, GroupName, GroupSpec, Message, MessageId, MessageType, Publish,
    Published, Queue as _, QueueAdmin as _, QueueLimits, Receive, Settle, Settled, Source, Topic, TopicSpec, Topology,
    WorkerId,
    postgres::{Postgres, sqlx},
};

use crate::server;

/// What is stuck is given up then. Whoever waits behind it is answered after as long; whoever does not, at once, which may take a busy machine some seconds.
const DEADLINE: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::from_secs(20);

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

type Call<'a> = Pin<Box<dyn Future<Output = Result<Vec<Published>, Error>> + Send + 'a>>;

fn is_answered(call: &mut Call<'_>) -> bool {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Until a session waits for the lock on messages.
async fn is_waited_for(schema: &str) {
    let mut session = PgConnection::connect(&server::url()).await.unwrap();
    let waits = format!("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{schema}.pack'::regclass");
    let begun = Instant::now();
    while sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(waits.clone())).fetch_one(&mut session).await.unwrap() == 0 {
        assert!(begun.elapsed() < AT_ONCE, "the lane is not stuck");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
        let mut call = queue.publish(vec![message("stuck", id)]);
        assert!(!is_answered(&mut call), "it was to be stuck");
        call
    };
    let mut first = stuck("first");
    is_waited_for(&schema).await;
    // Each stands in the line when it has been asked once.
    let mut rest = ["2", "3", "4", "5"].map(stuck);
    let more = queue.publish(vec![message("mine", "2")]).await;
    assert_eq!(more.unwrap_err().kind(), ErrorKind::Overloaded);

    let group = workers("mine");
    let extended = |seconds| Action::Extend { lease: Duration::from_secs(seconds) };
    for action in [extended(20), extended(40), Action::Ack] {
        let settled = queue.settle(&group, settle(&mine, action));
        let settled = tokio::time::timeout(AT_ONCE, settled).await;
        assert_eq!(settled.expect("it waits behind others").unwrap(), [Settled::Applied]);
    }
    assert!(!is_answered(&mut first) && !rest.iter_mut().any(is_answered), "they were to be stuck");
    sqlx::raw_sql("ROLLBACK").execute(&mut blocker).await.unwrap();
    for call in [first].into_iter().chain(rest) {
        call.await.unwrap();
    }
    assert_eq!(queue.settle(&workers("mine"), settle(&mine, Action::Ack)).await.unwrap(), [Settled::Gone]);
}
