//! A whole reading at one instant: a thread of its own holds a read transaction open and hands over rows as they are asked for.

use std::{path::Path, thread};

use async_trait::async_trait;
use futures_channel::oneshot;
use rusqlite::Connection;

use super::{
    Shared,
    errands::{Held, Running},
    open,
    rows::failed,
    scan, sql,
};
use crate::{
    admin::{Export, Row},
    error::{Error, ErrorKind},
    reading::{self, Parts, Reading},
};

pub(super) use crate::reading::Stop;

/// A reading that somebody holds.
struct Holding {
    reading: Reading,
    _held: Held,
}

#[async_trait]
impl Export for Holding {
    async fn next(&mut self, max: usize) -> Result<Vec<Row>, Error> {
        self.reading.next(max).await
    }
}

/// Opens the transaction: the rows are those of now.
pub(super) async fn begin(shared: &Shared) -> Result<impl Export + use<>, Error> {
    let (begun, is_begun) = oneshot::channel();
    let (reading, parts) = Reading::new();
    let path = shared.path.clone();
    let (held, running) = (Held::of(&shared.errands), Running::of(&shared.errands));
    let named = thread::Builder::new().name("txn-sqlite-export".into());
    let run = move || {
        let _running = running.here();
        let connection = match snapshot(&path) {
            Ok(connection) => connection,
            Err(error) => return drop(begun.send(Err(error))),
        };
        if begun.send(Ok(())).is_ok() {
            let mut sink = Sink(parts);
            let ended = scan::run(&connection, &mut sink);
            sink.finish(ended);
        }
    };
    named.spawn(run).map_err(|error| Error::new(ErrorKind::Unavailable, "starting a thread").because(error))?;
    is_begun.await.unwrap_or_else(|_| Err(reading::ended()))?;
    Ok(Holding { reading, _held: held })
}

fn snapshot(path: &Path) -> Result<Connection, Error> {
    let connection = open::read_connection(path)?;
    let begin = || {
        connection.execute_batch(sql::BEGIN_READ)?;
        // The snapshot is taken by the first read.
        connection.query_row(sql::HEAD, [], |_| Ok(()))
    };
    begin().map_err(failed("beginning to read"))?;
    Ok(connection)
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(failed("exporting")(error))
    }
}

/// Where rows go.
pub(super) struct Sink(Parts);

impl Sink {
    /// Waits for a request before the first row is read, and whenever one is full.
    pub(super) fn put(&mut self, row: Row) -> Result<(), Stop> {
        if !self.0.is_asked() {
            self.0.wait()?;
        }
        self.0.add(row);
        Ok(())
    }

    /// Answers the last rows, then nothing for ever, or the error for ever.
    fn finish(mut self, ended: Result<(), Stop>) {
        let failure = match ended {
            Ok(()) => None,
            Err(Stop::Dropped) => return,
            Err(Stop::Failed(error)) => Some(error),
        };
        while self.0.is_asked() || self.0.wait().is_ok() {
            self.0.answer(failure.as_ref());
        }
    }
}
