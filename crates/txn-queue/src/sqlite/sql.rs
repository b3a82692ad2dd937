//! All SQL of this backend.

/// Says in the file's header whose it is: `txnQ`.
pub(super) const APPLICATION_ID: i32 = 0x7478_6e51;

/// Each brings the format from its number to the next; none is ever changed.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE topology (
        version INTEGER PRIMARY KEY,
        json TEXT NOT NULL
    );
    CREATE TABLE step (
        topic INTEGER NOT NULL,
        number INTEGER NOT NULL,
        nonce INTEGER NOT NULL,
        at INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (topic, number)
    ) WITHOUT ROWID;
    CREATE TABLE saved (
        topic INTEGER PRIMARY KEY,
        number INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    -- Messages that were added together: what is decided by, and the rest.
    -- One tree, in the order of topics and positions: the place is topic * 2^40 + the position of the first.
    CREATE TABLE pack (
        place INTEGER PRIMARY KEY,
        briefs BLOB NOT NULL,
        bodies BLOB NOT NULL
    );
    CREATE TABLE repeat (
        topic INTEGER NOT NULL,
        id TEXT NOT NULL,
        until INTEGER NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (topic, id, until)
    ) WITHOUT ROWID;
    CREATE INDEX repeat_until ON repeat (topic, until);
    CREATE TABLE schedule (
        topic INTEGER NOT NULL,
        key TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (topic, key, position)
    ) WITHOUT ROWID;
    CREATE INDEX schedule_position ON schedule (topic, position);
"];

pub(super) const TOPOLOGY: &str = "SELECT json FROM topology ORDER BY version DESC LIMIT 1";
pub(super) const TOPOLOGY_WRITE: &str = "INSERT INTO topology (version, json) VALUES (?1, ?2)";
pub(super) const TOPOLOGY_TIDY: &str = "DELETE FROM topology WHERE version < ?1";

pub(super) const STEPS: &str =
    "SELECT number, nonce, at, body FROM step WHERE topic = ?1 AND number >= ?2 ORDER BY number LIMIT ?3";
pub(super) const STEP_WRITE: &str = "INSERT INTO step (topic, number, nonce, at, body) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(super) const STEP_TIDY: &str = "DELETE FROM step WHERE topic = ?1 AND number < ?2";

pub(super) const SAVED: &str = "SELECT number, body FROM saved WHERE topic = ?1";
pub(super) const SAVED_WRITE: &str = "INSERT OR REPLACE INTO saved (topic, number, body) VALUES (?1, ?2, ?3)";

pub(super) const BRIEFS: &str = "SELECT place, briefs FROM pack WHERE place < ?2
    AND place >= coalesce((SELECT max(place) FROM pack WHERE place <= ?1 AND place >= ?4), ?1) ORDER BY place LIMIT ?3";
pub(super) const PACKS: &str = "SELECT place, briefs, bodies FROM pack WHERE place IN rarray(?1)";
pub(super) const PACK_WRITE: &str = "INSERT INTO pack (place, briefs, bodies) VALUES (?1, ?2, ?3)";
pub(super) const PACK_TIDY: &str = "DELETE FROM pack WHERE place >= ?1 AND place < ?2
    AND place < (SELECT min(place) FROM pack WHERE place >= ?1) + ?3";

pub(super) const REPEATS: &str = "SELECT id, digest FROM repeat WHERE topic = ?1 AND id IN rarray(?2) AND until > ?3";
pub(super) const REPEAT_WRITE: &str = "INSERT INTO repeat (topic, id, until, digest) VALUES (?1, ?2, ?3, ?4)";
pub(super) const REPEAT_TIDY: &str = "DELETE FROM repeat WHERE (topic, id, until) IN
    (SELECT topic, id, until FROM repeat WHERE topic = ?3 AND until <= ?1 ORDER BY until LIMIT ?2)";

pub(super) const SCHEDULED: &str =
    "SELECT key, max(position) FROM schedule WHERE topic = ?1 AND key IN rarray(?2) GROUP BY key";
pub(super) const SCHEDULE_WRITE: &str = "INSERT INTO schedule (topic, key, position) VALUES (?1, ?2, ?3)";
pub(super) const SCHEDULE_TIDY: &str = "DELETE FROM schedule WHERE topic = ?1 AND position < ?2";
