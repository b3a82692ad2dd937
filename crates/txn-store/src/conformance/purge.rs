//! What is old may be let go of, and nothing else with it: no id, no fact, no number, and no proof.

use std::{sync::Arc, time::Duration};

use txn_change::{Body, Change, Event, Format, Kind, Refusal, Tenant, Timestamp};
use txn_suite::{Checked, equal, holds, some};

use super::{
    Harness, Scenario, named,
    sample::{account, add, asked_otherwise, body, change, event, fact, note, stock, tally, term},
    subject::Subject,
};
use crate::{
    admin::{Purge, Row},
    error::ErrorKind,
    follow::Consumer,
    query::{Found, Query, Range},
    scope::Scope,
    store::{Commit, Outcome, Position, Resolution, Store},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    purged_answers_leave_ids_that_are_never_executed_again,
    purged_events_leave_the_facts_and_the_proof,
    the_log_is_not_purged_before_its_consumers_have_it,
    a_consumer_that_begins_while_the_log_is_purged_misses_nothing,
    a_purge_of_nothing_or_too_much_at_once,
    one_purge_takes_no_more_than_it_was_told,
    small_pages_are_enough_to_purge_and_to_follow,
    answers_stay_where_nothing_else_tells,
    a_host_cannot_take_the_ids_that_purging_needs,
];

pub(super) const DURABLE: &[Scenario] = named![Durability: a_purged_log_goes_on_when_the_store_is_opened_again];

/// Purges until it is complete; says how many rows went.
pub(super) async fn purge(subject: &Subject, what: Purge, before: Timestamp, max: usize) -> Checked<u64> {
    let mut rows = 0u64;
    loop {
        let purged = subject.store.purge(what, before, max).await?;
        rows = rows.saturating_add(purged.rows);
        if purged.is_complete {
            return Ok(rows);
        }
    }
}

/// Every change proves what is left of it.
pub(super) async fn proves(subject: &Subject) -> Checked {
    for row in subject.contents(7).await?.commits {
        if let Row::Commit { id, stored, entries, events, .. } = row {
            let events: Vec<Event> = events.into_iter().map(|recorded| recorded.event).collect();
            holds(format!("{id} proves what is left of it"), stored.proves(&id, &entries, &events))?;
        }
    }
    Ok(())
}

/// Case B30. The id stays, and so does what it has done.
async fn purged_answers_leave_ids_that_are_never_executed_again(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let sold = tally("sold")?;
    let sell = |id: &str| {
        Ok::<_, super::Failure>(change(id)?.add(add(&sold, [1, 0, 0, 0], Some(stock()))).answer(body("sold")))
    };
    for index in 0..5u32 {
        subject.done(sell(&format!("old-{index}"))?).await?;
    }
    // A rejection that is remembered: nothing but the answer tells.
    subject.done(change("rejected")?.answer(body("rejected"))).await?;
    subject.clock.advance(Duration::from_secs(60));
    let before = subject.get(subject.ask()).await?.now;
    subject.done(sell("young")?).await?;
    let chain = subject.settled().await?.chain;
    equal("answers purged", &purge(&subject, Purge::Answers, before, 2).await?, &5)?;
    equal("when asked again", &purge(&subject, Purge::Answers, before, 2).await?, &0)?;
    let again = subject.done(sell("old-3")?).await?;
    equal("a repetition", &(again.replayed, again.answer.format()), &(true, Format::Erased))?;
    subject.refused(asked_otherwise(&sell("old-3")?)).await?;
    let scope = Scope::new(subject.store.clone(), subject.tenant.clone());
    let resolved = scope.resolve(&change("old-3")?.id).await?;
    holds("its outcome", matches!(resolved, Resolution::Done(receipt) if receipt.recorded_at == again.recorded_at))?;
    for (id, kept) in [("rejected", "rejected"), ("young", "sold")] {
        let of_other = if id == "young" { sell(id)? } else { change(id)?.answer(body("rejected")) };
        equal("an answer that stays", &subject.done(of_other).await?.answer, &body(kept))?;
    }
    equal("what was sold", &subject.lanes(&sold).await?, &[6, 0, 0, 0])?;
    equal("the chain", &subject.settled().await?.chain, &chain)?;
    proves(&subject).await
}

