//! Finding rows of every kind, page by page.

use futures_util::future::BoxFuture;
use txn_change::{Expect, Key, KeyBuilder, Kind, Put, Timestamp};
use txn_suite::{Checked, equal, holds};

use super::{
    Harness, Scenario, named,
    sample::{add, body, change, kind, note, put, stock, tally, term},
    subject::Subject,
};
use crate::{
    error::ErrorKind,
    limits::StoreLimits,
    query::{Found, Query, Range},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    every_query_finds_its_rows_in_pages_of_any_size,
    a_range_is_a_range_of_bytes,
    rows_that_nobody_touches_stand_still_between_pages,
    a_page_of_none_or_too_many_is_an_error_that_names_the_limit,
];

/// 23 records of one kind with a term or two, 23 counters, one counter with 23 entries, 23 changes.
async fn with_rows(harness: &Harness) -> Checked<Subject> {
    let subject = harness.fresh().await?;
    let mut batch = Vec::new();
    for index in 0..23u64 {
        let name = format!("{index:02}");
        let mut terms = vec![term("all")?];
        if index % 4 == 0 {
            terms.push(term("fourth")?);
        }
        let change = change(&format!("c-{name}"))?
            .insert(note(&name)?, body(&name), terms)
            .add(add(&tally(&name)?, [1, 0, 0, 0], Some(stock())))
            .add(add(&tally("busy")?, [1, 0, 0, 0], Some(stock())))
            .append(super::sample::event(&name).with_term(term("all")?));
        batch.push(change);
    }
    // In an order that is not that of the keys.
    batch.reverse();
    batch.rotate_left(7);
    for change in batch {
        subject.done(change).await?;
    }
    Ok(subject)
}

async fn every_query_finds_its_rows_in_pages_of_any_size(harness: &Harness) -> Checked {
    let subject = with_rows(harness).await?;
    let words = Kind::new("by-word")?;
    let queries = [
        (Query::Records(Range::kind(kind()?)), 23),
        (Query::RecordsByTerm(Range::kind(words)), 29),
        (Query::Counters(Range::kind(Kind::new("tally")?)), 24),
        (Query::entries(tally("busy")?), 23),
        (Query::EventsByTerm(Range::prefix(Key::of(words).text("all")?)), 23),
        (Query::Changes, 23),
    ];
    for (query, count) in queries {
        let whole = subject.all(&query, 1_000).await?;
        equal(&format!("rows of {query:?}"), &whole.len(), &count)?;
        let places: Vec<Vec<u8>> = whole.iter().map(|found| place(&query, found)).collect();
        holds(format!("the rows of {query:?} are in order"), places.is_sorted())?;
        for limit in [1, 2, 7, count.saturating_sub(1), count, count.saturating_add(1)] {
            equal(&format!("{query:?} in pages of {limit}"), &subject.all(&query, limit).await?, &whole)?;
        }
        let exact = subject.store.find(&subject.tenant, &query, None, count).await?;
        equal("a cursor behind the last row", &exact.next, &None)?;
    }
    let empty = [Query::Records(Range::kind(Kind::new("nothing")?)), Query::entries(tally("none")?)];
    for query in empty {
        equal(&format!("rows of {query:?}"), &subject.all(&query, 1).await?.len(), &0)?;
    }
    Ok(())
}

/// What the rows of an answer are ordered by, as far as it can be seen in one row.
fn place(query: &Query, found: &Found) -> Vec<u8> {
    match (query, found) {
        (Query::RecordsByTerm(_) | Query::EventsByTerm(_), _) => Vec::new(),
        (_, Found::Record(key, _) | Found::Counter(key, _)) => key.as_bytes().to_vec(),
        (_, Found::Entry(entry)) => entry.sequence.to_be_bytes().to_vec(),
        (_, Found::Event(_)) => Vec::new(),
        (_, Found::Change(id, _)) => id.as_bytes().to_vec(),
    }
}

