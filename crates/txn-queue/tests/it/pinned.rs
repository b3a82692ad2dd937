//! A snapshot that somebody holds open, such as a report's or a backup's: nothing that is deleted meanwhile can be vacuumed, and no call may walk over it; and no row is updated, none fires a trigger.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection, Row as _};
use txn_queue::{
    Action, Address, DedupeId, Group, GroupName, GroupSpec, Message, MessageId, MessageType, Publish, Published,
    Queue as _, QueueAdmin as _, QueueLimits, Receive, ScheduleKey, Settle, Settled, Source, Topic, TopicSpec,
    Topology, WorkerId,
    postgres::{Postgres, sqlx},
};

use crate::server;

/// Messages that pass while the snapshot is held.
const PASSED: usize = 50_000;
const BATCH: usize = 1_000;
/// Messages that are published, received and settled one by one, to see what that costs.
const ONE_BY_ONE: usize = 128;

/// What the server went through for our tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Read {
    blocks: i64,
    entries: i64,
}

struct Subject {
    url: String,
    session: PgConnection,
    group: Group,
    /// Messages have dedupe ids and schedule keys.
    is_rich: bool,
    sent: usize,
}

impl Subject {
    /// A database of the test's own, since a snapshot holds back its own database only, and statistics are told by database.
    async fn new(is_rich: bool) -> Self {
        let name = server::name("pinned");
        let mut session = PgConnection::connect(&server::url()).await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut session).await.unwrap();
        let url = server::url();
        let url = format!("{}/{name}", url.rsplit_once('/').unwrap().0);
        let mut session = PgConnection::connect(&url).await.unwrap();
        let group = Group::new(Topic::new("passing").unwrap(), GroupName::new("workers").unwrap());
        let second = PgConnection::connect(&url).await.unwrap();
        let subject = Self { url, session: second, group, is_rich, sent: 0 };
        let queue = subject.open().await;
        // What was published is forgotten soon, and so it is deleted soon.
        let topic =
            TopicSpec { dedupe_window: Duration::from_millis(1), ..TopicSpec::new(subject.group.topic().clone()) };
        queue.declare(Topology::default().topic(topic).group(GroupSpec::new(subject.group.clone()))).await.unwrap();
        // What a vacuum reads is nothing that a call goes through.
        let alone = "DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'txn_queue' LOOP
                EXECUTE format('ALTER TABLE txn_queue.%I SET (autovacuum_enabled = off)', name);
            END LOOP; END $$";
        sqlx::raw_sql(alone).execute(&mut session).await.unwrap();
        Self { session, ..subject }
    }

    async fn open(&self) -> Postgres {
        // States are saved, and what is done is deleted, more often than usual: so the test can be short.
        let limits = QueueLimits { steps_max: 32, ..QueueLimits::default() };
        Postgres::options(&self.url).unwrap().limits(limits).lanes(1).open().await.unwrap()
    }

    /// So many messages at once are published, received and settled.
    async fn pass(&mut self, queue: &Postgres, count: usize) {
        let numbers = self.sent..self.sent + count;
        self.sent += count;
        let message = |number: usize| {
            let (source, kind) = (Source::new("/pinned").unwrap(), MessageType::new("pinned.passed").unwrap());
            let id = number.to_string();
            let message = Message::new(MessageId::new(&id).unwrap(), source, kind).data("text/plain", vec![7; 100]);
            let message = if self.is_rich {
                message.dedupe_id(DedupeId::new(&id).unwrap()).schedule_key(ScheduleKey::new(&id).unwrap())
            } else {
                message
            };
            Publish::one(Address::Topic(self.group.topic().clone()), message)
        };
        let published = queue.publish(numbers.map(message).collect()).await.unwrap();
        assert!(published.iter().all(|published| *published == Published::Accepted { copies: 1 }));
        let worker = WorkerId::new("w").unwrap();
        let receive = Receive { group: self.group.clone(), worker, max: count, lease: Duration::from_secs(60) };
        let deliveries = queue.receive(receive).await.unwrap().deliveries;
        assert_eq!(deliveries.len(), count);
        let ack = |delivery: txn_queue::Delivery| Settle { lease: delivery.lease, action: Action::Ack };
        let settled = queue.settle(&self.group, deliveries.into_iter().map(ack).collect()).await.unwrap();
        assert!(settled.iter().all(|settled| *settled == Settled::Applied));
    }

    /// What the server has gone through so far. A session tells it at the end of what it does, once a second, and a moment after it has answered.
    async fn read(&mut self, queue: &Postgres) -> Read {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        queue.stats().await.unwrap();
        let mut last = self.told().await;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let told = self.told().await;
            if told == last {
                return told;
            }
            last = told;
        }
    }

    async fn told(&mut self) -> Read {
        let asked = "SELECT (SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0)
                    + coalesce(toast_blks_read + toast_blks_hit + tidx_blks_read + tidx_blks_hit, 0))::bigint
                FROM pg_statio_all_tables WHERE schemaname = 'txn_queue'),
            (SELECT sum(idx_tup_read)::bigint FROM pg_stat_all_indexes WHERE schemaname = 'txn_queue')";
        let row = sqlx::query(asked).fetch_one(&mut self.session).await.unwrap();
        Read { blocks: row.get(0), entries: row.get(1) }
    }

    async fn size(&mut self) -> i64 {
        let asked = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'txn_queue' AND c.relkind = 'r'";
        sqlx::query_scalar(asked).fetch_one(&mut self.session).await.unwrap()
    }

    /// What a message costs that is published, received and settled by itself.
    async fn cost_of_one(&mut self, queue: &Postgres) -> Read {
        let before = self.read(queue).await;
        for _ in 0..ONE_BY_ONE {
            self.pass(queue, 1).await;
        }
        let after = self.read(queue).await;
        let each = i64::try_from(ONE_BY_ONE).unwrap();
        Read { blocks: (after.blocks - before.blocks) / each, entries: (after.entries - before.entries) / each }
    }
}

