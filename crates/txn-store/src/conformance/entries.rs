//! Entries: written by the evaluator alone, gapless, with both times.

use core::time::Duration;

use txn_change::{Add, Class, Entry, Label, Lanes, Timestamp};
use txn_suite::{Checked, equal};

use super::{
    Harness, Scenario, named,
    sample::{add, change, class, opening, stock, tally},
    subject::{START, Subject},
};
use crate::query::{Found, Query};

pub(super) const ALL: &[Scenario] = named![Nothing:
    every_addition_leaves_an_entry_without_gaps,
    an_entry_may_count_in_the_past_and_is_recorded_now,
    a_class_without_history_leaves_none,
    entries_are_found_behind_a_sequence,
    what_does_not_say_when_it_counts_does_so_when_it_is_committed,
];

async fn entries(subject: &Subject, counter: &txn_change::Key, limit: usize) -> Checked<Vec<Entry>> {
    let entry = |found| if let Found::Entry(entry) = found { Some(entry) } else { None };
    Ok(subject.all(&Query::entries(counter.clone()), limit).await?.into_iter().filter_map(entry).collect())
}

async fn every_addition_leaves_an_entry_without_gaps(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (one, other) = (tally("one")?, tally("other")?);
    let mut expected = Vec::new();
    let mut after = Lanes::ZERO;
    for round in 0..6u64 {
        let id = format!("c-{round}");
        let delta = Lanes([i128::from(round), 1, 0, 0]);
        let mut change = change(&id)?;
        // Twice to one counter, with another counter in between.
        for (label, counter) in [("a", &one), ("b", &other), ("c", &one)] {
            let add = Add {
                label: Label::new(label),
                delta,
                ..add(counter, [0; 4], Some(opening(class("plain"), [None; 2])))
            };
            change = change.add(add);
            if counter == &one {
                after = after.checked_add(delta).unwrap_or_default();
                let sequence = (expected.len() as u64).saturating_add(1);
                let effective_at = Timestamp::EPOCH;
                let (change, label) = (super::sample::change(&id)?.id, Label::new(label));
                let counter = counter.clone();
                expected.push(Entry {
                    counter,
                    sequence,
                    delta,
                    after,
                    effective_at,
                    recorded_at: START,
                    change,
                    label,
                    short: false,
                });
            }
        }
        subject.done(change).await?;
        // A refused change leaves no gap.
        let refused = super::sample::change(&format!("refused-{round}"))?;
        subject.refused(refused.add(add(&one, [1, 0, 0, 0], None)).add(add(&one, [0, 0, -9, 0], None))).await?;
    }
    for limit in [1, 2, 7, 12, 13] {
        equal(&format!("entries in pages of {limit}"), &entries(&subject, &one, limit).await?, &expected)?;
    }
    equal("entries of the other", &entries(&subject, &other, 7).await?.len(), &6)?;
    equal("entries of none", &entries(&subject, &tally("none")?, 7).await?.len(), &0)
}

async fn an_entry_may_count_in_the_past_and_is_recorded_now(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    let days = [Timestamp::EPOCH, Timestamp::MAX, Timestamp::MIN, START];
    let mut expected = Vec::new();
    for (index, effective_at) in days.into_iter().enumerate() {
        let back_dated = Add { effective_at: Some(effective_at), ..add(&counter, [1, 0, 0, 0], Some(stock())) };
        let receipt = subject.done(change(&format!("c-{index}"))?.add(back_dated)).await?;
        let minutes = Duration::from_secs(60).saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
        equal("the time of the commit", &receipt.recorded_at, &START.after(minutes)?)?;
        expected.push((effective_at, receipt.recorded_at));
        subject.clock.advance(Duration::from_secs(60));
    }
    let found = entries(&subject, &counter, 1).await?;
    let times: Vec<_> = found.iter().map(|entry| (entry.effective_at, entry.recorded_at)).collect();
    equal("both times, in the order of commit", &times, &expected)?;
    let lanes: Vec<_> = found.iter().map(|entry| entry.after.0.iter().sum()).collect();
    equal("running lanes, not moved by a back-dated entry", &lanes, &vec![1i128, 2, 3, 4])
}

async fn a_class_without_history_leaves_none(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    let silent = opening(Class { history: false, ..class("silent") }, [None; 2]);
    for index in 0..3u32 {
        subject.done(change(&format!("c-{index}"))?.add(add(&counter, [1, 0, 0, 0], Some(silent.clone())))).await?;
    }
    let row = subject.counter(&counter).await?;
    equal("lanes, version, sequence", &(row.lanes.0, row.version, row.sequence), &([3, 0, 0, 0], 3, 3))?;
    equal("entries", &entries(&subject, &counter, 7).await?, &vec![])
}

async fn entries_are_found_behind_a_sequence(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    // More than a backend's index may pass over.
    for index in 0..40u32 {
        subject.done(change(&format!("c-{index}"))?.add(add(&counter, [1, 0, 0, 0], Some(stock())))).await?;
    }
    for (after, limit) in
        [(0, 7), (1, 40), (15, 1), (16, 3), (17, 40), (38, 1), (39, 5), (40, 5), (41, 5), (u64::MAX, 5)]
    {
        let found = subject.all(&Query::Entries { counter: counter.clone(), after }, limit).await?;
        let sequences = found.into_iter().map(|found| if let Found::Entry(entry) = found { entry.sequence } else { 0 });
        let expected: Vec<u64> = (1..=40).filter(|sequence| *sequence > after).collect();
        equal(&format!("behind {after}, in pages of {limit}"), &sequences.collect::<Vec<_>>(), &expected)?;
    }
    Ok(())
}

async fn what_does_not_say_when_it_counts_does_so_when_it_is_committed(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    subject.clock.advance(Duration::from_secs(60));
    let undated = Add { effective_at: None, ..add(&counter, [1, 0, 0, 0], Some(stock())) };
    let receipt = subject.done(change("c")?.add(undated)).await?;
    let times: Vec<_> = entries(&subject, &counter, 7).await?.iter().map(|e| (e.effective_at, e.recorded_at)).collect();
    equal("its times", &times, &vec![(receipt.recorded_at, receipt.recorded_at)])
}
