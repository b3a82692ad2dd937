//! Asking twice is safe.

use txn_change::Refusal;
use txn_suite::{Checked, equal, holds, some};

use super::{
    Harness, Scenario, named,
    sample::{add, asked_otherwise, body, change, event, note, stock, stocked, tally},
    subject::{count_new, done, refused},
};
use core::time::Duration;

pub(super) const ALL: &[Scenario] = named![Nothing:
    asking_twice_answers_again,
    another_command_under_an_id_is_refused,
    an_id_twice_in_a_batch_has_one_effect,
    a_refused_id_is_free,
    an_id_in_many_calls_at_once_has_one_effect,
    ids_of_tenants_are_independent,
];

/// Case L4.
async fn asking_twice_answers_again(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let change = stocked("take", &tally("t")?, [1, 0, 0, 0])?
        .insert(note("n")?, body("1"), vec![])
        .append(event("taken"))
        .answer(body("first"));
    let first = subject.done(change.clone()).await?;
    equal("replayed at first", &first.replayed, &false)?;
    subject.clock.advance(Duration::from_secs(60));
    // What the change wrote stands against it by now; its answer stays.
    subject.done(super::sample::change("remove")?.remove(note("n")?, 1)).await?;
    let before = subject.contents(7).await?;
    for _ in 0..3 {
        let again = subject.done(change.clone()).await?;
        equal("replayed", &again.replayed, &true)?;
        equal("the answer's bytes", &again.answer.bytes(), &b"first".as_slice())?;
        equal("the time", &again.recorded_at, &first.recorded_at)?;
    }
    equal("the contents after replays", &subject.contents(7).await?, &before)?;
    equal("the lanes", &subject.lanes(&tally("t")?).await?, &[1, 0, 0, 0])?;
    let stored = subject.get(subject.ask().stored(change.id)).await?.stored;
    equal("the stored answer", &some("a stored answer", stored)?.answer.bytes(), &b"first".as_slice())
}

/// Case B26.
async fn another_command_under_an_id_is_refused(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let first = change("once")?.insert(note("n")?, body("1"), vec![]).answer(body("secret"));
    subject.done(first.clone()).await?;
    let refusal = subject.refused(asked_otherwise(&first)).await?;
    equal("the refusal", &refusal, &Refusal::KeyReused { id: first.id.clone() })?;
    holds("the first answer is not given away", !format!("{refusal} {refusal:?}").contains("secret"))?;
    equal("the record's version", &subject.version(&note("n")?).await?, &1)?;
    // Only the fingerprint says what was asked: the same command may carry other times or versions.
    let same_command = change("once")?.insert(note("other")?, body("2"), vec![]);
    equal("replayed", &subject.done(same_command).await?.replayed, &true)?;
    equal("the other record's version", &subject.version(&note("other")?).await?, &0)
}

/// Case L5.
async fn an_id_twice_in_a_batch_has_one_effect(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let change = stocked("take", &tally("t")?, [1, 0, 0, 0])?.answer(body("first"));
    let otherwise = asked_otherwise(&change);
    let outcomes = subject.batch(vec![change.clone(), change.clone(), otherwise.clone(), change]).await?;
    equal("changes committed", &count_new(&outcomes), &1)?;
    for (index, outcome) in outcomes.into_iter().enumerate() {
        if index == 2 {
            equal("the other command", &refused(outcome)?, &Refusal::KeyReused { id: otherwise.id.clone() })?;
        } else {
            let receipt = done(outcome)?;
            equal("replayed", &receipt.replayed, &(index > 0))?;
            equal("the answer", &receipt.answer.bytes(), &b"first".as_slice())?;
        }
    }
    equal("the lanes", &subject.lanes(&tally("t")?).await?, &[1, 0, 0, 0])
}

async fn a_refused_id_is_free(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    let spend = change("spend")?.add(add(&counter, [-1, 0, 0, 0], Some(stock())));
    let fund = stocked("fund", &counter, [1, 0, 0, 0])?;
    let outcomes = subject.batch(vec![spend.clone(), fund, asked_otherwise(&spend), spend.clone()]).await?;
    let is_done: Vec<bool> = outcomes.iter().map(|o| done(o.clone()).is_ok()).collect();
    equal("which changes are done", &is_done, &vec![false, true, true, false])?;
    equal("the first command now", &subject.refused(spend.clone()).await?, &Refusal::KeyReused { id: spend.id })
}

/// Cases L5, B28.
async fn an_id_in_many_calls_at_once_has_one_effect(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for round in 0..10u32 {
        let id = format!("take-{round}");
        let counter = tally(&id)?;
        // Each call would give another answer: all must give that of the one that was committed.
        let mut changes = Vec::new();
        for caller in 0..20u32 {
            let change = stocked(&id, &counter, [1, 0, 0, 0])?.append(event(&id)).answer(body(&format!("by {caller}")));
            changes.push(change);
        }
        let mut outcomes = subject.race_commits(changes.clone()).await?;
        // And once more together, from one thread.
        outcomes.extend(futures_util::future::try_join_all(changes.into_iter().map(|c| subject.commit(c))).await?);
        equal("effects of one id", &count_new(&outcomes), &1)?;
        let receipts = outcomes.into_iter().map(done).collect::<Checked<Vec<_>>>()?;
        let first = some("the one that was committed", receipts.iter().find(|r| !r.replayed))?;
        for receipt in &receipts {
            equal("the answer", &receipt.answer.bytes(), &first.answer.bytes())?;
            equal("the time", &receipt.recorded_at, &first.recorded_at)?;
        }
        equal("the lanes", &subject.lanes(&counter).await?, &[1, 0, 0, 0])?;
    }
    equal("events", &subject.log(7).await?.len(), &10)
}

/// Case B27.
async fn ids_of_tenants_are_independent(harness: &Harness) -> Checked {
    let one = harness.fresh().await?;
    let other = one.tenant("other")?;
    let change =
        |text: &str| Ok::<_, super::Failure>(change("same")?.insert(note("n")?, body(text), vec![]).answer(body(text)));
    one.done(change("one")?).await?;
    let receipt = other.done(asked_otherwise(&change("other")?)).await?;
    equal("replayed in the other tenant", &receipt.replayed, &false)?;
    equal("the answer", &receipt.answer.bytes(), &b"other".as_slice())?;
    equal("the first tenant's answer", &one.done(change("again")?).await?.answer.bytes(), &b"one".as_slice())?;
    // The same key under another operation is another id, and so another scope.
    let elsewhere = super::sample::change("operation-2/same")?.answer(body("third"));
    equal("replayed under another operation", &one.done(elsewhere).await?.replayed, &false)
}
