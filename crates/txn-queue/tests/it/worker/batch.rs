//! Several messages in one call: to the worker each is one.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::sleep;
use tower_service::Service;
use txn_queue::{
    Cause,
    worker::{Batch, Class, Done, Failure, Job, Timeout},
};

use super::{Crowd, Home, Running, SECOND, message};

type Answers = Vec<Result<Done, Failure>>;
type Handling = std::pin::Pin<Box<dyn Future<Output = Result<Answers, Failure>> + Send>>;

/// A service that is a function, and remembers which messages it was given together.
#[derive(Clone)]
struct Several<F> {
    given: Arc<Mutex<Vec<Vec<String>>>>,
    answer: F,
}

impl<F> Several<F> {
    fn new(answer: F) -> Self {
        Self { given: Arc::default(), answer }
    }
}

impl<F, A> Service<Vec<Job>> for Several<F>
where
    F: FnMut(Vec<Job>) -> A,
    A: Future<Output = Result<Answers, Failure>> + Send + 'static,
{
    type Response = Answers;
    type Error = Failure;
    type Future = Handling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, jobs: Vec<Job>) -> Handling {
        self.given.lock().unwrap().push(jobs.iter().map(|job| job.message().id.to_string()).collect());
        Box::pin((self.answer)(jobs))
    }
}

fn max(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// Each has its own outcome, and no batch is larger than was said; what comes alone is not waited with for long.
#[tokio::test(start_paused = true)]
async fn each_of_a_batch_has_its_own_end() {
    let home = Home::new(3).await;
    let several = Several::new(|jobs: Vec<Job>| async move {
        sleep(SECOND).await;
        let answer = |job: &Job| match (&*job.message().id, job.deliveries()) {
            ("again", 1) => Err(Failure::retry("once")),
            ("bad", _) => Err(Failure::fatal("never")),
            _ => Ok(Done::Ack),
        };
        Ok(jobs.iter().map(answer).collect())
    });
    let given = several.given.clone();
    home.publish(["1", "again", "bad", "2", "3", "4", "5"].map(message)).await;
    let running = Running::start(home.worker(), Batch::new(several, max(4)));
    home.emptied().await;
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.retried, drained.dead), (6, 1, 1), "{drained:?}");
    assert_eq!(*given.lock().unwrap(), [vec!["1", "again", "bad", "2"], vec!["3", "4", "5"], vec!["again"]]);
    assert_eq!(home.stats().await.acked, 6);
}

/// What one call does to all of them is the end of each: a panic, an error, an answer that is missing.
///
/// Case Q8.
#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_is_the_failure_of_each() {
    for (what, expected) in [
        ("panics", "the handler panicked: on purpose"),
        ("fails", "all at once"),
        ("forgets", "the batch that it was in gave no answer for it"),
    ] {
        let home = Home::new(1).await;
        home.publish(["1", "2", "3"].map(message)).await;
        let several = Several::new(move |_: Vec<Job>| async move {
            match what {
                "panics" => panic!("on purpose"),
                "fails" => Err(Failure::retry("all at once")),
                _ => Ok(vec![]),
            }
        });
        let running = Running::start(home.worker().on_panic(Class::Retry), Batch::new(several, max(3)));
        home.emptied().await;
        let drained = running.ended().await;
        assert_eq!(drained.exhausted, 3, "{what}: {drained:?}");
        for letter in home.letters().await {
            let death = letter.death.unwrap();
            assert_eq!((death.cause, &*death.reasons[0]), (Cause::Exhausted, expected), "{what}");
        }
    }
}

/// A call that hangs is dropped with its first message's handler, and none of the others hangs with it.
///
/// Case Q8.
#[tokio::test(start_paused = true)]
async fn a_batch_that_hangs_frees_all_its_places() {
    let home = Home::new(1).await;
    home.publish(["1", "2", "3"].map(message)).await;
    let inside = Crowd::default();
    let several = {
        let inside = inside.clone();
        Several::new(move |_: Vec<Job>| {
            let inside = inside.enter();
            async move {
                let _inside = inside;
                std::future::pending::<Result<Answers, Failure>>().await
            }
        })
    };
    let worker = home.worker().layer(Timeout::new(60 * SECOND));
    let running = Running::start(worker, Batch::new(several, max(3)));
    home.emptied().await;
    assert_eq!(inside.inside(), 0);
    assert_eq!(running.ended().await.exhausted, 3);
}

