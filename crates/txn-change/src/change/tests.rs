use super::*;
use crate::limits::Limits;
use crate::{FactId, Kind};

fn change() -> Change {
    Change::new(ChangeId::new("c").unwrap(), Fingerprint::of_bytes("op", b""))
}

fn event(name: &str) -> Event {
    Event::new(Body::raw(name, 1, b"{}".to_vec()))
}

#[test]
fn a_host_writes_nothing_of_ours() {
    let own = Key::of(Kind::new("note").unwrap()).number(1).build();
    let ours = Key::of(Kind::reserved("ledger")).number(1).build();
    let body = || Body::raw("note", 1, b"{}".to_vec());
    let fact = |id: &str| event("note.written").with_id(FactId::new(id).unwrap());
    let allowed = change().insert(own.clone(), body(), Vec::from([own.clone()])).append(fact("note/1"));
    assert_eq!(allowed.check_host(), Ok(()));
    let refused = [
        change().insert(ours.clone(), body(), Vec::new()),
        change().insert(own.clone(), body(), Vec::from([ours.clone()])),
        change().hold(ours, Condition::Version(0), Label::new("peek")),
        change().append(event("ledger.transferred")),
        change().append(fact("transfer/t-1")),
        change().append(fact("order/o-1")),
    ];
    for change in refused {
        assert!(change.check_host().is_err(), "{change:?}");
    }
}

#[test]
fn names_and_labels_have_limits() {
    let limits = Limits::default();
    assert_eq!(change().append(event(&"t".repeat(64))).check(&limits), Ok(()));
    assert_eq!(
        change().append(event(&"t".repeat(65))).check(&limits),
        Err(Invalid::Name { what: "type name", length: 65, max: 64 })
    );
    assert!(change().append(event("")).check(&limits).is_err());
}
