//! What the relay says of itself to the facades of `metrics` and `tracing`. The names stand on the module's page.

use std::time::Duration;

use tracing::{Instrument, debug_span, field::Empty};
use txn_queue::{Error, Published};

use super::{Lag, RelayName, send::Sent};

/// Follows a publishing, in a span with the names of OpenTelemetry's conventions for messaging.
pub(super) async fn publish(
    relay: &RelayName,
    messages: usize,
    call: impl Future<Output = Result<Vec<Published>, Error>>,
) -> Result<Vec<Published>, Error> {
    metrics::histogram!("txn_relay_batch_messages", "relay" => relay.to_string()).record(small(messages as u64));
    let span = debug_span!(
        "txn_relay.publish",
        // The queue's own span within it is the producer's.
        "otel.kind" = "internal",
        "messaging.system" = "txn",
        "messaging.operation.name" = "publish",
        "messaging.operation.type" = "send",
        "messaging.batch.message_count" = messages,
        relay = relay.as_str(),
        outcome = Empty,
    );
    if span.is_disabled() {
        return call.await;
    }
    let answer = call.instrument(span.clone()).await;
    span.record("outcome", if answer.is_ok() { "done" } else { "error" });
    answer
}

pub(super) fn sent(relay: &RelayName, sent: &Sent) {
    for (outcome, count) in [
        ("published", sent.published),
        ("duplicate", sent.duplicates),
        ("rescheduled", sent.rescheduled),
        ("parked", sent.parked),
    ] {
        if count > 0 {
            metrics::counter!("txn_relay_messages_total", "relay" => relay.to_string(), "outcome" => outcome)
                .increment(count);
        }
    }
    if sent.parked > 0 {
        tracing::warn!(relay = relay.as_str(), parked = sent.parked, "messages cannot be sent and are parked");
    }
}

pub(super) fn lag(relay: &RelayName, lag: &Lag) {
    metrics::gauge!("txn_relay_lag_events", "relay" => relay.to_string()).set(small(lag.events));
    metrics::gauge!("txn_relay_lag_seconds", "relay" => relay.to_string()).set(seconds(lag.oldest_age));
}

pub(super) fn lanes(relay: &RelayName, lanes: usize) {
    metrics::gauge!("txn_relay_lanes", "relay" => relay.to_string()).set(small(lanes as u64));
}

/// Something failed, and is tried again.
pub(super) fn failed(relay: &RelayName, what: &str, error: &dyn std::error::Error) {
    tracing::warn!(relay = relay.as_str(), %error, "{what}");
}

fn seconds(age: Option<Duration>) -> f64 {
    age.unwrap_or_default().as_secs_f64()
}

fn small(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
