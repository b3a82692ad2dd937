//! Opening: the lock, the refusals, the pragmas, the migrations.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, vtab::array};
use txn_change::Timestamp;

use super::{
    Durability,
    mark::{Left, Mark},
    medium,
    rows::failed,
    sql, views,
    write::Numbers,
};
use crate::{
    error::{Error, ErrorKind},
    views::View,
};

/// A store as it stands when it was opened.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) mark: Mark,
    pub(super) numbers: Numbers,
    pub(super) last_time: Timestamp,
}

/// Bytes of a page. 8 KiB was no faster, for ledger-shaped changes as for records of 3 KB, and a small change logs whole pages.
pub(super) const PAGE_BYTES: i64 = 4_096;
/// KiB of pages that the writer keeps: the inner pages of all indexes of some ten million rows.
const WRITER_CACHE_KIB: i64 = 65_536;
/// KiB of pages that each reader keeps.
const READER_CACHE_KIB: i64 = 8_192;
/// Pages in the write-ahead log before they are copied into the database: 64 MB. A page that many groups touch is copied once: against 16 MB, 8 % of all CPU time on a small store and 17 % on a grown one, and up to half of the bytes written, are saved.
pub(super) const CHECKPOINT_PAGES: i64 = 16_384;
/// Bytes that the write-ahead log's file keeps when it is begun anew, however long a reader let it grow.
const LOG_BYTES_KEPT: i64 = 256 << 20;
/// Only a checkpoint, a host or a person with a shell can be in the way, since the lock keeps other stores out.
const BUSY: Duration = Duration::from_secs(5);
/// More than there are statements.
const STATEMENTS: usize = 96;

/// Opens the database at `path` for its one writer.
pub(super) fn open(path: &Path, durability: Durability, views: Option<&[View]>) -> Result<Opened, Error> {
    let path = absolute(path)?;
    medium::believed(&path, || open_once(&path, durability, views))
}

fn open_once(path: &Path, durability: Durability, views: Option<&[View]>) -> Result<Opened, Error> {
    let (mut mark, left) = Mark::lock(path, durability == Durability::Full)?;
    let has_log = has_log(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed("opening the database"))?;
    refuse(&connection, path)?;
    configure(&connection, durability)?;
    migrate(&mut connection)?;
    if !left.closed && left.commit > 0 && !has_log {
        // The process died, and the log it left is gone. A shell may have merged it; if it was removed, pages may be half copied.
        check_pages(&connection)?;
    }
    // What a killed process wrote and never flushed is read as committed from here on, and must not be lost again. A reader in the way does no harm: the log is
    // flushed all the same.
    connection.query_row(sql::EMPTY_LOG, [], |_| Ok(())).map_err(failed("emptying the write-ahead log"))?;
    let numbers = Numbers::read(&connection)?;
    if numbers.commit < left.commit {
        let context = format!(
            "{} ends with commit {}, but commit {} was acknowledged: its write-ahead log was removed, or an older database put in its place. If that was \
             on purpose, remove {}.lock",
            path.display(),
            numbers.commit,
            left.commit,
            path.display(),
        );
        return Err(Error::new(ErrorKind::Corrupt, context));
    }
    mark.set(Left { commit: numbers.commit, closed: false })?;
    if let Some(views) = views {
        // After the last refusal: a file that is not opened is not changed.
        views::install(&mut connection, views)?;
    }
    let last_time = connection
        .query_row(sql::LAST_TIME, [], |row| row.get::<_, i64>(0))
        .optional()
        .map_err(failed("reading the last commit"))?;
    let last_time = last_time.map_or(Timestamp::MIN, Timestamp::from_nanos);
    Ok(Opened { path: path.to_owned(), connection, mark, numbers, last_time })
}

/// The writer's connection to a database that is open already.
pub(super) fn write_connection(path: &Path, durability: Durability) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed("opening the database"))?;
    configure(&connection, durability)?;
    Ok(connection)
}

/// A commit that changes nothing and is flushed as any other. It stands in the log where one that failed would have stood, so that a restart will never find that one.
pub(super) fn commit_nothing(connection: &mut Connection) -> Result<(), Error> {
    let mut run = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Writes its page also when it says the same as before.
        transaction.pragma_update(None, "user_version", version_known())?;
        transaction.commit()
    };
    run().map_err(failed("committing nothing"))
}

