//! What a backend says of itself to the facades of `metrics` and `tracing`: one place, which every call of [`Queue`](crate::Queue) goes through. The names stand in `docs/queue.md`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::Label;
use tracing::{Instrument as _, Span};
use txn_change::Timestamp;

use crate::{
    engine::between,
    error::{Error, ErrorKind},
    queue::{Action, Address, Delivery, Group, Publish, Published, Receive, Received, Refusal, Settle, Settled},
    spans::{Relation, Trace, fail, is_within_settlement},
};

/// A backend by its name, as the labels say it, and the hooks of its host.
#[derive(Debug)]
pub(crate) struct Observe {
    backend: &'static str,
    pub(crate) trace: Trace,
}

/// Whose transaction a call is in, and so what an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    Own,
    /// What is done is so when the host commits, which is not known here.
    #[cfg(feature = "postgres")]
    Host,
}

/// What the results of a call say of its span.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    refused: bool,
    unknown: bool,
}

impl Observe {
    pub(crate) fn new(backend: &'static str) -> Self {
        Self { backend, trace: Trace::new() }
    }

    /// Follows a call that publishes.
    pub(crate) async fn publish<F: Future<Output = Result<Vec<Published>, Error>>>(
        &self,
        mut batch: Vec<Publish>,
        within: Within,
        call: impl FnOnce(Vec<Publish>) -> F,
    ) -> Result<Vec<Published>, Error> {
        let span = self.trace.publishing(self.backend, &mut batch);
        let to = addresses(&batch);
        let name = if within == Within::Own { "publish" } else { "publish_in" };
        let answer = self.follow(name, &span, call(batch)).await;
        if let Ok(results) = &answer {
            let (mut rest, mut told) = (results.as_slice(), Told::default());
            for (to, count) in to {
                let (of_run, others) = rest.split_at(count.min(rest.len()));
                self.published(&to, within, of_run, &mut told);
                rest = others;
            }
            if told.unknown {
                fail(&span, "unknown");
            } else if told.refused {
                fail(&span, "refused");
            }
        }
        answer
    }

    /// Follows a call that receives.
    pub(crate) async fn receive<F: Future<Output = Result<Received, Error>>>(
        &self,
        receive: Receive,
        call: impl FnOnce(Receive) -> F,
    ) -> Result<Received, Error> {
        let span = Trace::receiving(self.backend, &receive);
        let (group, lease) = (receive.group.clone(), receive.lease);
        let answer = self.follow("receive", &span, call(receive)).await;
        if let Ok(received) = &answer {
            let deliveries = &received.deliveries;
            span.record("messaging.batch.message_count", deliveries.len());
            if self.trace.is_joined() {
                deliveries.iter().for_each(|delivery| self.trace.join(&span, &delivery.message, Relation::Link));
            }
            self.received(&group, lease, deliveries);
        }
        answer
    }

    /// Follows a call that settles.
    pub(crate) async fn settle<F: Future<Output = Result<Vec<Settled>, Error>>>(
        &self,
        group: &Group,
        batch: Vec<Settle>,
        within: Within,
        call: impl FnOnce(Vec<Settle>) -> F,
    ) -> Result<Vec<Settled>, Error> {
        // They are alike, nearly always.
        let first = batch.first().map_or(Word::Ack, |settle| Word::of(&settle.action));
        let are_alike = batch.iter().all(|settle| Word::of(&settle.action) == first);
        let words: Vec<Word> =
            if are_alike { Vec::new() } else { batch.iter().map(|settle| Word::of(&settle.action)).collect() };
        let span = if is_within_settlement() {
            Span::none()
        } else {
            let is_extension = are_alike && first == Word::Extend;
            Trace::settling(if is_extension { "extend" } else { "settle" }, Some(self.backend), group, batch.len())
        };
        let name = if within == Within::Own { "settle" } else { "settle_in" };
        let answer = self.follow(name, &span, call(batch)).await;
        if let Ok(results) = &answer {
            let told = if are_alike {
                self.settled(group, within, results.iter().map(|settled| (first, *settled)))
            } else {
                self.settled(group, within, words.into_iter().zip(results.iter().copied()))
            };
            if told.unknown {
                fail(&span, "unknown");
            }
        }
        answer
    }

    async fn follow<T>(
        &self,
        name: &'static str,
        span: &Span,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let since = Instant::now();
        let answer = call.instrument(span.clone()).await;
        let outcome = answer.as_ref().map_or_else(|error| word(error.kind()), |_| "done");
        metrics::histogram!("txn_queue_call_seconds", "backend" => self.backend, "call" => name, "outcome" => outcome)
            .record(since.elapsed());
        if let Err(error) = &answer {
            fail(span, word(error.kind()));
        }
        answer
    }

