//! Pages of one tenant's rows. Each page is one statement, and so one snapshot.

use sqlx::{
    AssertSqlSafe, PgConnection, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query as SqlQuery,
};
use txn_change::{ChangeId, Entry, Key, Label, Tenant};

use super::{
    Shared,
    connect::Session,
    get::event,
    load::counter,
    names::Names,
    reader::Unread,
    values::{Damage, Fields},
};
use crate::{
    cursor::Cursor,
    error::Error,
    place::{end, foreign, join_pair, split_pair, start},
    query::{Found, Page, Query, Range},
    store::Recorded,
};

/// A found row and its place: the bytes behind which the next page begins.
type Placed = (Vec<u8>, Found);

/// The page of at most `limit` rows behind a place.
pub(super) async fn page(
    session: &mut Session,
    shared: &Shared,
    tenant: &Tenant,
    query: &Query,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Page, Unread> {
    let Session { connection: session, names } = session;
    let names: &Names = names;
    names.trim();
    names.learn_tenants(session, &[tenant]).await.map_err(Unread::sql("finding rows"))?;
    let Some(number) = names.tenant(tenant) else {
        return Ok(Page { items: Vec::new(), next: None });
    };
    let one_more = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut finder = Finder { session, names, shared, tenant, number, limit: one_more };
    let mut rows = match query {
        Query::Records(range) => finder.records(range, after).await?,
        Query::RecordsByTerm(range) => finder.records_by_term(range, after).await?,
        Query::Counters(range) => finder.counters(range, after).await?,
        Query::Entries { counter, after: begin } => finder.entries(counter, *begin, after).await?,
        Query::EventsByTerm(range) => finder.events_by_term(range, after).await?,
        Query::Changes => finder.changes(after).await?,
    };
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| is_more).map(|(place, _)| Cursor::seal(tenant, query, place));
    Ok(Page { items: rows.into_iter().map(|(_, found)| found).collect(), next })
}

struct Finder<'a> {
    session: &'a mut PgConnection,
    names: &'a Names,
    shared: &'a Shared,
    tenant: &'a Tenant,
    number: i32,
    limit: i64,
}

