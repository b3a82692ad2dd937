//! What a store says of itself: the metrics that its page names, with labels that give nobody away.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    task::Poll,
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use pollster::block_on;
use tracing::{
    Metadata as Callsite, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use txn_change::{Body, Change, ChangeId, Event, Fingerprint, Key as RecordKey, Kind, Tenant};
use txn_store::{Ask, Commit, Position, Query, Range, StoreLimits, SystemClock};

use crate::backends::Home;

/// Everything that was told, by metric and labels: how often, and the last value.
type Told = BTreeMap<String, (u64, f64)>;

/// Hears all that is told.
#[derive(Clone, Default)]
pub(crate) struct Listener(Arc<Mutex<Told>>);

#[cfg(feature = "servers")]
impl Listener {
    /// How often it was told of a metric, which is named by its name or a label.
    pub(crate) fn times(&self, metric: &str) -> u64 {
        self.0.lock().unwrap().iter().filter(|(key, _)| key.contains(metric)).map(|(_, (times, _))| times).sum()
    }

    /// What it was told of a metric last.
    pub(crate) fn last(&self, metric: &str) -> Option<f64> {
        self.0.lock().unwrap().iter().find(|(key, _)| key.contains(metric)).map(|(_, (_, last))| *last)
    }
}

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

/// How often a counter of a backend was increased in this process, from its first call on.
#[cfg(all(feature = "servers", feature = "faults", unix))]
pub(crate) fn heard(metric: &str, backend: &str) -> u64 {
    let told = listener().0.lock().unwrap();
    told.iter().filter(|(key, _)| key.contains(metric) && key.contains(backend)).map(|(_, (times, _))| *times).sum()
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
        let has_log = usize::from(home.name() == "sqlite");
        assert_eq!(heard("txn_store_log_pages", ""), has_log, "{}: {told:?}", home.name());
        assert!(told.keys().all(|key| !key.contains("secret")), "{told:?}");
    }
}

/// The spans that were opened, each with its fields as text.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Said>>>);