    fn published(&self, to: &Address, within: Within, results: &[Published], told: &mut Told) {
        // A name that nothing has is no label: there is no end of such names.
        let (mut accepted, mut duplicate, mut refused, mut nowhere, mut unknown) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
        for published in results {
            let count = match published {
                Published::Accepted { .. } => &mut accepted,
                Published::Duplicate => &mut duplicate,
                Published::Refused(Refusal::Full { .. } | Refusal::Conflict { .. } | Refusal::Scheduled { .. }) => {
                    &mut refused
                }
                Published::Refused(_) => &mut nowhere,
                Published::Unknown => &mut unknown,
            };
            *count = count.saturating_add(1);
        }
        told.refused |= refused > 0 || nowhere > 0;
        told.unknown |= unknown > 0;
        let accepted_as = if within == Within::Own { "accepted" } else { "pending" };
        let (kind, name) = match to {
            Address::Topic(topic) => ("topic", topic.to_shared()),
            Address::Exchange { name, .. } => ("exchange", name.to_shared()),
        };
        let known = [(accepted, accepted_as), (duplicate, "duplicate"), (refused, "refused")];
        for (count, outcome) in known.into_iter().filter(|(count, _)| *count > 0) {
            let labels = vec![self.label(), Label::new(kind, Arc::clone(&name)), Label::new("outcome", outcome)];
            metrics::counter!("txn_queue_published_total", labels).increment(count);
        }
        for (count, outcome) in [(nowhere, "refused"), (unknown, "unknown")].into_iter().filter(|(count, _)| *count > 0)
        {
            let labels = vec![self.label(), Label::new(kind, ""), Label::new("outcome", outcome)];
            metrics::counter!("txn_queue_published_total", labels).increment(count);
        }
    }

    fn received(&self, group: &Group, lease: Duration, deliveries: &[Delivery]) {
        if deliveries.is_empty() {
            return;
        }
        let (mut first, mut again) = (0_u64, 0_u64);
        let claim = metrics::histogram!("txn_queue_claim_seconds", self.labels(group));
        let mut rest = deliveries;
        while let Some(delivery) = rest.first() {
            // What was accepted together, and was due then, has waited alike.
            let is_like = |other: &&Delivery| {
                other.deliveries == 1 && other.accepted_at == delivery.accepted_at && other.message.due.is_none()
            };
            let count = rest.iter().take_while(is_like).count();
            let (alike, others) = rest.split_at(count.max(1));
            rest = others;
            let count = u64::try_from(alike.len()).unwrap_or(u64::MAX);
            if delivery.deliveries > 1 {
                again = again.saturating_add(count);
            } else {
                first = first.saturating_add(count);
                claim.record_many(waited(delivery, lease), alike.len());
            }
        }
        for (count, attempt) in [(first, "first"), (again, "again")].into_iter().filter(|(count, _)| *count > 0) {
            let mut labels = self.labels(group);
            labels.push(Label::new("attempt", attempt));
            metrics::counter!("txn_queue_received_total", labels).increment(count);
        }
    }

    fn settled(&self, group: &Group, within: Within, settled: impl Iterator<Item = (Word, Settled)>) -> Told {
        let mut counts: Vec<((Word, Settled), u64)> = Vec::new();
        for settled in settled {
            match counts.iter_mut().find(|(known, _)| *known == settled) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => counts.push((settled, 1)),
            }
        }
        let mut told = Told::default();
        for ((action, settled), count) in counts {
            told.unknown |= settled == Settled::Unknown;
            let result = match settled {
                Settled::Applied if within == Within::Own => "applied",
                Settled::Applied => "pending",
                Settled::Stale => "stale",
                Settled::Gone => "gone",
                Settled::Unknown => "unknown",
            };
            let mut labels = self.labels(group);
            labels.extend([Label::new("action", action.text()), Label::new("result", result)]);
            metrics::counter!("txn_queue_settled_total", labels).increment(count);
        }
        told
    }

    fn label(&self) -> Label {
        Label::new("backend", self.backend)
    }

    /// The labels of a group, and room for two more.
    fn labels(&self, group: &Group) -> Vec<Label> {
        let mut labels = Vec::with_capacity(5);
        labels.extend([
            self.label(),
            Label::new("topic", group.topic().to_shared()),
            Label::new("group", group.name().to_shared()),
        ]);
        labels
    }
}

/// The addresses of a batch, each with how many of its messages follow each other there.
fn addresses(batch: &[Publish]) -> Vec<(Address, usize)> {
    let mut addresses: Vec<(Address, usize)> = Vec::new();
    for Publish { to, messages } in batch {
        match addresses.last_mut() {
            Some((last, count)) if last == to => *count = count.saturating_add(messages.len()),
            _ => addresses.push((to.clone(), messages.len())),
        }
    }
    addresses
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Ack,
    Retry,
    Release,
    Dead,
    Extend,
}

impl Word {
    const fn of(action: &Action) -> Self {
        match action {
            Action::Ack => Self::Ack,
            Action::Retry { .. } => Self::Retry,
            Action::Release => Self::Release,
            Action::Dead { .. } => Self::Dead,
            Action::Extend { .. } => Self::Extend,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Retry => "retry",
            Self::Release => "release",
            Self::Dead => "dead",
            Self::Extend => "extend",
        }
    }
}

const fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Overloaded => "overloaded",
        ErrorKind::Closed => "closed",
        ErrorKind::Locked => "locked",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Newer => "newer",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Unknown => "unknown",
    }
}

/// From when a message was accepted, or first due, until it was leased, by the backend's clock.
fn waited(delivery: &Delivery, lease: Duration) -> Duration {
    let lease = i64::try_from(lease.as_nanos()).unwrap_or(i64::MAX);
    let leased_at = Timestamp::from_nanos(delivery.leased_until.as_nanos().saturating_sub(lease));
    between(delivery.message.first_due(delivery.accepted_at), leased_at)
}