impl Finder<'_> {
    fn statement(&self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(text.replace("$s.", &format!("{}.", self.shared.schema)))
    }

    async fn collect(
        &mut self,
        query: SqlQuery<'_, Postgres, PgArguments>,
        table: &str,
        read: impl Fn(&Fields<'_>) -> Result<Placed, Damage>,
    ) -> Result<Vec<Placed>, Unread> {
        let rows = query.fetch_all(&mut *self.session).await.map_err(Unread::sql("finding rows"))?;
        let read = |row: &PgRow| {
            read(&Fields(row)).map_err(|d| d.of(format_args!("{table} {} of tenant {}", name(row), self.tenant)))
        };
        Ok(rows.iter().map(read).collect::<Result<_, Error>>()?)
    }

    async fn records(&mut self, range: &Range, after: Option<&[u8]>) -> Result<Vec<Placed>, Unread> {
        let text = self.statement(
            "SELECT key, version, terms, type, (schema::int8 << 8) | format, body FROM $s.record \
             WHERE tenant = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4",
        );
        let query = sqlx::query(text).bind(self.number).bind(start(range, after)).bind(end(range)).bind(self.limit);
        self.collect(query, "record", |fields| {
            let key = fields.key(0)?;
            Ok((key.as_bytes().to_vec(), Found::Record(key, fields.record([1, 2, 3, 4, 5])?)))
        })
        .await
    }

    async fn counters(&mut self, range: &Range, after: Option<&[u8]>) -> Result<Vec<Placed>, Unread> {
        let text = self.statement(
            "SELECT key, (class::int8 << 8) | status, version, sequence, unit, guards, l0, l1, l2, l3, class FROM $s.counter \
             WHERE tenant = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4",
        );
        let query = sqlx::query(text).bind(self.number).bind(start(range, after)).bind(end(range)).bind(self.limit);
        let rows = query.fetch_all(&mut *self.session).await.map_err(Unread::sql("finding rows"))?;
        let classes = rows.iter().filter_map(|row| Fields(row).get::<i32>(10).ok());
        let unknown: Vec<i32> = classes.filter(|no| self.names.class_spec(*no).is_none()).collect();
        let learning = self.names.learn_numbers(self.session, &[], &unknown);
        learning.await.map_err(Unread::sql("finding rows"))?;
        let read = |row: &PgRow| -> Result<Placed, Error> {
            let fields = Fields(row);
            let read = || {
                let key = fields.key(0)?;
                let found = counter(&fields, self.names, [1, 4, 5, 2, 3, 6])?;
                Ok((key.as_bytes().to_vec(), Found::Counter(key, found)))
            };
            read().map_err(|d: Damage| d.of(format_args!("counter {} of tenant {}", name(row), self.tenant)))
        };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn records_by_term(&mut self, range: &Range, after: Option<&[u8]>) -> Result<Vec<Placed>, Unread> {
        // No key is empty: what begins the range stands behind its prefix with an empty one.
        let (term, key) = after.map(split_pair).transpose()?.unwrap_or((range.start(), &[]));
        let text = self.statement(
            "SELECT t.key, r.version, r.terms, r.type, (r.schema::int8 << 8) | r.format, r.body, t.term \
             FROM $s.term t LEFT JOIN $s.record r ON r.tenant = t.tenant AND r.key = t.key \
             WHERE t.tenant = $1 AND (t.term, t.key) > ($2, $3) AND t.term < $4 ORDER BY t.term, t.key LIMIT $5",
        );
        let query = sqlx::query(text).bind(self.number).bind(term).bind(key).bind(end(range)).bind(self.limit);
        self.collect(query, "record", |fields| {
            let (key, term) = (fields.key(0)?, fields.key(6)?);
            if fields.is_null(1) {
                return Err(Damage(format!("it is indexed under {term} and does not exist")));
            }
            Ok((join_pair(&term, &key), Found::Record(key, fields.record([1, 2, 3, 4, 5])?)))
        })
        .await
    }

    async fn events_by_term(&mut self, range: &Range, after: Option<&[u8]>) -> Result<Vec<Placed>, Unread> {
        let (term, ticket, ord) = match after {
            None => (range.start(), 0, -1),
            Some(place) => {
                let (rest, ord) = place.split_last_chunk::<4>().ok_or_else(foreign)?;
                let (term, ticket) = rest.split_last_chunk::<8>().ok_or_else(foreign)?;
                (term, i64::from_be_bytes(*ticket), i32::from_be_bytes(*ord))
            }
        };
        let text = self.statement(
            "SELECT t.term, t.ticket, t.ord, c.id, c.recorded_at, e.fact, e.subject, e.type, (e.schema::int8 << 8) | e.format, e.body, e.terms \
             FROM $s.event_term t LEFT JOIN $s.event e ON e.ticket = t.ticket AND e.ord = t.ord \
             LEFT JOIN $s.change c ON c.ticket = e.ticket AND c.at = e.at \
             WHERE t.tenant = $1 AND (t.term, t.ticket, t.ord) > ($2, $3, $4) AND t.term < $5 ORDER BY t.term, t.ticket, t.ord LIMIT $6",
        );
        let query =
            sqlx::query(text).bind(self.number).bind(term).bind(ticket).bind(ord).bind(end(range)).bind(self.limit);
        let tenant = self.tenant;
        self.collect(query, "event", |fields| {
            if fields.is_null(7) {
                return Err(Damage("its event does not exist".into()));
            }
            let place =
                [fields.bytes(0)?, &fields.int(1)?.to_be_bytes(), &fields.get::<i32>(2)?.to_be_bytes()].concat();
            let event = event(fields, fields.fact(5)?, [6, 7, 8, 9, 10])?;
            let recorded =
                Recorded { tenant: tenant.clone(), change: fields.id(3)?, recorded_at: fields.time(4)?, event };
            Ok((place, Found::Event(recorded)))
        })
        .await
    }

    async fn entries(&mut self, counter: &Key, begin: u64, after: Option<&[u8]>) -> Result<Vec<Placed>, Unread> {
        let begin = i64::try_from(begin).unwrap_or(i64::MAX);
        let after = after.map(|place| place.try_into().map(i64::from_be_bytes).map_err(|_| foreign())).transpose()?;
        let text = self.statement(
            "SELECT c.id, c.recorded_at, e.sequence, e.effective_at, e.label, e.short, e.d0, e.d1, e.d2, e.d3, e.a0, e.a1, e.a2, e.a3 \
             FROM $s.counter k JOIN $s.entry e ON e.counter = k.no LEFT JOIN $s.change c ON c.ticket = e.ticket AND c.at = e.at \
             WHERE k.tenant = $1 AND k.key = $2 AND e.sequence > $3 ORDER BY e.sequence LIMIT $4",
        );
        let query =
            sqlx::query(text).bind(self.number).bind(counter.as_bytes()).bind(after.unwrap_or(begin)).bind(self.limit);
        self.collect(query, "entry of change", |fields| {
            let (id, time) = (fields.id(0)?, fields.time(1)?);
            let entry = entry(fields, 2, counter.clone(), id, time)?;
            Ok((entry.sequence.to_be_bytes().to_vec(), Found::Entry(entry)))
        })
        .await
    }

    async fn changes(&mut self, after: Option<&[u8]>) -> Result<Vec<Placed>, Unread> {
        let after = core::str::from_utf8(after.unwrap_or_default()).map_err(|_| foreign())?;
        // No id has one, and no text of the server can.
        if after.contains('\0') {
            return Err(foreign().into());
        }
        let text = self.statement(
            "SELECT id, recorded_at, (entries::int8 << 32) | events, fingerprint, digest, type, (schema::int8 << 8) | format, answer, passed \
             FROM $s.change WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3",
        );
        let query = sqlx::query(text).bind(self.number).bind(after).bind(self.limit);
        self.collect(query, "change", |fields| {
            let id = fields.id(0)?;
            let stored = fields.passed(8, fields.stored([1, 2, 3, 4, 5, 6, 7])?)?;
            Ok((id.as_bytes().to_vec(), Found::Change(id, stored)))
        })
        .await
    }
}

/// An entry from its sequence on: sequence, effective_at, label, short, four lanes added, four after it.
pub(super) fn entry(
    fields: &Fields<'_>,
    at: usize,
    counter: Key,
    change: ChangeId,
    recorded_at: txn_change::Timestamp,
) -> Result<Entry, Damage> {
    let column = |n: usize| at.saturating_add(n);
    Ok(Entry {
        counter,
        sequence: fields.count(at)?,
        delta: fields.lanes(column(4))?,
        after: fields.lanes(column(8))?,
        effective_at: fields.time(column(1))?,
        recorded_at,
        change,
        label: Label::stored(fields.text(column(2))?.to_owned()),
        short: fields.get(column(3))?,
    })
}

/// Column 0 as a person would name the row.
fn name(row: &PgRow) -> String {
    let fields = Fields(row);
    match (fields.key(0), fields.text(0)) {
        (Ok(key), _) => key.to_string(),
        (_, Ok(text)) => text.to_owned(),
        _ => "without a name".to_owned(),
    }
}
