//! All SQL of the backend. Values are always bound; no statement is built from input.
//!
//! Choices that were measured, or have a reason that the text does not show:
//!
//! - Tables are `STRICT`, so that even a hand with a database shell cannot put text where a number belongs.
//! - `record` is a rowid table with a unique index beside it: bodies are some kilobytes, and in a `WITHOUT ROWID` table every insertion would move them
//!   about. The body is the last column, so that version and terms are read without it.
//! - `entry` and `event` stand in the order of commit, so that writing appends and an export scans.
//! - `entry` has no index of all entries by counter: its insertions would go to as many places as there are counters, a page to write for nearly each of them. Each entry names the `previous` one of
//!   its counter instead, the counter its `last`, and every 16th stands in an index, from which a page is read downwards. Over 2 million transfers between 100 thousand accounts that is half of the bytes written
//!   (10 KiB a change for 22) and four fifths of the CPU time, and the last changes write 1.1 times as much as the first, where it was 1.75. A page of 100 entries takes some 10 µs more
//!   (125 for 115). The unique index was a second belt too; what is left of that is the check of each link by who reads it, and by the export.
//! - Lanes are `ANY`: an integer where it fits 64 bits, else 16 big-endian bytes. SQL never computes with them.
//! - Types and units are text in each row rather than numbers of another table: a row can be read by itself.

/// The mark of our files in the header of the database: `txn1`.
pub(super) const APPLICATION_ID: i32 = 0x7478_6e31;

