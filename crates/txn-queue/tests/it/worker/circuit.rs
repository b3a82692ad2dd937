//! What a worker does while something that every handler needs is out.

use tokio::time::{Instant, sleep};
use txn_queue::worker::{Failure, Job};

use super::{Crowd, Handler, Home, Running, SECOND, Seen};

/// Ten minutes without the bank, a hundred messages that may be delivered once: consumption pauses, one message at a time is tried, nothing is counted or dead, and all are done soon after.
///
/// Case Q46.
#[tokio::test(start_paused = true)]
async fn an_outage_downstream_pauses_consumption_and_flushes_nothing() {
    let home = Home::new(1).await;
    home.publish_numbers(100).await;
    let (seen, crowd, begun) = (Seen::default(), Crowd::default(), Instant::now());
    let handler = {
        let (seen, crowd) = (seen.clone(), crowd.clone());
        Handler(move |job: Job| {
            let (seen, crowd) = (seen.clone(), crowd.clone());
            async move {
                seen.add(&job);
                if begun.elapsed() > 60 * SECOND && begun.elapsed() < 600 * SECOND {
                    let _inside = crowd.enter();
                    sleep(SECOND / 10).await;
                }
                if begun.elapsed() < 600 * SECOND { Err(Failure::unavailable("the bank is out")) } else { Ok(()) }
            }
        })
    };
    let running = Running::start(home.worker().concurrency(8).prefetch(8).lease(10 * SECOND), handler);
    sleep(599 * SECOND).await;
    // Those that ran when it opened, and then a probe a minute at last: 1, 2, 4, 8, 16, 32, 60, …
    assert!((10..=40).contains(&seen.total()), "{} tries", seen.total());
    assert_eq!(crowd.most(), 1, "one probe at a time");
    let stats = home.stats().await;
    assert_eq!((stats.dead, stats.depth), (0, 100), "{stats:?}");
    assert!(stats.leased <= 1, "{stats:?}");
    home.emptied().await;
    assert!(begun.elapsed() < 665 * SECOND, "{:?}", begun.elapsed());
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.dead, drained.retried), (100, 0, 0), "{drained:?}");
    assert!(home.letters().await.is_empty());
    assert!((0..100).all(|id| seen.of(&id.to_string()).iter().all(|deliveries| *deliveries == 1)));
}

/// What is held in advance when the circuit opens is not begun: it goes back, for a worker that may reach what this one cannot.
///
/// Case Q46.
#[tokio::test(start_paused = true)]
async fn what_is_held_in_advance_goes_back_when_the_circuit_opens() {
    let home = Home::new(1).await;
    home.publish_numbers(12).await;
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        Handler(move |job: Job| {
            seen.add(&job);
            std::future::ready(Err(Failure::unavailable("out")))
        })
    };
    let running = Running::start(home.worker().concurrency(1).prefetch(11), handler);
    sleep(SECOND / 2).await;
    // Five failures open it; these five rest before they go back.
    assert_eq!((seen.total(), home.stats().await.leased), (5, 5));
    sleep(SECOND).await;
    assert_eq!(seen.total(), 6, "one probe");
    running.ended().await;
    assert_eq!((home.stats().await.leased, home.stats().await.dead), (0, 0));
}

/// A few messages that find their own shop out do not open the circuit for the others, and do not make a busy loop either.
///
/// Case Q46.
#[tokio::test(start_paused = true)]
async fn one_that_is_put_back_makes_no_busy_loop() {
    let home = Home::new(1).await;
    home.publish_numbers(1).await;
    let seen = Seen::default();
    let handler = {
        let seen = seen.clone();
        Handler(move |job: Job| {
            seen.add(&job);
            std::future::ready(Err(Failure::release()))
        })
    };
    let running = Running::start(home.worker(), handler);
    sleep(60 * SECOND + SECOND / 2).await;
    assert!((55..=61).contains(&seen.total()), "{} tries", seen.total());
    let begun = Instant::now();
    let drained = running.ended().await;
    assert!(begun.elapsed() < SECOND);
    assert!(drained.released >= 55, "{drained:?}");
    assert_eq!(home.take(1).await[0].deliveries, 1);
}

/// A drain ends the pause of an open circuit at once.
///
/// Case Q46.
#[tokio::test(start_paused = true)]
async fn an_open_circuit_does_not_hold_the_drain() {
    let home = Home::new(1).await;
    home.publish_numbers(20).await;
    let handler = Handler(|_: Job| std::future::ready(Err(Failure::unavailable("out"))));
    let running = Running::start(home.worker().drain(1_000 * SECOND), handler);
    sleep(200 * SECOND).await;
    let begun = Instant::now();
    let drained = running.ended().await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert!(drained.released > 0 && drained.dead == 0, "{drained:?}");
    assert_eq!(home.stats().await.leased, 0);
}
