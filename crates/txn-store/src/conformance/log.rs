//! The log: order, positions, reading on, waiting.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_util::future::BoxFuture;

use txn_suite::{Checked, equal, holds, some, within};

use super::{
    Failure, Harness, Scenario, named,
    sample::{change, event, note},
    subject::{START, Subject},
};
use crate::store::{LogItem, Position};

pub(super) const ALL: &[Scenario] = named![Nothing:
    the_log_keeps_the_order_of_commits_and_of_events,
    a_stretch_of_the_log_begins_behind_its_position,
    a_reader_never_misses_an_event,
    events_of_one_subject_keep_the_order_of_commit,
    a_watcher_is_woken,
    a_watch_behind_the_head_answers_at_once,
];

fn text(item: &LogItem) -> String {
    String::from_utf8_lossy(item.recorded.event.body.bytes()).into_owned()
}

async fn the_log_keeps_the_order_of_commits_and_of_events(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let other = subject.tenant("other")?;
    let mut expected = Vec::new();
    for round in 0..5u32 {
        for of in [&subject, &other] {
            let mut batch = Vec::new();
            for index in 0..3u32 {
                let id = format!("c-{round}-{index}");
                let mut change = change(&id)?;
                for part in 0..index {
                    let words = format!("{}/{id}/{part}", of.tenant);
                    change = change.append(event(&words).about(note(&id)?));
                    expected.push(words);
                }
                batch.push(change);
            }
            of.batch(batch).await?;
        }
    }
    for limit in [1, 2, 7, 30, 31] {
        let items = subject.log(limit).await?;
        equal(&format!("the log in stretches of {limit}"), &items.iter().map(text).collect::<Vec<_>>(), &expected)?;
        let positions: Vec<u64> = items.iter().map(|item| item.position.0).collect();
        holds(format!("positions grow and begin above 0: {positions:?}"), grow(&positions) && !positions.contains(&0))?;
        for item in items {
            let words = text(&item);
            let expected = (
                words.starts_with(&format!("{}/", item.recorded.tenant)),
                words.contains(item.recorded.change.as_str()),
                item.recorded.recorded_at,
            );
            equal("tenant, change and time of an event", &expected, &(true, true, START))?;
        }
    }
    Ok(())
}

fn grow(positions: &[u64]) -> bool {
    positions.windows(2).all(|pair| matches!(pair, [a, b] if a < b))
}

async fn a_stretch_of_the_log_begins_behind_its_position(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    equal("the head of an empty log", &subject.store.read(Position(0), 1).await?.head, &Position(0))?;
    for index in 0..5u32 {
        subject.done(change(&index.to_string())?.append(event(&index.to_string()))).await?;
    }
    let items = subject.log(1).await?;
    let last = some("a last event", items.last())?.position;
    for (index, item) in items.iter().enumerate() {
        let page = subject.store.read(item.position, 2).await?;
        let expected: Vec<LogItem> = items.iter().skip(index.saturating_add(1)).take(2).cloned().collect();
        equal("the stretch", &page.items, &expected)?;
        holds("the head is at or past the last event", page.head >= last)?;
    }
    for far in [last, Position(last.0.saturating_add(9)), Position(u64::MAX >> 1), Position(u64::MAX)] {
        let page = subject.store.read(far, 7).await?;
        equal("events behind the end", &(page.items.len(), page.head >= last), &(0, true))?;
    }
    equal("the head in health", &subject.settled().await?.head, &subject.store.read(last, 1).await?.head)
}

