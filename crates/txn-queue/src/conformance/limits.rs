//! Limits: at n, and one more.

use std::{sync::Arc, time::Duration};

use txn_suite::{Checked, Failure, equal};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, message},
};
use crate::{
    capabilities::Need,
    error::{Error, ErrorKind},
    limits::QueueLimits,
    message::{Attribute, Message},
    name::{AttributeName, GroupName, WorkerId},
    queue::{Action, Group, Published, Receive, Refusal, Seen, Wait},
    topology::{TopicSpec, Topology},
};

pub(super) const ALL: &[Scenario] = named![
    messages_are_as_large_as_they_may_be_and_no_larger,
    any_bytes_are_data,
    batches_and_leases_have_their_limits,
    names_of_ours_are_nobody_elses,
    what_is_not_there_is_said,
    what_is_needed_and_not_claimed_is_refused_when_it_is_declared,
];

fn small() -> QueueLimits {
    QueueLimits {
        batch_max: 3,
        receive_max: 2,
        data_max: 256,
        attributes_max: 64,
        extensions_max: 2,
        lease_max: Duration::from_secs(60),
        ..QueueLimits::default()
    }
}

fn invalid<T>(what: &str, result: Result<T, Error>) -> Checked {
    match result {
        Err(error) => equal(what, &error.kind(), &ErrorKind::Invalid),
        Ok(_) => Err(Failure::new(format!("{what}: expected an error, found none"))),
    }
}

/// Case Q32.
async fn messages_are_as_large_as_they_may_be_and_no_larger(harness: &Harness) -> Checked {
    let subject = harness.limited(small()).await?.plain().await?;
    let data = |bytes: usize| Ok::<_, Failure>(message("data")?.data("a/b", vec![0; bytes]));
    let about = |bytes: usize| Ok::<_, Failure>(message("about")?.data("", vec![]).subject("s".repeat(bytes)));
    let attribute = |name: &str| Ok::<_, Failure>((AttributeName::new(name)?, Attribute::Integer(1)));
    let more = |names: &[&str]| {
        let mut message = message("more")?.data("", vec![]);
        message.extensions = names.iter().map(|name| attribute(name)).collect::<Checked<_>>()?;
        Ok::<Message, Failure>(message)
    };
    subject.accepted(vec![data(0)?, data(1)?, data(256)?]).await?;
    subject.accepted(vec![about(64)?, more(&["a", "b"])?]).await?;
    for (message, what, found, max) in [
        (data(257)?, "bytes of data", 257, 256),
        (about(65)?, "bytes of attributes", 65, 64),
        (more(&["a", "b", "c"])?, "extension attributes", 3, 2),
    ] {
        let refusal = Refusal::TooLarge { what, found, max };
        equal(what, &subject.publish(message).await?, &Published::Refused(refusal))?;
    }
    equal("how many are there", &subject.stats().await?.depth, &5)
}

/// Case Q32.
async fn any_bytes_are_data(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let bytes: Vec<u8> = (0..=255).collect();
    subject.accepted(vec![message("bytes")?.data("application/octet-stream", bytes.clone())]).await?;
    equal("the data", &subject.one().await?.message.data.to_vec(), &bytes)
}

async fn batches_and_leases_have_their_limits(harness: &Harness) -> Checked {
    let subject = harness.limited(small()).await?.plain().await?;
    subject.send(&["1", "2", "3"]).await?;
    let four = [message("4")?, message("5")?, message("6")?, message("7")?].map(Arc::new);
    let to = crate::Address::Topic(subject.topic.clone());
    let together = crate::Publish { to: to.clone(), messages: four.to_vec() };
    invalid("four messages", subject.queue.publish(vec![together]).await)?;
    let apart = four.map(|message| crate::Publish::one(to.clone(), message));
    invalid("four messages by themselves", subject.queue.publish(apart.into()).await)?;
    let ask = |max, lease| {
        let worker = WorkerId::new("worker-1").map_err(Failure::from);
        worker.map(|worker| subject.queue.receive(Receive { group: subject.group.clone(), worker, max, lease }))
    };
    invalid("three at once", ask(3, LEASE)?.await)?;
    invalid("a lease of more than a minute", ask(1, Duration::from_secs(61))?.await)?;
    invalid("a lease of nothing", ask(1, Duration::ZERO)?.await)?;
    let deliveries = ask(2, Duration::from_secs(60))?.await?.deliveries;
    equal("how many were received", &deliveries.len(), &2)?;
    let extend = Action::Extend { lease: Duration::from_secs(61) };
    let settles = deliveries.iter().map(|d| crate::Settle { lease: d.lease, action: extend.clone() });
    invalid("an extension by more than a minute", subject.queue.settle(&subject.group, settles.collect()).await)?;
    let reason = "r".repeat(65);
    for action in
        [Action::Dead { reason: reason.as_str().into() }, Action::Retry { after: LEASE, reason: reason.into() }]
    {
        let settles = deliveries.iter().map(|d| crate::Settle { lease: d.lease, action: action.clone() });
        invalid("a reason of 65 bytes", subject.queue.settle(&subject.group, settles.collect()).await)?;
    }
    let redrive = crate::Redrive { group: subject.group.clone(), max: 3, rate: None, which: crate::Which::default() };
    invalid("three dead letters at once", subject.queue.redrive(redrive).await)?;
    subject.settle_all(&deliveries, &Action::Ack).await?;
    equal("what is left", &subject.stats().await?.depth, &1)
}

/// Case Q32.
async fn names_of_ours_are_nobody_elses(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    for name in ["txnpriority", "txnanything", "traceparent", "id", "data"] {
        let name = AttributeName::new(name)?;
        let message = message("1")?.extension(name.clone(), "x".into());
        equal("its name", &subject.publish(message).await?, &Published::Refused(Refusal::Reserved { name }))?;
    }
    subject.nothing("of them").await
}

async fn what_is_not_there_is_said(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let nobody = Group::new(subject.topic.clone(), GroupName::new("nobody")?);
    let receive = Receive { group: nobody.clone(), worker: WorkerId::new("worker-1")?, max: 1, lease: LEASE };
    invalid("a group that is not", subject.queue.receive(receive).await)?;
    invalid("waiting for it", subject.queue.wait(Wait::Messages(nobody, Seen::default())).await)
}

/// Nobody finds out only when a message is on its way.
async fn what_is_needed_and_not_claimed_is_refused_when_it_is_declared(harness: &Harness) -> Checked {
    for need in [
        Need::Durable,
        Need::Delay(LEASE),
        Need::Cancel,
        Need::Priority,
        Need::KeyOrder,
        Need::Dedupe(LEASE),
        Need::Replay,
        Need::HostTransactions,
    ] {
        let subject = harness.fresh().await?;
        let plain = TopicSpec { dedupe_window: Duration::ZERO, ..TopicSpec::new(subject.topic.clone()) };
        let declared = subject.queue.declare(Topology::default().topic(plain).need(need)).await;
        let wanted = if subject.queue.capabilities().meets(need) { Ok(()) } else { Err(ErrorKind::Unsupported) };
        equal(&format!("declaring {need:?}"), &declared.map_err(|error| error.kind()), &wanted)?;
        let is_there = subject.queue.stats().await?.topics.contains_key(&subject.topic);
        equal(&format!("whether the topic is there that needs {need:?}"), &is_there, &wanted.is_ok())?;
    }
    Ok(())
}
