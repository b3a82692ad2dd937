//! Waiting: nothing is missed between a look and a wait, and a dropped call leaves nothing behind.

use std::time::Duration;

use futures_util::future::BoxFuture;
use txn_suite::{Checked, Drops, equal, holds, race, within};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, MS, Subject, ids, message, ms, retry},
};
use crate::{
    admin::Control,
    name::ScheduleKey,
    queue::{Action, Wait},
    topology::{TopicSpec, Topology},
};

pub(super) const ALL: &[Scenario] = named![
    whoever_waits_is_woken_by_what_is_new,
    whatever_makes_ready_wakes,
    nothing_is_missed_between_a_look_and_a_wait,
    what_comes_beside_a_look_is_not_taken_for_seen,
    whoever_waits_for_room_is_woken_by_an_acknowledgement,
    dropped_calls_leave_nothing_behind,
];

/// Fails when waiting after `seen` does not end although `what` has happened.
async fn ends(subject: &Subject, what: &str, seen: crate::Seen) -> Checked {
    let wait = subject.queue.wait(Wait::Messages(subject.group.clone(), seen));
    within(10, &format!("waiting after {what}"), wait).await??;
    Ok(())
}

async fn whoever_waits_is_woken_by_what_is_new(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let seen = subject.ask("worker-1", 1, LEASE).await?.seen;
    let wait = subject.queue.wait(Wait::Messages(subject.group.clone(), seen));
    let early = txn_suite::at_most(Duration::from_millis(20), wait).await;
    holds("waiting does not end while there is nothing", early.is_none())?;
    let waiter = subject.clone();
    let jobs: Vec<BoxFuture<'static, Checked>> = vec![
        Box::pin(async move { ends(&waiter, "a message came", seen).await }),
        Box::pin({
            let subject = subject.clone();
            async move { subject.send(&["1"]).await }
        }),
    ];
    race(&harness.runs(), jobs).await?.into_iter().collect()
}

async fn whatever_makes_ready_wakes(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let key = ScheduleKey::new("a")?;
    subject.accepted(vec![message("later")?.delay(ms(100)).schedule_key(key.clone()), message("1")?]).await?;
    let held = subject.one().await?;
    let look = async || Ok::<_, txn_suite::Failure>(subject.ask("worker-2", 1, LEASE).await?.seen);
    let seen = look().await?;
    subject.apply(&held, Action::Release).await?;
    ends(&subject, "a release", seen).await?;
    let held = subject.one().await?;
    let seen = look().await?;
    subject.apply(&held, retry(MS)).await?;
    ends(&subject, "a retry, which is ready sooner than anything before", seen).await?;
    let seen = look().await?;
    let sooner = crate::Reschedule { topic: subject.topic.clone(), key, due: Some(crate::When::After(MS)) };
    subject.queue.reschedule(vec![sooner]).await?;
    ends(&subject, "a message was moved", seen).await?;
    subject.queue.control(Control::Pause(subject.group.clone())).await?;
    let seen = look().await?;
    subject.queue.control(Control::Resume(subject.group.clone())).await?;
    ends(&subject, "the group goes on", seen).await
}

async fn nothing_is_missed_between_a_look_and_a_wait(harness: &Harness) -> Checked {
    const MESSAGES: usize = 300;
    let subject = harness.fresh().await?.plain().await?;
    let worker = |name: &'static str| {
        let subject = subject.clone();
        let job: BoxFuture<'static, Checked<Vec<String>>> = Box::pin(async move {
            let mut got = Vec::new();
            loop {
                let received = subject.ask(name, 3, LEASE).await?;
                let is_last = received.deliveries.iter().any(|delivery| &*delivery.message.id == "last");
                got.extend(ids(&received.deliveries));
                subject.settle_all(&received.deliveries, &Action::Ack).await?;
                if is_last {
                    return Ok(got);
                }
                if received.deliveries.is_empty() {
                    ends(&subject, "a message came", received.seen).await?;
                }
            }
        });
        job
    };
    let publisher = subject.clone();
    let publishing: BoxFuture<'static, Checked<Vec<String>>> = Box::pin(async move {
        for n in 0..MESSAGES {
            publisher.send(&[&format!("m{n}")]).await?;
        }
        publisher.send(&["last"]).await?;
        Ok(Vec::new())
    });
    let got = race(&harness.runs(), vec![worker("worker-1"), publishing]).await?;
    let got: Vec<String> = got.into_iter().collect::<Checked<Vec<_>>>()?.concat();
    equal("how many were received", &got.len(), &MESSAGES.saturating_add(1))
}

