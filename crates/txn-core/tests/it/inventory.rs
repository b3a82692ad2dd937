//! Holds in every state under every command, and stock that is never promised twice.

use txn_change::Change;
use txn_core::{
    Context, Versioned,
    inventory::{
        self, Extend, Hold, HoldState, Rejection, cancel, commit, expire, extend, hold_key, item_key, release, ship,
    },
};

use crate::{
    invariants::Ends,
    shop::{hold_id, item, pieces},
    world::{No, World, seconds},
};

type Decide = fn(&Context, &Versioned<Hold>) -> Result<Change, Rejection>;

fn to(at: i64) -> Extend {
    Extend { hold: hold_id("h"), expires_at: seconds(at) }
}

const COMMANDS: [(&str, Decide); 7] = [
    ("commit", commit),
    ("extend", |context, hold| extend(context, hold, &to(2_000))),
    ("expire", expire),
    ("release", |context, hold| Ok(release(context, hold))),
    ("cancel", |context, hold| Ok(cancel(context, hold))),
    ("ship some", |context, hold| ship(context, hold, &[(item("a"), pieces(1))])),
    ("ship all", |context, hold| ship(context, hold, &[(item("a"), pieces(2)), (item("a"), pieces(1))])),
];

/// What a command on a hold of 3 is expected to do.
#[derive(Debug, PartialEq)]
enum Then {
    /// The hold is in this state, and so much is reserved and on hand.
    Now(HoldState, i128, i128),
    /// Nothing is written.
    Nothing,
    Expired,
    NotDue,
    Illegal,
}

/// A hold of 3 of 5, until 1,100, in each state.
fn in_state(state: &str) -> World {
    let mut world = World::shop();
    world.receive("m", &[("a", 5)]).unwrap();
    let forever = (state == "held for good").then_some(());
    world.reserve("h", &[("a", 2), ("a", 1)], forever.map_or(Some(1_100), |()| None)).unwrap();
    match state {
        "held" | "held for good" => {}
        "due" => world.now = seconds(1_100),
        "committed" => world.on_hold("h", commit).unwrap(),
        "shipped" => world.on_hold("h", COMMANDS[6].1).unwrap(),
        "released" => world.on_hold("h", COMMANDS[3].1).unwrap(),
        "expired" => {
            world.now = seconds(1_100);
            world.on_hold("h", expire).unwrap();
        }
        _ => panic!("{state}"),
    }
    world
}

/// Cases L34, B24, O16.
#[test]
fn every_command_in_every_state_of_a_hold() {
    use HoldState::{Committed, Expired, Held, Released, Shipped};
    use Then::{Illegal, NotDue, Nothing, Now};
    let gone = || Then::Expired;
    let table = [
        // commit, extend, expire, release, cancel, ship some, ship all
        (
            "held",
            [
                Now(Committed, 3, 5),
                Now(Held, 3, 5),
                NotDue,
                Now(Released, 0, 5),
                Now(Released, 0, 5),
                Now(Held, 2, 4),
                Now(Shipped, 0, 2),
            ],
        ),
        (
            "held for good",
            [
                Now(Committed, 3, 5),
                Illegal,
                NotDue,
                Now(Released, 0, 5),
                Now(Released, 0, 5),
                Now(Held, 2, 4),
                Now(Shipped, 0, 2),
            ],
        ),
        ("due", [gone(), gone(), Now(Expired, 0, 5), Now(Expired, 0, 5), Now(Expired, 0, 5), gone(), gone()]),
        (
            "committed",
            [Nothing, Illegal, Nothing, Nothing, Now(Released, 0, 5), Now(Committed, 2, 4), Now(Shipped, 0, 2)],
        ),
        ("shipped", [Illegal, Illegal, Nothing, Nothing, Nothing, Illegal, Illegal]),
        ("released", [Illegal, Illegal, Nothing, Nothing, Nothing, Illegal, Illegal]),
        ("expired", [gone(), gone(), Nothing, Nothing, Nothing, gone(), gone()]),
    ];
    for (state, expected) in table {
        for ((name, command), then) in COMMANDS.into_iter().zip(expected) {
            let mut world = in_state(state);
            let (before, seen) = (world.hold("h"), world.view.clone());
            let answer = world.on_hold("h", command);
            let after = world.hold("h");
            let found = match answer {
                Ok(()) if after == before => Nothing,
                Ok(()) => {
                    assert_eq!(after.version, before.version + 1);
                    let stock = world.stock("a");
                    Now(after.value.state, stock.reserved, stock.on_hand)
                }
                Err(No::Stock(Rejection::HoldExpired { hold, at })) => {
                    assert_eq!((hold, at), (hold_id("h"), seconds(1_100)));
                    gone()
                }
                Err(No::Stock(Rejection::NotDue { .. })) => NotDue,
                Err(No::Stock(Rejection::IllegalTransition { state, .. })) => {
                    assert_eq!(state, before.value.state);
                    Illegal
                }
                Err(other) => panic!("{name} in {state}: {other:?}"),
            };
            assert_eq!(found, then, "{name} in {state}");
            if !matches!(then, Now(..)) {
                assert_eq!((&world.view.records, &world.view.counters), (&seen.records, &seen.counters));
            }
            assert!(after.value.state != Committed || after.value.expires_at.is_none(), "{name} in {state}");
            let due = world.view.records[&hold_key(&hold_id("h"))].terms.len();
            assert_eq!(due, usize::from(after.value.state == Held && after.value.expires_at.is_some()));
        }
    }
}

