//! Facts: unique, readable by id and by terms, for ever.

use txn_change::{Event, FactId, Key, Kind, Refusal};
use txn_suite::{Checked, equal, only, some};

use super::{
    Harness, Scenario, named,
    sample::{change, event, fact, note, term},
    subject::{count_new, refused},
};
use crate::{
    query::{Found, Query, Range},
    store::Outcome,
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_fact_is_unique_and_readable_by_id,
    events_are_found_by_term_in_order_of_position,
    of_many_facts_of_one_id_one_is_kept,
];

async fn a_fact_is_unique_and_readable_by_id(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let whole = fact("f-1")?.about(note("n")?).with_term(term("a")?).with_term(term("b")?);
    subject.done(change("first")?.append(event("before")).append(whole.clone()).append(fact("f-2")?)).await?;
    let exists = Refusal::FactExists { id: FactId::new("f-1")? };
    equal("the same id again", &subject.refused(change("again")?.append(fact("f-1")?)).await?, &exists)?;
    let twice = change("twice")?.append(fact("f-3")?).append(fact("f-3")?);
    equal(
        "one id twice in a change",
        &subject.refused(twice).await?,
        &Refusal::FactExists { id: FactId::new("f-3")? },
    )?;
    let ask = subject.ask().fact(FactId::new("f-3")?).fact(FactId::new("f-1")?).fact(FactId::new("f-2")?);
    let facts = subject.get(ask).await?.facts;
    let ids: Vec<_> = facts.iter().map(|f| f.as_ref().and_then(|item| item.event.id.clone())).collect();
    equal("ids in the order of the ask", &ids, &vec![None, Some(FactId::new("f-1")?), Some(FactId::new("f-2")?)])?;
    let item = some("the fact", facts.into_iter().flatten().next())?;
    equal("the event", &item.event, &whole)?;
    equal("its change", &item.change, &change("first")?.id)?;
    equal("its tenant", &item.tenant, &subject.tenant)?;
    equal("its place in the log", &subject.log(1).await?.get(1).map(|placed| &placed.recorded), &Some(&item))
}

async fn events_are_found_by_term_in_order_of_position(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for index in 0..12u32 {
        let mut event = Event { id: None, ..event(&index.to_string()) };
        event.terms = match index % 3 {
            0 => vec![term("a")?],
            // A term stated twice is one index entry.
            1 => vec![term("b")?, term("a")?, term("b")?],
            _ => vec![],
        };
        subject.done(change(&format!("c-{index}"))?.append(event)).await?;
    }
    for limit in [1, 2, 7] {
        let of_a = Query::EventsByTerm(Range { prefix: term("a")?.as_bytes().to_vec(), from: None, until: None });
        equal("events of a", &texts(subject.all(&of_a, limit).await?), &strings(&[0, 1, 3, 4, 6, 7, 9, 10]))?;
        let of_all = Query::EventsByTerm(Range::kind(Kind::new("by-word")?));
        let expected = strings(&[0, 1, 3, 4, 6, 7, 9, 10, 1, 4, 7, 10]);
        equal("events of all terms", &texts(subject.all(&of_all, limit).await?), &expected)?;
        let until_b = Range::kind(Kind::new("by-word")?).until(Key::of(Kind::new("by-word")?).text("b")?);
        equal("events before b", &texts(subject.all(&Query::EventsByTerm(until_b), limit).await?).len(), &8)?;
    }
    Ok(())
}

fn texts(found: Vec<Found>) -> Vec<String> {
    let text = |found| if let Found::Event(item) = found { Some(item) } else { None };
    let items = found.into_iter().filter_map(text);
    items.map(|item| String::from_utf8_lossy(item.event.body.bytes()).into_owned()).collect()
}

fn strings(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(u32::to_string).collect()
}

async fn of_many_facts_of_one_id_one_is_kept(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let append = |caller: u32| Ok(change(&format!("c-{caller}"))?.append(fact("same")?));
    let outcomes = subject.race_commits((0..16).map(append).collect::<Checked<_>>()?).await?;
    equal("facts kept", &count_new(&outcomes), &1)?;
    for outcome in outcomes.into_iter().filter(|o| !matches!(o, Outcome::Done(_))) {
        equal("a loser", &refused(outcome)?, &Refusal::FactExists { id: FactId::new("same")? })?;
    }
    only("event", subject.log(7).await?).map(drop)
}
