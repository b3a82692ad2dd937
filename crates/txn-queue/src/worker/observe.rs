//! What a worker says of itself to the facade of `metrics`. The names stand on the module's page.

use std::{sync::Arc, time::Duration};

use metrics::{Counter, Gauge, Histogram, Label};
use txn_change::Timestamp;

use super::{Class, Done, held::End};
use crate::{
    admin::{QueueAdmin, Stats},
    clock::Clock,
    queue::Group,
};

/// A queue is not asked more often: each time it counts what it holds.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// Tells the gauges how a queue stands: to be called now and then with [`QueueAdmin::stats`](crate::QueueAdmin::stats), by one process, and the backend's time.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// # use txn_queue::{memory::Memory, worker::observe, *};
/// # async fn every_minute(queue: &dyn QueueAdmin) -> Result<(), Error> {
/// observe(&queue.stats().await?, SystemClock.now());
/// # Ok(())
/// # }
/// # pollster::block_on(every_minute(&Memory::new())).unwrap();
/// # }
/// ```
pub fn observe(stats: &Stats, now: Timestamp) {
    for (topic, stats) in &stats.topics {
        let of_topic = || vec![Label::new("topic", topic.to_string())];
        metrics::gauge!("txn_queue_messages", of_topic()).set(small(stats.messages));
        metrics::counter!("txn_queue_dropped_total", of_topic()).absolute(stats.dropped);
        for (group, stats) in &stats.groups {
            let labels = || vec![Label::new("topic", topic.to_string()), Label::new("group", group.to_string())];
            let age = stats.oldest.map_or(0, |oldest| now.as_nanos().saturating_sub(oldest.as_nanos()).max(0));
            metrics::gauge!("txn_queue_depth", labels()).set(small(stats.depth));
            metrics::gauge!("txn_queue_waiting", labels()).set(small(stats.waiting));
            metrics::gauge!("txn_queue_leased", labels()).set(small(stats.leased));
            metrics::gauge!("txn_queue_oldest_age_seconds", labels()).set(seconds(age));
            metrics::gauge!("txn_queue_paused", labels()).set(f64::from(u8::from(stats.is_paused)));
            metrics::counter!("txn_queue_delivered_total", labels()).absolute(stats.delivered);
            metrics::counter!("txn_queue_acked_total", labels()).absolute(stats.acked);
            metrics::counter!("txn_queue_dead_total", labels()).absolute(stats.dead);
            metrics::counter!("txn_queue_expired_total", labels()).absolute(stats.expired);
        }
    }
}

/// Does so again and again, each time after so long. Never ends: to be spawned, by one process of those that share a queue. A queue that cannot be asked is asked again.
///
/// ```
/// # use core::time::Duration;
/// # use std::sync::Arc;
/// # use txn_queue::{memory::Memory, worker::observe_every, SystemClock};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let observing = tokio::spawn(observe_every(Arc::new(Memory::new()), Arc::new(SystemClock), Duration::from_secs(15)));
/// // … until the host stops …
/// observing.abort();
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn observe_every(queue: Arc<dyn QueueAdmin>, clock: Arc<dyn Clock>, every: Duration) {
    let mut is_told = false;
    loop {
        match queue.stats().await {
            Ok(stats) => {
                observe(&stats, clock.now());
                is_told = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "a queue does not say how it stands; it is asked again");
                }
            }
        }
        tokio::time::sleep(every.max(EVERY_MIN)).await;
    }
}

fn small(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn seconds(nanos: i64) -> f64 {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)).as_secs_f64()
}

/// The metrics of one worker, registered once.
pub(super) struct Metrics {
    labels: Vec<Label>,
    done: Counter,
    settled: Counter,
    retry: Counter,
    fatal: Counter,
    release: Counter,
    unavailable: Counter,
    panic: Counter,
    applied: Counter,
    pub(super) wait: Histogram,
    pub(super) process: Histogram,
    pub(super) attempts: Histogram,
    pub(super) residence: Histogram,
    pub(super) rejected: Counter,
    pub(super) exhausted: Counter,
    pub(super) lost: Counter,
    pub(super) receive_errors: Counter,
    pub(super) in_flight: Gauge,
    pub(super) circuit: Gauge,
}

impl Metrics {
    pub(super) fn new(group: &Group) -> Self {
        let labels =
            vec![Label::new("topic", group.topic().to_string()), Label::new("group", group.name().to_string())];
        let processed = |outcome| metrics::counter!("txn_queue_processed_total", with(&labels, "outcome", outcome));
        let own = || labels.clone();
        Self {
            done: processed("done"),
            settled: processed("settled"),
            retry: processed("retry"),
            fatal: processed("fatal"),
            release: processed("release"),
            unavailable: processed("unavailable"),
            panic: processed("panic"),
            applied: metrics::counter!("txn_queue_settlements_total", with(&labels, "result", "applied")),
            wait: metrics::histogram!("txn_queue_wait_seconds", own()),
            process: metrics::histogram!("txn_queue_process_seconds", own()),
            attempts: metrics::histogram!("txn_queue_attempts", own()),
            residence: metrics::histogram!("txn_queue_residence_seconds", own()),
            rejected: metrics::counter!("txn_queue_dead_letters_total", with(&labels, "reason", "rejected")),
            exhausted: metrics::counter!("txn_queue_dead_letters_total", with(&labels, "reason", "exhausted")),
            lost: metrics::counter!("txn_queue_leases_lost_total", own()),
            receive_errors: metrics::counter!("txn_queue_receive_errors_total", own()),
            in_flight: metrics::gauge!("txn_queue_in_flight", own()),
            circuit: metrics::gauge!("txn_queue_circuit", own()),
            labels,
        }
    }

    pub(super) fn processed(&self, end: &End) {
        let counter = match end {
            End::Done(Done::Ack) => &self.done,
            End::Done(Done::Settled) => &self.settled,
            End::PutBack => &self.release,
            End::Panicked(_) => &self.panic,
            End::Failed(failure) => match failure.class() {
                Class::Retry | Class::RetryAfter(_) => &self.retry,
                Class::Fatal => &self.fatal,
                Class::Release => &self.release,
                Class::Unavailable => &self.unavailable,
            },
        };
        counter.increment(1);
    }

    /// A settlement came to this result.
    pub(super) fn settled(&self, result: &'static str) {
        match result {
            "applied" => self.applied.increment(1),
            _ => metrics::counter!("txn_queue_settlements_total", with(&self.labels, "result", result)).increment(1),
        }
    }
}

fn with(labels: &[Label], name: &'static str, value: &'static str) -> Vec<Label> {
    let more = std::iter::once(Label::new(name, value));
    labels.iter().cloned().chain(more).collect()
}
