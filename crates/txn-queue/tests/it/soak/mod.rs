//! A long run: publishers, workers that die, retries, dead letters that are sent back, and processes that come and go. Nothing is lost, nothing is done twice, and nothing grows.
//!
//! A slice of it runs with the other tests; `cargo xtask soak` makes it as many times as long as it is told, and then looks at memory, too.

mod book;

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    ops::AsyncFn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use book::{Book, Watched};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use txn_queue::{
    Address, DedupeId, Group, GroupName, GroupSpec, Key, Message, MessageId, MessageType, Publish, Published,
    QueueAdmin, QueueLimits, Redrive, Source, SystemClock, Topic, TopicSpec, Topology, Which,
    sqlite::Sqlite,
    worker::{Failure, Handlers, Job, RetryPolicy, Worker},
};

/// How long the slice takes.
const SLICE: Duration = Duration::from_secs(4);
/// How long may take what takes a moment on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a repetition is recognised.
const DEDUPE: Duration = Duration::from_secs(20);
/// Messages that are open, at most: publishers wait.
const OPEN_MAX: usize = 2_000;
const WORKERS: usize = 3;
const PUBLISHERS: u64 = 2;
const DELIVERIES_MAX: u32 = 4;
/// So much more than half as much again as in the first half may be there in the second.
const SLACK_KIB: u64 = 32 * 1024;

/// How many times as long as the slice; `None` for the slice itself.
fn factor() -> Option<u32> {
    std::env::var("TXN_SOAK").ok().map(|factor| factor.parse().expect("TXN_SOAK is a number"))
}

fn topic() -> Topic {
    Topic::new("soak").unwrap()
}

fn group() -> Group {
    Group::new(topic(), GroupName::new("workers").unwrap())
}

fn topology() -> Topology {
    let spec = TopicSpec { messages_max: 5_000, dedupe_window: DEDUPE, ..TopicSpec::new(topic()) };
    let deliveries_max = NonZeroU32::new(DELIVERIES_MAX).unwrap();
    Topology::default().topic(spec).group(GroupSpec { deliveries_max, ..GroupSpec::new(group()) })
}

/// What the processes of a run share. Handles come and go.
struct Run {
    book: Arc<Book>,
    queue: Mutex<Arc<dyn QueueAdmin>>,
    next: AtomicU64,
    is_over: AtomicBool,
}

impl Run {
    fn queue(&self) -> Arc<dyn QueueAdmin> {
        Arc::clone(&self.queue.lock().unwrap())
    }

