//! When messages are tried again.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use txn_queue::{
    Cause,
    worker::{Drained, Failure, Jitter, Job, RetryPolicy},
};

use super::{Handler, Home, Running, SECOND, Seen, message};

/// Three processes share a group whose one message always fails: it is delivered as often as the group allows, each time with the next number, and waits as long as the policy says.
///
/// Case Q45.
#[tokio::test(start_paused = true)]
async fn attempts_are_exact_across_three_workers() {
    let home = Home::new(7).await;
    home.publish_numbers(1).await;
    let (seen, times) = (Seen::default(), Arc::new(Mutex::new(Vec::new())));
    let handler = {
        let (seen, times) = (seen.clone(), times.clone());
        Handler(move |job: Job| {
            seen.add(&job);
            times.lock().unwrap().push(Instant::now());
            std::future::ready(Err(Failure::retry("again")))
        })
    };
    let policy = RetryPolicy { max: 10 * SECOND, ..RetryPolicy::default() };
    let running = [0; 3].map(|_| Running::start(home.worker().retry(policy), handler.clone()));
    home.emptied().await;
    assert_eq!(seen.of("0"), [1, 2, 3, 4, 5, 6, 7]);
    let whole = RetryPolicy { jitter: Jitter::None, ..policy };
    for (gap, deliveries) in times.lock().unwrap().windows(2).zip(1..) {
        let (gap, expected) = (gap[1] - gap[0], policy.wait(deliveries, "0"));
        assert!(expected <= whole.wait(deliveries, "0"));
        assert!(gap >= expected && gap < expected + SECOND / 100, "{deliveries}: {gap:?} {expected:?}");
    }
    let (mut retried, mut exhausted) = (0, 0);
    for running in running {
        let drained = running.ended().await;
        (retried, exhausted) = (retried + drained.retried, exhausted + drained.exhausted);
    }
    assert_eq!((retried, exhausted), (6, 1));
    let death = home.letters().await[0].death.clone().unwrap();
    assert_eq!((death.cause, death.deliveries), (Cause::Exhausted, 7));
}

/// Threads, three workers and two thousand messages that fail, are put back or succeed by their number: each comes to its one end, counted without a gap, and nothing is lost or handled beyond it.
///
/// Case Q45.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_counted_twice_under_threads() {
    let home = Home::new(4).await;
    home.publish_numbers(2_000).await;
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        Handler(move |job: Job| {
            let (seen, number) = (seen.clone(), job.message().id.parse::<u32>().unwrap());
            async move {
                tokio::task::yield_now().await;
                // Put back once, and not counted: it has this number again.
                if number % 7 == 0 && seen.of(&job.message().id).is_empty() {
                    seen.add(&job);
                    return Err(Failure::release());
                }
                seen.add(&job);
                match number % 5 {
                    0 => Err(Failure::retry_after(Duration::ZERO, "always")),
                    1 if job.deliveries() < 3 => Err(Failure::retry("twice")),
                    2 => Err(Failure::fatal("never")),
                    _ => Ok(()),
                }
            }
        })
    };
    let policy =
        RetryPolicy { base: Duration::from_millis(2), max: Duration::from_millis(5), ..RetryPolicy::default() };
    let worker = || home.worker().retry(policy).concurrency(16).prefetch(16).batch(64);
    let running = [0; 3].map(|_| Running::start(worker(), handler.clone()));
    home.emptied().await;
    let mut drained = Vec::new();
    for running in running {
        drained.push(running.ended().await);
    }
    let sum = |part: fn(&Drained) -> u64| drained.iter().map(part).sum::<u64>();
    assert_eq!((sum(|d| d.done), sum(|d| d.dead)), (1_200, 400));
    assert_eq!((sum(|d| d.exhausted), sum(|d| d.retried)), (400, 400 * 3 + 400 * 2));
    assert_eq!((sum(|d| d.lost), sum(|d| d.unknown)), (0, 0), "{drained:?}");
    let stats = home.stats().await;
    assert_eq!((stats.acked, stats.dead), (1_200, 800), "{stats:?}");
    for number in 0..2_000_u32 {
        let deliveries = [4, 3, 1, 1, 1][number as usize % 5];
        let put_back = (number % 7 == 0).then_some(1);
        let expected: Vec<u32> = put_back.into_iter().chain(1..=deliveries).collect();
        assert_eq!(seen.of(&number.to_string()), expected, "message {number}");
    }
}

/// What can never succeed is not tried again, what asks for a wait of its own gets it, and nothing is tried again beyond the time that a message may take.
///
/// Case Q45.
#[tokio::test(start_paused = true)]
async fn classes_and_the_longest_time_are_honoured() {
    let home = Home::new(1_000).await;
    home.publish(["fatal", "after", "long"].map(message)).await;
    // Its time begins when it is due.
    home.publish([message("delayed").delay(100 * SECOND)]).await;
    let (begun, times) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let handler = {
        let times = times.clone();
        Handler(move |job: Job| {
            let id = job.message().id.to_string();
            times.lock().unwrap().push((id, begun.elapsed().as_secs()));
            std::future::ready(match (&*job.message().id, job.deliveries()) {
                ("fatal", _) => Err(Failure::fatal("never")),
                ("after", 1) => Err(Failure::retry_after(17 * SECOND, "busy")),
                ("after", _) => Ok(()),
                _ => Err(Failure::retry("again")),
            })
        })
    };
    let policy = RetryPolicy {
        base: 10 * SECOND,
        factor: (NonZeroU32::MIN, NonZeroU32::MIN),
        jitter: Jitter::None,
        max_elapsed: Some(35 * SECOND),
        ..RetryPolicy::default()
    };
    let running = Running::start(home.worker().retry(policy), handler);
    home.emptied().await;
    let of = |id: &str| -> Vec<u64> {
        times.lock().unwrap().iter().filter(|(other, _)| other == id).map(|(_, time)| *time).collect()
    };
    assert_eq!(of("fatal"), [0]);
    assert_eq!(of("after"), [0, 17]);
    assert_eq!(of("long"), [0, 10, 20, 30]);
    assert_eq!(of("delayed"), [100, 110, 120, 130]);
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.dead), (1, 3), "{drained:?}");
    let letters = home.letters().await;
    let long = letters.iter().find(|letter| &*letter.message.id == "long").unwrap().death.clone().unwrap();
    assert_eq!((long.cause, long.deliveries), (Cause::Rejected, 4));
    assert_eq!(&**long.reasons.last().unwrap(), "not tried again after 35s: again");
}
