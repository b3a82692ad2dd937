//! How a worker keeps what it holds, and what it does when it cannot.

use std::sync::atomic::Ordering;

use tokio::time::{Instant, sleep};
use txn_queue::{
    Action, ErrorKind, Queue as _, Settle, Settled,
    worker::{Failure, Job, RetryPolicy},
};

use super::{Fault, Handler, Home, Running, SECOND, Seen, set};

/// A slow handler with messages in advance: none of their leases ends, begun or not, and all are extended in one call each third of the lease.
///
/// Case Q49.
#[tokio::test(start_paused = true)]
async fn what_is_held_in_advance_keeps_its_lease() {
    let home = Home::new(1).await;
    home.publish_numbers(6).await;
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        Handler(move |job: Job| {
            seen.add(&job);
            async move {
                sleep(10 * SECOND).await;
                assert!(!job.is_lost());
                Ok(())
            }
        })
    };
    let running = Running::start(home.worker().concurrency(1).prefetch(5).lease(3 * SECOND), handler);
    sleep(9 * SECOND + SECOND / 2).await;
    assert_eq!(home.queue.extends.load(Ordering::SeqCst), 9);
    assert_eq!(home.queue.extended_max.load(Ordering::SeqCst), 6);
    home.emptied().await;
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.lost), (6, 0), "{drained:?}");
    let stats = home.stats().await;
    assert_eq!((seen.total(), stats.delivered, stats.dead), (6, 6, 0), "{stats:?}");
}

/// Messages in advance wait far longer than any may be held, behind handlers that each take less: waiting is not holding, so none of their leases ends, and each is delivered once.
///
/// Case Q49.
#[tokio::test(start_paused = true)]
async fn what_waits_longer_than_it_may_be_held_keeps_its_lease() {
    let home = Home::new(1).await;
    home.publish_numbers(40).await;
    let handler = Handler(|job: Job| async move {
        assert!(!job.is_lost());
        sleep(5 * SECOND).await;
        Ok(())
    });
    let worker = home.worker().concurrency(1).prefetch(100).lease(30 * SECOND).hold_max(60 * SECOND);
    let running = Running::start(worker, handler);
    home.emptied().await;
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.lost), (40, 0), "{drained:?}");
    let stats = home.stats().await;
    assert_eq!((stats.delivered, stats.dead), (40, 0), "{stats:?}");
}

/// What goes back uncounted is held for the policy's wait before, and given back while its lease is still kept: later it would count, and this message may be delivered only once.
///
/// Case Q46.
#[tokio::test(start_paused = true)]
async fn what_goes_back_does_so_before_its_lease_ends() {
    let home = Home::new(1).await;
    home.publish_numbers(1).await;
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        Handler(move |job: Job| {
            seen.add(&job);
            let times = seen.of("0").len();
            async move {
                sleep(2 * SECOND).await;
                if times < 3 { Err(Failure::unavailable("the bank is out")) } else { Ok(()) }
            }
        })
    };
    let retry = RetryPolicy { base: 600 * SECOND, ..RetryPolicy::default() };
    let begun = Instant::now();
    let running = Running::start(home.worker().lease(3 * SECOND).hold_max(9 * SECOND).retry(retry), handler);
    home.emptied().await;
    // Twice for as long as it may be held, and once until it is done.
    assert!((20 * SECOND..21 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let drained = running.ended().await;
    assert_eq!((drained.released, drained.done, drained.lost), (2, 1, 0), "{drained:?}");
    assert_eq!((seen.of("0"), home.stats().await.dead), (vec![1, 1, 1], 0));
}

/// Extensions fail for longer than the lease: the handler is told when the lease ends by this process's clock, somebody else has the message, and what the late handler says is not settled.
///
/// Case Q3.
#[tokio::test(start_paused = true)]
async fn a_handler_that_lost_its_lease_is_told_and_settles_nothing() {
    let home = Home::new(5).await;
    home.publish_numbers(1).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let handler = Handler(move |job: Job| {
        let tell = tell.clone();
        async move {
            let begun = Instant::now();
            job.lost().await;
            tell.send(begun.elapsed()).unwrap();
            sleep(10 * SECOND).await;
            Ok(())
        }
    });
    let mut running = Running::start(home.worker().lease(3 * SECOND), handler);
    sleep(5 * SECOND + SECOND / 2).await;
    // It was extended at five seconds.
    set(&home.queue.extend, Fault::Error(ErrorKind::Unavailable));
    running.stop();
    let elapsed = told.recv().await.unwrap();
    assert!((8 * SECOND..8 * SECOND + SECOND / 10).contains(&elapsed), "{elapsed:?}");
    sleep(SECOND / 10).await;
    let other = home.take(1).await;
    assert_eq!(other[0].deliveries, 2);
    set(&home.queue.extend, None);
    let drained = running.ended().await;
    assert_eq!((drained.lost, drained.done), (1, 0), "{drained:?}");
    // It stays with the other, whose settlement counts.
    let ack = vec![Settle { lease: other[0].lease, action: Action::Ack }];
    assert_eq!(home.queue.memory.settle(&home.group, ack).await.unwrap(), [Settled::Applied]);
    // The stale one was never sent.
    assert_eq!(home.queue.settles.load(Ordering::SeqCst), 0);
}

/// The queue answers no extension, and each of three is waited for on its own: the handler is told at the instant at which its lease ends, and not when the queue has been waited for.
///
/// Case Q3.
#[tokio::test(start_paused = true)]
async fn a_handler_is_told_in_time_while_an_extension_hangs() {
    let home = Home::new(9).await;
    home.publish_numbers(3).await;
    set(&home.queue.extend, Fault::Hang);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let handler = Handler(move |job: Job| {
        let tell = tell.clone();
        async move {
            let begun = Instant::now();
            job.lost().await;
            let _ = tell.send(begun.elapsed());
            std::future::pending().await
        }
    });
    let running = Running::start(home.worker().lease(12 * SECOND).batch(1).drain(SECOND), handler);
    for _ in 0..3 {
        let elapsed = told.recv().await.unwrap();
        assert!((12 * SECOND..12 * SECOND + SECOND / 10).contains(&elapsed), "{elapsed:?}");
    }
    running.ended().await;
}

/// The heartbeat does not come round, and so tells nobody: a message whose lease has ended while it waited is not begun on it. Somebody else may have it.
///
/// Case Q49.
#[tokio::test(start_paused = true)]
async fn a_message_whose_lease_is_over_is_not_begun() {
    let home = Home::new(9).await;
    home.publish_numbers(3).await;
    let apart = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        Handler(move |job: Job| {
            seen.add(&job);
            sleep_and_be_done(4 * SECOND)
        })
    };
    let worker = home.worker().concurrency(1).prefetch(2).lease(3 * SECOND).heartbeat_on(apart.handle().clone());
    let running = Running::start(worker, handler);
    sleep(3 * SECOND + SECOND / 2).await;
    assert_eq!((seen.total(), home.stats().await.leased), (1, 3));
    let others = home.take(3).await;
    assert!(others.iter().all(|delivery| delivery.deliveries == 2) && others.len() == 3, "{others:?}");
    sleep(60 * SECOND).await;
    assert_eq!(seen.total(), 1);
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.lost), (0, 3), "{drained:?}");
    apart.shutdown_background();
}

