//! Every handler comes to one end, and every settlement to one count.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use tokio::time::sleep;
use tower_service::Service;
use txn_queue::{
    Action, Cause, Control, ErrorKind, Queue as _, QueueAdmin as _, Settle, WorkerId,
    worker::{Class, Classify, Done, Failure, Job, Timeout, Worker},
};

use super::{Fault, Handler, Home, Running, SECOND, Seen, done, message, set};

/// Does what the message's id says.
#[derive(Clone)]
struct Moody {
    seen: Seen,
    /// Panics when it is asked whether it is ready; of clones, each once.
    is_unready: Arc<std::sync::atomic::AtomicBool>,
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped badly");
    }
}

impl Service<Job> for Moody {
    type Response = Done;
    type Error = Failure;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.is_unready.swap(false, Ordering::SeqCst) {
            panic!("not ready");
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Self::Future {
        self.seen.add(&job);
        if &*job.message().id == "call" {
            panic!("in the call");
        }
        Box::pin(async move {
            match &*job.message().id {
                "future" => {
                    sleep(SECOND).await;
                    panic!("in the {}", "future")
                }
                "drop" => {
                    let _bad = PanicsWhenDropped;
                    sleep(1_000 * SECOND).await;
                }
                "hang" => std::future::pending().await,
                "fatal" => return Err(Failure::fatal("no such order")),
                _ => {}
            }
            Ok(Done::Ack)
        })
    }
}

/// With one place and one delivery for each: a panic wherever it is, a hang and a drop are one outcome each, and the place is free again.
///
/// Case Q8.
#[tokio::test(start_paused = true)]
async fn whatever_a_handler_does_is_one_outcome() {
    let home = Home::new(1).await;
    home.publish(["ready", "call", "future", "drop", "hang", "fatal", "good"].map(message)).await;
    let seen = Seen::default();
    let handler = Moody { seen: seen.clone(), is_unready: Arc::new(true.into()) };
    let worker = home.worker().concurrency(1).layer(Timeout::new(30 * SECOND));
    let running = Running::start(worker, handler);
    home.emptied().await;
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.exhausted, drained.retried, drained.dead), (1, 5, 0, 1), "{drained:?}");
    // The first was never called.
    assert_eq!(seen.total(), 6);
    let letters = home.letters().await;
    let died = |id: &str| {
        let letter = letters.iter().find(|letter| &*letter.message.id == id).unwrap();
        let death = letter.death.as_ref().unwrap();
        (death.cause, death.deliveries, death.reasons.iter().map(|reason| reason.to_string()).collect::<Vec<_>>())
    };
    let exhausted = |reason: &str| (Cause::Exhausted, 1, vec![reason.to_owned()]);
    assert_eq!(died("ready"), exhausted("the handler panicked: not ready"));
    assert_eq!(died("call"), exhausted("the handler panicked: in the call"));
    assert_eq!(died("future"), exhausted("the handler panicked: in the future"));
    assert_eq!(died("drop"), exhausted("the handler panicked: dropped badly"));
    assert_eq!(died("hang"), exhausted("the handler took longer than 30s"));
    assert_eq!(died("fatal"), (Cause::Rejected, 1, vec!["no such order".to_owned()]));
    assert_eq!(letters.len(), 6);
}

/// What a panic means is the host's to say.
///
/// Case Q8.
#[tokio::test(start_paused = true)]
async fn a_panic_may_be_fatal() {
    let home = Home::new(9).await;
    home.publish(["call"].map(message)).await;
    let handler = Moody { seen: Seen::default(), is_unready: Arc::default() };
    let running = Running::start(home.worker().on_panic(Class::Fatal), handler);
    home.emptied().await;
    assert_eq!(running.ended().await.dead, 1);
    assert_eq!(home.letters().await[0].death.as_ref().unwrap().deliveries, 1);
}

/// A handler that always panics and whose messages are put back for it makes no busy loop.
///
/// Case Q8.
#[tokio::test(start_paused = true)]
async fn a_panic_that_puts_back_makes_no_busy_loop() {
    let home = Home::new(1).await;
    home.publish(["call"].map(message)).await;
    let seen = Seen::default();
    let handler = Moody { seen: seen.clone(), is_unready: Arc::default() };
    let running = Running::start(home.worker().on_panic(Class::Release), handler);
    sleep(30 * SECOND + SECOND / 2).await;
    assert!((28..=31).contains(&seen.total()), "{}", seen.total());
    let drained = running.ended().await;
    assert_eq!((drained.dead, drained.retried), (0, 0), "{drained:?}");
}

/// A handler that has settled its message itself says so, and nothing is sent; one that forgets to say so is counted, and harms nothing.
///
/// Case Q5.
#[tokio::test(start_paused = true)]
async fn what_was_settled_already_is_counted_and_no_error() {
    for (says, expected) in [(Done::Settled, (2, 0, 0)), (Done::Ack, (0, 2, 2))] {
        let home = Home::new(1).await;
        home.publish_numbers(2).await;
        let queue = home.queue.clone();
        #[derive(Clone)]
        struct Settles(Arc<super::Hurt>, Done);
        impl Service<Job> for Settles {
            type Response = Done;
            type Error = Failure;
            type Future = std::pin::Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send>>;
            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
                Poll::Ready(Ok(()))
            }
            fn call(&mut self, job: Job) -> Self::Future {
                let (queue, says) = (self.0.clone(), self.1);
                Box::pin(async move {
                    let ack = Settle { lease: job.lease(), action: Action::Ack };
                    queue.memory.settle(job.group(), vec![ack]).await.unwrap();
                    Ok(says)
                })
            }
        }
        let running = Running::start(home.worker().concurrency(1), Settles(queue, says));
        home.emptied().await;
        sleep(SECOND).await;
        let settles = home.queue.settles.load(Ordering::SeqCst);
        let drained = running.ended().await;
        assert_eq!((drained.done, drained.lost, settles), expected, "{says:?}: {drained:?}");
        assert_eq!(home.stats().await.acked, 2);
    }
}

