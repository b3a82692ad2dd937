//! Changes: whole, unedited, and answered by what they did.

use txn_change::{ChangeId, Entry, Event, Stored};
use txn_store::Recorded;

use super::{
    report::{Findings, Rule},
    tenant::Books,
};

/// A change as the export gives it.
pub(super) struct Commit {
    pub(super) id: ChangeId,
    pub(super) stored: Stored,
    pub(super) entries: Vec<Entry>,
    pub(super) events: Vec<Recorded>,
}

/// Checks one change, and enters it into the tenant's books.
pub(super) fn commit(books: &mut Books, findings: &mut Findings<'_>, commit: Commit) {
    let Commit { id, stored, entries, events } = commit;
    let report = &mut *findings.report;
    report.commits = report.commits.saturating_add(1);
    report.entries = report.entries.saturating_add(entries.len() as u64);
    report.events = report.events.saturating_add(events.len() as u64);

    // Of events that were let go of, a digest is left; how many there are is told by the whole digest then.
    let is_left = |events: &[Recorded]| match stored.passed {
        Some(_) => events.len() < stored.events as usize && events.iter().all(|item| item.event.is_lasting()),
        None => events.len() == stored.events as usize,
    };
    let whole = stored.entries as usize == entries.len() && is_left(&events);
    if !whole {
        let expected = format_args!("{} entries and {} events", stored.entries, stored.events);
        let found = format_args!("{} and {}", entries.len(), events.len());
        findings.add(Rule::ChangeWhole, format_args!("change {id}"), expected, found);
    }
    for entry in entries.iter().filter(|entry| entry.change != id || entry.recorded_at != stored.recorded_at) {
        let subject = format_args!("entry {} of {}", entry.sequence, entry.counter);
        let expected = format_args!("change {id} at {}", stored.recorded_at);
        findings.add(Rule::EventOfChange, subject, expected, format_args!("{} at {}", entry.change, entry.recorded_at));
    }
    for (index, item) in events.iter().enumerate() {
        if findings.tenant != Some(&item.tenant) || item.change != id || item.recorded_at != stored.recorded_at {
            let tenant = findings.tenant.map_or("", |tenant| tenant.as_str());
            let expected = format!("tenant {tenant}, change {id}, {}", stored.recorded_at);
            let found = format_args!("tenant {}, change {}, {}", item.tenant, item.change, item.recorded_at);
            findings.add(Rule::EventOfChange, format_args!("event {index} of change {id}"), expected, found);
        }
    }
    let events: Vec<Event> = events.into_iter().map(|item| item.event).collect();
    if whole && !stored.proves(&id, &entries, &events) {
        let subject = format_args!("change {id}");
        findings.add(Rule::ChangeUnedited, subject, "the stored digest", "another over what is stored now");
    }
    books.counters.entries(findings, &id, &entries);
    books.postings.entries(findings, &entries);
    events.iter().for_each(|event| books.event(findings, event));
    books.answer(findings, &id, &stored.answer, &events);
}
