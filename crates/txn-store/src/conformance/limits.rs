//! Limits: at n it passes, at n + 1 it is an error that names n.

use std::time::{Duration, Instant};

use txn_change::{
    Body, Change, Condition, Event, Expect, Fence, FenceName, Invalid, Key, Label, Limits, Refusal, Status,
};
use txn_suite::{Checked, equal, holds};

use super::{
    Harness, Scenario, named,
    sample::{add, body, change, event, fence, kind, note, open, set, stock, tally, term},
    subject::{Subject, done},
};
use crate::{
    error::ErrorKind,
    limits::StoreLimits,
    store::{Ask, Commit, Outcome},
};

/// How long a caller may find the queue full, whom nobody keeps from asking again and again.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_batch_or_ask_above_its_limit_is_an_error_that_names_it,
    a_batch_above_the_group_is_committed_all_the_same,
    a_full_queue_is_overloaded_and_nothing_else,
];

pub(super) const CHANGE: &[Scenario] = named![Nothing:
    a_part_of_a_change_above_its_limit_is_refused_with_the_number,
    bytes_above_their_limit_are_refused_with_the_number,
    a_malformed_change_is_refused_and_its_neighbours_are_not,
];

const SMALL: Limits = Limits {
    requires_max: 2,
    puts_max: 3,
    opens_max: 2,
    adds_max: 4,
    holds_max: 2,
    fences_max: 2,
    events_max: 3,
    terms_max: 2,
    body_bytes_max: 10,
    change_bytes_max: 25,
};

async fn small(harness: &Harness) -> Checked<Subject> {
    harness.limited(StoreLimits { change: SMALL, ..StoreLimits::default() }).await
}

/// Adds the `index`-th part of one sort to a change.
type Part = fn(Change, usize) -> Checked<Change>;

async fn a_part_of_a_change_above_its_limit_is_refused_with_the_number(harness: &Harness) -> Checked {
    let subject = small(harness).await?;
    for index in 0..4u32 {
        let name = format!("set-{index}");
        subject.done(open(change(&name)?, &tally(&name)?, stock())).await?;
    }
    let parts: [(&str, usize, Part); 9] = [
        ("requirements", 2, |c, i| Ok(c.require(note(&format!("r-{i}"))?, Expect::Absent))),
        ("records", 3, |c, i| Ok(c.insert(note(&format!("p-{i}"))?, body(""), vec![]))),
        ("counters to open", 2, |c, i| Ok(open(c, &tally(&format!("o-{i}"))?, stock()))),
        ("counters to set", 2, |c, i| Ok(set(c, &tally(&format!("set-{i}"))?, 1, 0, Status::Open))),
        ("additions", 4, |c, _| Ok(c.add(add(&tally("t")?, [1, 0, 0, 0], Some(stock()))))),
        ("conditions", 2, |c, _| Ok(c.hold(tally("t")?, Condition::AtLeast([1, 0, 0, 0], 0), Label::new("l")))),
        ("fences", 2, |c, i| fence(c, &format!("f-{i}"), 1)),
        ("events", 3, |c, _| Ok(c.append(event("")))),
        ("terms on a record", 2, |mut c, i| {
            if c.put.is_empty() {
                c = c.insert(note("terms")?, body(""), vec![]);
            }
            for put in &mut c.put {
                put.terms.push(term(&i.to_string())?);
            }
            Ok(c)
        }),
    ];
    for (what, max, part) in parts {
        let mut within = change(what.replace(' ', "-").as_str())?;
        within.answer = body("");
        for index in 0..max {
            within = part(within, index)?;
        }
        let mut above = part(within.clone(), max)?;
        above.id = change(&format!("{}-above", within.id))?.id;
        let too_many = Refusal::Invalid(Invalid::TooMany { what, found: max.saturating_add(1), max });
        equal(&format!("{what} above the limit"), &subject.refused(above).await?, &too_many)?;
        done(subject.commit(within).await?).map_err(|f| super::Failure::new(format!("{max} {what}: {f}")))?;
    }
    let terms = |count: u32| -> Checked<Event> {
        (0..count).try_fold(event(""), |event, index| Ok(event.with_term(term(&index.to_string())?)))
    };
    let many = Refusal::Invalid(Invalid::TooMany { what: "terms on an event", found: 3, max: 2 });
    equal("terms on an event", &subject.refused(change("e-3")?.append(terms(3)?)).await?, &many)?;
    subject.done(change("e-2")?.append(terms(2)?)).await.map(drop)
}

