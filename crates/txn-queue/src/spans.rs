//! Spans by OpenTelemetry's semantic conventions for messaging (in development), and how a host that exports them joins them with the traces of others.
//!
//! The spans are made here and nothing is installed. That one span is linked with another is not what `tracing` knows of spans that other processes had: a host says so in its hook, [`Trace`].

use std::{fmt, sync::Arc};

use tracing::{Span, field::Empty};

#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
use crate::queue::{Address, Publish, Receive};
use crate::{message::Message, queue::Group, trace::TraceParent};

/// How a span stands to the one that it is joined with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// It is its child: the message is delivered for the first time, and alone.
    Child,
    /// It is linked with it: the message is delivered again, or is a dead letter, or one of several.
    Link,
}

/// Another span, as a hook is told of it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Origin<'m> {
    /// That span: the one that sent the message, or an earlier attempt at it.
    pub parent: TraceParent,
    /// What vendors add to the trace.
    pub state: Option<&'m str>,
    /// How the new span stands to it.
    pub relation: Relation,
}

/// The context of a span, as a message carries it: its `traceparent`, and what vendors add.
pub type Context = (TraceParent, Option<Arc<str>>);

type Join = dyn Fn(&Span, &Origin<'_>) + Send + Sync;
type Carry = dyn Fn(&Span) -> Option<Context> + Send + Sync;

/// The hooks of a host that exports spans. Queues and workers make their spans without them, too.
///
/// ```
/// use txn_queue::{Relation, Trace, memory::Memory};
/// let trace = Trace::joined(|span, origin| match origin.relation {
///     // With tracing-opentelemetry: `span.set_parent(context)` and `span.add_link(context)`.
///     Relation::Child => println!("{span:?} is a child in {}", origin.parent),
///     Relation::Link => println!("{span:?} is linked with {}", origin.parent),
/// })
/// // With tracing-opentelemetry: from `span.context().span().span_context()`.
/// .carried(|_span| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok().map(|parent| (parent, None)));
/// let queue = Memory::new().traced(trace.clone());
/// # let _ = queue;
/// ```
#[derive(Clone, Default)]
pub struct Trace {
    join: Option<Arc<Join>>,
    carry: Option<Arc<Carry>>,
}

impl Trace {
    /// Spans that no hook is told of.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spans that a hook joins with those that sent the messages. It is called before the span is entered when it is to be a child, and in any case before it ends, for every message that says where it comes from.
    pub fn joined(join: impl Fn(&Span, &Origin<'_>) + Send + Sync + 'static) -> Self {
        Self { join: Some(Arc::new(join)), carry: None }
    }

    /// Reads the context of a span of ours, so that others can be joined with it: a message that is published without a trace is given that of the span which publishes it, and a worker links an
    /// attempt with the one before, as far as this process made it.
    #[must_use]
    pub fn carried(mut self, carry: impl Fn(&Span) -> Option<Context> + Send + Sync + 'static) -> Self {
        self.carry = Some(Arc::new(carry));
        self
    }

    pub(crate) fn join(&self, span: &Span, message: &Message, relation: Relation) {
        if let Some(parent) = message.trace_parent {
            self.join_with(span, &Origin { parent, state: message.trace_state.as_deref(), relation });
        }
    }

    pub(crate) fn join_with(&self, span: &Span, origin: &Origin<'_>) {
        if let (Some(join), false) = (&self.join, span.is_disabled()) {
            join(span, origin);
        }
    }

    pub(crate) fn context(&self, span: &Span) -> Option<Context> {
        let carry = self.carry.as_ref().filter(|_| !span.is_disabled())?;
        carry(span)
    }

    pub(crate) const fn is_joined(&self) -> bool {
        self.join.is_some()
    }

    /// The span of a publishing; messages without a trace are given its own.
    #[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
    pub(crate) fn publishing(&self, backend: &'static str, batch: &mut [Publish]) -> Span {
        let count = Publish::count(batch);
        let messages = || batch.iter().flat_map(|publish| &publish.messages);
        // By the conventions it produces what carries its context, and is a client's otherwise.
        let is_creation = || messages().any(|message| message.trace_parent.is_none());
        let only = || messages().next().filter(|_| count == 1);
        let destination = || {
            let mut destinations = batch.iter().map(|publish| destination(&publish.to));
            let first = destinations.next();
            first.filter(|first| destinations.all(|other| other == *first))
        };
        let span = tracing::info_span!(
            "publish",
            otel.name = name("publish", destination()),
            otel.kind = if is_creation() { "producer" } else { "client" },
            otel.status_code = Empty,
            messaging.system = "txn",
            messaging.operation.name = "publish",
            messaging.operation.type = "send",
            messaging.destination.name = destination(),
            messaging.batch.message_count = count,
            messaging.message.id = only().map(|message| message.id.as_str()),
            messaging.message.conversation_id = only().and_then(|message| message.correlation_id.as_deref()),
            messaging.txn.backend = backend,
            error.type = Empty,
        );
        if self.join.is_some() {
            messages().for_each(|message| self.join(&span, message, Relation::Link));
        }
        if let Some((parent, state)) = self.context(&span) {
            let messages = batch.iter_mut().flat_map(|publish| &mut publish.messages);
            for message in messages.filter(|message| message.trace_parent.is_none()) {
                let message = Arc::make_mut(message);
                message.trace_parent = Some(parent);
                message.trace_state.clone_from(&state);
            }
        }
        span
    }

    /// The span of a call that receives.
    #[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
    pub(crate) fn receiving(backend: &'static str, receive: &Receive) -> Span {
        let topic = receive.group.topic().as_str();
        tracing::debug_span!(
            "receive",
            otel.name = name("receive", Some(topic)),
            otel.kind = "client",
            otel.status_code = Empty,
            messaging.system = "txn",
            messaging.operation.name = "receive",
            messaging.operation.type = "receive",
            messaging.destination.name = topic,
            messaging.consumer.group.name = receive.group.name().as_str(),
            messaging.client.id = receive.worker.as_str(),
            messaging.batch.message_count = Empty,
            messaging.txn.backend = backend,
            error.type = Empty,
        )
    }

    /// The span of a call that settles so many deliveries of a group.
    pub(crate) fn settling(
        operation: &'static str,
        backend: Option<&'static str>,
        group: &Group,
        count: usize,
    ) -> Span {
        let topic = group.topic().as_str();
        tracing::debug_span!(
            "settle",
            otel.name = name(operation, Some(topic)),
            otel.kind = "client",
            otel.status_code = Empty,
            messaging.system = "txn",
            messaging.operation.name = operation,
            messaging.operation.type = "settle",
            messaging.destination.name = topic,
            messaging.consumer.group.name = group.name().as_str(),
            messaging.batch.message_count = count,
            messaging.txn.backend = backend,
            error.type = Empty,
        )
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Trace");
        shown.field("is_joined", &self.join.is_some()).field("is_carried", &self.carry.is_some()).finish()
    }
}

/// Says in a span what went wrong, in one word.
pub(crate) fn fail(span: &Span, word: &'static str) {
    span.record("error.type", word);
    span.record("otel.status_code", "ERROR");
}

/// Whether a span of a settlement is open: a worker's, which knows the messages, takes the place of the queue's.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
pub(crate) fn is_within_settlement() -> bool {
    let current = Span::current();
    current.metadata().is_some_and(|span| span.name() == "settle" && span.target() == module_path!())
}

fn name(operation: &str, destination: Option<&str>) -> tracing::field::DisplayValue<String> {
    tracing::field::display(match destination {
        Some(destination) => format!("{operation} {destination}"),
        None => operation.to_owned(),
    })
}

#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
fn destination(to: &Address) -> &str {
    match to {
        Address::Topic(topic) => topic.as_str(),
        Address::Exchange { name, .. } => name.as_str(),
    }
}
