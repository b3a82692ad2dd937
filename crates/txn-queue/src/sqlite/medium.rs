//! Steps and messages in one SQLite file, whose only writer this is.

use std::rc::Rc;

use rusqlite::{Connection, OptionalExtension, params, types::Value};
use txn_change::Timestamp;

use super::sql;
use crate::{
    durable::{
        medium::{Medium, PACKS, STEPS, Written},
        pack::Pack,
        step::Step,
    },
    error::{Error, ErrorKind},
    name::{DedupeId, ScheduleKey},
};

/// Messages of a topic stand behind its number times this.
const PLACES: i64 = 1 << 40;

/// One transaction: rolled back when it is dropped before it is committed. Alone with the connection, so that its futures may move between threads.
pub(super) struct InFile<'c> {
    connection: &'c mut Connection,
    is_open: bool,
}

pub(super) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| {
        let kind = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, doing).because(error)
    }
}

fn place(topic: i64, position: u64) -> i64 {
    let position = i64::try_from(position).unwrap_or(i64::MAX).min(PLACES.saturating_sub(1));
    topic.saturating_mul(PLACES).saturating_add(position)
}

fn position(place: i64) -> u64 {
    place.rem_euclid(PLACES).unsigned_abs()
}

fn array<T: Into<Value>>(values: impl Iterator<Item = T>) -> Rc<Vec<Value>> {
    Rc::new(values.map(Into::into).collect())
}

/// A name that was checked when it was written.
fn name<T>(
    text: Option<String>,
    new: impl Fn(&str) -> Result<T, txn_change::NameError>,
) -> rusqlite::Result<Option<T>> {
    let read = |text: String| {
        new(&text)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
    };
    text.map(read).transpose()
}

impl Drop for InFile<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // It fails when the medium has ended the transaction already.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

impl<'c> InFile<'c> {
    /// Begins. With `writes` it waits at once for whoever writes, and not in the middle.
    pub(super) fn begin(connection: &'c mut Connection, writes: bool) -> Result<Self, Error> {
        let begin = if writes { "BEGIN IMMEDIATE" } else { "BEGIN DEFERRED" };
        connection.execute_batch(begin).map_err(failed("beginning"))?;
        Ok(Self { connection, is_open: true })
    }

    /// Commits; when it fails, nobody knows whether it is.
    pub(super) fn commit(mut self) -> Result<(), Error> {
        self.connection.execute_batch("COMMIT").map_err(failed("committing"))?;
        self.is_open = false;
        Ok(())
    }

    pub(super) fn write_topology(&self, version: u64, json: &str) -> Result<(), Error> {
        let write = || {
            self.connection.execute(sql::TOPOLOGY_WRITE, params![version.cast_signed(), json])?;
            self.connection.execute(sql::TOPOLOGY_TIDY, [version.cast_signed()])
        };
        write().map(drop).map_err(failed("writing the topology"))
    }

    fn list<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let list =
            || self.connection.prepare_cached(sql)?.query_map(values, read)?.collect::<rusqlite::Result<Vec<T>>>();
        list().map_err(failed("reading a topic"))
    }

    fn put(&self, written: &Written<'_>) -> rusqlite::Result<()> {
        let Written { topic, step, draft, packs, saved } = written;
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| self.connection.prepare_cached(sql)?.execute(values);
        let number = step.number.cast_signed();
        run(sql::STEP_WRITE, params![topic, number, step.nonce.cast_signed(), step.at.as_nanos(), step.body])?;
        for pack in packs {
            run(sql::PACK_WRITE, params![place(*topic, pack.first), pack.briefs, pack.bodies])?;
        }
        for repeat in &draft.repeats {
            let digest = repeat.digest.as_slice();
            run(sql::REPEAT_WRITE, params![topic, repeat.id.as_str(), repeat.until.as_nanos(), digest])?;
        }
        for (key, position) in &draft.schedules {
            run(sql::SCHEDULE_WRITE, params![topic, key.as_str(), position.cast_signed()])?;
        }
        if let Some((_, saved)) = saved {
            run(sql::SAVED_WRITE, params![topic, number, saved])?;
            run(sql::STEP_TIDY, params![topic, number])?;
        }
        Ok(())
    }

    /// Deletes what nobody will ask for any more, a bounded part of it.
    pub(super) fn tidy(&self, topic: i64, first: u64, now: Timestamp, max: i64) -> Result<(), Error> {
        let tidy = || {
            let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| self.connection.prepare_cached(sql)?.execute(values);
            run(sql::PACK_TIDY, params![place(topic, 0), place(topic, first), max])?;
            run(sql::SCHEDULE_TIDY, params![topic, first.cast_signed()])?;
            run(sql::REPEAT_TIDY, params![now.as_nanos(), max, topic])
        };
        tidy().map(drop).map_err(failed("deleting what is done"))
    }
}

