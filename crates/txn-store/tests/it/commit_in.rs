//! A change inside a host's own transaction: committed with the host's rows or not at all, next to ordinary commits.

#[cfg(all(feature = "memory", feature = "conformance", feature = "servers"))]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;

use txn_change::{
    Add, Body, Change, ChangeId, Class, Event, Expect, FactId, Fingerprint, GroupDigest, Guard, Key, Kind, Label,
    Lanes, Link, Opening, Tenant, Timestamp,
};
use txn_store::{Ask, Commit, Outcome, Pending, Position, Row, Snapshot, Store, StoreAdmin, Tentative};

fn note(name: &str) -> Key {
    Key::of(Kind::new("note").unwrap()).text(name).unwrap().build()
}

fn tally(name: &str) -> Key {
    Key::of(Kind::new("tally").unwrap()).text(name).unwrap().build()
}

fn body() -> Body {
    Body::raw("note", 1, b"{}".to_vec())
}

fn change(id: &str) -> Change {
    Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("test", id.as_bytes()))
}

/// An addition to a counter that may not fall below zero.
fn add(name: &str, amount: i128) -> Add {
    let class = Class { name: "tally".into(), signed: [true; 4], history: true, conserves: [None; 2] };
    let guards = [Some(Guard { weights: [1, 0, 0, 0], min: 0 }), None];
    Add {
        counter: tally(name),
        delta: Lanes([amount, 0, 0, 0]),
        or_open: Some(Arc::new(Opening { class: Arc::new(class), unit: "item".into(), guards })),
        force: false,
        effective_at: Some(Timestamp::EPOCH),
        label: Label::new("line"),
    }
}

/// A change with something of everything: record, counter and entry, fact, a key that must stay absent.
fn whole(id: &str) -> Change {
    change(id)
        .require(note("never"), Expect::Absent)
        .insert(note(id), body(), vec![])
        .add(add("all", 1))
        .append(Event::new(body()).with_id(FactId::new(id).unwrap()).about(note(id)))
        .answer(body())
}

fn tenant() -> Tenant {
    Tenant::default()
}

async fn get(store: &dyn Store, ask: Ask) -> Snapshot {
    store.get(vec![ask]).await.unwrap().pop().unwrap()
}

/// How many parts of a whole change are there: record, stored answer, fact.
async fn parts(store: &dyn Store, id: &str) -> usize {
    let ask = Ask::new(tenant()).stored(ChangeId::new(id).unwrap()).record(note(id));
    let seen = get(store, ask.fact(FactId::new(id).unwrap())).await;
    [seen.stored.is_some(), seen.records[0].is_some(), seen.facts[0].is_some()]
        .into_iter()
        .filter(|there| *there)
        .count()
}

async fn sum(store: &dyn Store, name: &str) -> i128 {
    get(store, Ask::new(tenant()).counter(tally(name))).await.counters[0].as_ref().map_or(0, |c| c.lanes.0[0])
}

async fn commit(store: &dyn Store, change: Change) -> Outcome {
    store.commit(vec![Commit { tenant: tenant(), change }]).await.pop().unwrap().unwrap()
}

async fn done(store: &dyn Store, change: Change) {
    let outcome = commit(store, change).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}

fn pending(tentative: Tentative) -> Pending {
    match tentative {
        Tentative::Pending(pending) => pending,
        Tentative::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// As the last word on a change of which nothing more is asked.
fn is_written(tentative: Tentative) {
    assert!(!pending(tentative).is_replayed());
}

fn is_refused(tentative: &Tentative) -> bool {
    matches!(tentative, Tentative::Refused(_))
}

/// The facts in the log, in its order.
async fn facts(store: &dyn Store) -> Vec<String> {
    let page = store.read(Position(0), 1_000).await.unwrap();
    page.items.into_iter().filter_map(|item| Some(item.recorded.event.id?.as_str().to_owned())).collect()
}

/// Computes every link again from the changes before it, and says how many changes the chain holds.
async fn prove(store: &dyn StoreAdmin) -> usize {
    // A reading to the end of the log chains what is committed.
    store.read(Position(0), 1_000).await.unwrap();
    let mut export = store.export().await.unwrap();
    let (mut last, mut group, mut changes, mut open) = (Link::START, GroupDigest::default(), 0, 0);
    let mut recorded = Vec::new();
    loop {
        let rows = export.next(100).await.unwrap();
        if rows.is_empty() {
            break;
        }
        for row in rows {
            match row {
                Row::Commit { tenant, id, stored, .. } => {
                    recorded.push(stored.recorded_at);
                    group.add(&tenant, &id, &stored.digest, stored.events);
                    open += 1;
                }
                Row::Link { link, .. } => {
                    last = last.next(&std::mem::take(&mut group).finish());
                    assert_eq!(link, last);
                    changes += std::mem::take(&mut open);
                }
                Row::Orphan { what } => panic!("{what}"),
                _ => {}
            }
        }
    }
    assert_eq!(open, 0, "changes without a link");
    assert_eq!(store.health().await.unwrap().chain, last);
    changes
}
