//! How a worker stops.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use txn_queue::{
    WorkerId,
    worker::{Failure, Job},
};

use super::{Crowd, Fault, Handler, Home, Running, SECOND, Seen, message, set};

/// Sleeps as many seconds as the message's id says.
fn sleeper(seen: &Seen, crowd: &Crowd) -> Handler<impl FnMut(Job) -> Sleeping + Clone + Send + 'static> {
    let (seen, crowd) = (seen.clone(), crowd.clone());
    Handler(move |job: Job| {
        let (seen, crowd) = (seen.clone(), crowd.clone());
        let sleeping: Sleeping = Box::pin(async move {
            let _inside = crowd.enter();
            seen.add(&job);
            sleep(job.message().id.parse::<u32>().unwrap() * SECOND).await;
            Ok(())
        });
        sleeping
    })
}

type Sleeping = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// What was begun in time is done; what was not begun goes back at once; what takes longer goes back at the deadline, uncounted and without a dead letter, although each message may be delivered only once.
///
/// Case Q7.
#[tokio::test(start_paused = true)]
async fn a_drain_finishes_or_puts_back() {
    let home = Home::new(1).await;
    home.publish(["5", "9", "1000", "2000", "3000"].map(message)).await;
    let (seen, crowd) = (Seen::default(), Crowd::default());
    let worker = home.worker().concurrency(3).prefetch(2).drain(10 * SECOND).lease(3 * SECOND);
    let mut running = Running::start(worker, sleeper(&seen, &crowd));
    sleep(SECOND).await;
    assert_eq!((seen.total(), home.stats().await.leased), (3, 5));
    let begun = Instant::now();
    running.stop();
    sleep(SECOND).await;
    // The two that were not begun wait for others at once.
    assert_eq!(home.stats().await.leased, 3);
    home.publish([message("1")]).await;
    sleep(SECOND).await;
    let drained = running.ended().await;
    assert!(begun.elapsed() >= 10 * SECOND && begun.elapsed() < 11 * SECOND, "{:?}", begun.elapsed());
    assert_eq!((drained.done, drained.released, drained.lost, drained.unknown), (2, 3, 0, 0), "{drained:?}");
    assert_eq!((crowd.inside(), seen.total()), (0, 3), "every handler was dropped, and nothing new begun");
    let stats = home.stats().await;
    assert_eq!((stats.dead, stats.depth, stats.leased), (0, 4, 0), "{stats:?}");
    let again = home.take(10).await;
    assert!(again.len() == 4 && again.iter().all(|delivery| delivery.deliveries == 1), "{again:?}");
    assert!(home.letters().await.is_empty());
}

/// What is being received when the worker is told to stop is waited for and put back: dropped, it would be counted and lost to all until its lease ends.
///
/// Case Q7.
#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_at_the_end_goes_back() {
    let home = Home::new(1).await;
    home.publish_numbers(3).await;
    set(&home.queue.receive, Fault::Slow);
    let (seen, crowd) = (Seen::default(), Crowd::default());
    let running = Running::start(home.worker().lease(3_600 * SECOND), sleeper(&seen, &crowd));
    sleep(SECOND).await;
    assert_eq!(home.stats().await.leased, 3);
    let drained = running.ended().await;
    assert_eq!((drained.released, seen.total()), (3, 0), "{drained:?}");
    let again = home.take(10).await;
    assert!(again.len() == 3 && again.iter().all(|delivery| delivery.deliveries == 1), "{again:?}");
}

/// A handler can see that the worker drains, and give its message back before the deadline.
///
/// Case Q7.
#[tokio::test(start_paused = true)]
async fn a_handler_may_give_back_before_the_deadline() {
    let home = Home::new(1).await;
    home.publish_numbers(1).await;
    let handler = Handler(|job: Job| async move {
        assert!(!job.is_draining());
        job.draining().await;
        assert!(job.is_draining() && !job.is_lost());
        Err(Failure::release())
    });
    let running = Running::start(home.worker().drain(3_600 * SECOND), handler);
    sleep(SECOND).await;
    let begun = Instant::now();
    let drained = running.ended().await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert_eq!(drained.released, 1, "{drained:?}");
    assert_eq!(home.take(1).await[0].deliveries, 1);
}

