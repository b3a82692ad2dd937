//! Steps and messages in one schema, which other processes share.

use std::{ops::Range, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, PgConnection, Row as _,
    postgres::{PgArguments, PgRow},
    query::Query,
    raw_sql,
};
use txn_change::Timestamp;

use super::{
    Shared,
    connect::{failed, within},
    host,
    sql::Sql,
};
use crate::{
    durable::{
        declared::Declared,
        medium::{FromHost, HOSTED, Medium, PACKS, STEPS, Written},
        pack::Pack,
        replica::Replica,
        step::Step,
    },
    error::{Error, ErrorKind},
    message::Message,
    name::{DedupeId, GroupName, ScheduleKey, Topic},
    queue::Refusal,
};

/// One transaction of a session.
pub(super) struct InSession<'c> {
    pub(super) connection: &'c mut PgConnection,
    shared: &'c Shared,
    sql: &'c Sql,
    answer_max: Duration,
    pub(super) declared: Arc<Declared>,
    /// Steps of one topic that were read with the time.
    pub(super) looked: Option<(i64, u64, Vec<Step>)>,
    /// What is yet to be executed, with the COMMIT.
    pub(super) end: String,
    /// The last ticket that a host has drawn; 0 when none ever has.
    pub(super) ticket: i64,
}

/// What the first look of a turn sees.
pub(super) struct Looked {
    pub(super) version: u64,
    pub(super) now: Timestamp,
    /// The oldest transaction that is open, and the next to begin.
    pub(super) oldest: u64,
    pub(super) next: u64,
}

type Asked<'q> = Query<'q, sqlx::Postgres, PgArguments>;

/// In the order of the locks. Each is given back at once: as many as a group may have in flight would not find room in the server's memory, and whoever takes one later asks about the lease, and waits for this
/// transaction to hear that it has ended.
const SECURE: &str = "SELECT CASE WHEN pg_try_advisory_lock(lock) THEN pg_advisory_unlock(lock) ELSE false END
    FROM unnest($1::bigint[]) WITH ORDINALITY AS given (lock, nth) ORDER BY nth";

pub(super) fn ask(sql: &str) -> Asked<'_> {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
}

/// Bytes of packs in a statement, after which no further one is added.
const PART: usize = 16 << 20;

fn read_step(row: &PgRow, at: usize) -> sqlx::Result<Step> {
    Ok(Step {
        number: row.try_get::<i64, _>(at)?.cast_unsigned(),
        nonce: row.try_get::<i64, _>(at.saturating_add(1))?.cast_unsigned(),
        at: Timestamp::from_nanos(row.try_get(at.saturating_add(2))?),
        body: row.try_get(at.saturating_add(3))?,
    })
}

/// Packs that are written with one statement, each part of about [`PART`] bytes: the server takes less than a gigabyte at once.
fn parts(mut packs: &[Pack]) -> Vec<&[Pack]> {
    let mut parts = Vec::new();
    while !packs.is_empty() {
        let mut bytes = 0usize;
        let count = packs.iter().take_while(|pack| {
            let fits = bytes < PART;
            bytes = bytes.saturating_add(pack.briefs.len()).saturating_add(pack.bodies.len());
            fits
        });
        let (part, rest) = packs.split_at(count.count());
        parts.push(part);
        packs = rest;
    }
    parts
}

/// A name that was checked when it was written.
fn name<T>(text: Option<&str>, new: impl Fn(&str) -> Result<T, txn_change::NameError>) -> sqlx::Result<Option<T>> {
    text.map(|text| new(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))).transpose()
}

impl<'c> InSession<'c> {
    pub(super) fn new(connection: &'c mut PgConnection, shared: &'c Shared, declared: Arc<Declared>) -> Self {
        let Shared { sql, answer_max, .. } = shared;
        Self { connection, shared, sql, answer_max: *answer_max, declared, looked: None, end: String::new(), ticket: 0 }
    }

