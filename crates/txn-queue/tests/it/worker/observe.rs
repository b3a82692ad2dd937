//! What a worker says of itself: metrics and spans, and nothing that gives anybody away.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tokio::time::sleep;
use tracing::{
    Metadata as Callsite, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_core::span::Current;
use txn_change::Timestamp;
use txn_queue::{
    AttributeName, Message, QueueAdmin as _, TraceParent,
    worker::{Failure, Job, Relation, Timeout, Trace, observe, observe_every},
};

use super::{Handler, Home, Running, SECOND, TokioClock, Worker, message};

/// Everything that was told, by metric and labels: how often, and the sum.
#[derive(Clone, Default)]
pub(crate) struct Listener(pub(crate) Arc<Mutex<BTreeMap<String, (u64, f64)>>>);

struct Ear(Listener, String);

impl Ear {
    fn hear(&self, value: impl FnOnce(f64) -> f64) {
        let mut told = self.0.0.lock().unwrap();
        let (times, sum) = told.entry(self.1.clone()).or_default();
        *times += 1;
        *sum = value(*sum);
    }
}

impl CounterFn for Ear {
    fn increment(&self, by: u64) {
        self.hear(|sum| sum + by as f64);
    }
    fn absolute(&self, value: u64) {
        self.hear(|_| value as f64);
    }
}

impl GaugeFn for Ear {
    fn increment(&self, by: f64) {
        self.hear(|sum| sum + by);
    }
    fn decrement(&self, by: f64) {
        self.hear(|sum| sum - by);
    }
    fn set(&self, value: f64) {
        self.hear(|_| value);
    }
}

impl HistogramFn for Ear {
    fn record(&self, value: f64) {
        self.hear(|sum| sum + value);
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

impl Listener {
    /// The same, for all of these in its labels.
    pub(crate) fn all(&self, metric: &str, parts: &[&str]) -> (u64, f64) {
        let told = self.0.lock().unwrap();
        let fits = |key: &str| key.contains(&format!("({metric},")) && parts.iter().all(|part| key.contains(part));
        let mut fits = told.iter().filter(|(key, _)| fits(key));
        let found = fits.next().map_or((0, 0.0), |(_, found)| *found);
        assert!(fits.next().is_none(), "{metric} {parts:?} is several: {told:?}");
        found
    }

    /// How often a metric was told of, and its sum; `part` is in its labels.
    pub(crate) fn of(&self, metric: &str, part: &str) -> (u64, f64) {
        let told = self.0.lock().unwrap();
        let mut fits = told.iter().filter(|(key, _)| key.contains(&format!("({metric}")) && key.contains(part));
        let found = fits.next().map_or((0, 0.0), |(_, found)| *found);
        assert!(fits.next().is_none(), "{metric} {part} is several: {told:?}");
        found
    }
}

pub(crate) fn paused<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

fn traced(id: &str) -> Message {
    let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let mut message = message(id).data("text/plain", b"very-secret-payload".to_vec()).trace(parent);
    message.trace_state = Some("vendor=1".into());
    message.correlation_id = Some("conversation-1".into());
    message
        .key(txn_queue::Key::new("very-secret-key").unwrap())
        .extension(AttributeName::new("more").unwrap(), "very-secret-extension".into())
}

/// A message that is done at once, one that is done at its second delivery, and one that never can be.
async fn three_messages(home: &Home, change: impl FnOnce(Worker) -> Worker, trace: Trace) {
    home.publish(["good", "again", "bad"].map(traced)).await;
    let handler = Handler(|job: Job| async move {
        sleep(SECOND).await;
        match (&*job.message().id, job.deliveries()) {
            ("again", 1) => Err(Failure::retry_after(5 * SECOND, "very-secret-reason")),
            ("bad", _) => Err(Failure::fatal("very-secret-reason")),
            _ => Ok(()),
        }
    });
    let worker = change(home.worker()).layer(trace).layer(Timeout::new(60 * SECOND));
    let running = Running::start(worker, handler);
    home.emptied().await;
    running.ended().await;
}

#[test]
fn metrics_tell_how_messages_fare_and_nothing_gives_anybody_away() {
    let listener = Listener::default();
    metrics::with_local_recorder(&listener, || {
        paused(async {
            let home = Home::new(5).await;
            three_messages(&home, |worker| worker, Trace::new()).await;
            let stats = home.queue.memory.stats().await.unwrap();
            observe(&stats, Timestamp::from_nanos(1_900_000_000_000_000_000).after(100 * SECOND).unwrap());
        });
    });
    let of = |metric, part| listener.of(metric, part);
    assert_eq!(of("txn_queue_processed_total", "done"), (2, 2.0));
    assert_eq!(of("txn_queue_processed_total", "retry"), (1, 1.0));
    assert_eq!(of("txn_queue_processed_total", "fatal"), (1, 1.0));
    assert_eq!(of("txn_queue_settlements_total", "applied").1, 4.0);
    let (handled, took) = of("txn_queue_process_seconds", "");
    assert!(handled == 4 && (3.9..4.2).contains(&took), "{took}");
    // The second delivery of one begins six seconds after it was accepted.
    let (begun, waited) = of("txn_queue_wait_seconds", "");
    assert!(begun == 4 && (5.9..6.2).contains(&waited), "{waited}");
    assert_eq!(of("txn_queue_attempts", ""), (3, 4.0));
    assert_eq!(of("txn_queue_dead_letters_total", "rejected"), (1, 1.0));
    // From when they were accepted: one second, and seven.
    let (done, resided) = of("txn_queue_residence_seconds", "");
    assert!(done == 2 && (7.9..8.4).contains(&resided), "{resided}");
    assert_eq!(of("txn_queue_in_flight", "").1, 0.0);
    assert_eq!(of("txn_queue_circuit", "").1, 0.0);
    assert_eq!(of("txn_queue_leases_lost_total", "").1, 0.0);
    assert_eq!(of("txn_queue_depth", "topic = orders").1, 0.0);
    assert_eq!(of("txn_queue_acked_total", "topic = orders").1, 2.0);
    assert_eq!(of("txn_queue_dead_total", "topic = orders").1, 1.0);
    assert_eq!(of("txn_queue_depth", "topic = dead.orders.mailer").1, 1.0);
    let (_, age) = of("txn_queue_oldest_age_seconds", "topic = dead.orders.mailer");
    assert!((98.0..99.1).contains(&age), "{age}");
    let told = listener.0.lock().unwrap();
    assert!(told.keys().all(|key| !key.contains("secret") && !key.contains("good")), "{told:?}");
}

/// A message that fails at the last delivery that its group allows is told as what it is: a dead letter.
#[test]
fn one_that_is_exhausted_is_told_as_a_dead_letter() {
    let listener = Listener::default();
    metrics::with_local_recorder(&listener, || {
        paused(async {
            let home = Home::new(3).await;
            home.publish([message("never")]).await;
            let last = Arc::new(Mutex::new(Vec::new()));
            let handler = {
                let last = last.clone();
                Handler(move |job: Job| {
                    last.lock().unwrap().push(job.is_last());
                    std::future::ready(Err(Failure::retry("again")))
                })
            };
            let running = Running::start(home.worker(), handler);
            home.emptied().await;
            let drained = running.ended().await;
            assert_eq!((drained.retried, drained.exhausted, drained.dead), (2, 1, 0), "{drained:?}");
            assert_eq!(*last.lock().unwrap(), [false, false, true]);
        });
    });
    assert_eq!(listener.of("txn_queue_dead_letters_total", "exhausted"), (1, 1.0));
    assert_eq!(listener.of("txn_queue_dead_letters_total", "rejected").1, 0.0);
    assert_eq!(listener.of("txn_queue_attempts", ""), (1, 3.0));
    assert_eq!(listener.of("txn_queue_residence_seconds", "").0, 0);
}

/// The gauges follow by themselves.
#[test]
fn how_a_queue_stands_is_told_again_and_again() {
    let listener = Listener::default();
    metrics::with_local_recorder(&listener, || {
        paused(async {
            let home = Home::new(3).await;
            let clock = Arc::new(TokioClock(tokio::time::Instant::now()));
            let observing = tokio::spawn(observe_every(home.queue.memory.clone(), clock, 10 * SECOND));
            for (count, age) in [(0, 0.0), (1, 9.0), (2, 19.0)] {
                tokio::time::sleep(SECOND).await;
                assert_eq!(listener.of("txn_queue_depth", "topic = orders").1, f64::from(count));
                assert_eq!(listener.of("txn_queue_oldest_age_seconds", "topic = orders").1.round(), age);
                home.publish_numbers(1).await;
                tokio::time::sleep(9 * SECOND).await;
            }
            observing.abort();
        });
    });
    assert_eq!(listener.of("txn_queue_depth", "topic = orders").0, 3);
}

/// A queue that waits for its workers is told as it is.
#[test]
fn depth_and_age_are_those_of_what_waits() {
    let listener = Listener::default();
    metrics::with_local_recorder(&listener, || {
        paused(async {
            let home = Home::new(5).await;
            home.publish_numbers(2).await;
            home.publish([message("later").delay(50 * SECOND)]).await;
            home.take(1).await;
            let now = Timestamp::from_nanos(1_900_000_000_000_000_000).after(30 * SECOND).unwrap();
            observe(&home.queue.memory.stats().await.unwrap(), now);
        });
    });
    let of = |metric| listener.of(metric, "topic = orders").1;
    assert_eq!((of("txn_queue_depth"), of("txn_queue_leased"), of("txn_queue_waiting")), (3.0, 1.0, 1.0));
    assert!((29.9..=30.0).contains(&of("txn_queue_oldest_age_seconds")));
}

/// The spans that were opened, each with its fields as text.
#[derive(Clone, Default)]
pub(crate) struct Spans(pub(crate) Arc<Mutex<Vec<Said>>>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) name: &'static str,
    callsite: Option<&'static Callsite<'static>>,
    pub(crate) fields: BTreeMap<&'static str, String>,
    inside: usize,
    handles: usize,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Spans {
    fn with(&self, id: &Id, change: impl FnOnce(&mut Said)) {
        change(&mut self.0.lock().unwrap()[id.into_u64() as usize - 1]);
    }
}

thread_local! {
    static INSIDE: std::cell::RefCell<Vec<Id>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl Subscriber for Spans {
    fn enabled(&self, callsite: &Callsite<'_>) -> bool {
        callsite.target().starts_with("txn_queue") && callsite.is_span()
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut told =
            Said { name: span.metadata().name(), callsite: Some(span.metadata()), handles: 1, ..Said::default() };
        span.record(&mut told);
        let mut spans = self.0.lock().unwrap();
        spans.push(told);
        Id::from_u64(spans.len() as u64)
    }
    fn record(&self, id: &Id, values: &Record<'_>) {
        self.with(id, |told| values.record(told));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn current_span(&self) -> Current {
        let Some(id) = INSIDE.with_borrow(|inside| inside.last().cloned()) else { return Current::none() };
        let callsite = self.0.lock().unwrap()[id.into_u64() as usize - 1].callsite;
        Current::new(id, callsite.unwrap())
    }
    fn enter(&self, id: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(id.clone()));
        self.with(id, |told| told.inside += 1);
    }
    fn exit(&self, id: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.retain(|other| other != id));
        self.with(id, |told| told.inside -= 1);
    }
    fn clone_span(&self, id: &Id) -> Id {
        self.with(id, |told| told.handles += 1);
        id.clone()
    }
    fn try_close(&self, id: Id) -> bool {
        self.with(&id, |told| told.handles -= 1);
        true
    }
}

/// Runs a test in a process of its own, and says whether this is it: a place in the code that another test comes to for the first time, just as a subscriber is set, may never hear of that one.
pub(crate) fn is_alone(test: &str) -> bool {
    const CHILD: &str = "TXN_TEST_SPANS";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args([test, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// The first delivery is the child of the span that sent the message, a second is linked with it, and so is a settlement of several. Each span says what OpenTelemetry's conventions ask for.
///
/// Case Q61.
#[test]
fn spans_follow_the_conventions_and_join_the_trace_of_the_sender() {
    if !is_alone("worker::observe::spans_follow_the_conventions_and_join_the_trace_of_the_sender") {
        return;
    }
    let (spans, joined) = (Spans::default(), Arc::new(Mutex::new(Vec::new())));
    let trace = {
        let joined = joined.clone();
        Trace::joined(move |span, origin| {
            assert_eq!(origin.parent.to_string(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
            assert_eq!(origin.state, Some("vendor=1"));
            joined.lock().unwrap().push((span.id().unwrap().into_u64() as usize - 1, origin.relation));
        })
    };
    tracing::subscriber::with_default(spans.clone(), || {
        paused(async {
            let home = Home::new(5).await;
            let settling = trace.clone();
            three_messages(&home, |worker| worker.trace(settling), trace).await;
        });
    });
    let (spans, joined) = (spans.0.lock().unwrap().clone(), joined.lock().unwrap().clone());
    let relations = |place: usize| -> Vec<Relation> {
        joined.iter().filter(|(other, _)| *other == place).map(|(_, relation)| *relation).collect()
    };
    let mut processed = Vec::new();
    for (place, span) in spans.iter().enumerate().filter(|(_, span)| span.name == "process") {
        let says = |field: &str| span.fields.get(field).map(String::as_str).unwrap_or("-").to_owned();
        let fixed = [
            ("otel.name", "process orders"),
            ("otel.kind", "consumer"),
            ("messaging.system", "txn"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", "orders"),
            ("messaging.consumer.group.name", "mailer"),
            ("messaging.message.conversation_id", "conversation-1"),
        ];
        for (field, value) in fixed {
            assert_eq!(says(field), value, "{field}");
        }
        let own = ["messaging.message.id", "messaging.txn.message.delivery_attempt", "error.type", "otel.status_code"];
        processed.push((own.map(says), relations(place)));
    }
    let own = |fields: [&str; 4]| fields.map(str::to_owned);
    let expected = [
        (own(["good", "1", "-", "-"]), vec![Relation::Child]),
        (own(["again", "1", "retry", "ERROR"]), vec![Relation::Child]),
        (own(["bad", "1", "fatal", "ERROR"]), vec![Relation::Child]),
        (own(["again", "2", "-", "-"]), vec![Relation::Link]),
    ];
    assert_eq!(processed, expected);
    let mut settled = 0;
    for (place, span) in spans.iter().enumerate().filter(|(_, span)| span.name == "settle") {
        assert_eq!((&*span.fields["otel.kind"], &*span.fields["messaging.operation.type"]), ("client", "settle"));
        let count: usize = span.fields["messaging.batch.message_count"].parse().unwrap();
        assert_eq!(relations(place), vec![Relation::Link; count]);
        settled += count;
    }
    assert_eq!(settled, 4);
    assert!(spans.iter().all(|span| (span.inside, span.handles) == (0, 0)), "{spans:?}");
    assert!(spans.iter().all(|span| span.fields.values().all(|value| !value.contains("secret"))), "{spans:?}");
}

/// Attempts at one message are one chain: each is linked with the one before, and none with what another message went through.
#[test]
fn an_attempt_is_linked_with_the_one_before() {
    if !is_alone("worker::observe::an_attempt_is_linked_with_the_one_before") {
        return;
    }
    let (spans, joined) = (Spans::default(), Arc::new(Mutex::new(Vec::new())));
    let number = |span: &tracing::Span| span.id().map_or(0, |id| id.into_u64());
    let told = joined.clone();
    let trace = Trace::joined(move |span, origin| {
        assert_eq!((origin.relation, origin.state), (Relation::Link, None));
        told.lock().unwrap().push((number(span), origin.parent.span()));
    })
    .carried(move |span| Some((TraceParent::new(7, number(span), 1)?, None)));
    tracing::subscriber::with_default(spans.clone(), || {
        paused(async {
            let home = Home::new(5).await;
            home.publish(["fails", "panics", "good"].map(message)).await;
            let handler = Handler(|job: Job| async move {
                match (&*job.message().id, job.deliveries()) {
                    ("fails", 1 | 2) => Err(Failure::retry_after(SECOND, "again")),
                    ("panics", 1) => panic!("once"),
                    _ => Ok(()),
                }
            });
            let running = Running::start(home.worker().concurrency(1).layer(trace), handler);
            home.emptied().await;
            running.ended().await;
        });
    });
    let spans = spans.0.lock().unwrap().clone();
    let attempt = |number: u64| {
        let span = &spans[number as usize - 1];
        assert_eq!(span.name, "process");
        let fields = ["messaging.message.id", "messaging.txn.message.delivery_attempt"];
        fields.map(|field| span.fields[field].clone()).join(" ")
    };
    let mut chain: Vec<String> = joined
        .lock()
        .unwrap()
        .iter()
        .map(|(span, before)| format!("{} <- {}", attempt(*span), attempt(*before)))
        .collect();
    chain.sort();
    assert_eq!(chain, ["fails 2 <- fails 1", "fails 3 <- fails 2", "panics 2 <- panics 1"]);
}