/// The statements that lead from each version of the format to the next; the version of a file is their count.
pub(super) const MIGRATIONS: [&str; 1] = ["
CREATE TABLE tenant(no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE class(no INTEGER PRIMARY KEY, spec TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE change(
    n INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    id TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    recorded_at INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    events INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    type TEXT NOT NULL,
    schema INTEGER NOT NULL,
    format INTEGER NOT NULL,
    answer BLOB NOT NULL,
    passed BLOB CHECK (length(passed) = 32),
    UNIQUE (tenant, id)
) STRICT;
CREATE TABLE link(
    number INTEGER PRIMARY KEY,
    changes INTEGER NOT NULL,
    events INTEGER NOT NULL,
    n INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE TABLE purge(what INTEGER PRIMARY KEY, until INTEGER NOT NULL, position INTEGER NOT NULL) STRICT;
CREATE TABLE record(
    no INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    key BLOB NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    type TEXT NOT NULL,
    schema INTEGER NOT NULL,
    format INTEGER NOT NULL,
    terms BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (tenant, key)
) STRICT;
CREATE TABLE term(
    tenant INTEGER NOT NULL,
    term BLOB NOT NULL,
    key BLOB NOT NULL,
    PRIMARY KEY (tenant, term, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE counter(
    no INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    key BLOB NOT NULL,
    class INTEGER NOT NULL,
    unit TEXT NOT NULL,
    guards TEXT NOT NULL,
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 2),
    version INTEGER NOT NULL CHECK (version > 0),
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    last INTEGER NOT NULL,
    l0 ANY NOT NULL, l1 ANY NOT NULL, l2 ANY NOT NULL, l3 ANY NOT NULL,
    UNIQUE (tenant, key)
) STRICT;
CREATE TABLE entry(
    no INTEGER PRIMARY KEY,
    n INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence > 0),
    previous INTEGER NOT NULL,
    effective_at INTEGER NOT NULL,
    label TEXT NOT NULL,
    short INTEGER NOT NULL,
    d0 ANY NOT NULL, d1 ANY NOT NULL, d2 ANY NOT NULL, d3 ANY NOT NULL,
    a0 ANY NOT NULL, a1 ANY NOT NULL, a2 ANY NOT NULL, a3 ANY NOT NULL
) STRICT;
CREATE UNIQUE INDEX entry_sixteenth ON entry(counter, sequence) WHERE sequence % 16 = 0;
CREATE TABLE event(
    position INTEGER PRIMARY KEY,
    n INTEGER NOT NULL,
    tenant INTEGER NOT NULL,
    fact TEXT,
    subject BLOB,
    type TEXT NOT NULL,
    schema INTEGER NOT NULL,
    format INTEGER NOT NULL,
    terms BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_fact ON event(tenant, fact) WHERE fact IS NOT NULL;
CREATE TABLE event_term(
    tenant INTEGER NOT NULL,
    term BLOB NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (tenant, term, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE fence(
    tenant INTEGER NOT NULL,
    name TEXT NOT NULL,
    token INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
"];

/// So often an entry of a counter stands in the index `entry_sixteenth`. A page reads this many rows less one in vain, at most.
pub(super) const INDEXED_EVERY: u64 = 16;

/// A table and the columns that an insertion fills, from which statements of one or many rows are made.
pub(super) struct Insert {
    into: &'static str,
    width: usize,
}

/// How many rows one statement takes: whole chunks of the greatest, then of the next. Against one row each it saves a few parts
/// in a hundred of the writer's time; longer ones save no more. `OR FAIL` because the group is rolled back anyway: undoing a statement of many rows alone would copy every page first, which
/// was a sixth of the writer's time.
pub(super) const CHUNKS: [usize; 3] = [32, 4, 1];

impl Insert {
    /// The statement that takes so many rows.
    pub(super) fn statement(&self, rows: usize) -> String {
        let row = format!("({}?)", "?,".repeat(self.width.saturating_sub(1)));
        format!("INSERT OR FAIL INTO {} VALUES {row}{}", self.into, format!(",{row}").repeat(rows.saturating_sub(1)))
    }
}

pub(super) const INSERT_TENANT: Insert = Insert { into: "tenant(no, name)", width: 2 };
pub(super) const INSERT_CLASS: Insert = Insert { into: "class(no, spec)", width: 2 };
pub(super) const INSERT_CHANGE: Insert = Insert {
    into: "change(n, tenant, id, fingerprint, recorded_at, entries, events, digest, type, schema, format, answer)",
    width: 12,
};
/// `n` is the last change of the group, `position` the last of the log with it.
pub(super) const INSERT_LINK: &str =
    "INSERT INTO link(number, changes, events, n, position, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(super) const INSERT_RECORD: Insert =
    Insert { into: "record(tenant, key, version, type, schema, format, terms, body)", width: 8 };
pub(super) const INSERT_TERM: Insert = Insert { into: "term(tenant, term, key)", width: 3 };
pub(super) const INSERT_COUNTER: Insert = Insert {
    into: "counter(version, sequence, last, l0, l1, l2, l3, status, guards, no, tenant, key, class, unit)",
    width: 14,
};
pub(super) const INSERT_ENTRY: Insert = Insert {
    into: "entry(no, n, counter, sequence, previous, effective_at, label, short, d0, d1, d2, d3, a0, a1, a2, a3)",
    width: 16,
};
pub(super) const INSERT_EVENT: Insert =
    Insert { into: "event(position, n, tenant, fact, subject, type, schema, format, terms, body)", width: 10 };
pub(super) const INSERT_EVENT_TERM: Insert = Insert { into: "event_term(tenant, term, position)", width: 3 };

pub(super) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
pub(super) const BEGIN_READ: &str = "BEGIN";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";
/// Moves everything into the database and cuts the log to nothing; says 1 when a reader was in the way.
pub(super) const EMPTY_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
/// Copies what no reader is in the way of; both say how many pages the log has, and how many of them have been copied.
pub(super) const COPY_LOG: &str = "PRAGMA wal_checkpoint(PASSIVE)";
pub(super) const LOOK_AT_LOG: &str = "PRAGMA wal_checkpoint(NOOP)";
/// Around a change in a host's transaction, which goes on when the change is refused.
pub(super) const SAVEPOINT: &str = "SAVEPOINT txn_commit_in";
pub(super) const UNDO_AND_RELEASE: &str = "ROLLBACK TO txn_commit_in; RELEASE txn_commit_in";
pub(super) const RELEASE: &str = "RELEASE txn_commit_in";
pub(super) const WRITE_NOTHING: &str = "DELETE FROM fence WHERE false";
pub(super) const HAS_ARRAYS: &str = "SELECT 1 FROM pragma_module_list WHERE name = 'rarray'";
pub(super) const HAS_LINK: &str = "SELECT 1 FROM link WHERE number = ?1 AND hash = ?2";
/// Differs from the last time when another connection has written.
pub(super) const DATA_VERSION: &str = "PRAGMA data_version";

pub(super) const UPDATE_RECORD: &str =
    "UPDATE record SET version = ?2, type = ?3, schema = ?4, format = ?5, terms = ?6, body = ?7 WHERE no = ?1";
pub(super) const DELETE_RECORD: &str = "DELETE FROM record WHERE no = ?1";
pub(super) const DELETE_TERM: &str = "DELETE FROM term WHERE tenant = ?1 AND term = ?2 AND key = ?3";
pub(super) const UPDATE_LANES: &str =
    "UPDATE counter SET version = ?1, sequence = ?2, last = ?3, l0 = ?4, l1 = ?5, l2 = ?6, l3 = ?7 WHERE no = ?8";
pub(super) const UPDATE_COUNTER: &str = "UPDATE counter SET version = ?1, sequence = ?2, last = ?3, l0 = ?4, l1 = ?5, \
    l2 = ?6, l3 = ?7, status = ?8, guards = ?9 WHERE no = ?10";
pub(super) const PUT_FENCE: &str =
    "INSERT INTO fence(tenant, name, token) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET token = excluded.token";

/// The highest numbers given so far.
pub(super) const LAST_NUMBERS: &str = "SELECT (SELECT max(n) FROM change), (SELECT max(no) FROM entry), \
    max(coalesce((SELECT max(position) FROM event), 0), \
        coalesce((SELECT position FROM link WHERE number = (SELECT max(number) FROM link)), 0)), (SELECT max(no) FROM counter), (SELECT max(no) FROM tenant), \
    (SELECT max(no) FROM class), (SELECT max(number) FROM link), \
    (SELECT hash FROM link WHERE number = (SELECT max(number) FROM link))";
/// Times grow with the numbers of the changes.
pub(super) const LAST_TIME: &str = "SELECT recorded_at FROM change ORDER BY n DESC LIMIT 1";
/// The last events may have been purged.
pub(super) const HEAD: &str = "SELECT max(coalesce((SELECT max(position) FROM event), 0), \
    coalesce((SELECT position FROM link WHERE number = (SELECT max(number) FROM link)), 0))";

pub(super) const HEALTH: &str = "SELECT (SELECT max(n) FROM change), (SELECT max(number) FROM link), \
    (SELECT hash FROM link WHERE number = (SELECT max(number) FROM link))";

pub(super) const TENANT_BY_NAME: &str = "SELECT no FROM tenant WHERE name = ?1";
pub(super) const TENANT_BY_NUMBER: &str = "SELECT name FROM tenant WHERE no = ?1";
pub(super) const CLASS_BY_NUMBER: &str = "SELECT spec FROM class WHERE no = ?1";
pub(super) const CLASSES: &str = "SELECT no, spec FROM class";

/// What follows loads many rows by one statement: the keys come as an array, and each row says which of them it is. `CROSS JOIN` fixes the order of the
/// loops: an array has no statistics.
pub(super) const LOAD_CHANGES: &str = "SELECT k.rowid, c.fingerprint, c.recorded_at, c.entries, c.events, c.digest, \
    c.type, c.schema, c.format, c.answer, c.passed \
    FROM rarray(?2) k CROSS JOIN change c ON c.tenant = ?1 AND c.id = k.value";
pub(super) const LOAD_RECORD_HEADS: &str = "SELECT k.rowid, r.no, r.version, r.terms \
    FROM rarray(?2) k CROSS JOIN record r ON r.tenant = ?1 AND r.key = k.value";
pub(super) const LOAD_RECORDS: &str = "SELECT k.rowid, r.version, r.terms, r.type, r.schema, r.format, r.body \
    FROM rarray(?2) k CROSS JOIN record r ON r.tenant = ?1 AND r.key = k.value";
pub(super) const LOAD_COUNTERS: &str = "SELECT k.rowid, c.no, c.class, c.unit, c.guards, c.status, c.version, \
    c.sequence, c.l0, c.l1, c.l2, c.l3, c.last \
    FROM rarray(?2) k CROSS JOIN counter c ON c.tenant = ?1 AND c.key = k.value";
pub(super) const LOAD_FACT_IDS: &str =
    "SELECT k.rowid FROM rarray(?2) k CROSS JOIN event e ON e.tenant = ?1 AND e.fact = k.value";
pub(super) const LOAD_FACTS: &str = "SELECT k.rowid, e.position, e.n, e.tenant, e.fact, e.subject, e.type, e.schema, \
    e.format, e.terms, e.body, c.id, c.recorded_at \
    FROM rarray(?2) k CROSS JOIN event e ON e.tenant = ?1 AND e.fact = k.value LEFT JOIN change c ON c.n = e.n";
pub(super) const LOAD_FENCES: &str = "SELECT k.rowid, f.token \
    FROM rarray(?2) k CROSS JOIN fence f ON f.tenant = ?1 AND f.name = k.value";

pub(super) const READ_LOG: &str = "SELECT 0, e.position, e.n, e.tenant, e.fact, e.subject, e.type, e.schema, \
    e.format, e.terms, e.body, c.id, c.recorded_at \
    FROM event e LEFT JOIN change c ON c.n = e.n WHERE e.position > ?1 ORDER BY e.position LIMIT ?2";

pub(super) const FIND_RECORDS: &str = "SELECT key, version, terms, type, schema, format, body FROM record \
    WHERE tenant = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4";
pub(super) const FIND_COUNTERS: &str = "SELECT key, no, class, unit, guards, status, version, sequence, l0, l1, l2, l3 \
    FROM counter WHERE tenant = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4";
pub(super) const FIND_BY_TERM: &str = "SELECT t.key, r.version, r.terms, r.type, r.schema, r.format, r.body, t.term \
    FROM term t LEFT JOIN record r ON r.tenant = t.tenant AND r.key = t.key \
    WHERE t.tenant = ?1 AND (t.term, t.key) > (?2, ?3) AND t.term < ?4 ORDER BY t.term, t.key LIMIT ?5";
pub(super) const FIND_EVENTS: &str = "SELECT t.term, t.position, e.n, e.tenant, e.fact, e.subject, e.type, e.schema, \
    e.format, e.terms, e.body, c.id, c.recorded_at \
    FROM event_term t LEFT JOIN event e ON e.position = t.position LEFT JOIN change c ON c.n = e.n \
    WHERE t.tenant = ?1 AND (t.term, t.position) > (?2, ?3) AND t.term < ?4 ORDER BY t.term, t.position LIMIT ?5";
pub(super) const FIND_ENDS: &str = "SELECT no, class, sequence, last FROM counter WHERE tenant = ?1 AND key = ?2";
/// `sequence` is a multiple of [`INDEXED_EVERY`], which SQLite has to be told.
pub(super) const FIND_INDEXED: &str = "SELECT no FROM entry WHERE counter = ?1 AND sequence = ?2 AND sequence % 16 = 0";
pub(super) const ENTRY_BY_NUMBER: &str = "SELECT c.id, c.recorded_at, e.sequence, e.effective_at, e.label, e.short, \
    e.d0, e.d1, e.d2, e.d3, e.a0, e.a1, e.a2, e.a3, e.counter, e.previous \
    FROM entry e LEFT JOIN change c ON c.n = e.n WHERE e.no = ?1";
pub(super) const FIND_CHANGES: &str = "SELECT id, fingerprint, recorded_at, entries, events, digest, type, schema, \
    format, answer, passed FROM change WHERE tenant = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

pub(super) const EXPORT_CHANGES: &str = "SELECT n, fingerprint, recorded_at, entries, events, digest, type, schema, \
    format, answer, passed, tenant, id FROM change ORDER BY n";
/// By the changes that they close, so that one damaged number does not misplace the others.
pub(super) const EXPORT_LINKS: &str = "SELECT n, number, changes, events, position, hash FROM link ORDER BY n, number";
pub(super) const EXPORT_ENTRIES: &str = "SELECT e.n, e.counter, e.sequence, e.effective_at, e.label, e.short, \
    e.d0, e.d1, e.d2, e.d3, e.a0, e.a1, e.a2, e.a3, e.no, e.previous, p.counter, p.sequence \
    FROM entry e LEFT JOIN entry p ON p.no = e.previous ORDER BY e.no";
pub(super) const EXPORT_EVENTS: &str = "SELECT n, position, n, tenant, fact, subject, type, schema, format, terms, \
    body FROM event ORDER BY position";
pub(super) const COUNTER_BY_NUMBER: &str = "SELECT tenant, key FROM counter WHERE no = ?1";
pub(super) const EXPORT_COUNTERS: &str = "SELECT c.key, c.no, c.class, c.unit, c.guards, c.status, c.version, c.sequence, \
    c.l0, c.l1, c.l2, c.l3, c.tenant, c.last, e.counter, e.sequence \
    FROM counter c LEFT JOIN entry e ON e.no = c.last ORDER BY c.tenant, c.key";
pub(super) const EXPORT_RECORDS: &str = "SELECT key, version, terms, type, schema, format, body, tenant \
    FROM record ORDER BY tenant, key";
/// Sorted aside, on disk if need be: an index by key would cost every write.
pub(super) const EXPORT_TERMS: &str = "SELECT tenant, key, term FROM term ORDER BY tenant, key, term";
pub(super) const EXPORT_EVENT_TERMS: &str = "SELECT position, CAST(tenant AS BLOB) AS digits, term FROM event_term \
    ORDER BY position, digits, term";

pub(super) const BODY_OF_RECORD: &str = "SELECT no, format, body FROM record WHERE tenant = ?1 AND key = ?2";
pub(super) const ERASE_RECORD: &str =
    "UPDATE record SET format = 0, body = ?2, terms = x'', version = version + 1 WHERE no = ?1";
/// Rare, and so without an index of its own.
pub(super) const DELETE_TERMS_OF: &str = "DELETE FROM term WHERE tenant = ?1 AND key = ?2";
pub(super) const ANSWER_OF_CHANGE: &str =
    "SELECT n, type, schema, format, answer FROM change WHERE tenant = ?1 AND id = ?2";
pub(super) const ERASE_ANSWER: &str = "UPDATE change SET format = 0, answer = ?2 WHERE n = ?1";
/// Rare, and so without an index by change: reads the events.
pub(super) const EVENTS_OF_CHANGE: &str = "SELECT e.position, e.type, e.schema, e.format, e.body \
    FROM change c JOIN event e ON e.n = c.n WHERE c.tenant = ?1 AND c.id = ?2 AND c.events > 0";
/// `?1`: what is purged, as [`super::purge`] numbers it.
pub(super) const PURGED: &str = "SELECT until, position FROM purge WHERE what = ?1";
pub(super) const PUT_PURGED: &str = "INSERT INTO purge(what, until, position) VALUES (?1, ?2, ?3) \
    ON CONFLICT DO UPDATE SET until = excluded.until, position = excluded.position";
pub(super) const ANSWERS_BEHIND: &str = "SELECT n, type, schema, format, answer, recorded_at, entries, events \
    FROM change WHERE n > ?1 ORDER BY n LIMIT ?2";
/// Groups are as old as their last change.
pub(super) const GROUPS_BEHIND: &str = "SELECT l.number, l.position, l.changes + l.events, c.recorded_at \
    FROM link l JOIN change c ON c.n = l.n WHERE l.number > ?1 ORDER BY l.number";
pub(super) const EVENTS_BETWEEN: &str = "SELECT 0, position, n, tenant, fact, subject, type, schema, format, terms, body \
    FROM event WHERE position > ?1 AND position <= ?2 ORDER BY position";
pub(super) const FACT_BETWEEN: &str = "SELECT 1 FROM event WHERE position > ?1 AND position <= ?2 AND fact IS NOT NULL";
pub(super) const PUT_PASSED: &str = "UPDATE change SET passed = ?2 WHERE n = ?1";
pub(super) const DELETE_EVENT: &str = "DELETE FROM event WHERE position = ?1";
pub(super) const DELETE_EVENT_TERM: &str = "DELETE FROM event_term WHERE tenant = ?1 AND term = ?2 AND position = ?3";
pub(super) const ERASE_EVENT: &str = "UPDATE event SET format = 0, body = ?2 WHERE position = ?1";
