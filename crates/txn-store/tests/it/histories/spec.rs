//! What is committed: plain descriptions that shrink well, turned into changes when their turn comes.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*};
use txn_change::{
    Add, Body, Change, ChangeId, Class, Condition, Event, Expect, FactId, Fence, FenceName, Fingerprint, Guard, Hold,
    Key, Kind, Label, Lanes, Open, Opening, Put, Require, SetGuards, Status, Tenant, Timestamp,
};

use crate::model::House;

#[derive(Debug, Clone)]
pub(super) struct ChangeSpec {
    pub(super) tenant: u8,
    id: u8,
    command: u8,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Require(u8, Version),
    Hold(u8, Condition),
    Fence(u8, u64),
    /// Not from so many seconds on.
    Before(i64),
    Put {
        key: u8,
        at: Version,
        body: Option<u8>,
        terms: Vec<u8>,
    },
    Open(u8, u8),
    Set {
        counter: u8,
        at: Version,
        mins: [Option<i8>; 2],
        status: Status,
    },
    Add(AddSpec),
    /// Two additions that balance.
    Move {
        from: u8,
        to: u8,
        amount: i128,
        is_pending: bool,
        force: bool,
    },
    /// One addition to each of many counters.
    Spread(u8),
    Event {
        fact: Option<u8>,
        is_own: bool,
        subject: Option<u8>,
        terms: Vec<u8>,
    },
}

#[derive(Debug, Clone)]
struct AddSpec {
    counter: u8,
    delta: [i128; 4],
    opening: Option<Option<u8>>,
    force: bool,
    effective: i64,
}

/// A version, said in terms of what is there when the change's turn comes.
#[derive(Debug, Clone, Copy)]
enum Version {
    Current,
    Before,
    Absent,
    Exactly(u64),
}

pub(super) fn tenant(number: u8) -> Tenant {
    Tenant::new(["one", "two", "one-"][usize::from(number) % 3]).unwrap()
}

pub(super) fn id(number: u8) -> ChangeId {
    ChangeId::new(format!("change/{number}")).unwrap()
}

pub(super) const IDS: u8 = 48;

pub(super) fn record(number: u8) -> Key {
    let key = Key::of(Kind::new("note").unwrap());
    // Neighbours as bytes: a prefix of another key, a NUL within.
    match number % 5 {
        0 => key.text("a").unwrap().build(),
        1 => key.text("a\0").unwrap().build(),
        2 => key.text("a").unwrap().number(0).build(),
        3 => key.build(),
        _ => key.number(u64::MAX).build(),
    }
}

/// The first six are the hot ones; the others are for changes that touch many.
pub(super) fn counter(number: u8) -> Key {
    Key::of(Kind::new("tally").unwrap()).number(number.into()).build()
}

pub(super) const COUNTERS: u8 = 24;

pub(super) fn fact(number: u8) -> FactId {
    FactId::new(format!("fact/{number}")).unwrap()
}

pub(super) fn term(number: u8) -> Key {
    Key::of(Kind::new("by-word").unwrap()).text(["", "\0", "w", "ww"][usize::from(number) % 4]).unwrap().build()
}

/// The kinds of counters: guarded stock, two accounts, one without history, one for the ends of the range, and others that differ a little.
fn opening(number: u8) -> Arc<Opening> {
    let class = |name: &str| Class { name: name.into(), signed: [false; 4], history: true, conserves: [None; 2] };
    let account = Class { conserves: [Some([1, 0, -1, 0]), Some([0, 1, 0, -1])], ..class("account") };
    let guard = |weights, min| Some(Guard { weights, min });
    let (class, unit, guards) = match number % 6 {
        0 => (class("stock"), "item", [guard([1, -1, 0, -1], 0), None]),
        1 => (account, "usd", [guard([-1, -1, 0, 1], 0), guard([0, 0, 0, -1], -20)]),
        2 => (account, "usd", [None; 2]),
        3 => (Class { history: false, signed: [true; 4], ..class("silent") }, "slot", [guard([2, -1, 0, 1], -3), None]),
        4 => (
            Class { signed: [true, true, false, false], ..class("wide") },
            "item",
            [guard([1, 1, 0, 0], i128::MIN), None],
        ),
        _ => (account, "eur", [None; 2]),
    };
    Arc::new(Opening { class: Arc::new(class), unit: unit.into(), guards })
}

/// What a counter is when nothing else is said.
fn own_opening(counter: u8) -> Arc<Opening> {
    match counter {
        0..=4 => opening(counter),
        5 => opening(2),
        _ => opening(0),
    }
}

