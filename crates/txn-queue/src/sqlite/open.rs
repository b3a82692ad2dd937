//! Opening the file: its lock, its format, its settings.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{medium::failed, sql};
use crate::error::{Error, ErrorKind};

/// How long the lock is asked for: a process that was killed holds it for some milliseconds more.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(250);
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// Only a person with a shell, or a backup, can be in the way.
const BUSY: Duration = Duration::from_secs(5);
/// More than there are statements.
const STATEMENTS: usize = 32;
const CACHE_KIB: i64 = 16_384;

/// Takes the lock of the queue at `path`; it ends with the file, and with the process.
pub(super) fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let unavailable =
        |error| Error::new(ErrorKind::Unavailable, format!("the lock file {}", name.display())).because(error);
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&name).map_err(unavailable)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT_MAX => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                let context = format!("{} is open already, in this process or another", path.display());
                return Err(Error::new(ErrorKind::Locked, context));
            }
            Err(TryLockError::Error(error)) => return Err(unavailable(error)),
        }
    }
}

/// Opens the file, of this format or made new.
pub(super) fn connection(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed("opening the queue"))?;
    refuse(&connection, path)?;
    let configure = || {
        connection.busy_timeout(BUSY)?;
        let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", CACHE_KIB.saturating_neg())?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        rusqlite::vtab::array::load_module(&connection)?;
        Ok(mode)
    };
    let mode = configure().map_err(failed("setting up the queue"))?;
    if mode != "wal" {
        let context = format!("asked for a write-ahead log, SQLite says {mode}");
        return Err(Error::new(ErrorKind::Unavailable, context));
    }
    migrate(&mut connection)?;
    Ok(connection)
}

/// Copies the write-ahead log into the file, and flushes it. What a killed process wrote and never flushed, or could not flush, is read as committed from here on, and must not be lost again.
pub(super) fn settle_down(connection: &Connection) -> Result<(), Error> {
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    emptied.map_err(failed("emptying the write-ahead log"))
}

/// Refuses what another program or a newer build wrote, before anything is changed.
fn refuse(connection: &Connection, path: &Path) -> Result<(), Error> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let read = || {
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok((pragma("application_id")?, pragma("user_version")?, tables))
    };
    let (application, version, tables) = read().map_err(failed("reading the header of the queue"))?;
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
    run().map_err(failed("migrating the queue"))
}

/// A commit that changes nothing and is flushed as any other, and with it all before.
pub(super) fn commit_nothing(connection: &mut Connection) -> Result<(), Error> {
    let mut run = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Writes its page also when it says the same as before.
        transaction.pragma_update(None, "user_version", version_known())?;
        transaction.commit()
    };
    run().map_err(failed("committing nothing"))
}
