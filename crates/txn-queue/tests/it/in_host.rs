//! Messages published, and deliveries settled, in transactions of a host's.

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgPoolOptions};
use txn_queue::{
    Action, Address, Control, DedupeId, Delivery, ErrorKind, Group, GroupName, GroupSpec, ManualClock, Message,
    MessageId, MessageType, Publish, Published, Queue, QueueAdmin, Receive, Refusal, Settle, Settled, Source, Start,
    Topic, TopicSpec, Topology, Wait, WorkerId,
    postgres::{Postgres, sqlx},
};

use crate::server;

const LEASE: Duration = Duration::from_secs(30);

struct Subject {
    queue: Postgres,
    schema: String,
    clock: Arc<ManualClock>,
    pool: PgPool,
    group: Group,
}

impl Subject {
    async fn new(name: &str) -> Self {
        let schema = server::name(name);
        let clock = Arc::new(ManualClock::at("2030-01-01T00:00:00Z".parse().unwrap()));
        let options = Postgres::options(&server::url()).unwrap().schema(&schema).clock(clock.clone());
        let queue = options.open().await.unwrap();
        let topic = Topic::new("orders").unwrap();
        let group = Group::new(topic.clone(), GroupName::new("workers").unwrap());
        let topology = Topology::default().topic(TopicSpec::new(topic)).group(GroupSpec::new(group.clone()));
        queue.declare(topology).await.unwrap();
        let pool = PgPoolOptions::new().max_connections(4).connect(&server::url()).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE TABLE {schema}.effect (id text)")))
            .execute(&pool)
            .await
            .unwrap();
        Self { queue, schema, clock, pool, group }
    }

    async fn other(&self) -> Postgres {
        let options = Postgres::options(&server::url()).unwrap().schema(&self.schema).clock(self.clock.clone());
        options.open().await.unwrap()
    }

    fn message(&self, id: &str) -> Publish {
        let (to, message) = self.addressed(id);
        Publish::one(to, message)
    }

    fn addressed(&self, id: &str) -> (Address, Message) {
        let message =
            Message::new(MessageId::new(id).unwrap(), Source::new("/host").unwrap(), MessageType::new("a").unwrap());
        (Address::Topic(self.group.topic().clone()), message.data("text/plain", id.as_bytes().to_vec()))
    }

    async fn receive(&self, queue: &Postgres) -> Vec<Delivery> {
        let worker = WorkerId::new("w").unwrap();
        let receive = Receive { group: self.group.clone(), worker, max: 100, lease: LEASE };
        queue.receive(receive).await.unwrap().deliveries
    }

    async fn ids(&self, queue: &Postgres) -> Vec<String> {
        self.receive(queue).await.iter().map(|delivery| delivery.message.id.to_string()).collect()
    }

    async fn effect(&self, tx: &mut sqlx::PgConnection, id: &str) {
        let text = format!("INSERT INTO {}.effect VALUES ($1)", self.schema);
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(id.to_owned()).execute(tx).await.unwrap();
    }

    async fn effects(&self) -> i64 {
        let text = format!("SELECT count(*) FROM {}.effect", self.schema);
        sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&self.pool).await.unwrap()
    }
}

fn ack(delivery: &Delivery) -> Vec<Settle> {
    vec![Settle { lease: delivery.lease, action: Action::Ack }]
}

const ACCEPTED: Published = Published::Accepted { copies: 1 };

/// Case Q20.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_in_a_transaction_is_there_when_it_is_committed_and_never_otherwise() {
    let subject = Subject::new("host_publish").await;
    let mut gone = subject.pool.begin().await.unwrap();
    assert_eq!(subject.queue.publish_in(&mut gone, vec![subject.message("gone")]).await.unwrap(), [ACCEPTED]);
    let mut kept = subject.pool.begin().await.unwrap();
    subject.queue.publish_in(&mut kept, vec![subject.message("first")]).await.unwrap();
    sqlx::raw_sql("SAVEPOINT a").execute(&mut *kept).await.unwrap();
    subject.queue.publish_in(&mut kept, vec![subject.message("taken-back")]).await.unwrap();
    sqlx::raw_sql("ROLLBACK TO a").execute(&mut *kept).await.unwrap();
    subject.queue.publish_in(&mut kept, vec![subject.message("last")]).await.unwrap();
    assert!(subject.ids(&subject.queue).await.is_empty(), "before anything is committed");
    gone.rollback().await.unwrap();
    kept.commit().await.unwrap();
    assert_eq!(subject.ids(&subject.queue).await, ["first", "last"]);
}

