//! Versions, conflicts, terms and fences.

use txn_change::{Expect, Put, Record, Refusal};
use txn_suite::{Checked, equal, holds};

use super::{
    Harness, Scenario, named,
    sample::{body, change, fence, note, put, term},
    subject::Subject,
};
use crate::query::{Found, Query, Range};

pub(super) const ALL: &[Scenario] = named![Nothing:
    versions_count_from_one_and_a_conflict_names_the_current_one,
    a_removed_record_is_absent_and_begins_again_at_one,
    terms_follow_the_record,
    a_token_below_the_highest_seen_is_refused,
    records_and_counters_of_one_key_are_apart,
];

fn rewrite(id: &str, name: &str, expect: Expect, terms: &[&str]) -> Checked<txn_change::Change> {
    let terms = terms.iter().map(|word| term(word)).collect::<Checked<_>>()?;
    Ok(put(change(id)?, Put { key: note(name)?, expect, body: Some(body(id)), terms }))
}

/// Case B25.
async fn versions_count_from_one_and_a_conflict_names_the_current_one(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let key = note("n")?;
    subject.done(rewrite("v1", "n", Expect::Absent, &[])?).await?;
    for version in 1..5u64 {
        let id = format!("v{}", version.saturating_add(1));
        subject.done(rewrite(&id, "n", Expect::Version(version), &[])?).await?;
    }
    equal("the version", &subject.version(&key).await?, &5)?;
    for (index, expected) in
        [Expect::Absent, Expect::Version(0), Expect::Version(4), Expect::Version(6)].into_iter().enumerate()
    {
        let conflict = Refusal::Conflict { key: key.clone(), expected, actual: Expect::Version(5) };
        equal("a stale put", &subject.refused(rewrite(&format!("p{index}"), "n", expected, &[])?).await?, &conflict)?;
        let required = change(&format!("r{index}"))?.require(key.clone(), expected);
        equal("a stale requirement", &subject.refused(required).await?, &conflict)?;
    }
    for (index, expected) in [Expect::Version(0), Expect::Version(1)].into_iter().enumerate() {
        let conflict = Refusal::Conflict { key: note("none")?, expected, actual: Expect::Absent };
        let change = rewrite(&format!("none-{index}"), "none", expected, &[])?;
        equal("a put on an absent record", &subject.refused(change).await?, &conflict)?;
    }
    let both = rewrite("both", "n", Expect::Version(5), &[])?.require(key.clone(), Expect::Version(5));
    subject.done(both.require(note("none")?, Expect::Absent)).await?;
    equal("the version after all", &subject.version(&key).await?, &6)
}

async fn a_removed_record_is_absent_and_begins_again_at_one(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let key = note("n")?;
    subject.done(rewrite("v1", "n", Expect::Absent, &["a"])?).await?;
    subject.done(rewrite("v2", "n", Expect::Version(1), &["a", "b"])?).await?;
    let stale = Refusal::Conflict { key: key.clone(), expected: Expect::Version(1), actual: Expect::Version(2) };
    equal("a stale removal", &subject.refused(change("stale")?.remove(key.clone(), 1)).await?, &stale)?;
    subject.done(change("remove")?.remove(key.clone(), 2)).await?;
    equal("the record", &subject.record(&key).await?, &None)?;
    equal("the index", &words(&subject).await?, &vec![])?;
    let gone = Refusal::Conflict { key: key.clone(), expected: Expect::Version(2), actual: Expect::Absent };
    equal("a second removal", &subject.refused(change("again")?.remove(key.clone(), 2)).await?, &gone)?;
    // To remove what is absent, expected absent, is nothing at all.
    let nothing = Put { key: key.clone(), expect: Expect::Absent, body: None, terms: vec![term("x")?] };
    subject.done(put(change("nothing")?, nothing)).await?;
    equal("the record still", &subject.record(&key).await?, &None)?;
    equal("the index still", &words(&subject).await?, &vec![])?;
    subject.done(rewrite("anew", "n", Expect::Absent, &["c"])?).await?;
    let anew = Record { version: 1, body: body("anew"), terms: vec![term("c")?] };
    equal("the record anew", &subject.record(&key).await?, &Some(anew))?;
    equal("the index anew", &words(&subject).await?, &vec![note("n")?])
}