    fn topic_of(&self, id: i64) -> Result<Topic, Error> {
        let found = self.declared.topics.iter().find(|(_, known)| **known == id);
        let found = found.map(|(topic, _)| topic.clone());
        found.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("there is no topic of the number {id}")))
    }

    async fn list<T>(
        &mut self,
        doing: &'static str,
        asked: Asked<'_>,
        read: impl Fn(&PgRow) -> sqlx::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let rows = within(self.answer_max, asked.fetch_all(&mut *self.connection)).await.map_err(failed(doing))?;
        rows.iter().map(read).collect::<sqlx::Result<Vec<T>>>().map_err(failed(doing))
    }

    pub(super) async fn run(&mut self, doing: &'static str, asked: Asked<'_>) -> Result<u64, Error> {
        let done = within(self.answer_max, asked.execute(&mut *self.connection)).await.map_err(failed(doing))?;
        Ok(done.rows_affected())
    }

    /// Begins, in these words, and looks: what time it is, which topology there is, and what was done to one topic lately.
    pub(super) async fn begin(&mut self, begin: String, topic: i64, from: u64) -> Result<Looked, Error> {
        let doing = "beginning and looking at a topic";
        let text = format!("{begin}; {}", Sql::look(topic, from));
        let asked = raw_sql(AssertSqlSafe(text)).fetch_all(&mut *self.connection);
        let rows = within(self.answer_max, asked).await.map_err(failed(doing))?;
        let (mut looked, mut steps) = (None, Vec::new());
        // What locks returns rows, too: of one column.
        for row in rows.iter().filter(|row| row.len() > 1) {
            let mut read = || {
                let number = |at: usize| row.try_get::<i64, _>(at);
                let (oldest, next) = (number(2)?.cast_unsigned(), number(3)?.cast_unsigned());
                let (version, now) = (number(0)?.cast_unsigned(), Timestamp::from_nanos(number(1)?));
                looked = Some(Looked { version, now, oldest, next });
                self.ticket = number(4)?;
                if row.try_get::<Option<i64>, _>(5)?.is_some() {
                    steps.push(read_step(row, 5)?);
                }
                Ok(())
            };
            read().map_err(failed(doing))?;
        }
        self.looked = Some((topic, from, steps));
        looked.ok_or_else(|| Error::new(ErrorKind::Corrupt, "the server did not tell its time"))
    }

    /// Where the first message of a topic stands that is stored, or the first schedule key.
    pub(super) async fn oldest(&mut self, topic: i64) -> Result<u64, Error> {
        let sql = self.sql;
        let found =
            self.list("looking for messages", ask(&sql.oldest).bind(topic), |row| row.try_get::<Option<i64>, _>(0));
        Ok(found.await?.into_iter().flatten().next().map_or(u64::MAX, i64::cast_unsigned))
    }

    /// Deletes what nobody will ask for any more since the state after the step `saved` was saved: messages in a range of places, and dedupe ids that have ended at `repeats` or later. Returns when the last of these
    /// ended. Nothing is locked, and the database may be an older one by now, which was restored: it does not know that state, and needs them.
    pub(super) async fn tidy(
        &mut self,
        topic: i64,
        saved: u64,
        range: Range<u64>,
        repeats: Timestamp,
        now: Timestamp,
    ) -> Result<Timestamp, Error> {
        let sql = self.sql;
        let (first, until, saved) = (range.start.cast_signed(), range.end.cast_signed(), saved.cast_signed());
        self.run("deleting messages", ask(&sql.packs_tidy).bind(topic).bind(until).bind(first).bind(saved)).await?;
        self.run("deleting schedule keys", ask(&sql.schedules_tidy).bind(topic).bind(until).bind(first).bind(saved))
            .await?;
        let max = until.saturating_sub(first);
        let asked = ask(&sql.repeats_tidy).bind(now.as_nanos()).bind(max).bind(repeats.as_nanos()).bind(topic);
        let ended = self.list("deleting dedupe ids", asked, |row| row.try_get::<Option<i64>, _>(0)).await?;
        Ok(ended.into_iter().flatten().next().map_or(repeats, Timestamp::from_nanos))
    }
}