fn at(number: u64) -> Checked<KeyBuilder> {
    Ok(Key::of(kind()?).text("at")?.number(number))
}

async fn a_range_is_a_range_of_bytes(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let numbers = [0, 1, 9, 10, 255, 256, u64::from(u32::MAX), u64::MAX];
    let instant =
        |nanos| Ok::<_, super::Failure>(Key::of(kind()?).text("time")?.time(Timestamp::from_nanos(nanos)).build());
    let texts = ["", "\0", "\0\u{1}", "a", "a\0", "a\0b", "ab", "b", "\u{7f}", "\u{80}", "\u{10ffff}"];
    let mut keys = Vec::new();
    for number in numbers {
        keys.push(at(number)?.build());
    }
    for nanos in [i64::MIN, -1, 0, 1, i64::MAX] {
        keys.push(instant(nanos)?);
    }
    for text in texts {
        keys.push(Key::of(kind()?).text("text")?.text(text)?.build());
    }
    // Neighbours of the kind's own prefix: another kind that begins with its letters, and the bare kind.
    let (bare, neighbour) = (Key::of(kind()?).build(), Key::of(Kind::new("note-2")?).number(1).build());
    keys.extend([bare.clone(), neighbour.clone()]);
    let mut write = change("write")?;
    let mut index = super::sample::change("index")?;
    for (number, key) in (0u64..).zip(&keys) {
        write = write.insert(key.clone(), body(""), vec![]);
        let holder = Key::of(Kind::new("holder")?).number(number).build();
        index =
            index.insert(holder, body(""), vec![key.clone()]).append(super::sample::event("").with_term(key.clone()));
        write = write.add(add(key, [1, 0, 0, 0], Some(stock())));
    }
    subject.done(write).await?;
    subject.done(index).await?;
    keys.sort();
    let ranges = [
        Range::kind(kind()?),
        Range { prefix: Vec::new(), from: None, until: None },
        Range::prefix(Key::of(kind()?).text("text")?),
        Range::prefix(Key::of(kind()?).text("text")?.text("a")?),
        // A prefix within a segment, which is no whole key.
        Range { prefix: note("text")?.as_bytes().iter().copied().take(8).collect(), from: None, until: None },
        Range::prefix(Key::of(kind()?).text("at")?).until(at(10)?),
        Range::prefix(Key::of(kind()?).text("at")?).until(at(0)?),
        Range::prefix(Key::of(kind()?).text("at")?).from(at(10)?),
        Range::prefix(Key::of(kind()?).text("at")?).from(at(9)?).until(at(256)?),
        Range::prefix(Key::of(kind()?).text("at")?).from(at(10)?).until(at(9)?),
        Range::prefix(Key::of(kind()?).text("text")?).from(at(10)?),
        Range::kind(kind()?).from(Key::of(Kind::new("o")?)),
        Range::prefix(at(u64::MAX)?),
        Range::prefix(Key::of(kind()?).text("time")?).until(Key::of(kind()?).text("time")?.time(Timestamp::EPOCH)),
        Range::kind(kind()?).until(Key::of(Kind::new("a")?)),
        Range { prefix: vec![0xFF], from: None, until: None },
        Range { prefix: vec![0xFF, 0xFF], from: None, until: Some(vec![0xFF]) },
    ];
    for range in ranges {
        let within: Vec<Key> = keys.iter().filter(|key| range.contains(key.as_bytes())).cloned().collect();
        for limit in [3, 1_000] {
            let of = |found: Vec<Found>| -> Vec<Key> {
                let key = |found| match found {
                    Found::Record(key, _) | Found::Counter(key, _) => Some(key),
                    _ => None,
                };
                found.into_iter().filter_map(key).filter(|key| key.kind() != "holder").collect()
            };
            let records = of(subject.all(&Query::Records(range.clone()), limit).await?);
            equal(&format!("records of {range:?}"), &records, &within)?;
            let counters = of(subject.all(&Query::Counters(range.clone()), limit).await?);
            equal(&format!("counters of {range:?}"), &counters, &within)?;
            let mut by_term = Vec::new();
            for found in subject.all(&Query::RecordsByTerm(range.clone()), limit).await? {
                let Found::Record(_, record) = found else { continue };
                by_term.extend(record.terms);
            }
            equal(&format!("records by term of {range:?}"), &by_term, &within)?;
            let mut by_term = Vec::new();
            for found in subject.all(&Query::EventsByTerm(range.clone()), limit).await? {
                let Found::Event(item) = found else { continue };
                by_term.extend(item.event.terms);
            }
            equal(&format!("events by term of {range:?}"), &by_term, &within)?;
        }
    }
    Ok(())
}

