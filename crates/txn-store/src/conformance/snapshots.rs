//! Snapshots: what is read together was true together.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::BoxFuture;
use txn_change::{Key, Kind};
use txn_suite::{Checked, equal, holds};

use super::{
    Failure, Harness, Scenario, named,
    sample::{account, add, body, change, note, tally, transfer},
    subject::{Subject, sum},
};
use crate::{
    admin::Row,
    query::{Found, Query, Range},
};

pub(super) const ALL: &[Scenario] = named![Nothing:
    sums_are_equal_in_every_snapshot_page_and_export,
    a_commit_that_was_acknowledged_is_seen,
    a_snapshot_answers_in_the_order_of_the_ask,
];

const ACCOUNTS: u32 = 8;

fn accounts() -> Checked<Vec<Key>> {
    (0..ACCOUNTS).map(|number| tally(&format!("a-{number}"))).collect()
}

/// Lane 1 is what went out, lane 3 what came in: equal over all accounts, at any instant.
fn balanced(what: &str, lanes: Vec<[i128; 4]>) -> Checked<i128> {
    let [_, out, _, into] = sum(lanes)?;
    holds(format!("{what}: {out} out and {into} in are equal"), out == into)?;
    Ok(out)
}

/// Case L1.
async fn sums_are_equal_in_every_snapshot_page_and_export(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let open = |change: txn_change::Change, key: &Key| change.add(add(key, [0; 4], Some(account([None; 2]))));
    subject.done(accounts()?.iter().fold(change("open")?, open)).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = |caller: u32| -> BoxFuture<'static, Checked> {
        let subject = subject.clone();
        Box::pin(async move {
            let accounts = accounts()?;
            let mut random = u64::from(caller).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
            for step in 0..50u32 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = |shift: u32| random.wrapping_shr(shift) % 8;
                let pick = |shift: u32| accounts.get(usize::try_from(at(shift)).unwrap_or(0));
                let (Some(from), Some(to)) = (pick(33), pick(45)) else { continue };
                let amount = i128::from(random.wrapping_shr(20) % 100);
                subject.done(transfer(&format!("{caller}-{step}"), from, to, amount, [None; 2])?).await?;
            }
            Ok(())
        })
    };
    let reader = |of: Reading| -> BoxFuture<'static, Checked> {
        let (subject, is_over) = (subject.clone(), Arc::clone(&is_over));
        Box::pin(async move {
            let mut last = 0;
            loop {
                let was_over = is_over.load(Ordering::SeqCst);
                let moved = balanced(&format!("{of:?}"), read(&subject, of).await?)?;
                holds(format!("{of:?}: what was moved never shrinks, {last} then {moved}"), moved >= last)?;
                last = moved;
                if was_over {
                    return Ok(());
                }
            }
        })
    };
    let readers = subject.race(vec![reader(Reading::Get), reader(Reading::Page), reader(Reading::Export)]);
    let writers = async {
        let written = subject.race((0..4).map(writer).collect()).await;
        is_over.store(true, Ordering::SeqCst);
        written
    };
    let (read, written) = futures_util::future::join(readers, writers).await;
    written?.into_iter().collect::<Checked<()>>()?;
    read?.into_iter().collect()
}

#[derive(Debug, Clone, Copy)]
enum Reading {
    Get,
    Page,
    Export,
}

async fn read(subject: &Subject, of: Reading) -> Checked<Vec<[i128; 4]>> {
    match of {
        Reading::Get => {
            let ask = accounts()?.into_iter().fold(subject.ask(), crate::Ask::counter);
            Ok(subject.get(ask).await?.counters.into_iter().flatten().map(|counter| counter.lanes.0).collect())
        }
        Reading::Page => {
            let query = Query::Counters(Range::kind(Kind::new("tally")?));
            let page = subject.store.find(&subject.tenant, &query, None, 100).await?;
            let lanes = |found| if let Found::Counter(_, counter) = found { Some(counter.lanes.0) } else { None };
            Ok(page.items.into_iter().filter_map(lanes).collect())
        }
        Reading::Export => {
            let contents = subject.contents_now(3).await?;
            let mut folded = Vec::new();
            for row in &contents.commits {
                let Row::Commit { entries, .. } = row else { continue };
                folded.extend(entries.iter().map(|entry| entry.delta.0));
            }
            let lanes = |row| if let Row::Counter { counter, .. } = row { Some(counter.lanes.0) } else { None };
            let lanes: Vec<_> = contents.counters.into_iter().filter_map(lanes).collect();
            equal("entries and counters of one export", &sum(folded)?, &sum(lanes.clone())?)?;
            Ok(lanes)
        }
    }
}

async fn a_commit_that_was_acknowledged_is_seen(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    let job = |caller: u32| -> BoxFuture<'static, Checked> {
        let subject = subject.clone();
        Box::pin(async move {
            for step in 0..20u32 {
                let id = format!("{caller}-{step}");
                let change = change(&id)?.insert(note(&id)?, body(&id), vec![]).append(super::sample::event(&id));
                let receipt = subject.done(change.clone()).await?;
                let seen = subject.get(subject.ask().stored(change.id).record(note(&id)?)).await?;
                let is_seen = seen.stored.is_some() && seen.records.iter().all(Option::is_some);
                holds(format!("{id} is seen by get"), is_seen)?;
                holds("the snapshot's time is not before the commit's", seen.now >= receipt.recorded_at)?;
                let query = Query::Records(Range { prefix: note(&id)?.as_bytes().to_vec(), from: None, until: None });
                equal(&format!("{id} by find"), &subject.all(&query, 2).await?.len(), &1)?;
                let is_in_log = subject.log(1_000).await?.iter().any(|item| item.recorded.change.as_str() == id);
                holds(format!("{id} is in the log"), is_in_log)?;
            }
            Ok(())
        })
    };
    subject.race((0..4).map(job).collect()).await?.into_iter().collect::<Checked<()>>()?;
    equal("changes", &subject.store.health().await?.commits, &80)
}

async fn a_snapshot_answers_in_the_order_of_the_ask(harness: &Harness) -> Checked {
    let subject = harness.fresh().await?;
    for name in ["a", "b", "c"] {
        let change = super::sample::stocked(name, &tally(name)?, [1, 0, 0, 0])?;
        subject.done(change.insert(note(name)?, body(name), vec![])).await?;
    }
    let order = ["c", "absent", "a", "c", "b", "a"];
    let mut ask = subject.ask();
    for name in order {
        ask = ask.record(note(name)?).counter(tally(name)?);
    }
    let asks = vec![ask.clone(), subject.ask(), subject.tenant("other")?.ask().record(note("a")?), ask];
    let snapshots = subject.store.get(asks).await?;
    let [first, empty, foreign, last] = snapshots.as_slice() else {
        return Err(Failure::new(format!("expected 4 snapshots, found {}", snapshots.len())));
    };
    let names: Vec<String> = first
        .records
        .iter()
        .map(|record| record.as_ref().map_or("absent".into(), |r| String::from_utf8_lossy(r.body.bytes()).into_owned()))
        .collect();
    equal("records", &names, &order.map(str::to_owned).to_vec())?;
    equal(
        "counters",
        &first.counters.iter().map(Option::is_some).collect::<Vec<_>>(),
        &order.map(|n| n != "absent").to_vec(),
    )?;
    equal("an empty ask", &(empty.stored.is_none(), empty.records.len(), empty.counters.len()), &(true, 0, 0))?;
    equal("a foreign ask", &foreign.records, &vec![None])?;
    equal("the same ask again", last, first)
}