/// A ticket that is lower than others is committed last. Case Q21.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_late_is_not_passed_over() {
    let subject = Subject::new("host_late").await;
    let other = subject.other().await;
    let mut late = subject.pool.begin().await.unwrap();
    subject.queue.publish_in(&mut late, vec![subject.message("late")]).await.unwrap();
    for round in 0..5 {
        let mut tx = subject.pool.begin().await.unwrap();
        subject.queue.publish_in(&mut tx, vec![subject.message(&format!("m{round}"))]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(subject.ids(&subject.queue).await, [format!("m{round}")], "while the first is open");
        assert!(subject.ids(&other).await.is_empty());
    }
    late.commit().await.unwrap();
    assert_eq!(subject.ids(&other).await, ["late"]);
    for _ in 0..3 {
        assert!(subject.ids(&subject.queue).await.is_empty());
        assert!(subject.ids(&other).await.is_empty());
    }
}

/// Nobody tells of a host's commit; whoever waits is woken all the same.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_finds_out_that_a_host_has_committed() {
    let subject = Subject::new("host_wakes").await;
    let other = subject.other().await;
    let worker = WorkerId::new("w").unwrap();
    let receive = Receive { group: subject.group.clone(), worker, max: 1, lease: LEASE };
    let seen = other.receive(receive).await.unwrap().seen;
    let wait = other.wait(Wait::Messages(subject.group.clone(), seen));
    let commit = async {
        let mut tx = subject.pool.begin().await.unwrap();
        subject.queue.publish_in(&mut tx, vec![subject.message("1")]).await.unwrap();
        tx.commit().await.unwrap();
    };
    let (waited, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(60), wait), commit);
    waited.expect("it is woken").unwrap();
    assert_eq!(subject.ids(&other).await, ["1"]);
}

/// Cases Q20, Q48.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_topic_does_not_refuse_what_a_host_commits_and_a_repetition_is_one() {
    let subject = Subject::new("host_full").await;
    let small = TopicSpec { messages_max: 1, ..TopicSpec::new(subject.group.topic().clone()) };
    subject.queue.declare(Topology::default().topic(small)).await.unwrap();
    let once = |id: &str| {
        let (to, message) = subject.addressed(id);
        let message = message.data("text/plain", b"same".to_vec()).dedupe_id(DedupeId::new("d").unwrap());
        Publish::one(to, message)
    };
    let other = {
        let Publish { to, messages } = once("3");
        Publish::one(to, Message::clone(&messages[0]).data("text/plain", b"other".to_vec()))
    };
    let mut tx = subject.pool.begin().await.unwrap();
    let nowhere = Publish { to: Address::Topic(Topic::new("nowhere").unwrap()), ..subject.message("x") };
    let batch = vec![once("1"), nowhere, once("2"), subject.message("4"), other];
    let published = subject.queue.publish_in(&mut tx, batch).await.unwrap();
    let refusal = Refusal::NoSuchTopic { topic: Topic::new("nowhere").unwrap() };
    assert_eq!(published, [ACCEPTED, Published::Refused(refusal), ACCEPTED, ACCEPTED, ACCEPTED]);
    tx.commit().await.unwrap();
    assert_eq!(subject.ids(&subject.queue).await, ["1", "4"]);
    let refused = subject.queue.refused(0, 10).await.unwrap();
    assert_eq!(&*refused[0].reason, "another message was published under the dedupe id d");
    assert_eq!((refused.len(), &*refused[0].message.data), (1, &b"other"[..]));
    let full = Published::Refused(Refusal::Full { topic: subject.group.topic().clone(), max: 1 });
    assert_eq!(subject.queue.publish(vec![subject.message("5")]).await.unwrap(), [full]);
}