/// The command that settles an id as not done.
const NOT_DONE: u8 = 2;

impl ChangeSpec {
    pub(super) fn change(&self, house: &House) -> Change {
        if self.command == NOT_DONE {
            return Change::not_done(id(self.id));
        }
        let fingerprint = Fingerprint::of_bytes("history", &[self.id, self.command]);
        let mut change = Change::new(id(self.id), fingerprint);
        change.answer = Body::raw("answer", self.command.into(), vec![self.id; usize::from(self.command)]);
        for (place, part) in self.parts.iter().enumerate() {
            part.extend(&mut change, house, place);
        }
        change
    }
}

impl Version {
    fn of(self, current: Option<u64>) -> Expect {
        match self {
            Self::Current => current.map_or(Expect::Absent, Expect::Version),
            Self::Before => Expect::Version(current.unwrap_or(1).saturating_sub(1)),
            Self::Absent => Expect::Absent,
            Self::Exactly(version) => Expect::Version(version),
        }
    }
}

impl Part {
    fn extend(&self, change: &mut Change, house: &House, place: usize) {
        let label = Label::indexed("part", place);
        let stands = |key: &Key| house.records.get(key).map(|record| record.version);
        match self {
            Self::Require(key, at) => {
                let key = record(*key);
                change.require.push(Require { expect: at.of(stands(&key)), key });
            }
            Self::Hold(number, condition) => {
                change.hold.push(Hold { counter: counter(*number), condition: *condition, label });
            }
            Self::Fence(name, token) => {
                change.fence.push(Fence { name: FenceName::new(format!("lock-{name}")).unwrap(), token: *token });
            }
            Self::Before(seconds) => {
                *change = change.clone().before(Timestamp::from_nanos(seconds * 1_000_000_000));
            }
            Self::Put { key, at, body, terms } => {
                let key = record(*key);
                let expect = at.of(stands(&key));
                let body = body.map(|byte| Body::raw("note", byte.into(), vec![byte; usize::from(byte % 4)]));
                change.put.push(Put { key, expect, body, terms: terms.iter().map(|t| term(*t)).collect() });
            }
            Self::Open(number, kind) => {
                change.open.push(Open { counter: counter(*number), opening: opening(*kind) });
            }
            Self::Set { counter: number, at, mins, status } => {
                let counter = counter(*number);
                let expect = match at.of(house.tallies.get(&counter).map(|tally| tally.counter().version)) {
                    Expect::Absent => 0,
                    Expect::Version(version) => version,
                };
                let guard = |min: i8| Guard { weights: [1, -1, 0, 0], min: min.into() };
                change.set.push(SetGuards { counter, expect, guards: mins.map(|min| min.map(guard)), status: *status });
            }
            Self::Add(spec) => {
                let AddSpec { counter: number, delta, opening: kind, force, effective } = *spec;
                let or_open = kind.map(|other| other.map_or_else(|| own_opening(number), opening));
                // One in three does not say.
                let effective_at = (effective % 3 != 0).then_some(Timestamp::from_nanos(effective));
                let (counter, delta) = (counter(number), Lanes(delta));
                change.add.push(Add { counter, delta, or_open, force, effective_at, label });
            }
            Self::Move { from, to, amount, is_pending, force } => {
                for (number, lane) in [(*from, 0), (*to, 2)] {
                    let mut delta = [0; 4];
                    delta[lane + usize::from(!is_pending)] = *amount;
                    let (counter, or_open, effective_at) =
                        (counter(number), Some(own_opening(number)), Some(Timestamp::EPOCH));
                    let label = label.clone();
                    change.add.push(Add { counter, delta: Lanes(delta), or_open, force: *force, effective_at, label });
                }
            }
            Self::Spread(count) => {
                for number in 6..6 + count {
                    let (counter, or_open) = (counter(number), Some(own_opening(number)));
                    let (delta, effective_at) = (Lanes([2, 1, 0, 0]), Some(Timestamp::EPOCH));
                    let label = Label::indexed("spread", number.into());
                    change.add.push(Add { counter, delta, or_open, force: false, effective_at, label });
                }
            }
            Self::Event { fact: id, is_own, subject, terms } => {
                let body = Body::raw(if *is_own { "order.placed" } else { "happened" }, 1, vec![place as u8]);
                let (id, subject) = (id.map(fact), subject.map(record));
                change.append.push(Event { id, subject, body, terms: terms.iter().map(|t| term(*t)).collect() });
            }
        }
    }
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![
        6 => Just(Version::Current),
        1 => Just(Version::Before),
        1 => Just(Version::Absent),
        1 => (0..4u64).prop_map(Version::Exactly),
    ]
}

