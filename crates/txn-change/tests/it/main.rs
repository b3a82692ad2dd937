//! What is stored beside documents, as it was written first: a build that makes other bytes of the same values finds nothing again, and proves no chain.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "what fails fails the test")]

use std::sync::Arc;

use serde_json::json;
use txn_change::{
    Add, Body, Change, ChangeId, Class, Event, FactId, Fingerprint, Format, GroupDigest, Guard, Key, Kind, Label,
    Lanes, Link, MapView, Opening, Segment, Status, Tenant, Timestamp, Verdict, evaluate,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key() -> Key {
    Key::of(Kind::new("note").unwrap()).text("a\0\u{e9}").unwrap().number(258).time(Timestamp::from_nanos(-1)).build()
}

#[test]
fn the_bytes_of_a_key() {
    let parts = ["6e6f746500", "016100ffc3a900", "020000000000000102", "037fffffffffffffff"];
    assert_eq!(hex(key().as_bytes()), parts.concat());
    let segments = [Segment::Text("a\0\u{e9}".into()), Segment::Number(258), Segment::Time(Timestamp::from_nanos(-1))];
    assert_eq!(Key::from_bytes(key().as_bytes()).unwrap().segments(), segments);
}

#[test]
fn the_digest_of_a_command() {
    let of = |fingerprint: Fingerprint| hex(&fingerprint.0);
    let command = Fingerprint::of("note.write", &json!({"text": "hello", "to": ["a", null, 1]}));
    assert_eq!(of(command), "9fc683a0efbb7df48371eae0886e84f702bea2a44a7158eaf5758de3d4a1229d");
    assert_eq!(
        of(command.and(Fingerprint::of_bytes("note.erase", b""))),
        "441ad7c010a5aa9ef55d9e851c38c05b88bff56956bfc991071bd54500d7b1e0"
    );
    assert_eq!(of(Fingerprint::NOT_DONE), "00".repeat(32));
}

#[test]
fn codes_and_words() {
    assert_eq!([Format::Erased, Format::Json].map(Format::code), [0, 1]);
    assert_eq!([Status::Open, Status::Frozen, Status::Closed].map(Status::code), [0, 1, 2]);
    assert_eq!(Label::indexed("line", 7).as_str(), "line:7");
    let class = Class {
        name: "stock".into(),
        signed: [true, false, false, true],
        history: true,
        conserves: [Some([1, -1, 0, 0]), None],
    };
    assert_eq!(
        serde_json::to_string(&class).unwrap(),
        r#"{"name":"stock","signed":[true,false,false,true],"history":true,"conserves":[[1,-1,0,0],null]}"#
    );
    let guards = [Some(Guard { weights: [1, -1, 0, -128], min: i128::MIN }), None];
    assert_eq!(
        serde_json::to_string(&guards).unwrap(),
        r#"[{"weights":[1,-1,0,-128],"min":-170141183460469231731687303715884105728},null]"#
    );
}

/// The answers that no document stands behind.
#[test]
fn answers_without_a_document() {
    let id = || ChangeId::new("note.write/1").unwrap();
    let shape = |change: &Change| {
        let answer = &change.answer;
        (answer.type_name().to_owned(), answer.schema(), answer.format(), answer.bytes().to_vec())
    };
    let none = Change::new(id(), Fingerprint::of_bytes("note.write", b""));
    assert_eq!(shape(&none), ("none".into(), 1, Format::Json, b"null".to_vec()));
    assert_eq!(shape(&Change::not_done(id())), ("txn.not-done".into(), 1, Format::Json, b"null".to_vec()));
}

/// A change with everything that its digest covers, and the link of a group with it alone.
#[test]
fn the_digest_of_a_change_and_the_hash_of_its_link() {
    let class = Arc::new(Class { name: "count".into(), signed: [true; 4], history: true, conserves: [None; 2] });
    let add = Add {
        counter: Key::of(Kind::new("count").unwrap()).number(1).build(),
        delta: Lanes([1, -1, i128::MAX, i128::MIN]),
        or_open: Some(Arc::new(Opening { class, unit: "item".into(), guards: [None; 2] })),
        effective_at: Some(Timestamp::from_nanos(7)),
        label: Label::indexed("line", 7),
        force: false,
    };
    let event = Event::new(Body::raw("note.written", 2, br#"{"text":"hello"}"#.to_vec()))
        .with_id(FactId::new("note.written/1").unwrap())
        .about(key())
        .with_term(key());
    let change = Change::new(ChangeId::new("note.write/1").unwrap(), Fingerprint::of_bytes("note.write", b"hello"))
        .add(add)
        .append(event)
        .append(Event::new(Body::raw("page.seen", 1, b"{}".to_vec())))
        .answer(Body::raw("written", 3, b"1".to_vec()));
    let Ok(Verdict::Accepted(effects)) = evaluate(&MapView::default(), &change, Timestamp::from_nanos(9)) else {
        panic!("nothing is in its way");
    };
    assert_eq!(hex(&effects.stored.digest), "b217fdf14e1ca3b57b49696fabb3400e95377f0298211e97cf0836b5eeda1388");
    let mut group = GroupDigest::default();
    group.add(&Tenant::new("shop").unwrap(), &change.id, &effects.stored.digest, effects.stored.events);
    assert_eq!(
        hex(&Link::START.next(&group.finish()).hash),
        "e2839bc11ced92dd995c16b68bd87874578f8dd7c50e52c4cf7dfcbd396e54c4"
    );
}
