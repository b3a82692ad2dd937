//! One handler: its panic, its hanging and its being dropped are outcomes like others.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tower_service::Service;

use super::{
    Done, Failure, Job,
    held::{End, Held},
    job::told,
};

/// Runs the handler of a message, and ends the message.
pub(super) async fn work<S>(service: S, mut held: Held, permit: OwnedSemaphorePermit)
where
    S: Service<Job, Response: Into<Done>, Error: Into<Failure>>,
{
    held.begin();
    let hold_max = held.shared.hold_max;
    let end = match timeout(hold_max, caught(handle(service, held.job.clone()))).await {
        Ok(Ok(Ok(done))) => End::Done(done),
        Ok(Ok(Err(failure))) => End::Failed(failure),
        Ok(Err(what)) => End::Panicked(what),
        Err(_) => End::Failed(Failure::retry(format!("the handler took longer than {hold_max:?}"))),
    };
    drop(permit);
    if let Some(rest) = held.rest(&end) {
        held.judge(&end);
        let draining = held.shared.draining.subscribe();
        tokio::select! {
            () = sleep(rest) => {}
            () = told(draining) => {}
        }
    }
    held.finish(end);
}

/// Awaits a service that takes one message.
pub(super) async fn handle<S>(mut service: S, job: Job) -> Result<Done, Failure>
where
    S: Service<Job, Response: Into<Done>, Error: Into<Failure>>,
{
    poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
    service.call(job).await.map(Into::into).map_err(Into::into)
}

/// Awaits a future whose panic is a value.
pub(super) async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(payload) => Poll::Ready(Err(text(&*payload))),
    })
    .await
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message").to_owned()
}
