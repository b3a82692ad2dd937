//! Pages of one tenant's rows. The reader's transaction makes each page one snapshot.

use rusqlite::{Connection, Params, Row};
use txn_change::{Entry, Key, Tenant};

use super::{
    entries,
    rows::{Fields, Names, Unread, failed},
    sql,
};
use crate::{
    cursor::Cursor,
    error::Error,
    place::{end, foreign, join_pair, split_pair, start},
    query::{Found, Page, Query, Range},
};

/// A found row and its place: the bytes behind which the next page begins.
type Placed = (Vec<u8>, Found);

/// The page of at most `limit` rows behind a place.
pub(super) fn page(
    connection: &Connection,
    names: &mut Names,
    tenant: &Tenant,
    query: &Query,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Page, Error> {
    let Some(number) = names.number(connection, tenant)? else {
        return Ok(Page { items: Vec::new(), next: None });
    };
    let one_more = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut finder = Finder { connection, names, tenant, number, limit: one_more };
    let mut rows = match query {
        Query::Records(range) => finder.records(range, after)?,
        Query::RecordsByTerm(range) => finder.records_by_term(range, after)?,
        Query::Counters(range) => finder.counters(range, after)?,
        Query::Entries { counter, after: begin } => finder.entries(counter, *begin, after)?,
        Query::EventsByTerm(range) => finder.events_by_term(range, after)?,
        Query::Changes => finder.changes(after)?,
    };
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| is_more).map(|(place, _)| Cursor::seal(tenant, query, place));
    Ok(Page { items: rows.into_iter().map(|(_, found)| found).collect(), next })
}

struct Finder<'a> {
    connection: &'a Connection,
    names: &'a mut Names,
    tenant: &'a Tenant,
    number: i64,
    limit: i64,
}

impl Finder<'_> {
    fn collect(
        &mut self,
        statement: &'static str,
        params: impl Params,
        table: &'static str,
        read: impl Fn(&Fields<'_, '_>, &mut Names, &Connection) -> Result<Placed, Unread>,
    ) -> Result<Vec<Placed>, Error> {
        let failed = failed("finding rows");
        let mut statement = self.connection.prepare_cached(statement).map_err(&failed)?;
        let mut rows = statement.query(params).map_err(&failed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(&failed)? {
            let placed = read(&Fields(row), self.names, self.connection);
            found.push(placed.map_err(|unread| unread.of(format!("{table} {} of tenant {}", name(row), self.tenant)))?);
        }
        Ok(found)
    }

    fn records(&mut self, range: &Range, after: Option<&[u8]>) -> Result<Vec<Placed>, Error> {
        let params = (self.number, start(range, after), end(range), self.limit);
        self.collect(sql::FIND_RECORDS, params, "record", |fields, _, _| {
            let key = fields.key(0)?;
            Ok((key.as_bytes().to_vec(), Found::Record(key, fields.record()?)))
        })
    }

    fn counters(&mut self, range: &Range, after: Option<&[u8]>) -> Result<Vec<Placed>, Error> {
        let params = (self.number, start(range, after), end(range), self.limit);
        self.collect(sql::FIND_COUNTERS, params, "counter", |fields, names, connection| {
            let key = fields.key(0)?;
            Ok((key.as_bytes().to_vec(), Found::Counter(key, fields.counter(names, connection)?.1)))
        })
    }

    fn records_by_term(&mut self, range: &Range, after: Option<&[u8]>) -> Result<Vec<Placed>, Error> {
        // No key is empty: what begins the range stands behind its prefix with an empty one.
        let (term, key) = after.map(split_pair).transpose()?.unwrap_or((range.start(), &[]));
        let params = (self.number, term, key, end(range), self.limit);
        self.collect(sql::FIND_BY_TERM, params, "record", |fields, _, _| {
            let (key, term) = (fields.key(0)?, fields.key(7)?);
            if fields.is_null(1) {
                return Err(super::rows::Damage(format!("it is indexed under {term} and does not exist")).into());
            }
            Ok((join_pair(&term, &key), Found::Record(key, fields.record()?)))
        })
    }

    fn events_by_term(&mut self, range: &Range, after: Option<&[u8]>) -> Result<Vec<Placed>, Error> {
        let (term, position) = match after {
            None => (range.start(), 0),
            Some(place) => {
                let (term, position) = place.split_last_chunk::<8>().ok_or_else(foreign)?;
                (term, i64::from_be_bytes(*position))
            }
        };
        let params = (self.number, term, position, end(range), self.limit);
        self.collect(sql::FIND_EVENTS, params, "event", |fields, names, connection| {
            let place = [fields.blob(0)?, &fields.int(1)?.to_be_bytes()].concat();
            Ok((place, Found::Event(fields.log_item(names, connection)?.recorded)))
        })
    }

    fn entries(&mut self, counter: &Key, begin: u64, after: Option<&[u8]>) -> Result<Vec<Placed>, Error> {
        let after = after.map(|place| place.try_into().map(u64::from_be_bytes).map_err(|_| foreign())).transpose()?;
        let (after, limit) = (after.unwrap_or(begin), self.limit.unsigned_abs());
        let page = entries::page(self.connection, self.names, self.number, counter, after, limit);
        let page = page.map_err(|unread| unread.of(format!("counter {counter} of tenant {}", self.tenant)))?;
        let placed = |entry: Entry| (entry.sequence.to_be_bytes().to_vec(), Found::Entry(entry));
        Ok(page.into_iter().map(placed).collect())
    }

    fn changes(&mut self, after: Option<&[u8]>) -> Result<Vec<Placed>, Error> {
        let after = core::str::from_utf8(after.unwrap_or_default()).map_err(|_| foreign())?;
        self.collect(sql::FIND_CHANGES, (self.number, after, self.limit), "change", |fields, _, _| {
            let id = fields.id(0)?;
            Ok((id.as_bytes().to_vec(), Found::Change(id, fields.stored()?)))
        })
    }
}

/// Column 0 as a person would name the row.
pub(super) fn name(row: &Row<'_>) -> String {
    let fields = Fields(row);
    match (fields.key(0), fields.text(0), fields.int(0)) {
        (Ok(key), _, _) => key.to_string(),
        (_, Ok(text), _) => text.to_owned(),
        (_, _, Ok(number)) => number.to_string(),
        _ => "without a name".to_owned(),
    }
}
