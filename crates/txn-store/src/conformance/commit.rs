//! Whole or nothing, one result each, in order.

use txn_change::{Change, Condition, Expect, FactId, Invalid, Label, Put, Refusal, Status};
use txn_suite::{Checked, equal, holds, only, some};

use super::{
    Harness, Scenario, named,
    sample::{
        FUNDED, account, add, asked_otherwise, body, change, event, fact, fence, kind, note, open, set, stock, stocked,
        tally, term, transfer,
    },
    subject::{Subject, done, refused},
};
use crate::query::{Found, Query, Range};

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_change_writes_every_part,
    a_refused_change_writes_no_part,
    results_come_in_the_order_of_the_batch,
    a_later_change_of_a_batch_sees_the_earlier_ones,
    nothing_asked_is_nothing_answered,
];

/// A change with one of each part. Needs the counter `old` at version 1.
fn of_every_part(id: &str) -> Checked<Change> {
    let change = change(id)?
        .require(note("absent")?, Expect::Absent)
        .hold(tally("old")?, Condition::AtLeast([1, 0, 0, 0], 10), Label::new("held"))
        .insert(note("whole")?, body("whole"), vec![term("whole")?])
        .add(add(&tally("opened")?, [7, 0, 0, 0], None))
        .add(add(&tally("old")?, [-1, 0, 0, 0], Some(stock())))
        .append(fact("whole")?.about(note("whole")?).with_term(term("whole")?))
        .append(event("second"))
        .answer(body("answer"));
    let change = open(change, &tally("opened")?, stock());
    fence(set(change, &tally("old")?, 1, 2, Status::Open), "lock", 5)
}

async fn with_old_counter(harness: &Harness) -> Checked<Subject> {
    let subject = harness.fresh().await?;
    subject.done(stocked("fund", &tally("old")?, [10, 0, 0, 0])?).await?;
    Ok(subject)
}

async fn a_change_writes_every_part(harness: &Harness) -> Checked {
    let subject = with_old_counter(harness).await?;
    let change = of_every_part("whole")?;
    let receipt = subject.done(change.clone()).await?;
    equal("the answer", &receipt.answer, &body("answer"))?;
    equal("the answer's bytes", &receipt.answer.bytes(), &body("answer").bytes())?;
    let ask = subject.ask().stored(change.id).record(note("whole")?).counter(tally("opened")?).counter(tally("old")?);
    let seen = subject.get(ask.fact(FactId::new("whole")?)).await?;
    let stored = some("the stored answer", seen.stored)?;
    equal("the stored fingerprint", &stored.fingerprint, &change.fingerprint)?;
    equal("entries and events in the stored answer", &(stored.entries, stored.events), &(2, 2))?;
    let record = some("the record", only("record", seen.records)?)?;
    equal("the record's version", &record.version, &1)?;
    equal("the record's body", &record.body.bytes(), &b"whole".as_slice())?;
    equal("the record's terms", &record.terms, &vec![term("whole")?])?;
    let counters: Vec<_> = seen.counters.into_iter().flatten().collect();
    let rows: Vec<_> = counters.iter().map(|c| (c.lanes.0, c.version, c.sequence)).collect();
    equal("lanes, version and sequence", &rows, &vec![([7, 0, 0, 0], 1, 1), ([9, 0, 0, 0], 2, 2)])?;
    let mins: Vec<_> = counters.iter().map(|c| c.guards.iter().flatten().map(|g| g.min).collect::<Vec<_>>()).collect();
    equal("the guards' limits", &mins, &vec![vec![0], vec![2]])?;
    let item = some("the fact", only("fact", seen.facts)?)?;
    equal("the fact's event", &item.event, &fact("whole")?.about(note("whole")?).with_term(term("whole")?))?;
    for query in [Query::RecordsByTerm(Range::prefix(word()?)), Query::EventsByTerm(Range::prefix(word()?))] {
        equal(&format!("rows of {query:?}"), &subject.all(&query, 7).await?.len(), &1)?;
    }
    for (counter, count) in [("opened", 1), ("old", 2)] {
        equal("entries", &subject.all(&Query::entries(tally(counter)?), 7).await?.len(), &count)?;
    }
    equal("events in the log", &subject.log(7).await?.len(), &2)?;
    let stale = fence(super::sample::change("stale")?, "lock", 4)?;
    holds("the fence is remembered", matches!(subject.refused(stale).await?, Refusal::FenceStale { highest: 5, .. }))
}

fn word() -> Checked<txn_change::KeyBuilder> {
    Ok(txn_change::Key::of(txn_change::Kind::new("by-word")?))
}

/// Adds to a change the one part for which it is refused.
type Spoil = fn(Change) -> Checked<Change>;

