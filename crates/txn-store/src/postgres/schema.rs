//! The schema: its name, its tables, and how it is brought up to date.

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, query, raw_sql};

use super::connect::failed;
use crate::error::{Error, ErrorKind};

/// The name of a schema: `[a-z_][a-z0-9_]{0,30}`. Nothing else gets into the text of a statement, and it is quoted there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schema(String);

/// Bytes of a name, at most: PostgreSQL cuts names at 63 bytes without a word, and names of ours are made from this one.
const NAME_MAX: usize = 31;

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, Error> {
        let is_valid = (1..=NAME_MAX).contains(&name.len())
            && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.starts_with("pg_");
        if is_valid {
            return Ok(Self(name.to_owned()));
        }
        let context = format!(
            "{name:?} cannot name a schema: 1 to {NAME_MAX} of a-z, 0-9 and _ are allowed, no digit and no pg_ in front"
        );
        Err(Error::new(ErrorKind::Invalid, context))
    }

    /// As it stands in statements.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// As it stands in the catalogue.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// The channel on which the end of the log is told.
    pub(super) fn channel(&self) -> String {
        format!("{}_log", self.0)
    }

    /// The number of the lock for something that only one session does at a time.
    pub(super) fn lock(&self, what: &str) -> i64 {
        let digest = Sha256::digest(format!("txn/{what}/{}", self.0));
        digest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }
}

/// The statements that lead from each version of the format to the next.
///
/// Choices that the text does not show:
///
/// - A group of changes has one `ticket`, drawn after its last lock; a change is (ticket, at). Tickets may be committed out of their order, and some are never seen. The sequencer
///   gives committed groups their place in `link`, once and for all.
/// - No row of the log is ever updated or deleted by a commit, so nothing there depends on vacuuming; the sequencer keeps what it has to remember in the row that it appends.
/// - Lanes are `numeric(39)`: 128 bits, and readable by people. SQL never computes with them.
/// - Counters are updated in place; the room that their pages keep free lets an update stay on its page and touch no index.
const MIGRATIONS: [&str; 1] = [r#"
CREATE TABLE $s.tenant(no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE CHECK (name <> ''));
CREATE TABLE $s.class(no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, spec text COLLATE "C" NOT NULL UNIQUE CHECK (spec <> ''));
CREATE SEQUENCE $s.ticket;
CREATE SEQUENCE $s.counter_no;
CREATE TABLE $s.change_group(
    ticket bigint PRIMARY KEY,
    recorded_at bigint NOT NULL,
    changes bigint NOT NULL CHECK (changes > 0),
    events bigint NOT NULL CHECK (events >= 0),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32)
);
CREATE TABLE $s.change(
    ticket bigint NOT NULL,
    at integer NOT NULL CHECK (at >= 0),
    tenant integer NOT NULL,
    entries integer NOT NULL CHECK (entries >= 0),
    events integer NOT NULL CHECK (events >= 0),
    schema integer NOT NULL,
    format smallint NOT NULL,
    recorded_at bigint NOT NULL,
    id text COLLATE "C" NOT NULL CHECK (id <> ''),
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    type text COLLATE "C" NOT NULL,
    answer bytea NOT NULL,
    passed bytea CHECK (octet_length(passed) = 32),
    PRIMARY KEY (ticket, at),
    CONSTRAINT change_once UNIQUE (tenant, id)
);
CREATE TABLE $s.record(
    tenant integer NOT NULL,
    schema integer NOT NULL,
    format smallint NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    key bytea NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 512),
    type text COLLATE "C" NOT NULL,
    terms bytea NOT NULL,
    body bytea NOT NULL,
    CONSTRAINT record_once PRIMARY KEY (tenant, key)
) WITH (fillfactor = 85);
CREATE TABLE $s.term(
    tenant integer NOT NULL,
    term bytea NOT NULL,
    key bytea NOT NULL,
    PRIMARY KEY (tenant, term, key)
);
CREATE TABLE $s.counter(
    no bigint PRIMARY KEY,
    tenant integer NOT NULL,
    class integer NOT NULL,
    status smallint NOT NULL CHECK (status BETWEEN 0 AND 2),
    version bigint NOT NULL CHECK (version > 0),
    sequence bigint NOT NULL CHECK (sequence >= 0),
    key bytea NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 512),
    unit text COLLATE "C" NOT NULL,
    guards text COLLATE "C" NOT NULL,
    l0 numeric(39) NOT NULL, l1 numeric(39) NOT NULL, l2 numeric(39) NOT NULL, l3 numeric(39) NOT NULL,
    CONSTRAINT counter_once UNIQUE (tenant, key)
) WITH (fillfactor = 85);
CREATE TABLE $s.entry(
    counter bigint NOT NULL,
    sequence bigint NOT NULL CHECK (sequence > 0),
    ticket bigint NOT NULL,
    at integer NOT NULL,
    ord integer NOT NULL,
    effective_at bigint NOT NULL,
    short boolean NOT NULL,
    label text COLLATE "C" NOT NULL,
    d0 numeric(39) NOT NULL, d1 numeric(39) NOT NULL, d2 numeric(39) NOT NULL, d3 numeric(39) NOT NULL,
    a0 numeric(39) NOT NULL, a1 numeric(39) NOT NULL, a2 numeric(39) NOT NULL, a3 numeric(39) NOT NULL,
    CONSTRAINT entry_once PRIMARY KEY (counter, sequence)
);
CREATE TABLE $s.event(
    ticket bigint NOT NULL,
    ord integer NOT NULL,
    at integer NOT NULL,
    tenant integer NOT NULL,
    schema integer NOT NULL,
    format smallint NOT NULL,
    fact text COLLATE "C",
    subject bytea,
    type text COLLATE "C" NOT NULL,
    terms bytea NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (ticket, ord)
);
CREATE UNIQUE INDEX fact_once ON $s.event(tenant, fact) WHERE fact IS NOT NULL;
CREATE TABLE $s.event_term(
    tenant integer NOT NULL,
    term bytea NOT NULL,
    ticket bigint NOT NULL,
    ord integer NOT NULL,
    PRIMARY KEY (tenant, term, ticket, ord)
);
CREATE TABLE $s.fence(
    tenant integer NOT NULL,
    name text COLLATE "C" NOT NULL,
    token bigint NOT NULL,
    CONSTRAINT fence_once PRIMARY KEY (tenant, name)
) WITH (fillfactor = 70);
CREATE TABLE $s.link(
    number bigint PRIMARY KEY CHECK (number > 0),
    ticket bigint NOT NULL UNIQUE,
    changes bigint NOT NULL,
    events bigint NOT NULL,
    position bigint NOT NULL,
    total bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    seen bigint,
    missing bigint[],
    noticed bigint[]
);
CREATE INDEX link_position ON $s.link(position);
CREATE TABLE $s.purge(what smallint PRIMARY KEY, until bigint NOT NULL, position bigint NOT NULL);
INSERT INTO $s.purge VALUES (0, 0, 0), (1, 0, 0);

