//! Processes whose clocks are hours off: the server's alone decides.
//!
//! Nobody here moves the machine's clock. In a database of the test's own the server tells another time than the machine, so that all clients are wrong by as much.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use txn_change::Timestamp;
use txn_queue::{
    Action, Address, Clock as _, Delivery, Group, GroupName, GroupSpec, Message, MessageId, MessageType, Publish,
    Published, Queue as _, QueueAdmin as _, Receive, Received, Settle, Settled, Source, SystemClock, Topic, TopicSpec,
    Topology, WorkerId,
    postgres::{Postgres, sqlx},
};

use crate::server;

const HOUR: i64 = 3_600;
/// Longer than a test takes: a lease ends when the server's clock is set on by as much, and not before.
const LEASE: Duration = Duration::from_secs(300);
/// A test may take so long, and the server's clock may be set on by a lease.
const SLACK: Duration = Duration::from_secs(600);

struct Skewed {
    url: String,
    session: PgConnection,
    group: Group,
}

impl Skewed {
    /// A database whose server is ahead of the machine by so many hours.
    async fn new(hours: i64) -> Self {
        let name = server::name("skew");
        let mut session = PgConnection::connect(&server::url()).await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut session).await.unwrap();
        let url = server::url();
        let url = format!("{}/{name}", url.rsplit_once('/').unwrap().0);
        let mut session = PgConnection::connect(&url).await.unwrap();
        // Whoever asks for the time finds this one first.
        let skew = format!("CREATE SCHEMA skew; ALTER DATABASE {name} SET search_path = skew, pg_catalog, public;");
        sqlx::raw_sql(sqlx::AssertSqlSafe(skew)).execute(&mut session).await.unwrap();
        let topic = Topic::new("orders").unwrap();
        let group = Group::new(topic, GroupName::new("workers").unwrap());
        let mut skewed = Self { url, session, group };
        skewed.set(hours * HOUR).await;
        skewed
    }

    /// The server is ahead of the machine by so many seconds.
    async fn set(&mut self, seconds: i64) {
        let text = format!(
            "CREATE OR REPLACE FUNCTION skew.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
            $$ SELECT pg_catalog.clock_timestamp() + make_interval(secs => {seconds}) $$"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut self.session).await.unwrap();
    }

    async fn open(&self) -> Postgres {
        let queue = Postgres::options(&self.url).unwrap().lanes(1).open().await.unwrap();
        let topic = TopicSpec::new(self.group.topic().clone());
        queue.declare(Topology::default().topic(topic).group(GroupSpec::new(self.group.clone()))).await.unwrap();
        queue
    }

    async fn send(&self, queue: &Postgres, id: &str, due: Option<Timestamp>) {
        let (source, kind) = (Source::new("/clocks").unwrap(), MessageType::new("clocks.told").unwrap());
        let mut message = Message::new(MessageId::new(id).unwrap(), source, kind);
        // What the producer thinks it is; nothing is decided by it.
        message.time = Some(Timestamp::MIN);
        let message = due.into_iter().fold(message, Message::due_at);
        let to = Address::Topic(self.group.topic().clone());
        let published = queue.publish(vec![Publish::one(to, message)]).await.unwrap();
        assert_eq!(published, [Published::Accepted { copies: 1 }]);
    }

    async fn receive(&self, queue: &Postgres) -> Received {
        let worker = WorkerId::new("w").unwrap();
        queue.receive(Receive { group: self.group.clone(), worker, max: 10, lease: LEASE }).await.unwrap()
    }

    async fn ids(&self, queue: &Postgres) -> Vec<String> {
        self.receive(queue).await.deliveries.iter().map(|delivery| delivery.message.id.to_string()).collect()
    }
}

async fn ack(queue: &Postgres, group: &Group, delivery: &Delivery) -> Settled {
    queue.settle(group, vec![Settle { lease: delivery.lease, action: Action::Ack }]).await.unwrap()[0]
}

fn hours_from_now(hours: i64) -> Timestamp {
    Timestamp::from_nanos(SystemClock.now().as_nanos() + hours * HOUR * 1_000_000_000)
}

fn is_about(found: Timestamp, expected: Timestamp) -> bool {
    found.as_nanos().abs_diff(expected.as_nanos()) < u64::try_from(SLACK.as_nanos()).unwrap()
}

/// Case Q12.
#[tokio::test(flavor = "multi_thread")]
async fn of_clients_whose_clocks_are_hours_off_none_decides_what_is_due_or_whose_lease_has_ended() {
    for hours in [5, -5] {
        let mut skewed = Skewed::new(hours).await;
        let (one, other) = (skewed.open().await, skewed.open().await);
        skewed.send(&one, "now", None).await;
        let first = skewed.receive(&one).await.deliveries.pop().unwrap();
        assert!(is_about(first.accepted_at, hours_from_now(hours)), "{} at {hours}", first.accepted_at);
        assert!(is_about(first.leased_until, hours_from_now(hours)), "{} at {hours}", first.leased_until);
        let asked = skewed.receive(&other).await;
        assert!(asked.deliveries.is_empty(), "it is held, whatever the other process thinks the time is");
        assert!(asked.next_in.unwrap() <= LEASE, "{:?}", asked.next_in);
        skewed.set(hours * HOUR + LEASE.as_secs().cast_signed()).await;
        let second = skewed.receive(&other).await.deliveries.pop().unwrap();
        assert_eq!((&*second.message.id, second.deliveries), ("now", 2), "its lease has ended");
        assert_eq!(ack(&one, &skewed.group, &first).await, Settled::Stale);
        assert_eq!(ack(&other, &skewed.group, &second).await, Settled::Applied);

        // An hour before and behind what the server says, which is four or six hours from what the clients say.
        skewed.send(&one, "past", Some(hours_from_now(hours - 1))).await;
        skewed.send(&one, "future", Some(hours_from_now(hours + 1))).await;
        let asked = skewed.receive(&other).await;
        let ids: Vec<&str> = asked.deliveries.iter().map(|delivery| &*delivery.message.id).collect();
        assert_eq!(ids, ["past"]);
        assert_eq!(ack(&other, &skewed.group, &asked.deliveries[0]).await, Settled::Applied);
        let wait = skewed.receive(&one).await.next_in.unwrap();
        assert!(wait <= Duration::from_secs(3_600) && wait > Duration::from_secs(3_600) - SLACK, "{wait:?}");
    }
}

/// The server's own clock is set back, and on again. Case Q12.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_is_set_back_gives_nobody_back_a_lease_that_has_ended() {
    let mut skewed = Skewed::new(0).await;
    let (one, other) = (skewed.open().await, skewed.open().await);
    skewed.send(&one, "a", None).await;
    let first = skewed.receive(&one).await.deliveries.pop().unwrap();
    skewed.set(LEASE.as_secs().cast_signed()).await;
    let second = skewed.receive(&other).await.deliveries.pop().unwrap();
    skewed.set(-3 * HOUR).await;
    assert_eq!(
        ack(&one, &skewed.group, &first).await,
        Settled::Stale,
        "its lease is over, whatever the clock says now"
    );
    // The second lease is good until the clock is where it was; nobody else is given the message.
    assert!(skewed.ids(&one).await.is_empty());
    assert_eq!(ack(&other, &skewed.group, &second).await, Settled::Applied);
    skewed.send(&one, "b", None).await;
    assert_eq!(skewed.ids(&other).await, ["b"], "what is accepted while the clock is back is delivered");
    skewed.set(3 * HOUR).await;
    assert_eq!(skewed.ids(&one).await, ["b"], "hours have passed at once");
}
