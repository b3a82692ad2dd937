//! Handlers by the type of a message.

use std::{
    collections::HashMap,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use serde::de::DeserializeOwned;
use tower_service::Service;

use super::{Done, Failure, Job, RetryPolicy, work::handle};
use crate::name::MessageType;

type Handling = Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send>>;

/// What to do about a message whose type has no handler. All of them are counted, as `txn_queue_unknown_types_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Unknown {
    /// It goes to the dead letters at once.
    #[default]
    DeadLetter,
    /// It is of no interest to this group: done.
    Ack,
    /// A newer worker may know it: it is tried again, by the policy.
    Retry,
}

/// A service that gives each message to the handler of its type. The payload is JSON; one that its type cannot be read from goes to the dead letters on its first delivery, byte for byte as it came.
///
/// ```
/// use serde::Deserialize;
/// use txn_queue::{MessageType, worker::{Failure, Handlers, Job, Unknown}};
///
/// #[derive(Deserialize)]
/// struct OrderPlaced {
///     order: String,
/// }
///
/// let handlers = Handlers::new()
///     .on(MessageType::new("order.placed")?, |placed: OrderPlaced, job: Job| async move {
///         println!("{} was placed, by message {}", placed.order, job.message().id);
///         Ok::<(), Failure>(())
///     })
///     .unknown(Unknown::Ack);
/// # let _ = handlers;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Handlers {
    by_type: Arc<HashMap<MessageType, Entry>>,
    unknown: Unknown,
}

impl Handlers {
    /// None; what has no handler goes to the dead letters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Handles messages of a type with a function of their payload. A type has one handler, the last that was given.
    #[must_use]
    pub fn on<T, F, A, R, E>(self, kind: MessageType, handler: F) -> Self
    where
        T: DeserializeOwned + 'static,
        F: Fn(T, Job) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Done>,
        E: Into<Failure>,
    {
        self.with(kind, None, Arc::new(Typed { handler, payload: PhantomData::<fn() -> T> }))
    }

    /// The same, and messages of the type are tried again by a policy of their own, whether the handler fails, panics or takes too long.
    ///
    /// ```
    /// use core::{num::NonZeroU32, time::Duration};
    /// use txn_queue::{MessageType, worker::{Failure, Handlers, Job, RetryPolicy}};
    /// // A receipt may be late; a code to log in with is of no use after a minute.
    /// let receipts = RetryPolicy { base: Duration::from_secs(60), max: Duration::from_secs(86_400), ..RetryPolicy::default() };
    /// let codes = RetryPolicy { max_elapsed: Some(Duration::from_secs(60)), deliveries_max: NonZeroU32::new(3), ..RetryPolicy::default() };
    /// let handlers = Handlers::new()
    ///     .on_with(MessageType::new("receipt.due")?, receipts, |_: String, _: Job| async { Ok::<(), Failure>(()) })
    ///     .on_with(MessageType::new("code.due")?, codes, |_: String, _: Job| async { Ok::<(), Failure>(()) });
    /// # let _ = handlers;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn on_with<T, F, A, R, E>(self, kind: MessageType, retry: RetryPolicy, handler: F) -> Self
    where
        T: DeserializeOwned + 'static,
        F: Fn(T, Job) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Done>,
        E: Into<Failure>,
    {
        self.with(kind, Some(retry), Arc::new(Typed { handler, payload: PhantomData::<fn() -> T> }))
    }

    /// Handles messages of a type with a service, which is given them as they are.
    #[must_use]
    pub fn route<S>(self, kind: MessageType, service: S) -> Self
    where
        S: Service<Job, Response: Into<Done>, Error: Into<Failure>, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.with(kind, None, Arc::new(Routed(service)))
    }

    /// The same, with a policy as [`Self::on_with`] takes it.
    #[must_use]
    pub fn route_with<S>(self, kind: MessageType, retry: RetryPolicy, service: S) -> Self
    where
        S: Service<Job, Response: Into<Done>, Error: Into<Failure>, Future: Send> + Clone + Send + Sync + 'static,
    {
        self.with(kind, Some(retry), Arc::new(Routed(service)))
    }

    /// What to do about other types.
    #[must_use]
    pub const fn unknown(mut self, unknown: Unknown) -> Self {
        self.unknown = unknown;
        self
    }

    fn with(mut self, kind: MessageType, retry: Option<RetryPolicy>, handler: Arc<dyn Handle>) -> Self {
        Arc::make_mut(&mut self.by_type).insert(kind, Entry { retry, handler });
        self
    }
}

impl Service<Job> for Handlers {
    type Response = Done;
    type Error = Failure;
    type Future = Handling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Handling {
        if let Some(Entry { retry, handler }) = self.by_type.get(&job.message().kind) {
            if let Some(policy) = retry {
                job.retry_by(*policy);
            }
            return handler.handle(job);
        }
        let group = job.group();
        let (topic, group) = (group.topic().to_string(), group.name().to_string());
        metrics::counter!("txn_queue_unknown_types_total", "topic" => topic, "group" => group).increment(1);
        let reason = format!("no handler for messages of type {}", job.message().kind);
        let answer = match self.unknown {
            Unknown::DeadLetter => Err(Failure::fatal(reason)),
            Unknown::Ack => Ok(Done::Ack),
            Unknown::Retry => Err(Failure::retry(reason)),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<&str> = self.by_type.keys().map(|kind| &**kind).collect();
        f.debug_struct("Handlers").field("types", &types).field("unknown", &self.unknown).finish()
    }
}

#[derive(Clone)]
struct Entry {
    retry: Option<RetryPolicy>,
    handler: Arc<dyn Handle>,
}

trait Handle: Send + Sync {
    fn handle(&self, job: Job) -> Handling;
}

struct Typed<T, F> {
    handler: F,
    payload: PhantomData<fn() -> T>,
}

impl<T, F, A, R, E> Handle for Typed<T, F>
where
    T: DeserializeOwned + 'static,
    F: Fn(T, Job) -> A + Send + Sync + 'static,
    A: Future<Output = Result<R, E>> + Send + 'static,
    R: Into<Done>,
    E: Into<Failure>,
{
    fn handle(&self, job: Job) -> Handling {
        match serde_json::from_slice(&job.message().data) {
            Ok(payload) => {
                let handling = (self.handler)(payload, job);
                Box::pin(async move { handling.await.map(Into::into).map_err(Into::into) })
            }
            Err(error) => {
                let failure = Failure::fatal(format!("the payload is no {}: {error}", job.message().kind));
                Box::pin(std::future::ready(Err(failure)))
            }
        }
    }
}

struct Routed<S>(S);

impl<S> Handle for Routed<S>
where
    S: Service<Job, Response: Into<Done>, Error: Into<Failure>, Future: Send> + Clone + Send + Sync + 'static,
{
    fn handle(&self, job: Job) -> Handling {
        Box::pin(handle(self.0.clone(), job))
    }
}
