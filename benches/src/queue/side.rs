//! What is compared: something that takes messages in batches, lets workers claim them under leases, and forgets what they settle. And how it is driven, the same for all.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::JoinHandle};
use txn_bench::callers::drive;
use txn_queue::Message;

/// A queue that gives nothing for so long has lost what is missing.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A queue, ours or a peer.
pub(super) trait Side: Send + Sync + 'static {
    /// Messages ready to be published.
    type Batch: Send + 'static;
    /// What a worker holds.
    type Claim: Send;

    /// Makes a batch, outside the timed region.
    fn batch(messages: &[Arc<Message>]) -> Self::Batch;

    /// Stores all of it.
    fn publish(&self, batch: Self::Batch) -> impl Future<Output = Result<(), String>> + Send;

    /// Leases so many messages at most.
    fn claim(&self, max: usize) -> impl Future<Output = Result<Self::Claim, String>> + Send;

    /// How many were leased.
    fn count(claim: &Self::Claim) -> usize;

    /// Acknowledges all of it; none may be stale.
    fn settle(&self, claim: Self::Claim) -> impl Future<Output = Result<(), String>> + Send;

    /// Ends when there may be something beyond a claim that was empty.
    fn idle(&self, claim: Self::Claim) -> impl Future<Output = Result<(), String>> + Send;
}

/// Batches for publishers.
pub(super) fn batches<S: Side>(messages: &[Arc<Message>], batch: usize) -> Vec<S::Batch> {
    messages.chunks(batch).map(S::batch).collect()
}

/// Publishes by so many tasks; gives the time.
pub(super) fn publish<S: Side>(
    runtime: &Runtime,
    side: &Arc<S>,
    publishers: usize,
    batches: Vec<S::Batch>,
) -> Result<Duration, String> {
    let side = Arc::clone(side);
    let (time, results) = drive(runtime, publishers, batches, move |batch| {
        let side = Arc::clone(&side);
        async move { side.publish(batch).await }
    });
    results.into_iter().collect::<Result<Vec<()>, String>>()?;
    Ok(time)
}

/// Lets so many workers claim and settle, `max` at a time, until so many messages are settled; gives the time to the last.
pub(super) fn drain<S: Side>(
    runtime: &Runtime,
    side: &Arc<S>,
    workers: usize,
    max: usize,
    count: u64,
) -> Result<Duration, String> {
    let goal = Arc::new(Goal::new(count));
    runtime.block_on(async {
        join(spawn_workers(side, workers, max, &goal)).await?;
        goal.time()
    })
}

/// Publishers and workers at once; gives the time from the first publishing to the last settlement.
pub(super) fn flow<S: Side>(
    runtime: &Runtime,
    side: &Arc<S>,
    tasks: (usize, usize),
    max: usize,
    messages: &[Arc<Message>],
) -> Result<Duration, String> {
    let (publishers, workers) = tasks;
    let mut shares: Vec<Vec<S::Batch>> = (0..publishers).map(|_| Vec::new()).collect();
    for (index, batch) in batches::<S>(messages, max).into_iter().enumerate() {
        shares[index % publishers].push(batch);
    }
    runtime.block_on(async {
        let goal = Arc::new(Goal::new(messages.len() as u64));
        let mut tasks = spawn_workers(side, workers, max, &goal);
        tasks.extend(shares.into_iter().map(|share| {
            let side = Arc::clone(side);
            tokio::spawn(async move {
                for batch in share {
                    side.publish(batch).await?;
                }
                Ok(())
            })
        }));
        join(tasks).await?;
        goal.time()
    })
}

/// How many messages are to be settled, and when that was so.
pub(super) struct Goal {
    count: u64,
    settled: AtomicU64,
    began: Instant,
    /// When the last were settled.
    progress: Mutex<Duration>,
}

impl Goal {
    pub(super) fn new(count: u64) -> Self {
        Self { count, settled: AtomicU64::new(0), began: Instant::now(), progress: Mutex::default() }
    }

    pub(super) fn is_reached(&self) -> bool {
        self.settled() >= self.count
    }

    pub(super) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    fn add(&self, settled: usize) {
        self.settled.fetch_add(settled as u64, Ordering::Relaxed);
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        *progress = progress.max(self.began.elapsed());
    }

    fn progress(&self) -> Duration {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an idle worker asks, so that none waits for ever.
    fn may_come(&self) -> Result<(), String> {
        if self.began.elapsed() - self.progress() < PATIENCE {
            return Ok(());
        }
        Err(format!("{} of {} messages were settled, and none for {PATIENCE:?}", self.settled(), self.count))
    }

    /// When the last message was settled.
    fn time(&self) -> Result<Duration, String> {
        match self.settled() {
            settled if settled == self.count => Ok(self.progress()),
            settled => Err(format!("{settled} messages were settled, of {}", self.count)),
        }
    }
}

pub(super) fn spawn_workers<S: Side>(
    side: &Arc<S>,
    workers: usize,
    max: usize,
    goal: &Arc<Goal>,
) -> Vec<JoinHandle<Result<(), String>>> {
    (0..workers)
        .map(|_| {
            let (side, goal) = (Arc::clone(side), Arc::clone(goal));
            tokio::spawn(async move {
                while !goal.is_reached() {
                    let claim = side.claim(max).await?;
                    match S::count(&claim) {
                        0 => {
                            goal.may_come()?;
                            side.idle(claim).await?;
                        }
                        count => {
                            side.settle(claim).await?;
                            goal.add(count);
                        }
                    }
                }
                Ok(())
            })
        })
        .collect()
}

pub(super) async fn join(tasks: Vec<JoinHandle<Result<(), String>>>) -> Result<(), String> {
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}