/// A drain that is over drops the call, and puts all of it back, uncounted.
///
/// Case Q7.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_cut_off_goes_back_uncounted() {
    let home = Home::new(1).await;
    home.publish(["1", "2", "3"].map(message)).await;
    let several = Several::new(|_: Vec<Job>| std::future::pending::<Result<Answers, Failure>>());
    let mut running = Running::start(home.worker().drain(SECOND), Batch::new(several, max(2)));
    sleep(SECOND).await;
    running.stop();
    let drained = running.ended().await;
    assert_eq!((drained.released, drained.exhausted), (3, 0), "{drained:?}");
    assert_eq!(home.stats().await.dead, 0);
    let again = home.take(10).await;
    assert_eq!(again.iter().map(|delivery| delivery.deliveries).collect::<Vec<_>>(), [1, 1, 1]);
}

/// Whoever leads may be dropped before the batch is full: the next one leads, and nobody is forgotten.
#[tokio::test(start_paused = true)]
async fn one_that_leads_and_is_dropped_hands_the_lead_on() {
    let home = Home::new(1).await;
    home.publish(["1", "2", "3"].map(message)).await;
    let jobs: Vec<Job> =
        home.take(3).await.into_iter().map(|delivery| Job::new(home.group.clone(), delivery)).collect();
    let several = Several::new(|jobs: Vec<Job>| async move { Ok(jobs.iter().map(|_| Ok(Done::Ack)).collect()) });
    let given = several.given.clone();
    let mut batch = Batch::new(several, max(3)).linger(SECOND);
    let mut calls: Vec<_> = jobs.iter().map(|job| Box::pin(batch.call(job.clone()))).collect();
    let mut third = calls.pop().unwrap();
    let mut second = calls.pop().unwrap();
    let mut first = calls.pop().unwrap();
    // It begins to wait, and is dropped; the second is dropped before it has heard that it leads.
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut first).await.is_ok_and(|answer| answer.is_ok()));
    assert!(matches!((&mut second).await, Ok(Done::Ack)));
    assert!(matches!((&mut third).await, Ok(Done::Ack)));
    assert_eq!(*given.lock().unwrap(), [vec!["1", "2", "3"]]);

    let mut calls: Vec<_> = jobs.iter().take(2).map(|job| Box::pin(batch.call(job.clone()))).collect();
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut calls[0]).await.is_err());
    drop(calls.remove(0));
    let third = batch.call(jobs[2].clone());
    drop(calls);
    let answer: Result<Result<Done, Failure>, _> = tokio::time::timeout(2 * SECOND, third).await;
    assert!(matches!(answer, Ok(Ok(Done::Ack))), "{answer:?}");
    assert_eq!(*given.lock().unwrap(), [vec!["1", "2", "3"], vec!["3"]]);
}

/// Threads, and batches that panic, fail and are answered at once: everything comes to its one end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_among_batches_under_threads() {
    let home = Home::new(20).await;
    home.publish_numbers(2_000).await;
    let several = Several::new(|jobs: Vec<Job>| async move {
        tokio::task::yield_now().await;
        let sum: u32 = jobs.iter().map(|job| job.message().id.parse::<u32>().unwrap() + job.deliveries()).sum();
        match sum % 11 {
            0 => panic!("sometimes"),
            1 => Err(Failure::retry_after(Duration::ZERO, "sometimes")),
            _ => Ok(jobs.iter().map(|_| Ok(Done::Ack)).collect()),
        }
    });
    let given = several.given.clone();
    let policy = txn_queue::worker::RetryPolicy { base: Duration::from_millis(1), ..Default::default() };
    let worker = home.worker().retry(policy).concurrency(64).prefetch(64);
    let running = Running::start(worker, Batch::new(several, max(10)).linger(Duration::from_millis(1)));
    home.emptied().await;
    let drained = running.ended().await;
    let stats = home.stats().await;
    assert_eq!((drained.done, stats.acked, stats.dead), (2_000, 2_000, 0), "{drained:?}");
    let given = given.lock().unwrap();
    assert!(given.iter().all(|batch| (1..=10).contains(&batch.len())));
    assert_eq!(given.iter().map(Vec::len).sum::<usize>() as u64, drained.done + drained.retried);
    // How many come together is up to the machine.
    assert!(given.iter().any(|batch| batch.len() > 1), "{} calls", given.len());
}