/// What could not be taken is read page by page, as it came, and stays until it is forgotten.
///
/// Case Q24.
#[tokio::test]
async fn what_was_refused_is_read_and_forgotten() {
    let listener = crate::worker::observe::Listener::default();
    let hearing = metrics::set_default_local_recorder(&listener);
    let subject = Subject::new("host_refused").await;
    assert!(subject.queue.refused(0, 10).await.unwrap().is_empty());
    let under = |dedupe: &str, id: &str| {
        let (to, message) = subject.addressed(id);
        let message = message.dedupe_id(DedupeId::new(dedupe).unwrap());
        Publish::one(to, message)
    };
    for dedupe in ["a", "b", "c"] {
        let mut tx = subject.pool.begin().await.unwrap();
        let batch = vec![under(dedupe, &format!("{dedupe}1")), under(dedupe, &format!("{dedupe}2"))];
        subject.queue.publish_in(&mut tx, batch).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(subject.ids(&subject.queue).await, ["a1", "b1", "c1"]);
    let ids = async |after, max| -> Vec<String> {
        let refused = subject.queue.refused(after, max).await.unwrap();
        refused.iter().map(|refused| refused.message.id.to_string()).collect()
    };
    let page = subject.queue.refused(0, 2).await.unwrap();
    assert_eq!(page.iter().map(|refused| &*refused.message.id).collect::<Vec<_>>(), ["a2", "b2"]);
    assert_eq!((&page[0].topic, &page[0].message), (subject.group.topic(), &under("a", "a2").messages[0]));
    assert!(page[0].at > "2026-01-01T00:00:00Z".parse().unwrap(), "{}", page[0].at);
    assert_eq!(ids(page[1].id, 2).await, ["c2"]);
    assert!(ids(u64::MAX, 2).await.is_empty());
    // Numbers that nothing has are not there, and forgetting again changes nothing.
    assert_eq!(subject.queue.forget_refused(&[page[0].id, 1_000, u64::MAX]).await.unwrap(), 1);
    assert_eq!(subject.queue.forget_refused(&[page[0].id]).await.unwrap(), 0);
    assert_eq!(ids(0, 1_000).await, ["b2", "c2"]);
    for max in [0, 1_001] {
        let error = subject.queue.refused(0, max).await.unwrap_err();
        let expected = format!("invalid request: {max} refused messages in a call; 1 to 1000 are allowed");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, expected));
    }
    assert_eq!(subject.queue.forget_refused(&[]).await.unwrap_err().kind(), ErrorKind::Invalid);
    drop(hearing);
    assert_eq!(listener.all("txn_queue_published_total", &["backend = postgres", "pending"]), (3, 6.0));
    assert_eq!(listener.all("txn_queue_received_total", &["backend = postgres", "first"]).1, 3.0);
    assert_eq!(listener.all("txn_queue_call_seconds", &["publish_in", "done"]).0, 3);
}

#[tokio::test]
async fn outside_of_a_transaction_nothing_is_done() {
    let subject = Subject::new("host_none").await;
    let mut session = subject.pool.acquire().await.unwrap();
    let error = subject.queue.publish_in(&mut session, vec![subject.message("1")]).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Invalid, "invalid request: no transaction is begun".into())
    );
    assert_eq!(
        subject.queue.settle_in(&mut session, &subject.group, Vec::new()).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert!(subject.ids(&subject.queue).await.is_empty());
}

/// Case Q34.
#[tokio::test(flavor = "multi_thread")]
async fn an_effect_and_its_settlement_are_one() {
    let subject = Subject::new("host_settle").await;
    subject.queue.publish(vec![subject.message("1"), subject.message("2")]).await.unwrap();
    let deliveries = subject.receive(&subject.queue).await;
    let mut gone = subject.pool.begin().await.unwrap();
    subject.effect(&mut gone, "1").await;
    assert_eq!(
        subject.queue.settle_in(&mut gone, &subject.group, ack(&deliveries[0])).await.unwrap(),
        [Settled::Applied]
    );
    gone.rollback().await.unwrap();
    let mut kept = subject.pool.begin().await.unwrap();
    subject.effect(&mut kept, "2").await;
    assert_eq!(
        subject.queue.settle_in(&mut kept, &subject.group, ack(&deliveries[1])).await.unwrap(),
        [Settled::Applied]
    );
    kept.commit().await.unwrap();
    subject.clock.advance(LEASE);
    assert_eq!(subject.ids(&subject.queue).await, ["1"], "the effect of the other is committed");
    assert_eq!(subject.effects().await, 1);
}

