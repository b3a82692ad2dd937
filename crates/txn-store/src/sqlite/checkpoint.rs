//! When the write-ahead log is copied into the database: by the writer, after a group has been answered, so that no caller waits for it.
//!
//! A reader that stays on an old state (an export, a shell, a backup in another process) keeps the log from being copied past that state, and from being begun anew. Then it grows with every commit: the metric
//! `txn_store_log_pages` says how far, and the store goes on.

use rusqlite::Connection;

use super::{OBSERVE, rows::failed, sql};
use crate::error::Error;

/// Whether it is time.
pub(super) struct Checkpoints {
    /// So many pages are copied together.
    every: i64,
    /// The log is copied when so many of its pages are not in the database.
    due: i64,
}

/// Pages in the log, and those of them that have been copied.
struct Log {
    pages: i64,
    copied: i64,
}

impl Log {
    const fn waiting(&self) -> i64 {
        self.pages.saturating_sub(self.copied)
    }
}

impl Checkpoints {
    pub(super) const fn every(pages: i64) -> Self {
        Self { every: pages, due: pages }
    }

    /// A group was committed. A copying that fails loses nothing: what it was to copy stays in the log.
    pub(super) fn after_group(&mut self, connection: &Connection) {
        if let Err(error) = self.look(connection) {
            self.put_off(self.due);
            OBSERVE.failed("the write-ahead log was not copied", &error);
        }
    }

    fn look(&mut self, connection: &Connection) -> Result<(), Error> {
        let mut log = read(connection, sql::LOOK_AT_LOG)?;
        if log.waiting() >= self.due {
            log = read(connection, sql::COPY_LOG)?;
            if log.waiting() < self.every {
                self.due = self.every;
            } else {
                // Somebody reads an old state. Looking through the whole log after each commit would cost more the longer it is.
                self.put_off(log.waiting());
                OBSERVE.log_is_held(log.pages);
            }
        }
        OBSERVE.log_pages(log.pages);
        Ok(())
    }

    fn put_off(&mut self, waiting: i64) {
        self.due = waiting.saturating_add(self.every);
    }
}

fn read(connection: &Connection, statement: &str) -> Result<Log, Error> {
    let read = || {
        let mut statement = connection.prepare_cached(statement)?;
        statement.query_row([], |row| Ok(Log { pages: row.get(1)?, copied: row.get(2)? }))
    };
    read().map_err(failed("copying the write-ahead log"))
}

#[cfg(test)]
mod tests {
    use super::super::{Durability, open};
    use super::*;

    /// A shell or a backup that reads for long: it keeps the log from being begun anew, which costs room and not time, and ends with it.
    #[test]
    fn a_long_reader_lets_the_log_grow_until_it_ends_and_it_is_looked_through_more_and_more_rarely() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let mut opened = open::open(&path, Durability::Process, None).unwrap();
        let mut checkpoints = Checkpoints::every(10);
        let mut commit = |checkpoints: &mut Checkpoints, times: usize| {
            for _ in 0..times {
                open::commit_nothing(&mut opened.connection).unwrap();
                checkpoints.after_group(&opened.connection);
            }
            read(&opened.connection, sql::LOOK_AT_LOG).unwrap()
        };
        commit(&mut checkpoints, 35);
        assert!(commit(&mut checkpoints, 1).pages <= 11, "begun anew every ten pages");

        let reader = open::read_connection(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM change").unwrap();
        let held = commit(&mut checkpoints, 95);
        assert!(held.pages >= 95 && held.waiting() >= 80, "{} pages, {} copied", held.pages, held.copied);
        assert!(checkpoints.due > held.waiting(), "not looked through again at the next commit");

        reader.execute_batch("ROLLBACK").unwrap();
        let after = commit(&mut checkpoints, 40);
        assert!(after.pages <= 40 && checkpoints.due == 10, "{} pages", after.pages);
    }
}
