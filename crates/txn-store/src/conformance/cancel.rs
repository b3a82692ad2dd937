//! Dropped calls: all of a change or nothing of it, and nothing locked.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use txn_change::{Body, Change, Event, Expect, Format, Refusal, Stored, Timestamp};
use txn_suite::{Checked, equal, holds, some, within};

use super::{
    Drops, Failure, Harness, Scenario, named,
    purge::{proves, purge},
    sample::{add, body, change, event, kind, note, stock, tally},
    subject::Subject,
};
use crate::{
    admin::{Erase, Purge},
    follow::{Consumer, Follow},
    query::{Query, Range},
    scope::Scope,
    store::{Commit, Outcome, Position, Resolution},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_dropped_commit_is_whole_or_nothing,
    a_dropped_erasing_is_whole_or_nothing,
    a_dropped_purge_lets_go_of_what_it_may_and_is_gone_on_with,
    a_dropped_settling_is_settled_by_the_next,
    a_dropped_reading_leaves_nothing_locked,
    a_dropped_export_leaves_nothing_locked_and_skips_no_row,
    a_dropped_follower_misses_nothing,
    a_dropped_consumer_keeps_its_place_and_its_name,
    a_consumer_that_is_dropped_while_it_retires_holds_back_or_does_not,
];

pub(super) const DURABLE: &[Scenario] = named![Durability:
    a_store_closed_with_calls_in_flight_is_whole,
];

fn whole(id: &str) -> Checked<Change> {
    let records = change(id)?.insert(note(&format!("{id}/a"))?, body(id), vec![]).insert(
        note(&format!("{id}/b"))?,
        body(id),
        vec![],
    );
    Ok(records.add(add(&tally("t")?, [1, 0, 0, 0], Some(stock()))).append(event(id)).answer(body(id)))
}

/// Seconds within which somebody else gets what a dropped call may have locked: less than a lost session keeps its locks.
const AT_ONCE: u64 = 5;

/// Somebody else writes the same rows, and does not have to wait.
async fn done_at_once(subject: &Subject, change: Change) -> Checked<bool> {
    let done = within(AT_ONCE, "a commit after a dropped call", subject.done(change)).await??;
    Ok(done.replayed)
}

/// Case F38.
async fn a_dropped_commit_is_whole_or_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (scope, mut written) = (scope(&subject), 0u32);
    for way in ["one", "many", "batch"] {
        let mut drops = Drops::new();
        while !drops.is_over() {
            let ids: Vec<String> = (0..2).map(|nth| format!("{way}-{}-{nth}", drops.calls())).collect();
            if way == "one" {
                drops.call(scope.commit(whole(some("an id", ids.first())?)?)).await;
            } else if way == "many" {
                let changes = ids.iter().map(|id| whole(id)).collect::<Checked<Vec<Change>>>()?;
                drops.call(scope.commit_many(changes)).await;
            } else {
                let mut batch = Vec::new();
                for id in &ids {
                    batch.push(Commit { tenant: subject.tenant.clone(), change: whole(id)? });
                }
                drops.call(subject.store.commit(batch)).await;
            }
            for id in &ids {
                // Asked again, each is answered, or done now.
                let was_there = seen(&subject, id).await?;
                let replayed = done_at_once(&subject, whole(id)?).await?;
                holds(
                    format!("{id} was whole ({was_there}) when it is replayed ({replayed})"),
                    !was_there || replayed,
                )?;
                holds(format!("{id} is whole when it was asked for again"), seen(&subject, id).await?)?;
                written = written.saturating_add(1);
            }
        }
    }
    equal("effects", &subject.lanes(&tally("t")?).await?, &[written.into(), 0, 0, 0])?;
    equal("events", &subject.log(7).await?.len(), &usize::try_from(written).unwrap_or_default())
}

/// Whether the change is there; an error when only a part of it is.
async fn seen(subject: &Subject, id: &str) -> Checked<bool> {
    let ask = subject.ask().stored(change(id)?.id).record(note(&format!("{id}/a"))?).record(note(&format!("{id}/b"))?);
    let seen = subject.get(ask).await?;
    let parts: Vec<bool> = seen.records.iter().map(Option::is_some).chain([seen.stored.is_some()]).collect();
    let is_there = seen.stored.is_some();
    equal(&format!("the parts of {id}"), &parts, &vec![is_there; 3])?;
    Ok(is_there)
}