/// The lease runs out while the host's transaction is open, in this process or another: nobody is given the message. Cases Q2, Q33.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_being_settled_is_given_to_nobody_else() {
    let subject = Subject::new("host_open").await;
    let other = subject.other().await;
    for commits in [true, false] {
        subject.queue.publish(vec![subject.message("1")]).await.unwrap();
        let delivery = subject.receive(&subject.queue).await.pop().unwrap();
        let mut tx = subject.pool.begin().await.unwrap();
        subject.effect(&mut tx, "1").await;
        assert_eq!(subject.queue.settle_in(&mut tx, &subject.group, ack(&delivery)).await.unwrap(), [Settled::Applied]);
        for _ in 0..3 {
            subject.clock.advance(LEASE);
            assert!(subject.ids(&other).await.is_empty(), "while it is open");
            assert!(subject.ids(&subject.queue).await.is_empty(), "while it is open");
        }
        let rescue = txn_queue::Control::Rescue(WorkerId::new("w").unwrap());
        assert_eq!(other.control(rescue).await.unwrap_err().kind(), ErrorKind::Unavailable);
        if commits {
            tx.commit().await.unwrap();
            subject.clock.advance(LEASE);
            assert!(subject.ids(&other).await.is_empty(), "when it is committed");
        } else {
            tx.rollback().await.unwrap();
            subject.clock.advance(LEASE);
            assert_eq!(subject.ids(&other).await, ["1"], "when it is rolled back");
        }
    }
    assert_eq!(subject.effects().await, 1);
}

/// Whoever comes too late is told so before the effect is committed. Cases Q2, Q4.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_ended_settles_nothing_in_a_transaction() {
    let subject = Subject::new("host_stale").await;
    let other = subject.other().await;
    subject.queue.publish(vec![subject.message("1")]).await.unwrap();
    let first = subject.receive(&subject.queue).await.pop().unwrap();
    subject.clock.advance(LEASE);
    let mut tx = subject.pool.begin().await.unwrap();
    assert_eq!(
        subject.queue.settle_in(&mut tx, &subject.group, ack(&first)).await.unwrap(),
        [Settled::Stale],
        "when its time is over"
    );
    let second = subject.receive(&other).await.pop().unwrap();
    assert_eq!(
        subject.queue.settle_in(&mut tx, &subject.group, ack(&first)).await.unwrap(),
        [Settled::Stale],
        "when another has it"
    );
    assert_eq!(subject.queue.settle_in(&mut tx, &subject.group, ack(&second)).await.unwrap(), [Settled::Applied]);
    let mut twice = subject.pool.begin().await.unwrap();
    assert_eq!(
        subject.queue.settle_in(&mut twice, &subject.group, ack(&second)).await.unwrap(),
        [Settled::Stale],
        "while another does"
    );
    twice.rollback().await.unwrap();
    tx.commit().await.unwrap();
    subject.clock.advance(LEASE);
    assert!(subject.ids(&subject.queue).await.is_empty());
    let mut again = subject.pool.begin().await.unwrap();
    assert_eq!(
        subject.queue.settle_in(&mut again, &subject.group, ack(&second)).await.unwrap(),
        [Settled::Gone],
        "when it is done"
    );
    again.rollback().await.unwrap();
}

/// The answer to the host's COMMIT is lost, and the host does the whole transaction again under the same lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_was_settled_in_a_committed_transaction_is_not_settled_in_another() {
    let subject = Subject::new("host_again").await;
    subject.queue.publish(vec![subject.message("1")]).await.unwrap();
    let delivery = subject.receive(&subject.queue).await.pop().unwrap();
    for expected in [Settled::Applied, Settled::Gone, Settled::Gone] {
        let mut tx = subject.pool.begin().await.unwrap();
        assert_eq!(subject.queue.settle_in(&mut tx, &subject.group, ack(&delivery)).await.unwrap(), [expected]);
        tx.commit().await.unwrap();
    }
}

