//! Dead letters: their reason, origin and history, and the way back.

use std::{num::NonZeroU32, time::Duration};

use txn_suite::{Checked, equal, holds, some};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, MS, START, Subject, ids, ms, retry},
};
use crate::{
    admin::{Redrive, Redriven, Which},
    name::Topic,
    queue::{Action, Delivery, Position, Settle, Settled},
    topology::{Cause, GroupSpec, Rate, TopicSpec, Topology},
};

pub(super) const ALL: &[Scenario] = named![
    a_message_that_was_rejected_says_why_and_where,
    a_message_is_dead_when_it_was_delivered_as_often_as_it_may_be,
    a_message_that_kills_its_workers_is_dead_too,
    dead_letters_that_have_no_room_are_not_lost,
    dead_letters_can_be_chosen_and_are_sent_back_to_their_group_alone,
    dead_letters_are_sent_back_once_and_at_a_rate,
    redrives_at_once_send_each_letter_back_once,
    a_message_that_dies_again_keeps_its_history,
    a_message_that_dies_is_settled_once_in_a_batch,
    a_letter_that_is_sent_back_holds_nobody_up,
    letters_that_are_sent_back_make_room,
    a_redrive_of_what_is_not_there_fails_alone,
];

/// The subject's group gives up after so many deliveries.
async fn giving_up(harness: &Harness, deliveries: u32) -> Checked<Subject> {
    let subject = harness.fresh().await?;
    let deliveries_max = some("a number", NonZeroU32::new(deliveries))?;
    let spec = GroupSpec { deliveries_max, ..subject.spec() };
    subject.with(spec).await
}

/// Whoever reads the dead letters.
async fn graveyard(subject: &Subject) -> Checked<Subject> {
    let reader = subject.through(&subject.spec().dead_letter_topic(), "people")?;
    reader.queue.declare(Topology::default().group(reader.spec())).await?;
    Ok(reader)
}

fn everything(subject: &Subject) -> Redrive {
    Redrive { group: subject.group.clone(), max: 1_000, rate: None, which: Which::default() }
}

/// Case Q43.
async fn a_message_that_was_rejected_says_why_and_where(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    subject.pass(MS);
    let delivery = subject.one().await?;
    subject.pass(MS);
    subject.apply(&delivery, Action::Dead { reason: "cannot be read".into() }).await?;
    subject.pass(LEASE);
    subject.nothing("after it was rejected").await?;
    let letter = graveyard(&subject).await?.one().await?;
    equal("the message", &letter.message, &delivery.message)?;
    let death = some("how it died", letter.death)?;
    equal("the cause", &death.cause, &Cause::Rejected)?;
    equal("the reasons", &death.reasons, &vec!["cannot be read".into()])?;
    equal("the group", &death.group, &subject.group)?;
    equal("its place there", &death.position, &delivery.lease.position)?;
    equal("how often it was delivered", &death.deliveries, &1)?;
    equal("when it was accepted", &death.accepted_at, &START)?;
    equal("when it died", &death.died_at, &START.after(ms(2))?)
}

/// Case Q45.
async fn a_message_is_dead_when_it_was_delivered_as_often_as_it_may_be(harness: &Harness) -> Checked {
    let subject = giving_up(harness, 3).await?;
    subject.send(&["1"]).await?;
    for nth in 1..=3u32 {
        let delivery = subject.one().await?;
        equal("how often it was delivered", &delivery.deliveries, &nth)?;
        equal("whether that was the last time", &delivery.is_last, &(nth == 3))?;
        subject.apply(&delivery, Action::Retry { after: MS, reason: format!("attempt {nth}").into() }).await?;
        subject.pass(MS);
    }
    subject.nothing("after the third time").await?;
    let death = some("how it died", graveyard(&subject).await?.one().await?.death)?;
    equal("the cause", &death.cause, &Cause::Exhausted)?;
    equal("the reasons", &death.reasons, &vec!["attempt 1".into(), "attempt 2".into(), "attempt 3".into()])
}

async fn a_message_that_kills_its_workers_is_dead_too(harness: &Harness) -> Checked {
    let subject = giving_up(harness, 2).await?;
    subject.send(&["poison", "good"]).await?;
    for _ in 0..2 {
        let delivery = subject.next().await?;
        equal("the message", &&*delivery.message.id, &"poison")?;
        subject.pass(LEASE);
        // It stands behind the good one now: that one is put aside.
        let good = subject.next().await?;
        if &*good.message.id == "poison" {
            subject.pass(LEASE);
            break;
        }
        subject.apply(&good, Action::Release).await?;
    }
    subject.pass(LEASE);
    subject.ready("when the poison is dead", &["good"]).await?;
    equal("how many are dead", &subject.stats().await?.dead, &1)
}