/// A durable backend took a look and a message that came right after it together, and told the look that it had seen the message: whoever waited then slept beside it.
async fn what_comes_beside_a_look_is_not_taken_for_seen(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let other = subject.through(&subject.topic, "others")?;
    other.queue.declare(Topology::default().group(other.spec())).await?;
    for round in 0..20u32 {
        // While the first call is done, the two others gather.
        let first = other.ask("worker-1", 1, LEASE);
        let look = subject.ask("worker-1", 9, LEASE);
        let names = [format!("a{round}"), format!("b{round}"), format!("c{round}")];
        let [before, beside, after] = &names;
        let (before, beside, after) = ([before.as_str()], [beside.as_str()], [after.as_str()]);
        let sent = futures_util::future::join3(subject.send(&before), subject.send(&beside), subject.send(&after));
        let (first, looked, (one, two, three)) = futures_util::future::join3(first, look, sent).await;
        first?;
        one.and(two).and(three)?;
        let looked = looked?;
        let mut got = looked.deliveries;
        let mut seen = looked.seen;
        while got.len() < 3 {
            ends(&subject, "a message came beside a look", seen).await?;
            let again = subject.ask("worker-1", 9, LEASE).await?;
            seen = again.seen;
            got.extend(again.deliveries);
        }
        subject.settle_all(&got, &Action::Ack).await?;
    }
    Ok(())
}

/// Case Q48.
async fn whoever_waits_for_room_is_woken_by_an_acknowledgement(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let small = TopicSpec { messages_max: 1, ..TopicSpec::new(subject.topic.clone()) };
    subject.queue.declare(Topology::default().topic(small)).await?;
    let room = || subject.queue.wait(Wait::Room(subject.topic.clone()));
    within(10, "waiting while there is room", room()).await??;
    subject.send(&["1"]).await?;
    holds("there is none", txn_suite::at_most(Duration::from_millis(20), room()).await.is_none())?;
    let held = subject.one().await?;
    let waiter = subject.clone();
    let jobs: Vec<BoxFuture<'static, Checked>> = vec![
        Box::pin(async move {
            let room = waiter.queue.wait(Wait::Room(waiter.topic.clone()));
            within(10, "waiting for room", room).await??;
            waiter.send(&["2"]).await
        }),
        Box::pin({
            let subject = subject.clone();
            async move { subject.ack(&held).await }
        }),
    ];
    race(&harness.runs(), jobs).await?.into_iter().collect::<Checked>()?;
    subject.ready("when there was room", &["2"]).await.map(drop)
}

/// Case Q8.
async fn dropped_calls_leave_nothing_behind(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let mut drops = Drops::at_moments(2);
    let mut sent = 0u32;
    while !drops.is_over() {
        let id = format!("m{}", drops.calls());
        sent = sent.saturating_add(1);
        drops.call(subject.send(&[&id])).await.transpose()?;
    }
    let mut drops = Drops::at_moments(2);
    while !drops.is_over() {
        drops.call(subject.receive(1)).await.transpose()?;
    }
    subject.pass(LEASE);
    let all = subject.receive(1_000).await?;
    holds("no more are there than were sent", all.len() <= usize::try_from(sent).unwrap_or(usize::MAX))?;
    let mut drops = Drops::at_moments(2);
    for delivery in &all {
        if drops.is_over() {
            break;
        }
        drops.call(subject.settle(delivery, Action::Ack)).await.transpose()?;
    }
    subject.pass(LEASE);
    // Each is acknowledged, or comes again: none is lost between.
    let again = subject.receive(1_000).await?;
    let acked = usize::try_from(subject.stats().await?.acked).unwrap_or(usize::MAX);
    equal("those that were settled, and those that come again", &acked.saturating_add(again.len()), &all.len())
}