impl Medium for InSession<'_> {
    async fn lock(&mut self, topic: i64) -> Result<bool, Error> {
        let asked = ask("SELECT pg_try_advisory_xact_lock($1)").bind(self.sql.lock(topic));
        let locked = self.list("locking a topic", asked, |row| row.try_get::<bool, _>(0)).await?;
        Ok(locked.first().copied().unwrap_or(false))
    }

    fn known(&mut self, topic: &Topic) -> Option<Replica> {
        self.shared.state().replicas.remove(topic)
    }

    async fn steps(&mut self, topic: i64, from: u64) -> Result<Vec<Step>, Error> {
        if let Some((_, _, steps)) = self.looked.take_if(|(known, start, _)| (*known, *start) == (topic, from)) {
            return Ok(steps);
        }
        let max = i64::try_from(STEPS).unwrap_or(i64::MAX);
        let sql = self.sql;
        let asked = ask(&sql.steps).bind(topic).bind(from.cast_signed()).bind(max);
        self.list("reading steps", asked, |row| read_step(row, 0)).await
    }

    async fn saved(&mut self, topic: i64) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let sql = self.sql;
        let read = |row: &PgRow| Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get(1)?));
        Ok(self.list("reading a saved topic", ask(&sql.saved).bind(topic), read).await?.pop())
    }

    async fn briefs(&mut self, topic: i64, from: u64, until: u64) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let sql = self.sql;
        let max = i64::try_from(PACKS).unwrap_or(i64::MAX);
        let asked = ask(&sql.briefs).bind(topic).bind(from.cast_signed()).bind(until.cast_signed()).bind(max);
        let read = |row: &PgRow| Ok((row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get(1)?));
        self.list("reading messages", asked, read).await
    }

    async fn packs(&mut self, topic: i64, firsts: &[u64]) -> Result<Vec<Pack>, Error> {
        let sql = self.sql;
        let firsts: Vec<i64> = firsts.iter().map(|first| first.cast_signed()).collect();
        self.list("reading messages", ask(&sql.packs).bind(topic).bind(firsts), |row| {
            let first = row.try_get::<i64, _>(0)?.cast_unsigned();
            Ok(Pack { first, briefs: row.try_get(1)?, bodies: row.try_get(2)? })
        })
        .await
    }

    async fn repeats(
        &mut self,
        topic: i64,
        ids: &[DedupeId],
        now: Timestamp,
    ) -> Result<Vec<(DedupeId, [u8; 32])>, Error> {
        let sql = self.sql;
        let ids: Vec<&str> = ids.iter().map(DedupeId::as_str).collect();
        let asked = ask(&sql.repeats).bind(topic).bind(ids).bind(now.as_nanos());
        let found = self.list("reading dedupe ids", asked, |row| {
            let digest = <[u8; 32]>::try_from(row.try_get::<&[u8], _>(1)?);
            let digest = digest.map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok((name(row.try_get(0)?, |text| DedupeId::new(text))?, digest))
        });
        Ok(found.await?.into_iter().filter_map(|(id, digest)| Some((id?, digest))).collect())
    }

    async fn scheduled(&mut self, topic: i64, keys: &[ScheduleKey]) -> Result<Vec<(ScheduleKey, u64)>, Error> {
        let sql = self.sql;
        let keys: Vec<&str> = keys.iter().map(ScheduleKey::as_str).collect();
        let asked = ask(&sql.scheduled).bind(topic).bind(keys);
        let found = self.list("reading schedule keys", asked, |row| {
            let key = name(row.try_get(0)?, |text| ScheduleKey::new(text))?;
            Ok((key, row.try_get::<i64, _>(1)?.cast_unsigned()))
        });
        Ok(found.await?.into_iter().filter_map(|(key, position)| Some((key?, position))).collect())
    }

    async fn secure(&mut self, tokens: &[u64]) -> Result<Vec<(u64, bool)>, Error> {
        if self.ticket == 0 {
            // No host has ever settled anything, and whoever begins to will find the leases ended.
            return Ok(Vec::new());
        }
        let locks: Vec<i64> = tokens.iter().map(|token| self.sql.lease_lock(*token)).collect();
        let asked = ask(SECURE).bind(locks);
        let secured = self.list("locking leases", asked, |row| row.try_get::<bool, _>(0)).await?;
        Ok(tokens.iter().copied().zip(secured).collect())
    }

    async fn hosted(&mut self, topic: i64, from: i64) -> Result<Vec<FromHost>, Error> {
        if self.ticket == 0 || self.ticket < from {
            return Ok(Vec::new());
        }
        let sql = self.sql;
        let max = i64::try_from(HOSTED).unwrap_or(i64::MAX);
        let asked = ask(&sql.hosted).bind(topic).bind(from).bind(max);
        let rows = self.list("reading what hosts did", asked, |row| {
            let group = name(row.try_get(1)?, |text| GroupName::new(text))?;
            Ok((group, row.try_get::<Option<String>, _>(2)?, row.try_get::<Vec<u8>, _>(3)?))
        });
        let mut done = Vec::new();
        for (group, head, data) in rows.await? {
            host::read(&mut done, self.topic_of(topic)?, group, head, data)?;
        }
        Ok(done)
    }

    async fn refuse(&mut self, topic: i64, message: &Message, refusal: &Refusal) -> Result<(), Error> {
        let sql = self.sql;
        let topic = self.topic_of(topic)?.to_string();
        let asked = ask(&sql.refuse).bind(topic).bind(refusal.to_string());
        let asked = asked.bind(message.to_head()).bind(message.data.to_vec());
        self.run("keeping what cannot be", asked).await.map(drop)
    }

    async fn write(&mut self, written: Written<'_>) -> Result<(), Error> {
        let Written { topic, step, draft, packs, saved } = written;
        let sql = self.sql;
        let number = step.number.cast_signed();
        self.end.push_str(&Sql::step(topic, &step));
        self.end.push_str("; ");
        for packs in parts(&packs) {
            let firsts: Vec<i64> = packs.iter().map(|pack| pack.first.cast_signed()).collect();
            let briefs: Vec<&[u8]> = packs.iter().map(|pack| pack.briefs.as_slice()).collect();
            let bodies: Vec<&[u8]> = packs.iter().map(|pack| pack.bodies.as_slice()).collect();
            let asked = ask(&sql.packs_write).bind(topic).bind(firsts).bind(briefs).bind(bodies);
            self.run("writing messages", asked).await?;
        }
        if !draft.repeats.is_empty() {
            let until: Vec<i64> = draft.repeats.iter().map(|repeat| repeat.until.as_nanos()).collect();
            let ids: Vec<&str> = draft.repeats.iter().map(|repeat| repeat.id.as_str()).collect();
            let digests: Vec<&[u8]> = draft.repeats.iter().map(|repeat| repeat.digest.as_slice()).collect();
            let asked = ask(&sql.repeats_write).bind(topic).bind(until).bind(ids).bind(digests);
            self.run("writing dedupe ids", asked).await?;
        }
        if !draft.schedules.is_empty() {
            let positions: Vec<i64> = draft.schedules.iter().map(|(_, position)| position.cast_signed()).collect();
            let keys: Vec<&str> = draft.schedules.iter().map(|(key, _)| key.as_str()).collect();
            self.run("writing schedule keys", ask(&sql.schedules_write).bind(topic).bind(positions).bind(keys)).await?;
        }
        if let Some((before, saved)) = saved {
            let before = before.cast_signed();
            let asked = ask(&sql.saved_write).bind(topic).bind(number).bind(saved).bind(before);
            self.run("saving a topic", asked).await?;
            self.run("deleting steps", ask(&sql.step_tidy).bind(topic).bind(number).bind(before)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of tests")]
mod tests {
    use super::*;

    #[test]
    fn packs_are_written_in_parts_in_their_order() {
        assert!(parts(&[]).is_empty());
        let sizes = [PART + 1, 1, PART - 1, 1, 2];
        let pack = |(first, size): (u64, &usize)| Pack { first, briefs: Vec::new(), bodies: vec![0; *size] };
        let packs: Vec<Pack> = (0..).zip(&sizes).map(pack).collect();
        let parts = parts(&packs);
        let firsts: Vec<Vec<u64>> = parts.iter().map(|part| part.iter().map(|pack| pack.first).collect()).collect();
        assert_eq!(firsts, [vec![0], vec![1, 2], vec![3, 4]]);
    }
}
