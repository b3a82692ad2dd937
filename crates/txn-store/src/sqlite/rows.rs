//! Between rows and values. Nothing here trusts the file: what cannot be read is [`Damage`], which the caller turns into an error, or into a row of
//! an export, that names table and key.

use std::{collections::HashMap, fmt, sync::Arc};

use rusqlite::{
    Connection, OptionalExtension, Row, Statement, ToSql,
    types::{ToSqlOutput, Value, ValueRef},
};
use txn_change::{
    Body, ChangeId, Class, Counter, Entry, Event, FactId, Fingerprint, Format, Guard, Key, Label, Lanes, Link, Record,
    Status, Stored, Tenant, Term, Timestamp,
};

use super::sql;
use crate::{
    encode::{guards_from_text, terms_from_bytes},
    error::{Error, ErrorKind},
    store::{LogItem, Position, Recorded},
};

/// What is wrong with a stored row.
#[derive(Debug)]
pub(super) struct Damage(pub(super) String);

impl Damage {
    /// The error of a read that met this row.
    pub(super) fn of(self, row: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Corrupt, format!("{row}: {}", self.0))
    }
}

/// Why a row was not read: it is damaged, or the medium failed.
#[derive(Debug)]
pub(super) enum Unread {
    Damage(Damage),
    Sql(rusqlite::Error),
}

impl From<Damage> for Unread {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<rusqlite::Error> for Unread {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Unread {
    /// The error of a read that met this row.
    pub(super) fn of(self, row: impl fmt::Display) -> Error {
        match self {
            Self::Damage(damage) => damage.of(row),
            Self::Sql(error) => failed("reading")(error),
        }
    }
}

/// The error for what SQLite says. Its words are for people; the kind tells a caller what to do.
pub(super) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    use rusqlite::ErrorCode as Code;
    move |error| {
        let kind = match error.sqlite_error_code() {
            Some(
                Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::SystemIoFailure
                | Code::DiskFull
                | Code::OutOfMemory
                | Code::CannotOpen
                | Code::ReadOnly
                | Code::PermissionDenied
                | Code::FileLockingProtocolFailed
                | Code::OperationInterrupted,
            ) => ErrorKind::Unavailable,
            Some(Code::TooBig) => ErrorKind::Invalid,
            // A constraint of the second belt, a missing table, a damaged page: not what we wrote. A page that the system did not give is among them; see `medium`.
            _ => ErrorKind::Corrupt,
        };
        Error::new(kind, doing).because(error)
    }
}

/// Binds the values of one statement from left to right.
pub(super) struct Binder<'a, 'c> {
    statement: &'a mut Statement<'c>,
    at: usize,
}

impl<'a, 'c> Binder<'a, 'c> {
    pub(super) fn new(statement: &'a mut Statement<'c>) -> Self {
        Self { statement, at: 0 }
    }

    pub(super) fn put<T: ToSql>(&mut self, value: T) -> rusqlite::Result<&mut Self> {
        self.at = self.at.saturating_add(1);
        self.statement.raw_bind_parameter(self.at, value)?;
        Ok(self)
    }

    pub(super) fn body(&mut self, body: &Body) -> rusqlite::Result<&mut Self> {
        self.put(body.type_name())?.put(body.schema())?.put(body.format().code())
    }

    pub(super) fn lanes(&mut self, lanes: Lanes) -> rusqlite::Result<&mut Self> {
        for lane in lanes.0 {
            self.put(Lane(lane))?;
        }
        Ok(self)
    }
}

/// A lane as it is stored: an integer when it fits, else 16 big-endian bytes.
struct Lane(i128);

impl ToSql for Lane {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match i64::try_from(self.0) {
            Ok(small) => Value::Integer(small),
            Err(_) => Value::Blob(self.0.to_be_bytes().to_vec()),
        }))
    }
}

/// The columns of a row, read with their types checked.
pub(super) struct Fields<'a, 's>(pub(super) &'a Row<'s>);

