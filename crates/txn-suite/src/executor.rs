//! Running futures without a runtime: on this thread, on many threads at once, and not for ever.

use std::{
    pin::pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use futures_channel::oneshot;
use futures_util::future::{BoxFuture, Either, select};

use crate::{Checked, Failure};

/// How a suite's threads run a future to its end. A backend whose futures need a runtime enters it here.
pub type Run = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

struct Parked {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Runs a future to its end on this thread, which is parked while it waits.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let parked = Arc::new(Parked { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parked));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while !parked.is_woken.swap(false, Ordering::SeqCst) {
            thread::park();
        }
    }
}

/// Runs each future on a thread of its own, all let go at once; their results in order.
///
/// # Errors
/// One of them panicked.
pub async fn race<T: Send + 'static>(run: &Run, jobs: Vec<BoxFuture<'static, T>>) -> Checked<Vec<T>> {
    let waiting = start(run, jobs)?;
    let mut results = Vec::with_capacity(waiting.len());
    for result in waiting {
        results.push(result.await.map_err(|_| Failure::new("expected no panic, found one on a thread"))?);
    }
    Ok(results)
}

fn start<T: Send + 'static>(run: &Run, jobs: Vec<BoxFuture<'static, T>>) -> Checked<Vec<oneshot::Receiver<T>>> {
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
    let mut waiting = Vec::with_capacity(jobs.len());
    for future in jobs {
        let (run, gate) = (Arc::clone(run), Arc::clone(&gate));
        let (tell, told) = oneshot::channel();
        waiting.push(told);
        let job = move || {
            drop(gate.read().unwrap_or_else(PoisonError::into_inner));
            run(Box::pin(async move {
                // The receiver goes only when the scenario has failed already.
                let _ = tell.send(future.await);
            }));
        };
        thread::Builder::new().spawn(job).map_err(|e| Failure::new(format!("no thread to be had: {e}")))?;
    }
    drop(closed);
    Ok(waiting)
}

/// Fails when the future does not end in time, so that a lost wake is a named failure and not a suite that hangs.
///
/// # Errors
/// It has not ended.
pub async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> Checked<T> {
    let ended = at_most(Duration::from_secs(seconds), future).await;
    ended.ok_or_else(|| Failure::new(format!("{what} has not ended after {seconds} s")))
}

/// What a future gives within that time.
///
/// # Panics
/// When no thread is to be had.
pub async fn at_most<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (_ended, has_ended) = mpsc::channel::<()>();
    let (ring, rung) = oneshot::channel();
    let alarm = move || {
        if has_ended.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = ring.send(());
        }
    };
    thread::Builder::new().spawn(alarm).expect("a suite that tests with threads has one more");
    match select(pin!(future), rung).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