/// A group of people who read the dead letters.
async fn people(subject: &Subject) -> Group {
    let letters = GroupSpec::new(subject.group.clone()).dead_letter_topic();
    let people = Group::new(letters, GroupName::new("people").unwrap());
    subject.queue.declare(Topology::default().group(GroupSpec::new(people.clone()))).await.unwrap();
    people
}

async fn die(subject: &Subject, id: &str) {
    subject.queue.publish(vec![subject.message(id)]).await.unwrap();
    let delivery = subject.receive(&subject.queue).await.pop().unwrap();
    let dead = Settle { lease: delivery.lease, action: Action::Dead { reason: "no".into() } };
    assert_eq!(subject.queue.settle(&subject.group, vec![dead]).await.unwrap(), [Settled::Applied]);
}

async fn letters(subject: &Subject, people: &Group) -> Vec<Delivery> {
    let worker = WorkerId::new("p").unwrap();
    let receive = Receive { group: people.clone(), worker, max: 1_000, lease: LEASE };
    subject.queue.receive(receive).await.unwrap().deliveries
}

/// Turns that only add dead letters to a topic do not look at what hosts brought for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_brought_for_dead_letters_is_not_passed_over() {
    let subject = Subject::new("host_letters").await;
    let people = people(&subject).await;
    let mut tx = subject.pool.begin().await.unwrap();
    let publish = Publish { to: Address::Topic(people.topic().clone()), ..subject.message("of-a-host") };
    assert_eq!(subject.queue.publish_in(&mut tx, vec![publish]).await.unwrap(), [ACCEPTED]);
    tx.commit().await.unwrap();
    for round in 0..30 {
        die(&subject, &format!("m{round}")).await;
    }
    let found: Vec<String> =
        letters(&subject, &people).await.iter().map(|delivery| delivery.message.id.to_string()).collect();
    assert_eq!(found.len(), 31);
    assert!(found.contains(&"of-a-host".to_owned()), "{found:?}");
}

/// A letter whose settlement is committed, or is about to be, is not sent back to where it died.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_a_host_settles_is_not_sent_back() {
    let subject = Subject::new("host_redrive").await;
    let people = people(&subject).await;
    let redrive =
        txn_queue::Redrive { group: subject.group.clone(), max: 10, rate: None, which: txn_queue::Which::default() };
    for is_open in [false, true] {
        die(&subject, "1").await;
        let letter = letters(&subject, &people).await.pop().unwrap();
        let mut tx = subject.pool.begin().await.unwrap();
        subject.effect(&mut tx, "1").await;
        assert_eq!(subject.queue.settle_in(&mut tx, &people, ack(&letter)).await.unwrap(), [Settled::Applied]);
        let redriven = if is_open {
            let redriven = subject.queue.redrive(redrive.clone()).await.unwrap();
            tx.commit().await.unwrap();
            redriven
        } else {
            tx.commit().await.unwrap();
            subject.queue.redrive(redrive.clone()).await.unwrap()
        };
        assert_eq!(redriven.moved, 0, "its effect is committed");
        assert!(subject.receive(&subject.queue).await.is_empty());
    }
}

/// More leases end at once than a server has room for locks, where hosts settle, too. Case Q2.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_leases_as_a_group_may_have_end_at_once() {
    let subject = Subject::new("host_many").await;
    subject.queue.publish(vec![subject.message("settled")]).await.unwrap();
    let delivery = subject.receive(&subject.queue).await.pop().unwrap();
    let mut tx = subject.pool.begin().await.unwrap();
    assert_eq!(subject.queue.settle_in(&mut tx, &subject.group, ack(&delivery)).await.unwrap(), [Settled::Applied]);
    tx.commit().await.unwrap();
    let batch = vec![subject.message("1"); 4_096];
    let worker = WorkerId::new("w").unwrap();
    let receive = Receive { group: subject.group.clone(), worker, max: batch.len(), lease: LEASE };
    for _ in 0..10 {
        subject.queue.publish(batch.clone()).await.unwrap();
        assert_eq!(subject.queue.receive(receive.clone()).await.unwrap().deliveries.len(), batch.len());
    }
    subject.clock.advance(LEASE);
    assert_eq!(subject.queue.receive(receive).await.unwrap().deliveries.len(), batch.len());
}