impl Fields<'_, '_> {
    fn value(&self, at: usize) -> Result<ValueRef<'_>, Damage> {
        self.0.get_ref(at).map_err(|_| Damage(format!("there is no column {at}")))
    }

    fn wrong(&self, at: usize, wanted: &str) -> Damage {
        let column = self.0.as_ref().column_name(at).unwrap_or("?");
        Damage(format!("column {column} is not {wanted}"))
    }

    pub(super) fn is_null(&self, at: usize) -> bool {
        matches!(self.value(at), Ok(ValueRef::Null))
    }

    pub(super) fn int(&self, at: usize) -> Result<i64, Damage> {
        match self.value(at)? {
            ValueRef::Integer(value) => Ok(value),
            _ => Err(self.wrong(at, "an integer")),
        }
    }

    pub(super) fn count(&self, at: usize) -> Result<u64, Damage> {
        u64::try_from(self.int(at)?).map_err(|_| self.wrong(at, "a number from 0"))
    }

    fn small<T: TryFrom<i64>>(&self, at: usize) -> Result<T, Damage> {
        T::try_from(self.int(at)?).map_err(|_| self.wrong(at, "in its range"))
    }

    pub(super) fn text(&self, at: usize) -> Result<&str, Damage> {
        match self.value(at)? {
            ValueRef::Text(text) => core::str::from_utf8(text).map_err(|_| self.wrong(at, "UTF-8")),
            _ => Err(self.wrong(at, "text")),
        }
    }

    pub(super) fn blob(&self, at: usize) -> Result<&[u8], Damage> {
        match self.value(at)? {
            ValueRef::Blob(bytes) => Ok(bytes),
            _ => Err(self.wrong(at, "bytes")),
        }
    }

    pub(super) fn time(&self, at: usize) -> Result<Timestamp, Damage> {
        self.int(at).map(Timestamp::from_nanos)
    }

    fn array(&self, at: usize) -> Result<[u8; 32], Damage> {
        self.blob(at)?.try_into().map_err(|_| self.wrong(at, "32 bytes"))
    }

    pub(super) fn key(&self, at: usize) -> Result<Key, Damage> {
        Key::from_bytes(self.blob(at)?).map_err(|_| self.wrong(at, "a key"))
    }

    pub(super) fn terms(&self, at: usize) -> Result<Vec<Term>, Damage> {
        terms_from_bytes(self.blob(at)?).ok_or_else(|| self.wrong(at, "a list of terms"))
    }

    pub(super) fn id(&self, at: usize) -> Result<ChangeId, Damage> {
        if self.is_null(at) {
            return Err(Damage("its change does not exist".into()));
        }
        ChangeId::new(self.text(at)?).map_err(|_| self.wrong(at, "a change id"))
    }

    fn lane(&self, at: usize) -> Result<i128, Damage> {
        match self.value(at)? {
            ValueRef::Integer(value) => Ok(i128::from(value)),
            ValueRef::Blob(bytes) => bytes.try_into().map(i128::from_be_bytes).map_err(|_| self.wrong(at, "an amount")),
            _ => Err(self.wrong(at, "an amount")),
        }
    }

    fn lanes(&self, at: usize) -> Result<Lanes, Damage> {
        let mut lanes = Lanes::ZERO;
        for (lane, at) in lanes.0.iter_mut().zip(at..) {
            *lane = self.lane(at)?;
        }
        Ok(lanes)
    }

    /// Type, schema and format from `at`, the bytes from `bytes`.
    pub(super) fn body(&self, at: usize, bytes: usize) -> Result<Body, Damage> {
        let schema_at = at.saturating_add(1);
        let format_at = at.saturating_add(2);
        let format =
            Format::from_code(self.small(format_at)?).ok_or_else(|| self.wrong(format_at, "a known format"))?;
        Ok(Body::stored(Arc::from(self.text(at)?), self.small(schema_at)?, format, Arc::from(self.blob(bytes)?)))
    }

    /// Columns 1 to 10: what is stored under an id.
    pub(super) fn stored(&self) -> Result<Stored, Damage> {
        Ok(Stored {
            fingerprint: Fingerprint(self.array(1)?),
            recorded_at: self.time(2)?,
            entries: self.small(3)?,
            events: self.small(4)?,
            digest: self.array(5)?,
            answer: self.body(6, 9)?,
            passed: if self.is_null(10) { None } else { Some(self.array(10)?) },
        })
    }

    /// The number at `at` and the hash behind it; both are null before the first link.
    pub(super) fn link(&self, number: usize, hash: usize) -> Result<Link, Damage> {
        if self.is_null(number) {
            return Ok(Link::START);
        }
        Ok(Link { number: self.count(number)?, hash: self.array(hash)? })
    }

    /// Columns 1 to 6: a record.
    pub(super) fn record(&self) -> Result<Record, Damage> {
        Ok(Record { version: self.count(1)?, terms: self.terms(2)?, body: self.body(3, 6)? })
    }

    /// Columns 1 to 3 of a record's head: its number, and the record without its body, which no rule looks at.
    pub(super) fn record_head(&self) -> Result<(i64, Record), Damage> {
        let body = Body::stored(Arc::from(""), 0, Format::Json, Arc::from([]));
        Ok((self.int(1)?, Record { version: self.count(2)?, terms: self.terms(3)?, body }))
    }

    /// Columns 1 to 11: a counter's number and the counter.
    pub(super) fn counter(&self, names: &mut Names, connection: &Connection) -> Result<(i64, Counter), Unread> {
        let status = Status::from_code(self.small(5)?).ok_or_else(|| self.wrong(5, "a status"))?;
        let counter = Counter {
            class: names.class(connection, self.int(2)?)?,
            unit: Arc::from(self.text(3)?),
            guards: names.guards(self.text(4)?).ok_or_else(|| self.wrong(4, "a list of guards"))?,
            status,
            version: self.count(6)?,
            sequence: self.count(7)?,
            lanes: self.lanes(8)?,
        };
        Ok((self.int(1)?, counter))
    }

    /// Columns 2 to 13: an entry, but for what its change and its counter say.
    pub(super) fn entry(&self, counter: Key, change: ChangeId, recorded_at: Timestamp) -> Result<Entry, Damage> {
        Ok(Entry {
            counter,
            sequence: self.count(2)?,
            delta: self.lanes(6)?,
            after: self.lanes(10)?,
            effective_at: self.time(3)?,
            recorded_at,
            change,
            label: Label::stored(self.text(4)?.to_owned()),
            short: self.int(5)? != 0,
        })
    }

    /// Columns 1 to 10: the place and the event.
    pub(super) fn event(&self) -> Result<(Position, Event), Damage> {
        if self.is_null(6) {
            return Err(Damage("its event does not exist".into()));
        }
        let id = match self.is_null(4) {
            true => None,
            false => Some(FactId::new(self.text(4)?).map_err(|_| self.wrong(4, "a fact id"))?),
        };
        let subject = if self.is_null(5) { None } else { Some(self.key(5)?) };
        let event = Event { id, subject, body: self.body(6, 10)?, terms: self.terms(9)? };
        Ok((Position(self.count(1)?), event))
    }

    /// Columns 1 to 12: an event as the log holds it.
    pub(super) fn log_item(&self, names: &mut Names, connection: &Connection) -> Result<LogItem, Unread> {
        let (position, event) = self.event()?;
        let tenant = names.tenant(connection, self.int(3)?)?;
        let recorded = Recorded { tenant, change: self.id(11)?, recorded_at: self.time(12)?, event };
        Ok(LogItem { position, recorded })
    }
}

