//! A layer whose span follows each handler, and how that joins the trace of the sender.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
};

use tower_layer::Layer;
use tower_service::Service;
use tracing::{Instrument as _, Span, field::Empty};

use super::{Failure, Job};
use crate::{
    message::Message,
    queue::{Group, Position},
    spans::{Context, Origin, Relation, Trace, fail},
};

/// So many attempts are remembered, the last ones, for those that come after them.
const ATTEMPTS_MAX: usize = 4_096;

/// The span of a handler.
fn process(trace: &Trace, job: &Job) -> Span {
    let (group, message) = (job.group(), job.message());
    let span = tracing::info_span!(
        "process",
        otel.name = %format_args!("process {}", group.topic()),
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "txn",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = %group.topic(),
        messaging.consumer.group.name = %group.name(),
        messaging.message.id = %message.id,
        messaging.message.conversation_id = message.correlation_id.as_deref(),
        messaging.txn.message.delivery_attempt = job.deliveries(),
        error.type = Empty,
    );
    let is_first = job.deliveries() == 1 && job.death().is_none();
    trace.join(&span, message, if is_first { Relation::Child } else { Relation::Link });
    span
}

/// The span of a worker's call that settles several messages.
pub(super) fn settle<'m>(trace: &Trace, group: &Group, messages: impl ExactSizeIterator<Item = &'m Message>) -> Span {
    let span = Trace::settling("settle", None, group, messages.len());
    if trace.is_joined() {
        messages.for_each(|message| trace.join(&span, message, Relation::Link));
    }
    span
}

/// The attempts that are not known to have been done, each with the context of its span.
#[derive(Debug, Default)]
struct Attempts {
    contexts: HashMap<(Group, Position), Context>,
    order: VecDeque<(Group, Position)>,
}

impl Attempts {
    /// Gives the attempt before.
    fn remember(&mut self, place: (Group, Position), context: Context) -> Option<Context> {
        let before = self.contexts.insert(place.clone(), context);
        if before.is_none() {
            self.order.push_back(place);
        }
        while self.order.len() > ATTEMPTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.contexts.remove(&oldest);
        }
        before
    }
}

/// A layer whose span follows each handler: `process`, with the attributes that OpenTelemetry's semantic conventions for messaging (in development) name. A worker's settlements have spans of level debug; those of
/// handlers are of level info. No span says a payload, a key or a failure's reason.
///
/// | attribute | value |
/// |---|---|
/// | `otel.name`, `otel.kind` | `process` and the topic, `consumer`; for settlements `settle` and the topic, `client` |
/// | `messaging.system` | `txn` |
/// | `messaging.operation.name`, `messaging.operation.type` | `process`, or `settle` |
/// | `messaging.destination.name`, `messaging.consumer.group.name` | the topic and the group |
/// | `messaging.message.id`, `messaging.message.conversation_id` | the message's id and its correlation id |
/// | `messaging.txn.message.delivery_attempt` | how often it has been delivered |
/// | `messaging.batch.message_count` | for settlements, how many |
/// | `error.type`, `otel.status_code` | the failure's [`Class::word`](super::Class::word) and `ERROR`, when it failed |
impl<S> Layer<S> for Trace {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner, trace: self.clone(), attempts: Arc::default() }
    }
}

/// What [`Trace`] makes of a service.
#[derive(Debug, Clone)]
pub struct Traced<S> {
    inner: S,
    trace: Trace,
    attempts: Arc<Mutex<Attempts>>,
}

impl<S> Service<Job> for Traced<S>
where
    S: Service<Job, Error: Into<Failure>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let span = process(&self.trace, &job);
        let own = self.trace.context(&span).map(|context| {
            let place = (job.group().clone(), job.lease().position);
            let mut attempts = lock(&self.attempts);
            let before = attempts.remember(place.clone(), context).filter(|_| job.deliveries() > 1);
            drop(attempts);
            if let Some((parent, state)) = before {
                let origin = Origin { parent, state: state.as_deref(), relation: Relation::Link };
                self.trace.join_with(&span, &origin);
            }
            (Arc::clone(&self.attempts), place)
        });
        let call = span.in_scope(|| self.inner.call(job));
        let recorded = span.clone();
        let follow = async move {
            let answer = call.await.map_err(Into::into);
            match (&answer, own) {
                (Err(failure), _) => fail(&recorded, failure.class().word()),
                (Ok(_), Some((attempts, place))) => drop(lock(&attempts).contexts.remove(&place)),
                (Ok(_), None) => {}
            }
            answer
        };
        Box::pin(follow.instrument(span))
    }
}

fn lock(attempts: &Mutex<Attempts>) -> MutexGuard<'_, Attempts> {
    attempts.lock().unwrap_or_else(PoisonError::into_inner)
}