async fn purged_events_leave_the_facts_and_the_proof(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for index in 0..6u32 {
        let passing = Event::new(Body::raw("seen", 1, b"{}".to_vec())).with_term(term("w")?);
        let lasting = fact(&format!("f-{index}"))?.with_term(term("w")?);
        let change = change(&format!("c-{index}"))?.append(passing.clone()).append(lasting).append(passing);
        subject.done(change).await?;
    }
    subject.clock.advance(Duration::from_secs(60));
    let before = subject.get(subject.ask()).await?.now;
    subject.done(change("young")?.append(event("young"))).await?;
    let settled = subject.settled().await?;
    equal("events purged", &purge(&subject, Purge::Events, before, 2).await?, &12)?;
    equal("when asked again", &purge(&subject, Purge::Events, before, 2).await?, &0)?;
    let health = subject.settled().await?;
    equal("where the log is", &(health.tail, health.head), &(Position(18), settled.head))?;
    for before in [0, 1, 17] {
        let refused = subject.store.read(Position(before), 5).await.err();
        equal("reading from before", &refused.map(|error| error.kind()), &Some(ErrorKind::Purged))?;
    }
    let page = subject.store.read(Position(18), 5).await?;
    let read: Vec<Position> = page.items.iter().map(|item| item.position).collect();
    equal("what can be read", &read, &vec![Position(19)])?;
    let words = Query::EventsByTerm(Range::kind(Kind::new("by-word")?));
    let found = subject.all(&words, 5).await?;
    holds(
        "only facts are found",
        found.len() == 6 && found.iter().all(|found| matches!(found, Found::Event(item) if item.event.id.is_some())),
    )?;
    let known = fact("f-2")?.id.expect("a fact has an id");
    some("the fact", subject.get(subject.ask().fact(known)).await?.facts.pop().flatten())?;
    subject.refused(change("twice")?.append(fact("f-2")?)).await?;
    let stored = subject.get(subject.ask().stored(change("c-2")?.id)).await?.stored;
    holds("what is kept of those that went is told", stored.is_some_and(|stored| stored.passed.is_some()))?;
    equal("orphans", &subject.contents(7).await?.orphans, &Vec::new())?;
    proves(&subject).await?;
    goes_on(&subject).await
}

/// Everything goes, and the log goes on behind it.
async fn goes_on(subject: &Subject) -> Checked {
    purge(subject, Purge::Events, Timestamp::MAX, 100).await?;
    let settled = subject.settled().await?;
    equal("where the log begins", &settled.tail, &settled.head)?;
    equal("nothing is left to read", &subject.store.read(settled.tail, 5).await?.items.len(), &0)?;
    subject.done(change("next")?.append(event("next"))).await?;
    let page = subject.store.read(settled.tail, 5).await?;
    let positions: Vec<Position> = page.items.iter().map(|item| item.position).collect();
    equal("the next position", &positions, &vec![Position(settled.head.0.saturating_add(1))])?;
    equal("the end of the log", &page.head, &Position(settled.head.0.saturating_add(1)))?;
    proves(subject).await
}

async fn a_purged_log_goes_on_when_the_store_is_opened_again(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for index in 0..3u32 {
        subject.done(change(&format!("{index}"))?.append(event("e"))).await?;
    }
    purge(&subject, Purge::Events, Timestamp::MAX, 100).await?;
    let subject = subject.reopened().await?;
    equal("where the log is", &subject.settled().await?.tail, &Position(3))?;
    subject.done(change("c")?.append(event("e"))).await?;
    goes_on(&subject).await
}

