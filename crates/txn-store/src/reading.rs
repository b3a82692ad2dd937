//! A reading of a whole store in parts: the side that asks for rows, and the side that has them. How they are read is each backend's own.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use futures_channel::oneshot;

use crate::{
    admin::{Export, Row},
    error::{Error, ErrorKind},
    group::Queue,
};

type Answer = Result<Vec<Row>, Error>;

struct Request {
    max: usize,
    reply: oneshot::Sender<Answer>,
}

/// A reading in progress. Dropping it ends it.
pub(crate) struct Reading {
    requests: Arc<Queue<Request>>,
    /// What was asked for by a call that may have been dropped: its rows are not lost.
    asked: Option<oneshot::Receiver<Answer>>,
    rows: std::vec::IntoIter<Row>,
}

pub(crate) fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the reading has ended")
}

impl Reading {
    pub(crate) fn new() -> (Self, Parts) {
        let requests = Arc::new(Queue::new("parts of an export", usize::MAX));
        let parts = Parts { requests: Arc::clone(&requests), request: None, rows: Vec::new() };
        (Self { requests, asked: None, rows: Vec::new().into_iter() }, parts)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.requests.close("the reading was dropped");
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
                    self.requests.push(Request { max: max.max(1), reply }, 0)?;
                    none.insert(answer)
                }
            };
            let answer = asked.await.unwrap_or_else(|_| Err(ended()));
            self.asked = None;
            self.rows = answer?.into_iter();
        }
        Ok(self.rows.by_ref().take(max).collect())
    }
}

/// Why a reading stops.
pub(crate) enum Stop {
    /// Nobody asks any more.
    Dropped,
    Failed(Error),
}

/// Where rows go: to whoever asks, as many as they ask for.
pub(crate) struct Parts {
    requests: Arc<Queue<Request>>,
    request: Option<Request>,
    rows: Vec<Row>,
}

impl Parts {
    /// Whether somebody waits for rows.
    pub(crate) const fn is_asked(&self) -> bool {
        self.request.is_some()
    }

    /// Waits until somebody asks.
    #[cfg(feature = "sqlite")]
    pub(crate) fn wait(&mut self) -> Result<(), Stop> {
        let mut taken = VecDeque::new();
        self.requests.take(&mut taken, 1, true);
        self.request = Some(taken.pop_front().ok_or(Stop::Dropped)?);
        Ok(())
    }

    /// As [`Parts::wait`], for a task.
    #[cfg(feature = "postgres")]
    pub(crate) async fn asked(&mut self) -> Result<(), Stop> {
        let mut taken = VecDeque::new();
        std::future::poll_fn(|context| self.requests.poll_take(context, &mut taken, 1)).await;
        self.request = Some(taken.pop_front().ok_or(Stop::Dropped)?);
        Ok(())
    }

    /// Adds a row; answers when there are as many as were asked for.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
        if self.request.as_ref().is_some_and(|request| self.rows.len() >= request.max) {
            self.answer(None);
        }
    }

    /// Answers with the rows that there are, or with what failed.
    pub(crate) fn answer(&mut self, failure: Option<&Error>) {
        if let Some(request) = self.request.take() {
            let answer = failure.map_or_else(|| Ok(std::mem::take(&mut self.rows)), |error| Err(error.again()));
            // Only a reading that is dropped is not there to take it.
            let _ = request.reply.send(answer);
        }
    }
}