async fn terms_follow_the_record(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let steps: [&[&str]; 7] = [&["a", "b"], &["b", "c"], &[], &["a"], &["a", "a"], &["c", "a", "b"], &["c"]];
    let mut expect = Expect::Absent;
    for (version, terms) in (1u64..).zip(steps) {
        subject.done(rewrite(&format!("v{version}"), "n", expect, terms)?).await?;
        expect = Expect::Version(version);
        // A term stated twice is one index entry.
        let mut distinct = terms.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        equal(&format!("rows found for {terms:?}"), &words(&subject).await?.len(), &distinct.len())?;
        for word in ["a", "b", "c"] {
            let of_word =
                Query::RecordsByTerm(Range { prefix: term(word)?.as_bytes().to_vec(), from: None, until: None });
            let found = subject.all(&of_word, 1).await?.len();
            equal(&format!("rows of {word} for {terms:?}"), &found, &usize::from(terms.contains(&word)))?;
        }
        equal("orphans", &subject.contents(7).await?.orphans, &vec![])?;
    }
    Ok(())
}

/// The keys that the whole index finds.
async fn words(subject: &Subject) -> Checked<Vec<txn_change::Key>> {
    let all = Query::RecordsByTerm(Range::kind(txn_change::Kind::new("by-word")?));
    let key = |found| if let Found::Record(key, _) = found { Some(key) } else { None };
    Ok(subject.all(&all, 1).await?.into_iter().filter_map(key).collect())
}

async fn a_token_below_the_highest_seen_is_refused(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for (token, highest, passes) in
        [(0, 0, true), (7, 7, true), (7, 7, true), (6, 7, false), (u64::MAX, u64::MAX, true), (8, u64::MAX, false)]
    {
        let id = format!("{token}-{highest}-{passes}-{}", subject.store.health().await?.commits);
        let outcome = subject.commit(fence(change(&id)?, "lock", token)?).await?;
        if passes {
            super::subject::done(outcome)?;
        } else {
            let refusal = super::subject::refused(outcome)?;
            let is_stale =
                matches!(refusal, Refusal::FenceStale { token: t, highest: h, .. } if t == token && h == highest);
            holds(format!("{token} is stale below {highest}, found {refusal:?}"), is_stale)?;
        }
    }
    // Two tokens of one lock in one change: the lower one is stale in either order, and lowers nothing.
    for (first, second) in [(5, 3), (3, 5)] {
        let id = format!("two-{first}");
        let refusal = subject.refused(fence(fence(change(&id)?, "lock-2", first)?, "lock-2", second)?).await?;
        holds(
            format!("3 is stale beside 5, found {refusal:?}"),
            matches!(refusal, Refusal::FenceStale { token: 3, highest: 5, .. }),
        )?;
    }
    subject.done(fence(fence(change("same")?, "lock-2", 4)?, "lock-2", 4)?).await?;
    // Locks are apart from each other, and tenants' locks too.
    subject.done(fence(change("lock-3")?, "lock-3", 1)?).await?;
    subject.tenant("other")?.done(fence(change("other")?, "lock", 1)?).await.map(drop)
}

async fn records_and_counters_of_one_key_are_apart(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let key = note("both")?;
    subject.done(super::sample::stocked("counter", &key, [3, 0, 0, 0])?).await?;
    equal("the record", &subject.record(&key).await?, &None)?;
    subject.done(change("record")?.insert(key.clone(), body("record"), vec![key.clone()])).await?;
    subject.done(change("remove")?.remove(key.clone(), 1)).await?;
    equal("the counter", &subject.lanes(&key).await?, &[3, 0, 0, 0])
}