/// Case F38. A call that is dropped while it erases has erased all of what it was given, or nothing.
async fn a_dropped_erasing_is_whole_or_nothing(harness: &Harness) -> Checked {
    let (subject, mut drops) = (harness.fresh().await?, Drops::new());
    while !drops.is_over() {
        let name = format!("e-{}", drops.calls());
        subject.done(whole(&name)?).await?;
        let (id, record) = (change(&name)?.id, note(&format!("{name}/a"))?);
        let what = vec![Erase::Record(record.clone()), Erase::Answer(id.clone()), Erase::Events(id.clone())];
        drops.call(subject.store.erase(&subject.tenant, what.clone())).await;
        let seen = subject.get(subject.ask().stored(id).record(record.clone())).await?;
        let answer: Option<Stored> = seen.stored;
        let formats: Vec<Option<Format>> = vec![
            answer.map(|stored| stored.answer.format()),
            seen.records.into_iter().flatten().next().map(|record| record.body.format()),
        ];
        let first = formats.first().copied().flatten();
        holds(format!("the parts of {name} are erased together: {formats:?}"), formats == vec![first; 2])?;
        let erasing = subject.store.erase(&subject.tenant, what);
        let again = within(AT_ONCE, "erasing after a dropped call", erasing).await??;
        holds(format!("of {name} all is left to erase, or nothing: {again}"), [0, 3].contains(&again))?;
        holds("what was seen to be erased stays so", again == 0 || first != Some(Format::Erased))?;
        // An erasing that was begun may come to its end only now, and move the version.
        let rewrite = async {
            for attempt in 0.. {
                let version = subject.version(&record).await?;
                let change = change(&format!("{name}-new-{attempt}"))?;
                let put = change.put(record.clone(), Expect::Version(version), body("new"), vec![]);
                match subject.commit(put).await? {
                    Outcome::Done(_) => return Ok(()),
                    Outcome::Refused(Refusal::Conflict { .. }) => {}
                    other => return Err(Failure::new(format!("expected Done, found {other:?}"))),
                }
            }
            Ok(())
        };
        within(AT_ONCE, "writing what was erased", rewrite).await??;
    }
    Ok(())
}

/// Case F38. What is left of the log is its end, nothing is missing in it, and no id is executed again.
async fn a_dropped_purge_lets_go_of_what_it_may_and_is_gone_on_with(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for what in [Purge::Events, Purge::Answers] {
        let (mut drops, mut written) = (Drops::new(), Vec::new());
        let passing = |name: &str| {
            let event = Event::new(Body::raw("seen", 1, name.as_bytes().to_vec()));
            let counted = change(name)?.add(add(&tally("t")?, [1, 0, 0, 0], Some(stock())));
            Ok::<_, Failure>(counted.append(event).answer(body(name)))
        };
        let mut let_go = 0u64;
        while !drops.is_over() {
            for nth in 0..2 {
                let name = format!("{what:?}-{}-{nth}", drops.calls());
                done_at_once(&subject, passing(&name)?).await?;
                written.push(name);
            }
            subject.settled().await?;
            drops.call(subject.store.purge(what, Timestamp::MAX, 1)).await.transpose()?;
            let purging = subject.store.purge(what, Timestamp::MAX, 1);
            let purged = within(AT_ONCE, "purging after a dropped purge", purging).await??;
            holds("a purge takes no more than it is told", purged.rows <= 1)?;
            let_go = let_go.saturating_add(purged.rows);
            if what == Purge::Events {
                let tail = subject.settled().await?.tail;
                let left: Vec<Vec<u8>> = subject.log_after(tail, 7).await?;
                let expected = written.iter().skip(written.len().saturating_sub(left.len()));
                equal(
                    "the log is the end of what was written",
                    &left,
                    &expected.map(|n| n.as_bytes().to_vec()).collect(),
                )?;
            }
            for name in written.iter().rev().take(4) {
                holds(format!("{name} is not executed again"), done_at_once(&subject, passing(name)?).await?)?;
            }
        }
        holds(format!("{what:?}: something was let go of while calls were dropped"), let_go > 0)?;
        purge(&subject, what, Timestamp::MAX, 100).await?;
        equal("what is left to purge", &purge(&subject, what, Timestamp::MAX, 100).await?, &0)?;
        for name in &written {
            holds(format!("{name} is not executed again"), done_at_once(&subject, passing(name)?).await?)?;
        }
        proves(&subject).await?;
    }
    Ok(())
}

