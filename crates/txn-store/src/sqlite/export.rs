//! A whole reading at one instant: a thread of its own holds a read transaction open and hands over rows as they are asked for.

use std::{path::Path, sync::mpsc, thread};

use async_trait::async_trait;
use futures_channel::oneshot;
use rusqlite::Connection;

use super::{open, rows::failed, scan, sql};
use crate::{
    admin::{Export, Row},
    error::{Error, ErrorKind},
};

type Answer = Result<Vec<Row>, Error>;

/// A reading in progress. Dropping it ends the transaction.
pub(super) struct Reading {
    requests: mpsc::Sender<Request>,
    /// What was asked for by a call that may have been dropped: its rows are not lost.
    asked: Option<oneshot::Receiver<Answer>>,
    rows: std::vec::IntoIter<Row>,
}

struct Request {
    max: usize,
    reply: oneshot::Sender<Answer>,
}

fn died() -> Error {
    Error::new(ErrorKind::Closed, "the reading has ended")
}

impl Reading {
    /// Opens the transaction: the rows are those of now.
    pub(super) async fn begin(path: &Path) -> Result<Self, Error> {
        let (begun, is_begun) = oneshot::channel();
        let (requests, asked) = mpsc::channel();
        let path = path.to_owned();
        let named = thread::Builder::new().name("txn-sqlite-export".into());
        let run = move || {
            let connection = match begin(&path) {
                Ok(connection) => connection,
                Err(error) => return drop(begun.send(Err(error))),
            };
            if begun.send(Ok(())).is_ok() {
                let mut sink = Sink { requests: asked, request: None, rows: Vec::new() };
                let ended = scan::run(&connection, &mut sink);
                sink.finish(ended);
            }
        };
        named.spawn(run).map_err(|error| Error::new(ErrorKind::Unavailable, "starting a thread").because(error))?;
        is_begun.await.unwrap_or_else(|_| Err(died()))?;
        Ok(Self { requests, asked: None, rows: Vec::new().into_iter() })
    }
}

#[async_trait]
impl Export for Reading {
    async fn next(&mut self, max: usize) -> Result<Vec<Row>, Error> {
        if self.rows.len() == 0 {
            let asked = match &mut self.asked {
                Some(asked) => asked,
                none => {
                    let (reply, answer) = oneshot::channel();
                    self.requests.send(Request { max: max.max(1), reply }).map_err(|_| died())?;
                    none.insert(answer)
                }
            };
            let answer = asked.await.unwrap_or_else(|_| Err(died()));
            self.asked = None;
            self.rows = answer?.into_iter();
        }
        Ok(self.rows.by_ref().take(max).collect())
    }
}

fn begin(path: &Path) -> Result<Connection, Error> {
    let connection = open::read_connection(path)?;
    let begin = || {
        connection.execute_batch(sql::BEGIN_READ)?;
        // The snapshot is taken by the first read.
        connection.query_row(sql::HEAD, [], |_| Ok(()))
    };
    begin().map_err(failed("beginning to read"))?;
    Ok(connection)
}

/// Why the reading stops.
pub(super) enum Stop {
    /// Nobody asks any more.
    Dropped,
    Failed(Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(failed("exporting")(error))
    }
}

/// Where rows go: to whoever asks, as many as they ask for.
pub(super) struct Sink {
    requests: mpsc::Receiver<Request>,
    request: Option<Request>,
    rows: Vec<Row>,
}

impl Sink {
    /// Waits for a request before the first row is read, and whenever one is full.
    pub(super) fn put(&mut self, row: Row) -> Result<(), Stop> {
        if self.request.is_none() {
            self.request = Some(self.requests.recv().map_err(|_| Stop::Dropped)?);
        }
        self.rows.push(row);
        if let Some(request) = self.request.take_if(|request| self.rows.len() >= request.max) {
            // Only a reading that is dropped is not there to take them.
            let _ = request.reply.send(Ok(std::mem::take(&mut self.rows)));
        }
        Ok(())
    }

    /// Answers the last rows, then nothing for ever, or the error for ever.
    fn finish(mut self, ended: Result<(), Stop>) {
        let failure = match ended {
            Ok(()) => None,
            Err(Stop::Dropped) => return,
            Err(Stop::Failed(error)) => Some(error),
        };
        while let Some(request) = self.request.take().or_else(|| self.requests.recv().ok()) {
            let answer = match &failure {
                Some(error) => Err(error.again()),
                None => Ok(std::mem::take(&mut self.rows)),
            };
            let _ = request.reply.send(answer);
        }
    }
}