async fn bytes_above_their_limit_are_refused_with_the_number(harness: &Harness) -> Checked {
    let subject = small(harness).await?;
    let text = |length: usize| body(&"x".repeat(length));
    let happened = |length: usize| Event::new(text(length));
    let empty = |id: &str| Ok::<_, super::Failure>(change(id)?.answer(body("")));
    let of_body = Refusal::Invalid(Invalid::TooMany { what: "bytes in a body", found: 11, max: 10 });
    let of_change = Refusal::Invalid(Invalid::TooMany { what: "bytes", found: 26, max: 25 });
    let above = [
        (empty("put-11")?.insert(note("a")?, text(11), vec![]), &of_body),
        (empty("event-11")?.append(happened(11)), &of_body),
        (empty("answer-11")?.answer(text(11)), &of_body),
        (empty("all-26")?.insert(note("b")?, text(10), vec![]).append(happened(10)).answer(text(6)), &of_change),
    ];
    for (change, expected) in above {
        equal(change.id.as_str(), &subject.refused(change.clone()).await?, expected)?;
    }
    equal("changes so far", &subject.store.health().await?.commits, &0)?;
    let within = [
        empty("put-10")?.insert(note("a")?, text(10), vec![]),
        empty("event-10")?.append(happened(10)),
        empty("answer-10")?.answer(text(10)),
        empty("all-25")?.insert(note("b")?, text(10), vec![]).append(happened(10)).answer(text(5)),
    ];
    for change in within {
        subject.done(change).await?;
    }
    Ok(())
}

async fn a_malformed_change_is_refused_and_its_neighbours_are_not(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let long_key = Key::lower_bound(&[b"note\0\x01".as_slice(), &[b'x'; 507], b"\0"].concat());
    let mut label = add(&tally("t")?, [1, 0, 0, 0], Some(stock()));
    label.label = Label::stored("l".repeat(65));
    let nameless = super::sample::opening(super::sample::class(""), [None; 2]);
    let long_named = super::sample::opening(super::sample::class(&"c".repeat(33)), [None; 2]);
    let put_twice = change("put-twice")?.insert(note("a")?, body(""), vec![]).insert(note("a")?, body(""), vec![]);
    let require_twice =
        change("require-twice")?.require(note("a")?, Expect::Absent).require(note("a")?, Expect::Version(1));
    let malformed = [
        put_twice,
        require_twice,
        open(open(change("open-twice")?, &tally("o")?, stock()), &tally("o")?, stock()),
        set(set(change("set-twice")?, &tally("o")?, 1, 0, Status::Open), &tally("o")?, 2, 0, Status::Open),
        change("long-key")?.insert(long_key.clone(), body(""), vec![]),
        change("long-term")?.append(event("").with_term(long_key)),
        change("long-label")?.add(label),
        change("nameless")?.add(add(&tally("n")?, [0; 4], Some(nameless))),
        open(change("long-named")?, &tally("n")?, long_named),
    ];
    let mut batch = Vec::new();
    for (index, change) in malformed.into_iter().enumerate() {
        batch.push(change);
        batch.push(super::sample::change(&format!("neighbour-{index}"))?);
    }
    let ids: Vec<_> = batch.iter().map(|change| change.id.clone()).collect();
    for (index, (id, outcome)) in ids.iter().zip(subject.batch(batch).await?).enumerate() {
        let is_invalid = matches!(outcome, Outcome::Refused(Refusal::Invalid(_)));
        holds(format!("{id} is invalid exactly if malformed, found {outcome:?}"), is_invalid == (index % 2 == 0))?;
    }
    equal("changes committed", &subject.store.health().await?.commits, &9)
}

