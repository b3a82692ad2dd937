//! Whether what SQLite calls damaged can be read at all.
//!
//! Of a page that the system does not give (`EIO`), SQLite says that it is malformed, since a damaged file system may be the reason. But that passes with the medium, and damage does not.

use std::{fs::File, io, path::Path};

use crate::error::{Error, ErrorKind};

/// Bytes that are read at once.
#[cfg(any(unix, test))]
const PIECE: usize = 16_384;

/// Does something that may come upon damage. Damage is believed when every file can be read, and it is found once more.
pub(super) fn believed<T>(database: &Path, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    match attempt() {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            read_all(database)?;
            attempt()
        }
        ended => ended,
    }
}

/// Reads the database and its write-ahead log to their ends.
fn read_all(database: &Path) -> Result<(), Error> {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let log = Path::new(&log);
    let failed = |path: &Path| {
        let context = format!("reading {}", path.display());
        move |error: io::Error| Error::new(ErrorKind::Unavailable, context).because(error)
    };
    if database.exists() {
        locked::read(database).map_err(failed(database))?;
    }
    if log.exists() {
        // SQLite locks the database and its index of the log, not the log.
        let read = || io::copy(&mut File::open(log)?, &mut io::sink());
        read().map_err(failed(log))?;
    }
    Ok(())
}

/// Where a file may be closed while somebody holds locks on it.
#[cfg(not(unix))]
mod locked {
    use std::{fs::File, io, path::Path};

    pub(super) fn read(path: &Path) -> io::Result<()> {
        io::copy(&mut File::open(path)?, &mut io::sink()).map(drop)
    }
}

/// On Unix, closing any descriptor of a file ends all locks that the process has on it, also those of SQLite's connections. Without them another process that opens and closes the database would take the write-ahead log away from under us.
/// So a descriptor is never closed: there is one for each file that was ever read here.
#[cfg(unix)]
mod locked {
    use std::{
        collections::{HashMap, hash_map::Entry},
        fs::{self, File, Metadata},
        io,
        os::unix::fs::{FileExt, MetadataExt},
        path::Path,
        sync::{Mutex, PoisonError},
    };

    use super::PIECE;

    /// By device and number.
    static KEPT: Mutex<Option<HashMap<(u64, u64), File>>> = Mutex::new(None);

    pub(super) fn read(path: &Path) -> io::Result<()> {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get_or_insert_default();
        let number = |of: &Metadata| (of.dev(), of.ino());
        let known = kept.get(&number(&fs::metadata(path)?));
        let file = match known {
            Some(file) => file,
            None => {
                let new = File::open(path)?;
                match new.metadata().map(|of| kept.entry(number(&of))) {
                    Ok(Entry::Vacant(place)) => place.insert(new),
                    Ok(Entry::Occupied(place)) => {
                        std::mem::forget(new);
                        place.into_mut()
                    }
                    Err(error) => {
                        std::mem::forget(new);
                        return Err(error);
                    }
                }
            }
        };
        let (mut piece, mut at) = (vec![0; PIECE], 0u64);
        loop {
            match file.read_at(&mut piece, at) {
                Ok(0) => return Ok(()),
                Ok(count) => at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged() -> Error {
        Error::new(ErrorKind::Corrupt, "database disk image is malformed")
    }

    #[test]
    fn damage_is_believed_when_it_is_found_twice_in_files_that_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, vec![0; 3 * PIECE + 1]).unwrap();
        for (found, expected, attempts) in [(0, None, 1), (1, None, 2), (2, Some(ErrorKind::Corrupt), 2)] {
            let mut tried = 0;
            let ended = believed(&path, || {
                tried += 1;
                if tried > found { Ok(()) } else { Err(damaged()) }
            });
            assert_eq!((ended.err().map(|error| error.kind()), tried), (expected, attempts));
        }
    }

    #[test]
    fn what_cannot_be_read_is_unavailable_with_the_cause() {
        // A folder can be opened, and not read.
        let folder = tempfile::tempdir().unwrap();
        let error = believed(folder.path(), || Err::<(), _>(damaged())).unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("Is a directory"), "{error}");
    }

    /// The story: the file was opened, read and closed, and with that the locks of every connection of this process were gone. Another process that opened and closed the database was alone with it, as far as it could see,
    /// and took the write-ahead log away.
    #[cfg(target_os = "linux")]
    #[test]
    fn reading_a_file_ends_no_lock_that_sqlite_holds_on_it() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1);").unwrap();
        let held = || {
            let file = format!(":{} ", std::fs::metadata(&path).unwrap().ino());
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks.lines().filter(|line| line.contains(&file)).count()
        };
        let before = held();
        assert!(before > 0, "a connection holds a lock as long as it is open");
        for _ in 0..3 {
            believed(&path, || Err::<(), _>(damaged())).unwrap_err();
            assert_eq!(held(), before);
        }
    }
}
