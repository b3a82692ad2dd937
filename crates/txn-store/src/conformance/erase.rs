//! Erased content is gone for good, and everything else stands as it was.

use txn_change::{Body, Event, Expect, Format, Key, Kind};
use txn_suite::{Checked, equal, holds, some};

use super::{
    Harness, Scenario, named,
    sample::{body, change, note, term},
    subject::Subject,
};
use crate::{
    admin::{Erase, Row},
    error::ErrorKind,
    query::{Query, Range},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    erased_content_is_gone_and_the_chain_still_proves,
    a_decision_that_read_a_record_before_it_was_erased_is_not_committed,
    what_belongs_to_txn_is_not_erased_and_nothing_with_it,
];

fn secret() -> Body {
    Body::raw("person", 1, br#"{"name":"Ann Otherwise"}"#.to_vec())
}

async fn written(subject: &Subject) -> Checked<Key> {
    let key = note("person")?;
    let event = Event::new(secret()).with_term(term("kept")?);
    let change = change("c")?.insert(key.clone(), secret(), vec![term("gone")?]).append(event).answer(secret());
    subject.done(change).await?;
    subject.done(super::sample::change("d")?.insert(note("other")?, body("stays"), vec![term("gone")?])).await?;
    Ok(key)
}

async fn erased_content_is_gone_and_the_chain_still_proves(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let key = written(&subject).await?;
    let before = subject.settled().await?;
    let id = change("c")?.id;
    let what = vec![Erase::Record(key.clone()), Erase::Answer(id.clone()), Erase::Events(id.clone())];
    equal("rows that lost their content", &subject.store.erase(&subject.tenant, what.clone()).await?, &3)?;
    equal("when asked again", &subject.store.erase(&subject.tenant, what).await?, &0)?;
    let record = some("the record", subject.record(&key).await?)?;
    equal("its format and terms", &(record.body.format(), record.terms.len()), &(Format::Erased, 0))?;
    equal("its digest", &record.body.content_digest(), &secret().content_digest())?;
    let words = Query::RecordsByTerm(Range::kind(Kind::new("by-word")?));
    equal("records under the term", &subject.all(&words, 7).await?.len(), &1)?;
    let log = subject.log(7).await?;
    holds("the event's payload is erased", log.iter().any(|item| item.recorded.event.body == secret().erased()))?;
    let again = subject.done(change("c")?).await?;
    equal("a repetition's answer", &again.answer.format(), &Format::Erased)?;
    // The digests of the changes are over what is left, and the chain is as it was.
    let after = subject.settled().await?;
    equal("the chain", &after.chain, &before.chain)?;
    for row in subject.contents(7).await?.commits {
        if let Row::Commit { id, stored, entries, events, .. } = row {
            let events: Vec<Event> = events.into_iter().map(|recorded| recorded.event).collect();
            holds(format!("the digest of {id} proves"), stored.proves(&id, &entries, &events))?;
        }
    }
    Ok(())
}

async fn a_decision_that_read_a_record_before_it_was_erased_is_not_committed(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let key = written(&subject).await?;
    subject.store.erase(&subject.tenant, vec![Erase::Record(key.clone())]).await?;
    subject.refused(change("late")?.put(key.clone(), Expect::Version(1), body("what was read"), vec![])).await?;
    // A new content may follow the erased one.
    subject.done(change("new")?.put(key.clone(), Expect::Version(2), body("new"), vec![])).await?;
    equal("the version", &subject.version(&key).await?, &3)
}

async fn what_belongs_to_txn_is_not_erased_and_nothing_with_it(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let key = written(&subject).await?;
    let ours = Key::of(Kind::reserved("order")).text("o")?.build();
    let owned = change("ours")?.append(Event::new(Body::raw("order.placed", 1, b"{}".to_vec())));
    subject.done(owned).await?;
    for reserved in [Erase::Record(ours), Erase::Events(change("ours")?.id)] {
        let refused = subject.store.erase(&subject.tenant, vec![Erase::Record(key.clone()), reserved]).await;
        equal("what is said", &refused.err().map(|error| error.kind()), &Some(ErrorKind::Invalid))?;
        let record = some("the record", subject.record(&key).await?)?;
        equal("the record's format", &record.body.format(), &Format::Json)?;
    }
    let absent = vec![Erase::Record(note("absent")?), Erase::Answer(change("absent")?.id)];
    equal("what does not exist", &subject.store.erase(&subject.tenant, absent).await?, &0)
}
