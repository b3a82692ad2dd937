//! The file beside the database: the lock of its owner, and how far commits were acknowledged.
//!
//! The mark is written after each commit and not flushed: after a crash it may be behind the database, but never ahead of it. When it is ahead, commits
//! that were acknowledged are gone: somebody removed the write-ahead log or put an older database in place.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, ErrorKind};

/// A held lock with its mark. The lock ends with the value, and with the process.
pub(super) struct Mark {
    file: File,
    path: PathBuf,
    /// Whether what is committed stays committed when the power fails. When it does not, a mark could run ahead of the database, so none is set.
    is_exact: bool,
}

/// What the last owner left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Left {
    /// The last change that was acknowledged.
    pub(super) commit: i64,
    /// Whether the store was closed, with everything in the database and nothing in the write-ahead log.
    pub(super) closed: bool,
}

/// How long the lock is asked for: a process that was killed holds it for some milliseconds more, until the system has taken it down.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(250);
/// How long to wait before asking again.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

fn wait_for_lock(file: &File) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT_MAX => thread::sleep(LOCK_PAUSE),
            ended => return ended,
        }
    }
}

impl Mark {
    /// Takes the lock of the database at `path`.
    pub(super) fn lock(database: &Path, is_exact: bool) -> Result<(Self, Left), Error> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let failed = |error| unavailable(&path, error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match wait_for_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let context = format!("{} is open already, in this process or another", database.display());
                return Err(Error::new(ErrorKind::Locked, context));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        // What is no text of ours is a mark that never was written whole.
        let left = str::from_utf8(&bytes).ok().and_then(parse).unwrap_or_default();
        Ok((Self { file, path, is_exact }, left))
    }

    /// Remembers how far commits have been acknowledged.
    pub(super) fn set(&mut self, left: Left) -> Result<(), Error> {
        let text = render(Left { commit: if self.is_exact { left.commit } else { 0 }, ..left });
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(text.as_bytes()));
        written.map_err(|error| unavailable(&self.path, error))
    }
}

fn unavailable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the lock file {}", path.display())).because(error)
}

/// Of one length, so that a new mark covers the old one.
fn render(left: Left) -> String {
    format!("txn {} {:019}\n", if left.closed { "closed" } else { "opened" }, left.commit)
}

fn parse(text: &str) -> Option<Left> {
    let mut words = text.split_ascii_whitespace();
    if words.next()? != "txn" {
        return None;
    }
    let closed = match words.next()? {
        "closed" => true,
        "opened" => false,
        _ => return None,
    };
    Some(Left { commit: words.next()?.parse().ok()?, closed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_and_back_and_rubbish_is_none() {
        for left in [Left { commit: 0, closed: false }, Left { commit: i64::MAX, closed: true }] {
            assert_eq!(parse(&render(left)), Some(left));
        }
        assert_eq!(render(Left { commit: 258, closed: true }), "txn closed 0000000000000000258\n");
        assert_eq!(render(Left::default()).len(), render(Left { commit: i64::MAX, closed: true }).len());
        assert_eq!(parse("txn opened"), None);
        assert_eq!(parse(""), None);
    }
}
