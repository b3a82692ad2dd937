//! Whether a store holds exactly what the model holds, through every way of reading it.

use std::fmt::Debug;

use pollster::block_on;
use txn_change::{Event, GroupDigest, Key, Kind, Link, Tenant, Timestamp};
use txn_store::{Ask, Consumer, ErrorKind, Found, LogItem, Position, Query, Range, Row, StoreAdmin};

use super::spec;
use crate::model::{Committed, House, Logged, Model};

type Same = Result<(), String>;

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Same {
    if found == expected { Ok(()) } else { Err(format!("{what}: the model has {expected:#?}, the store {found:#?}")) }
}

pub(super) fn compare(store: &dyn StoreAdmin, model: &Model, now: Timestamp) -> Same {
    // That of none has the records of consumers.
    for tenant in (0..3).map(spec::tenant).chain([Tenant::default()]) {
        let house = model.house(&tenant);
        by_get(store, model, &tenant, &house, now)?;
        for limit in [1_000, 3] {
            by_find(store, model, &tenant, &house, limit)?;
        }
    }
    for limit in [1_000, 2] {
        let of = |logged: &Logged| LogItem { position: Position(logged.position), recorded: logged.recorded.clone() };
        same("the log", &log(store, Position(model.tail), limit)?, &model.readable().map(of).collect())?;
    }
    for purged in (0..model.tail).map(Position) {
        let refused = block_on(store.read(purged, 1)).err().map(|error| error.kind());
        same("reading what was purged", &refused, &Some(ErrorKind::Purged))?;
    }
    let consumers = block_on(Consumer::list(store)).map_err(|e| e.to_string())?;
    let consumers: Vec<_> = consumers.into_iter().map(|(name, position)| (name, position.0)).collect();
    same("consumers", &consumers, &model.consumers())?;
    let health = block_on(store.health()).map_err(|e| e.to_string())?;
    same("where the log begins", &health.tail, &Position(model.tail))?;
    same("changes committed", &health.commits, &(model.commits.len() as u64))?;
    same("the head", &health.head, &Position(model.log.len() as u64))?;
    same("the chain", &by_export(store, model)?, &health.chain)
}

fn by_get(store: &dyn StoreAdmin, model: &Model, tenant: &Tenant, house: &House, now: Timestamp) -> Same {
    let mut ask = Ask::new(tenant.clone());
    for number in 0..5 {
        ask = ask.record(spec::record(number));
    }
    for number in 0..spec::COUNTERS {
        ask = ask.counter(spec::counter(number)).fact(spec::fact(number));
    }
    let mut asks = vec![ask.clone()];
    asks.extend((0..spec::IDS).map(|number| Ask::new(tenant.clone()).stored(spec::id(number))));
    let mut snapshots = block_on(store.get(asks)).map_err(|e| e.to_string())?;
    for (number, snapshot) in snapshots.split_off(1).into_iter().enumerate() {
        same("what is stored under an id", &snapshot.stored, &house.answers.get(&spec::id(number as u8)).cloned())?;
    }
    let found = snapshots.remove(0);
    same("records", &found.records, &ask.records.iter().map(|key| house.records.get(key).cloned()).collect())?;
    let counter = |key: &Key| house.tallies.get(key).map(|tally| tally.counter());
    same("counters", &found.counters, &ask.counters.iter().map(counter).collect())?;
    same("facts", &found.facts, &ask.facts.iter().map(|id| model.fact(tenant, id)).collect())?;
    same("the time", &found.now, &now)
}

fn by_find(store: &dyn StoreAdmin, model: &Model, tenant: &Tenant, house: &House, limit: usize) -> Same {
    let all = |query: Query| -> Result<Vec<Found>, String> {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page =
                block_on(store.find(tenant, &query, after.as_ref(), limit)).map_err(|e| format!("{query:?}: {e}"))?;
            rows.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(rows),
            }
        }
    };
    let everything = || Range { prefix: Vec::new(), from: None, until: None };
    let ends_within = || Range {
        prefix: Kind::new("by-word").unwrap().prefix(),
        from: None,
        until: Some(spec::term(3).as_bytes().to_vec()),
    };
    let records = house.records.iter().map(|(key, record)| Found::Record(key.clone(), record.clone()));
    same("records by key", &all(Query::Records(everything()))?, &records.collect())?;
    let counters = house.tallies.iter().map(|(key, tally)| Found::Counter(key.clone(), tally.counter()));
    same("counters by key", &all(Query::Counters(everything()))?, &counters.collect())?;
    let changes = house.answers.iter().map(|(id, stored)| Found::Change(id.clone(), stored.clone()));
    same("changes by id", &all(Query::Changes)?, &changes.collect())?;
    // Of counters that do not exist, two are enough.
    for number in (0..spec::COUNTERS).filter(|n| *n < 2 || house.tallies.contains_key(&spec::counter(*n))) {
        let key = spec::counter(number);
        let entries = house.tallies.get(&key).map_or(Vec::new(), |tally| tally.entries.clone());
        same("entries", &all(Query::entries(key))?, &entries.into_iter().map(Found::Entry).collect())?;
    }
    for range in [everything(), ends_within()] {
        let mut by_term = Vec::new();
        for (key, record) in &house.records {
            by_term.extend(record.terms.iter().map(|term| (term.clone(), key.clone())));
        }
        let found = |(_, key): (Key, Key)| Found::Record(key.clone(), house.records[&key].clone());
        same("records by term", &all(Query::RecordsByTerm(range.clone()))?, &within(by_term, &range, found))?;
        let mut by_term = Vec::new();
        for (place, logged) in model.log.iter().enumerate() {
            let terms = logged.recorded.event.terms.iter().map(|term| (term.clone(), place));
            by_term.extend(terms.filter(|_| logged.recorded.tenant == *tenant && !logged.is_gone));
        }
        let found = |(_, place): (Key, usize)| Found::Event(model.log[place].recorded.clone());
        same("events by term", &all(Query::EventsByTerm(range.clone()))?, &within(by_term, &range, found))?;
    }
    Ok(())
}

