//! What is stored, byte for byte: what was written once stays readable, and no form changes unseen.
//!
//! A line of `tests/fixtures/stored.txt` is a name and what stands under it in files and databases, in hexadecimal digits. A form that has to change gets a new number in front, and a line of its own beside the old one.

#![allow(clippy::arithmetic_side_effects, reason = "small numbers of tests")]

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use txn_change::Timestamp;

use super::{
    declared::Declared,
    pack::{self, Opened},
    replica::{Replica, Saved},
    row::{Brief, Row},
    step::{self, Ended, Leases, Op, Step},
};
use crate::{
    engine::log::Stored,
    message::{Message, Priority},
    name::{
        AttributeName, DedupeId, ExchangeName, GroupName, Key, MessageId, MessageType, RoutingKey, ScheduleKey, Source,
        Topic, WorkerId,
    },
    queue::{Action, Group, Position},
    routes::{Criterion, ExchangeKind, Pattern},
    topology::{BehindRetry, Cause, Death, GroupSpec, Order, Overflow, Rate, Start, TopicSpec},
};

const FIXTURES: &str = include_str!("../../tests/fixtures/stored.txt");

fn topic() -> Topic {
    Topic::new("orders").expect("a name")
}

fn group(name: &str) -> Group {
    Group::new(topic(), GroupName::new(name).expect("a name"))
}

fn nanos(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn row(position: u64, key: Option<&str>) -> Row {
    let mut message = Message::new(
        MessageId::new(format!("m-{position}")).expect("an id"),
        Source::new("/shop").expect("a source"),
        MessageType::new("order.placed").expect("a type"),
    )
    .data("text/plain", format!("data {position}").into_bytes())
    .priority(Priority::FIRST);
    message.key = key.map(|key| Key::new(key).expect("a key"));
    if position == 3 {
        message = message
            .subject("order 3")
            .dedupe_id(DedupeId::new("d-3").expect("an id"))
            .schedule_key(ScheduleKey::new("s-3").expect("a key"))
            .delay(Duration::from_millis(5))
            .expires_after(Duration::from_secs(9))
            .extension(AttributeName::new("abc").expect("a name"), "text".into());
        message.trace_parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok();
    }
    let times = [nanos(1_000), nanos(1_000 + i64::from(position == 3) * 5_000_000), Timestamp::MAX];
    let only = (position == 2).then(|| group("g").name().clone());
    let stored = Stored::new(message.key.clone(), message.priority, times, only);
    let mut row = Row::new(position, Arc::new(message), &stored);
    if position == 1 {
        row.redriven = 2;
        row.death = Some(Arc::new(Death {
            cause: Cause::Exhausted,
            reasons: vec!["it failed".into()],
            group: group("g"),
            position: Position(7),
            deliveries: 3,
            accepted_at: nanos(500),
            died_at: nanos(900),
            redriven: 2,
        }));
    }
    row
}

/// All that can be done, in an order in which it can.
fn ops() -> Vec<(&'static str, Op)> {
    let g = group("g").name().clone();
    let worker = WorkerId::new("worker-1").expect("a name");
    let at_once = NonZeroU32::MIN;
    let spec = TopicSpec { messages_max: 9, overflow: Overflow::DropOldest, ..TopicSpec::new(topic()) };
    let ordered = GroupSpec {
        start: Start::Beginning,
        order: Order::PerKey { at_once, behind_retry: BehindRetry::Park },
        rate: Some(Rate { messages: NonZeroU32::MIN, per: Duration::from_nanos(1) }),
        dead_letters: Some(Topic::new("dead").expect("a name")),
        ..GroupSpec::new(group("g"))
    };
    let from_time = GroupSpec { start: Start::Time(nanos(3)), ..GroupSpec::new(group("other")) };
    let items = [
        (0, 11, Action::Ack),
        (1, 12, Action::Retry { after: Duration::from_millis(2), reason: "it failed".into() }),
        (2, 13, Action::Extend { lease: Duration::from_secs(1) }),
        (4, 14, Action::Release),
        (5, 15, Action::Dead { reason: "nonsense".into() }),
    ];
    let ended = |range: std::ops::Range<usize>| {
        step::ended(
            items.get(range).unwrap_or_default().iter().map(|(position, token, action)| (*position, *token, action)),
        )
    };
    let leases = Leases::new(g.clone(), worker.clone(), 9, nanos(60_000_000_000), 10, [0, 1, 2, 4, 5].into_iter());
    vec![
        ("step.topic", Op::Topic(spec)),
        ("step.group", Op::Group(ordered)),
        ("step.group.from-time", Op::Group(from_time)),
        ("step.added", Op::Added(6)),
        ("step.advanced", Op::Advanced(g.clone())),
        ("step.leased", Op::Leased(leases)),
        ("step.settled", Op::Settled(g.clone(), ended(0..3))),
        ("step.settled-late", Op::SettledLate(g.clone(), ended(3..5))),
        ("step.died", Op::Died { group: g.clone(), position: 5, is_buried: true }),
        ("step.moved", Op::Moved { position: 3, due: Some(7_000_000) }),
        ("step.removed", Op::Moved { position: 3, due: None }),
        ("step.paused", Op::Paused(g.clone())),
        ("step.resumed", Op::Resumed(g.clone())),
        ("step.sought", Op::Sought(GroupName::new("other").expect("a name"), Start::Position(Position(4)))),
        ("step.rescued", Op::Rescued(WorkerId::new("worker-2").expect("a name"))),
        ("step.released", Op::Released),
    ]
}

/// Names what is not among [`ops`] when it is added: this does not compile then.
const fn is_listed(op: &Op) {
    match op {
        Op::Topic(_)
        | Op::Group(_)
        | Op::Added(_)
        | Op::Advanced(_)
        | Op::Leased(_)
        | Op::Settled(..)
        | Op::Died { .. }
        | Op::Moved { .. }
        | Op::Paused(_)
        | Op::Resumed(_)
        | Op::Sought(..)
        | Op::Rescued(_)
        | Op::Released
        | Op::SettledLate(..) => {}
    }
}

fn rows() -> Vec<Row> {
    (0..6).map(|position| row(position, (position % 2 == 0).then_some("key"))).collect()
}

/// The topic after all of [`ops`].
fn replica() -> Replica {
    let mut replica = Replica::empty(1, &topic());
    for (number, (name, op)) in (1..).zip(ops()) {
        let step = Step {
            number,
            nonce: number * 3,
            at: nanos(2_000 + 3 * i64::try_from(number).expect("small")),
            body: Vec::new(),
        };
        let briefs = pack::write(&rows()).into_iter().flat_map(|pack| pack::briefs(0, &pack.briefs).expect("briefs"));
        let mut added: std::collections::VecDeque<Brief> = briefs.collect();
        replica.follow(&step, vec![op], &mut added).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    replica
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).expect("a hexadecimal digit")).collect();
    let byte = |pair: &[u32]| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)).expect("a byte");
    digits.chunks(2).map(byte).collect()
}

