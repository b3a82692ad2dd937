//! A database that becomes another one under processes that go on: restored from a backup, moved to another server, crashed with what was not flushed. What a process knew and the database does not must be of no effect.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};
use txn_queue::{
    Action, Address, Delivery, Error, Group, GroupName, GroupSpec, Key, ManualClock, Message, MessageId, MessageType,
    Publish, Published, Queue as _, QueueAdmin as _, QueueLimits, Receive, Refusal, Settle, Settled, Source, Topic,
    TopicSpec, Topology, WorkerId,
    postgres::{Postgres, sqlx},
};

use crate::{own::Own, server};

const LEASE: Duration = Duration::from_secs(30);
const ACCEPTED: Published = Published::Accepted { copies: 1 };

/// A server, and how processes open the queue on it.
struct Subject<'o> {
    own: &'o Own,
    schema: String,
    clock: Arc<ManualClock>,
    group: Group,
    steps_max: u64,
}

impl<'o> Subject<'o> {
    fn new(own: &'o Own, steps_max: u64) -> Self {
        let clock = Arc::new(ManualClock::at("2030-01-01T00:00:00Z".parse().unwrap()));
        let group = Group::new(Topic::new("orders").unwrap(), GroupName::new("workers").unwrap());
        Self { own, schema: server::name("restored"), clock, group, steps_max }
    }

    async fn open(&self) -> Postgres {
        let limits = QueueLimits { steps_max: self.steps_max, ..QueueLimits::default() };
        let options = Postgres::options(&self.own.url())
            .unwrap()
            .schema(&self.schema)
            .limits(limits)
            .clock(Arc::clone(&self.clock) as _);
        again(async || options.clone().lanes(1).open().await).await
    }

    async fn declare(&self, queue: &Postgres) {
        let topology = Topology::default().topic(TopicSpec::new(self.group.topic().clone()));
        queue.declare(topology.group(GroupSpec::new(self.group.clone()))).await.unwrap();
    }

    fn message(&self, id: &str) -> Publish {
        let (source, kind) = (Source::new("/restored").unwrap(), MessageType::new("a").unwrap());
        let message =
            Message::new(MessageId::new(id).unwrap(), source, kind).data("text/plain", id.as_bytes().to_vec());
        let message = message.key(Key::new(format!("key-{id}")).unwrap());
        Publish::one(Address::Topic(self.group.topic().clone()), message)
    }

    async fn send(&self, queue: &Postgres, ids: &[&str]) {
        let published = again(async || queue.publish(ids.iter().map(|id| self.message(id)).collect()).await).await;
        assert!(published.iter().all(|published| *published == ACCEPTED), "{published:?}");
    }

    async fn receive(&self, queue: &Postgres, max: usize) -> Vec<Delivery> {
        let worker = WorkerId::new("w").unwrap();
        let receive = Receive { group: self.group.clone(), worker, max, lease: LEASE };
        let deliveries = again(async || queue.receive(receive.clone()).await).await.deliveries;
        for delivery in &deliveries {
            assert_eq!(&*delivery.message.data, delivery.message.id.as_bytes());
        }
        deliveries
    }

    async fn ids(&self, queue: &Postgres, max: usize) -> BTreeSet<String> {
        self.receive(queue, max).await.iter().map(|delivery| delivery.message.id.to_string()).collect()
    }

    async fn settle(&self, queue: &Postgres, delivery: &Delivery) -> Settled {
        let settle = vec![Settle { lease: delivery.lease, action: Action::Ack }];
        again(async || queue.settle(&self.group, settle.clone()).await).await[0]
    }

    /// The database is as it was when it was dumped, and those who are connected stay so.
    fn restore(&self, dump: &str) {
        self.own.script(&format!("DROP SCHEMA {} CASCADE", self.schema));
        self.own.script(dump);
    }