async fn sleep_and_be_done(time: std::time::Duration) -> Result<(), Failure> {
    sleep(time).await;
    Ok(())
}

/// One extension that fails, hangs, or whose answer is lost costs no lease.
///
/// Case Q49.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_fails_once_loses_nothing() {
    for fault in [Fault::Error(ErrorKind::Overloaded), Fault::Hang, Fault::Unknown] {
        let home = Home::new(1).await;
        home.publish_numbers(3).await;
        let handler = Handler(|job: Job| async move {
            sleep(20 * SECOND).await;
            assert!(!job.is_lost());
            Ok(())
        });
        let running = Running::start(home.worker().lease(12 * SECOND), handler);
        sleep(3 * SECOND).await;
        set(&home.queue.extend, fault);
        sleep(4 * SECOND).await;
        set(&home.queue.extend, None);
        home.emptied().await;
        let drained = running.ended().await;
        assert_eq!((drained.done, drained.lost), (3, 0), "{fault:?}: {drained:?}");
    }
}

/// A handler that never ends is not kept for ever: it is dropped, and that is its outcome.
///
/// Case Q8.
#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_is_dropped_in_the_end() {
    let home = Home::new(2).await;
    home.publish_numbers(1).await;
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        Handler(move |job: Job| {
            seen.add(&job);
            std::future::pending()
        })
    };
    let running = Running::start(home.worker().lease(3 * SECOND).hold_max(60 * SECOND), handler);
    home.emptied().await;
    assert_eq!(seen.of("0"), [1, 2]);
    let drained = running.ended().await;
    assert_eq!((drained.retried, drained.exhausted, drained.lost), (1, 1, 0), "{drained:?}");
    let letters = home.letters().await;
    let reasons = &letters[0].death.as_ref().unwrap().reasons;
    assert!(reasons.iter().all(|reason| reason.contains("longer than 60s")), "{reasons:?}");
}

/// Every connection of the pool is taken: leases are extended and messages settled by those that are reserved for it.
///
/// Case Q50.
#[tokio::test(start_paused = true)]
async fn leases_and_settlements_have_a_connection_of_their_own() {
    let home = Home::new(1).await;
    home.publish_numbers(3).await;
    let handler = Handler(|job: Job| async move {
        sleep(20 * SECOND).await;
        assert!(!job.is_lost());
        Ok(())
    });
    let worker = home.worker().lease(3 * SECOND).reserved(home.queue.memory.clone());
    let running = Running::start(worker, handler);
    sleep(SECOND / 2).await;
    for part in [&home.queue.receive, &home.queue.wait, &home.queue.extend, &home.queue.settle] {
        set(part, Fault::Hang);
    }
    sleep(20 * SECOND).await;
    assert_eq!(home.stats().await.acked, 3);
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.lost), (3, 0), "{drained:?}");
}

/// The heartbeat runs where it is told to: a runtime whose only thread is blocked by a handler loses no lease. A machine that is busy may sleep through a short one; then a longer one is tried.
#[test]
fn a_heartbeat_of_its_own_runtime_outlives_a_blocked_one() {
    let mut leases = [1, 5].map(|seconds| seconds * SECOND).into_iter();
    assert!(leases.any(outlives_a_blocked_runtime), "the lease was lost, however long");
}

fn outlives_a_blocked_runtime(lease: std::time::Duration) -> bool {
    let apart = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let blocked = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    blocked.block_on(async {
        let home = Home::new(1).await;
        home.publish_numbers(1).await;
        let queue = home.queue.clone();
        let handler = Handler(move |job: Job| {
            // Blocks until it has been extended often enough that its first lease is over; a bound in case it never is.
            let begun = std::time::Instant::now();
            while queue.extends.load(Ordering::SeqCst) < 6 && begun.elapsed() < 10 * lease {
                std::thread::sleep(SECOND / 100);
            }
            std::future::ready(if job.is_lost() { Err(Failure::fatal("it is lost")) } else { Ok(()) })
        });
        let worker = home.worker().lease(lease).heartbeat_on(apart.handle().clone());
        let running = Running::start(worker, handler);
        home.emptied().await;
        let drained = running.ended().await;
        (drained.done, drained.lost) == (1, 0)
    })
}