/// What never changes once it is stored, remembered by one connection: tenants, classes, and the guards that many counters share.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Tenant, i64>,
    tenants: HashMap<i64, Tenant>,
    classes: HashMap<i64, Arc<Class>>,
    guards: HashMap<String, [Option<Guard>; 2]>,
}

/// Guards remembered, at most: hosts may give every account its own limit.
const GUARDS_MAX: usize = 1_024;

impl Names {
    /// The number of a tenant; `None` when nothing was ever committed for it.
    pub(super) fn number(&mut self, connection: &Connection, tenant: &Tenant) -> Result<Option<i64>, Error> {
        if let Some(number) = self.numbers.get(tenant) {
            return Ok(Some(*number));
        }
        let find = || {
            let mut statement = connection.prepare_cached(sql::TENANT_BY_NAME)?;
            statement.query_row([tenant.as_str()], |row| row.get::<_, i64>(0)).optional()
        };
        let number = find().map_err(failed("looking up a tenant"))?;
        if let Some(number) = number {
            self.numbers.insert(tenant.clone(), number);
        }
        Ok(number)
    }

    pub(super) fn tenant(&mut self, connection: &Connection, number: i64) -> Result<Tenant, Unread> {
        if let Some(tenant) = self.tenants.get(&number) {
            return Ok(tenant.clone());
        }
        let mut statement = connection.prepare_cached(sql::TENANT_BY_NUMBER)?;
        let mut rows = statement.query([number])?;
        let row = rows.next()?.ok_or_else(|| Damage(format!("there is no tenant {number}")))?;
        let name = Fields(row).text(0)?.to_owned();
        let tenant = Tenant::new(&name).map_err(|_| Damage(format!("tenant {number} has no valid name")))?;
        self.tenants.insert(number, tenant.clone());
        Ok(tenant)
    }

    pub(super) fn class(&mut self, connection: &Connection, number: i64) -> Result<Arc<Class>, Unread> {
        if let Some(class) = self.classes.get(&number) {
            return Ok(Arc::clone(class));
        }
        let mut statement = connection.prepare_cached(sql::CLASS_BY_NUMBER)?;
        let mut rows = statement.query([number])?;
        let row = rows.next()?.ok_or_else(|| Damage(format!("there is no class {number}")))?;
        let class: Class =
            serde_json::from_str(Fields(row).text(0)?).map_err(|_| Damage(format!("class {number} cannot be read")))?;
        let class = Arc::new(class);
        self.classes.insert(number, Arc::clone(&class));
        Ok(class)
    }

    fn guards(&mut self, text: &str) -> Option<[Option<Guard>; 2]> {
        if let Some(guards) = self.guards.get(text) {
            return Some(*guards);
        }
        let guards = guards_from_text(text)?;
        if self.guards.len() >= GUARDS_MAX {
            self.guards.clear();
        }
        self.guards.insert(text.to_owned(), guards);
        Some(guards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_an_integer_while_it_fits_and_16_bytes_beyond() {
        let stored = |lane: i128| match Lane(lane).to_sql() {
            Ok(ToSqlOutput::Owned(value)) => value,
            other => panic!("{other:?}"),
        };
        for fits in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(stored(fits.into()), Value::Integer(fits));
        }
        let wide = |high: u8, rest: [u8; 8]| Value::Blob([&[high; 8][..], &rest].concat());
        assert_eq!(stored(i128::from(i64::MAX) + 1), wide(0, [0x80, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(stored(i128::from(i64::MIN) - 1), wide(0xff, [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    }
}
