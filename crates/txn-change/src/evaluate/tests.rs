#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "test arithmetic on small numbers")]

use alloc::{sync::Arc, vec, vec::Vec};

use super::*;
use crate::{Body, ChangeId, Class, Condition, Event, FactId, FenceName, Fingerprint, Kind, MapView, Opening};

fn key(name: &str) -> Key {
    Key::of(Kind::reserved("ledger")).text(name).unwrap().build()
}

fn ledger(guards: [Option<Guard>; 2]) -> Arc<Opening> {
    Arc::new(Opening {
        class: Arc::new(Class {
            name: "ledger".into(),
            signed: [false; 4],
            history: true,
            conserves: [Some([1, 0, -1, 0]), Some([0, 1, 0, -1])],
        }),
        unit: Arc::from("USD"),
        guards,
    })
}

/// credits_posted − debits_posted − debits_pending ≥ 0
const NO_OVERDRAFT: Guard = Guard { weights: [-1, -1, 0, 1], min: 0 };

/// on_hand − reserved − unavailable ≥ 0
const NO_OVERSALE: Guard = Guard { weights: [1, -1, 0, -1], min: 0 };

fn stock() -> Arc<Opening> {
    Arc::new(Opening {
        class: Arc::new(Class { name: "stock".into(), signed: [false; 4], history: true, conserves: [None; 2] }),
        unit: Arc::from("item"),
        guards: [Some(NO_OVERSALE), None],
    })
}

fn change(id: &str) -> Change {
    Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("op", id.as_bytes()))
}

fn add(counter: &str, delta: [i128; 4], opening: &Arc<Opening>) -> Add {
    Add {
        counter: key(counter),
        delta: Lanes(delta),
        or_open: Some(Arc::clone(opening)),
        force: false,
        effective_at: Some(Timestamp::EPOCH),
        label: Label::new("line"),
    }
}

fn transfer(id: &str, from: &str, to: &str, amount: i128) -> Change {
    change(id).add(add(from, [0, amount, 0, 0], &ledger([None; 2]))).add(add(to, [0, 0, 0, amount], &ledger([None; 2])))
}

fn commit(view: &mut MapView, change: &Change) -> Result<Effects, Refusal> {
    match evaluate(view, change, Timestamp::EPOCH)? {
        Verdict::Accepted(effects) => {
            view.apply(change, &effects);
            Ok(effects)
        }
        Verdict::Replayed(_) => panic!("a first commit"),
    }
}

/// Cases L4, B26.
#[test]
fn the_same_id_answers_again_and_another_command_under_it_is_refused() {
    let mut view = MapView::default();
    let first = transfer("t", "a", "b", 5).answer(Body::raw("ok", 1, b"1".to_vec()));
    commit(&mut view, &first).unwrap();
    let before = view.clone();
    let Verdict::Replayed(stored) = evaluate(&view, &first, Timestamp::MAX).unwrap() else { panic!("replay") };
    assert_eq!(stored.answer.bytes(), b"1");
    let other = Change { fingerprint: Fingerprint::of_bytes("op", b"other"), ..first };
    let refusal = evaluate(&view, &other, Timestamp::EPOCH).unwrap_err();
    assert_eq!(refusal, Refusal::KeyReused { id: ChangeId::new("t").unwrap() });
    assert!(!refusal.to_string().contains('1'), "the first answer is not leaked");
    assert_eq!(view, before);
}

#[test]
fn an_id_that_was_settled_as_not_done_accepts_no_change_however_late_it_comes() {
    let mut view = MapView::default();
    let id = ChangeId::new("t").unwrap();
    commit(&mut view, &Change::not_done(id.clone())).unwrap();
    let before = view.clone();
    let late = transfer("t", "a", "b", 5);
    for now in [Timestamp::EPOCH, Timestamp::MAX] {
        assert_eq!(evaluate(&view, &late, now), Err(Refusal::GivenUp { id: id.clone() }));
    }
    assert!(matches!(evaluate(&view, &Change::not_done(id), Timestamp::MAX), Ok(Verdict::Replayed(_))));
    assert_eq!(view, before);
    // The other way round, what was committed stays.
    commit(&mut view, &transfer("u", "a", "b", 5)).unwrap();
    let settled = Change::not_done(ChangeId::new("u").unwrap());
    assert!(matches!(evaluate(&view, &settled, Timestamp::MAX), Err(Refusal::KeyReused { .. })));
}