    async fn publish(self: Arc<Self>) {
        while !self.is_over.load(Ordering::SeqCst) {
            if self.book.pages().open.len() >= OPEN_MAX {
                sleep(Duration::from_millis(5)).await;
                continue;
            }
            let mut ids: Vec<u64> = (0..16).map(|_| self.next.fetch_add(1, Ordering::SeqCst)).collect();
            self.book.pages().open.extend(ids.iter().map(|id| (*id, false)));
            let (last, since) = (ids[ids.len() - 1], Instant::now());
            // Until each is known to be there; one that is full, or of which nobody knows, is published again.
            while !ids.is_empty() {
                let batch = ids.iter().map(|id| message(*id)).collect();
                match self.queue().publish(batch).await {
                    Ok(results) => {
                        let is_there = |published: &Published| match published {
                            Published::Accepted { copies: 1 } | Published::Duplicate => true,
                            Published::Refused(refusal) if refusal.is_retryable() => false,
                            Published::Unknown => false,
                            other => panic!("{other:?}"),
                        };
                        let mut there = results.iter().map(is_there);
                        ids.retain(|_| !there.next().unwrap());
                    }
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
                if !ids.is_empty() {
                    sleep(Duration::from_millis(5)).await;
                }
            }
            // As somebody does who has lost the answer. One that took too long may be forgotten.
            let again = self.queue().publish(vec![message(last)]).await;
            if since.elapsed() < DEDUPE / 2 {
                let mut pages = self.book.pages();
                match again.as_deref() {
                    Ok([Published::Duplicate]) => pages.duplicates += 1,
                    Ok([Published::Accepted { .. }]) => pages.wrong.push(format!("{last} was accepted twice")),
                    _ => {}
                }
            }
        }
    }

    fn worker(&self) -> Working {
        let queue = Arc::new(Watched { queue: self.queue(), book: Arc::clone(&self.book) });
        let book = Arc::clone(&self.book);
        let handlers = Handlers::new().on(MessageType::new("soak").unwrap(), move |id: u64, job: Job| {
            let book = Arc::clone(&book);
            async move { handle(&book, id, &job).await }
        });
        let policy =
            RetryPolicy { base: Duration::from_millis(5), max: Duration::from_millis(50), ..RetryPolicy::default() };
        let worker = Worker::new(queue, group()).lease(Duration::from_secs(1)).retry(policy).concurrency(32);
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = worker.prefetch(32).drain(Duration::from_secs(5));
        Working {
            stop,
            run: tokio::spawn(async { worker.run(handlers, async { drop(stopped.await) }).await.unwrap().lost }),
        }
    }

    /// Sends dead letters back.
    async fn redrive(&self) {
        let redrive = Redrive { group: group(), max: 200, rate: None, which: Which::default() };
        if let Err(error) = self.queue().redrive(redrive).await {
            assert!(error.is_retryable(), "{error}");
        }
    }

    async fn is_empty(&self) -> bool {
        let letters = topology().groups[0].dead_letter_topic();
        let Ok(stats) = self.queue().stats().await else { return false };
        stats.topics[&topic()].groups[group().name()].depth == 0 && stats.topics[&letters].messages == 0
    }
}

struct Working {
    stop: oneshot::Sender<()>,
    run: JoinHandle<u64>,
}

fn message(id: u64) -> Publish {
    let text = id.to_string();
    let message =
        Message::new(MessageId::new(&text).unwrap(), Source::new("/soak").unwrap(), MessageType::new("soak").unwrap());
    let message =
        message.data("application/json", text.as_bytes().to_vec()).key(Key::new((id % 101).to_string()).unwrap());
    Publish::one(Address::Topic(topic()), message.dedupe_id(DedupeId::new(&text).unwrap()))
}

/// Most are done at once; some fail in each of the ways, once or until they are dead, and are done when they have been sent back.
async fn handle(book: &Book, id: u64, job: &Job) -> Result<(), Failure> {
    let once = || book.pages().failed.insert(id);
    match id % 60 {
        0 if job.deliveries() == 1 => std::panic::resume_unwind(Box::new("on purpose")),
        1 if job.deliveries() < 3 => Err(Failure::retry("twice")),
        2 if once() => Err(Failure::fatal("once")),
        3 if once() => Err(Failure::release()),
        4 => {
            sleep(Duration::from_millis(200)).await;
            Ok(())
        }
        5 if !book.pages().failed.contains(&id) => {
            if job.is_last() {
                once();
            }
            Err(Failure::retry("until it is dead"))
        }
        _ => Ok(()),
    }
}

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

type Sizes = BTreeMap<&'static str, u64>;

/// Runs, and checks. `tables` counts rows and bytes of the medium; `max` says what each may come to.
#[allow(clippy::print_stdout, reason = "a long run says what it came to")]
async fn soak(reopen: impl AsyncFn() -> Arc<dyn QueueAdmin>, tables: impl AsyncFn() -> Sizes, max: &Sizes) {
    let queue = reopen().await;
    queue.declare(topology()).await.unwrap();
    let run = Arc::new(Run { book: Arc::default(), queue: Mutex::new(queue), next: 0.into(), is_over: false.into() });
    let publishers: Vec<_> = (0..PUBLISHERS).map(|_| tokio::spawn(Arc::clone(&run).publish())).collect();
    let mut workers: Vec<Working> = (0..WORKERS).map(|_| run.worker()).collect();
    let (begun, whole) = (Instant::now(), SLICE * factor().unwrap_or(1));
    let (mut halves, mut crashes, mut round) = ([Sizes::new(), Sizes::new()], 0_u64, 0_usize);
    while begun.elapsed() < whole || crashes == 0 {
        sleep(Duration::from_millis(250)).await;
        round += 1;
        run.redrive().await;
        if round % 2 == 0 {
            // It dies: nobody drains it, and its messages come back when its leases end.
            workers[round / 2 % WORKERS].run.abort();
            workers[round / 2 % WORKERS] = run.worker();
            crashes += 1;
        }
        if round % 5 == 0 {
            let new = reopen().await;
            *run.queue.lock().unwrap() = new;
        }
        let mut sizes = tables().await;
        sizes.insert("memory, KiB", memory_kib());
        for (what, size) in &sizes {
            assert!(max.get(what).is_none_or(|max| size <= max), "{what}: {size}; {max:?} are allowed");
        }
        let half = &mut halves[usize::from(begun.elapsed() * 2 > whole)];
        sizes.into_iter().for_each(|(what, size)| {
            let worst = half.entry(what).or_default();
            *worst = size.max(*worst);
        });
    }
    run.is_over.store(true, Ordering::SeqCst);
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let emptied = timeout(PATIENCE, async {
        while !run.is_empty().await {
            run.redrive().await;
            sleep(Duration::from_millis(50)).await;
        }
    });
    let is_emptied = emptied.await.is_ok();
    let mut lost = 0;
    for worker in workers {
        drop(worker.stop);
        lost += worker.run.await.unwrap();
    }
    let pages = run.book.pages();
    assert!(pages.wrong.is_empty(), "{} wrongs: {:?}", pages.wrong.len(), pages.wrong.first());
    let left: Vec<&u64> = pages.open.iter().filter(|(_, may_be_done)| !**may_be_done).map(|(id, _)| id).collect();
    assert!(is_emptied && left.is_empty(), "{} messages are lost: {:?}", left.len(), left.first());
    let (sent, unsure) = (run.next.load(Ordering::SeqCst), pages.open.len() as u64);
    assert_eq!(pages.acked + unsure, sent);
    // Only what a worker had in its hands when it died is unsure.
    assert!(unsure <= crashes * 512, "{unsure} of {crashes} crashes");
    assert!(pages.acked > 0 && crashes > 0 && pages.duplicates > 0, "nothing was tested");
    println!("{sent} messages, {crashes} crashes, {unsure} unsure, {lost} leases lost at the end; {halves:?}");
    if factor().is_some() {
        let [first, second] = &halves;
        // Rows are bounded by what `max` says; they rise and fall with the window of repetitions and with what is tidied.
        for (what, size) in second.iter().filter(|(what, _)| what.contains("KiB")) {
            let before = first[what];
            assert!(*size <= before + before / 2 + SLACK_KIB, "{what} grew from {before} to {size}");
        }
    }
}

/// Rows that a topic may leave: those that are open and not yet tidied, the steps since it was saved, what is remembered of repetitions.
fn rows_max() -> Sizes {
    let limits = QueueLimits::default();
    [("pack", 100_000), ("step", limits.steps_max * 4), ("saved", 4), ("repeat", 2_000_000), ("schedule", 0)].into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_runs_on_and_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queue: Arc<dyn QueueAdmin> =
        Arc::new(Sqlite::with(&path, Arc::new(SystemClock), QueueLimits::default()).unwrap());
    let reopen = async || Arc::clone(&queue);
    let tables = async || {
        let reader = rusqlite::Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        reader.busy_timeout(PATIENCE).unwrap();
        let count = |table: &str| -> u64 {
            let found: i64 = reader.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
            found.cast_unsigned()
        };
        let mut sizes: Sizes =
            ["pack", "step", "saved", "repeat", "schedule"].into_iter().map(|t| (t, count(t))).collect();
        let bytes = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |file| file.len());
        sizes.insert("file, KiB", bytes(&path) / 1024);
        sizes.insert("log, KiB", bytes(&path.with_extension("db-wal")) / 1024);
        sizes
    };
    soak(reopen, tables, &rows_max()).await;
}

#[cfg(feature = "servers")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_runs_on_and_on() {
    use sqlx::{AssertSqlSafe, postgres::PgPoolOptions};
    use txn_queue::postgres::{Postgres, sqlx};

    use crate::server;

    let schema = server::name("soak");
    let reopen = async || {
        let options = Postgres::options(&server::url()).unwrap().schema(&schema);
        let queue: Arc<dyn QueueAdmin> = Arc::new(options.open().await.unwrap());
        queue
    };
    let pool = PgPoolOptions::new().max_connections(1).connect(&server::url()).await.unwrap();
    let ask = async |text: String| -> u64 {
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(&pool).await.unwrap();
        found.cast_unsigned()
    };
    let tables = async || {
        let mut sizes = Sizes::new();
        for table in ["pack", "step", "saved", "repeat", "schedule", "hosted", "refused"] {
            sizes.insert(table, ask(format!("SELECT count(*) FROM {schema}.{table}")).await);
        }
        let bytes = format!(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
            WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r'"
        );
        sizes.insert("tables, KiB", ask(bytes).await / 1024);
        sizes
    };
    soak(reopen, tables, &rows_max()).await;
}
