//! The life of a process that may end at any moment.

use std::{future::pending, io::Read as _, io::Write as _, sync::Arc};

use sqlx::{PgPool, postgres::PgPoolOptions};
use txn_queue::{
    Action, Address, DedupeId, Key, Message, MessageId, MessageType, Publish, Published, Queue as _, Settle, Settled,
    Source,
    worker::{Class, Done, Failure, Handlers, Job, Worker},
};

use super::*;

pub(super) const KEYS: u64 = 7;
const LEASE: Duration = Duration::from_millis(600);
const MOMENT: Duration = Duration::from_millis(5);

pub(super) fn live(value: &str) {
    // When nobody kills it any more, it ends by itself.
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(3);
    });
    let [place, url, folder]: [&str; 3] = value.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
    let place: usize = place.parse().unwrap();
    Runtime::new().unwrap().block_on(async {
        let queue = loop {
            match Postgres::options(url).unwrap().lanes(1).open().await {
                Ok(queue) => break Arc::new(queue),
                // The server may be away.
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
            tokio::time::sleep(MOMENT).await;
        };
        match ROLES[place] {
            Role::Publisher => publish(&queue, Path::new(folder), place).await,
            role => work(queue, url, role).await,
        }
    });
}

fn message(place: usize, number: u64) -> Publish {
    let id = format!("{place}-{number}");
    let (source, kind) = (Source::new("/mortals").unwrap(), MessageType::new("mortals.spoke").unwrap());
    let message = Message::new(MessageId::new(&id).unwrap(), source, kind)
        .data("application/json", format!("{id:?}").into_bytes());
    let message = message.key(Key::new(format!("{place}/{}", number % KEYS)).unwrap());
    let message = message.dedupe_id(DedupeId::new(&id).unwrap());
    Publish::one(Address::Topic(group(Role::Inbox).topic().clone()), message)
}

/// Publishes what the one before it was not told of, and goes on from there.
async fn publish(queue: &Postgres, folder: &Path, place: usize) {
    let path = notes(folder, place);
    let before = fs::read_to_string(&path).unwrap_or_default();
    let noted = |verb: &str| -> BTreeSet<u64> {
        let lines = before.lines().filter_map(|line| line.strip_prefix(verb));
        lines.flat_map(|line| line.split_ascii_whitespace().map(|number| number.parse::<u64>().unwrap())).collect()
    };
    let (asked, told) = (noted("asked"), noted("told"));
    let mut next = asked.last().map_or(0, |last| last + 1);
    let mut batch: Vec<u64> = asked.difference(&told).copied().collect();
    let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let mut note = |verb: &str, numbers: &[u64]| {
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        file.write_all(format!("{verb} {}\n", numbers.join(" ")).as_bytes()).unwrap();
    };
    loop {
        while !batch.is_empty() {
            let published = queue.publish(batch.iter().map(|number| message(place, *number)).collect()).await;
            let Ok(published) = published else {
                tokio::time::sleep(MOMENT).await;
                continue;
            };
            let is_there =
                |published: &Published| matches!(published, Published::Accepted { copies: 1 } | Published::Duplicate);
            let told = batch.iter().zip(&published).filter(|(_, published)| is_there(published));
            let told: Vec<u64> = told.map(|(number, _)| *number).collect();
            note("told", &told);
            batch.retain(|number| !told.contains(number));
            if !batch.is_empty() {
                // It is full, or nobody knows.
                tokio::time::sleep(MOMENT).await;
            }
        }
        if folder.join("stop").exists() {
            return;
        }
        batch = (next..next + 4).collect();
        next += 4;
        note("asked", &batch);
    }
}

async fn work(queue: Arc<Postgres>, url: &str, role: Role) {
    let pool = PgPoolOptions::new().max_connections(3).acquire_timeout(LEASE).connect_lazy(url).unwrap();
    let handling = Arc::clone(&queue);
    let handlers = Handlers::new().on(MessageType::new("mortals.spoke").unwrap(), move |id: String, job: Job| {
        let (pool, queue) = (pool.clone(), Arc::clone(&handling));
        async move {
            match role {
                Role::Settling => settle_with_effect(&pool, &queue, &id, &job).await,
                _ => apply(&pool, &id, &job).await,
            }
        }
    });
    let worker = Worker::new(queue, group(role)).concurrency(8).prefetch(4).lease(LEASE);
    worker.run(handlers, pending()).await.unwrap();
}

/// Nothing was done.
fn again(error: impl std::fmt::Display) -> Failure {
    Failure::new(Class::Release, error.to_string())
}

/// The effect, and the settlement with it.
async fn settle_with_effect(pool: &PgPool, queue: &Postgres, id: &str, job: &Job) -> Result<Done, Failure> {
    let mut tx = pool.begin().await.map_err(again)?;
    let effect = sqlx::query("INSERT INTO effect (reader, id, deliveries) VALUES ('settling', $1, $2)");
    let deliveries = i32::try_from(job.deliveries()).unwrap();
    effect.bind(id).bind(deliveries).execute(&mut *tx).await.map_err(again)?;
    let settle = vec![Settle { lease: job.lease(), action: Action::Ack }];
    if queue.settle_in(&mut tx, job.group(), settle).await.map_err(again)? == [Settled::Applied] {
        // When the answer is lost, nobody knows, and whoever has it next finds out.
        if tx.commit().await.is_ok() {
            queue.committed();
        }
    }
    Ok(Done::Settled)
}

/// The effect, and that the message has had it.
async fn apply(pool: &PgPool, id: &str, job: &Job) -> Result<Done, Failure> {
    let text = "WITH new AS (INSERT INTO inbox (id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id)
        INSERT INTO effect (reader, id, deliveries) SELECT 'inbox', id, $2 FROM new";
    let deliveries = i32::try_from(job.deliveries()).unwrap();
    sqlx::query(text).bind(id).bind(deliveries).execute(pool).await.map_err(again)?;
    Ok(Done::Ack)
}