async fn the_log_is_not_purged_before_its_consumers_have_it(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let store: Arc<dyn Store> = subject.store.clone();
    for index in 0..6u32 {
        subject.done(change(&format!("{index}"))?.append(event("e"))).await?;
    }
    let mut slow = Consumer::open(Arc::clone(&store), "slow").await?;
    slow.next().await?;
    slow.next().await?;
    slow.acknowledge().await?;
    let gone = Consumer::open(Arc::clone(&store), "gone").await?;
    equal("nothing is free", &purge(&subject, Purge::Events, Timestamp::MAX, 3).await?, &0)?;
    let listed = Consumer::list(&*store).await?;
    equal("who holds it", &listed, &vec![("gone".to_owned(), Position(0)), ("slow".to_owned(), Position(2))])?;
    gone.retire().await?;
    equal("what the slow one has", &purge(&subject, Purge::Events, Timestamp::MAX, 3).await?, &2)?;
    for index in 2..6u32 {
        equal("what it is given", &slow.next().await?.recorded.change.as_str(), &index.to_string().as_str())?;
    }
    slow.acknowledge().await?;
    equal("the rest", &purge(&subject, Purge::Events, Timestamp::MAX, 3).await?, &4)?;
    subject.done(change("next")?.append(event("e"))).await?;
    for name in ["gone", "new"] {
        let mut begins = Consumer::open(Arc::clone(&store), name).await?;
        equal("where it begins", &begins.acknowledged(), &Position(6))?;
        equal("with what is there", &begins.next().await?.recorded.change.as_str(), &"next")?;
    }
    Ok(())
}

/// Either the purge comes first, and the consumer begins behind it, or the consumer does, and the purge stops before it.
async fn a_consumer_that_begins_while_the_log_is_purged_misses_nothing(harness: &Harness) -> Checked {
    for round in 0..8u32 {
        let subject = harness.fresh().await?;
        for index in 0..12u32 {
            subject.done(change(&format!("{index}"))?.append(event("e"))).await?;
        }
        let head = subject.settled().await?.head.0;
        let store: Arc<dyn Store> = subject.store.clone();
        let purging = subject.clone();
        let purge = async move { purge(&purging, Purge::Events, Timestamp::MAX, 1).await.map(drop) };
        let begin = async move {
            for name in 0..3u32 {
                let mut consumer = Consumer::open(Arc::clone(&store), &format!("c-{round}-{name}")).await?;
                let begun = consumer.acknowledged().0;
                for position in begun.saturating_add(1)..=head {
                    equal("the next position", &consumer.next().await?.position.0, &position)?;
                }
            }
            Ok(())
        };
        for result in subject.race::<Checked>(vec![Box::pin(purge), Box::pin(begin)]).await? {
            result?;
        }
    }
    Ok(())
}

/// Changes of many events, many of them in one group: a purge stops between two of them.
async fn one_purge_takes_no_more_than_it_was_told(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let mut changes = Vec::new();
    for index in 0..12u32 {
        let seen = |n: u32| Ok::<_, super::Failure>(event(&n.to_string()).with_term(term(&format!("{n}"))?));
        let events = (0..40).map(seen).collect::<Checked<Vec<_>>>()?;
        changes.push(events.into_iter().fold(change(&format!("{index}"))?, txn_change::Change::append));
    }
    for outcome in subject.batch(changes).await? {
        holds("it is done", matches!(outcome, Outcome::Done(_)))?;
    }
    subject.settled().await?;
    let (mut tails, mut rows) = (Vec::new(), 0u64);
    loop {
        // An event and its term are two.
        let purged = subject.store.purge(Purge::Events, Timestamp::MAX, 100).await?;
        holds(format!("{} events at once", purged.rows), purged.rows <= 80)?;
        rows = rows.saturating_add(purged.rows);
        let tail = subject.store.health().await?.tail;
        equal("where the log begins", &tail.0, &rows)?;
        equal("what follows", &subject.store.read(tail, 1).await?.items.len(), &usize::from(rows < 480))?;
        proves(&subject).await?;
        if purged.is_complete {
            break;
        }
        tails.push(tail.0);
    }
    equal("events purged", &rows, &480)?;
    equal("how far each came", &tails, &(1..=6u64).map(|times| times.saturating_mul(80)).collect::<Vec<_>>())?;
    equal("what is told", &subject.contents(7).await?.purged, &Some((0, Position(480))))
}

async fn small_pages_are_enough_to_purge_and_to_follow(harness: &Harness) -> Checked {
    let subject = harness.limited(crate::StoreLimits { page_max: 3, ..crate::StoreLimits::default() }).await?;
    let store: Arc<dyn Store> = subject.store.clone();
    for index in 0..9u32 {
        subject.done(change(&format!("{index}"))?.append(event("e"))).await?;
        Consumer::open(Arc::clone(&store), &format!("c-{index}")).await?;
    }
    equal("consumers", &Consumer::list(&*store).await?.len(), &9)?;
    for index in 0..9u32 {
        let mut consumer = Consumer::open(Arc::clone(&store), &format!("c-{index}")).await?;
        for position in 1..=9u64 {
            equal("what it is given", &consumer.next().await?.position, &Position(position))?;
        }
        consumer.acknowledge().await?;
    }
    equal("events purged", &purge(&subject, Purge::Events, Timestamp::MAX, 3).await?, &9)
}

