//! The ends of every range: they are stored as they are, or refused, and never wrapped.

use txn_change::{Body, ChangeId, Class, Guard, Invalid, Key, Kind, Label, Lanes, Refusal, Tenant, Timestamp};
use txn_suite::{Checked, equal, some};

use super::{
    Harness, Scenario, named,
    sample::{add, body, change, class, event, fence, kind, note, opening, put, tally},
};
use crate::query::{Found, Query, Range};

pub(super) const ALL: &[Scenario] = named![Nothing:
    amounts_of_128_bits_are_kept_and_overflow_is_refused,
    bodies_are_kept_byte_for_byte,
    names_of_the_greatest_length_are_kept,
    a_nul_in_a_name_is_refused_early,
    a_change_of_many_parts_is_kept,
];

/// Cases L2, B3, B4.
async fn amounts_of_128_bits_are_kept_and_overflow_is_refused(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let counter = tally("t")?;
    let signed = || opening(Class { signed: [true; 4], ..class("signed") }, [None; 2]);
    let ends = [i128::MAX, i128::MIN, i128::from(i64::MIN), -1];
    subject.done(change("ends")?.add(add(&counter, ends, Some(signed())))).await?;
    equal("the lanes", &subject.lanes(&counter).await?, &ends)?;
    let overflow = Refusal::Overflow { counter: counter.clone(), label: Label::new("line") };
    for (id, delta) in [("above", [1, 0, 0, 0]), ("below", [0, -1, 0, 0])] {
        equal(id, &subject.refused(change(id)?.add(add(&counter, delta, Some(signed())))).await?, &overflow)?;
        equal("the lanes after", &subject.lanes(&counter).await?, &ends)?;
    }
    subject.done(change("back")?.add(add(&counter, [-i128::MAX, i128::MAX, 0, 1], Some(signed())))).await?;
    equal("the lanes after all", &subject.lanes(&counter).await?, &[0, -1, i128::from(i64::MIN), 0])?;
    let entries = subject.all(&Query::entries(counter), 7).await?;
    let deltas: Vec<Lanes> =
        entries.into_iter().filter_map(|f| if let Found::Entry(e) = f { Some(e.delta) } else { None }).collect();
    equal("the entries", &deltas, &vec![Lanes(ends), Lanes([-i128::MAX, i128::MAX, 0, 1])])?;
    let guarded = tally("guarded")?;
    let guard = Guard { weights: [127, -128, 0, 0], min: i128::MIN };
    let of_guard = opening(Class { signed: [true; 4], ..class("signed") }, [Some(guard), None]);
    subject.done(change("guarded")?.add(add(&guarded, [1, 1, 0, 0], Some(of_guard)))).await?;
    let refusal = subject.refused(change("weighed")?.add(add(&guarded, [i128::MAX / 2, 0, 0, 0], None))).await?;
    let is_overflow = matches!(refusal, Refusal::Overflow { .. });
    txn_suite::holds(format!("a weighted sum beyond 128 bits overflows, found {refusal:?}"), is_overflow)?;
    equal("the guard", &subject.counter(&guarded).await?.guards, &[Some(guard), None])
}

