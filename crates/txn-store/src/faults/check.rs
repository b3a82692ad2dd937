//! Whether a store that was hurt has kept its word: what it holds against what its callers were told.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use txn_change::{Change, Link};

use super::{
    contents::Contents,
    side::{History, Known, Told},
    workload::{Workload, made},
};
use crate::{admin::StoreAdmin, error::Error};

/// How long what is committed may take to come into the chain.
const CHAINED_WITHIN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Every promise that was not kept, as a sentence. Empty when all is well.
    pub violations: Vec<String>,
    /// Changes that were acknowledged as done, and are there.
    pub done: u64,
    /// Changes of whose end nobody was told, and which are there.
    pub present: u64,
    /// Changes of whose end nobody was told, and which are not there.
    pub absent: u64,
}

impl Report {
    fn add(&mut self, violation: String) {
        self.violations.push(violation);
    }
}

/// Reads a whole store and holds it against the notes:
///
/// - what was acknowledged as done is there, with that answer and that time; what was refused, failed or settled as not done has left nothing, and is not found done later;
/// - every change is whole or absent: its record, its fact, its entries, its events, its digest;
/// - nothing is there that nobody asked for;
/// - entries are gapless and add up to their counters, guards hold, classes that conserve sum to zero;
/// - the chain proves, and contains every head that a receipt stated.
pub async fn check(store: &Arc<dyn StoreAdmin>, workload: &Workload, known: &Known) -> Report {
    let mut report = Report::default();
    match settled(store).await {
        Err(error) => report.add(format!("the store cannot be read: {error}")),
        Ok(contents) => compare(&contents, workload, known, &mut report),
    }
    report
}

/// Everything, once it is in the chain.
async fn settled(store: &Arc<dyn StoreAdmin>) -> Result<Contents, Error> {
    let begun = Instant::now();
    loop {
        match Contents::read(store.as_ref()).await {
            Ok(contents) if contents.unchained == 0 => return Ok(contents),
            Ok(mut contents) if begun.elapsed() > CHAINED_WITHIN => {
                let unchained = contents.unchained;
                contents.unless(false, || format!("{unchained} changes have no place in the chain"));
                return Ok(contents);
            }
            // A medium that was hurt may need a moment.
            Err(error) if !error.is_retryable() || begun.elapsed() > CHAINED_WITHIN => return Err(error),
            Ok(_) | Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn compare(contents: &Contents, workload: &Workload, known: &Known, report: &mut Report) {
    report.violations.extend(contents.violations.iter().cloned());
    let tenant = Workload::tenant();
    for (&number, history) in &known.0 {
        let id = Workload::id(number);
        let committed = contents.commits.get(&(tenant.clone(), id.clone()));
        let has_record = contents.records.contains_key(&(tenant.clone(), made(number)));
        let is_given_up = committed.is_some_and(|c| c.stored.answer.type_name() == Change::NOT_DONE_TYPE);
        let is_there = committed.is_some() && !is_given_up;
        if has_record != is_there {
            report.add(format!("{id} is half there: its record is {has_record}, its answer {is_there}"));
        }
        if let Some(committed) = committed.filter(|_| is_there) {
            whole(contents, workload, number, committed, report);
        }
        match (is_there, may_be_there(history)) {
            (true, Some(false)) => report.add(format!("{id} is there, and was told as not executed: {history:?}")),
            (false, Some(true)) => report.add(format!("{id} was acknowledged, and is lost: {history:?}")),
            (true, Some(true)) => report.done = report.done.saturating_add(1),
            (true, None) => report.present = report.present.saturating_add(1),
            (false, None) => report.absent = report.absent.saturating_add(1),
            (false, Some(false)) => {}
        }
        if history.is_contradicted {
            report.add(format!("{id} was told as not executed, and then found done: {history:?}"));
        }
        for told in &history.told {
            let Told::Done { answer, recorded_at, head, .. } = told else { continue };
            if let Some(committed) = committed {
                let stored = &committed.stored;
                if stored.answer.bytes() != answer.as_bytes() || stored.recorded_at.as_nanos() != *recorded_at {
                    report.add(format!("{id} was answered {told:?}, and holds {stored:?}"));
                }
            }
            if *head != Link::START && contents.links.get(&head.number) != Some(head) {
                report.add(format!("{id} was given the head {}, which is not in the chain", head.number));
            }
        }
    }
    for (of, id) in contents.commits.keys() {
        let asked = Workload::number(id).is_none_or(|number| known.0.contains_key(&number));
        if *of == tenant && !asked {
            report.add(format!("{id} is there, and nobody asked for it"));
        }
    }
}

/// Whether it must be there, or must not; `None` when nobody was told.
fn may_be_there(history: &History) -> Option<bool> {
    match history.told.last() {
        Some(Told::Done { .. }) => Some(true),
        Some(_) => Some(false),
        None if history.is_uncertain() => None,
        None => Some(false),
    }
}

/// A change that is there has left all that it was to leave.
fn whole(
    contents: &Contents,
    workload: &Workload,
    number: u64,
    committed: &super::contents::Committed,
    report: &mut Report,
) {
    let asked = workload.change(number, None);
    let id = &asked.id;
    if committed.stored.fingerprint != asked.fingerprint {
        report.add(format!("{id} is another change than the one that was asked"));
    }
    if committed.entries.len() != asked.add.len() || committed.events.len() != asked.append.len() {
        let (entries, events) = (committed.entries.len(), committed.events.len());
        report.add(format!("{id} has {entries} entries and {events} events, and asked for others"));
    }
    for (entry, add) in committed.entries.iter().zip(&asked.add) {
        if entry.counter != add.counter || entry.delta != add.delta {
            report.add(format!("{id} has an entry that it did not ask for: {entry:?}"));
        }
    }
    for put in &asked.put {
        if !contents.records.contains_key(&(Workload::tenant(), put.key.clone())) {
            report.add(format!("{id} is there, and {} is not", put.key));
        }
    }
}
