//! What every backend that commits in groups shares: callers hand over changes and wait; a committer takes what has gathered, fairly, and answers each.

#[cfg(feature = "postgres")]
mod lanes;
mod lines;
mod queue;
mod room;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "sqlite"))]
use std::time::Duration;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures_channel::oneshot;
use txn_change::Change;

#[cfg(feature = "postgres")]
pub(crate) use lanes::{Gathered, Lanes};
pub(crate) use lines::Lines;
pub(crate) use queue::Queue;

#[cfg(any(test, feature = "sqlite"))]
use crate::error::ErrorKind;
use crate::{
    error::Error,
    limits::StoreLimits,
    observe::Observe,
    store::{Commit, Outcome},
    tail::check_id,
};

/// What a change came to; `None` when its committer died with it in hand.
type Answer = Option<Result<Outcome, Error>>;

/// A change that waits to be committed. Dropped without an answer, its caller is told that the outcome is unknown.
pub(crate) struct Waiting {
    pub(crate) commit: Commit,
    pub(crate) since: Instant,
    /// How often it was passed over because somebody else held its rows.
    #[cfg(feature = "postgres")]
    pub(crate) skips: u32,
    /// How often it was passed over because another lane had its rows in flight.
    #[cfg(feature = "postgres")]
    passes: u32,
    #[cfg(feature = "postgres")]
    touches: Box<[lanes::Touch]>,
    bytes: usize,
    at: usize,
    call: Arc<Call>,
}

/// One call of `commit`: answered when all of its changes are, or when it is given up.
pub(crate) struct Call {
    observe: Observe,
    /// Only the name of its span, which ends with the caller.
    span: Option<tracing::Id>,
    since: Instant,
    state: Mutex<CallState>,
}

struct CallState {
    answers: Vec<Answer>,
    reply: Option<oneshot::Sender<Vec<Answer>>>,
    left: usize,
    /// So many of its changes, the first ones, have been in the hands of a committer, or were answered.
    begun: usize,
    /// What it has of the room for what waits, until all of it is answered or gone.
    seat: Option<room::Seat>,
}

impl Waiting {
    /// Answers it.
    pub(crate) fn answer(self, answer: Result<Outcome, Error>) {
        let mut state = self.call.state();
        if state.reply.is_some() {
            self.call.observe.answered(Some(&answer), self.since.elapsed());
        }
        if let Some(place) = state.answers.get_mut(self.at) {
            *place = Some(answer);
        }
        state.left = state.left.saturating_sub(1);
        if state.left == 0 {
            // Before the caller hears of it, and comes with the next.
            state.seat = None;
            state.reply();
        }
    }

    /// The span of its caller.
    pub(crate) fn caller(&self) -> Option<tracing::Id> {
        self.call.span.clone()
    }

    /// Whether nobody waits for it any more, so that it need not be begun.
    fn is_dropped(&self) -> bool {
        self.call.state().reply.as_ref().is_none_or(oneshot::Sender::is_canceled)
    }

    /// Takes it into the hands of a committer, unless nobody waits for it any more: then it must not be begun.
    fn begin(&self) -> bool {
        let mut state = self.call.state();
        let is_waited_for = state.reply.as_ref().is_some_and(|reply| !reply.is_canceled());
        if is_waited_for {
            state.begun = state.begun.max(self.at.saturating_add(1));
        }
        is_waited_for
    }

    /// Whether both are of one call, where the order counts.
    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn is_of_call_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.call, &other.call)
    }
}

impl Call {
    fn state(&self) -> std::sync::MutexGuard<'_, CallState> {
        // Nothing in here can panic between two writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what has not been answered, since it has waited for so long: what was begun is unknown, and what was not never will be.
    #[cfg(any(test, feature = "sqlite"))]
    pub(crate) fn give_up(&self, after: Duration) {
        let mut state = self.state();
        if state.reply.is_none() {
            return;
        }
        let begun = state.begun;
        for (at, answer) in state.answers.iter_mut().enumerate().filter(|(_, answer)| answer.is_none()) {
            if at >= begun {
                let context = format!("waited {after:?} to be begun; a call may not wait longer");
                *answer = Some(Err(Error::new(ErrorKind::Overloaded, context)));
            }
            self.observe.answered(answer.as_ref(), self.since.elapsed());
        }
        state.reply();
    }
}

