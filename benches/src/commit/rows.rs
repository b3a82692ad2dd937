//! What both peers share: the tables and the statements.

/// The tables that a change of ours goes to, with the same columns and the same unique indexes, for hands that know they need no more. Every entry is indexed by its counter, as one would, where ours leads from entry to entry.
pub(super) const TABLES: &str = "
CREATE TABLE change(
    n INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, id TEXT NOT NULL, fingerprint BLOB NOT NULL, recorded_at INTEGER NOT NULL,
    entries INTEGER NOT NULL, events INTEGER NOT NULL, digest BLOB NOT NULL, type TEXT NOT NULL, schema INTEGER NOT NULL,
    format INTEGER NOT NULL, answer BLOB NOT NULL, UNIQUE (tenant, id)
) STRICT;
CREATE TABLE counter(
    no INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, key BLOB NOT NULL, class INTEGER NOT NULL, unit TEXT NOT NULL, guards TEXT NOT NULL,
    status INTEGER NOT NULL, version INTEGER NOT NULL, sequence INTEGER NOT NULL,
    l0 INTEGER NOT NULL, l1 INTEGER NOT NULL, l2 INTEGER NOT NULL, l3 INTEGER NOT NULL, UNIQUE (tenant, key)
) STRICT;
CREATE TABLE entry(
    no INTEGER PRIMARY KEY, n INTEGER NOT NULL, counter INTEGER NOT NULL, sequence INTEGER NOT NULL, effective_at INTEGER NOT NULL,
    label TEXT NOT NULL, short INTEGER NOT NULL,
    d0 INTEGER NOT NULL, d1 INTEGER NOT NULL, d2 INTEGER NOT NULL, d3 INTEGER NOT NULL,
    a0 INTEGER NOT NULL, a1 INTEGER NOT NULL, a2 INTEGER NOT NULL, a3 INTEGER NOT NULL, UNIQUE (counter, sequence)
) STRICT;
CREATE TABLE event(
    position INTEGER PRIMARY KEY, n INTEGER NOT NULL, tenant INTEGER NOT NULL, fact TEXT, subject BLOB, type TEXT NOT NULL,
    schema INTEGER NOT NULL, format INTEGER NOT NULL, terms BLOB NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_fact ON event(tenant, fact) WHERE fact IS NOT NULL;
CREATE TABLE event_term(
    tenant INTEGER NOT NULL, term BLOB NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (tenant, term, position)
) STRICT, WITHOUT ROWID;
";

/// The settings of our store.
pub(super) const PAGE_BYTES: u32 = 4_096;
pub(super) const CACHE_KIB: i64 = 65_536;
pub(super) const CHECKPOINT_PAGES: i64 = 16_384;

pub(super) const INSERT_CHANGE: &str = "INSERT INTO change(tenant, id, fingerprint, recorded_at, entries, events, digest, type, schema, format, answer) \
    VALUES (1, ?1, ?2, ?3, 2, 2, ?2, ?4, ?5, 1, ?6)";
/// The guard of an account: what is posted, less what is pending, stays above zero, unless the transfer only adds to it.
pub(super) const UPDATE_COUNTER: &str = "UPDATE counter SET l1 = l1 + ?2, l3 = l3 + ?3, version = version + 1, sequence = sequence + 1 \
    WHERE no = ?1 AND (?3 <= ?2 OR l1 + ?2 - l2 - l3 - ?3 >= 0) RETURNING sequence, l0, l1, l2, l3";
pub(super) const INSERT_ENTRIES: &str = "INSERT INTO entry(n, counter, sequence, effective_at, label, short, d0, d1, d2, d3, a0, a1, a2, a3) VALUES \
    (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, 0, ?7, ?8, ?9, ?10, ?11), (?1, ?12, ?13, ?4, ?5, 0, 0, ?14, 0, ?15, ?16, ?17, ?18, ?19)";
pub(super) const INSERT_EVENTS: &str = "INSERT INTO event(n, tenant, fact, subject, type, schema, format, terms, body) VALUES \
    (?1, 1, ?2, NULL, ?3, ?4, 1, ?5, ?6), (?1, 1, NULL, NULL, ?7, ?8, 1, x'', ?9)";
pub(super) const INSERT_TERMS: &str = "INSERT INTO event_term(tenant, term, position) VALUES (1, ?1, ?3), (1, ?2, ?3)";
/// An account with its funds, as an opening of ours leaves it.
pub(super) const INSERT_COUNTER: &str = "INSERT INTO counter(no, tenant, key, class, unit, guards, status, version, sequence, l0, l1, l2, l3) \
    VALUES (?1, 1, ?2, 1, 'USD', ?3, 0, 2, 1, 0, ?4, 0, 0)";
