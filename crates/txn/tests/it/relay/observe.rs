//! What the relay says of itself: the metrics and the span that its page names, with labels that give nobody away.

use std::sync::Mutex;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key as MetricKey, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tracing::{
    Metadata as Callsite, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use txn::queue::TraceParent;

use super::*;

/// The sum of what was told of a counter, the last of a gauge and of a histogram, by name and labels.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<BTreeMap<String, f64>>>);

struct Ear(Listener, String);

impl Ear {
    fn of(listener: &Listener, key: &MetricKey) -> Self {
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Self(listener.clone(), format!("{}{{{}}}", key.name(), labels.join(",")))
    }

    fn hear(&self, change: impl FnOnce(&mut f64)) {
        change(self.0.0.lock().unwrap().entry(self.1.clone()).or_default());
    }
}

impl CounterFn for Ear {
    fn increment(&self, by: u64) {
        self.hear(|value| *value += by as f64);
    }

    fn absolute(&self, to: u64) {
        self.hear(|value| *value = to as f64);
    }
}

impl GaugeFn for Ear {
    fn increment(&self, by: f64) {
        self.hear(|value| *value += by);
    }

    fn decrement(&self, by: f64) {
        self.hear(|value| *value -= by);
    }

    fn set(&self, to: f64) {
        self.hear(|value| *value = to);
    }
}

impl HistogramFn for Ear {
    fn record(&self, to: f64) {
        self.hear(|value| *value = to);
    }
}

impl Recorder for Listener {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &MetricKey, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Ear::of(self, key)))
    }

    fn register_gauge(&self, key: &MetricKey, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Ear::of(self, key)))
    }

    fn register_histogram(&self, key: &MetricKey, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Ear::of(self, key)))
    }
}

/// The fields of the publishings of the relay that is watched. It listens for the whole process: one for a thread misses what another thread had come to before.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<BTreeMap<String, String>>>>);

const WATCHED: &str = "watched";

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl Subscriber for Spans {
    fn enabled(&self, callsite: &Callsite<'_>) -> bool {
        callsite.is_span() && callsite.name() == "txn_relay.publish"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = BTreeMap::new();
        span.record(&mut Fields(&mut fields));
        if fields.get("relay") != Some(&format!("{WATCHED:?}")) {
            return Id::from_u64(u64::MAX);
        }
        let mut spans = self.0.lock().unwrap();
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let index = usize::try_from(span.into_u64()).unwrap() - 1;
        if let Some(fields) = self.0.lock().unwrap().get_mut(index) {
            values.record(&mut Fields(fields));
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn what_was_sent_what_is_left_and_how_old_it_is_are_told() {
    let spans = Spans::default();
    tracing::subscriber::set_global_default(spans.clone()).unwrap();
    for world in worlds() {
        let listener = Listener::default();
        spans.0.lock().unwrap().clear();
        let spec = TopicSpec { messages_max: 4, ..TopicSpec::new(topic()) };
        world.declare(spec);
        for n in 0..6 {
            world.write(&format!("c{n}"), vec![event("a", "x")]);
        }
        world.clock.advance(Duration::from_secs(90));
        let (name, queue) = (RelayName::new(WATCHED).unwrap(), Arc::clone(&world.queue) as _);
        let relay = Relay::builder(world.store(), queue, name, Everything::to_topic(topic())).build().unwrap();
        metrics::with_local_recorder(&listener, || block_on(relay.run_once()).unwrap());
        let told = listener.0.lock().unwrap().clone();
        assert_eq!(told["txn_relay_messages_total{relay=watched,outcome=published}"], 4.0);
        assert_eq!(told["txn_relay_lag_events{relay=watched}"], 2.0);
        assert_eq!(told["txn_relay_lag_seconds{relay=watched}"], 90.0);
        assert_eq!(told["txn_relay_lanes{relay=watched}"], 4.0);
        let span = spans.0.lock().unwrap()[0].clone();
        let field = |name: &str| span.get(name).map(String::as_str);
        assert_eq!(field("messaging.operation.type"), Some("\"send\""));
        assert_eq!(field("messaging.batch.message_count"), Some("6"));
        assert_eq!(field("outcome"), Some("\"done\""));
    }
}

/// Case Q61. An event that carries the trace of its request: the message has it, as it has the ids, whenever it is sent.
#[test]
fn one_trace_leads_from_the_request_to_the_consumer() {
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for world in worlds() {
        let mapping = |origin: &txn::relay::Origin<'_>| {
            let mut message = origin.message().unwrap();
            let trace: String = serde_json::from_slice(origin.recorded().event.body.bytes()).unwrap();
            message.trace_parent = trace.parse::<TraceParent>().ok();
            message.correlation_id = Some("checkout-7".into());
            txn::relay::Verdict::topic(topic(), message)
        };
        world.write("c1", vec![event("a", text)]);
        let (name, queue) = (RelayName::new("notes").unwrap(), Arc::clone(&world.queue) as _);
        let relay = Relay::builder(world.store(), queue, name, mapping).build().unwrap();
        block_on(relay.run_once()).unwrap();
        let first = world.received();
        assert_eq!(first[0].trace_parent.unwrap().to_string(), text);
        assert_eq!(first[0].causation_id.as_deref(), Some("c1"));
        // Sent again after the queue has forgotten it.
        block_on(relay.retire()).unwrap();
        world.queue_clock.advance(Duration::from_secs(24 * 3_600));
        block_on(relay.run_once()).unwrap();
        assert_eq!(world.received(), first);
    }
}
