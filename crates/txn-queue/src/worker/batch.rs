//! A service that is given several messages at once, and answers for each.

use std::{
    collections::VecDeque,
    future::poll_fn,
    num::NonZeroUsize,
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    time::timeout,
};
use tower_service::Service;

use super::{Done, Failure, Job, work::caught};

type Answer = Result<Done, Failure>;
type Handling = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Gives messages that are handled at the same time to a service of several, so that what they effect is one round trip. To its worker each message is one as before: it has its own place, lease, outcome and settlement.
///
/// The service is given the messages in the order in which they came, and answers each in that order; an error or a panic is that of each of them. One that waits to be gathered is handled with the next ones when another
/// is dropped; what a service that is dropped, as by a timeout, had in hand is tried again. A batch is no larger than the [concurrency](super::Worker::concurrency) of its worker.
///
/// ```
/// use std::{convert::Infallible, future::{Ready, ready}, num::NonZeroUsize, task::{Context, Poll}};
/// use tower_service::Service;
/// use txn_queue::worker::{Batch, Done, Failure, Job};
///
/// #[derive(Clone)]
/// struct Insert;
///
/// impl Service<Vec<Job>> for Insert {
///     type Response = Vec<Result<Done, Failure>>;
///     type Error = Infallible;
///     type Future = Ready<Result<Self::Response, Infallible>>;
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///     fn call(&mut self, jobs: Vec<Job>) -> Self::Future {
///         // … one INSERT for all of them …
///         ready(Ok(jobs.iter().map(|_| Ok(Done::Ack)).collect()))
///     }
/// }
///
/// let service = Batch::new(Insert, NonZeroUsize::MIN.saturating_add(99));
/// # let _ = service;
/// ```
#[derive(Debug, Clone)]
pub struct Batch<S> {
    service: S,
    max: NonZeroUsize,
    linger: Duration,
    gathering: Arc<Gathering>,
}

impl<S> Batch<S> {
    /// At most so many at once, which are waited for five milliseconds from the first.
    pub fn new(service: S, max: NonZeroUsize) -> Self {
        Self { service, max, linger: Duration::from_millis(5), gathering: Arc::default() }
    }

    /// How long others are waited for.
    #[must_use]
    pub const fn linger(mut self, wait: Duration) -> Self {
        self.linger = wait;
        self
    }
}

impl<S> Service<Job> for Batch<S>
where
    S: Service<Vec<Job>, Response = Vec<Answer>, Error: Into<Failure>, Future: Send> + Clone + Send + 'static,
{
    type Response = Done;
    type Error = Failure;
    type Future = Handling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Handling {
        let mut member = Member::join(&self.gathering, job, self.max.get());
        let (service, max, linger) = (self.service.clone(), self.max.get(), self.linger);
        Box::pin(async move {
            match member.told.recv().await {
                Some(Told::Lead) => {
                    member.gather(max, linger).await;
                    lead(service, member.take(max)).await
                }
                Some(Told::Ended(answer)) => answer,
                // As if it had panicked itself: the worker says what to do about that.
                Some(Told::Panicked(what)) => resume_unwind(Box::new(what)),
                None => Err(Failure::retry("the batch that it was in was dropped")),
            }
        })
    }
}

/// Messages that wait for others. The first of them leads: it waits, takes as many as may be, hands the lead on, and calls the service within its own handling, so that the service is dropped with it.
#[derive(Debug, Default)]
struct Gathering {
    state: Mutex<State>,
    full: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiter>,
    /// Who leads is the first of those that wait.
    leader: Option<u64>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    job: Job,
    tell: UnboundedSender<Told>,
}

#[derive(Debug)]
enum Told {
    Lead,
    Ended(Answer),
    Panicked(String),
}

impl Gathering {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives the lead to the first of those that wait.
    fn hand_on(&mut self) {
        self.leader = self.waiting.front().map(|first| {
            // One that is being dropped hands it on in turn.
            let _ = first.tell.send(Told::Lead);
            first.number
        });
    }
}

/// One message among those that gather.
struct Member {
    gathering: Arc<Gathering>,
    number: u64,
    told: UnboundedReceiver<Told>,
}

impl Member {
    fn join(gathering: &Arc<Gathering>, job: Job, max: usize) -> Self {
        let (tell, told) = unbounded_channel();
        let mut state = gathering.state();
        let number = state.next;
        state.next = number.wrapping_add(1);
        state.waiting.push_back(Waiter { number, job, tell });
        if state.leader.is_none() {
            state.hand_on();
        }
        let is_full = state.waiting.len() >= max;
        drop(state);
        if is_full {
            gathering.full.notify_one();
        }
        Self { gathering: Arc::clone(gathering), number, told }
    }

    /// Waits for others.
    async fn gather(&self, max: usize, linger: Duration) {
        // A signal may have been meant for the leader before.
        let full = async {
            while self.gathering.state().waiting.len() < max {
                self.gathering.full.notified().await;
            }
        };
        let _ = timeout(linger, full).await;
    }

    /// Those that are handled together, itself first.
    fn take(&self, max: usize) -> Vec<Waiter> {
        let mut state = self.gathering.state();
        let count = max.min(state.waiting.len());
        let batch = state.waiting.drain(..count).collect();
        state.hand_on();
        batch
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.gathering.state();
        state.waiting.retain(|waiter| waiter.number != self.number);
        if state.leader == Some(self.number) {
            state.hand_on();
        }
    }
}

/// Calls the service, tells the others, and gives back the first one's answer.
async fn lead<S>(mut service: S, batch: Vec<Waiter>) -> Answer
where
    S: Service<Vec<Job>, Response = Vec<Answer>, Error: Into<Failure>>,
{
    let (jobs, tells): (Vec<Job>, Vec<UnboundedSender<Told>>) =
        batch.into_iter().map(|waiter| (waiter.job, waiter.tell)).unzip();
    let handled = caught(async move {
        poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
        service.call(jobs).await.map_err(Into::into)
    });
    let handled = handled.await;
    let others = tells.into_iter().skip(1);
    match handled {
        Ok(Ok(answers)) => {
            let silent = || Err(Failure::retry("the batch that it was in gave no answer for it"));
            let mut answers = answers.into_iter();
            let own = answers.next().unwrap_or_else(silent);
            for tell in others {
                let _ = tell.send(Told::Ended(answers.next().unwrap_or_else(silent)));
            }
            own
        }
        Ok(Err(failure)) => {
            others.for_each(|tell| drop(tell.send(Told::Ended(Err(failure.clone())))));
            Err(failure)
        }
        Err(what) => {
            others.for_each(|tell| drop(tell.send(Told::Panicked(what.clone()))));
            resume_unwind(Box::new(what))
        }
    }
}
