//! Handlers by the type of a message.

use std::sync::{Arc, Mutex};

use serde::Deserialize;
use txn_queue::{
    Cause, MessageType,
    worker::{Failure, Handlers, Job, Timeout, Unknown},
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