/// Case O5.
#[test]
fn a_hold_lasts_until_just_before_its_expiry_and_a_commit_then_keeps_it() {
    let expiry = seconds(1_100);
    for (nanos, swept, kept) in [(-1, false, true), (0, false, false), (1, false, false), (0, true, false)] {
        let mut world = in_state("held");
        world.now = txn_change::Timestamp::from_nanos(expiry.as_nanos() + nanos);
        if swept {
            world.on_hold("h", expire).unwrap();
        }
        let committed = world.on_hold("h", commit);
        let gone = No::Stock(Rejection::HoldExpired { hold: hold_id("h"), at: expiry });
        assert_eq!(committed, if kept { Ok(()) } else { Err(gone) }, "{nanos} ns from expiry, swept: {swept}");
        world.now = seconds(5_000);
        world.on_hold("h", expire).unwrap();
        assert_eq!(world.stock("a").reserved, if kept { 3 } else { 0 }, "exactly one of them had it");
        world.verify(&mut Ends::default());
    }
}

/// Cases O6, O16.
#[test]
fn sweeping_or_releasing_again_gives_nothing_back_twice() {
    for (first, second) in [(2, 2), (3, 3), (2, 3), (3, 2), (4, 4), (2, 4), (4, 3)] {
        let mut world = in_state("due");
        world.reserve("other", &[("a", 2)], None).unwrap();
        world.on_hold("h", COMMANDS[first].1).unwrap();
        let (state, reserved) = (world.hold("h"), world.stock("a").reserved);
        world.on_hold("h", COMMANDS[second].1).unwrap();
        assert_eq!((world.hold("h"), world.stock("a").reserved, reserved), (state, 2, 2));
        world.verify(&mut Ends::default());
    }
    let mut world = in_state("committed");
    world.on_hold("h", COMMANDS[3].1).unwrap();
    assert_eq!(world.stock("a").reserved, 3, "a release after the commit is no release");
}

/// Case O7.
#[test]
fn an_expired_hold_cannot_be_extended_and_no_hold_is_shortened() {
    for state in ["due", "expired"] {
        let mut world = in_state(state);
        let at = seconds(1_100);
        assert_eq!(world.extend("h", 9_000), Err(No::Stock(Rejection::HoldExpired { hold: hold_id("h"), at })));
    }
    let mut world = in_state("held");
    for to in [1_001, 1_100] {
        let refused = Rejection::NotAnExtension { hold: hold_id("h"), to: seconds(to) };
        assert_eq!(world.extend("h", to), Err(No::Stock(refused)));
    }
    world.extend("h", 1_101).unwrap();
    let another = Extend { hold: hold_id("other"), expires_at: seconds(9_000) };
    let refused = world.on_hold("h", |context, hold| extend(context, hold, &another));
    assert_eq!(refused, Err(No::Stock(Rejection::UnknownHold { hold: hold_id("other") })));
    assert_eq!(world.hold("h").value.expires_at, Some(seconds(1_101)));
}

/// Case O2.
#[test]
fn two_lines_of_one_item_are_held_by_their_sum_and_the_first_line_is_named() {
    let mut world = World::shop();
    world.receive("m", &[("a", 10), ("b", 10)]).unwrap();
    let sku = item("a").sku;
    let short = |missing| Err(No::Stock(Rejection::StockInsufficient { line: 1, sku: sku.clone(), missing }));
    assert_eq!(world.reserve("h", &[("b", 1), ("a", 6), ("a", 6)], None), short(2));
    assert_eq!(world.stock("b").reserved, 0, "held whole or not at all");
    world.reserve("h", &[("b", 1), ("a", 6), ("a", 4)], None).unwrap();
    assert_eq!((world.stock("a").available(), world.stock("b").available()), (0, 9));
    assert_eq!(world.reserve("i", &[("b", 1), ("a", 1)], None), short(1));
    world.verify(&mut Ends::default());
}