impl Medium for InFile<'_> {
    async fn lock(&mut self, _: i64) -> Result<bool, Error> {
        // The file is this process's alone.
        Ok(true)
    }

    async fn steps(&mut self, topic: i64, from: u64) -> Result<Vec<Step>, Error> {
        let max = i64::try_from(STEPS).unwrap_or(i64::MAX);
        self.list(sql::STEPS, params![topic, from.cast_signed(), max], |row| {
            Ok(Step {
                number: row.get::<_, i64>(0)?.cast_unsigned(),
                nonce: row.get::<_, i64>(1)?.cast_unsigned(),
                at: Timestamp::from_nanos(row.get(2)?),
                body: row.get(3)?,
            })
        })
    }

    async fn saved(&mut self, topic: i64) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql::SAVED)?;
            statement.query_row([topic], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))).optional()
        };
        read().map_err(failed("reading a saved topic"))
    }

    async fn briefs(&mut self, topic: i64, from: u64, until: u64) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let max = i64::try_from(PACKS).unwrap_or(i64::MAX);
        let values = params![place(topic, from), place(topic, until), max, place(topic, 0)];
        self.list(sql::BRIEFS, values, |row| Ok((position(row.get(0)?), row.get(1)?)))
    }

    async fn packs(&mut self, topic: i64, firsts: &[u64]) -> Result<Vec<Pack>, Error> {
        let places = array(firsts.iter().map(|first| place(topic, *first)));
        self.list(sql::PACKS, params![places], |row| {
            Ok(Pack { first: position(row.get(0)?), briefs: row.get(1)?, bodies: row.get(2)? })
        })
    }

    async fn repeats(
        &mut self,
        topic: i64,
        ids: &[DedupeId],
        now: Timestamp,
    ) -> Result<Vec<(DedupeId, [u8; 32])>, Error> {
        let ids = array(ids.iter().map(|id| id.to_string()));
        let found = self.list(sql::REPEATS, params![topic, ids, now.as_nanos()], |row| {
            Ok((name(row.get(0)?, |text| DedupeId::new(text))?, row.get(1)?))
        })?;
        Ok(found.into_iter().filter_map(|(id, digest)| Some((id?, digest))).collect())
    }

    async fn scheduled(&mut self, topic: i64, keys: &[ScheduleKey]) -> Result<Vec<(ScheduleKey, u64)>, Error> {
        let keys = array(keys.iter().map(|key| key.to_string()));
        let found = self.list(sql::SCHEDULED, params![topic, keys], |row| {
            let key = name(row.get(0)?, |text| ScheduleKey::new(text))?;
            Ok((key, row.get::<_, i64>(1)?.cast_unsigned()))
        })?;
        Ok(found.into_iter().filter_map(|(key, position)| Some((key?, position))).collect())
    }

    async fn write(&mut self, written: Written<'_>) -> Result<(), Error> {
        self.put(&written).map_err(failed("writing a step"))
    }
}
