//! What a store says of itself: the metrics that its page names, with labels that give nobody away.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use pollster::block_on;
use txn_change::{Body, Change, ChangeId, Event, Fingerprint, Tenant};
use txn_store::{Commit, StoreLimits, SystemClock};

use crate::backends::Home;

/// Everything that was told, by metric and labels: how often, and the last value.
type Told = BTreeMap<String, (u64, f64)>;

#[derive(Clone, Default)]
struct Listener(Arc<Mutex<Told>>);

struct Ear(Listener, String);

impl Ear {
    fn hear(&self, value: f64) {
        let mut told = self.0.0.lock().unwrap();
        let (times, last) = told.entry(self.1.clone()).or_default();
        *times += 1;
        *last = value;
    }
}

impl CounterFn for Ear {
    fn increment(&self, by: u64) {
        self.hear(by as f64);
    }
    fn absolute(&self, value: u64) {
        self.hear(value as f64);
    }
}

impl GaugeFn for Ear {
    fn increment(&self, by: f64) {
        self.hear(by);
    }
    fn decrement(&self, by: f64) {
        self.hear(by);
    }
    fn set(&self, value: f64) {
        self.hear(value);
    }
}

impl HistogramFn for Ear {
    fn record(&self, value: f64) {
        self.hear(value);
    }
}

impl Recorder for Listener {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Ear(self.clone(), key.to_string())))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Ear(self.clone(), key.to_string())))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Ear(self.clone(), key.to_string())))
    }
}

fn listener() -> &'static Listener {
    static LISTENER: OnceLock<Listener> = OnceLock::new();
    LISTENER.get_or_init(|| {
        let listener = Listener::default();
        metrics::set_global_recorder(listener.clone()).expect("nobody else in this binary listens");
        listener
    })
}

#[test]
fn commits_are_counted_by_outcome_and_nothing_gives_anybody_away() {
    let listener = listener();
    for home in Home::all().iter().filter(|home| home.is_durable()) {
        let store = home.open(Arc::new(SystemClock), StoreLimits::default());
        let tenant = Tenant::new("very-secret-tenant").unwrap();
        let change = |command: &str| {
            let id = ChangeId::new("very-secret-id").unwrap();
            let event = Event::new(Body::raw("very-secret-type", 1, b"{}".to_vec()));
            Change::new(id, Fingerprint::of("op", command)).append(event)
        };
        for command in ["a", "a", "b"] {
            let batch = vec![Commit { tenant: tenant.clone(), change: change(command) }];
            block_on(store.commit(batch));
        }
        let told = listener.0.lock().unwrap().clone();
        let heard = |metric: &str, label: &str| {
            let found =
                told.keys().filter(|key| key.contains(metric) && key.contains(home.name()) && key.contains(label));
            found.count()
        };
        for outcome in ["done", "replayed", "refused"] {
            assert_eq!(heard("txn_store_changes_total", outcome), 1, "{outcome} of {}: {told:?}", home.name());
        }
        for metric in ["txn_store_commit_seconds", "txn_store_group_changes", "txn_store_queued_changes"] {
            assert_eq!(heard(metric, ""), 1, "{metric} of {}: {told:?}", home.name());
        }
        assert!(told.keys().all(|key| !key.contains("secret")), "{told:?}");
    }
}