    /// In a transaction of the host's.
    async fn publish_as_host(&self, queue: &Postgres, ids: &[&str]) {
        let mut session = again(async || {
            let connected = PgConnection::connect(&self.own.url()).await;
            connected.map_err(|error| Error::new(txn_queue::ErrorKind::Unavailable, error.to_string()))
        })
        .await;
        let mut tx = session.begin().await.unwrap();
        let batch = ids.iter().map(|id| self.message(id)).collect();
        let published = queue.publish_in(&mut tx, batch).await.unwrap();
        assert!(published.iter().all(|published| *published == ACCEPTED), "{published:?}");
        tx.commit().await.unwrap();
        queue.committed();
    }
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Until it is answered: a process whose server was away for a moment is told so.
async fn again<T>(call: impl AsyncFn() -> Result<T, Error>) -> T {
    for _ in 0..2_400 {
        match call().await {
            Ok(value) => return value,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the server stays away");
}

/// A step's number comes a second time, with other doings: whoever has read the first must notice. Case Q30.
#[tokio::test]
async fn a_process_that_knows_more_than_a_restored_database_reads_it_anew() {
    let own = Own::start();
    for steps_max in [1, 3, 1_024] {
        for reused in 0..=6 {
            let subject = Subject::new(&own, steps_max);
            let (one, idle) = (subject.open().await, subject.open().await);
            subject.declare(&one).await;
            subject.send(&one, &["1", "2", "3"]).await;
            let first = subject.receive(&one, 2).await;
            assert_eq!(subject.settle(&one, &first[0]).await, Settled::Applied);
            let dump = own.dump(&subject.schema);
            // All this is lost, and two processes know of it.
            subject.send(&one, &["lost-1"]).await;
            assert_eq!(subject.settle(&one, &first[1]).await, Settled::Applied);
            subject.send(&one, &["lost-2"]).await;
            let lost = subject.receive(&one, 10).await;
            assert_eq!(lost.len(), 3);
            assert_eq!(subject.settle(&one, &lost[0]).await, Settled::Applied);
            let gone = Topic::new("gone").unwrap();
            one.declare(Topology::default().topic(TopicSpec::new(gone.clone()))).await.unwrap();
            assert!(subject.ids(&idle, 10).await.is_empty());
            // What a turn still has to delete behind its answer, a database that was restored meanwhile may need.
            subject.restore(&dump);
            // Another process is first, and takes some of the numbers, or all of them and more.
            let mut expected = set(&["3"]);
            if reused > 0 {
                let other = subject.open().await;
                for nth in 1..=reused {
                    let id = format!("new-{nth}");
                    subject.send(&other, &[&id]).await;
                    expected.insert(id);
                }
            }
            let what = format!("states saved after {steps_max} steps, {reused} numbers taken anew");
            let stats = idle.stats().await.unwrap();
            assert_eq!(one.stats().await.unwrap(), stats, "{what}");
            assert_eq!(subject.open().await.stats().await.unwrap(), stats, "{what}");
            let group = stats.topics[subject.group.topic()].groups[subject.group.name()];
            assert_eq!((group.depth, group.leased), (u64::try_from(expected.len()).unwrap() + 1, 1), "{what}");
            for lost in &lost {
                assert_ne!(subject.settle(&one, lost).await, Settled::Applied, "{what}");
            }
            let refused = one.publish(vec![Publish { to: Address::Topic(gone.clone()), ..subject.message("x") }]).await;
            assert_eq!(refused.unwrap(), [Published::Refused(Refusal::NoSuchTopic { topic: gone })], "{what}");
            // Its lease is one that the backup has.
            assert_eq!(subject.settle(&one, &first[1]).await, Settled::Applied, "{what}");
            assert_eq!(subject.ids(&one, 100).await, expected, "{what}");
            assert!(subject.ids(&idle, 100).await.is_empty(), "{what}");
            subject.clock.advance(LEASE);
            assert_eq!(subject.ids(&idle, 100).await, expected, "{what}");
        }
    }
}

/// The server moves: the new one begins to count transactions anew, and has the sequences or, as after logical replication, has not. Nothing is repeated, and nothing waits for the numbers that the old one had. Case Q30.
#[tokio::test]
async fn a_queue_that_has_moved_to_another_server_neither_stalls_nor_repeats() {
    for (has_sequences, has_late) in [(true, true), (false, true), (false, false)] {
        let mut own = Own::start();
        let subject = Subject::new(&own, 1_024);
        let (one, idle) = (subject.open().await, subject.open().await);
        subject.declare(&one).await;
        // The new server will not come so far for long.
        let burn = "DO $$ BEGIN FOR i IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
        own.script(burn);
        for nth in 0..10 {
            let id = format!("host-{nth}");
            subject.publish_as_host(&one, &[&id]).await;
        }
        subject.send(&one, &["plain"]).await;
        // Taken in and settled, taken in and held, and committed by a host and not taken in.
        for delivery in subject.receive(&one, 5).await {
            assert_eq!(subject.settle(&one, &delivery).await, Settled::Applied);
        }
        let held = subject.receive(&one, 2).await;
        assert!(subject.receive(&idle, 0).await.is_empty());
        if has_late {
            subject.publish_as_host(&idle, &["late"]).await;
        }
        let (schema, clock) = (subject.schema.clone(), Arc::clone(&subject.clock));
        let group = subject.group.clone();
        let dump = own.dump(&schema);
        let kept = dump.lines().filter(|line| has_sequences || !line.contains("pg_catalog.setval("));
        let dump = kept.collect::<Vec<_>>().join("\n");
        own.begin_anew();
        own.script(&dump);
        let subject = Subject { own: &own, schema, clock, group, steps_max: 1_024 };
        // Those who were there go on.
        let mut rest = set(&["host-7", "host-8", "host-9", "plain"]);
        rest.extend(has_late.then(|| "late".to_owned()));
        assert_eq!(subject.ids(&one, 100).await, rest, "sequences: {has_sequences}");
        assert_eq!(subject.settle(&one, &held[0]).await, Settled::Applied);
        subject.publish_as_host(&one, &["new-1"]).await;
        assert_eq!(subject.ids(&one, 100).await, set(&["new-1"]), "sequences: {has_sequences}");
        subject.publish_as_host(&idle, &["new-2"]).await;
        assert_eq!(subject.ids(&one, 100).await, set(&["new-2"]), "sequences: {has_sequences}");
        let fresh = subject.open().await;
        subject.publish_as_host(&fresh, &["new-3"]).await;
        assert_eq!(subject.ids(&idle, 100).await, set(&["new-3"]), "sequences: {has_sequences}");
        // A settlement of a host's, by whoever was there before.
        subject.clock.advance(LEASE);
        let all = subject.receive(&idle, 100).await;
        assert_eq!(all.len(), 1 + rest.len() + 3);
        let mut session = PgConnection::connect(&own.url()).await.unwrap();
        let mut tx = session.begin().await.unwrap();
        let settle = |delivery: &Delivery| Settle { lease: delivery.lease, action: Action::Ack };
        let settled = idle.settle_in(&mut tx, &subject.group, all.iter().map(settle).collect()).await.unwrap();
        assert!(settled.iter().all(|settled| *settled == Settled::Applied), "{settled:?}");
        tx.commit().await.unwrap();
        subject.clock.advance(LEASE);
        for queue in [&one, &idle, &fresh] {
            assert!(subject.ids(queue, 100).await.is_empty(), "sequences: {has_sequences}");
        }
    }
}

/// Who holds what is not flushed: a server that dies has forgotten it, and another process takes its step's number. Whoever was told of the lease has it no more.
#[tokio::test]
async fn a_lease_that_the_server_has_forgotten_is_nobodys_although_its_holder_remembers() {
    for other_is_first in [true, false] {
        let mut own = Own::start();
        // Nothing is written by itself for ten seconds.
        own.script("ALTER SYSTEM SET wal_writer_delay = '10s'; SELECT pg_reload_conf()");
        let subject = Subject::new(&own, 1_024);
        let (one, other) = (subject.open().await, subject.open().await);
        subject.declare(&one).await;
        subject.send(&one, &["1"]).await;
        let first = subject.receive(&one, 1).await.pop().unwrap();
        let (schema, clock, group) = (subject.schema.clone(), Arc::clone(&subject.clock), subject.group.clone());
        own.end("-QUIT");
        own.go_on();
        let subject = Subject { own: &own, schema, clock, group, steps_max: 1_024 };
        let (next, late) = if other_is_first { (&other, &one) } else { (&one, &other) };
        let second = subject.receive(next, 1).await.pop().unwrap();
        assert_eq!(second.deliveries, 1, "the server has forgotten the first time");
        assert_ne!(first.lease.token, second.lease.token);
        assert_eq!(subject.settle(&one, &first).await, Settled::Stale);
        assert!(subject.receive(late, 1).await.is_empty());
        assert_eq!(subject.settle(late, &second).await, Settled::Applied);
        subject.clock.advance(LEASE);
        assert!(subject.receive(next, 1).await.is_empty() && subject.receive(late, 1).await.is_empty());
    }
}
