//! Concurrent callers: each a task that asks for one thing after the other and waits for each answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

/// A runtime with one worker per core, as an application has it.
///
/// # Panics
/// When the system gives no threads.
#[must_use]
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime needs threads")
}

/// Deals `work` out to `callers` tasks; gives the time from the first request to the last answer, and all answers.
///
/// # Panics
/// When a caller does.
pub fn drive<W, T, F>(
    runtime: &Runtime,
    callers: usize,
    work: Vec<W>,
    each: impl Fn(W) -> F + Send + Sync + 'static,
) -> (Duration, Vec<T>)
where
    W: Send + 'static,
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    let total = work.len();
    let mut shares: Vec<Vec<W>> = (0..callers).map(|_| Vec::with_capacity(total.div_ceil(callers))).collect();
    for (index, item) in work.into_iter().enumerate() {
        shares[index % callers].push(item);
    }
    let each = Arc::new(each);
    runtime.block_on(async move {
        let began = Instant::now();
        let tasks: Vec<_> = shares
            .into_iter()
            .map(|share| {
                let each = Arc::clone(&each);
                tokio::spawn(async move {
                    let mut answers = Vec::with_capacity(share.len());
                    for item in share {
                        answers.push(each(item).await);
                    }
                    answers
                })
            })
            .collect();
        let mut answers = Vec::with_capacity(total);
        for task in tasks {
            answers.extend(task.await.expect("a caller panicked"));
        }
        (began.elapsed(), answers)
    })
}