#[allow(clippy::print_stdout, reason = "what the test came to")]
async fn a_pinned_snapshot_costs_no_call_anything(is_rich: bool) {
    let mut subject = Subject::new(is_rich).await;
    // Its plans are made while there is nothing, and are kept.
    let queue = subject.open().await;
    let before = subject.cost_of_one(&queue).await;
    let mut pin = PgConnection::connect(&subject.url).await.unwrap();
    // It has read something, and is open until the end.
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM txn_queue.topology";
    sqlx::raw_sql(begin).execute(&mut pin).await.unwrap();
    let empty = subject.size().await;
    for _ in 0..PASSED / BATCH {
        subject.pass(&queue, BATCH).await;
        for _ in 0..6 {
            subject.pass(&queue, 1).await;
        }
    }
    let full = subject.size().await;
    let pinned = subject.cost_of_one(&queue).await;
    drop(queue);
    // Whoever opens the topic finds its plans and its way as well.
    let queue = subject.open().await;
    subject.cost_of_one(&queue).await;
    let reopened = subject.cost_of_one(&queue).await;
    println!(
        "a message costs {before:?}; when {PASSED} have passed under a snapshot, {pinned:?}, and {reopened:?} for another process; {} bytes each are kept",
        (full - empty) / i64::try_from(PASSED).unwrap()
    );
    let dead = "SELECT sum(n_dead_tup)::bigint FROM pg_stat_all_tables WHERE schemaname = 'txn_queue'";
    let dead: i64 = sqlx::query_scalar(dead).fetch_one(&mut subject.session).await.unwrap();
    assert!(dead > 1_000, "only {dead} rows are dead: nothing was pinned");
    let touched = "SELECT (SELECT sum(n_tup_upd)::bigint FROM pg_stat_all_tables WHERE schemaname = 'txn_queue'),
        (SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
            WHERE c.relnamespace = 'txn_queue'::regnamespace)";
    let touched = sqlx::query(touched).fetch_one(&mut subject.session).await.unwrap();
    assert_eq!((touched.get::<i64, _>(0), touched.get::<i64, _>(1)), (0, 0), "rows that were updated, and triggers");
    for (who, pinned) in [("whoever was there", pinned), ("whoever came later", reopened)] {
        assert!(pinned.entries <= 2 * before.entries + 4, "{who}: {before:?} before, {pinned:?} with the snapshot");
        // Trees have grown by a level.
        assert!(pinned.blocks <= 2 * before.blocks + 16, "{who}: {before:?} before, {pinned:?} with the snapshot");
    }
    sqlx::raw_sql("COMMIT").execute(&mut pin).await.unwrap();
}

/// Case Q51.
#[tokio::test]
async fn what_has_passed_under_a_pinned_snapshot_costs_no_call_anything() {
    a_pinned_snapshot_costs_no_call_anything(false).await;
}

/// Case Q51.
#[tokio::test]
async fn dedupe_ids_and_schedule_keys_that_have_passed_under_a_pinned_snapshot_cost_no_call_anything() {
    a_pinned_snapshot_costs_no_call_anything(true).await;
}