/// Case F38.
async fn a_dropped_settling_is_settled_by_the_next(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let scope = scope(&subject);
    for is_there in [false, true] {
        let mut drops = Drops::new();
        while !drops.is_over() {
            let name = format!("r-{is_there}-{}", drops.calls());
            let change = whole(&name)?;
            if is_there {
                subject.done(change.clone()).await?;
            }
            let dropped = drops.call(scope.resolve(&change.id)).await.transpose()?;
            let settling = within(AT_ONCE, "settling after a dropped call", scope.resolve(&change.id));
            let settled = settling.await??;
            for resolution in dropped.iter().chain([&settled]) {
                holds("what was done is done", matches!(resolution, Resolution::Done(_)) == is_there)?;
            }
            let late = subject.commit(change.clone()).await?;
            let is_given_up = late == Outcome::Refused(Refusal::GivenUp { id: change.id.clone() });
            holds(format!("a late {name} finds it settled: {late:?}"), is_given_up != is_there)?;
            equal("whether it is there", &seen(&subject, &name).await.is_ok_and(|seen| seen), &is_there)?;
        }
    }
    Ok(())
}

async fn a_dropped_reading_leaves_nothing_locked(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (scope, query) = (scope(&subject), Query::Records(Range::kind(kind()?)));
    let ask = || Ok::<_, Failure>(subject.ask().record(note("c-0/a")?).counter(tally("t")?));
    let (key, counter) = (note("c-0/a")?, tally("t")?);
    let mut written = 0usize;
    subject.done(whole("c-0")?).await?;
    let store = subject.store.clone();
    macro_rules! dropped {
        ($($call:expr),+ $(,)?) => {$(
            let mut drops = Drops::new();
            while !drops.is_over() {
                drops.call($call).await;
                written = written.saturating_add(1);
                done_at_once(&subject, whole(&format!("c-{written}"))?).await?;
            }
        )+};
    }
    dropped![
        subject.store.get(vec![ask()?, ask()?]),
        subject.store.find(&subject.tenant, &query, None, 1),
        subject.store.read(Position(0), 1),
        subject.store.watch(Position(0)),
        subject.store.watch(Position(1 << 60)),
        subject.store.health(),
        scope.get(ask()?),
        scope.get_many(vec![ask()?, ask()?]),
        scope.record(key.clone()),
        scope.counter(counter.clone()),
        scope.find(&query, None, 1),
        Consumer::list(&*store),
    ];
    let written = written.saturating_add(1);
    equal("events", &subject.log(7).await?.len(), &written)?;
    equal("records", &subject.all(&query, 100).await?.len(), &written.saturating_mul(2))
}

async fn a_dropped_export_leaves_nothing_locked_and_skips_no_row(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let mut written = 1usize;
    subject.done(whole("c-1")?).await?;
    let mut drops = Drops::new();
    while !drops.is_over() {
        drops.call(subject.store.export()).await;
        written = written.saturating_add(1);
        done_at_once(&subject, whole(&format!("c-{written}"))?).await?;
    }
    // One reading, whose parts are asked for by calls of which most are dropped.
    subject.settled().await?;
    let expected = subject.contents(1_000).await?;
    let (mut export, mut drops, mut rows) = (subject.store.export().await?, Drops::new(), Vec::new());
    while !drops.is_over() {
        rows.extend(drops.call(export.next(1)).await.transpose()?.unwrap_or_default());
        written = written.saturating_add(1);
        done_at_once(&subject, whole(&format!("c-{written}"))?).await?;
    }
    loop {
        let more = export.next(7).await?;
        if more.is_empty() {
            break;
        }
        rows.extend(more);
    }
    let parts = [&expected.commits, &expected.records, &expected.counters].map(Vec::len);
    let found = parts.iter().sum::<usize>().saturating_add(expected.links.len()).saturating_add(1);
    equal("rows", &rows.len(), &found)?;
    // One that was begun and is given up holds nobody back.
    let mut export = subject.store.export().await?;
    export.next(1).await?;
    done_at_once(&subject, whole("last")?).await?;
    drop(export);
    Ok(())
}

/// Case F38.
async fn a_dropped_follower_misses_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let mut log = Follow::new(subject.store.clone(), Position(0));
    let mut given = Vec::new();
    let mut written = 0usize;
    // Nothing there to be given, and then something.
    for is_there in [false, true] {
        let mut drops = Drops::new();
        while !drops.is_over() {
            if is_there {
                written = written.saturating_add(1);
                done_at_once(&subject, whole(&format!("c-{written}"))?).await?;
            }
            given.extend(drops.call(log.next()).await.transpose()?);
        }
    }
    while given.len() < written {
        given.push(within(AT_ONCE, "the next event", log.next()).await??);
    }
    let ids: Vec<String> = given.iter().map(|item| item.recorded.change.as_str().to_owned()).collect();
    equal("what was given", &ids, &(1..=written).map(|nth| format!("c-{nth}")).collect::<Vec<_>>())
}

