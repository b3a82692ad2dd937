//! Many callers at once: each result is that of some serial order.

use futures_util::future::BoxFuture;
use txn_change::{Expect, Put, Refusal};
use txn_suite::{Checked, equal, holds, some};

use super::{
    Harness, Scenario, named,
    sample::{FUNDED, account, add, body, change, note, put, stock, stocked, tally, transfer},
    subject::{Subject, count_new, refused, sum},
};
use crate::store::Outcome;

pub(super) const ALL: &[Scenario] = named![Nothing:
    of_many_inserts_of_one_record_one_wins,
    no_update_is_lost,
    the_last_unit_is_sold_once,
    ten_units_are_reserved_ten_times,
    a_full_balance_is_withdrawn_once,
    crossing_transfers_end_and_lose_nothing,
];

async fn of_many_inserts_of_one_record_one_wins(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for round in 0..10u32 {
        let key = note(&format!("n-{round}"))?;
        let insert = |caller: u32| {
            Ok(change(&format!("insert-{round}-{caller}"))?.insert(key.clone(), body(&caller.to_string()), vec![]))
        };
        let outcomes = subject.race_commits((0..8).map(insert).collect::<Checked<_>>()?).await?;
        equal("inserts that won", &count_new(&outcomes), &1)?;
        let winner = outcomes.iter().position(|o| matches!(o, Outcome::Done(_)));
        let record = some("the record", subject.record(&key).await?)?;
        let expected = some("a winner", winner)?.to_string();
        equal("the winner's body", &record.body.bytes(), &expected.as_bytes())?;
        for outcome in outcomes.into_iter().filter(|o| !matches!(o, Outcome::Done(_))) {
            let lost = Refusal::Conflict { key: key.clone(), expected: Expect::Absent, actual: Expect::Version(1) };
            equal("a loser's refusal", &refused(outcome)?, &lost)?;
        }
    }
    Ok(())
}

/// Writes `caller` into the record behind what is there, once it gets through.
async fn write_behind(subject: Subject, caller: u32) -> Checked {
    let key = note("shared")?;
    for attempt in 0..10_000u32 {
        let before = some("the record", subject.record(&key).await?)?;
        let text = [before.body.bytes(), caller.to_string().as_bytes(), b","].concat();
        let after = txn_change::Body::raw("note", 1, text);
        let write = Put { key: key.clone(), expect: Expect::Version(before.version), body: Some(after), terms: vec![] };
        match subject.commit(put(change(&format!("write-{caller}-{attempt}"))?, write)).await? {
            Outcome::Done(_) => return Ok(()),
            Outcome::Refused(Refusal::Conflict { actual, .. }) => {
                holds("a conflict names another version", actual != Expect::Version(before.version))?;
            }
            other => return Err(super::Failure::new(format!("expected Done or Conflict, found {other:?}"))),
        }
    }
    Err(super::Failure::new("10000 conflicts in a row: expected that one caller always gets through"))
}

async fn no_update_is_lost(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    subject.done(change("begin")?.insert(note("shared")?, body(""), vec![])).await?;
    let job = |caller| -> BoxFuture<'static, Checked> { Box::pin(write_behind(subject.clone(), caller)) };
    subject.race((0..8).map(job).collect()).await?.into_iter().collect::<Checked<()>>()?;
    let record = some("the record", subject.record(&note("shared")?).await?)?;
    equal("the version", &record.version, &9)?;
    let text = String::from_utf8_lossy(record.body.bytes()).into_owned();
    let mut callers: Vec<&str> = text.split_terminator(',').collect();
    callers.sort_unstable();
    equal("who is in the record", &callers, &vec!["0", "1", "2", "3", "4", "5", "6", "7"])
}