fn weights() -> impl Strategy<Value = [i8; 4]> {
    prop_oneof![Just([1, -1, 0, 0]), Just([0, -1, 0, 1]), Just([2, 0, 0, -2])]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => (weights(), -9..6i128).prop_map(|(w, v)| Condition::AtLeast(w, v)),
        3 => (weights(), -3..9i128).prop_map(|(w, v)| Condition::AtMost(w, v)),
        1 => (weights(), 0..3i128).prop_map(|(w, v)| Condition::Equals(w, v)),
        1 => (0..3u64).prop_map(Condition::Version),
    ]
}

fn lane() -> impl Strategy<Value = i128> {
    let ends = [i128::MAX, i128::MIN, i128::MAX - 1, i128::MAX / 2];
    prop_oneof![8 => Just(0), 8 => 0..8i128, 4 => -4..0i128, 1 => (0..4usize).prop_map(move |i| ends[i])]
}

fn add() -> impl Strategy<Value = AddSpec> {
    let delta = prop_oneof![
        4 => [lane(), lane(), lane(), lane()],
        4 => (1..12i128).prop_map(|units| [units, 0, 0, 0]),
        4 => (-2..4i128).prop_map(|units| [0, units, 0, 0]),
    ];
    let opening = prop_oneof![8 => Just(Some(None)), 3 => Just(None), 1 => (0..6u8).prop_map(|k| Some(Some(k)))];
    let counter = prop_oneof![4 => Just(0u8), 2 => Just(3), 2 => Just(4), 1 => 0..6u8, 1 => 6..20u8];
    (counter, delta, opening, prop::bool::weighted(0.2), -2..3i64)
        .prop_map(|(counter, delta, opening, force, effective)| AddSpec { counter, delta, opening, force, effective })
}

fn part() -> impl Strategy<Value = Part> {
    let account = || prop_oneof![Just(1u8), Just(2), Just(5)];
    let status = prop_oneof![4 => Just(Status::Open), 1 => Just(Status::Frozen), 1 => Just(Status::Closed)];
    let terms = || vec(0..4u8, 0..4);
    prop_oneof![
        2 => (0..5u8, version()).prop_map(|(key, at)| Part::Require(key, at)),
        2 => (0..6u8, condition()).prop_map(|(counter, condition)| Part::Hold(counter, condition)),
        2 => (0..2u8, prop_oneof![0..6u64, Just(u64::MAX)]).prop_map(|(name, token)| Part::Fence(name, token)),
        1 => (-9..900i64).prop_map(Part::Before),
        6 => (0..5u8, version(), option::weighted(0.8, any::<u8>()), terms())
            .prop_map(|(key, at, body, terms)| Part::Put { key, at, body, terms }),
        1 => (0..20u8, 0..6u8).prop_map(|(counter, kind)| Part::Open(counter, kind)),
        1 => (0..6u8, version(), [option::of(-5..5i8), option::weighted(0.2, -5..5i8)], status)
            .prop_map(|(counter, at, mins, status)| Part::Set { counter, at, mins, status }),
        8 => add().prop_map(Part::Add),
        5 => (account(), account(), prop_oneof![9 => 0..9i128, 1 => Just(i128::MAX / 2)], any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(from, to, amount, is_pending, force)| Part::Move { from, to, amount, is_pending, force }),
        1 => (1..15u8).prop_map(Part::Spread),
        4 => (option::weighted(0.4, 0..12u8), prop::bool::weighted(0.1), option::of(0..5u8), terms())
            .prop_map(|(fact, is_own, subject, terms)| Part::Event { fact, is_own, subject, terms }),
    ]
}

pub(super) fn any_tenant() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0u8), 1 => 1..3u8]
}

pub(super) fn any_id() -> impl Strategy<Value = u8> {
    0..IDS
}

pub(super) fn change() -> impl Strategy<Value = ChangeSpec> {
    let command = prop_oneof![14 => Just(0u8), 2 => Just(1), 1 => Just(NOT_DONE)];
    (any_tenant(), any_id(), command, vec(part(), 0..4)).prop_map(|(tenant, id, command, parts)| ChangeSpec {
        tenant,
        id,
        command,
        parts,
    })
}