/// Settlements that fail, hang or have no answer are sent again until they have one; the handler runs once, and nothing is counted twice.
///
/// Case Q5.
#[tokio::test(start_paused = true)]
async fn a_settlement_without_an_answer_is_sent_again() {
    for fault in [Fault::Error(ErrorKind::Unavailable), Fault::Unknown, Fault::Hang] {
        let home = Home::new(1).await;
        set(&home.queue.settle, fault);
        home.publish(["good", "fatal", "also"].map(message)).await;
        let seen = Seen::default();
        let handler = Moody { seen: seen.clone(), is_unready: Arc::default() };
        let running = Running::start(home.worker().lease(60 * SECOND), handler);
        sleep(5 * SECOND).await;
        let tried = home.queue.settles.load(Ordering::SeqCst);
        assert!((1..20).contains(&tried), "{fault:?}: {tried} tries");
        set(&home.queue.settle, None);
        // A call that hangs is given up after a third of the lease.
        sleep(20 * SECOND).await;
        home.emptied().await;
        let drained = running.ended().await;
        assert_eq!((drained.done, drained.dead, drained.lost, drained.unknown), (2, 1, 0, 0), "{fault:?}: {drained:?}");
        assert_eq!((seen.total(), home.letters().await.len()), (3, 1));
    }
}

/// The answer is lost because nothing was done, and the lease is ended before the settlement is sent again: it has come too late, whatever it says. The message is not done, nor dead.
///
/// Case Q5.
#[tokio::test(start_paused = true)]
async fn what_is_stale_after_a_lost_answer_was_not_done() {
    let home = Home::new(9).await;
    set(&home.queue.settle, Fault::Hang);
    home.publish(["good", "fatal"].map(message)).await;
    let handler = Moody { seen: Seen::default(), is_unready: Arc::default() };
    let id = WorkerId::new("pod-0").unwrap();
    let running = Running::start(home.worker().id(id.clone()).lease(30 * SECOND), handler);
    sleep(SECOND).await;
    home.queue.memory.control(Control::Pause(home.group.clone())).await.unwrap();
    home.queue.memory.control(Control::Rescue(id)).await.unwrap();
    set(&home.queue.settle, None);
    // A call that hangs is given up after a third of the lease.
    sleep(15 * SECOND).await;
    let stats = home.stats().await;
    assert_eq!((stats.acked, stats.dead, stats.depth), (0, 0, 2), "{stats:?}");
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.dead, drained.lost), (0, 0, 2), "{drained:?}");
}

/// It is sent again no longer than the lease lasts; the message comes back, and the worker goes on.
///
/// Case Q5.
#[tokio::test(start_paused = true)]
async fn a_settlement_is_given_up_when_the_lease_has_ended() {
    let home = Home::new(9).await;
    set(&home.queue.settle, Fault::Error(ErrorKind::Unavailable));
    home.publish_numbers(1).await;
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        Handler(move |job: Job| {
            seen.add(&job);
            done(job)
        })
    };
    let running = Running::start(home.worker().lease(3 * SECOND), handler);
    sleep(4 * SECOND).await;
    set(&home.queue.settle, None);
    home.emptied().await;
    let drained = running.ended().await;
    assert_eq!(seen.of("0"), [1, 2]);
    assert_eq!((drained.done, drained.unknown), (1, 1), "{drained:?}");
}

/// A settlement that the queue refuses takes no other with it.
///
/// Case Q5.
#[tokio::test(start_paused = true)]
async fn one_refused_settlement_takes_no_other_with_it() {
    let home = Home::new(9).await;
    home.publish(["good", "also"].map(message)).await;
    // A lease that this queue will not give: every settlement beside it is refused with it, were they not sent alone.
    let worker: Worker = home.worker();
    set(&home.queue.settle, Fault::Error(ErrorKind::Invalid));
    let running = Running::start(worker, Handler(done));
    sleep(SECOND).await;
    assert_eq!(home.queue.settles.load(Ordering::SeqCst), 3, "both at once, then each alone");
    set(&home.queue.settle, None);
    assert_eq!(running.ended().await.unknown, 2);
}

/// Errors of any kind become failures by the host's rule, and failures that other layers boxed stay what they are.
#[tokio::test(start_paused = true)]
async fn a_classifier_judges_errors() {
    #[derive(Clone)]
    struct Fails;
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    impl Service<Job> for Fails {
        type Response = ();
        type Error = Boxed;
        type Future = std::future::Ready<Result<(), Boxed>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, job: Job) -> Self::Future {
            std::future::ready(match &*job.message().id {
                "io" => Err(Box::new(std::io::Error::other("the disk is full"))),
                _ => Err(Box::new(Failure::fatal("boxed"))),
            })
        }
    }
    let home = Home::new(1).await;
    home.publish(["io", "boxed"].map(message)).await;
    let classify = Classify::new(|error| if error.is::<std::io::Error>() { Class::Retry } else { Class::Unavailable });
    let running = Running::start(home.worker().layer(classify), Fails);
    home.emptied().await;
    let drained = running.ended().await;
    assert_eq!((drained.exhausted, drained.retried, drained.dead), (1, 0, 1), "{drained:?}");
    let letters = home.letters().await;
    let reasons: Vec<&str> = letters.iter().map(|letter| &*letter.death.as_ref().unwrap().reasons[0]).collect();
    assert!(reasons.contains(&"the disk is full") && reasons.contains(&"boxed"), "{reasons:?}");
}
