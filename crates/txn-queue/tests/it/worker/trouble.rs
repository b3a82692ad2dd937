//! A queue that does not answer, and one that answers nonsense.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};
use txn_queue::{Control, ErrorKind, QueueAdmin, worker::Job};

use super::{Fault, Handler, Home, Running, SECOND, Seen, done, set};

/// The queue is out for two minutes, in the middle of the work: the same worker goes on by itself, asks seldom meanwhile, and does every message.
///
/// Case Q9.
#[tokio::test(start_paused = true)]
async fn a_worker_goes_on_after_an_outage() {
    for fault in [Fault::Error(ErrorKind::Unavailable), Fault::Hang] {
        let home = Home::new(9).await;
        home.publish_numbers(30).await;
        let seen = Seen::default();
        let handler = {
            let seen = seen.clone();
            Handler(move |job: Job| {
                let seen = seen.clone();
                async move {
                    seen.add(&job);
                    sleep(SECOND).await;
                    Ok(())
                }
            })
        };
        let running = Running::start(home.worker().concurrency(4).lease(6 * SECOND), handler);
        sleep(2 * SECOND + SECOND / 2).await;
        for part in [&home.queue.receive, &home.queue.wait, &home.queue.extend, &home.queue.settle] {
            set(part, fault);
        }
        let calls = || {
            let queue = &home.queue;
            [&queue.receives, &queue.waits, &queue.extends, &queue.settles].map(|calls| calls.load(Ordering::SeqCst))
        };
        let before = calls();
        sleep(120 * SECOND).await;
        let during = calls().iter().sum::<usize>() - before.iter().sum::<usize>();
        assert!(during < 150, "{fault:?}: {during} calls in two minutes");
        for part in [&home.queue.receive, &home.queue.wait, &home.queue.extend, &home.queue.settle] {
            set(part, None);
        }
        let healed = Instant::now();
        home.emptied().await;
        assert!(healed.elapsed() < 30 * SECOND, "{fault:?}: {:?}", healed.elapsed());
        let drained = running.ended().await;
        assert_eq!(home.stats().await.acked, 30);
        assert!((0..30).all(|id| !seen.of(&id.to_string()).is_empty()));
        assert_eq!(drained.dead, 0, "{fault:?}: {drained:?}");
    }
}

/// An error that no waiting mends ends the worker, after a drain.
///
/// Case Q9.
#[tokio::test(start_paused = true)]
async fn a_queue_that_is_closed_ends_the_worker_after_a_drain() {
    let home = Home::new(9).await;
    home.publish_numbers(2).await;
    let handler = Handler(|job: Job| async move {
        job.draining().await;
        sleep(SECOND).await;
        Ok(())
    });
    let mut running = Running::start(home.worker().concurrency(2), handler);
    sleep(SECOND).await;
    set(&home.queue.wait, Fault::Error(ErrorKind::Closed));
    set(&home.queue.receive, Fault::Error(ErrorKind::Closed));
    // Both places are taken: it hears of the end when it asks again.
    assert!(!running.run.is_finished());
    running.stop();
    running.run.await.unwrap().unwrap();
    assert_eq!(home.stats().await.acked, 2);

    let running = Running::start(home.worker(), Handler(done));
    let error = running.run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

/// Waits that end for nothing, and a group that is paused with work to do, make no busy loop.
///
/// Case Q9.
#[tokio::test(start_paused = true)]
async fn waits_that_end_for_nothing_make_no_busy_loop() {
    let home = Home::new(9).await;
    home.queue.waits_for_nothing.store(true, Ordering::SeqCst);
    home.queue.memory.control(Control::Pause(home.group.clone())).await.unwrap();
    home.publish_numbers(3).await;
    let running = Running::start(home.worker(), Handler(done));
    sleep(60 * SECOND).await;
    let asked = home.queue.receives.load(Ordering::SeqCst);
    assert!(asked < 3_100, "{asked} calls in a minute");
    home.queue.memory.control(Control::Resume(home.group.clone())).await.unwrap();
    let resumed = Instant::now();
    home.emptied().await;
    assert!(resumed.elapsed() < SECOND);
    assert_eq!(running.ended().await.done, 3);
}

/// Nothing is asked while nothing happens, and what comes is begun at once.
#[tokio::test(start_paused = true)]
async fn an_idle_worker_asks_seldom_and_begins_at_once() {
    let home = Home::new(9).await;
    let running = Running::start(home.worker(), Handler(done));
    sleep(600 * SECOND).await;
    let asked = home.queue.receives.load(Ordering::SeqCst);
    assert!(asked <= 22, "{asked} calls in ten minutes");
    for round in 0..20 {
        let published = Instant::now();
        home.publish_numbers(1 + round % 3).await;
        while home.stats().await.depth > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(published.elapsed() < Duration::from_millis(5), "{:?}", published.elapsed());
    }
    running.ended().await;
}

/// A heartbeat whose runtime is gone keeps nothing: the worker ends, and says so.
#[test]
fn a_worker_without_a_heartbeat_ends() {
    let apart = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let here = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    here.block_on(async {
        let home = Home::new(9).await;
        let running = Running::start(home.worker().heartbeat_on(apart.handle().clone()), Handler(done));
        home.publish_numbers(1).await;
        home.emptied().await;
        apart.shutdown_background();
        let error = running.run.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    });
}

/// What a worker cannot work with is refused with the number and the limit.
#[tokio::test(start_paused = true)]
async fn nonsense_is_refused() {
    let home = Home::new(9).await;
    let workers = [
        (home.worker().concurrency(0), "0 handlers; 1 to 65536"),
        (home.worker().concurrency(65_537), "65537 handlers"),
        (home.worker().prefetch(65_537), "65537 messages in advance"),
        (home.worker().batch(0), "0 messages in a call"),
        (home.worker().lease(Duration::from_millis(99)), "a lease of 99ms; 100ms at least"),
    ];
    for (worker, says) in workers {
        let error = worker.run(Handler(done), std::future::pending()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(says), "{error}");
    }
}