-- Gives committed groups their places, as one link each, and says where the chain ends. One session at a time: others wait, or are told that it is busy.
--
-- The last link of every call holds what the next call needs: the highest ticket seen, and the tickets below it that were missing, each with a transaction number: when every transaction below that number
-- has ended and the ticket is still missing, its group was rolled back; unless this step was full, and the ticket only not looked at. When many are missing, only transactions that have drawn a ticket
-- count, so that one that writes elsewhere, in whatever database of the server, cannot make this grow: whoever draws locks the sequence first, and a transaction's end is visible before its locks are gone.
CREATE FUNCTION $s.chain(wait boolean, max_groups integer)
RETURNS TABLE(is_busy boolean, link_number bigint, link_hash bytea, link_position bigint, commits bigint, linked integer)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET lock_timeout = '30s' AS $body$
DECLARE
    l $s.link%ROWTYPE;
    g record;
    oldest bigint;
    newest bigint;
    was_seen bigint;
    tickets bigint[] := '{}';
    changes bigint[] := '{}';
    events bigint[] := '{}';
    positions bigint[] := '{}';
    totals bigint[] := '{}';
    hashes bytea[] := '{}';
    count integer := 0;
BEGIN
    IF wait THEN
        PERFORM pg_advisory_xact_lock($lock);
    ELSIF NOT pg_try_advisory_xact_lock($lock) THEN
        SELECT * INTO l FROM $s.link k ORDER BY k.number DESC LIMIT 1;
        RETURN QUERY SELECT true, coalesce(l.number, 0), coalesce(l.hash, decode(repeat('00', 32), 'hex')), coalesce(l.position, 0), coalesce(l.total, 0), 0;
        RETURN;
    END IF;
    SELECT * INTO l FROM $s.link k ORDER BY k.number DESC LIMIT 1;
    IF NOT FOUND THEN
        l.number := 0; l.position := 0; l.total := 0; l.hash := decode(repeat('00', 32), 'hex'); l.seen := 0; l.missing := '{}'; l.noticed := '{}';
    END IF;
    was_seen := l.seen;
    -- Before the groups are read: what has ended by now is visible then.
    oldest := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    IF cardinality(l.missing) >= 64 THEN
        newest := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
        -- Locks name a transaction by the low half of its number. One that may write, and whose number is not seen, may be any.
        SELECT greatest(oldest, coalesce(min(CASE WHEN h.may_draw THEN coalesce(h.xact, 0) ELSE h.xact END), 9223372036854775807)) INTO oldest
            FROM (
                SELECT min(newest + (k.transactionid::text::bigint - newest % 4294967296 + 6442450944) % 4294967296 - 2147483648) xact,
                    bool_or(k.locktype = 'relation') has_sequence, bool_or(k.locktype = 'relation' AND k.mode <> 'AccessShareLock') may_draw
                FROM pg_locks k
                WHERE k.granted AND (k.locktype = 'transactionid' AND k.mode = 'ExclusiveLock' OR k.locktype = 'relation'
                    AND k.relation = '$s.ticket'::regclass AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
                GROUP BY k.virtualtransaction
            ) h WHERE h.has_sequence;
    END IF;
    FOR g IN
        SELECT * FROM $s.change_group c WHERE c.ticket = ANY(l.missing)
        UNION ALL
        SELECT * FROM $s.change_group c WHERE c.ticket > l.seen
        ORDER BY ticket LIMIT max_groups
    LOOP
        count := count + 1;
        l.number := l.number + 1;
        l.position := l.position + g.events;
        l.total := l.total + g.changes;
        l.hash := sha256(l.hash || int8send(l.number) || int8send(g.changes) || int8send(g.events) || g.digest);
        l.seen := greatest(l.seen, g.ticket);
        tickets := tickets || g.ticket;
        changes := changes || g.changes;
        events := events || g.events;
        positions := positions || l.position;
        totals := totals || l.total;
        hashes := hashes || l.hash;
    END LOOP;
    IF count > 0 THEN
        -- Drawn after the groups are read: whoever drew a ticket below the highest had a number before, and so a lower one. The end of a snapshot would not do: a transaction that runs may be at it, or behind.
        newest := pg_current_xact_id()::text::bigint;
        SELECT coalesce(array_agg(m.ticket ORDER BY m.ticket), '{}'), coalesce(array_agg(m.noticed ORDER BY m.ticket), '{}')
            INTO l.missing, l.noticed
            FROM (
                SELECT u.ticket, u.noticed FROM unnest(l.missing, l.noticed) u(ticket, noticed) WHERE u.noticed > oldest OR count = max_groups
                UNION ALL
                SELECT n, newest FROM generate_series(was_seen + 1, l.seen) n
            ) m WHERE m.ticket <> ALL(tickets);
        INSERT INTO $s.link(number, ticket, changes, events, position, total, hash, seen, missing, noticed)
            SELECT l.number - count + u.i, u.ticket, u.changes, u.events, u.position, u.total, u.hash,
                CASE WHEN u.i = count THEN l.seen END, CASE WHEN u.i = count THEN l.missing END, CASE WHEN u.i = count THEN l.noticed END
            FROM unnest(tickets, changes, events, positions, totals, hashes) WITH ORDINALITY u(ticket, changes, events, position, total, hash, i);
        PERFORM pg_notify('$channel', l.position::text);
    END IF;
    RETURN QUERY SELECT false, l.number, l.hash, l.position, l.total, count;
END
$body$;

-- The latest time of a commit, as of this very moment: a statement that has waited for a lock does not see by itself what it waited for.
CREATE FUNCTION $s.latest() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $body$
DECLARE
    latest bigint;
BEGIN
    SELECT max(g.recorded_at) INTO latest FROM (SELECT recorded_at FROM $s.change_group ORDER BY ticket DESC LIMIT 64) g;
    RETURN coalesce(latest, -9223372036854775808);
END
$body$;

-- Keeps keys absent to the end of a transaction: writes them and takes them away again, in the order of the lists. False when one was there.
CREATE FUNCTION $s.keep_absent(record_tenants integer[], record_keys bytea[], counter_tenants integer[], counter_keys bytea[])
RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $body$
DECLARE
    numbers integer[];
    keys bytea[];
    were_absent boolean;
BEGIN
    WITH put AS (
        INSERT INTO $s.record(tenant, schema, format, version, key, type, terms, body)
            SELECT u.tenant, 0, 0, 1, u.key, '', '', '' FROM unnest(record_tenants, record_keys) u(tenant, key)
            ON CONFLICT DO NOTHING RETURNING tenant, key
    ) SELECT array_agg(p.tenant), array_agg(p.key) INTO numbers, keys FROM put p;
    DELETE FROM $s.record r USING unnest(numbers, keys) u(tenant, key) WHERE r.tenant = u.tenant AND r.key = u.key;
    were_absent := coalesce(cardinality(keys), 0) = cardinality(record_keys);
    WITH put AS (
        INSERT INTO $s.counter(no, tenant, class, status, version, sequence, key, unit, guards, l0, l1, l2, l3)
            SELECT nextval('$s.counter_no'), u.tenant, 0, 0, 1, 0, u.key, '', '', 0, 0, 0, 0 FROM unnest(counter_tenants, counter_keys) u(tenant, key)
            ON CONFLICT DO NOTHING RETURNING tenant, key
    ) SELECT array_agg(p.tenant), array_agg(p.key) INTO numbers, keys FROM put p;
    DELETE FROM $s.counter c USING unnest(numbers, keys) u(tenant, key) WHERE c.tenant = u.tenant AND c.key = u.key;
    RETURN were_absent AND coalesce(cardinality(keys), 0) = cardinality(counter_keys);
END
$body$;
"#];

/// Brings the schema up to date, in one transaction, one session at a time: any number of processes may start at once.
pub(super) async fn migrate(connection: &mut PgConnection, schema: &Schema, must_exist: bool) -> Result<(), Error> {
    let doing = failed("migrating the schema");
    let mut transaction = connection.begin().await.map_err(&doing)?;
    // Others may be at it, and a migration may take a while.
    let wait = "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '60s'";
    raw_sql(wait).execute(&mut *transaction).await.map_err(&doing)?;
    query("SELECT pg_advisory_xact_lock($1)")
        .bind(schema.lock("migrate"))
        .execute(&mut *transaction)
        .await
        .map_err(&doing)?;
    let known = i32::try_from(MIGRATIONS.len()).expect("there are few migrations");
    let row = query(
        "SELECT to_regnamespace(quote_ident($1)) IS NOT NULL, to_regclass(quote_ident($1) || '.txn_format') IS NOT NULL, \
         EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = to_regnamespace(quote_ident($1)))",
    )
    .bind(&schema.0)
    .fetch_one(&mut *transaction)
    .await
    .map_err(&doing)?;
    let (is_there, is_ours, is_used): (bool, bool, bool) =
        (row.try_get(0).map_err(&doing)?, row.try_get(1).map_err(&doing)?, row.try_get(2).map_err(&doing)?);
    if !is_ours && is_used {
        return Err(Error::new(ErrorKind::Invalid, format!("the schema {} is another program's", schema.0)));
    }
    if !is_ours && must_exist {
        return Err(Error::new(ErrorKind::Invalid, format!("there is no store in the schema {}", schema.0)));
    }
    let mut version = 0;
    let quoted = schema.quoted();
    if is_ours {
        let found = query(AssertSqlSafe(format!("SELECT version FROM {quoted}.txn_format")));
        version = found.fetch_one(&mut *transaction).await.and_then(|row| row.try_get(0)).map_err(&doing)?;
    } else {
        let create = if is_there { String::new() } else { format!("CREATE SCHEMA {quoted};") };
        let table = "CREATE TABLE $s.txn_format(one boolean PRIMARY KEY CHECK (one), version integer NOT NULL); \
                     INSERT INTO $s.txn_format VALUES (true, 0);";
        let text = create + &table.replace("$s", &quoted);
        raw_sql(AssertSqlSafe(text)).execute(&mut *transaction).await.map_err(&doing)?;
    }
    if version > known {
        let context = format!("the schema {} has format {version}; this build knows formats up to {known}", schema.0);
        return Err(Error::new(ErrorKind::Newer, context));
    }
    if version == known {
        return transaction.rollback().await.map_err(&doing);
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        let text = migration
            .replace("$s.", &format!("{quoted}."))
            .replace("$lock", &schema.lock("chain").to_string())
            .replace("$channel", &schema.channel());
        raw_sql(AssertSqlSafe(text)).execute(&mut *transaction).await.map_err(&doing)?;
    }
    let done = query(AssertSqlSafe(format!("UPDATE {quoted}.txn_format SET version = $1"))).bind(known);
    done.execute(&mut *transaction).await.map_err(&doing)?;
    transaction.commit().await.map_err(&doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case B37.
    #[test]
    fn a_schema_has_a_plain_name() {
        for good in ["txn", "_", "a1", "shop_2", &"a".repeat(31)] {
            assert_eq!(Schema::new(good).map(|s| s.quoted()).unwrap(), format!("\"{good}\""));
        }
        let hostile =
            ["", "x\"; drop table t;--", "Ü", &"a".repeat(32), "Shop", "1a", "a-b", "a.b", "pg_shop", "a b", "a\0b"];
        for bad in hostile {
            let error = Schema::new(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{bad}");
        }
        // A reserved word is a name like others, since it is quoted.
        assert_eq!(Schema::new("select").unwrap().quoted(), "\"select\"");
    }
}