fn written() -> BTreeMap<&'static str, Vec<u8>> {
    let mut written: BTreeMap<&'static str, Vec<u8>> =
        ops().into_iter().map(|(name, op)| (name, step::to_bytes(&vec![op]))).collect();
    let [pack] = pack::write(&rows()).try_into().expect("one pack");
    written.insert("pack.briefs", pack.briefs);
    written.insert("pack.bodies", pack.bodies);
    written.insert("saved", step::to_bytes(&replica().save()));
    let ack = Action::Ack;
    written.insert("hosted.settled", step::to_bytes(&step::ended([(4, 9, &ack)].into_iter())));
    let mut declared = Declared { version: 2, ..Declared::default() };
    declared.number(&topic());
    let values = [(AttributeName::new("abc").expect("a name"), "x".to_owned())].into();
    let headers = Criterion::Headers { any: true, values };
    for (exchange, kind, criterion) in [
        ("direct", ExchangeKind::Direct, Criterion::Key(RoutingKey::new("placed").expect("a key"))),
        ("topic", ExchangeKind::Topic, Criterion::Pattern(Pattern::new("order.*.#").expect("a pattern"))),
        ("headers", ExchangeKind::Headers, headers),
        ("fanout", ExchangeKind::Fanout, Criterion::Always),
    ] {
        let exchange = ExchangeName::new(exchange).expect("a name");
        declared.routes.declare(exchange.clone(), kind).expect("it is new");
        declared.routes.bind(&exchange, criterion, topic()).expect("it fits");
    }
    written.insert("topology", declared.to_json().into_bytes());
    written
}

fn kept() -> BTreeMap<&'static str, Vec<u8>> {
    let lines = FIXTURES.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.split_once(' ').expect("a name and digits"))
        .map(|(name, digits)| (name, bytes(digits)))
        .collect()
}

fn same<T: DeserializeOwned + Serialize>(name: &str, bytes: &[u8]) -> T {
    let value: T = step::from_bytes("a fixture", bytes).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert_eq!(hex(&step::to_bytes(&value)), hex(bytes), "{name} is written otherwise than it was");
    value
}

#[test]
fn what_is_written_is_what_was_written_by_the_first_build() {
    ops().iter().for_each(|(_, op)| is_listed(op));
    let kept = kept();
    for (name, bytes) in written() {
        let wanted = kept.get(name).map(|bytes| hex(bytes));
        assert_eq!(
            wanted,
            Some(hex(&bytes)),
            "the stored form of {name} is another, or has no line yet: {name} {}",
            hex(&bytes)
        );
    }
}

#[test]
fn what_was_written_by_the_first_build_is_read() {
    let kept = kept();
    for (name, op) in ops() {
        assert_eq!(same::<Vec<Op>>(name, &kept[name]), [op], "{name}");
    }
    assert_eq!(step::settled(same::<Vec<Ended>>("hosted.settled", &kept["hosted.settled"])), [(4, 9, Action::Ack)]);
    let pack = pack::Pack { first: 0, briefs: kept["pack.briefs"].clone(), bodies: kept["pack.bodies"].clone() };
    let briefs = pack::briefs(0, &pack.briefs).expect("briefs");
    let opened = Opened::new(pack).expect("a pack");
    for row in rows() {
        let read = opened.row(row.position).expect("a row").expect("it is there");
        assert_eq!(format!("{read:?}"), format!("{row:?}"));
    }
    let saved: Saved = same("saved", &kept["saved"]);
    let restored = Replica::restore(1, 15, saved, briefs, super::packs::Packs::default()).expect("a topic");
    assert_eq!(restored.topic.stats(), replica().topic.stats());
    let topology = String::from_utf8(kept["topology"].clone()).expect("text");
    assert_eq!(Declared::read(&topology).expect("a topology").to_json(), topology);
}