/// A connection that only reads.
pub(super) fn read_connection(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "cache_size", READER_CACHE_KIB.saturating_neg())?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        array::load_module(&connection)?;
        Ok(connection)
    };
    open().map_err(failed("opening the database for reading"))
}

/// A connection of a host's, which writes in its own time.
pub(super) fn host_connection(path: &Path, durability: Durability) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_handler(Some(ask_again))?;
        connection.pragma_update(None, "synchronous", synchronous(durability).0)?;
        connection.pragma_update(None, "cache_size", READER_CACHE_KIB.saturating_neg())?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        array::load_module(&connection)?;
        Ok(connection)
    };
    open().map_err(failed("opening the database for a host"))
}

/// How often one that wants to write asks whether the other has ended: a commit takes some tenths of a millisecond, and whoever asks more rarely is never first.
const ASK_AGAIN: Duration = Duration::from_micros(250);

/// Whether to ask once more, after this many times.
fn ask_again(times: i32) -> bool {
    let waited = ASK_AGAIN.saturating_mul(times.unsigned_abs());
    let goes_on = waited < BUSY;
    if goes_on {
        thread::sleep(ASK_AGAIN);
    }
    goes_on
}

/// One name for one file, so that two ways to name it meet in one lock.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let unavailable =
        |error| Error::new(ErrorKind::Unavailable, format!("no such place: {}", path.display())).because(error);
    if let Ok(absolute) = fs::canonicalize(path) {
        return Ok(absolute);
    }
    let Some(name) = path.file_name() else {
        return Err(Error::new(ErrorKind::Invalid, format!("{} names no file", path.display())));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(fs::canonicalize(folder).map_err(unavailable)?.join(name))
}

fn has_log(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    Path::new(&name).exists()
}

/// Refuses what another program or a newer build wrote, before anything is changed.
fn refuse(connection: &Connection, path: &Path) -> Result<(), Error> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let read = || {
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok((pragma("application_id")?, pragma("user_version")?, tables))
    };
    let (application, version, tables) = read().map_err(failed("reading the header of the database"))?;
    if application != i64::from(sql::APPLICATION_ID) && (application != 0 || version != 0 || tables != 0) {
        let context = format!("{} is a database of another program", path.display());
        return Err(Error::new(ErrorKind::Invalid, context));
    }
    let known = version_known();
    if version > known {
        let context = format!("{} has format {version}; this build knows formats up to {known}", path.display());
        return Err(Error::new(ErrorKind::Newer, context));
    }
    Ok(())
}

fn version_known() -> i64 {
    i64::try_from(sql::MIGRATIONS.len()).expect("there are few migrations")
}

/// The setting for a durability, and the number that SQLite gives back.
pub(super) const fn synchronous(durability: Durability) -> (&'static str, i64) {
    match durability {
        Durability::Full => ("FULL", 2),
        Durability::Process => ("NORMAL", 1),
    }
}

fn configure(connection: &Connection, durability: Durability) -> Result<(), Error> {
    let (name, number) = synchronous(durability);
    let set = || {
        connection.busy_handler(Some(ask_again))?;
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
        connection.pragma_update(None, "synchronous", name)?;
        connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB.saturating_neg())?;
        // The writer does it, when its callers have been answered.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        array::load_module(connection)?;
        let synchronous = connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0))?;
        Ok((mode, synchronous))
    };
    let (mode, synchronous) = set().map_err(failed("setting up the database"))?;
    if mode != "wal" || synchronous != number {
        let context =
            format!("asked for WAL and synchronous={number}, SQLite says {mode} and synchronous={synchronous}");
        return Err(Error::new(ErrorKind::Unavailable, context));
    }
    Ok(())
}

/// Brings the format up to date, all versions in one transaction: a kill leaves the old format or the new one.
fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let mut run = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
        let done = usize::try_from(version).unwrap_or(0);
        if done == sql::MIGRATIONS.len() {
            return transaction.rollback();
        }
        for migration in sql::MIGRATIONS.iter().skip(done) {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", sql::APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version_known())?;
        transaction.commit()
    };
    run().map_err(failed("migrating the database"))
}

fn check_pages(connection: &Connection) -> Result<(), Error> {
    let says = connection
        .pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0))
        .map_err(failed("checking the database"))?;
    if says != "ok" {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("the write-ahead log is missing, and the database: {says}"),
        ));
    }
    Ok(())
}
