//! Pages over the state.

use std::ops::Bound;

use txn_change::{Key, Tenant};

use super::{
    corrupt,
    state::{State, TenantState},
};
use crate::{
    cursor::Cursor,
    error::{Error, ErrorKind},
    query::{Found, Page, Query, Range},
};

/// A found row and its place: the bytes behind which the next page begins.
type Placed = (Vec<u8>, Found);

pub(super) fn page(
    state: &State,
    tenant: &Tenant,
    query: &Query,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Page, Error> {
    let Some(of_tenant) = state.tenants.get(tenant) else {
        return Ok(Page { items: Vec::new(), next: None });
    };
    let one_more = limit.saturating_add(1);
    let mut rows: Vec<Placed> = match query {
        Query::Records(range) => records(of_tenant, range, after, one_more)?,
        Query::RecordsByTerm(range) => records_by_term(of_tenant, range, after, one_more)?,
        Query::Counters(range) => counters(of_tenant, range, after, one_more)?,
        Query::Entries { counter, after: begin } => entries(state, of_tenant, counter, *begin, after, one_more)?,
        Query::EventsByTerm(range) => events_by_term(state, of_tenant, range, after, one_more)?,
        Query::Changes => changes(of_tenant, after, one_more)?,
    };
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| is_more).map(|(place, _)| Cursor::seal(tenant, query, place));
    Ok(Page { items: rows.into_iter().map(|(_, found)| found).collect(), next })
}

fn foreign() -> Error {
    Error::new(ErrorKind::Invalid, "the cursor does not belong to this tenant and query")
}

/// The first key at or behind which to look, as a key. An empty prefix is no key, so it ranges from the beginning.
fn start<T>(range: &Range, after: Option<T>, first: impl FnOnce(&[u8]) -> T) -> Bound<T> {
    after.map_or_else(|| Bound::Included(first(range.start())), Bound::Excluded)
}

fn key_of(bytes: &[u8]) -> Result<Key, Error> {
    Key::from_bytes(bytes).map_err(|_| foreign())
}

fn records(state: &TenantState, range: &Range, after: Option<&[u8]>, limit: usize) -> Result<Vec<Placed>, Error> {
    let after = after.map(key_of).transpose()?;
    let from = start(range, after, Key::lower_bound);
    let within = state.records.range((from, Bound::Unbounded)).take_while(|(key, _)| range.contains(key.as_bytes()));
    let found = within.take(limit);
    Ok(found.map(|(key, record)| (key.as_bytes().to_vec(), Found::Record(key.clone(), record.clone()))).collect())
}

fn counters(state: &TenantState, range: &Range, after: Option<&[u8]>, limit: usize) -> Result<Vec<Placed>, Error> {
    let after = after.map(key_of).transpose()?;
    let from = start(range, after, Key::lower_bound);
    let within = state.counter_keys.range((from, Bound::Unbounded)).take_while(|key| range.contains(key.as_bytes()));
    let row = |key: &Key| {
        let row = state.counters.get(key).ok_or_else(|| corrupt("a counter's key without its row"))?;
        Ok((key.as_bytes().to_vec(), Found::Counter(key.clone(), row.counter.clone())))
    };
    within.take(limit).map(row).collect()
}

fn records_by_term(
    state: &TenantState,
    range: &Range,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Placed>, Error> {
    let after = after.map(split_pair).transpose()?;
    let from = start(range, after, |prefix| (Key::lower_bound(prefix), Key::lower_bound(&[])));
    let within = state.record_terms.range((from, Bound::Unbounded));
    let found = within.take_while(|(term, _)| range.contains(term.as_bytes())).take(limit);
    let row = |(term, key): &(Key, Key)| {
        let record = state.records.get(key).ok_or_else(|| corrupt("an index term without its record"))?;
        Ok((join_pair(term, key), Found::Record(key.clone(), record.clone())))
    };
    found.map(row).collect()
}

fn events_by_term(
    state: &State,
    of_tenant: &TenantState,
    range: &Range,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Placed>, Error> {
    let after = after.map(|place| {
        let (term, index) = place.split_last_chunk::<8>().ok_or_else(foreign)?;
        Ok::<_, Error>((key_of(term)?, usize::try_from(u64::from_be_bytes(*index)).map_err(|_| foreign())?))
    });
    let from = start(range, after.transpose()?, |prefix| (Key::lower_bound(prefix), 0));
    let within = of_tenant.event_terms.range((from, Bound::Unbounded));
    let found = within.take_while(|(term, _)| range.contains(term.as_bytes())).take(limit);
    let row = |(term, index): &(Key, usize)| {
        let item =
            state.log.get(*index).and_then(Option::as_ref).ok_or_else(|| corrupt("an index term without its event"))?;
        Ok(([term.as_bytes(), &(*index as u64).to_be_bytes()].concat(), Found::Event(item.clone())))
    };
    found.map(row).collect()
}

fn entries(
    state: &State,
    of_tenant: &TenantState,
    counter: &Key,
    begin: u64,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Placed>, Error> {
    let after = after.map(|place| place.try_into().map(u64::from_be_bytes).map_err(|_| foreign())).transpose()?;
    let from = usize::try_from(after.unwrap_or(begin)).unwrap_or(usize::MAX);
    let places = of_tenant.counters.get(counter).map_or(&[][..], |row| &row.entries);
    let row = |place: &usize| {
        let entry = state.entries.get(*place).ok_or_else(|| corrupt("a counter without its entry"))?;
        Ok((entry.sequence.to_be_bytes().to_vec(), Found::Entry(entry.clone())))
    };
    places.get(from..).unwrap_or_default().iter().take(limit).map(row).collect()
}

fn changes(state: &TenantState, after: Option<&[u8]>, limit: usize) -> Result<Vec<Placed>, Error> {
    let after = after.map(|place| core::str::from_utf8(place).map_err(|_| foreign())).transpose()?;
    let from = after.map_or(0, |after| state.change_ids.partition_point(|id| id.as_str() <= after));
    let row = |id: &txn_change::ChangeId| {
        let stored = state.changes.get(id).ok_or_else(|| corrupt("an id without its change"))?;
        Ok((id.as_bytes().to_vec(), Found::Change(id.clone(), stored.as_ref().clone())))
    };
    state.change_ids.get(from..).unwrap_or_default().iter().take(limit).map(row).collect()
}

/// A pair of keys as one place: the length of the first in two bytes, then both.
fn join_pair(first: &Key, second: &Key) -> Vec<u8> {
    let length = u16::try_from(first.as_bytes().len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), first.as_bytes(), second.as_bytes()].concat()
}

fn split_pair(place: &[u8]) -> Result<(Key, Key), Error> {
    let (length, rest) = place.split_first_chunk::<2>().ok_or_else(foreign)?;
    let (first, second) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(foreign)?;
    Ok((key_of(first)?, key_of(second)?))
}