async fn bodies_are_kept_byte_for_byte(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let large = vec![b'x'; 1 << 20];
    let contents: [&[u8]; 7] =
        [b"", b"\0", b"{}", br#"{ "b":1, "a":1.0e0 }"#, "\u{feff}\u{202e}é".as_bytes(), &every_byte, &large];
    for (index, bytes) in contents.into_iter().enumerate() {
        let id = index.to_string();
        let body = Body::raw("a.type/of 'ours'; \u{e9}", u16::MAX, bytes.to_vec());
        let event = txn_change::Event::new(body.clone()).with_id(txn_change::FactId::new(&id)?);
        let change = change(&id)?.insert(note(&id)?, body.clone(), vec![]).append(event).answer(body.clone());
        equal("the receipt's answer", &subject.done(change.clone()).await?.answer, &body)?;
        equal("the replayed answer", &subject.done(change.clone()).await?.answer, &body)?;
        let ask = subject.ask().stored(change.id).record(note(&id)?).fact(txn_change::FactId::new(&id)?);
        let seen = subject.get(ask).await?;
        let found = [
            seen.stored.map(|stored| stored.answer),
            seen.records.into_iter().flatten().next().map(|record| record.body),
            seen.facts.into_iter().flatten().next().map(|item| item.event.body),
        ];
        for found in found {
            let found = some("a body", found)?;
            txn_suite::holds(format!("the {} bytes of body {id} are kept", bytes.len()), found == body)?;
        }
    }
    Ok(())
}

async fn names_of_the_greatest_length_are_kept(harness: &Harness) -> Checked {
    let subject = harness.tenant_of_greatest_length().await?;
    let graphic: String = (b'!'..=b'~').cycle().take(ChangeId::LENGTH_MAX).map(char::from).collect();
    // 512 bytes: the kind and its end, a tag, the text, its end.
    let long = |fill: &str| Ok::<_, super::Failure>(Key::of(kind()?).text(fill.repeat(505))?.build());
    let nuls = Key::of(kind()?).text("\0".repeat(252))?.build();
    let keys = [long("x")?, nuls, Key::of(kind()?).text("")?.text("")?.build(), Key::of(kind()?).build()];
    equal("the length of the longest key", &keys.first().map(|key| key.as_bytes().len()), &Some(Key::LENGTH_MAX))?;
    let label = Label::stored("\u{1}é'".repeat(16));
    let mut base = change("x")?;
    base.id = ChangeId::new(&graphic)?;
    let mut change = fence(base, &graphic[..128.min(graphic.len())], u64::MAX)?
        .append(event("").with_id(txn_change::FactId::new(&graphic)?));
    for key in &keys {
        let mut add = add(key, [1, 0, 0, 0], Some(opening(class(&"c".repeat(32)), [None; 2])));
        add.label = label.clone();
        add.effective_at = Some(Timestamp::MIN);
        change = change.insert(key.clone(), body(""), vec![key.clone()]).add(add);
    }
    subject.done(change.clone()).await?;
    equal("replayed", &subject.done(change.clone()).await?.replayed, &true)?;
    for key in &keys {
        equal("a long key's record", &subject.record(key).await?.map(|record| record.terms), &Some(vec![key.clone()]))?;
        equal("a long key's lanes", &subject.lanes(key).await?, &[1, 0, 0, 0])?;
        let entries = subject.all(&Query::entries(key.clone()), 1).await?;
        let found = entries
            .into_iter()
            .find_map(|f| if let Found::Entry(e) = f { Some((e.label, e.effective_at)) } else { None });
        equal("a long key's entry", &found, &Some((label.clone(), Timestamp::MIN)))?;
    }
    for query in [
        Query::Records(Range::kind(kind()?)),
        Query::RecordsByTerm(Range::kind(kind()?)),
        Query::Counters(Range::kind(kind()?)),
    ] {
        let mut found: Vec<Key> = Vec::new();
        for row in subject.all(&query, 1).await? {
            if let Found::Record(key, _) | Found::Counter(key, _) = row {
                found.push(key);
            }
        }
        let mut expected = keys.to_vec();
        expected.sort();
        equal(&format!("{query:?} in pages of 1"), &found, &expected)?;
    }
    Ok(())
}

/// Case B38.
async fn a_nul_in_a_name_is_refused_early(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let key = Key::of(kind()?).build();
    let counted = |name: &str| add(&key, [1, 0, 0, 0], Some(opening(class(name), [None; 2])));
    let mut labelled = counted("c");
    labelled.label = Label::stored("a\0b".to_owned());
    let typed = Body::raw("t\0", 1, b"{}".to_vec());
    for (what, at, bad) in [
        ("label", 1, change("l")?.add(labelled)),
        ("class name", 0, change("c")?.add(counted("\0"))),
        ("type name", 1, change("t")?.insert(key.clone(), typed.clone(), vec![])),
        ("type name", 1, change("a")?.answer(typed)),
    ] {
        let invalid = Refusal::Invalid(Invalid::Nul { what, at });
        equal(&format!("a NUL in a {what}"), &subject.refused(bad).await?, &invalid)?;
    }
    equal("what was written", &subject.version(&key).await?, &0)
}

impl Harness {
    async fn tenant_of_greatest_length(&self) -> Checked<super::subject::Subject> {
        self.fresh().await?.tenant(&"t".repeat(Tenant::LENGTH_MAX))
    }
}

async fn a_change_of_many_parts_is_kept(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let key = |number: u64| Ok::<_, super::Failure>(Key::of(kind()?).number(number).build());
    let plain = opening(class("plain"), [None; 2]);
    let mut basket = change("basket")?;
    for number in 0..2_048u64 {
        basket = basket.insert(key(number)?, body("line"), vec![]);
        basket = basket.add(add(&key(number % 600)?, [1, 0, 0, 0], Some(plain.clone())));
    }
    for number in 0..1_024u64 {
        basket =
            basket.append(event(&number.to_string()).with_term(Key::of(Kind::new("by-word")?).number(number).build()));
    }
    subject.done(basket).await?;
    equal("records", &subject.all(&Query::Records(Range::kind(kind()?)), 1_000).await?.len(), &2_048)?;
    equal("events", &subject.log(1_000).await?.len(), &1_024)?;
    equal("one counter", &subject.lanes(&key(7)?).await?, &[4, 0, 0, 0])?;
    let many = (0..2_048).map(key).collect::<Checked<Vec<_>>>()?;
    let ask = many.iter().cloned().fold(subject.ask(), crate::Ask::record);
    let found = subject.get(many.iter().cloned().fold(ask, crate::Ask::counter)).await?;
    equal(
        "records and counters of one ask",
        &(found.records.iter().flatten().count(), found.counters.iter().flatten().count()),
        &(2_048, 600),
    )?;
    // And away with them, all at once.
    let removal = |change, key: &Key| {
        put(
            change,
            txn_change::Put { key: key.clone(), expect: txn_change::Expect::Version(1), body: None, terms: vec![] },
        )
    };
    subject.done(many.iter().fold(change("away")?, removal)).await?;
    equal("records left", &subject.all(&Query::Records(Range::kind(kind()?)), 7).await?.len(), &0)
}
