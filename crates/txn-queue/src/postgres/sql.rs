//! All SQL of this backend.

use sha2::{Digest, Sha256};

use crate::{
    durable::{medium::STEPS, step::Step},
    error::{Error, ErrorKind},
};

/// Bytes of a schema's name, at most: PostgreSQL cuts names at 63 bytes without a word, and names of ours are made from this one.
const NAME_MAX: usize = 31;

/// The format that this build writes.
pub(super) const FORMAT: i32 = 1;

/// The statements, over one schema.
#[derive(Debug)]
pub(super) struct Sql {
    /// The channel on which steps are told.
    pub(super) channel: String,
    /// The locks of the topics count up from here.
    locks: i64,
    /// And those of leases from here.
    lease_locks: i64,
    pub(super) setup: [String; 2],
    pub(super) has_format: String,
    pub(super) format: String,
    pub(super) format_write: String,
    pub(super) topology: String,
    pub(super) topology_write: String,
    pub(super) topology_tidy: String,
    /// What every session prepares.
    pub(super) prepare: String,
    pub(super) steps: String,
    pub(super) step_at: String,
    pub(super) packs_write: String,
    pub(super) step_tidy: String,
    pub(super) saved: String,
    pub(super) saved_write: String,
    pub(super) briefs: String,
    pub(super) packs: String,
    pub(super) oldest: String,
    pub(super) packs_tidy: String,
    pub(super) repeats: String,
    pub(super) repeats_write: String,
    pub(super) repeats_tidy: String,
    pub(super) scheduled: String,
    pub(super) schedules_write: String,
    pub(super) schedules_tidy: String,
    pub(super) ticket: String,
    pub(super) ticket_mend: String,
    pub(super) host_publish: String,
    pub(super) host_settle: String,
    pub(super) hosted: String,
    pub(super) refuse: String,
    pub(super) refused: String,
    pub(super) refused_tidy: String,
}

