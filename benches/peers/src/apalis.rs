//! [apalis-postgres](https://docs.rs/apalis-postgres/1.0.0): tasks in a table, workers that fetch them in batches.
//!
//! As its documentation has it: a [`PostgresStorage`] with a [`Config`] of its own queue, tasks pushed in batches with [`push_tasks`], one worker per name. At the best settings we found: `batch_size` is
//! the batch that is measured; tasks are not locked a second time when they begin (`lock_tasks(false)`; the fetch has written whose they are), which saves it an update of every row; handlers do nothing and run
//! inline, which is faster than to spawn each; a worker that finds nothing looks again after [`POLL`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use apalis::prelude::*;
use apalis_postgres::{Config, PgTask, PostgresStorage, queries::push_tasks};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::sync::watch;

use crate::Flow;

const QUEUE: &str = "orders";

/// How soon an idle worker looks again.
const POLL: Duration = Duration::from_millis(5);

/// Who has not acknowledged everything by then has lost some of it.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a message says: a CloudEvent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Event {
    id: String,
    source: String,
    r#type: String,
    data: serde_json::Value,
}

/// All that can be done before the time runs.
pub(crate) struct Ready {
    pool: PgPool,
    flow: Flow,
    batches: Vec<Vec<PgTask>>,
}

impl Ready {
    /// Creates its tables in a fresh database, opens its connections, and makes all tasks.
    pub(crate) async fn new(flow: &Flow) -> Result<Self, String> {
        let connections = u32::try_from(flow.workers + flow.publishers + 2).map_err(|error| error.to_string())?;
        let pool = PgPoolOptions::new()
            .min_connections(connections)
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .connect(&flow.url)
            .await
            .map_err(|error| error.to_string())?;
        PostgresStorage::setup(&pool).await.map_err(|error| error.to_string())?;
        let warm: Vec<_> = several(connections, || pool.acquire()).await?;
        drop(warm);
        let task = || TaskBuilder::new(flow.payload.clone().into_bytes()).build();
        let batches = (0..flow.batches).map(|_| (0..flow.batch).map(|_| task()).collect()).collect();
        Ok(Self { pool, flow: flow.clone(), batches })
    }

    /// Publishes and works until everything is acknowledged; gives the time, and how many the table says are done.
    pub(crate) async fn go(self) -> Result<(Duration, u64), String> {
        let Self { pool, flow, batches } = self;
        let count = batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
        let (end, ended) = watch::channel(false);
        let handled = Handled { left: Arc::new(AtomicU64::new(count)), end: Arc::new(end) };
        let began = Instant::now();
        let workers: Vec<_> = (0..flow.workers)
            .map(|number| tokio::spawn(work(pool.clone(), number, flow.batch, handled.clone(), ended.clone())))
            .collect();
        let publishers: Vec<_> = deal(batches, flow.publishers)
            .into_iter()
            .map(|share| tokio::spawn(publish(pool.clone(), share)))
            .collect();
        let all = async {
            for task in publishers.into_iter().chain(workers) {
                task.await.map_err(|error| error.to_string())??;
            }
            Ok::<_, String>(began.elapsed())
        };
        let time = tokio::time::timeout(PATIENCE, all).await;
        let time = time.map_err(|_| format!("not everything was acknowledged within {PATIENCE:?}"))??;
        let done = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM apalis.jobs WHERE status = 'Done'");
        let done = done.fetch_one(&pool).await.map_err(|error| error.to_string())?;
        Ok((time, u64::try_from(done).map_err(|error| error.to_string())?))
    }
}

/// How many messages have not been handled, and how the workers learn that none is left.
#[derive(Debug, Clone)]
struct Handled {
    left: Arc<AtomicU64>,
    end: Arc<watch::Sender<bool>>,
}

async fn handle(event: Event, handled: Data<Handled>) -> Result<(), BoxDynError> {
    drop(event);
    if handled.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        handled.end.send_replace(true);
    }
    Ok(())
}

/// A worker; when it is told to stop it acknowledges what it has handled, and ends.
async fn work(
    pool: PgPool,
    number: usize,
    batch: usize,
    handled: Handled,
    mut ended: watch::Receiver<bool>,
) -> Result<(), String> {
    let config = Config::default().queue(QUEUE).batch_size(batch).lock_tasks(false);
    let backend = PostgresStorage::<Event>::new(&pool).with_config(config).poll_with_interval(POLL);
    let worker = WorkerBuilder::new(format!("worker-{number}")).backend(backend).data(handled).build(handle);
    let end = async move {
        let _ = ended.wait_for(|ended| *ended).await;
        Ok::<(), WorkerError>(())
    };
    worker.run_until(end).await.map_err(|error| error.to_string())
}

async fn publish(pool: PgPool, batches: Vec<Vec<PgTask>>) -> Result<(), String> {
    let mut connection = pool.acquire().await.map_err(|error| error.to_string())?;
    for batch in batches {
        push_tasks(&mut *connection, QUEUE, batch).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn deal<T>(items: Vec<T>, shares: usize) -> Vec<Vec<T>> {
    let mut dealt: Vec<Vec<T>> = (0..shares).map(|_| Vec::new()).collect();
    for (index, item) in items.into_iter().enumerate() {
        dealt[index % shares].push(item);
    }
    dealt
}

/// So many, one after the other, all held at the end.
async fn several<T, F: Future<Output = sqlx::Result<T>>>(
    count: u32,
    mut make: impl FnMut() -> F,
) -> Result<Vec<T>, String> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(make().await.map_err(|error| error.to_string())?);
    }
    Ok(all)
}
