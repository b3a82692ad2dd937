//! Cursors: good for one tenant and one query, whatever a client makes of them.

use txn_change::Kind;
use txn_suite::{Checked, equal, holds, some};

use super::{
    Harness, Scenario, named,
    sample::{add, body, change, kind, note, stock, tally, term},
    subject::Subject,
};
use crate::{
    cursor::Cursor,
    error::ErrorKind,
    query::{Query, Range},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    a_cursor_is_good_for_its_tenant_and_query_alone,
    a_damaged_cursor_is_refused,
    a_sealed_cursor_of_nonsense_does_no_harm,
];

async fn with_rows(harness: &Harness) -> Checked<Subject> {
    let subject = harness.fresh().await?;
    for of in [&subject, &subject.tenant("other")?] {
        for index in 0..4u32 {
            let name = index.to_string();
            let change = change(&name)?
                .insert(note(&name)?, body(""), vec![term("w")?])
                .add(add(&tally(&name)?, [1, 0, 0, 0], Some(stock())))
                .add(add(&tally("busy")?, [1, 0, 0, 0], Some(stock())))
                .append(super::sample::event("").with_term(term("w")?));
            of.done(change).await?;
        }
    }
    Ok(subject)
}

fn queries() -> Checked<Vec<Query>> {
    let (notes, words) = (Range::kind(kind()?), Range::kind(Kind::new("by-word")?));
    let empty_end = Range { until: Some(Vec::new()), ..notes.clone() };
    Ok(vec![
        Query::Records(notes),
        Query::Records(empty_end),
        Query::Records(Range { prefix: Vec::new(), from: None, until: None }),
        Query::RecordsByTerm(words.clone()),
        Query::Counters(Range::kind(Kind::new("tally")?)),
        Query::entries(tally("busy")?),
        Query::entries(tally("0")?),
        Query::EventsByTerm(words),
        Query::Changes,
    ])
}

async fn cursor(subject: &Subject, query: &Query) -> Checked<Option<Cursor>> {
    Ok(subject.store.find(&subject.tenant, query, None, 1).await?.next)
}

async fn refusal(subject: &Subject, query: &Query, cursor: &Cursor) -> Option<ErrorKind> {
    subject.store.find(&subject.tenant, query, Some(cursor), 2).await.err().map(|error| error.kind())
}

/// Case B44.
async fn a_cursor_is_good_for_its_tenant_and_query_alone(harness: &Harness) -> Checked {
    let subject = with_rows(harness).await?;
    let (other, nobody) = (subject.tenant("other")?, subject.tenant("nobody")?);
    for query in queries()? {
        let Some(cursor) = cursor(&subject, &query).await? else { continue };
        equal(&format!("{query:?} with its cursor"), &refusal(&subject, &query, &cursor).await, &None)?;
        for foreign in [&other, &nobody] {
            let found = refusal(foreign, &query, &cursor).await;
            equal(
                &format!("{query:?} of {} with a foreign cursor", foreign.tenant),
                &found,
                &Some(ErrorKind::Invalid),
            )?;
        }
        for another in queries()?.into_iter().filter(|another| *another != query) {
            let found = refusal(&subject, &another, &cursor).await;
            equal(&format!("{another:?} with the cursor of {query:?}"), &found, &Some(ErrorKind::Invalid))?;
        }
    }
    Ok(())
}

/// Case B44.
async fn a_damaged_cursor_is_refused(harness: &Harness) -> Checked {
    let subject = with_rows(harness).await?;
    for query in [Query::Records(Range::kind(kind()?)), Query::entries(tally("busy")?), Query::Changes] {
        let cursor = some("a cursor", cursor(&subject, &query).await?)?;
        let text = cursor.as_text();
        equal("a cursor kept as text", &refusal(&subject, &query, &Cursor::from_text(text)).await, &None)?;
        let mut damaged: Vec<String> = (0..text.len()).map(|length| text.chars().take(length).collect()).collect();
        damaged.extend((0..text.len()).map(|at| {
            let change = |(index, c)| if index == at { if c == '0' { '1' } else { '0' } } else { c };
            text.chars().enumerate().map(change).collect()
        }));
        let forged = [" ", "0", "zz", "\u{e9}", "-1", "000000000000000000", "\0", "; drop table records", "%00"];
        damaged.extend(forged.map(str::to_owned));
        damaged.extend([
            format!("{text}0"),
            format!("{text}00"),
            format!(" {text}"),
            format!("{text}\n"),
            "a".repeat(1 << 20),
        ]);
        for text in damaged {
            let found = refusal(&subject, &query, &Cursor::from_text(text.clone())).await;
            let shown: String = text.chars().take(60).collect();
            equal(&format!("{query:?} with the cursor {shown:?}"), &found, &Some(ErrorKind::Invalid))?;
        }
    }
    Ok(())
}

/// The seal is no secret. A cursor that a client sealed itself reads within its own tenant and query, or is refused.
async fn a_sealed_cursor_of_nonsense_does_no_harm(harness: &Harness) -> Checked {
    let subject = with_rows(harness).await?;
    let places: [&[u8]; 9] = [
        b"",
        b"\0",
        b"note",
        b"note\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\x08note\0\x010\0note\0\x010\0",
        b"\0\xff0",
        b"0123456789",
        b"by-word\0\x01w\0\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for query in queries()? {
        let whole = subject.all(&query, 1_000).await?;
        for place in places {
            let sealed = Cursor::seal(&subject.tenant, &query, place);
            match subject.store.find(&subject.tenant, &query, Some(&sealed), 1_000).await {
                Ok(page) => {
                    let is_within = page.items.iter().all(|found| whole.contains(found));
                    holds(format!("{query:?} behind {place:?} finds only rows of the query"), is_within)?;
                }
                Err(error) => equal(&format!("{query:?} behind {place:?}"), &error.kind(), &ErrorKind::Invalid)?,
            }
        }
    }
    Ok(())
}
