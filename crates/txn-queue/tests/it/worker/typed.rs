//! Handlers by the type of a message.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use serde::Deserialize;
use tokio::time::Instant;
use txn_queue::{
    Cause, MessageType,
    worker::{Failure, Handlers, Jitter, Job, RetryPolicy, Timeout, Unknown},
};

use super::{Handler, Home, Running, SECOND, message};

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Placed {
    order: u64,
}

fn typed(kind: &str) -> MessageType {
    MessageType::new(kind).unwrap()
}

/// A payload that cannot be read is dead on its first delivery, however often it might be delivered, byte for byte; what can be read is handled.
///
/// Case Q43.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_dead_at_once_with_its_bytes() {
    let home = Home::new(9).await;
    let bad: [&[u8]; 4] = [b"", b"{\"order\":\"x\"}", b"\xff\x00\xfe", b"{\"order\":1"];
    let bad_messages = bad
        .iter()
        .enumerate()
        .map(|(place, data)| message(&format!("bad-{place}")).data("application/json", data.to_vec()));
    home.publish(bad_messages).await;
    home.publish([message("good").data("application/json", *b"{\"order\":42}")]).await;
    let placed = Arc::new(Mutex::new(Vec::new()));
    let heard = placed.clone();
    let handlers = Handlers::new().on(typed("order.placed"), move |placed: Placed, job: Job| {
        heard.lock().unwrap().push((placed.order, job.deliveries()));
        async { Ok::<(), Failure>(()) }
    });
    let running = Running::start(home.worker().layer(Timeout::new(SECOND)), handlers);
    home.emptied().await;
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.dead, drained.retried), (1, 4, 0), "{drained:?}");
    assert_eq!(*placed.lock().unwrap(), [(42, 1)]);
    let letters = home.letters().await;
    for (place, data) in bad.iter().enumerate() {
        let letter = letters.iter().find(|letter| *letter.message.id == *format!("bad-{place}")).unwrap();
        let death = letter.death.as_ref().unwrap();
        assert_eq!((death.cause, death.deliveries), (Cause::Rejected, 1));
        assert_eq!(&*letter.message.data, *data);
        assert!(death.reasons[0].starts_with("the payload is no order.placed: "), "{:?}", death.reasons);
    }
}

/// A type with a policy of its own is tried again by that one, whatever happens to its handler; others by their worker's.
///
/// Case Q45.
#[tokio::test(start_paused = true)]
async fn a_type_is_tried_again_by_its_own_policy() {
    let home = Home::new(9).await;
    let kinds = ["slow", "panics", "short", "other"];
    for kind in kinds {
        let mut message = message(kind).data("application/json", *b"1");
        message.kind = typed(kind);
        home.publish([message]).await;
    }
    let policy = |seconds: u32| RetryPolicy {
        base: seconds * SECOND,
        factor: (NonZeroU32::MIN, NonZeroU32::MIN),
        jitter: Jitter::None,
        ..RetryPolicy::default()
    };
    let times: Arc<Mutex<BTreeMap<String, Vec<Instant>>>> = Arc::default();
    let heard = times.clone();
    let handle = move |_: u32, job: Job| {
        heard.lock().unwrap().entry(job.message().kind.to_string()).or_default().push(Instant::now());
        async move {
            match &*job.message().kind {
                "panics" if job.deliveries() < 3 => panic!("on purpose"),
                _ if job.deliveries() < 3 => Err(Failure::retry("on purpose")),
                _ => Ok(()),
            }
        }
    };
    let short = RetryPolicy { deliveries_max: NonZeroU32::new(2), ..policy(3) };
    let handlers = Handlers::new()
        .on_with(typed("slow"), policy(50), handle.clone())
        .on_with(typed("panics"), policy(7), handle.clone())
        .on_with(typed("short"), short, handle.clone())
        .on(typed("other"), handle);
    let running = Running::start(home.worker().retry(policy(1)), handlers);
    home.emptied().await;
    let drained = running.ended().await;
    assert_eq!((drained.done, drained.dead, drained.retried), (3, 1, 7), "{drained:?}");
    let gaps = |kind: &str| -> Vec<u64> {
        let times = &times.lock().unwrap()[kind];
        times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect()
    };
    assert_eq!(kinds.map(gaps), [vec![50, 50], vec![7, 7], vec![3], vec![1, 1]]);
    let death = home.letters().await[0].death.clone().unwrap();
    assert_eq!((death.cause, death.deliveries), (Cause::Rejected, 2));
    assert_eq!(&*death.reasons[1], "not tried again after 2 deliveries: on purpose");
}

/// A type without a handler: dead at once, done, or tried again, as the host says.
///
/// Case Q43.
#[tokio::test(start_paused = true)]
async fn a_type_without_a_handler_goes_where_the_host_says() {
    for (unknown, expected) in [
        (Unknown::DeadLetter, (1, 1, 0, vec![1])),
        (Unknown::Ack, (2, 0, 0, vec![])),
        (Unknown::Retry, (1, 0, 2, vec![3])),
    ] {
        let home = Home::new(3).await;
        let mut other = message("other");
        other.kind = typed("order.vanished");
        home.publish([message("known"), other]).await;
        let handlers =
            Handlers::new().route(typed("order.placed"), Handler(|_: Job| std::future::ready(Ok(())))).unknown(unknown);
        let running = Running::start(home.worker(), handlers);
        home.emptied().await;
        let drained = running.ended().await;
        let letters = home.letters().await;
        let died = letters.iter().map(|letter| letter.death.as_ref().unwrap().deliveries).collect::<Vec<_>>();
        assert_eq!((drained.done, drained.dead, drained.retried, died), expected, "{unknown:?}: {drained:?}");
    }
}
