//! What a backend says of each call: metrics and spans, and nothing that gives anybody away.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use txn_queue::{
    Action, Address, DedupeId, ErrorKind, Group, GroupName, GroupSpec, ManualClock, Message, MessageId, MessageType,
    Publish, Published, QueueAdmin, QueueLimits, Receive, Relation, Settle, Settled, Source, Topic, TopicSpec,
    Topology, Trace, TraceParent, WorkerId, conformance::block_on, memory::Memory, sqlite::Sqlite,
};

use crate::worker::observe::{Listener, Spans, is_alone};

const SECOND: Duration = Duration::from_secs(1);

fn topic() -> Topic {
    Topic::new("orders").unwrap()
}

fn group() -> Group {
    Group::new(topic(), GroupName::new("mailer").unwrap())
}

fn publish(to: &str, id: &str) -> Publish {
    let (source, kind) = (Source::new("/secret-shop").unwrap(), MessageType::new("secret.kind").unwrap());
    let message = Message::new(MessageId::new(id).unwrap(), source, kind).data("text/plain", b"secret-data".to_vec());
    Publish::one(Address::Topic(Topic::new(to).unwrap()), message)
}

fn repeated(id: &str) -> Publish {
    let mut publish = publish("orders", id);
    Arc::make_mut(&mut publish.messages[0]).dedupe_id = Some(DedupeId::new("secret-dedupe").unwrap());
    publish
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2030-01-01T00:00:00Z".parse().unwrap()))
}

fn declare(queue: &dyn QueueAdmin) {
    let spec = TopicSpec { dedupe_window: 60 * SECOND, ..TopicSpec::new(topic()) };
    let of_group = GroupSpec { deliveries_max: NonZeroU32::new(5).unwrap(), ..GroupSpec::new(group()) };
    block_on(queue.declare(Topology::default().topic(spec).group(of_group))).unwrap();
}

fn receive(max: usize) -> Receive {
    Receive { group: group(), worker: WorkerId::new("worker").unwrap(), max, lease: 30 * SECOND }
}

/// Every call is counted by what became of each of its messages, by every backend alike.
#[test]
fn each_message_is_counted_by_what_became_of_it() {
    let (folder, first, second) = (tempfile::tempdir().unwrap(), clock(), clock());
    let sqlite = Sqlite::with(folder.path().join("queue.db"), second.clone(), QueueLimits::default()).unwrap();
    let memory = Memory::with(first.clone(), QueueLimits::default());
    let backends: [(&str, &dyn QueueAdmin, &ManualClock); 2] =
        [("memory", &memory, &first), ("sqlite", &sqlite, &second)];
    for (backend, queue, clock) in backends {
        let listener = Listener::default();
        metrics::with_local_recorder(&listener, || {
            declare(queue);
            let batch = vec![repeated("1"), repeated("2"), publish("secret-nowhere", "3"), publish("orders", "4")];
            let published = block_on(queue.publish(batch)).unwrap();
            assert!(matches!(published[2], Published::Refused(_)), "{published:?}");
            clock.advance(7 * SECOND);
            let received = block_on(queue.receive(receive(10))).unwrap().deliveries;
            let settle = |at: usize, action| Settle { lease: received[at].lease, action };
            let retry = Action::Retry { after: Duration::ZERO, reason: "secret-reason".into() };
            block_on(queue.settle(&group(), vec![settle(0, Action::Extend { lease: 30 * SECOND })])).unwrap();
            block_on(queue.settle(&group(), vec![settle(0, Action::Ack), settle(1, retry)])).unwrap();
            assert_eq!(block_on(queue.settle(&group(), vec![settle(0, Action::Ack)])).unwrap(), [Settled::Gone]);
            clock.advance(3 * SECOND);
            assert_eq!(block_on(queue.receive(receive(10))).unwrap().deliveries.len(), 1);
            let nobody = Receive { group: Group::new(topic(), GroupName::new("secret-group").unwrap()), ..receive(1) };
            assert_eq!(block_on(queue.receive(nobody)).unwrap_err().kind(), ErrorKind::Invalid);
        });
        let of = |metric: &str, parts: &[&str]| listener.all(metric, &[&[backend], parts].concat());
        assert_eq!(of("txn_queue_published_total", &["topic = orders", "accepted"]), (2, 2.0));
        assert_eq!(of("txn_queue_published_total", &["topic = orders", "duplicate"]), (1, 1.0));
        assert_eq!(of("txn_queue_published_total", &["topic = ,", "refused"]), (1, 1.0));
        assert_eq!(of("txn_queue_received_total", &["group = mailer", "first"]), (1, 2.0));
        assert_eq!(of("txn_queue_received_total", &["group = mailer", "again"]), (1, 1.0));
        // Both had waited for seven seconds; what was given again is not told again.
        assert_eq!(of("txn_queue_claim_seconds", &["group = mailer"]), (2, 14.0));
        for (action, result) in [("extend", "applied"), ("ack", "applied"), ("retry", "applied"), ("ack", "gone")] {
            let action = format!("action = {action}");
            assert_eq!(of("txn_queue_settled_total", &[&action, result]), (1, 1.0), "{action} {result}");
        }
        assert_eq!(of("txn_queue_call_seconds", &["publish", "done"]).0, 1);
        assert_eq!(of("txn_queue_call_seconds", &["receive", "done"]).0, 2);
        assert_eq!(of("txn_queue_call_seconds", &["receive", "invalid"]).0, 1);
        assert_eq!(of("txn_queue_call_seconds", &["settle", "done"]).0, 3);
        let told = listener.0.lock().unwrap();
        assert!(told.keys().all(|key| !key.contains("secret")), "{told:?}");
    }
}