/// Case B25.
#[test]
fn a_stale_version_is_a_conflict_with_the_current_one() {
    let mut view = MapView::default();
    let note = key("note");
    let body = || Body::raw("note", 1, b"{}".to_vec());
    commit(&mut view, &change("1").insert(note.clone(), body(), vec![])).unwrap();
    commit(&mut view, &change("2").put(note.clone(), Expect::Version(1), body(), vec![])).unwrap();
    let stale = change("3").put(note.clone(), Expect::Version(1), body(), vec![]);
    let expected = Refusal::Conflict { key: note.clone(), expected: Expect::Version(1), actual: Expect::Version(2) };
    assert_eq!(commit(&mut view, &stale).unwrap_err(), expected);
    let read = change("4").require(note.clone(), Expect::Version(1));
    assert_eq!(commit(&mut view, &read).unwrap_err(), expected);
    assert!(commit(&mut view, &change("5").insert(note, body(), vec![])).unwrap_err().is_conflict());
}

#[test]
fn a_guard_refuses_only_what_makes_it_worse_and_gives_back_the_label() {
    let mut view = MapView::default();
    let opening = ledger([Some(NO_OVERDRAFT), None]);
    let fund = change("fund").add(add("wallet", [0, 0, 0, 100], &opening)).add(add(
        "cash",
        [0, 100, 0, 0],
        &ledger([None; 2]),
    ));
    commit(&mut view, &fund).unwrap();
    let spend = |id: &str, amount: i128| {
        let mut from = add("wallet", [0, amount, 0, 0], &opening);
        from.label = Label::indexed("leg", 0);
        change(id).add(from).add(add("cash", [0, 0, 0, amount], &ledger([None; 2])))
    };
    assert_eq!(
        commit(&mut view, &spend("s1", 101)).unwrap_err(),
        Refusal::GuardBroken { counter: key("wallet"), label: Label::indexed("leg", 0), guard: 0, value: -1, min: 0 }
    );
    let mut forced = spend("s2", 101);
    forced.add[0].force = true;
    let effects = commit(&mut view, &forced).unwrap();
    assert!(effects.entries[0].short && !effects.entries[1].short);
    assert!(matches!(commit(&mut view, &spend("s3", 1)), Err(Refusal::GuardBroken { value: -2, .. })));
    let refill =
        change("refill").add(add("wallet", [0, 0, 0, 1], &opening)).add(add("cash", [0, 1, 0, 0], &ledger([None; 2])));
    commit(&mut view, &refill).expect("what makes it better always passes");
}

/// What makes a broken guard better passes although it stays broken, and leaves no shortage behind; so does what leaves it as it is.
#[test]
fn a_release_passes_while_the_guard_is_still_broken() {
    let mut view = MapView::default();
    commit(&mut view, &change("in").add(add("sku", [10, 8, 0, 0], &stock()))).unwrap();
    let recount = Add { force: true, ..add("sku", [-7, 0, 0, 0], &stock()) };
    assert!(commit(&mut view, &change("recount").add(recount)).unwrap().entries[0].short);
    for (id, delta) in [("released", [0, -2, 0, 0]), ("shipped", [-1, -1, 0, 0]), ("received", [1, 0, 0, 0])] {
        let effects = commit(&mut view, &change(id).add(add("sku", delta, &stock()))).expect(id);
        assert!(!effects.entries[0].short, "{id}");
        assert!(NO_OVERSALE.value(effects.counters[0].after.lanes).unwrap() < 0, "{id}");
    }
    let worse = commit(&mut view, &change("reserved").add(add("sku", [0, 1, 0, 0], &stock()))).unwrap_err();
    assert!(matches!(worse, Refusal::GuardBroken { value: -3, min: 0, .. }), "{worse}");
}