async fn a_refused_change_writes_no_part(harness: &Harness) -> Checked {
    let subject = with_old_counter(harness).await?;
    subject.done(change("before")?.append(fact("taken")?).insert(note("taken")?, body("1"), vec![])).await?;
    let before = subject.contents(7).await?;
    let spoilt: [(&str, Spoil); 13] = [
        ("a stale fence", |c| fence(fence(c, "lock-2", 9)?, "lock-2", 8)),
        ("a requirement", |c| Ok(c.require(note("taken")?, Expect::Version(7)))),
        ("a put", |c| Ok(c.insert(note("taken")?, body("2"), vec![]))),
        ("a removal", |c| Ok(c.remove(note("nowhere")?, 1))),
        ("a fact", |c| Ok(c.append(fact("taken")?))),
        ("an open", |c| Ok(open(c, &tally("old")?, stock()))),
        ("a set", |c| Ok(set(c, &tally("nowhere")?, 0, 0, Status::Open))),
        ("a condition", |c| Ok(c.hold(tally("old")?, Condition::AtLeast([1, 0, 0, 0], 11), Label::new("no")))),
        ("an absent counter", |c| Ok(c.add(add(&tally("nowhere")?, [1, 0, 0, 0], None)))),
        ("another class", |c| Ok(c.add(add(&tally("old")?, [0; 4], Some(account([None; 2])))))),
        ("a guard", |c| Ok(c.add(add(&tally("old")?, [0, 8, 0, 0], None)))),
        ("a lane", |c| Ok(c.add(add(&tally("opened")?, [0, 0, -1, 0], None)))),
        ("conservation", |c| Ok(c.add(add(&tally("new")?, [1, 0, 0, 0], Some(account([None; 2])))))),
    ];
    for (name, spoil) in spoilt {
        let spoilt = spoil(of_every_part("whole")?)?;
        let outcome = subject.commit(spoilt).await?;
        refused(outcome).map_err(|failure| super::Failure::new(format!("{name}: {failure}")))?;
        equal(
            &format!("the store's contents after a change refused for {name}"),
            &subject.contents(7).await?,
            &before,
        )?;
        equal(&format!("the log after {name}"), &subject.log(7).await?.len(), &1)?;
    }
    let twice = of_every_part("whole")?.insert(note("whole")?, body("again"), vec![]);
    let refusal = subject.refused(twice).await?;
    holds("a record put twice is invalid", matches!(refusal, Refusal::Invalid(Invalid::Twice { .. })))?;
    equal("the contents after an invalid change", &subject.contents(7).await?, &before)?;
    // Nothing remains of the refused ones: neither id, nor fingerprint, nor fence.
    let right = fence(asked_otherwise(&of_every_part("whole")?), "lock-2", 1)?;
    equal("replayed", &subject.done(right).await?.replayed, &false)
}

async fn results_come_in_the_order_of_the_batch(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let mut batch = Vec::new();
    for index in 0..40u64 {
        let id = format!("change-{index}");
        let change = change(&id)?.answer(body(&id));
        let key = note(&id)?;
        batch.push(if index % 3 == 0 {
            change.require(key, Expect::Version(index))
        } else {
            change.insert(key, body(&id), vec![])
        });
    }
    for (index, outcome) in (0u64..).zip(subject.batch(batch).await?) {
        let id = format!("change-{index}");
        if index % 3 == 0 {
            let conflict =
                Refusal::Conflict { key: note(&id)?, expected: Expect::Version(index), actual: Expect::Absent };
            equal(&id, &refused(outcome)?, &conflict)?;
        } else {
            equal(&id, &done(outcome)?.answer.bytes(), &id.as_bytes())?;
        }
    }
    let found = subject.all(&Query::Records(Range::kind(kind()?)), 7).await?;
    equal("records", &found.len(), &26)
}

async fn a_later_change_of_a_batch_sees_the_earlier_ones(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (bank, shop, guest) = (tally("bank")?, tally("shop")?, tally("guest")?);
    let funded = [Some(FUNDED), None];
    let fund = change("fund")?.add(add(&bank, [0, 5, 0, 0], Some(account([None; 2])))).add(add(
        &guest,
        [0, 0, 0, 5],
        Some(account(funded)),
    ));
    let rewritten = Put { key: note("n")?, expect: Expect::Version(1), body: Some(body("2")), terms: vec![] };
    let outcomes = subject
        .batch(vec![
            transfer("spend-early", &guest, &shop, 5, funded)?,
            fund,
            transfer("spend", &guest, &shop, 5, [None; 2])?,
            transfer("overspend", &guest, &shop, 1, [None; 2])?,
            change("write")?.insert(note("n")?, body("1"), vec![]).append(fact("f")?),
            super::sample::put(change("rewrite")?, rewritten),
            change("remove")?.remove(note("n")?, 2),
            change("write-again")?.insert(note("n")?, body("3"), vec![]),
            change("fact-again")?.append(fact("f")?),
            fence(change("fence-9")?, "lock", 9)?,
            fence(change("fence-8")?, "lock", 8)?,
        ])
        .await?;
    let is_done: Vec<bool> = outcomes.iter().map(|o| done(o.clone()).is_ok()).collect();
    let expected = vec![false, true, true, false, true, true, true, true, false, true, false];
    equal("which changes are done", &is_done, &expected)?;
    equal("the guest's lanes", &subject.lanes(&guest).await?, &[0, 5, 0, 5])?;
    equal("the record's version", &subject.version(&note("n")?).await?, &1)
}

async fn nothing_asked_is_nothing_answered(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    equal("results of an empty batch", &subject.batch(vec![]).await?.len(), &0)?;
    equal("snapshots of no asks", &subject.store.get(vec![]).await?.len(), &0)?;
    let found = subject.all(&Query::Records(Range::kind(kind()?)), 1).await?;
    equal("records of an empty store", &found, &Vec::<Found>::new())?;
    equal("changes of an empty store", &subject.all(&Query::Changes, 1).await?.len(), &0)?;
    // A change without effects is a change: its id is answered from now on.
    subject.done(change("empty")?.answer(body("remembered"))).await?;
    let again = subject.done(change("empty")?).await?;
    equal("the answer to an empty change", &again.answer.bytes(), &b"remembered".as_slice())
}
