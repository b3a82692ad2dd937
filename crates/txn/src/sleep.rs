//! Waiting for a time to pass, without a runtime of our choice.

use std::{pin::Pin, time::Duration};

/// Ends when a time has passed. What runs in the background is given one by the host, such as `tokio::time::sleep`, so that nothing here needs a runtime. Every function from a [`Duration`] to a future is one.
///
/// ```
/// let sleep: &dyn txn::Sleep = &|_: std::time::Duration| std::future::ready(());
/// # let _ = sleep;
/// ```
pub trait Sleep: Send + Sync + 'static {
    /// Ends when so long has passed.
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<F, S> Sleep for S
where
    S: Fn(Duration) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self(time))
    }
}
