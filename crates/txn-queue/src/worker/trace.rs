//! Spans by OpenTelemetry's semantic conventions for messaging, and how they join the trace of the sender.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;
use tracing::{Instrument as _, Span, field::Empty};

use super::{Failure, Job};
use crate::{message::Message, queue::Group, trace::TraceParent};

/// How a span stands to the one that sent the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It is its child: the message is delivered for the first time, and alone.
    Child,
    /// It is linked with it: the message is delivered again, or is a dead letter, or one of several.
    Link,
}

/// Where a message comes from, as a span is to say it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Origin<'m> {
    /// The span that sent the message.
    pub parent: TraceParent,
    /// What vendors add to the trace.
    pub state: Option<&'m str>,
    /// How the span stands to it.
    pub relation: Relation,
}

type Join = dyn Fn(&Span, &Origin<'_>) + Send + Sync;

/// A layer whose span follows each handler: `process`, with the attributes that OpenTelemetry's semantic conventions for messaging (in development) name. The span is made here and nothing is installed: a host that
/// exports spans joins them with the sender's trace in its hook.
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
///
/// No span says a payload, a key or a failure's reason. A worker's settlements have spans of level debug; those of handlers are of level info.
///
/// ```
/// use txn_queue::worker::{Relation, Trace};
/// let trace = Trace::joined(|span, origin| match origin.relation {
///     // With tracing-opentelemetry: `span.set_parent(context)` and `span.add_link(context)`.
///     Relation::Child => println!("{span:?} is a child in {}", origin.parent),
///     Relation::Link => println!("{span:?} is linked with {}", origin.parent),
/// });
/// # let _ = trace;
/// ```
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<Join>>);

impl Trace {
    /// Spans that no hook is told of.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spans that a hook joins with the sender's trace. It is called before the span is entered, for every message that says where it comes from.
    pub fn joined(join: impl Fn(&Span, &Origin<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(join)))
    }

    fn join(&self, span: &Span, message: &Message, relation: Relation) {
        if let (Some(join), Some(parent), false) = (&self.0, message.trace_parent, span.is_disabled()) {
            join(span, &Origin { parent, state: message.trace_state.as_deref(), relation });
        }
    }

    fn process(&self, job: &Job) -> Span {
        let (group, message) = (&job.lease().group, job.message());
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
        self.join(&span, message, if is_first { Relation::Child } else { Relation::Link });
        span
    }

    /// The span of a call that settles several messages.
    pub(super) fn settle<'m>(&self, group: &Group, messages: impl ExactSizeIterator<Item = &'m Message>) -> Span {
        let span = tracing::debug_span!(
            "settle",
            otel.name = %format_args!("settle {}", group.topic()),
            otel.kind = "client",
            messaging.system = "txn",
            messaging.operation.name = "settle",
            messaging.operation.type = "settle",
            messaging.destination.name = %group.topic(),
            messaging.consumer.group.name = %group.name(),
            messaging.batch.message_count = messages.len(),
        );
        if self.0.is_some() && !span.is_disabled() {
            messages.for_each(|message| self.join(&span, message, Relation::Link));
        }
        span
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("is_joined", &self.0.is_some()).finish()
    }
}

impl<S> Layer<S> for Trace {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner, trace: self.clone() }
    }
}

/// What [`Trace`] makes of a service.
#[derive(Debug, Clone)]
pub struct Traced<S> {
    inner: S,
    trace: Trace,
}

impl<S> Service<Job> for Traced<S>
where
    S: Service<Job, Error: Into<Failure>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let span = self.trace.process(&job);
        let call = span.in_scope(|| self.inner.call(job));
        let recorded = span.clone();
        let follow = async move {
            let answer = call.await.map_err(Into::into);
            if let Err(failure) = &answer {
                recorded.record("error.type", failure.class().word());
                recorded.record("otel.status_code", "ERROR");
            }
            answer
        };
        Box::pin(follow.instrument(span))
    }
}
