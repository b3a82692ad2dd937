//! What a durable queue is when it is opened again: what it was. One that is not durable is empty.

use std::{sync::Arc, time::Duration};

use txn_suite::{Checked, equal, holds, only, some};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, MS, Subject, ids, keyed, message, ms, retry},
};
use crate::{
    admin::{Control, Redrive, Reschedule, Rescheduled, Which},
    limits::QueueLimits,
    name::{DedupeId, ExchangeName, ScheduleKey, Topic},
    queue::{Action, Address, Publish, Published, Refusal, Settled},
    routes::{Criterion, ExchangeKind},
    topology::{TopicSpec, Topology},
};

pub(super) const ALL: &[Scenario] = named![
    what_was_accepted_and_settled_is_so_when_the_queue_is_opened_again,
    a_lease_is_held_and_ends_when_it_would_have_when_the_queue_is_opened_again,
    what_was_declared_and_paused_is_so_when_the_queue_is_opened_again,
    a_repetition_is_recognised_when_the_queue_is_opened_again,
    what_was_scheduled_can_be_moved_when_the_queue_is_opened_again,
    dead_letters_are_there_when_the_queue_is_opened_again,
    retries_and_the_order_of_keys_go_on_when_the_queue_is_opened_again,
    what_many_publish_before_it_closes_is_read_bit_by_bit_over_many_openings,
];

/// A queue that can be opened again, which saves its state after so many steps.
struct Kept<'h> {
    harness: &'h Harness,
    place: String,
    limits: QueueLimits,
}

impl Kept<'_> {
    /// Closes it and opens it; `None` when it does not last.
    async fn again(&self, subject: Subject) -> Checked<Option<Subject>> {
        let Subject { queue, clock, topic, group } = subject;
        let is_durable = queue.capabilities().durable;
        self.harness.backend.close(queue).await;
        let queue = self.harness.backend.open(&self.place, Arc::clone(&clock) as _, self.limits).await?;
        if !is_durable {
            holds("a queue that is not durable is empty when it is opened", queue.stats().await?.topics.is_empty())?;
            return Ok(None);
        }
        Ok(Some(Subject { queue, clock, topic, group }))
    }
}

/// Runs a story on fresh queues: one that reads all of its steps when it is opened, and two that read a saved state, with a step behind it and without.
macro_rules! kept {
    ($harness:ident, |$kept:ident, $subject:ident| $story:block) => {
        for steps_max in [1, 2, 1_024] {
            let limits = QueueLimits { steps_max, ..QueueLimits::default() };
            let $kept = Kept { harness: $harness, place: $harness.place(), limits };
            let $subject = Subject::open(&*$harness.backend, &$kept.place, limits).await?.plain().await?;
            $story
        }
    };
}

/// The queue as it is when it was opened again, or the end of the story.
macro_rules! again {
    ($kept:ident, $subject:expr) => {
        match $kept.again($subject).await? {
            Some(subject) => subject,
            None => return Ok(()),
        }
    };
}

async fn what_was_accepted_and_settled_is_so_when_the_queue_is_opened_again(harness: &Harness) -> Checked {
    kept!(harness, |kept, subject| {
        subject.send(&["1", "2", "3"]).await?;
        let first = subject.next().await?;
        subject.ack(&first).await?;
        let before = subject.queue.stats().await?;
        let subject = again!(kept, subject);
        equal("the statistics", &subject.queue.stats().await?, &before)?;
        equal("the first, again", &subject.settle(&first, Action::Ack).await?, &Settled::Gone)?;
        let rest = subject.ready("when it is open", &["2", "3"]).await?;
        let [second, third] = &rest[..] else { return holds("two messages are ready", false) };
        equal("the data", &&*second.message.data, &&b"2"[..])?;
        equal("how often it was delivered", &(second.deliveries, third.deliveries), &(1, 1))?;
        equal("when it was accepted", &second.accepted_at, &first.accepted_at)?;
    });
    Ok(())
}