async fn answers_stay_where_nothing_else_tells(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let told = |id: &str| Ok::<_, super::Failure>(change(id)?.answer(body("declined")));
    subject.done(told("record")?.insert(note("n")?, body("n"), vec![])).await?;
    subject.done(told("passing")?.append(event("e"))).await?;
    subject.done(told("fact")?.append(event("e")).append(fact("f")?)).await?;
    subject.settled().await?;
    equal("answers purged", &purge(&subject, Purge::Answers, Timestamp::MAX, 2).await?, &1)?;
    purge(&subject, Purge::Events, Timestamp::MAX, 2).await?;
    for (id, format) in [("record", Format::Json), ("passing", Format::Json), ("fact", Format::Erased)] {
        equal(id, &subject.done(told(id)?).await?.answer.format(), &format)?;
    }
    equal("what is told", &subject.contents(7).await?.purged.map(|(answers, _)| answers), &Some(3))
}

async fn a_host_cannot_take_the_ids_that_purging_needs(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let scope = Scope::new(subject.store.clone(), Tenant::default());
    for id in ["txn.tail/0", "txn.cursor/c/0"] {
        let settled = scope.resolve(&change(id)?.id).await.err();
        equal("settling it", &settled.map(|error| error.kind()), &Some(ErrorKind::Invalid))?;
        holds("committing it", matches!(scope.commit(change(id)?).await?, Outcome::Refused(_)))?;
    }
    // Nor can whoever goes round the scope: one such id once ended purging for good, and had a consumer try without end.
    let mut consumer = Consumer::open(subject.store.clone(), "c").await?;
    subject.done(change("c")?.append(event("e"))).await?;
    subject.settled().await?;
    for tenant in [Tenant::default(), subject.tenant.clone()] {
        for id in ["txn.tail/0", "txn.tail/1", "txn.cursor/c/1", "txn.cursor/c", "txn.x", "txn"] {
            let not_done = Change::not_done(change(id)?.id);
            for change in [change(id)?, change(id)?.insert(note(id)?, body("x"), vec![]), not_done] {
                let outcomes = subject.store.commit(vec![Commit { tenant: tenant.clone(), change }]).await;
                let is_refused = matches!(&outcomes[..], [Ok(Outcome::Refused(Refusal::Invalid(_)))]);
                holds(format!("refused under {id}: {outcomes:?}"), is_refused)?;
            }
        }
    }
    consumer.next().await?;
    consumer.acknowledge().await?;
    equal("what is purged then", &purge(&subject, Purge::Events, Timestamp::MAX, 10).await?, &1)
}

async fn a_purge_of_nothing_or_too_much_at_once(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for what in [Purge::Answers, Purge::Events] {
        equal("of an empty store", &purge(&subject, what, Timestamp::MAX, 1).await?, &0)?;
        for max in [0, usize::MAX] {
            let refused = subject.store.purge(what, Timestamp::MAX, max).await.err();
            equal("with a wrong limit", &refused.map(|error| error.kind()), &Some(ErrorKind::Invalid))?;
        }
    }
    // What belongs to txn lasts, and so do entries and their balances.
    let (a, b) = (tally("a")?, tally("b")?);
    let pair = change("pair")?.add(add(&a, [0, 5, 0, 0], Some(account([None; 2])))).add(add(
        &b,
        [0, 0, 0, 5],
        Some(account([None; 2])),
    ));
    subject
        .done(pair.append(Event::new(Body::raw("order.placed", 1, b"{}".to_vec()))).insert(
            note("n")?,
            body("n"),
            vec![],
        ))
        .await?;
    subject.settled().await?;
    equal("events of txn's own", &purge(&subject, Purge::Events, Timestamp::MAX, 5).await?, &0)?;
    equal("its entries", &subject.all(&Query::entries(a), 5).await?.len(), &1)?;
    let outcome = subject.commit(change("pair")?).await?;
    holds("it is still known", matches!(outcome, Outcome::Done(receipt) if receipt.replayed))?;
    proves(&subject).await
}