/// A span: its name, what it said, how often it was entered and not left, and who has it.
#[derive(Debug, Clone, Default)]
struct Said {
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
    entered: usize,
    inside: usize,
    handles: usize,
    /// The numbers of the spans that it follows from, from 1.
    follows: Vec<u64>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Spans {
    fn with(&self, id: &Id, change: impl FnOnce(&mut Said)) {
        change(&mut self.0.lock().unwrap()[id.into_u64() as usize - 1]);
    }
}

impl Subscriber for Spans {
    fn enabled(&self, callsite: &Callsite<'_>) -> bool {
        callsite.target().starts_with("txn_store")
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut told = Said { name: span.metadata().name(), handles: 1, ..Said::default() };
        span.record(&mut told);
        let mut spans = self.0.lock().unwrap();
        spans.push(told);
        Id::from_u64(spans.len() as u64)
    }
    fn record(&self, id: &Id, values: &Record<'_>) {
        self.with(id, |told| values.record(told));
    }
    fn record_follows_from(&self, id: &Id, follows: &Id) {
        self.with(id, |told| told.follows.push(follows.into_u64()));
    }
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, id: &Id) {
        self.with(id, |told| (told.entered, told.inside) = (told.entered + 1, told.inside + 1));
    }
    fn exit(&self, id: &Id) {
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
fn is_alone(test: &str) -> bool {
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

/// Case C60.
#[test]
fn each_call_is_a_span_that_says_how_it_ended_and_gives_nobody_away() {
    if !is_alone("observe::each_call_is_a_span_that_says_how_it_ended_and_gives_nobody_away") {
        return;
    }
    for home in Home::all().iter().filter(|home| home.is_durable()) {
        let store = home.open(Arc::new(SystemClock), StoreLimits::default());
        let tenant = Tenant::new("very-secret-tenant").unwrap();
        let secret = RecordKey::of(Kind::new("very-secret-kind").unwrap()).number(424_242).build();
        let commit = |id: &str, command: &str| {
            let id = ChangeId::new(format!("very-secret-{id}")).unwrap();
            let body = Body::raw("very-secret-type", 1, b"{}".to_vec());
            let change = Change::new(id, Fingerprint::of("op", command)).append(Event::new(body));
            Commit { tenant: tenant.clone(), change }
        };
        let query = Query::Records(Range::kind(Kind::new("very-secret-kind").unwrap()));
        let spans = Spans::default();
        tracing::subscriber::with_default(spans.clone(), || {
            block_on(store.commit(vec![commit("a", "a")]));
            block_on(store.commit(vec![commit("a", "a"), commit("a", "b"), commit("b", "b")]));
            block_on(store.get(vec![Ask::new(tenant.clone()).record(secret.clone())])).unwrap();
            block_on(store.find(&tenant, &query, None, 7)).unwrap();
            block_on(store.find(&tenant, &query, None, 0)).unwrap_err();
            block_on(store.read(Position(0), 9)).unwrap();
            // Dropped before it is answered, or when it has just been on a busy machine.
            block_on(async {
                let mut call = store.commit(vec![commit("c", "c")]);
                drop(std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await);
            });
        });
        let told = spans.0.lock().unwrap().clone();
        let calls: Vec<String> = told.iter().map(|span| format!("{}{:?}", span.name, span.fields)).collect();
        let backend = home.name();
        let expected = [
            format!(r#"txn_store.commit{{"backend": "{backend}", "changes": "1", "outcome": "done"}}"#),
            format!(r#"txn_store.commit{{"backend": "{backend}", "changes": "3", "outcome": "mixed"}}"#),
            format!(r#"txn_store.get{{"asks": "1", "backend": "{backend}", "outcome": "done"}}"#),
            format!(r#"txn_store.find{{"backend": "{backend}", "limit": "7", "outcome": "done"}}"#),
            format!(r#"txn_store.find{{"backend": "{backend}", "limit": "0", "outcome": "error"}}"#),
            format!(r#"txn_store.read{{"backend": "{backend}", "limit": "9", "outcome": "done"}}"#),
        ];
        assert_eq!(calls[..6], expected);
        assert!(calls[6].starts_with("txn_store.commit") && calls.len() == 7, "{calls:?}");
        assert!(told.iter().all(|span| (span.inside, span.handles) == (0, 0) && span.entered > 0), "{told:?}");
        assert!(!calls.concat().contains("secret") && !calls.concat().contains("424"), "{calls:?}");
    }
}

/// A group is committed by the store's own thread or task, where a subscriber hears only if it is set for the whole process: that is a child of this one.
///
/// Case C60.
#[test]
fn a_group_is_a_span_that_follows_from_the_calls_whose_changes_it_holds() {
    if !is_alone("observe::a_group_is_a_span_that_follows_from_the_calls_whose_changes_it_holds") {
        return;
    }
    let spans = Spans::default();
    tracing::subscriber::set_global_default(spans.clone()).unwrap();
    for home in Home::all().iter().filter(|home| home.is_durable()) {
        let before = spans.0.lock().unwrap().len();
        let store = home.open(Arc::new(SystemClock), StoreLimits::default());
        let commit = |id: &str| {
            let id = ChangeId::new(id).unwrap();
            Commit { tenant: Tenant::default(), change: Change::new(id, Fingerprint::of("op", "a")) }
        };
        block_on(store.commit(vec![commit("alone")]));
        // The committer may take these as they come, or together; each group says of whom it has something.
        let calls = ["a", "b", "c"].map(|name| store.commit(vec![commit(name), commit(&format!("{name}/2"))]));
        block_on(futures_util::future::join_all(calls));
        drop(store);
        // An outcome is told when the callers have been answered.
        let told = loop {
            let told = spans.0.lock().unwrap()[before..].to_vec();
            if told.iter().all(|span| span.fields.contains_key("outcome")) {
                break told;
            }
            std::thread::yield_now();
        };
        let number = |place: usize| (before + place + 1) as u64;
        let named = |name| told.iter().enumerate().filter(move |(_, span)| span.name == name);
        let callers: Vec<u64> = named("txn_store.commit").map(|(place, _)| number(place)).collect();
        let groups: Vec<&Said> = named("txn_store.group").map(|(_, span)| span).collect();
        assert_eq!(groups[0].follows, callers[..1], "{groups:?}");
        let mut followed: Vec<u64> = groups.iter().flat_map(|group| group.follows.clone()).collect();
        followed.sort_unstable();
        followed.dedup();
        assert_eq!(followed, callers, "{}: {groups:?}", home.name());
        let changes = groups.iter().map(|group| group.fields["changes"].parse::<usize>().unwrap());
        assert_eq!(changes.sum::<usize>(), 7, "{groups:?}");
        for group in groups {
            assert_eq!((&*group.fields["outcome"], &*group.fields["backend"]), ("committed", home.name()), "{group:?}");
        }
    }
}
