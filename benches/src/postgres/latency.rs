//! The time of a call at a steady load: arrivals do not wait for answers, and a call is measured from the instant at which it was due, so that a stall counts for all who came during it.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;
use txn_bench::Random;

/// Microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Asks for each piece of work at its time: `rate` a second in the mean, at random (Poisson) distances drawn from a seed, each in a task of its own.
pub(super) fn at<W, F>(
    runtime: &Runtime,
    rate: f64,
    work: Vec<W>,
    each: impl Fn(W) -> F + Send + Sync + 'static,
) -> Latency
where
    W: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let each = Arc::new(each);
    let mut random = Random::new(1);
    let mut due = Instant::now();
    let mut calls = Vec::with_capacity(work.len());
    for item in work {
        due += distance(&mut random, rate);
        // A thread wakes within some 50 µs of its time; a timer of the runtime within 1 ms.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let each = Arc::clone(&each);
        calls.push(runtime.spawn(async move {
            each(item).await;
            due.elapsed()
        }));
    }
    let mut times: Vec<Duration> = runtime.block_on(async {
        let mut times = Vec::with_capacity(calls.len());
        for call in calls {
            times.push(call.await.expect("a caller panicked"));
        }
        times
    });
    times.sort_unstable();
    Latency { p50: percentile(&times, 50), p99: percentile(&times, 99) }
}

/// The time to the next arrival of a Poisson process.
pub(crate) fn distance(random: &mut Random, rate: f64) -> Duration {
    const STEPS: u64 = 1 << 53;
    let uniform = (random.below(STEPS) as f64 + 0.5) / STEPS as f64;
    Duration::from_secs_f64(-uniform.ln() / rate)
}

/// The least time that so many of a hundred do not exceed, in microseconds.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_measured_time_and_distances_have_their_mean() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!([50, 99].map(|percent| percentile(&times, percent).round()), [100.0, 198.0]);
        let mut random = Random::new(7);
        let total: Duration = (0..10_000).map(|_| distance(&mut random, 1_000.0)).sum();
        assert!((9.5..10.5).contains(&total.as_secs_f64()), "{total:?}");
    }

    /// Story: a server that stalls for 50 ms keeps back everybody who comes meanwhile. A caller that waits for each answer before it asks again would have seen one slow call.
    #[test]
    fn a_stall_counts_for_all_who_came_during_it() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let latency = at(&runtime, 1_000.0, (0..100).collect(), |index: usize| async move {
            if index == 0 {
                thread::sleep(Duration::from_millis(50));
            }
        });
        assert!(latency.p99 >= 45_000.0 && latency.p50 < latency.p99, "{latency:?}");
    }
}