/// Cases L2, B3, B4.
#[test]
fn an_overflowing_balance_is_a_typed_error_and_changes_nothing() {
    let mut view = MapView::default();
    commit(&mut view, &transfer("max", "a", "b", i128::MAX)).unwrap();
    let before = view.clone();
    assert_eq!(
        commit(&mut view, &transfer("more", "c", "b", 1)).unwrap_err(),
        Refusal::Overflow { counter: key("b"), label: Label::new("line") }
    );
    // The sum of two lanes overflows where a guard adds them up.
    let guarded = ledger([Some(Guard { weights: [1, 1, 0, 0], min: 0 }), None]);
    let pending = change("pending").add(add("g", [i128::MAX, 0, 0, 0], &guarded)).add(add(
        "h",
        [0, 0, i128::MAX, 0],
        &ledger([None; 2]),
    ));
    commit(&mut view, &pending).unwrap();
    let posted = change("posted").add(add("g", [0, 1, 0, 0], &guarded)).add(add("h", [0, 0, 0, 1], &ledger([None; 2])));
    assert!(matches!(commit(&mut view, &posted), Err(Refusal::Overflow { .. })));
    assert_eq!(view.counters[&key("b")], before.counters[&key("b")], "still readable");
}

/// Case B14.
#[test]
fn legs_in_two_currencies_balance_per_currency_or_are_refused() {
    let mut view = MapView::default();
    let usd = ledger([None; 2]);
    let eur = Arc::new(Opening { unit: Arc::from("EUR"), ..(*usd).clone() });
    let mixed = change("mixed").add(add("a", [0, 5, 0, 0], &usd)).add(add("b", [0, 0, 0, 5], &eur));
    assert!(matches!(commit(&mut view, &mixed), Err(Refusal::Unbalanced { off_by: 5, .. })));
    let pending_against_posted = change("p").add(add("a", [5, 0, 0, 0], &usd)).add(add("b", [0, 0, 0, 5], &usd));
    assert!(matches!(commit(&mut view, &pending_against_posted), Err(Refusal::Unbalanced { .. })));
    for (id, lane) in [("pending", 0), ("posted", 1)] {
        let mut delta = [0; 4];
        delta[lane] = 5;
        let from_nowhere = change(id).add(add("a", delta, &usd));
        assert!(matches!(commit(&mut view, &from_nowhere), Err(Refusal::Unbalanced { off_by: 5, .. })), "{id}");
    }
    let mixed_well = mixed.add(add("c", [0, 0, 0, 5], &usd)).add(add("d", [0, 5, 0, 0], &eur));
    commit(&mut view, &mixed_well).unwrap();
    let differs = change("differs").add(add("a", [0, 1, 0, 0], &eur));
    assert!(matches!(commit(&mut view, &differs), Err(Refusal::CounterDiffers { .. })));
}

/// Case O2.
#[test]
fn two_lines_of_one_item_are_judged_by_their_sum() {
    let mut view = MapView::default();
    commit(&mut view, &change("in").add(add("sku", [10, 0, 0, 0], &stock()))).unwrap();
    let line = |index: usize| Add { label: Label::indexed("line", index), ..add("sku", [0, 6, 0, 0], &stock()) };
    let refusal = commit(&mut view, &change("two").add(line(0)).add(line(1))).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::GuardBroken { counter: key("sku"), label: Label::indexed("line", 1), guard: 0, value: -2, min: 0 }
    );
}

#[test]
fn entries_are_gapless_and_follow_the_additions() {
    let mut view = MapView::default();
    let change = change("two").add(add("sku", [10, 0, 0, 0], &stock())).add(add("sku", [0, 4, 0, 0], &stock()));
    let entries = commit(&mut view, &change).unwrap().entries;
    let got: Vec<_> = entries.iter().map(|e| (e.sequence, e.after.0)).collect();
    assert_eq!(got, [(1, [10, 0, 0, 0]), (2, [10, 4, 0, 0])]);
    let counter = &view.counters[&key("sku")];
    assert_eq!((counter.version, counter.sequence), (1, 2));
}

#[test]
fn a_lane_that_is_not_signed_never_passes_below_zero_even_forced() {
    let mut view = MapView::default();
    let mut out = add("sku", [-1, 0, 0, 0], &stock());
    out.force = true;
    let refusal = commit(&mut view, &change("out").add(out)).unwrap_err();
    assert!(matches!(refusal, Refusal::LaneNegative { lane: 0, value: -1, .. }));
}

