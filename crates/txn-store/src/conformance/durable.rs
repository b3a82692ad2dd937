//! What is committed outlives the store's value.

use core::time::Duration;

use txn_change::Timestamp;
use txn_suite::{Checked, equal, holds};

use super::{
    Harness, Scenario,
    admin::filled,
    named,
    sample::{body, change, event, fence, note, stocked, tally, transfer},
    subject::START,
};
use crate::query::{Query, Range};

pub(super) const ALL: &[Scenario] = named![Durability:
    everything_is_there_when_the_store_is_opened_again,
    a_reopened_store_goes_on_where_it_was,
    an_open_handle_to_a_reopened_store_keeps_its_promises,
];

async fn everything_is_there_when_the_store_is_opened_again(harness: &Harness) -> Checked {
    let mut subject = filled(harness).await?;
    let before = subject.contents(1_000).await?;
    let (log, health) = (subject.log(1_000).await?, subject.settled().await?);
    let words = Query::RecordsByTerm(Range::kind(txn_change::Kind::new("by-word")?));
    let found = subject.all(&words, 7).await?;
    // Twice: opening changes nothing, not even when nothing happens in between.
    for times in 1..=2u32 {
        subject = subject.reopened().await?;
        holds(format!("the contents are the same, reopened {times} times"), subject.contents(1_000).await? == before)?;
        equal("the log", &subject.log(7).await?, &log)?;
        equal("the health", &subject.settled().await?, &health)?;
        equal("rows by term", &subject.all(&words, 7).await?, &found)?;
    }
    Ok(())
}

async fn a_reopened_store_goes_on_where_it_was(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    subject.clock.advance(Duration::from_secs(3_600));
    let first = stocked("c", &tally("t")?, [1, 0, 0, 0])?
        .insert(note("n")?, body("1"), vec![])
        .append(event("1"))
        .answer(body("first"));
    let receipt = subject.done(fence(first.clone(), "lock", 7)?).await?;
    subject.clock.set(Timestamp::EPOCH);
    let subject = subject.reopened().await?;
    let again = subject.done(first.clone()).await?;
    equal("the answer's bytes", &again.answer.bytes(), &b"first".as_slice())?;
    equal("replayed, and when", &(again.replayed, again.recorded_at), &(true, receipt.recorded_at))?;
    subject.refused(super::sample::asked_otherwise(&first)).await?;
    subject.refused(fence(change("stale")?, "lock", 6)?).await?;
    // Time goes on from the last commit, though the clock says 1970.
    let second = subject.done(stocked("d", &tally("t")?, [1, 0, 0, 0])?.append(event("2"))).await?;
    equal("the time of the next commit", &second.recorded_at, &START.after(Duration::from_secs(3_600))?)?;
    let row = subject.counter(&tally("t")?).await?;
    equal("lanes, version, sequence", &(row.lanes.0, row.version, row.sequence), &([2, 0, 0, 0], 2, 2))?;
    let positions: Vec<_> = subject.log(1).await?.iter().map(|item| item.position).collect();
    holds(
        format!("positions grow over reopening: {positions:?}"),
        positions.len() == 2 && positions.is_sorted_by(|a, b| a < b),
    )
}

async fn an_open_handle_to_a_reopened_store_keeps_its_promises(harness: &Harness) -> Checked {
    let mut subject = harness.fresh().await?;
    let (a, b) = (tally("a")?, tally("b")?);
    let page = Query::entries(a.clone());
    let mut cursor = None;
    for round in 0..5u32 {
        for step in 0..4u32 {
            subject.done(transfer(&format!("{round}-{step}"), &a, &b, 1, [None; 2])?).await?;
        }
        // A cursor is good over a reopening.
        let found = subject.store.find(&subject.tenant, &page, cursor.as_ref(), 2).await?;
        equal("a page of entries", &found.items.len(), &2)?;
        cursor = found.next;
        subject = subject.reopened().await?;
    }
    equal("lanes of both", &(subject.lanes(&a).await?, subject.lanes(&b).await?), &([0, 20, 0, 0], [0, 0, 0, 20]))?;
    equal("entries", &subject.all(&page, 7).await?.len(), &20)
}
