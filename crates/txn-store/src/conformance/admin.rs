//! Export and health.

use txn_change::{Key, Kind};
use txn_suite::{Checked, equal, holds};

use super::{
    Harness, Scenario, named,
    sample::{account, add, body, change, event, fact, note, stock, tally, term},
    subject::{Contents, Subject},
};
use crate::{
    admin::{Health, Row},
    query::{Found, Query, Range},
    store::Recorded,
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    an_export_agrees_with_find_and_get,
    an_export_stands_at_one_instant,
    health_counts_commits_and_events,
];

/// A store with some of everything, in two tenants.
pub(super) async fn filled(harness: &Harness) -> Checked<Subject> {
    let subject = harness.fresh().await?;
    for of in [&subject, &subject.tenant("other")?] {
        for index in 0..9u32 {
            let name = index.to_string();
            let change = change(&name)?
                .insert(note(&name)?, body(&name), vec![term("b")?, term("a")?, term(&name)?])
                .add(add(&tally("busy")?, [2, 1, 0, 0], Some(stock())))
                .add(add(&tally(&name)?, [0, 1, 0, 0], Some(account([None; 2]))))
                .add(add(&tally("bank")?, [0, 0, 0, 1], Some(account([None; 2]))))
                .append(fact(&name)?.with_term(term("a")?))
                .append(event(&name).about(note(&name)?))
                .answer(body(&name));
            of.done(change).await?;
        }
        of.done(change("remove")?.remove(note("3")?, 1)).await?;
        of.refused(change("refused")?.insert(note("4")?, body(""), vec![])).await?;
        of.done(change("0")?).await?;
    }
    Ok(subject)
}

async fn an_export_agrees_with_find_and_get(harness: &Harness) -> Checked {
    let subject = filled(harness).await?;
    let whole = subject.contents(1_000).await?;
    for max in [1, 2, 7] {
        equal(&format!("an export in parts of {max}"), &subject.contents(max).await?, &whole)?;
    }
    equal("orphans", &whole.orphans, &vec![])?;
    let ids: Vec<String> = whole.commits.iter().filter_map(id).collect();
    let of_one = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "remove"];
    let expected: Vec<String> =
        ["subject", "other"].iter().flat_map(|t| of_one.map(|id| format!("{t}/{id}"))).collect();
    equal("changes in the order of commit", &ids, &expected)?;
    let log: Vec<Recorded> = subject.log(1_000).await?.into_iter().map(|item| item.recorded).collect();
    equal("events of all changes", &events(&whole), &log)?;
    for of in [&subject, &subject.tenant("other")?] {
        agrees(&whole, of).await?;
    }
    Ok(())
}

fn id(row: &Row) -> Option<String> {
    if let Row::Commit { tenant, id, .. } = row { Some(format!("{tenant}/{id}")) } else { None }
}

fn events(contents: &Contents) -> Vec<Recorded> {
    let of = |row: &Row| if let Row::Commit { events, .. } = row { events.clone() } else { Vec::new() };
    contents.commits.iter().flat_map(of).collect()
}

async fn agrees(whole: &Contents, of: &Subject) -> Checked {
    let everything = Range { prefix: Vec::new(), from: None, until: None };
    let mut records = Vec::new();
    for row in &whole.records {
        let Row::Record { tenant, key, record, indexed } = row else { continue };
        if *tenant == of.tenant {
            let mut terms = record.terms.clone();
            terms.sort();
            equal(&format!("the indexed terms of {key}"), indexed, &terms)?;
            records.push(Found::Record(key.clone(), record.clone()));
        }
    }
    equal("records", &of.all(&Query::Records(everything.clone()), 7).await?, &records)?;
    let mut counters = Vec::new();
    for row in &whole.counters {
        let Row::Counter { tenant, key, counter } = row else { continue };
        if *tenant == of.tenant {
            equal("a counter by get", &of.counter(key).await?, counter)?;
            counters.push(Found::Counter(key.clone(), counter.clone()));
        }
    }
    equal("counters", &of.all(&Query::Counters(everything), 7).await?, &counters)?;
    let (mut changes, mut entries) = (Vec::new(), Vec::new());
    for row in &whole.commits {
        let Row::Commit { tenant, id, stored, entries: of_change, .. } = row else { continue };
        if *tenant == of.tenant {
            let counts = (stored.entries as usize, of_change.len());
            equal(&format!("entries stored for {id}"), &counts.0, &counts.1)?;
            equal(
                "the stored answer by get",
                &of.get(of.ask().stored(id.clone())).await?.stored.as_ref(),
                &Some(stored),
            )?;
            changes.push(Found::Change(id.clone(), stored.clone()));
            entries
                .extend(of_change.iter().filter(|entry| Some(&entry.counter) == tally("busy").ok().as_ref()).cloned());
        }
    }
    equal("changes", &of.all(&Query::Changes, 7).await?, &changes)?;
    let found = of.all(&Query::entries(tally("busy")?), 7).await?;
    equal("entries", &found, &entries.into_iter().map(Found::Entry).collect())
}

async fn an_export_stands_at_one_instant(harness: &Harness) -> Checked {
    let subject = filled(harness).await?;
    let before = subject.contents(1_000).await?;
    let mut export = subject.store.export().await?;
    let first = export.next(1).await?;
    // Written while the export is under way, before and behind where it stands.
    for index in 0..20u64 {
        let key = Key::of(Kind::new(if index % 2 == 0 { "a" } else { "z" })?).number(index).build();
        let change = change(&format!("late-{index}"))?.insert(key.clone(), body(""), vec![]);
        subject.done(change.add(add(&key, [1, 0, 0, 0], Some(stock()))).append(event(""))).await?;
    }
    let mut rows = first;
    loop {
        let part = export.next(5).await?;
        if part.is_empty() {
            break;
        }
        rows.extend(part);
    }
    let Contents { commits, links, counters, records, .. } = &before;
    let count = [commits.len(), links.len(), counters.len(), records.len()];
    let rows_before = count.into_iter().sum::<usize>().saturating_add(1);
    equal("rows of an export with writers", &rows.len(), &rows_before)?;
    let is_late = |row: &Row| match row {
        Row::Commit { id, .. } => id.starts_with("late"),
        Row::Counter { key, .. } | Row::Record { key, .. } => matches!(key.kind(), "a" | "z"),
        Row::Link { link, .. } => {
            !links.iter().any(|(_, known)| matches!(known, Row::Link { link: known, .. } if known == link))
        }
        Row::Orphan { .. } => true,
        Row::Purged { .. } => false,
    };
    holds("nothing in the export came after its beginning", !rows.iter().any(is_late))?;
    equal("a second end", &export.next(5).await?.len(), &0)
}

async fn health_counts_commits_and_events(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    equal("the health of an empty store", &subject.store.health().await?, &Health::default())?;
    subject.done(change("silent")?).await?;
    subject.done(change("loud")?.append(event("a")).append(event("b"))).await?;
    // Replays and refusals are no commits.
    subject.done(change("loud")?).await?;
    subject.refused(change("refused")?.remove(note("n")?, 1)).await?;
    subject.tenant("other")?.done(change("loud")?).await?;
    let health = subject.settled().await?;
    equal("changes committed and waiting", &(health.commits, health.queued), &(3, 0))?;
    equal("the head", &Some(health.head), &subject.log(7).await?.last().map(|item| item.position))
}