/// A message without a trace is given that of the span which publishes it, one with a trace keeps its own, and the spans of receiving are linked with both. Each says what OpenTelemetry's conventions ask for.
///
/// Case Q61.
#[test]
fn spans_of_a_queue_follow_the_conventions_and_carry_the_trace() {
    if !is_alone("observe::spans_of_a_queue_follow_the_conventions_and_carry_the_trace") {
        return;
    }
    let own: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let (spans, joined) = (Spans::default(), Arc::new(Mutex::new(Vec::new())));
    // The number of a span is its id in the trace.
    let number = |span: &tracing::Span| span.id().map_or(0, |id| id.into_u64());
    let told = joined.clone();
    let trace = Trace::joined(move |span, origin| {
        assert_eq!(origin.relation, Relation::Link);
        told.lock().unwrap().push((number(span), origin.parent, origin.state.map(str::to_owned)));
    })
    .carried(move |span| Some((TraceParent::new(7, number(span), 1)?, Some("vendor=1".into()))));
    let folder = tempfile::tempdir().unwrap();
    let sqlite = Sqlite::open(folder.path().join("queue.db")).unwrap().traced(trace.clone());
    let memory = Memory::new().traced(trace);
    tracing::subscriber::with_default(spans.clone(), || {
        for queue in [&memory as &dyn QueueAdmin, &sqlite] {
            spans.0.lock().unwrap().clear();
            joined.lock().unwrap().clear();
            declare(queue);
            let mut traced = publish("orders", "2");
            Arc::make_mut(&mut traced.messages[0]).trace_parent = Some(own);
            block_on(queue.publish(vec![publish("orders", "1")])).unwrap();
            block_on(queue.publish(vec![traced.clone()])).unwrap();
            block_on(queue.publish(vec![publish("orders", "3"), publish("nowhere", "4"), traced])).unwrap();
            let received = block_on(queue.receive(receive(10))).unwrap().deliveries;
            let parents: Vec<TraceParent> =
                received.iter().map(|delivery| delivery.message.trace_parent.unwrap()).collect();
            let created = |span| TraceParent::new(7, span, 1).unwrap();
            assert_eq!(parents, [created(1), own, created(3), own]);
            let settle = |at: usize, action| Settle { lease: received[at].lease, action };
            block_on(queue.settle(&group(), vec![settle(0, Action::Extend { lease: SECOND })])).unwrap();
            block_on(queue.settle(&group(), vec![settle(0, Action::Ack), settle(1, Action::Release)])).unwrap();
            let nobody = Receive { group: Group::new(topic(), GroupName::new("nobody").unwrap()), ..receive(1) };
            block_on(queue.receive(nobody)).unwrap_err();

            let spans = spans.0.lock().unwrap().clone();
            let says = |fields: [&str; 6]| -> Vec<String> {
                let said = |span: &crate::worker::observe::Said, field: &str| {
                    span.fields.get(field).map_or("-", String::as_str).to_owned()
                };
                spans.iter().map(|span| fields.map(|field| said(span, field)).join(" | ")).collect()
            };
            assert_eq!(
                says([
                    "otel.name",
                    "otel.kind",
                    "messaging.operation.type",
                    "messaging.batch.message_count",
                    "messaging.message.id",
                    "error.type"
                ]),
                [
                    "publish orders | producer | send | 1 | 1 | -",
                    "publish orders | client | send | 1 | 2 | -",
                    "publish | producer | send | 3 | - | refused",
                    "receive orders | client | receive | 4 | - | -",
                    "extend orders | client | settle | 1 | - | -",
                    "settle orders | client | settle | 2 | - | -",
                    "receive orders | client | receive | - | - | invalid",
                ]
            );
            assert!(spans.iter().all(|span| span.fields["messaging.system"] == "txn"), "{spans:?}");
            assert!(spans.iter().all(|span| span.fields.values().all(|value| !value.contains("secret"))), "{spans:?}");
            let state = || Some("vendor=1".to_owned());
            let expected = [
                (2, own, None),
                (3, own, None),
                (4, created(1), state()),
                (4, own, None),
                (4, created(3), state()),
                (4, own, None),
            ];
            assert_eq!(*joined.lock().unwrap(), expected);
        }
    });
}
