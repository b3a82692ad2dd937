//! The keys, bodies and changes that scenarios are made of.

use std::sync::Arc;

use txn_change::{
    Add, Body, Change, ChangeId, Class, Event, FactId, Fence, FenceName, Fingerprint, Guard, Key, Kind, Label, Lanes,
    Open, Opening, Put, SetGuards, Status, Timestamp,
};
use txn_suite::Checked;

pub(super) fn kind() -> Checked<Kind> {
    Ok(Kind::new("note")?)
}

/// A record's key.
pub(super) fn note(name: &str) -> Checked<Key> {
    Ok(Key::of(kind()?).text(name)?.build())
}

/// A counter's key.
pub(super) fn tally(name: &str) -> Checked<Key> {
    Ok(Key::of(Kind::new("tally")?).text(name)?.build())
}

/// An index term.
pub(super) fn term(name: &str) -> Checked<Key> {
    Ok(Key::of(Kind::new("by-word")?).text(name)?.build())
}

pub(super) fn body(text: &str) -> Body {
    Body::raw("note", 1, text.as_bytes().to_vec())
}

/// An empty change whose command is its id.
pub(super) fn change(id: &str) -> Checked<Change> {
    Ok(Change::new(ChangeId::new(id)?, Fingerprint::of_bytes("conformance", id.as_bytes())))
}

/// The same change as if another command had been asked.
pub(super) fn asked_otherwise(change: &Change) -> Change {
    Change { fingerprint: Fingerprint::of_bytes("conformance", b"another command"), ..change.clone() }
}

pub(super) fn class(name: &str) -> Class {
    Class { name: name.to_owned(), signed: [false; 4], history: true, conserves: [None; 2] }
}

pub(super) fn opening(class: Class, guards: [Option<Guard>; 2]) -> Arc<Opening> {
    Arc::new(Opening { class: Arc::new(class), unit: Arc::from("item"), guards })
}

/// Lane 0 less lane 1 is at least 0: what is on hand and not reserved.
pub(super) const AVAILABLE: Guard = Guard { weights: [1, -1, 0, 0], min: 0 };

/// Unsigned, with history, guarded by [`AVAILABLE`].
pub(super) fn stock() -> Arc<Opening> {
    opening(class("stock-like"), [Some(AVAILABLE), None])
}

/// Two-sided: what is added to lane 1 somewhere is added to lane 3 elsewhere.
pub(super) fn account(guards: [Option<Guard>; 2]) -> Arc<Opening> {
    let conserves = [Some([1, 0, -1, 0]), Some([0, 1, 0, -1])];
    opening(Class { conserves, ..class("account-like") }, guards)
}

/// Lane 3 less lane 1 is at least 0.
pub(super) const FUNDED: Guard = Guard { weights: [0, -1, 0, 1], min: 0 };

pub(super) fn add(counter: &Key, delta: [i128; 4], or_open: Option<Arc<Opening>>) -> Add {
    Add {
        counter: counter.clone(),
        delta: Lanes(delta),
        or_open,
        force: false,
        effective_at: Some(Timestamp::EPOCH),
        label: Label::new("line"),
    }
}

/// A change that adds to a stock-like counter.
pub(super) fn stocked(id: &str, counter: &Key, delta: [i128; 4]) -> Checked<Change> {
    Ok(change(id)?.add(add(counter, delta, Some(stock()))))
}

/// A change that moves an amount between two accounts; `guards` are those of the paying one.
pub(super) fn transfer(id: &str, from: &Key, to: &Key, amount: i128, guards: [Option<Guard>; 2]) -> Checked<Change> {
    let pays = add(from, [0, amount, 0, 0], Some(account(guards)));
    let gets = add(to, [0, 0, 0, amount], Some(account([None; 2])));
    Ok(change(id)?.add(pays).add(gets))
}

pub(super) fn open(change: Change, counter: &Key, opening: Arc<Opening>) -> Change {
    let mut change = change;
    change.open.push(Open { counter: counter.clone(), opening });
    change
}

pub(super) fn set(change: Change, counter: &Key, expect: u64, min: i128, status: Status) -> Change {
    let mut change = change;
    let guards = [Some(Guard { min, ..AVAILABLE }), None];
    change.set.push(SetGuards { counter: counter.clone(), expect, guards, status });
    change
}

pub(super) fn fence(change: Change, name: &str, token: u64) -> Checked<Change> {
    let mut change = change;
    change.fence.push(Fence { name: FenceName::new(name)?, token });
    Ok(change)
}

pub(super) fn put(change: Change, put: Put) -> Change {
    let mut change = change;
    change.put.push(put);
    change
}

pub(super) fn event(text: &str) -> Event {
    Event::new(Body::raw("noted", 1, text.as_bytes().to_vec()))
}

pub(super) fn fact(id: &str) -> Checked<Event> {
    Ok(event(id).with_id(FactId::new(id)?))
}