/// A handler that blocks its thread cannot be dropped; the drain does not wait for it, and its message goes back. What it says in the end changes nothing.
///
/// Case Q7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_does_not_hold_the_drain() {
    let home = Home::new(1).await;
    home.publish_numbers(1).await;
    let (begin, begun) = tokio::sync::mpsc::unbounded_channel();
    let (free, freed) = mpsc::channel::<()>();
    let freed = Arc::new(std::sync::Mutex::new(freed));
    let handler = Handler(move |_: Job| {
        let (begin, freed) = (begin.clone(), Arc::clone(&freed));
        async move {
            begin.send(()).unwrap();
            let _ = freed.lock().unwrap().recv();
            Ok(())
        }
    });
    let mut begun = begun;
    let running = Running::start(home.worker().drain(Duration::from_millis(10)), handler);
    begun.recv().await.unwrap();
    let drained = running.ended().await;
    assert_eq!((drained.released, drained.unknown, drained.done), (1, 0, 0), "{drained:?}");
    let again = home.take(1).await;
    assert_eq!(again[0].deliveries, 1);
    free.send(()).unwrap();
    let stats = home.stats().await;
    assert_eq!((stats.leased, stats.acked), (1, 0), "{stats:?}");
}

/// The name of a worker fences nothing: two processes under one name, the old one still draining, share the messages, and each message is handled and settled once, by the one that had it.
///
/// Case Q11.
#[tokio::test(start_paused = true)]
async fn two_workers_of_one_name_do_each_other_no_harm() {
    let home = Home::new(1).await;
    home.publish((10..20).map(|number| message(&number.to_string()))).await;
    let name = WorkerId::new("pod-0").unwrap();
    let (seen, crowd) = (Seen::default(), Crowd::default());
    let worker = || home.worker().id(name.clone()).lease(3 * SECOND).concurrency(5).drain(60 * SECOND);
    let mut old = Running::start(worker(), sleeper(&seen, &crowd));
    sleep(SECOND).await;
    old.stop();
    let new = Running::start(worker(), sleeper(&seen, &crowd));
    sleep(SECOND).await;
    assert_eq!(crowd.inside(), 10);
    let old = old.ended().await;
    assert_eq!((old.done, old.lost), (5, 0), "{old:?}");
    home.emptied().await;
    let new = new.ended().await;
    assert_eq!((new.done, new.lost), (5, 0), "{new:?}");
    assert_eq!(seen.total(), 10);
    let stats = home.stats().await;
    assert_eq!((stats.acked, stats.delivered, stats.dead), (10, 10, 0), "{stats:?}");
}

/// A worker whose future is dropped leaves nothing behind: its handlers are dropped, and the messages come back when the leases end, counted.
///
/// Case Q8.
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_dropped_lets_its_leases_end() {
    let home = Home::new(3).await;
    home.publish(["1000", "2000"].map(message)).await;
    let (seen, crowd) = (Seen::default(), Crowd::default());
    let running = Running::start(home.worker().lease(3 * SECOND).concurrency(1).prefetch(1), sleeper(&seen, &crowd));
    sleep(10 * SECOND).await;
    assert_eq!((crowd.inside(), home.stats().await.leased), (1, 2));
    running.run.abort();
    assert!(running.run.await.unwrap_err().is_cancelled());
    sleep(SECOND).await;
    assert_eq!(crowd.inside(), 0);
    sleep(3 * SECOND).await;
    let again = home.take(10).await;
    assert!(again.len() == 2 && again.iter().all(|delivery| delivery.deliveries == 2), "{again:?}");
}

/// A worker whose future is dropped while other threads drop its handlers has failed none of them, although each message may be delivered only once.
///
/// Case Q8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_dropped_has_failed_nothing_under_threads() {
    const HANDLERS: u32 = 4_000;
    for _ in 0..3 {
        let home = Home::new(1).await;
        for _ in 0..4 {
            home.publish_numbers(HANDLERS / 4).await;
        }
        let crowd = Crowd::default();
        let handler = {
            let crowd = crowd.clone();
            Handler(move |_: Job| {
                let inside = crowd.enter();
                async move {
                    let _inside = inside;
                    std::future::pending().await
                }
            })
        };
        let worker = home.worker().lease(3_600 * SECOND).concurrency(usize::try_from(HANDLERS).unwrap());
        let running = Running::start(worker, handler);
        while crowd.inside() < HANDLERS {
            sleep(SECOND / 100).await;
        }
        running.run.abort();
        assert!(running.run.await.unwrap_err().is_cancelled());
        while crowd.inside() > 0 {
            sleep(SECOND / 100).await;
        }
        sleep(SECOND / 10).await;
        let stats = home.stats().await;
        assert_eq!((stats.dead, stats.depth), (0, u64::from(HANDLERS)), "{stats:?}");
    }
}

/// Every start is another incarnation.
#[tokio::test]
async fn no_two_workers_have_the_same_name() {
    let home = Home::new(3).await;
    let names: std::collections::BTreeSet<String> = (0..100).map(|_| format!("{:?}", home.worker())).collect();
    assert_eq!(names.len(), 100);
}
