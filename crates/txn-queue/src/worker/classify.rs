//! A layer that turns errors of any kind into failures.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use super::{Class, Failure, Job};

type Boxed = Box<dyn Error + Send + Sync>;

type Judge = dyn Fn(&(dyn Error + 'static)) -> Class + Send + Sync;

/// Asks the host what to do about an error. A [`Failure`] that other layers have boxed stays what it is.
///
/// ```
/// use std::io;
/// use txn_queue::worker::{Class, Classify};
/// let layer = Classify::new(|error| match error.downcast_ref::<io::Error>() {
///     Some(_) => Class::Unavailable,
///     None => Class::Retry,
/// });
/// # let _ = layer;
/// ```
#[derive(Clone)]
pub struct Classify(Arc<Judge>);

impl Classify {
    /// Asks this function.
    pub fn new(class: impl Fn(&(dyn Error + 'static)) -> Class + Send + Sync + 'static) -> Self {
        Self(Arc::new(class))
    }

    fn failure(&self, error: Boxed) -> Failure {
        match error.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(error) => Failure::because((self.0)(&*error), error),
        }
    }
}

impl std::fmt::Debug for Classify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Classify")
    }
}

impl<S> Layer<S> for Classify {
    type Service = Classified<S>;

    fn layer(&self, inner: S) -> Classified<S> {
        Classified { inner, classify: self.clone() }
    }
}

/// What [`Classify`] makes of a service.
#[derive(Debug, Clone)]
pub struct Classified<S> {
    inner: S,
    classify: Classify,
}

impl<S> Service<Job> for Classified<S>
where
    S: Service<Job, Error: Into<Boxed>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(context).map_err(|error| self.classify.failure(error.into()))
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let (call, classify) = (self.inner.call(job), self.classify.clone());
        Box::pin(async move { call.await.map_err(|error| classify.failure(error.into())) })
    }
}