/// Letters are added by turns of another topic, which take in nothing that hosts have done for the letters: it must not be passed over then. Case Q34.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_a_host_has_settled_stays_settled_while_letters_are_added() {
    let subject = Subject::new("host_letters").await;
    let letters = GroupSpec::new(subject.group.clone()).dead_letter_topic();
    let people = Group::new(letters, GroupName::new("people").unwrap());
    subject.queue.declare(Topology::default().group(GroupSpec::new(people.clone()))).await.unwrap();
    let bury = async |id: &str| {
        subject.queue.publish(vec![subject.message(id)]).await.unwrap();
        let lease = subject.receive(&subject.queue).await.pop().unwrap().lease;
        let dead = Action::Dead { reason: "no".into() };
        subject.queue.settle(&subject.group, vec![Settle { lease, action: dead }]).await.unwrap();
    };
    let read = async || {
        let worker = WorkerId::new("p").unwrap();
        let receive = Receive { group: people.clone(), worker, max: 1, lease: LEASE };
        subject.queue.receive(receive).await.unwrap().deliveries
    };
    bury("1").await;
    // Hosts have been here, and all they did has been taken in.
    let mut tx = subject.pool.begin().await.unwrap();
    let letter = read().await.pop().unwrap();
    subject.queue.settle_in(&mut tx, &subject.group, Vec::new()).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..4 {
        assert!(read().await.is_empty());
    }
    let mut tx = subject.pool.begin().await.unwrap();
    subject.effect(&mut tx, "1").await;
    assert_eq!(subject.queue.settle_in(&mut tx, &people, ack(&letter)).await.unwrap(), [Settled::Applied]);
    tx.commit().await.unwrap();
    for nth in 2..22 {
        bury(&nth.to_string()).await;
    }
    subject.clock.advance(LEASE);
    let next = read().await.pop().unwrap();
    assert_eq!((&*next.message.id, next.deliveries), ("2", 1), "the first was settled with its effect");
}

/// The right to settle a delivery is used up by using it: in one batch, in one transaction, and again when a savepoint has taken it back. Case Q5.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_settles_once_in_a_transaction() {
    let subject = Subject::new("host_once").await;
    subject.queue.publish(vec![subject.message("1"), subject.message("2")]).await.unwrap();
    let deliveries = subject.receive(&subject.queue).await;
    let [first, second] = [0, 1].map(|nth| ack(&deliveries[nth]).remove(0));
    let mut tx = subject.pool.begin().await.unwrap();
    let batch = vec![first.clone(), second.clone(), first.clone()];
    let settled = subject.queue.settle_in(&mut tx, &subject.group, batch).await.unwrap();
    assert_eq!(settled, [Settled::Applied, Settled::Applied, Settled::Gone]);
    assert_eq!(subject.queue.settle_in(&mut tx, &subject.group, vec![second.clone()]).await.unwrap(), [Settled::Gone]);
    tx.rollback().await.unwrap();
    let mut tx = subject.pool.begin().await.unwrap();
    let mut inner = sqlx::Connection::begin(&mut *tx).await.unwrap();
    assert_eq!(
        subject.queue.settle_in(&mut inner, &subject.group, vec![second.clone()]).await.unwrap(),
        [Settled::Applied]
    );
    inner.rollback().await.unwrap();
    assert_eq!(
        subject.queue.settle_in(&mut tx, &subject.group, vec![second, first]).await.unwrap(),
        [Settled::Applied; 2]
    );
    tx.commit().await.unwrap();
}

/// Going back in a topic ends leases: not those that a host is settling.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_not_moved_while_a_host_settles_what_it_holds() {
    let subject = Subject::new("host_seek").await;
    subject.queue.publish(vec![subject.message("1"), subject.message("2")]).await.unwrap();
    let delivery = subject.receive(&subject.queue).await.remove(0);
    let mut tx = subject.pool.begin().await.unwrap();
    assert_eq!(subject.queue.settle_in(&mut tx, &subject.group, ack(&delivery)).await.unwrap(), [Settled::Applied]);
    let seek = || subject.queue.control(Control::Seek(subject.group.clone(), Start::End));
    assert_eq!(seek().await.unwrap_err().kind(), ErrorKind::Unavailable);
    tx.commit().await.unwrap();
    seek().await.unwrap();
    assert!(subject.receive(&subject.queue).await.is_empty());
}