/// Case Q1.
async fn a_lease_is_held_and_ends_when_it_would_have_when_the_queue_is_opened_again(harness: &Harness) -> Checked {
    kept!(harness, |kept, subject| {
        subject.send(&["1", "2", "3"]).await?;
        let held = subject.receive(3).await?;
        let [first, second, third] = &held[..] else { return holds("three messages are ready", false) };
        subject.apply(second, Action::Extend { lease: LEASE.saturating_add(MS) }).await?;
        let subject = again!(kept, subject);
        subject.nothing("while they are held").await?;
        equal("the next", &subject.ask("worker-1", 1, LEASE).await?.next_in, &Some(LEASE))?;
        subject.ack(third).await?;
        subject.pass(LEASE.saturating_sub(Duration::from_nanos(1)));
        let subject = again!(kept, subject);
        subject.nothing("a nanosecond before the end").await?;
        subject.pass(Duration::from_nanos(1));
        equal("whoever held it", &subject.settle(first, Action::Ack).await?, &Settled::Stale)?;
        let again = subject.one().await?;
        equal("the message", &again.message, &first.message)?;
        equal("how often it was delivered", &again.deliveries, &2)?;
        holds("every delivery has its own token", held.iter().all(|held| held.lease.token != again.lease.token))?;
        subject.ack(second).await?;
    });
    Ok(())
}

async fn what_was_declared_and_paused_is_so_when_the_queue_is_opened_again(harness: &Harness) -> Checked {
    kept!(harness, |kept, subject| {
        let other = Topic::new("invoices")?;
        let name = ExchangeName::new("shop")?;
        let topology = Topology::default()
            .topic(TopicSpec { messages_max: 1, ..TopicSpec::new(other.clone()) })
            .exchange(name.clone(), ExchangeKind::Fanout)
            .bind(name.clone(), Criterion::Always, other.clone())
            .bind(name.clone(), Criterion::Always, subject.topic.clone());
        subject.queue.declare(topology).await?;
        subject.queue.control(Control::Pause(subject.group.clone())).await?;
        let subject = again!(kept, subject);
        let to = Address::Exchange { name, routing_key: None };
        let publish = |id| message(id).map(|message| Publish::one(to.clone(), message));
        let published = subject.queue.publish(vec![publish("1")?, publish("2")?]).await?;
        let full = Published::Refused(Refusal::Full { topic: other, max: 1 });
        equal("what came of it", &published, &vec![Published::Accepted { copies: 2 }, full])?;
        subject.nothing("while the group is paused").await?;
        subject.queue.control(Control::Resume(subject.group.clone())).await?;
        let subject = again!(kept, subject);
        subject.one().await?;
    });
    Ok(())
}

/// Case Q29.
async fn a_repetition_is_recognised_when_the_queue_is_opened_again(harness: &Harness) -> Checked {
    kept!(harness, |kept, subject| {
        let named = |text: &str| Ok::<_, txn_suite::Failure>(message(text)?.dedupe_id(DedupeId::new("once")?));
        subject.accepted(vec![named("1")?]).await?;
        let delivery = subject.one().await?;
        subject.ack(&delivery).await?;
        subject.pass(Duration::from_secs(600).saturating_sub(MS));
        let subject = again!(kept, subject);
        equal("a repetition", &subject.publish(named("1")?).await?, &Published::Duplicate)?;
        let conflict = Published::Refused(Refusal::Conflict { dedupe_id: DedupeId::new("once")? });
        equal("another", &subject.publish(named("2")?).await?, &conflict)?;
        subject.pass(ms(2));
        subject.accepted(vec![named("2")?]).await?;
    });
    Ok(())
}

async fn what_was_scheduled_can_be_moved_when_the_queue_is_opened_again(harness: &Harness) -> Checked {
    kept!(harness, |kept, subject| {
        let key = |text: &str| ScheduleKey::new(text);
        let later = |text: &str| Ok::<_, txn_suite::Failure>(message(text)?.delay(ms(10)).schedule_key(key(text)?));
        subject.accepted(vec![later("moved")?, later("cancelled")?, later("kept")?]).await?;
        let topic = subject.topic.clone();
        let to = |text: &str, due| {
            Ok::<_, txn_suite::Failure>(Reschedule { topic: topic.clone(), key: ScheduleKey::new(text)?, due })
        };
        let moved = to("moved", Some(crate::message::When::After(ms(5))))?;
        let done = subject.queue.reschedule(vec![moved, to("cancelled", None)?]).await?;
        equal("what came of it", &done, &vec![Rescheduled::Moved, Rescheduled::Cancelled])?;
        let subject = again!(kept, subject);
        let again = subject.queue.reschedule(vec![to("cancelled", None)?]).await?;
        equal("cancelling it again", &again, &vec![Rescheduled::TooLate])?;
        let taken = Published::Refused(Refusal::Scheduled { schedule_key: key("kept")? });
        equal("another under the same key", &subject.publish(later("kept")?).await?, &taken)?;
        subject.pass(ms(5));
        subject.ready("after five milliseconds", &["moved"]).await?;
        let subject = again!(kept, subject);
        subject.pass(ms(5));
        subject.ready("after ten milliseconds", &["kept"]).await?;
    });
    Ok(())
}