#[test]
fn what_cannot_be_held_is_named() {
    let mut world = World::shop();
    world.receive("m", &[("a", 1)]).unwrap();
    let mut refused = |lines: &[(&str, u64)], until| match world.reserve("h", lines, until) {
        Err(No::Stock(rejection)) => rejection,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&[], None), Rejection::EmptyBasket);
    assert_eq!(refused(&[("a", 1), ("z", 1)], None), Rejection::UnknownItem { line: 1, item: item("z") });
    for until in [999, 1_000] {
        let rejection = Rejection::NotAnExtension { hold: hold_id("h"), to: seconds(until) };
        assert_eq!(refused(&[("a", 1)], Some(until)), rejection);
    }
    world.reserve("h", &[("a", 1)], None).unwrap();
    assert_eq!(
        world.reserve("h", &[("a", 1)], None),
        Err(No::Stock(Rejection::HoldExists { hold: hold_id("h") })),
        "before stock is looked at"
    );
}

/// A refused basket in a change that was joined of two: the label's line is of the part that was short.
#[test]
fn a_line_is_found_by_its_item_when_the_label_is_of_another_basket() {
    let refusal = txn_change::Refusal::GuardBroken {
        counter: item_key(&item("b")),
        label: txn_change::Label::indexed("line", 0),
        guard: 0,
        value: -4,
        min: 0,
    };
    let rejection = inventory::explain(&refusal, &[item("a"), item("b")]);
    assert_eq!(rejection, Some(Rejection::StockInsufficient { line: 1, sku: item("b").sku, missing: 4 }));
    assert_eq!(inventory::explain(&refusal, &[item("a")]), None);
}

#[test]
fn goods_leave_up_to_what_is_held_of_each_item() {
    let mut world = World::shop();
    world.receive("m", &[("a", 9), ("b", 9)]).unwrap();
    world.reserve("h", &[("a", 2), ("b", 1), ("a", 1)], None).unwrap();
    let ship_of = |goods: &[(&str, u64)]| {
        let goods: Vec<_> = goods.iter().map(|(sku, n)| (item(sku), pieces(*n))).collect();
        move |context: &Context, hold: &Versioned<Hold>| ship(context, hold, &goods)
    };
    let exceeds = |sku: &str, left, asked| {
        Err(No::Stock(Rejection::ExceedsHold { hold: hold_id("h"), item: item(sku), left, asked }))
    };
    assert_eq!(world.on_hold("h", ship_of(&[])), Err(No::Stock(Rejection::EmptyBasket)));
    assert_eq!(world.on_hold("h", ship_of(&[("a", 2), ("a", 2)])), exceeds("a", 1, 2), "two lines of one sku");
    assert_eq!(world.on_hold("h", ship_of(&[("a", 4)])), exceeds("a", 3, 4));
    assert_eq!(world.on_hold("h", ship_of(&[("z", 1)])), exceeds("z", 0, 1));
    world.on_hold("h", ship_of(&[("a", 1), ("a", 1)])).unwrap();
    world.on_hold("h", commit).unwrap();
    world.on_hold("h", ship_of(&[("b", 1)])).unwrap();
    assert_eq!(world.hold("h").value.state, HoldState::Committed);
    world.on_hold("h", COMMANDS[4].1).unwrap();
    assert_eq!((world.stock("a").on_hand, world.stock("a").reserved), (7, 0), "the rest goes back");
    world.verify(&mut Ends::default());
}

/// Case B30.
///
/// The movement's own id blocks the second effect, under whatever change it comes.
#[test]
fn goods_are_received_once_per_movement() {
    let mut world = World::shop();
    world.receive("m", &[("a", 5), ("a", 2)]).unwrap();
    let again = world.receive("m", &[("a", 5)]);
    assert!(matches!(again, Err(No::Stock(Rejection::MovementExists { movement })) if &*movement == "m"));
    assert_eq!(world.receive("n", &[]), Err(No::Stock(Rejection::EmptyBasket)));
    assert_eq!(world.stock("a").on_hand, 7);
}
