//! The tasks that read: each takes all snapshots that wait and asks for them in one statement, then one page, and so in turn. A decision waits for a snapshot; so it stands behind one page of each reader at most.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

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

/// Snapshots that a reader is asked for.
pub(super) struct Get {
    pub(super) asks: Vec<Ask>,
    pub(super) reply: Reply<Vec<Snapshot>>,
}

/// What else a reader is asked.
pub(super) enum Question {
    Find { tenant: Tenant, query: Query, after: Option<Vec<u8>>, limit: usize, reply: Reply<Page> },
    Read { after: Position, limit: usize, reply: Reply<LogPage> },
    Health { reply: Reply<Health> },
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

/// Calls for snapshots that are taken at once, at most.
const GETS_MAX: usize = 64;

/// Keys that calls of several callers ask for at once, at most. Who asks for more is answered alone.
const KEYS_MAX: usize = 8_192;

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
    let (mut gets, mut question) = (VecDeque::new(), VecDeque::new());
    while poll_fn(|context| poll_take(&shared, context, &mut gets, &mut question)).await {
        if !gets.is_empty() {
            let weight = gets.iter().fold(0usize, |sum, get: &Get| sum.saturating_add(get.asks.len()));
            shared.gets.done(weight);
            while !gets.is_empty() {
                reader.get(next_gets(&mut gets)).await;
            }
            // Only now: till then another reader may have it.
            if question.is_empty() {
                shared.questions.take(&mut question, 1, false);
            }
        }
        if let Some(question) = question.pop_front() {
            shared.questions.done(1);
            reader.serve(question).await;
        }
    }
}

/// The calls that are asked with one statement: those that somebody waits for, as many as have few keys together.
fn next_gets(gets: &mut VecDeque<Get>) -> Vec<Get> {
    let (mut taken, mut keys) = (Vec::new(), 0usize);
    while let Some(get) = gets.pop_front() {
        if get.reply.is_canceled() {
            continue;
        }
        keys = get.asks.iter().map(Ask::keys).fold(keys, usize::saturating_add);
        if keys > KEYS_MAX && !taken.is_empty() {
            gets.push_front(get);
            break;
        }
        taken.push(get);
    }
    taken
}

/// Takes what waits for snapshots, or else one other question. False when both queues are closed and empty.
fn poll_take(
    shared: &Shared,
    context: &mut Context<'_>,
    gets: &mut VecDeque<Get>,
    question: &mut VecDeque<Question>,
) -> Poll<bool> {
    let mut taken = [shared.gets.poll_take(context, gets, GETS_MAX), Poll::Pending];
    if taken[0] != Poll::Ready(true) {
        taken[1] = shared.questions.poll_take(context, question, 1);
    }
    if taken.contains(&Poll::Ready(true)) {
        // What comes now is for one that sleeps.
        shared.gets.forget(context.waker());
        shared.questions.forget(context.waker());
        return Poll::Ready(true);
    }
    if taken.contains(&Poll::Pending) { Poll::Pending } else { Poll::Ready(false) }
}

/// The end of a reader, with its runtime or by a panic: better closed than never answered.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.questions.close("a reader ended; open the store again");
        self.0.gets.close("a reader ended; open the store again");
        self.0.questions.take(&mut VecDeque::new(), usize::MAX, false);
        self.0.gets.take(&mut VecDeque::new(), usize::MAX, false);
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    session: Option<Session>,
}

impl Reader<'_> {
    /// In each, nobody may be waiting any more.
    async fn serve(&mut self, question: Question) {
        let shared = self.shared;
        match question {
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

    async fn get(&mut self, gets: Vec<Get>) {
        if gets.is_empty() {
            return;
        }
        let shared = self.shared;
        let all: Vec<&Ask> = gets.iter().flat_map(|get| &get.asks).collect();
        match asked!(self, session, get::snapshots(session, shared, &all)) {
            Ok(snapshots) => {
                let mut snapshots = snapshots.into_iter();
                for Get { asks, reply } in gets {
                    drop(reply.send(Ok(snapshots.by_ref().take(asks.len()).collect())));
                }
            }
            // One row that cannot be read must not stop the others.
            Err(error) if error.kind() == ErrorKind::Corrupt && gets.len() > 1 => {
                for Get { asks, reply } in gets {
                    let asks: Vec<&Ask> = asks.iter().collect();
                    drop(reply.send(asked!(self, session, get::snapshots(session, shared, &asks))));
                }
            }
            Err(error) => gets.into_iter().for_each(|get| drop(get.reply.send(Err(error.again())))),
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
