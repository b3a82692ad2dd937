//! A layer that gives a handler so much time.

use std::{pin::Pin, task::Context, task::Poll, time::Duration};

use tower_layer::Layer;
use tower_service::Service;

use super::{Class, Failure, Job};

/// Drops a handler that takes longer, as a failure of a class, [`Class::Retry`] when nothing else is said.
///
/// ```
/// use core::time::Duration;
/// use txn_queue::worker::{Class, Timeout};
/// // A bank that does not answer is a bank that is out.
/// let layer = Timeout::new(Duration::from_secs(10)).class(Class::Unavailable);
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Timeout {
    after: Duration,
    class: Class,
}

impl Timeout {
    /// So much time, from the call on.
    #[must_use]
    pub const fn new(after: Duration) -> Self {
        Self { after, class: Class::Retry }
    }

    /// What to do about a message whose handler took longer.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }
}

impl<S> Layer<S> for Timeout {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed { inner, timeout: *self }
    }
}

/// What [`Timeout`] makes of a service.
#[derive(Debug, Clone)]
pub struct Timed<S> {
    inner: S,
    timeout: Timeout,
}

impl<S> Service<Job> for Timed<S>
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
        let Timeout { after, class } = self.timeout;
        let call = self.inner.call(job);
        Box::pin(async move {
            match tokio::time::timeout(after, call).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(Failure::new(class, format!("the handler took longer than {after:?}"))),
            }
        })
    }
}