/// Many write while one reads on from its last position: what was read is the whole log, in order.
async fn a_reader_never_misses_an_event(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = |caller: u32| -> BoxFuture<'static, Checked<Vec<LogItem>>> {
        let subject = subject.clone();
        Box::pin(async move {
            for step in 0..25u32 {
                let id = format!("{caller}-{step}");
                subject.done(change(&id)?.append(event(&id)).append(event(&id))).await?;
            }
            Ok(Vec::new())
        })
    };
    let reader = |limit: usize| -> BoxFuture<'static, Checked<Vec<LogItem>>> {
        let (subject, is_over) = (subject.clone(), Arc::clone(&is_over));
        Box::pin(async move {
            let mut seen: Vec<LogItem> = Vec::new();
            loop {
                let was_over = is_over.load(Ordering::SeqCst);
                let after = seen.last().map_or(Position(0), |item| item.position);
                let page = subject.store.read(after, limit).await?;
                if page.items.is_empty() && was_over {
                    return Ok(seen);
                }
                seen.extend(page.items);
            }
        })
    };
    let readers = subject.race(vec![reader(1), reader(3), reader(100)]);
    let writers = async {
        let outcome = subject.race((0..4).map(writer).collect()).await;
        is_over.store(true, Ordering::SeqCst);
        outcome
    };
    let (read, written) = futures_util::future::join(readers, writers).await;
    written?.into_iter().collect::<Checked<Vec<_>>>()?;
    let log = subject.log(1_000).await?;
    equal("events in the log", &log.len(), &200)?;
    for pair in log.chunks(2) {
        let is_pair = matches!(pair, [a, b] if a.recorded.change == b.recorded.change);
        holds("the two events of a change stand together", is_pair)?;
    }
    for seen in read? {
        equal("what a reader has seen", &seen?, &log)?;
    }
    Ok(())
}

async fn events_of_one_subject_keep_the_order_of_commit(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    // Each change takes the next version of the record and says which: the log must count.
    subject.done(change("begin")?.insert(note("n")?, super::sample::body(""), vec![])).await?;
    let job = |caller: u32| -> BoxFuture<'static, Checked> {
        let subject = subject.clone();
        Box::pin(async move {
            let mut done = 0u32;
            for attempt in 0..10_000u32 {
                if done == 10 {
                    return Ok(());
                }
                let version = subject.version(&note("n")?).await?;
                let expect = txn_change::Expect::Version(version);
                let put =
                    txn_change::Put { key: note("n")?, expect, body: Some(super::sample::body("")), terms: vec![] };
                let change = super::sample::put(change(&format!("{caller}-{attempt}"))?, put);
                let event = event(&version.to_string()).about(note("n")?);
                if let crate::Outcome::Done(_) = subject.commit(change.append(event)).await? {
                    done = done.saturating_add(1);
                }
            }
            Err(Failure::new("10000 attempts were not enough for ten changes"))
        })
    };
    subject.race((0..4).map(job).collect()).await?.into_iter().collect::<Checked<()>>()?;
    let said: Vec<String> = subject.log(7).await?.iter().map(text).collect();
    equal("versions in the log", &said, &(1..=40u32).map(|v| v.to_string()).collect())
}

async fn a_watcher_is_woken(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for round in 0..20u32 {
        let head = subject.settled().await?.head;
        let watcher = || -> BoxFuture<'static, Checked<Position>> {
            let subject = subject.clone();
            Box::pin(async move { Ok(within(20, "a watch", subject.store.watch(head)).await??) })
        };
        let write: BoxFuture<'static, Checked<Position>> = {
            let subject = subject.clone();
            Box::pin(async move {
                // A change without an event moves no head; the one behind it does.
                subject.done(change(&format!("silent-{round}"))?).await?;
                subject.done(change(&format!("loud-{round}"))?.append(event("loud"))).await?;
                Ok(Position(u64::MAX))
            })
        };
        for position in subject.race(vec![watcher(), watcher(), write, watcher()]).await? {
            holds(format!("a watch of {head:?} ends past it"), position? > head)?;
        }
        equal("events behind the watched head", &subject.store.read(head, 7).await?.items.len(), &1)?;
    }
    Ok(())
}

async fn a_watch_behind_the_head_answers_at_once(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    is_asleep(&subject, Position(0)).await?;
    subject.done(change("c")?.append(event("one"))).await?;
    let head = within(20, "a watch", subject.store.watch(Position(0))).await??;
    equal("the head", &head, &subject.settled().await?.head)?;
    is_asleep(&subject, head).await?;
    is_asleep(&subject, Position(u64::MAX)).await?;
    // Watches that were dropped asleep disturb nobody.
    subject.done(change("d")?.append(event("two"))).await?;
    holds("the head has moved", within(20, "a watch", subject.store.watch(head)).await?? > head)
}

/// Polls a watch a few times, and drops it.
async fn is_asleep(subject: &Subject, after: Position) -> Checked {
    let mut watch = pin!(subject.store.watch(after));
    for _ in 0..3 {
        if let Poll::Ready(found) = watch.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Err(Failure::new(format!("expected a watch of {after:?} to wait, found {found:?}")));
        }
    }
    Ok(())
}
