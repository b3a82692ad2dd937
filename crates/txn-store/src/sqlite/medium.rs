//! Whether what SQLite calls damaged can be read at all.
//!
//! Of a page that the system does not give (`EIO`), SQLite says that it is malformed, since a damaged file system may be the reason. But that passes with the medium, and damage does not.

use std::{fs::File, io::Read, path::Path};

use crate::error::{Error, ErrorKind};

/// Bytes that are read at once.
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
    let mut piece = vec![0; PIECE];
    for path in [database, Path::new(&log)].into_iter().filter(|path| path.exists()) {
        let mut read = || {
            let mut file = File::open(path)?;
            while file.read(&mut piece)? > 0 {}
            Ok(())
        };
        read().map_err(|error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("reading {}", path.display())).because(error)
        })?;
    }
    Ok(())
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
}