async fn a_batch_or_ask_above_its_limit_is_an_error_that_names_it(harness: &Harness) -> Checked {
    let subject = harness.limited(StoreLimits { batch_max: 3, ask_keys_max: 4, ..StoreLimits::default() }).await?;
    let batch = |prefix: &str, count: u32| -> Checked<Vec<Commit>> {
        let commit =
            |index| Ok(Commit { tenant: subject.tenant.clone(), change: change(&format!("{prefix}-{index}"))? });
        (0..count).map(commit).collect()
    };
    let results = subject.store.commit(batch("above", 4)?).await;
    equal("results of a batch above the limit", &results.len(), &4)?;
    for result in results {
        let error = result.err().map(|e| (e.kind(), e.to_string().contains('3')));
        equal("a batch above the limit", &error, &Some((ErrorKind::Invalid, true)))?;
    }
    equal("changes committed", &subject.store.health().await?.commits, &0)?;
    for result in subject.store.commit(batch("within", 3)?).await {
        done(result?)?;
    }
    let keys = |records: u32, counters: u32, facts: u32| -> Checked<Ask> {
        let mut ask = subject.ask().stored(change("within-0")?.id);
        for index in 0..records {
            ask = ask.record(Key::of(kind()?).number(index.into()).build());
        }
        for index in 0..counters {
            ask = ask.counter(Key::of(kind()?).number(index.into()).build());
        }
        for index in 0..facts {
            ask = ask.fact(txn_change::FactId::new(index.to_string())?);
        }
        Ok(ask)
    };
    subject.store.get(vec![keys(4, 0, 0)?, keys(0, 2, 2)?]).await?;
    for ask in [keys(5, 0, 0)?, keys(0, 5, 0)?, keys(1, 1, 3)?] {
        let error =
            subject.store.get(vec![keys(1, 0, 0)?, ask]).await.err().map(|e| (e.kind(), e.to_string().contains('4')));
        equal("an ask above the limit", &error, &Some((ErrorKind::Invalid, true)))?;
    }
    let error = subject.store.get(vec![subject.ask(); 4]).await.err().map(|e| (e.kind(), e.to_string().contains('3')));
    equal("asks above the limit", &error, &Some((ErrorKind::Invalid, true)))?;
    // Each ask within its limit, and each counted beside its keys.
    let subject = harness.limited(StoreLimits { get_keys_max: 9, ..StoreLimits::default() }).await?;
    let two = || Ok(subject.ask().record(note("a")?).counter(tally("b")?));
    let three = || (0..3).map(|_| two()).collect::<Checked<Vec<Ask>>>();
    equal("as many keys as a call may name", &subject.store.get(three()?).await?.len(), &3)?;
    let above = [three()?, vec![subject.ask()]].concat();
    let error = subject.store.get(above).await.err().map(|e| (e.kind(), e.to_string().contains("at most 9")));
    equal("one more", &error, &Some((ErrorKind::Invalid, true)))
}

async fn a_batch_above_the_group_is_committed_all_the_same(harness: &Harness) -> Checked {
    for limits in [
        StoreLimits { group_max: 3, ..StoreLimits::default() },
        StoreLimits { group_bytes_max: 20, ..StoreLimits::default() },
    ] {
        let subject = harness.limited(limits).await?;
        let mut batch = Vec::new();
        let mut expect = Expect::Absent;
        for index in 1..=10u64 {
            let text = "x".repeat(30);
            let put = txn_change::Put {
                key: note("n")?,
                expect,
                body: Some(Body::raw("note", 1, text.into_bytes())),
                terms: vec![],
            };
            batch.push(super::sample::put(change(&index.to_string())?, put).append(event(&index.to_string())));
            expect = Expect::Version(index);
        }
        for outcome in subject.batch(batch).await? {
            done(outcome)?;
        }
        let said: Vec<_> = subject.log(3).await?.into_iter().map(|item| item.recorded.change.to_string()).collect();
        equal("the order in the log", &said, &(1..=10u32).map(|i| i.to_string()).collect())?;
    }
    Ok(())
}

async fn a_full_queue_is_overloaded_and_nothing_else(harness: &Harness) -> Checked {
    let subject = harness.limited(StoreLimits { queue_max: 4, ..StoreLimits::default() }).await?;
    let commit = |index: u32| -> futures_util::future::BoxFuture<'static, Checked<u64>> {
        let subject = subject.clone();
        Box::pin(async move {
            let begun = Instant::now();
            for attempt in 0u32.. {
                let change = super::sample::stocked(&format!("c-{index}"), &tally("t")?, [1, 0, 0, 0])?;
                let batch = vec![Commit { tenant: subject.tenant.clone(), change }];
                match txn_suite::only("result", subject.store.commit(batch).await)? {
                    Ok(outcome) => {
                        // Overloaded meant: not executed. So the attempt that ends it is the first.
                        equal("replayed", &done(outcome)?.replayed, &false)?;
                        return Ok(u64::from(attempt));
                    }
                    Err(error) => {
                        equal("the error", &(error.kind(), error.is_retryable()), &(ErrorKind::Overloaded, true))?;
                        if begun.elapsed() > PATIENCE {
                            break;
                        }
                        std::thread::yield_now();
                    }
                }
            }
            Err(super::Failure::new(format!("overloaded for {PATIENCE:?}: expected to get through in the end")))
        })
    };
    subject.race((0..24).map(commit).collect()).await?.into_iter().collect::<Checked<Vec<_>>>()?;
    equal("the lanes", &subject.lanes(&tally("t")?).await?, &[24, 0, 0, 0])?;
    let health = subject.store.health().await?;
    equal("changes committed and waiting", &(health.commits, health.queued), &(24, 0))?;
    let unused = Fence { name: FenceName::new("still-open")?, token: 1 };
    let mut last = change("last")?;
    last.fence.push(unused);
    subject.done(last).await.map(drop)
}