/// Case Q44.
async fn dead_letters_that_have_no_room_are_not_lost(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let letters = Topic::new("letters")?;
    let small = TopicSpec { messages_max: 1, ..TopicSpec::new(letters.clone()) };
    subject.queue.declare(Topology::default().topic(small)).await?;
    let spec = GroupSpec { dead_letters: Some(letters.clone()), ..subject.spec() };
    let subject = subject.with(spec).await?;
    subject.send(&["1", "2"]).await?;
    for delivery in subject.receive(2).await? {
        subject.apply(&delivery, Action::Dead { reason: "no".into() }).await?;
    }
    let stats = subject.stats().await?;
    equal("how many are dead, and how many are left", &(stats.dead, stats.depth), &(1, 1))?;
    subject.nothing("at once").await?;
    let reader = subject.through(&letters, "people")?;
    reader.queue.declare(Topology::default().group(reader.spec())).await?;
    reader.ack(&reader.one().await?).await?;
    subject.pass(Duration::from_secs(3_600));
    let again = subject.one().await?;
    equal("the message", &&*again.message.id, &"2")?;
    subject.apply(&again, Action::Dead { reason: "no".into() }).await?;
    equal("the other letter", &&*reader.one().await?.message.id, &"2")
}

/// Case Q47.
async fn dead_letters_can_be_chosen_and_are_sent_back_to_their_group_alone(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let other = subject.through(&subject.topic, "others")?;
    other.queue.declare(Topology::default().group(other.spec())).await?;
    subject.send(&["1", "2", "3"]).await?;
    for (delivery, reason) in subject.receive(3).await?.iter().zip(["late: gateway", "broken", "late: courier"]) {
        subject.apply(delivery, Action::Dead { reason: reason.into() }).await?;
    }
    let which = Which { reason: Some("late".into()), ..Which::default() };
    let redriven = subject.queue.redrive(Redrive { which, ..everything(&subject) }).await?;
    equal("what was sent back", &redriven, &Redriven { moved: 2, has_more: false })?;
    let again = subject.ready("after the redrive", &["1", "3"]).await?;
    holds("they are counted from one", again.iter().all(|delivery| delivery.deliveries == 1))?;
    other.ready("in the other group", &["1", "2", "3"]).await?;
    equal("what is still dead", &ids(&[graveyard(&subject).await?.one().await?]), &vec!["2".to_owned()])
}

/// Case Q47.
async fn dead_letters_are_sent_back_once_and_at_a_rate(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let names: Vec<String> = (0..10).map(|n| format!("m{n}")).collect();
    subject.send(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    subject.settle_all(&subject.receive(10).await?, &Action::Dead { reason: "no".into() }).await?;
    let rate = Some(Rate { messages: NonZeroU32::MIN.saturating_add(1), per: ms(100) });
    let slowly = Redrive { max: 6, rate, ..everything(&subject) };
    equal("the first", &subject.queue.redrive(slowly.clone()).await?, &Redriven { moved: 6, has_more: true })?;
    equal("the second", &subject.queue.redrive(slowly.clone()).await?, &Redriven { moved: 4, has_more: false })?;
    equal("the third", &subject.queue.redrive(slowly).await?, &Redriven { moved: 0, has_more: false })?;
    let mut got = ids(&subject.receive(100).await?);
    equal("what is ready at once: the first of each", &got.len(), &2)?;
    subject.pass(ms(100));
    got.extend(ids(&subject.receive(100).await?));
    equal("what was ready after two intervals", &got.len(), &6)?;
    subject.pass(ms(1_000));
    got.extend(ids(&subject.receive(100).await?));
    got.sort();
    equal("what has come back", &got, &names)
}

/// Case Q47.
async fn redrives_at_once_send_each_letter_back_once(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let names: Vec<String> = (0..400).map(|n| format!("m{n:03}")).collect();
    subject.send(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    for (reason, count) in [("late", 300), ("broken", 100)] {
        let deliveries = subject.receive(count).await?;
        subject.settle_all(&deliveries, &Action::Dead { reason: reason.into() }).await?;
    }
    let jobs = (0..4).map(|_| {
        let subject = subject.clone();
        let job: futures_util::future::BoxFuture<'static, Checked<usize>> = Box::pin(async move {
            let which = Which { reason: Some("late".into()), ..Which::default() };
            let redrive = Redrive { max: 40, which, ..everything(&subject) };
            let mut moved = 0usize;
            loop {
                let redriven = subject.queue.redrive(redrive.clone()).await?;
                moved = moved.saturating_add(redriven.moved);
                if !redriven.has_more {
                    return Ok(moved);
                }
            }
        });
        job
    });
    let moved = txn_suite::race(&harness.runs(), jobs.collect()).await?.into_iter().collect::<Checked<Vec<_>>>()?;
    equal("what all of them sent back", &moved.iter().copied().fold(0, usize::saturating_add), &300)?;
    let mut got = ids(&subject.receive(1_000).await?);
    got.sort();
    equal("what has come back, each once", &got, &names.into_iter().take(300).collect())?;
    equal("what is still dead", &graveyard(&subject).await?.receive(1_000).await?.len(), &100)
}