#[test]
fn fences_conditions_facts_opens_and_sets_are_judged() {
    let mut view = MapView::default();
    let fenced = |id: &str, token| {
        let mut change = change(id);
        change.fence.push(Fence { name: FenceName::new("sweeper").unwrap(), token });
        change
    };
    commit(&mut view, &fenced("f1", 7)).unwrap();
    commit(&mut view, &fenced("f2", 7)).unwrap();
    assert!(matches!(commit(&mut view, &fenced("f3", 6)), Err(Refusal::FenceStale { highest: 7, .. })));

    let fact = || Event::new(Body::raw("t", 1, b"{}".to_vec())).with_id(FactId::new("t-1").unwrap());
    commit(&mut view, &change("e1").append(fact())).unwrap();
    assert!(matches!(commit(&mut view, &change("e2").append(fact())), Err(Refusal::FactExists { .. })));
    let twice = change("e3")
        .append(fact().with_id(FactId::new("x").unwrap()))
        .append(fact().with_id(FactId::new("x").unwrap()));
    assert!(matches!(commit(&mut view, &twice), Err(Refusal::FactExists { .. })));

    let mut open = change("o1");
    open.open.push(crate::Open { counter: key("sku"), opening: stock() });
    commit(&mut view, &open).unwrap();
    open.id = ChangeId::new("o2").unwrap();
    assert!(matches!(commit(&mut view, &open), Err(Refusal::CounterExists { .. })));

    let exact = change("c").hold(key("sku"), Condition::Equals([1, 0, 0, 0], 3), Label::new("recount"));
    assert!(matches!(commit(&mut view, &exact), Err(Refusal::ConditionFailed { value: 0, .. })));

    let set = |id: &str, expect, status| {
        let mut change = change(id);
        change.set.push(crate::SetGuards { counter: key("sku"), expect, guards: [None; 2], status });
        change
    };
    assert!(commit(&mut view, &set("s1", 9, Status::Closed)).unwrap_err().is_conflict());
    commit(&mut view, &set("s2", 1, Status::Closed)).unwrap();
    let late = change("late").add(add("sku", [1, 0, 0, 0], &stock()));
    assert!(matches!(commit(&mut view, &late), Err(Refusal::CounterNotOpen { status: Status::Closed, .. })));
    assert!(matches!(
        commit(&mut view, &change("none").add(Add { or_open: None, ..add("none", [1, 0, 0, 0], &stock()) })),
        Err(Refusal::CounterAbsent { .. })
    ));
}

#[test]
fn terms_are_written_as_the_difference() {
    let mut view = MapView::default();
    let body = || Body::raw("note", 1, b"{}".to_vec());
    let [a, b, c] = ["a", "b", "c"].map(key);
    commit(&mut view, &change("1").insert(key("n"), body(), vec![a.clone(), b.clone()])).unwrap();
    let next = change("2").put(key("n"), Expect::Version(1), body(), vec![b.clone(), c.clone()]);
    let write = commit(&mut view, &next).unwrap().records.remove(0);
    assert_eq!((write.terms_removed, write.terms_added), (vec![a], vec![c.clone()]));
    let write = commit(&mut view, &change("3").remove(key("n"), 2)).unwrap().records.remove(0);
    assert_eq!((write.after, write.terms_removed), (None, vec![b, c]));
    assert!(view.records.is_empty());
}

#[test]
fn a_basket_of_many_counters_is_judged_like_a_small_one() {
    let mut view = MapView::default();
    let mut fill = change("fill");
    let mut take = change("take");
    for index in 0..2_048 {
        let name = alloc::format!("sku-{}", index % 1_500);
        fill = fill.add(add(&name, [2, 0, 0, 0], &stock()));
        take = take.add(add(&name, [0, 1, 0, 0], &stock()));
    }
    fill.check(&crate::Limits::default()).unwrap();
    assert_eq!(commit(&mut view, &fill).unwrap().counters.len(), 1_500);
    commit(&mut view, &take).unwrap();
    assert_eq!(view.counters[&key("sku-0")].lanes, Lanes([4, 2, 0, 0]));
    assert_eq!(view.counters[&key("sku-1499")].lanes, Lanes([2, 1, 0, 0]));
}

/// A change with the tokens 5 and 3 of one lock was accepted and left 3 as the highest seen, so that 4 passed after 5.
#[test]
fn two_tokens_of_one_lock_in_a_change_are_refused_in_either_order() {
    let name = FenceName::new("lock").unwrap();
    for tokens in [[5, 3], [3, 5]] {
        let mut two = change("two");
        two.fence.extend(tokens.map(|token| Fence { name: name.clone(), token }));
        let refusal = evaluate(&MapView::default(), &two, Timestamp::EPOCH).unwrap_err();
        assert_eq!(refusal, Refusal::FenceStale { fence: name.clone(), token: 3, highest: 5 });
    }
}
