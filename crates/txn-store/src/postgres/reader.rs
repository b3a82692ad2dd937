//! The tasks that read: each takes what waits, and asks for all snapshots in one statement.

use std::{collections::VecDeque, future::poll_fn, sync::Arc};

use futures_channel::oneshot;
use txn_change::Tenant;

use super::{
    Shared,
    connect::{Session, failed, within},
    find, get, log,
};
use crate::{
    admin::Health,
    error::{Error, ErrorKind},
    query::{Page, Query},
    store::{Ask, LogPage, Position, Snapshot},
};

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What a reader is asked.
pub(super) enum Question {
    Get { asks: Vec<Ask>, reply: Reply<Vec<Snapshot>> },
    Find { tenant: Tenant, query: Query, after: Option<Vec<u8>>, limit: usize, reply: Reply<Page> },
    Read { after: Position, limit: usize, reply: Reply<LogPage> },
    Health { reply: Reply<Health> },
}

impl Question {
    fn weight(&self) -> usize {
        match self {
            Self::Get { asks, .. } => asks.len(),
            _ => 1,
        }
    }
}

/// Why a question was not answered.
pub(super) enum Unread {
    /// The server said so; the session may have ended.
    Sql(sqlx::Error, &'static str),
    /// What is stored is damaged, or the question is wrong.
    Other(Error),
}

impl Unread {
    pub(super) fn sql(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| Self::Sql(error, doing)
    }
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Questions that are taken at once, at most.
const GATHERED_MAX: usize = 64;

/// Asks the server; once more, on another session, when an old one has ended. Reading twice does no harm.
macro_rules! asked {
    ($reader:ident, $session:ident, $question:expr) => {
        loop {
            let (mut owned, is_new) = match $reader.session().await {
                Ok(session) => session,
                Err(error) => break Err(error),
            };
            let $session = &mut owned;
            let question = async { Ok($question.await) };
            match within($reader.shared.waits.answer_max, question).await {
                Ok(Ok(answer)) => {
                    $reader.session = Some(owned);
                    break Ok(answer);
                }
                Ok(Err(Unread::Other(error))) => {
                    $reader.session = Some(owned);
                    break Err(error);
                }
                Ok(Err(Unread::Sql(error, doing))) => {
                    let error = failed(doing)(error);
                    if error.kind() != ErrorKind::Unavailable || is_new {
                        break Err(error);
                    }
                }
                Err(late) => break Err(failed("reading")(late)),
            }
        }
    };
}

/// Answers questions until the queue is closed and empty.
pub(super) async fn run(shared: Arc<Shared>) {
    let _end = End(&shared);
    let mut reader = Reader { shared: &shared, session: None };
    let mut questions = VecDeque::new();
    while poll_fn(|context| shared.questions.poll_take(context, &mut questions, GATHERED_MAX)).await {
        let weight = questions.iter().fold(0usize, |sum, question| sum.saturating_add(question.weight()));
        shared.questions.done(weight);
        reader.serve(&mut questions).await;
    }
}

/// The end of a reader, with its runtime or by a panic: better closed than never answered.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.questions.close("a reader ended; open the store again");
        let mut left = VecDeque::new();
        self.0.questions.take(&mut left, usize::MAX, false);
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    session: Option<Session>,
}

impl Reader<'_> {
    async fn serve(&mut self, questions: &mut VecDeque<Question>) {
        let shared = self.shared;
        let mut gets: Vec<(Vec<Ask>, Reply<Vec<Snapshot>>)> = Vec::new();
        while let Some(question) = questions.pop_front() {
            // In each, nobody may be waiting any more.
            match question {
                Question::Get { reply, .. } if reply.is_canceled() => {}
                Question::Get { asks, reply } => gets.push((asks, reply)),
                Question::Find { tenant, query, after, limit, reply } if !reply.is_canceled() => {
                    let after = after.as_deref();
                    drop(reply.send(asked!(self, session, find::page(session, shared, &tenant, &query, after, limit))));
                }
                Question::Read { after, limit, reply } if !reply.is_canceled() => {
                    drop(reply.send(asked!(self, session, log::read(session, shared, after, limit))));
                }
                Question::Health { reply } if !reply.is_canceled() => {
                    drop(reply.send(asked!(self, session, log::health(&mut session.connection, shared))));
                }
                Question::Find { .. } | Question::Read { .. } | Question::Health { .. } => {}
            }
        }
        if gets.is_empty() {
            return;
        }
        let all: Vec<&Ask> = gets.iter().flat_map(|(asks, _)| asks).collect();
        match asked!(self, session, get::snapshots(session, shared, &all)) {
            Ok(snapshots) => {
                let mut snapshots = snapshots.into_iter();
                for (asks, reply) in gets {
                    drop(reply.send(Ok(snapshots.by_ref().take(asks.len()).collect())));
                }
            }
            // One row that cannot be read must not stop the others.
            Err(error) if error.kind() == ErrorKind::Corrupt && gets.len() > 1 => {
                for (asks, reply) in gets {
                    let asks: Vec<&Ask> = asks.iter().collect();
                    drop(reply.send(asked!(self, session, get::snapshots(session, shared, &asks))));
                }
            }
            Err(error) => gets.into_iter().for_each(|(_, reply)| drop(reply.send(Err(error.again())))),
        }
    }

    /// A session, and whether it is a new one.
    async fn session(&mut self) -> Result<(Session, bool), Error> {
        match self.session.take() {
            Some(session) => Ok((session, false)),
            None => Ok((Session::open(self.shared, &self.shared.session).await?, true)),
        }
    }
}