fn within<T: Ord>(mut rows: Vec<(Key, T)>, range: &Range, found: impl Fn((Key, T)) -> Found) -> Vec<Found> {
    rows.retain(|(term, _)| range.contains(term.as_bytes()));
    rows.sort();
    rows.dedup();
    rows.into_iter().map(found).collect()
}

fn log(store: &dyn StoreAdmin, tail: Position, limit: usize) -> Result<Vec<LogItem>, String> {
    let mut items: Vec<LogItem> = Vec::new();
    loop {
        let after = items.last().map_or(tail, |item| item.position);
        let page = block_on(store.read(after, limit)).map_err(|e| e.to_string())?;
        if page.items.is_empty() {
            return Ok(items);
        }
        items.extend(page.items);
    }
}

/// Compares an export; the head of the chain as the exported changes give it.
fn by_export(store: &dyn StoreAdmin, model: &Model) -> Result<Link, String> {
    let mut export = block_on(store.export()).map_err(|e| e.to_string())?;
    let (mut commits, mut counters, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let (mut chain, mut group) = (Link::START, GroupDigest::default());
    loop {
        let rows = block_on(export.next(5)).map_err(|e| e.to_string())?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            match row {
                Row::Commit { tenant, id, stored, entries, events } => {
                    group.add(&tenant, &id, &stored.digest, stored.events);
                    let left: Vec<Event> = events.iter().map(|recorded| recorded.event.clone()).collect();
                    same("that a change proves what is left of it", &stored.proves(&id, &entries, &left), &true)?;
                    commits.push((tenant, id, stored, entries, events));
                }
                Row::Link { link, .. } => {
                    chain = chain.next(&std::mem::take(&mut group).finish());
                    same("an exported link", &link, &chain)?;
                }
                Row::Counter { tenant, key, counter } => counters.push((tenant, key, counter)),
                Row::Record { tenant, key, record, mut indexed } => {
                    indexed.sort();
                    records.push((tenant, key, record, indexed));
                }
                Row::Purged { answers, events } => {
                    same("what was purged", &(answers, events.0), &(model.unanswered as u64, model.tail))?;
                }
                other => return Err(format!("exported {other:?}")),
            }
        }
    }
    counters.sort_by_key(|(tenant, key, _)| (tenant.clone(), key.clone()));
    records.sort_by_key(|(tenant, key, ..)| (tenant.clone(), key.clone()));
    let of = |Committed { tenant, id, entries, .. }: &Committed| {
        let left = model.left().map(|logged| logged.recorded.clone());
        let events = left.filter(|item| item.tenant == *tenant && item.change == *id).collect();
        (tenant.clone(), id.clone(), model.houses[tenant].answers[id].clone(), entries.clone(), events)
    };
    same("exported changes", &commits, &model.commits.iter().map(of).collect())?;
    let (mut expected, mut expected_records) = (Vec::new(), Vec::new());
    for (tenant, house) in &model.houses {
        expected.extend(house.tallies.iter().map(|(key, tally)| (tenant.clone(), key.clone(), tally.counter())));
        for (key, record) in &house.records {
            let mut indexed = record.terms.clone();
            indexed.sort();
            records.iter_mut().filter(|row| (&row.0, &row.1) == (tenant, key)).for_each(|row| row.3.dedup());
            indexed.dedup();
            expected_records.push((tenant.clone(), key.clone(), record.clone(), indexed));
        }
    }
    same("exported counters", &counters, &expected)?;
    same("exported records", &records, &expected_records)?;
    Ok(chain)
}
