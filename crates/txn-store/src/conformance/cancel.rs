//! Dropped calls: all of a change or nothing of it, and nothing locked.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use txn_change::Change;

use super::{
    Harness, Scenario,
    check::{Checked, equal, holds},
    named,
    sample::{add, body, change, event, note, stock, tally},
    subject::Subject,
};
use crate::{
    query::{Query, Range},
    store::{Commit, Position},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_dropped_commit_is_whole_or_nothing,
    a_dropped_reading_leaves_nothing_locked,
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
    Ok(records.add(add(&tally("t")?, [1, 0, 0, 0], Some(stock()))).append(event(id)))
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

/// Case F38.
async fn a_dropped_commit_is_whole_or_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let mut possible = Vec::new();
    for times in 0..40u32 {
        let ids = [format!("{times}-0"), format!("{times}-1")];
        let mut batch = Vec::new();
        for id in &ids {
            batch.push(Commit { tenant: subject.tenant.clone(), change: whole(id)? });
        }
        poll_and_drop(times % 8, subject.store.commit(batch));
        possible.extend(ids);
        // The store goes on at once, and in the end the dropped changes are settled, one way or the other, by asking again.
        subject
            .done(change(&format!("alive-{times}"))?.add(add(&tally("alive")?, [1, 0, 0, 0], Some(stock()))))
            .await?;
    }
    for id in &possible {
        let (was_there, version) = (seen(&subject, id).await?, subject.version(&note(&format!("{id}/a"))?).await?);
        let receipt = subject.done(whole(id)?).await?;
        holds(
            format!("{id} was whole ({was_there}) when it is replayed ({})", receipt.replayed),
            !was_there || receipt.replayed,
        )?;
        equal("the version before", &version, &u64::from(was_there))?;
        holds(format!("{id} is whole when it was asked for again"), seen(&subject, id).await?)?;
    }
    equal("effects", &subject.lanes(&tally("t")?).await?, &[80, 0, 0, 0])?;
    equal("events", &subject.log(7).await?.len(), &80)?;
    equal("commits between", &subject.lanes(&tally("alive")?).await?, &[40, 0, 0, 0])
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

async fn a_dropped_reading_leaves_nothing_locked(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    subject.done(whole("c")?).await?;
    let query = Query::Records(Range::kind(super::sample::kind()?));
    for times in 0..64u32 {
        let polls = times % 4;
        poll_and_drop(polls, subject.store.get(vec![subject.ask().record(note("c/a")?)]));
        poll_and_drop(polls, subject.store.find(&subject.tenant, &query, None, 1));
        poll_and_drop(polls, subject.store.read(Position(0), 1));
        poll_and_drop(polls, subject.store.watch(Position(times.into())));
        poll_and_drop(polls, subject.store.health());
        poll_and_drop(polls, async {
            let mut export = subject.store.export().await?;
            export.next(1).await
        });
    }
    // An export that was begun and given up holds nobody back.
    let mut export = subject.store.export().await?;
    let first = export.next(1).await?;
    subject.done(whole("d")?).await?;
    drop(export);
    equal("rows of the first part", &first.len(), &1)?;
    equal("events", &subject.log(7).await?.len(), &2)?;
    equal("records", &subject.all(&query, 1).await?.len(), &4)
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
