//! Many at once: publishers, workers, topics; and whoever comes and goes.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use futures_util::future::BoxFuture;
use txn_change::Timestamp;
use txn_suite::{Checked, Failure, equal, holds, race, some};

use super::{
    Harness, Scenario, named,
    subject::{LEASE, MS, Subject, ids, keyed, message, retry},
};
use crate::{
    message::{Attribute, Message, Priority, When},
    name::{AttributeName, DedupeId, Key, ScheduleKey, Topic},
    queue::{Action, Delivery, Wait},
    topology::GroupSpec,
    trace::TraceParent,
};

pub(super) const ALL: &[Scenario] = named![
    a_message_comes_with_everything_that_it_says,
    many_publishers_and_workers_at_once_lose_nothing,
    many_topics_at_once_each_have_their_own_messages,
    the_order_of_keys_holds_over_many_workers_at_once,
    what_fails_many_times_is_not_lost,
    what_workers_leave_when_they_go_is_taken_by_those_that_come,
    workers_that_end_while_they_wait_leave_nothing_behind,
];

type Job<T> = BoxFuture<'static, Checked<T>>;

fn names(count: u32) -> Vec<String> {
    (0..count).map(|n| format!("m{n}")).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

async fn send_all(subject: &Subject, names: &[String]) -> Checked {
    subject.send(&names.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Receives and acknowledges until so many are done, by whomever.
async fn work(subject: &Subject, worker: &str, wanted: u64) -> Checked<Vec<Delivery>> {
    let mut got = Vec::new();
    while subject.stats().await?.acked < wanted {
        let deliveries = subject.ask(worker, 3, LEASE).await?.deliveries;
        if deliveries.is_empty() {
            // For those that are still to come.
            let _ = txn_suite::at_most(MS, std::future::pending::<()>()).await;
        }
        subject.settle_all(&deliveries, &Action::Ack).await?;
        got.extend(deliveries);
    }
    Ok(got)
}

async fn a_message_comes_with_everything_that_it_says(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let named = |text: &str| AttributeName::new(text);
    let mut sent = Vec::new();
    for nth in 0..100u8 {
        let text = |what: &str| Some(Arc::<str>::from(format!("{what} {nth} é\u{1f600}\"'\\\n")));
        let every = Message {
            subject: text("subject"),
            // Whatever a producer's clock says.
            time: some("a time", [Timestamp::MIN, Timestamp::MAX].get(usize::from(nth % 2)))?.to_owned().into(),
            schema: text("schema"),
            trace_state: text("state"),
            correlation_id: text("correlation"),
            causation_id: text("causation"),
            ..message(&format!("m{nth:02}"))?
        };
        let every = every
            .data(format!("text/plain; nth={nth}"), vec![nth, 0, 255])
            .key(Key::new(format!("key/{nth}"))?)
            .dedupe_id(DedupeId::new(format!("once/{nth}"))?)
            .priority(Priority::FIRST)
            .due_at(super::subject::START)
            .schedule_key(ScheduleKey::new(format!("later/{nth}"))?)
            .trace(some("a trace", TraceParent::new(u128::MAX, u64::from(nth).saturating_add(1), 1))?)
            .extension(named("text")?, Attribute::from("any"))
            .extension(named("number")?, Attribute::Integer(i32::MIN))
            .extension(named("flag")?, Attribute::Boolean(true));
        sent.push(Message { expires: Some(When::At("2031-01-01T00:00:00Z".parse()?)), ..every });
    }
    subject.accepted(sent.clone()).await?;
    let first = subject.receive(1_000).await?;
    let found: BTreeMap<String, &Message> =
        first.iter().map(|got| (got.message.id.to_string(), &*got.message)).collect();
    let wanted: BTreeMap<String, &Message> = sent.iter().map(|sent| (sent.id.to_string(), sent)).collect();
    for (id, sent) in &wanted {
        equal(&format!("the message {id}"), some(&format!("the message {id}"), found.get(id))?, sent)?;
    }
    equal("how many came", &found.len(), &wanted.len())?;
    subject.pass(LEASE);
    let again = subject.receive(1_000).await?;
    let same = again.iter().all(|again| first.iter().any(|first| first.message == again.message));
    holds("a redelivery says the same", same && again.len() == first.len())
}

async fn many_publishers_and_workers_at_once_lose_nothing(harness: &Harness) -> Checked {
    const PUBLISHERS: u32 = 10;
    const WORKERS: u32 = 10;
    let subject = harness.fresh().await?.plain().await?;
    let all = names(200);
    let share = all.chunks(all.len().div_euclid(usize::try_from(PUBLISHERS).unwrap_or(1)).max(1));
    let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let mut jobs: Vec<Job<Vec<String>>> = Vec::new();
    for share in share {
        let (subject, share) = (subject.clone(), share.to_vec());
        jobs.push(Box::pin(async move {
            for some in share.chunks(4) {
                send_all(&subject, some).await?;
            }
            Ok(Vec::new())
        }));
    }
    for worker in 0..WORKERS {
        let subject = subject.clone();
        jobs.push(Box::pin(async move { Ok(ids(&work(&subject, &format!("worker-{worker}"), total).await?)) }));
    }
    let got = race(&harness.runs(), jobs).await?.into_iter().collect::<Checked<Vec<_>>>()?.concat();
    equal("what all of them got", &sorted(got), &sorted(all))
}

async fn many_topics_at_once_each_have_their_own_messages(harness: &Harness) -> Checked {
    const TOPICS: u32 = 10;
    let subject = harness.fresh().await?;
    let mut jobs: Vec<Job<Vec<String>>> = Vec::new();
    for nth in 0..TOPICS {
        let own = subject.through(&Topic::new(format!("topic-{nth}"))?, "workers")?;
        jobs.push(Box::pin(async move {
            let own = own.plain().await?;
            let all: Vec<String> = names(50).into_iter().map(|name| format!("{nth}.{name}")).collect();
            for some in all.chunks(10) {
                send_all(&own, some).await?;
            }
            let got = ids(&work(&own, "worker-1", 50).await?);
            equal(&format!("what came of the topic {nth}"), &got, &all)?;
            Ok(got)
        }));
    }
    let got = race(&harness.runs(), jobs).await?.into_iter().collect::<Checked<Vec<_>>>()?.concat();
    equal("how many came in all", &got.len(), &500)
}

/// Each worker says what it has got before it acknowledges, so that nobody can have got what follows before.
async fn the_order_of_keys_holds_over_many_workers_at_once(harness: &Harness) -> Checked {
    const KEYS: u32 = 16;
    const EACH: u32 = 12;
    let subject = harness.fresh().await?.plain().await?;
    let mut sent = Vec::new();
    for nth in 0..EACH {
        for key in 0..KEYS {
            sent.push(keyed(&format!("k{key}/{nth}"))?);
        }
    }
    subject.accepted(sent).await?;
    let told: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let jobs = (0..8).map(|worker| {
        let (subject, told) = (subject.clone(), Arc::clone(&told));
        let job: Job<()> = Box::pin(async move {
            while subject.stats().await?.depth > 0 {
                let deliveries = subject.ask(&format!("worker-{worker}"), 5, LEASE).await?.deliveries;
                let tell = |ids: Vec<String>| {
                    told.lock()
                        .map_err(|_| Failure::new("expected no panic, found one on a thread"))
                        .map(|mut told| told.extend(ids))
                };
                tell(ids(&deliveries))?;
                subject.settle_all(&deliveries, &Action::Ack).await?;
            }
            Ok(())
        });
        job
    });
    race(&harness.runs(), jobs.collect()).await?.into_iter().collect::<Checked>()?;
    let told = told.lock().map_err(|_| Failure::new("expected no panic, found one on a thread"))?;
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, nth) in told.iter().filter_map(|id| id.split_once('/')) {
        by_key.entry(key).or_default().push(nth);
    }
    let wanted: Vec<String> = (0..EACH).map(|nth| nth.to_string()).collect();
    equal("how many keys there are", &u32::try_from(by_key.len()).unwrap_or(u32::MAX), &KEYS)?;
    for (key, found) in by_key {
        equal(&format!("the order of {key}"), &found, &wanted.iter().map(String::as_str).collect())?;
    }
    Ok(())
}

async fn what_fails_many_times_is_not_lost(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let spec = GroupSpec { deliveries_max: NonZeroU32::MAX, ..subject.spec() };
    let subject = subject.with(spec).await?;
    let all = names(50);
    send_all(&subject, &all).await?;
    for worker in 0..3 {
        for _ in 0..100 {
            let deliveries = subject.ask(&format!("worker-{worker}"), 1, LEASE).await?.deliveries;
            let failed = some("a message, however often others have failed", deliveries.first())?;
            subject.apply(failed, retry(MS)).await?;
            subject.pass(MS);
        }
    }
    let got = subject.receive(1_000).await?;
    equal("what is there when nobody fails it", &sorted(ids(&got)), &sorted(all))?;
    let deliveries: u32 = got.iter().map(|got| got.deliveries).fold(0, u32::saturating_add);
    equal("how often they were delivered", &deliveries, &350)?;
    subject.settle_all(&got, &Action::Ack).await?;
    subject.pass(LEASE);
    subject.nothing("when all are done").await
}

/// Workers come, take some, do a part of it and go; the queue stays open.
async fn what_workers_leave_when_they_go_is_taken_by_those_that_come(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let all = names(120);
    send_all(&subject, &all).await?;
    let mut done = Vec::new();
    for worker in 0..16 {
        let held = subject.ask(&format!("worker-{worker}"), 20, LEASE).await?.deliveries;
        let (first, _) = held.split_at_checked(held.len().div_euclid(2).max(1)).unwrap_or_default();
        subject.settle_all(first, &Action::Ack).await?;
        done.extend(ids(first));
        subject.pass(LEASE);
    }
    equal("what was done", &sorted(done), &sorted(all))
}

async fn workers_that_end_while_they_wait_leave_nothing_behind(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?.plain().await?;
    let jobs = (0..10).map(|worker| {
        let subject = subject.clone();
        let job: Job<()> = Box::pin(async move {
            for _ in 0..5 {
                let received = subject.ask(&format!("worker-{worker}"), 3, LEASE).await?;
                let wait = subject.queue.wait(Wait::Messages(subject.group.clone(), received.seen));
                // It is dropped while it waits.
                holds("nothing came", txn_suite::at_most(MS, wait).await.is_none())?;
            }
            Ok(())
        });
        job
    });
    race(&harness.runs(), jobs.collect()).await?.into_iter().collect::<Checked>()?;
    let all = names(50);
    send_all(&subject, &all).await?;
    equal("what is ready for the next", &ids(&subject.receive(1_000).await?), &all)
}
