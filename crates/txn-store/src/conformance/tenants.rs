//! Tenants: what belongs to one is to another as if it did not exist.

use std::sync::Arc;

use txn_change::{Expect, FactId, Invalid, Key, Kind, Label, Refusal};
use txn_suite::{Checked, equal, holds};

use super::{
    Harness, Scenario, named,
    sample::{add, body, change, fact, fence, kind, note, stock, tally, term},
    subject::Subject,
};
use crate::{
    admin::Row,
    query::{Query, Range},
    scope::Scope,
    store::{Ask, Commit, Outcome, Store},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_tenant_sees_nothing_of_another,
    what_is_foreign_is_refused_as_what_is_absent,
    a_batch_may_hold_changes_of_many_tenants,
    a_scope_stays_within_its_tenant_and_out_of_reserved_kinds,
];

async fn full(harness: &Harness) -> Checked<Subject> {
    let subject = harness.fresh().await?;
    let change = change("full")?
        .insert(note("n")?, body("secret"), vec![term("w")?])
        .add(add(&tally("t")?, [5, 0, 0, 0], Some(stock())))
        .append(fact("f")?.with_term(term("w")?))
        .answer(body("secret"));
    subject.done(fence(change, "lock", 7)?).await?;
    Ok(subject)
}

/// Case B27.
async fn a_tenant_sees_nothing_of_another(harness: &Harness) -> Checked {
    let subject = full(harness).await?;
    let other = subject.tenant("subjec")?;
    for knows_the_store in [false, true] {
        if knows_the_store {
            other.done(change("own")?).await?;
        }
        let ask = |of: &Subject, name: &str| -> Checked<Ask> {
            let ask = of.ask().stored(change(name)?.id).record(note(name)?).counter(tally(name)?);
            Ok(ask.fact(FactId::new(name)?))
        };
        let mut foreign = other.ask().stored(change("full")?.id).record(note("n")?).counter(tally("t")?);
        foreign = foreign.fact(FactId::new("f")?);
        let (found, absent) = (other.get(foreign).await?, other.get(ask(&other, "absent")?).await?);
        equal("a snapshot of foreign rows", &found, &absent)?;
        let words = Range::kind(Kind::new("by-word")?);
        let queries = [
            Query::Records(Range { prefix: Vec::new(), from: None, until: None }),
            Query::RecordsByTerm(words.clone()),
            Query::Counters(Range { prefix: Vec::new(), from: None, until: None }),
            Query::entries(tally("t")?),
            Query::EventsByTerm(words),
        ];
        for query in queries {
            equal(&format!("foreign rows of {query:?}"), &other.all(&query, 7).await?, &vec![])?;
        }
        equal("own changes", &other.all(&Query::Changes, 7).await?.len(), &usize::from(knows_the_store))?;
    }
    // The same names, facts and locks are free.
    let own = change("full")?
        .insert(note("n")?, body("own"), vec![term("w")?])
        .add(add(&tally("t")?, [0, 0, 1, 0], Some(stock())))
        .append(fact("f")?);
    equal("replayed", &other.done(fence(own, "lock", 1)?).await?.replayed, &false)?;
    equal("the first tenant's lanes", &subject.lanes(&tally("t")?).await?, &[5, 0, 0, 0])?;
    equal("the other's lanes", &other.lanes(&tally("t")?).await?, &[0, 0, 1, 0])?;
    for of in [&subject, &other] {
        equal("entries", &of.all(&Query::entries(tally("t")?), 7).await?.len(), &1)?;
        equal("rows by term", &of.all(&Query::RecordsByTerm(Range::kind(Kind::new("by-word")?)), 7).await?.len(), &1)?;
    }
    Ok(())
}

/// Case B32.
async fn what_is_foreign_is_refused_as_what_is_absent(harness: &Harness) -> Checked {
    let subject = full(harness).await?;
    let other = subject.tenant("other")?;
    for name in ["foreign", "absent"] {
        let (record, counter) = if name == "foreign" { (note("n")?, tally("t")?) } else { (note("x")?, tally("x")?) };
        let conflict = Refusal::Conflict { key: record.clone(), expected: Expect::Version(1), actual: Expect::Absent };
        let change = |part: &str| change(&format!("{name}-{part}"));
        equal(name, &other.refused(change("require")?.require(record.clone(), Expect::Version(1))).await?, &conflict)?;
        equal(name, &other.refused(change("remove")?.remove(record, 1)).await?, &conflict)?;
        let absent = Refusal::CounterAbsent { counter: counter.clone(), label: Label::new("line") };
        let leg = change("leg")?.add(add(&counter, [1, 0, 0, 0], None));
        equal(name, &other.refused(leg).await?, &absent)?;
        let set = super::sample::set(change("set")?, &counter, 1, 0, txn_change::Status::Open);
        let conflict = Refusal::Conflict { key: counter, expected: Expect::Version(1), actual: Expect::Absent };
        equal(name, &other.refused(set).await?, &conflict)?;
    }
    let before = subject.contents(7).await?;
    holds(
        "nothing of the other was written",
        before.commits.iter().all(|row| matches!(row, Row::Commit { tenant, .. } if *tenant == subject.tenant)),
    )
}

async fn a_batch_may_hold_changes_of_many_tenants(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let tenants = ["a", "b", "a-", "_", "subject", "zzz"];
    let mut batch = Vec::new();
    for (number, tenant) in (0i128..).zip(tenants.iter().cycle().take(24)) {
        let change = super::sample::stocked(&format!("c-{}", number / 6), &tally("t")?, [number, 0, 0, 0])?;
        batch.push(Commit { tenant: txn_change::Tenant::new(tenant)?, change });
    }
    for outcome in subject.store.commit(batch).await {
        let receipt = super::subject::done(outcome?)?;
        equal("replayed", &receipt.replayed, &false)?;
    }
    let mut asks = Vec::new();
    for tenant in tenants {
        asks.push(subject.tenant(tenant)?.ask().counter(tally("t")?));
    }
    let snapshots = subject.store.get(asks).await?;
    let lanes: Vec<_> =
        snapshots.iter().flat_map(|s| &s.counters).flatten().map(|c| c.lanes.0.into_iter().sum()).collect();
    equal("what each tenant has", &lanes, &vec![36i128, 40, 44, 48, 52, 56])
}

async fn a_scope_stays_within_its_tenant_and_out_of_reserved_kinds(harness: &Harness) -> Checked {
    let subject = full(harness).await?;
    let store: Arc<dyn Store> = subject.store.clone();
    let scope = Scope::new(store, subject.tenant("other")?.tenant);
    equal("a foreign record", &scope.record(note("n")?).await?, &None)?;
    equal("an ask in another's name", &scope.get(subject.ask().record(note("n")?)).await?.records, &vec![None])?;
    let found = scope.find(&Query::Records(Range::kind(kind()?)), None, 7).await?;
    equal("foreign rows", &found.items.len(), &0)?;
    let ours = Key::of(Kind::reserved("ledger")).number(1).build();
    let forbidden = [
        change("put")?.insert(ours.clone(), body(""), vec![]),
        change("term")?.insert(note("m")?, body(""), vec![ours.clone()]),
        change("add")?.add(add(&ours, [1, 0, 0, 0], Some(stock()))),
        change("event")?.append(fact("g")?.with_term(ours.clone())),
    ];
    for change in forbidden {
        let expected = Outcome::Refused(Refusal::Invalid(Invalid::Reserved { key: ours.clone() }));
        equal("a host's change of our kind", &scope.commit(change).await?, &expected)?;
    }
    equal("changes", &subject.store.health().await?.commits, &1)
}