async fn dead_letters_are_there_when_the_queue_is_opened_again(harness: &Harness) -> Checked {
    kept!(harness, |kept, subject| {
        subject.send(&["1"]).await?;
        let delivery = subject.one().await?;
        subject.apply(&delivery, Action::Dead { reason: "cannot be read".into() }).await?;
        let subject = again!(kept, subject);
        let redrive = Redrive { group: subject.group.clone(), max: 10, rate: None, which: Which::default() };
        equal("what was sent back", &subject.queue.redrive(redrive.clone()).await?.moved, &1)?;
        let subject = again!(kept, subject);
        equal("what is left to send back", &subject.queue.redrive(redrive).await?.moved, &0)?;
        let again = subject.one().await?;
        equal("the message", &again.message, &delivery.message)?;
        subject.apply(&again, Action::Dead { reason: "still not".into() }).await?;
        let reader = subject.through(&subject.spec().dead_letter_topic(), "people")?;
        reader.queue.declare(Topology::default().group(reader.spec())).await?;
        drop(subject);
        let reader = again!(kept, reader);
        let death = some("how it died", reader.one().await?.death)?;
        let reasons: Vec<&str> = death.reasons.iter().map(|reason| &**reason).collect();
        equal("the reasons", &reasons, &vec!["cannot be read", "still not"])?;
        equal("how often it was sent back", &death.redriven, &1)?;
    });
    Ok(())
}

/// Case Q13.
async fn retries_and_the_order_of_keys_go_on_when_the_queue_is_opened_again(harness: &Harness) -> Checked {
    kept!(harness, |kept, subject| {
        subject.accepted(vec![keyed("a/1")?, keyed("a/2")?, keyed("b/1")?]).await?;
        let first = only("message", subject.receive(1).await?)?;
        subject.apply(&first, retry(ms(5))).await?;
        let subject = again!(kept, subject);
        let other = subject.ready("while a waits for its retry", &["b/1"]).await?;
        subject.pass(ms(5));
        let subject = again!(kept, subject);
        let again = subject.ready("after the retry", &["a/1"]).await?;
        equal("how often it was delivered", &again.first().map(|again| again.deliveries), &Some(2))?;
        subject.settle_all(&again, &Action::Ack).await?;
        let subject = again!(kept, subject);
        equal("what comes then", &ids(&subject.receive(10).await?), &vec!["a/2".to_owned()])?;
        subject.settle_all(&other, &Action::Ack).await?;
    });
    Ok(())
}

/// Workers come, take some, do a part of it and go, the queue with them.
async fn what_many_publish_before_it_closes_is_read_bit_by_bit_over_many_openings(harness: &Harness) -> Checked {
    let limits = QueueLimits { steps_max: 8, ..QueueLimits::default() };
    let kept = Kept { harness, place: harness.place(), limits };
    let mut subject = Subject::open(&*harness.backend, &kept.place, limits).await?.plain().await?;
    let jobs = (0..10).map(|publisher| {
        let subject = subject.clone();
        let job: futures_util::future::BoxFuture<'static, Checked> = Box::pin(async move {
            for nth in 0..12 {
                subject.send(&[&format!("{publisher}.{nth}")]).await?;
            }
            Ok(())
        });
        job
    });
    txn_suite::race(&harness.runs(), jobs.collect()).await?.into_iter().collect::<Checked>()?;
    let mut wanted: Vec<String> = (0..10).flat_map(|one| (0..12).map(move |nth| format!("{one}.{nth}"))).collect();
    let mut done = Vec::new();
    for opening in 0..12 {
        subject = again!(kept, subject);
        let held = subject.ask(&format!("worker-{opening}"), 30, LEASE).await?.deliveries;
        let (first, _) = held.split_at_checked(held.len().div_euclid(2).max(1)).unwrap_or_default();
        subject.settle_all(first, &Action::Ack).await?;
        done.extend(ids(first));
        subject.pass(LEASE);
    }
    done.sort();
    wanted.sort();
    equal("what was done", &done, &wanted)
}