impl CallState {
    fn reply(&mut self) {
        if let Some(reply) = self.reply.take() {
            // Nobody may be waiting any more.
            let _ = reply.send(std::mem::take(&mut self.answers));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.state();
        let left = if state.reply.is_some() { state.left } else { 0 };
        (0..left).for_each(|_| self.observe.answered(None, self.since.elapsed()));
        state.reply();
    }
}

/// Checks a batch, hands what is well-formed to the committer, and waits for the answers: one each, in order.
#[cfg(any(test, feature = "postgres"))]
pub(crate) async fn commit(
    queue: &Queue<Waiting>,
    limits: &StoreLimits,
    observe: Observe,
    span: Option<tracing::Id>,
    batch: Vec<Commit>,
) -> Vec<Result<Outcome, Error>> {
    commit_known(queue, limits, observe, span, batch, |_| {}).await
}

/// The same, with its call made known to somebody who may give it up.
pub(crate) async fn commit_known(
    queue: &Queue<Waiting>,
    limits: &StoreLimits,
    observe: Observe,
    span: Option<tracing::Id>,
    batch: Vec<Commit>,
    make_known: impl FnOnce(&Arc<Call>) + Send,
) -> Vec<Result<Outcome, Error>> {
    if let Some(refused) = limits.refuse_batch(batch.len()) {
        return refused;
    }
    let mut results: Vec<Option<Result<Outcome, Error>>> = Vec::with_capacity(batch.len());
    let (mut well_formed, mut ids) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for commit in batch {
        match commit.change.check(&limits.change).and_then(|()| check_id(&commit.tenant, &commit.change)) {
            Ok(()) => {
                results.push(None);
                ids.push(commit.change.id.clone());
                well_formed.push(commit);
            }
            Err(invalid) => results.push(Some(Ok(Outcome::Refused(invalid.into())))),
        }
    }
    if ids.is_empty() {
        return results.into_iter().flatten().collect();
    }
    let (reply, answers) = oneshot::channel();
    let since = Instant::now();
    let call = Arc::new(Call {
        observe,
        span,
        since,
        state: Mutex::new(CallState {
            answers: ids.iter().map(|_| None).collect(),
            reply: Some(reply),
            left: ids.len(),
            begun: 0,
            seat: None,
        }),
    });
    let waiting = well_formed.into_iter().enumerate().map(|(at, commit)| {
        let bytes = weigh(&commit.change);
        Waiting {
            commit,
            since,
            #[cfg(feature = "postgres")]
            skips: 0,
            #[cfg(feature = "postgres")]
            passes: 0,
            #[cfg(feature = "postgres")]
            touches: Box::default(),
            bytes,
            at,
            call: Arc::clone(&call),
        }
    });
    let waiting: Vec<Waiting> = waiting.collect();
    let bytes = waiting.iter().fold(0usize, |sum, waiting| sum.saturating_add(waiting.bytes));
    let tenant = waiting.first().map(|waiting| waiting.commit.tenant.clone()).unwrap_or_default();
    let admit = || {
        call.state().seat = Some(queue.room().take(limits, &tenant, ids.len(), bytes)?);
        Ok(())
    };
    let answers: Vec<Answer> = match queue.push_all(waiting, admit) {
        Err(error) => {
            call.state().left = 0;
            let answers = ids.iter().map(|_| Some(Err(error.again())));
            answers.inspect(|answer| observe.answered(answer.as_ref(), since.elapsed())).collect()
        }
        Ok(()) => {
            make_known(&call);
            drop(call);
            answers.await.unwrap_or_default()
        }
    };
    // What was not answered was in the hands of a committer that died, or took too long.
    let mut answers = answers.into_iter().chain(std::iter::repeat_with(|| None));
    let mut settled = ids.into_iter().map(|id| answers.next().flatten().unwrap_or(Ok(Outcome::Unknown(id))));
    let filled = results.into_iter().map(|result| result.or_else(|| settled.next()));
    filled.map(|result| result.expect("one answer for each well-formed change")).collect()
}

/// What a row costs beside its bodies, in bytes, for [`StoreLimits::group_bytes_max`].
const ROW_BYTES: usize = 256;

/// Bytes that a change takes in a group: its bodies, and something for each row.
fn weigh(change: &Change) -> usize {
    let puts = change.put.iter().map(|put| {
        let body = put.body.as_ref().map_or(0, |body| body.bytes().len());
        put.terms.len().saturating_add(1).saturating_mul(ROW_BYTES).saturating_add(body)
    });
    let events = change.append.iter().map(|event| {
        event.terms.len().saturating_add(1).saturating_mul(ROW_BYTES).saturating_add(event.body.bytes().len())
    });
    let others = [change.require.len(), change.counters().count(), change.add.len(), 1];
    let others = others.into_iter().map(|count| count.saturating_mul(ROW_BYTES));
    puts.chain(events).chain(others).fold(change.answer.bytes().len(), usize::saturating_add)
}