async fn rows_that_nobody_touches_stand_still_between_pages(harness: &Harness) -> Checked {
    let subject = with_rows(harness).await?;
    let names = |found: Vec<Found>| -> Vec<Key> {
        let key = |found| if let Found::Record(key, _) = found { Some(key) } else { None };
        // The rows that somebody writes meanwhile have a number behind their name.
        found.into_iter().filter_map(key).filter(|key| key.segments().len() == 1).collect()
    };
    let query = Query::Records(Range::kind(kind()?));
    let untouched = names(subject.all(&query, 1_000).await?);
    let writer = subject.clone();
    let write: BoxFuture<'static, Checked> = Box::pin(async move {
        for round in 0..40u64 {
            let key = Key::of(kind()?).text(format!("{:02}", round % 23))?.number(round % 5).build();
            let version = writer.version(&key).await?;
            let body = if round % 3 == 2 && version > 0 { None } else { Some(body("")) };
            let expect = if version == 0 { Expect::Absent } else { Expect::Version(version) };
            writer
                .done(put(change(&format!("w-{round}"))?, Put { key, expect, body, terms: vec![term("all")?] }))
                .await?;
        }
        Ok(())
    });
    let reader = |limit: usize| -> BoxFuture<'static, Checked> {
        let (subject, query, untouched) = (subject.clone(), query.clone(), untouched.clone());
        Box::pin(async move {
            for _ in 0..4 {
                equal("untouched rows by key", &names(subject.all(&query, limit).await?), &untouched)?;
                let by_term = Query::RecordsByTerm(Range::prefix(Key::of(Kind::new("by-word")?).text("all")?));
                equal("untouched rows by term", &names(subject.all(&by_term, limit).await?), &untouched)?;
            }
            Ok(())
        })
    };
    subject.race(vec![write, reader(1), reader(2), reader(7)]).await?.into_iter().collect()
}

/// Case B44.
async fn a_page_of_none_or_too_many_is_an_error_that_names_the_limit(harness: &Harness) -> Checked {
    let subject = harness.limited(StoreLimits { page_max: 5, ..StoreLimits::default() }).await?;
    for limit in [0, 6, 1_000_000_000, usize::MAX] {
        for query in [Query::Changes, Query::Records(Range::kind(kind()?)), Query::entries(tally("t")?)] {
            let found = subject.store.find(&subject.tenant, &query, None, limit).await;
            let error = found.err().map(|e| (e.kind(), e.to_string().contains('5')));
            equal(&format!("a page of {limit} of {query:?}"), &error, &Some((ErrorKind::Invalid, true)))?;
        }
        let error =
            subject.store.read(crate::Position(0), limit).await.err().map(|e| (e.kind(), e.to_string().contains('5')));
        equal(&format!("a stretch of {limit} of the log"), &error, &Some((ErrorKind::Invalid, true)))?;
    }
    equal("a page of the limit", &subject.all(&Query::Changes, 5).await?.len(), &0)?;
    equal("a stretch of the limit", &subject.log(5).await?.len(), &0)
}