/// Cases O1, L10.
async fn the_last_unit_is_sold_once(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for round in 0..10u32 {
        let shelf = tally(&format!("shelf-{round}"))?;
        subject.done(stocked(&format!("stock-{round}"), &shelf, [1, 0, 0, 0])?).await?;
        let reserve =
            |caller: u32| Ok(change(&format!("reserve-{round}-{caller}"))?.add(add(&shelf, [0, 1, 0, 0], None)));
        let outcomes = subject.race_commits((0..16).map(reserve).collect::<Checked<_>>()?).await?;
        equal("reservations of the last unit", &count_new(&outcomes), &1)?;
        equal("the shelf", &subject.lanes(&shelf).await?, &[1, 1, 0, 0])?;
        for outcome in outcomes.into_iter().filter(|o| !matches!(o, Outcome::Done(_))) {
            let refusal = refused(outcome)?;
            holds(
                format!("a guard refused it, not {refusal:?}"),
                matches!(refusal, Refusal::GuardBroken { value: -1, min: 0, .. }),
            )?;
        }
    }
    Ok(())
}

/// Case B22.
async fn ten_units_are_reserved_ten_times(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let shelf = tally("shelf")?;
    subject.done(stocked("stock", &shelf, [10, 0, 0, 0])?).await?;
    let reserve = |caller: u32| stocked(&format!("reserve-{caller}"), &shelf, [0, 1, 0, 0]);
    let outcomes = subject.race_commits((0..200).map(reserve).collect::<Checked<_>>()?).await?;
    equal("reservations of ten units", &count_new(&outcomes), &10)?;
    equal("the shelf", &subject.lanes(&shelf).await?, &[10, 10, 0, 0])
}

/// Case B21.
async fn a_full_balance_is_withdrawn_once(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (bank, customer) = (tally("bank")?, tally("customer")?);
    let deposit = change("deposit")?.add(add(&bank, [0, 100, 0, 0], Some(account([None; 2])))).add(add(
        &customer,
        [0, 0, 0, 100],
        Some(account([Some(FUNDED), None])),
    ));
    subject.done(deposit).await?;
    let withdraw = |caller: u32| transfer(&format!("withdraw-{caller}"), &customer, &bank, 100, [Some(FUNDED), None]);
    let outcomes = subject.race_commits((0..50).map(withdraw).collect::<Checked<_>>()?).await?;
    equal("withdrawals of a full balance", &count_new(&outcomes), &1)?;
    equal("the customer", &subject.lanes(&customer).await?, &[0, 100, 0, 100])?;
    equal("the bank", &subject.lanes(&bank).await?, &[0, 100, 0, 100])
}

/// Case O4.
async fn crossing_transfers_end_and_lose_nothing(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (a, b) = (tally("a")?, tally("b")?);
    for (id, shelf) in [("stock-a", &a), ("stock-b", &b)] {
        subject.done(stocked(id, shelf, [1_000, 0, 0, 0])?).await?;
    }
    let job = |caller: u32| -> BoxFuture<'static, Checked> {
        let (subject, mut from, mut to) = (subject.clone(), a.clone(), b.clone());
        if caller % 2 == 1 {
            std::mem::swap(&mut from, &mut to);
        }
        Box::pin(async move {
            for step in 0..20u32 {
                let leaves = add(&from, [-1, 0, 0, 0], Some(stock()));
                let arrives = add(&to, [1, 0, 0, 0], Some(stock()));
                subject.done(change(&format!("move-{caller}-{step}"))?.add(leaves).add(arrives)).await?;
            }
            Ok(())
        })
    };
    subject.race((0..8).map(job).collect()).await?.into_iter().collect::<Checked<()>>()?;
    let (a, b) = (subject.counter(&a).await?, subject.counter(&b).await?);
    equal("units in all", &sum([a.lanes.0, b.lanes.0])?, &[2_000, 0, 0, 0])?;
    equal("units at either end", &(a.lanes.0, b.lanes.0), &([1_000, 0, 0, 0], [1_000, 0, 0, 0]))?;
    equal("additions", &(a.sequence, b.sequence), &(161, 161))
}