/// Case Q61.
async fn a_message_that_dies_again_keeps_its_history(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    subject.send(&["1"]).await?;
    for reason in ["first", "second"] {
        subject.apply(&subject.one().await?, Action::Dead { reason: reason.into() }).await?;
        subject.queue.redrive(everything(&subject)).await?;
    }
    subject.apply(&subject.one().await?, Action::Dead { reason: "third".into() }).await?;
    let letter = graveyard(&subject).await?.one().await?;
    equal("the id", &&*letter.message.id, &"1")?;
    let death = some("how it died", letter.death)?;
    equal("the reasons", &death.reasons, &vec!["first".into(), "second".into(), "third".into()])?;
    equal("how often it was sent back", &death.redriven, &2)?;
    holds("it has a place of its own", death.position > Position(0))
}

/// Case Q5.
async fn a_message_that_dies_is_settled_once_in_a_batch(harness: &Harness) -> Checked {
    let subject = giving_up(harness, 1).await?;
    subject.send(&["1", "2"]).await?;
    let deliveries = subject.receive(2).await?;
    let settle = |delivery: &Delivery, action: Action| Settle { lease: delivery.lease, action };
    let dead = || Action::Dead { reason: "no".into() };
    let [first, second] = &deliveries[..] else { return holds("two messages are ready", false) };
    let batch = vec![
        settle(first, dead()),
        settle(first, dead()),
        settle(first, Action::Ack),
        settle(second, retry(MS)),
        settle(second, Action::Ack),
    ];
    let settled = subject.queue.settle(&subject.group, batch).await?;
    let applied: Vec<bool> = settled.iter().map(|settled| *settled == Settled::Applied).collect();
    equal("what was applied", &applied, &vec![true, false, false, true, false])?;
    let stats = subject.stats().await?;
    equal("what is left, done, dead and held", &(stats.depth, stats.acked, stats.dead, stats.leased), &(0, 0, 2, 0))?;
    equal("the letters", &graveyard(&subject).await?.receive(10).await?.len(), &2)
}

async fn a_letter_that_is_sent_back_holds_nobody_up(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let reader = graveyard(&subject).await?;
    let bury = async |id: &str| {
        subject.send_keyed(&[id]).await?;
        subject.apply(&subject.one().await?, Action::Dead { reason: "no".into() }).await
    };
    // One is held, one waits for its retry, one is ready: each before another of its key.
    for id in ["held/1", "late/1", "ready/1"] {
        bury(id).await?;
    }
    let letters = reader.receive(2).await?;
    let [held, late] = &letters[..] else { return holds("two letters are ready", false) };
    reader.apply(late, retry(LEASE)).await?;
    equal("what was sent back", &subject.queue.redrive(everything(&subject)).await?.moved, &3)?;
    equal("the letter that was held", &reader.settle(held, Action::Ack).await?, &Settled::Gone)?;
    let asked = reader.ask("worker-1", 10, LEASE).await?;
    equal("what is ready, and will be", &(asked.deliveries.len(), asked.next_in), &(0, None))?;
    equal("what is left", &reader.stats().await?.depth, &0)?;
    let again = subject.ready("when they are back", &["held/1", "late/1", "ready/1"]).await?;
    subject.settle_all(&again, &Action::Ack).await?;
    for id in ["held/2", "late/2", "ready/2"] {
        bury(id).await?;
    }
    reader.ready("of the same keys", &["held/2", "late/2", "ready/2"]).await.map(drop)
}

async fn letters_that_are_sent_back_make_room(harness: &Harness) -> Checked {
    let subject = giving_up(harness, 1).await?;
    let letters = TopicSpec { messages_max: 1, ..TopicSpec::new(subject.spec().dead_letter_topic()) };
    subject.queue.declare(Topology::default().topic(letters)).await?;
    subject.send(&["1"]).await?;
    for _ in 0..3 {
        let delivery = subject.one().await?;
        subject.apply(&delivery, Action::Dead { reason: "no".into() }).await?;
        let redriven = subject.queue.redrive(everything(&subject)).await?;
        equal("what was sent back", &redriven, &Redriven { moved: 1, has_more: false })?;
    }
    Ok(())
}

/// Calls that are decided together are not told each other's errors.
async fn a_redrive_of_what_is_not_there_fails_alone(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let nowhere = subject.through(&Topic::new("nowhere")?, "workers")?;
    for round in 0..20 {
        let id = format!("m{round}");
        let ids = [id.as_str()];
        let beside = futures_util::future::join4(
            subject.receive(0),
            nowhere.queue.redrive(everything(&nowhere)),
            subject.send(&ids),
            subject.receive(1),
        );
        let (asked, redriven, sent, received) = beside.await;
        equal("the redrive", &redriven.map_err(|error| error.kind()), &Err(crate::ErrorKind::Invalid))?;
        sent?;
        equal("what was asked for", &asked?.len(), &0)?;
        subject.settle_all(&received?, &Action::Ack).await?;
    }
    Ok(())
}
