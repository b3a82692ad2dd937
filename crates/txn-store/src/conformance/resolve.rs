//! Settling an id whose outcome is not known: one of the two happens, for good.

use futures_util::future::BoxFuture;
use txn_change::{ChangeId, Refusal};
use txn_suite::{Checked, equal, holds};

use super::{
    Failure, Harness, Scenario, named,
    sample::{asked_otherwise, body, event, note, stocked, tally},
    subject::Subject,
};
use crate::{
    scope::Scope,
    store::{Outcome, Resolution},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    an_id_that_was_never_used_is_settled_as_not_done,
    a_committed_id_resolves_to_its_answer,
    resolving_and_committing_at_once_comes_to_one_of_the_two,
];

fn scope(subject: &Subject) -> Scope {
    Scope::new(subject.store.clone(), subject.tenant.clone())
}

async fn resolve(subject: &Subject, id: &ChangeId) -> Checked<Resolution> {
    Ok(scope(subject).resolve(id).await?)
}

async fn an_id_that_was_never_used_is_settled_as_not_done(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let late = stocked("late", &tally("t")?, [1, 0, 0, 0])?.insert(note("n")?, body("1"), vec![]).append(event("late"));
    let given_up = Refusal::GivenUp { id: late.id.clone() };
    for times in 1..=3u32 {
        equal(&format!("resolved {times} times"), &resolve(&subject, &late.id).await?, &Resolution::NotDone)?;
        equal("a late commit", &subject.refused(late.clone()).await?, &given_up)?;
        equal("any other under the id", &subject.refused(asked_otherwise(&late)).await?, &given_up)?;
    }
    equal("the record's version", &subject.version(&note("n")?).await?, &0)?;
    equal("events", &subject.log(7).await?.len(), &0)?;
    equal("changes committed", &subject.settled().await?.commits, &1)?;
    // Under another id, and for another tenant under this one, it passes.
    equal("for another tenant", &subject.tenant("other")?.done(late.clone()).await?.replayed, &false)?;
    let again = txn_change::Change { id: ChangeId::new("again")?, ..late };
    equal("under another id", &subject.done(again).await?.replayed, &false)
}

async fn a_committed_id_resolves_to_its_answer(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let whole = stocked("whole", &tally("t")?, [1, 0, 0, 0])?.append(event("whole")).answer(body("answer"));
    let receipt = subject.done(whole.clone()).await?;
    let before = subject.contents(7).await?;
    for _ in 0..3 {
        match resolve(&subject, &whole.id).await? {
            Resolution::Done(resolved) => {
                equal("the answer", &resolved.answer, &receipt.answer)?;
                equal("replayed, and when", &(resolved.replayed, resolved.recorded_at), &(true, receipt.recorded_at))?;
            }
            Resolution::NotDone => return Err(Failure::new("expected what was committed, found NotDone")),
        }
        equal("asked again, replayed", &subject.done(whole.clone()).await?.replayed, &true)?;
    }
    equal("the contents after resolving", &subject.contents(7).await?, &before)?;
    // It is settled in its own tenant only.
    equal("for another tenant", &resolve(&subject.tenant("other")?, &whole.id).await?, &Resolution::NotDone)
}

/// What one caller of the race was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Done,
    NotDone,
}

async fn resolving_and_committing_at_once_comes_to_one_of_the_two(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let (rounds, mut committed) = (30u32, 0i128);
    for round in 0..rounds {
        let change = stocked(&format!("c-{round}"), &tally("t")?, [1, 0, 0, 0])?.append(event(""));
        let caller = |number: u32| -> BoxFuture<'static, Checked<Told>> {
            let (subject, change) = (subject.clone(), change.clone());
            Box::pin(async move {
                if number.is_multiple_of(2) {
                    return Ok(match resolve(&subject, &change.id).await? {
                        Resolution::Done(_) => Told::Done,
                        Resolution::NotDone => Told::NotDone,
                    });
                }
                match subject.commit(change).await? {
                    Outcome::Done(_) => Ok(Told::Done),
                    Outcome::Refused(Refusal::GivenUp { .. }) => Ok(Told::NotDone),
                    other => Err(Failure::new(format!("expected Done or GivenUp, found {other:?}"))),
                }
            })
        };
        let told: Vec<Told> = subject.race((0..6).map(caller).collect()).await?.into_iter().collect::<Checked<_>>()?;
        holds(
            format!("all six were told the same: {told:?}"),
            told.windows(2).all(|pair| pair.first() == pair.last()),
        )?;
        committed = committed.saturating_add(i128::from(told.first() == Some(&Told::Done)));
    }
    if committed > 0 {
        equal("units taken", &subject.lanes(&tally("t")?).await?, &[committed, 0, 0, 0])?;
    }
    equal("events", &i128::try_from(subject.log(1_000).await?.len()).unwrap_or(-1), &committed)?;
    equal("ids in use", &subject.settled().await?.commits, &u64::from(rounds))
}
