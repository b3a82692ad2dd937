//! What a store says of itself to the facades of `metrics` and `tracing`. The names stand on the crate's page.

use std::{collections::HashSet, time::Duration};

use tracing::{Id, Instrument, Span, debug_span, field::Empty};
use txn_change::Refusal;

use crate::{
    error::{Error, ErrorKind},
    host::Tentative,
    store::Outcome,
};

/// A backend by its name, as the label says it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observe(pub(crate) &'static str);

/// The word for what became of a change.
const fn outcome(answer: &Result<Outcome, Error>) -> &'static str {
    match answer {
        Ok(Outcome::Done(receipt)) if receipt.replayed => "replayed",
        Ok(Outcome::Done(_)) => "done",
        Ok(Outcome::Refused(Refusal::Conflict { .. })) => "conflict",
        Ok(Outcome::Refused(_)) => "refused",
        Ok(Outcome::Unknown(_)) => "unknown",
        Err(_) => "error",
    }
}

/// The word for what became of a call with several changes: the one that they share.
fn outcome_of_all(answers: &[Result<Outcome, Error>]) -> &'static str {
    let mut outcomes = answers.iter().map(outcome);
    let first = outcomes.next().unwrap_or("done");
    if outcomes.all(|outcome| outcome == first) { first } else { "mixed" }
}

/// Does the work of a call within its span, and says there how it ended. A call that is dropped leaves no outcome. Where nobody listens to the span, this does nothing.
async fn follow<T>(span: Span, call: impl Future<Output = T>, outcome: impl FnOnce(&T) -> &'static str) -> T {
    if span.is_disabled() {
        return call.await;
    }
    let answer = call.instrument(span.clone()).await;
    span.record("outcome", outcome(&answer));
    answer
}

const fn done_or_error<T>(answer: &Result<T, Error>) -> &'static str {
    if answer.is_ok() { "done" } else { "error" }
}

/// What became of the parts of a group: what they share.
#[derive(Debug, Default)]
pub(crate) struct Parts(Option<&'static str>);

impl Parts {
    pub(crate) fn add(&mut self, outcome: &'static str) {
        self.0 = Some(self.0.filter(|earlier| *earlier != outcome).map_or(outcome, |_| "mixed"));
    }

    /// Says so in the span of the group.
    pub(crate) fn record_in(self, span: &Span) {
        span.record("outcome", self.0);
    }
}

impl Observe {
    /// Follows a call of [`Store::commit`](crate::Store::commit), which is given the name of its span.
    pub(crate) async fn commit<F: Future<Output = Vec<Result<Outcome, Error>>>>(
        self,
        changes: usize,
        call: impl FnOnce(Option<Id>) -> F,
    ) -> Vec<Result<Outcome, Error>> {
        let span = debug_span!("txn_store.commit", backend = self.0, changes, outcome = Empty);
        let call = call(span.id());
        follow(span, call, |answers| outcome_of_all(answers)).await
    }

    /// Follows a call of [`Store::get`](crate::Store::get).
    pub(crate) async fn get<T>(self, asks: usize, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let span = debug_span!("txn_store.get", backend = self.0, asks, outcome = Empty);
        follow(span, call, done_or_error).await
    }

    /// Follows a call of [`Store::find`](crate::Store::find).
    pub(crate) async fn find<T>(self, limit: usize, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let span = debug_span!("txn_store.find", backend = self.0, limit, outcome = Empty);
        follow(span, call, done_or_error).await
    }

    /// Follows a call of [`Store::read`](crate::Store::read).
    pub(crate) async fn read<T>(self, limit: usize, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let span = debug_span!("txn_store.read", backend = self.0, limit, outcome = Empty);
        follow(span, call, done_or_error).await
    }

    /// A change was answered, so long after it was handed over. `None`: its committer died with it in hand.
    pub(crate) fn answered(self, answer: Option<&Result<Outcome, Error>>, after: Duration) {
        let outcome = answer.map_or("unknown", outcome);
        metrics::counter!("txn_store_changes_total", "backend" => self.0, "outcome" => outcome).increment(1);
        metrics::histogram!("txn_store_commit_seconds", "backend" => self.0).record(after);
    }

    /// A change was judged inside a host's transaction; whether that is committed is not known here.
    pub(crate) fn in_host(self, judged: &Result<Tentative, Error>) {
        let outcome = match judged {
            Ok(Tentative::Pending(pending)) if pending.is_replayed() => "replayed",
            Ok(Tentative::Pending(_)) => "pending",
            Ok(Tentative::Refused(_)) => "refused",
            Err(error) if error.kind() == ErrorKind::Contended => "contended",
            Err(_) => "error",
        };
        metrics::counter!("txn_store_host_changes_total", "backend" => self.0, "outcome" => outcome).increment(1);
    }

    /// A group was begun, while so many changes wait. It is a span of its own, which follows from those of the calls whose changes it holds.
    pub(crate) fn group(self, callers: impl ExactSizeIterator<Item = Option<Id>>, queued: usize) -> Span {
        let changes = callers.len();
        metrics::histogram!("txn_store_group_changes", "backend" => self.0).record(small(changes));
        metrics::gauge!("txn_store_queued_changes", "backend" => self.0).set(small(queued));
        if changes == 0 {
            return Span::none();
        }
        let span = debug_span!(parent: None, "txn_store.group", backend = self.0, changes, outcome = Empty);
        if !span.is_disabled() {
            for caller in callers.flatten().collect::<HashSet<Id>>() {
                span.follows_from(caller);
            }
        }
        span
    }

    /// So many changes of a group were put off.
    #[cfg(feature = "postgres")]
    pub(crate) fn skipped(self, changes: usize) {
        if changes > 0 {
            metrics::counter!("txn_store_skips_total", "backend" => self.0).increment(changes as u64);
            tracing::debug!(backend = self.0, changes, "rows are held by another; the changes are put off");
        }
    }

    /// A group is begun again.
    #[cfg(feature = "postgres")]
    pub(crate) fn again(self, why: &str) {
        metrics::counter!("txn_store_retries_total", "backend" => self.0).increment(1);
        tracing::debug!(backend = self.0, why, "a group is begun again");
    }

    /// So many changes were committed and had no place after a step of the sequencer.
    #[cfg(feature = "postgres")]
    pub(crate) fn unchained(self, changes: i64) {
        metrics::gauge!("txn_store_unchained_changes", "backend" => self.0)
            .set(small(usize::try_from(changes).unwrap_or(0)));
    }

    /// The write-ahead log holds so many pages.
    #[cfg(feature = "sqlite")]
    pub(crate) fn log_pages(self, pages: i64) {
        metrics::gauge!("txn_store_log_pages", "backend" => self.0).set(small(usize::try_from(pages).unwrap_or(0)));
    }

    /// A reader of an old state keeps a write-ahead log of so many pages from being begun anew.
    #[cfg(feature = "sqlite")]
    pub(crate) fn log_is_held(self, pages: i64) {
        tracing::warn!(backend = self.0, pages, "somebody reads an old state, and the write-ahead log grows");
    }

    /// The medium works again, and everything that was acknowledged is there.
    #[cfg(feature = "sqlite")]
    pub(crate) fn recovered(self) {
        tracing::info!(backend = self.0, "the database has been opened again; changes are taken");
    }

    /// Something failed that an operator wants to know.
    pub(crate) fn failed(self, what: &str, error: &Error) {
        tracing::warn!(backend = self.0, %error, "{what}");
    }
}

fn small(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