/// Case F38. Dropped while it opens, it has taken its name over or not; dropped while it acknowledges, it has moved or not; and in each case the next goes on.
async fn a_dropped_consumer_keeps_its_place_and_its_name(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let open = || Consumer::open(subject.store.clone(), "c");
    let mut drops = Drops::new();
    while !drops.is_over() {
        drops.call(open()).await;
        within(AT_ONCE, "opening after a dropped opening", open()).await??;
    }
    let mut drops = Drops::new();
    let (mut consumer, mut written, mut given) = (open().await?, 0usize, Vec::new());
    while !drops.is_over() {
        written = written.saturating_add(1);
        subject.done(whole(&format!("c-{written}"))?).await?;
        // Its own next is dropped at times too.
        let mut inner = Drops::at_moments(0);
        while given.len() < written {
            given.extend(inner.call(consumer.next()).await.transpose()?.map(|item| item.position));
        }
        let before = consumer.acknowledged();
        drops.call(consumer.acknowledge()).await.transpose()?;
        let last = given.last().copied().unwrap_or_default();
        // Whoever opens it next finds it at the one place or the other.
        let mut next = within(AT_ONCE, "opening after a dropped acknowledgement", open()).await??;
        let found = next.acknowledged();
        holds(format!("{found:?} is {before:?} or {last:?}"), found == before || found == last)?;
        if found != last {
            equal("what is given again", &next.next().await?.position, &last)?;
        }
        next.acknowledge().await?;
        consumer = next;
        equal("where it stands", &consumer.acknowledged(), &last)?;
    }
    // And the one that was dropped goes on itself.
    let mut drops = Drops::new();
    while !drops.is_over() {
        written = written.saturating_add(1);
        subject.done(whole(&format!("c-{written}"))?).await?;
        let last = consumer.next().await?.position;
        drops.call(consumer.acknowledge_up_to(last)).await.transpose()?;
        within(AT_ONCE, "acknowledging again", consumer.acknowledge()).await??;
        equal("where it stands", &consumer.acknowledged(), &last)?;
    }
    Ok(())
}

/// Case F38. Dropped while it gives its name up, it has done so or not, and the next goes on either way.
async fn a_consumer_that_is_dropped_while_it_retires_holds_back_or_does_not(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let open = || Consumer::open(subject.store.clone(), "c");
    let (store, mut drops) = (subject.store.clone(), Drops::new());
    let mut ended = 0u32;
    while !drops.is_over() {
        let retired = drops.call(open().await?.retire()).await.transpose()?;
        if retired.is_some() {
            ended = ended.saturating_add(1);
            equal("consumers after one has retired", &Consumer::list(&*store).await?.len(), &0)?;
        }
        let next = within(AT_ONCE, "opening after a dropped retirement", open()).await??;
        equal("consumers", &Consumer::list(&*store).await?, &vec![("c".to_owned(), next.acknowledged())])?;
        within(AT_ONCE, "retiring after a dropped retirement", next.retire()).await??;
        equal("consumers after all have retired", &Consumer::list(&*store).await?.len(), &0)?;
    }
    holds("it is also seen to its end", ended > 0)
}

fn scope(subject: &Subject) -> Scope {
    Scope::new(subject.store.clone(), subject.tenant.clone())
}

/// Polls `times` times, in vain or not, and drops the future.
fn poll_and_drop<T>(times: u32, future: impl Future<Output = T>) {
    let mut future = pin!(future);
    for _ in 0..times {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        std::thread::yield_now();
    }
}

/// Case F40. Calls are given up and the store is closed under them, as when a runtime is shut down.
async fn a_store_closed_with_calls_in_flight_is_whole(harness: &Harness) -> Checked {
    let mut subject = harness.fresh().await?;
    let mut ids = Vec::new();
    for round in 0..6u32 {
        for index in 0..8u32 {
            let id = format!("{round}-{index}");
            let batch = vec![Commit { tenant: subject.tenant.clone(), change: whole(&id)? }];
            poll_and_drop(index % 3, subject.store.commit(batch));
            poll_and_drop(index % 3, subject.store.watch(Position(u64::MAX)));
            ids.push(id);
        }
        let acknowledged = format!("acknowledged-{round}");
        subject.done(change(&acknowledged)?.insert(note(&acknowledged)?, body(""), vec![])).await?;
        subject = subject.reopened().await?;
        equal("the version of what was acknowledged", &subject.version(&note(&acknowledged)?).await?, &1)?;
        for id in &ids {
            seen(&subject, id).await?;
        }
    }
    for id in &ids {
        subject.done(whole(id)?).await?;
    }
    equal("effects", &subject.lanes(&tally("t")?).await?, &[48, 0, 0, 0])?;
    equal("events", &subject.log(7).await?.len(), &48)
}