/// Packs of messages, steps and dedupe ids are only ever added, and deleted in the order of their age when they are of no use any more. Nothing is updated: an old snapshot that is held
/// open keeps what was deleted from being vacuumed, but no statement walks over it, since all begin behind it.
const SETUP: &str = "
    CREATE TABLE IF NOT EXISTS {s}.format (version int PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS {s}.topology (
        version bigint PRIMARY KEY,
        json text NOT NULL
    );
    CREATE TABLE IF NOT EXISTS {s}.step (
        topic bigint NOT NULL,
        number bigint NOT NULL,
        nonce bigint NOT NULL,
        at bigint NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (topic, number)
    );
    CREATE TABLE IF NOT EXISTS {s}.saved (
        topic bigint NOT NULL,
        number bigint NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (topic, number)
    );
    -- Messages that were added together: what is decided by, and the rest.
    CREATE TABLE IF NOT EXISTS {s}.pack (
        topic bigint NOT NULL,
        first bigint NOT NULL,
        briefs bytea NOT NULL,
        bodies bytea NOT NULL,
        PRIMARY KEY (topic, first)
    );
    ALTER TABLE {s}.pack ALTER COLUMN bodies SET STORAGE EXTERNAL;
    CREATE TABLE IF NOT EXISTS {s}.repeat (
        topic bigint NOT NULL,
        until bigint NOT NULL,
        id text COLLATE \"C\" NOT NULL,
        digest bytea NOT NULL,
        PRIMARY KEY (topic, id, until)
    );
    CREATE INDEX IF NOT EXISTS repeat_until ON {s}.repeat (topic, until);
    CREATE TABLE IF NOT EXISTS {s}.schedule (
        topic bigint NOT NULL,
        position bigint NOT NULL,
        key text COLLATE \"C\" NOT NULL,
        PRIMARY KEY (topic, key, position)
    );
    CREATE INDEX IF NOT EXISTS schedule_position ON {s}.schedule (topic, position);
    -- What hosts' transactions bring; the next turn of the topic takes it away.
    CREATE SEQUENCE IF NOT EXISTS {s}.ticket;
    CREATE TABLE IF NOT EXISTS {s}.hosted (
        topic bigint NOT NULL,
        ticket bigint NOT NULL,
        group_name text,
        head text,
        data bytea NOT NULL,
        PRIMARY KEY (topic, ticket)
    );
    CREATE INDEX IF NOT EXISTS hosted_ticket ON {s}.hosted (ticket);
    -- Messages that hosts have committed and that could not be taken, with the reason.
    CREATE TABLE IF NOT EXISTS {s}.refused (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        topic text NOT NULL,
        reason text NOT NULL,
        head text NOT NULL,
        data bytea NOT NULL
    );
";

/// What a turn begins and ends with. Executed in one message with what locks and commits, so that a turn that publishes nothing asks the server twice.
const PREPARE: &str = "
    PREPARE txn_look (bigint, bigint, bigint) AS
        SELECT t.version, t.now, t.oldest, t.next, t.ticket, s.number, s.nonce, s.at, s.body
        FROM (SELECT coalesce((SELECT max(version) FROM {s}.topology), 0) AS version, {now} AS now,
            pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest,
            pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next,
            (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {s}.ticket) AS ticket) t
        LEFT JOIN LATERAL (SELECT number, nonce, at, body FROM {s}.step
            WHERE topic = $1 AND number >= $2 ORDER BY number LIMIT $3) s ON true
        ORDER BY s.number;
    PREPARE txn_step (bigint, bigint, bigint, bigint, bytea) AS
        INSERT INTO {s}.step (topic, number, nonce, at, body) VALUES ($1, $2, $3, $4, $5);
";

/// The server's time in nanoseconds, as far as it tells them.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000";

impl Sql {
    pub(super) fn new(name: &str) -> Result<Self, Error> {
        let is_valid = (1..=NAME_MAX).contains(&name.len())
            && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.starts_with("pg_");
        if !is_valid {
            let context = format!(
                "{name:?} cannot name a schema: 1 to {NAME_MAX} of a-z, 0-9 and _ are allowed, no digit and no pg_ in front"
            );
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        let schema = format!("\"{name}\"");
        let sql = |text: &str| text.replace("{s}", &schema).replace("{now}", NOW);
        let digest = Sha256::digest(format!("txn/queue/{name}"));
        Ok(Self {
            channel: format!("{name}_queue"),
            locks: digest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes)),
            lease_locks: digest.last_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes)),
            setup: [sql("CREATE SCHEMA IF NOT EXISTS {s}"), sql(SETUP)],
            has_format: format!("SELECT to_regclass('{schema}.format') IS NOT NULL"),
            format: sql("SELECT max(version) FROM {s}.format"),
            format_write: sql("INSERT INTO {s}.format (version) VALUES ($1)"),
            topology: sql("SELECT json FROM {s}.topology ORDER BY version DESC LIMIT 1"),
            topology_write: sql("INSERT INTO {s}.topology (version, json) VALUES ($1, $2)"),
            topology_tidy: sql("DELETE FROM {s}.topology WHERE version < $1"),
            prepare: sql(PREPARE),
            steps: sql("SELECT number, nonce, at, body FROM {s}.step WHERE topic = $1 AND number >= $2
                ORDER BY number LIMIT $3"),
            step_at: sql("SELECT nonce FROM {s}.step WHERE topic = $1 AND number = $2"),
            packs_write: sql("INSERT INTO {s}.pack (topic, first, briefs, bodies)
                SELECT $1, * FROM unnest($2::bigint[], $3::bytea[], $4::bytea[])"),
            step_tidy: sql("DELETE FROM {s}.step WHERE topic = $1 AND number < $2 AND number >= $3"),
            saved: sql("SELECT number, body FROM {s}.saved WHERE topic = $1 ORDER BY number DESC LIMIT 1"),
            saved_write: sql("WITH old AS (DELETE FROM {s}.saved WHERE topic = $1 AND number < $2 AND number >= $4)
                INSERT INTO {s}.saved (topic, number, body) VALUES ($1, $2, $3)"),
            briefs: sql("SELECT first, briefs FROM {s}.pack WHERE topic = $1 AND first < $3 AND first >= coalesce(
                    (SELECT max(first) FROM {s}.pack WHERE topic = $1 AND first <= $2), $2)
                ORDER BY first LIMIT $4"),
            packs: sql("SELECT first, briefs, bodies FROM {s}.pack WHERE topic = $1 AND first = ANY($2)"),
            oldest: sql("SELECT least((SELECT min(first) FROM {s}.pack WHERE topic = $1),
                (SELECT min(position) FROM {s}.schedule WHERE topic = $1))"),
            packs_tidy: sql("DELETE FROM {s}.pack WHERE topic = $1 AND first < $2 AND first >= $3
                AND EXISTS (SELECT 1 FROM {s}.saved WHERE topic = $1 AND number >= $4)"),
            // One by one through the primary key: a plan that is made while the table is empty would go through all that is remembered, by its end.
            repeats: sql("SELECT asked.id, r.digest FROM unnest($2::text[]) AS asked (id) CROSS JOIN LATERAL (
                SELECT digest FROM {s}.repeat WHERE topic = $1 AND id = asked.id AND until + 0 > $3 OFFSET 0) r"),
            repeats_write: sql("INSERT INTO {s}.repeat (topic, until, id, digest)
                SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::bytea[])"),
            repeats_tidy: sql("WITH old AS MATERIALIZED (SELECT ctid, until FROM {s}.repeat
                    WHERE topic = $4 AND until <= $1 AND until >= $3 ORDER BY until LIMIT $2),
                gone AS (DELETE FROM {s}.repeat WHERE ctid = ANY(ARRAY(SELECT ctid FROM old)))
                SELECT max(until) FROM old"),
            scheduled: sql("SELECT asked.key, s.position FROM unnest($2::text[]) AS asked (key) CROSS JOIN LATERAL (
                SELECT max(position + 0) AS position FROM {s}.schedule WHERE topic = $1 AND key = asked.key) s
                WHERE s.position IS NOT NULL"),
            schedules_write: sql("INSERT INTO {s}.schedule (topic, position, key)
                SELECT $1, * FROM unnest($2::bigint[], $3::text[])"),
            // Whoever draws a ticket has a transaction's number before.
            ticket: sql("WITH me AS MATERIALIZED (SELECT pg_current_xact_id() AS id)
                SELECT nextval('{s}.ticket') FROM me WHERE me.id IS NOT NULL"),
            // Logical replication carries no sequences: a server that has taken over would give tickets a second time.
            ticket_mend: sql("SELECT setval('{s}.ticket', given.last) FROM {s}.ticket,
                    (SELECT ticket AS last FROM {s}.hosted ORDER BY ticket DESC LIMIT 1) AS given
                WHERE given.last > CASE WHEN is_called THEN last_value ELSE 0 END"),
            host_publish: sql("WITH me AS MATERIALIZED (SELECT pg_current_xact_id() AS id)
                INSERT INTO {s}.hosted (topic, ticket, head, data)
                SELECT given.topic, nextval('{s}.ticket'), given.head, given.data
                FROM me, unnest($1::bigint[], $2::text[], $3::bytea[]) WITH ORDINALITY AS given (topic, head, data, nth)
                WHERE me.id IS NOT NULL ORDER BY given.nth"),
            host_settle: sql("WITH me AS MATERIALIZED (SELECT pg_current_xact_id() AS id)
                INSERT INTO {s}.hosted (topic, ticket, group_name, data)
                SELECT $1, nextval('{s}.ticket'), $2, $3 FROM me WHERE me.id IS NOT NULL"),
            hosted: sql("WITH gone AS (DELETE FROM {s}.hosted WHERE topic = $1 AND ticket = ANY(ARRAY(
                    SELECT ticket FROM {s}.hosted WHERE topic = $1 AND ticket >= $2 ORDER BY ticket LIMIT $3))
                    RETURNING ticket, group_name, head, data)
                SELECT ticket, group_name, head, data FROM gone ORDER BY ticket"),
            refuse: sql("INSERT INTO {s}.refused (topic, reason, head, data) VALUES ($1, $2, $3, $4)"),
            schedules_tidy: sql("DELETE FROM {s}.schedule WHERE topic = $1 AND position < $2 AND position >= $3
                AND EXISTS (SELECT 1 FROM {s}.saved WHERE topic = $1 AND number >= $4)"),
            refused: sql(
                "SELECT id, (extract(epoch FROM at) * 1000000)::bigint, topic, reason, head, data FROM {s}.refused
                WHERE id > $1 ORDER BY id LIMIT $2",
            ),
            refused_tidy: sql("DELETE FROM {s}.refused WHERE id = ANY($1)"),
        })
    }

    /// Begins, and waits for the locks, always in the same order.
    pub(super) fn begin(&self, topics: impl Iterator<Item = i64>) -> String {
        let mut sorted: Vec<i64> = topics.map(|topic| self.lock(topic)).collect();
        sorted.sort_unstable();
        let mut text = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
        for lock in sorted {
            text.push_str(&format!("; SELECT pg_advisory_xact_lock({lock})"));
        }
        text
    }

    /// Asks what time it is, which topology there is, and for the steps of a topic from a number on.
    pub(super) fn look(topic: i64, from: u64) -> String {
        format!("EXECUTE txn_look ({topic}, {}, {STEPS})", from.cast_signed())
    }

    /// Writes a step.
    pub(super) fn step(topic: i64, step: &Step) -> String {
        let Step { number, nonce, at, body } = step;
        let (number, nonce, at) = (number.cast_signed(), nonce.cast_signed(), at.as_nanos());
        let mut text = format!("EXECUTE txn_step ({topic}, {number}, {nonce}, {at}, '\\x");
        text.reserve(body.len().saturating_mul(2));
        for byte in body {
            for half in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(half.into(), 16));
            }
        }
        text.push_str("')");
        text
    }

    /// The number of the lock of a lease's token.
    pub(super) const fn lease_lock(&self, token: u64) -> i64 {
        self.lease_locks.wrapping_add(token.cast_signed())
    }

    /// The number of a topic's lock; 0 is the topology's.
    pub(super) const fn lock(&self, topic: i64) -> i64 {
        self.locks.wrapping_add(topic)
    }
}
