//! Orders: what may be placed, and every command in every state of one.

use txn_change::{Change, Fingerprint, Refusal};
use txn_core::{
    id::CustomerId,
    inventory,
    machine::Variants,
    money::{Currency, Money},
    order::{self, LIFECYCLE, Lifecycle, LifecycleEvent, Order, PlaceOrder, ProgressKind, Progressed, Rejection},
    payment::{self, Operation, OperationResult, Payment, PaymentState},
    quantity::Quantity,
};

use crate::{
    invariants::Ends,
    shop::{hold_id, order_id, order_of, payment_id, refund_id, units, usd},
    world::{No, Outcome, World, seconds},
};

/// Two lines of one sku and one of another, in each state.
fn in_state(state: &str) -> World {
    let mut world = World::shop();
    world.receive("m", &[("a", 5), ("b", 5)]).unwrap();
    let order = order_of("o", &[("a", 2, 300), ("b", 1, 400), ("a", 1, 250)]);
    world.place(&PlaceOrder { expires_at: Some(seconds(1_100)), ..order }).unwrap();
    let all = [units(0, 2), units(1, 1), units(2, 1)];
    let paid = |world: &mut World| world.pay("o").unwrap();
    match state {
        "placed" => {}
        "due" => world.now = seconds(1_100),
        "paying" => world.claim("o", Operation::Authorise).unwrap(),
        "authorised" => world.done("o", Operation::Authorise).unwrap(),
        "paid" => paid(&mut world),
        "partly shipped" => {
            paid(&mut world);
            world.ship("o", &all[..1]).unwrap();
        }
        "shipped" => {
            paid(&mut world);
            world.ship("o", &all).unwrap();
        }
        "completed" => {
            paid(&mut world);
            world.ship("o", &all).unwrap();
            world.deliver("o", &all).unwrap();
        }
        "cancelled" => world.cancel("o").unwrap(),
        "expired" => {
            world.now = seconds(1_100);
            world.expire("o").unwrap();
        }
        _ => panic!("{state}"),
    }
    world
}

/// Cases L34, B24.
#[test]
fn every_command_in_every_state_of_an_order() {
    type Command = fn(&mut World) -> Outcome;
    let commands: [(&str, Command); 4] = [
        ("ship", |world| world.ship("o", &order::everything_open(&world.order("o").value))),
        ("deliver", |world| world.deliver("o", &order::everything_shipped(&world.order("o").value))),
        ("cancel", |world| world.cancel("o")),
        ("expire", |world| world.expire("o")),
    ];
    let illegal = |from| Err(Rejection::IllegalTransition { order: order_id("o"), from, event: "" });
    let nothing = || Err(Rejection::NothingTo { order: order_id("o"), event: "" });
    let not_due = || Err(Rejection::NotDue { order: order_id("o") });
    let now = Ok;
    use Lifecycle::{Cancelled, Completed, Expired, Placed};
    let ended = |from| [illegal(from), illegal(from), illegal(from), not_due()];
    let table = [
        // ship, deliver, cancel, expire
        ("placed", [illegal("unpaid"), nothing(), now(Cancelled), not_due()]),
        ("due", [illegal("unpaid"), nothing(), now(Cancelled), now(Expired)]),
        ("paying", [illegal("unpaid"), nothing(), now(Cancelled), not_due()]),
        ("authorised", [illegal("unpaid"), nothing(), now(Cancelled), not_due()]),
        ("paid", [now(Placed), nothing(), now(Cancelled), not_due()]),
        ("partly shipped", [now(Placed), now(Placed), illegal("shipped"), not_due()]),
        ("shipped", [nothing(), now(Completed), illegal("shipped"), not_due()]),
        ("completed", ended(Completed.name())),
        ("cancelled", ended(Cancelled.name())),
        (
            "expired",
            [illegal(Expired.name()), illegal(Expired.name()), illegal(Expired.name()), illegal(Expired.name())],
        ),
    ];
    for (state, expected) in table {
        for ((name, command), then) in commands.into_iter().zip(expected) {
            let mut world = in_state(state);
            let (before, seen) = (world.order("o"), world.view.clone());
            let found = match command(&mut world) {
                Ok(()) => Ok(world.order("o").value.lifecycle),
                Err(No::Order(Rejection::IllegalTransition { order, from, event })) => {
                    assert_eq!(event, name);
                    Err(Rejection::IllegalTransition { order, from, event: "" })
                }
                Err(No::Order(Rejection::NothingTo { order, event })) => {
                    assert_eq!(event, name);
                    Err(Rejection::NothingTo { order, event: "" })
                }
                Err(No::Order(rejection)) => Err(rejection),
                Err(other) => panic!("{name} in {state}: {other:?}"),
            };
            assert_eq!(found, then, "{name} in {state}");
            match found {
                Ok(_) => assert_eq!(world.order("o").version, before.version + 1),
                Err(_) => assert_eq!(world.view, seen, "{name} in {state} has changed nothing, not even a version"),
            }
            world.verify(&mut Ends::default());
        }
    }
    for (state, event) in Lifecycle::ALL.iter().flat_map(|state| LifecycleEvent::ALL.iter().map(|e| (*state, *e))) {
        assert_eq!(LIFECYCLE.next(state, event).is_ok(), state == Placed, "{event:?} in {state:?}");
    }
}

/// An order whose time ran out is not expired under a payment that is held, or that may be.
#[test]
fn a_payment_that_is_begun_keeps_an_order_from_expiring() {
    use Operation::{Authorise, Capture, Void};
    for (expires, steps) in [
        (true, &[][..]),
        (false, &[(Authorise, None)][..]),
        (false, &[(Authorise, None), (Authorise, Some(OperationResult::Unknown))]),
        (true, &[(Authorise, None), (Authorise, Some(OperationResult::Declined))]),
        (false, &[(Authorise, Some(OperationResult::Done(usd(1_250))))]),
        (false, &[(Authorise, Some(OperationResult::Done(usd(1_250)))), (Void, None)]),
        (
            true,
            &[(Authorise, Some(OperationResult::Done(usd(1_250)))), (Void, Some(OperationResult::Done(usd(1_250))))],
        ),
        (false, &[(Authorise, Some(OperationResult::Done(usd(1_250)))), (Capture, None)]),
    ] {
        let mut world = in_state("placed");
        for (operation, result) in steps {
            match result {
                None => world.claim("o", *operation).unwrap(),
                Some(result) => world.record("o", *operation, *result).unwrap(),
            }
        }
        world.now = seconds(1_100);
        assert_eq!(world.expire("o").is_ok(), expires, "{steps:?}");
        world.verify(&mut Ends::default());
    }
}

/// Case O5.
///
/// The payment succeeds in the instant in which the hold runs out: the commit that would keep the stock is refused whole, whether the sweep came first
/// or not, and the money is given back.
#[test]
fn a_payment_in_the_instant_of_expiry_gets_no_stock_and_keeps_no_money() {
    for swept in [false, true] {
        let mut world = in_state("paying");
        world.now = seconds(1_100);
        if swept {
            world.on_hold("o", inventory::expire).unwrap();
        }
        let kept = world.on_hold("o", inventory::commit);
        let gone = inventory::Rejection::HoldExpired { hold: hold_id("o"), at: seconds(1_100) };
        assert_eq!(kept, Err(No::Stock(gone)));
        world.done("o", Operation::Authorise).unwrap();
        world.done("o", Operation::Void).unwrap();
        world.expire("o").unwrap();
        assert_eq!(world.payment("o").value.state, PaymentState::Voided);
        assert_eq!((world.stock("a").available(), world.stock("b").available()), (5, 5));
        world.verify(&mut Ends::default());
    }
}

/// Cases B18, B1, B2.
#[test]
fn each_line_is_checked_by_itself() {
    let mut world = World::shop();
    world.receive("m", &[("a", 5)]).unwrap();
    for price in [-1, i128::MIN] {
        let refused = Rejection::InvalidPrice { line: 1, price: usd(price) };
        let order = order_of("o", &[("a", 1, 1_000), ("a", 1, price)]);
        assert_eq!(world.place(&order), Err(No::Order(refused)), "a negative line offsets nothing");
    }
    for (prices, quantity) in [([i128::MAX, 1], 1), ([i128::MAX / 2 + 1, 0], 2)] {
        let order = order_of("o", &[("a", quantity, prices[0]), ("a", 1, prices[1])]);
        assert_eq!(world.place(&order), Err(No::Order(Rejection::Overflow)));
    }
    let mut order = order_of("o", &[("a", 1, 1), ("a", 1, 1)]);
    let yen = Currency::from_code("JPY").unwrap();
    order.lines[1].price = Money::from_minor(1, yen);
    let refused = Rejection::CurrencyMismatch { line: 1, expected: Currency::USD, found: yen };
    assert_eq!(world.place(&order), Err(No::Order(refused)));
    for at in [999, 1_000] {
        let order = PlaceOrder { expires_at: Some(seconds(at)), ..order_of("o", &[("a", 1, 1)]) };
        assert_eq!(world.place(&order), Err(No::Order(Rejection::ExpiresInThePast { at: seconds(at) })));
    }
    world.place(&order_of("free", &[("a", 1, 0)])).expect("a price of zero is declared: a gift");
    world.place(&order_of("o", &[("a", 1, 1)])).unwrap();
    let exists = Rejection::OrderExists { order: order_id("o") };
    assert_eq!(world.place(&order_of("o", &[("a", 1, 1)])), Err(No::Order(exists)));
}

#[test]
fn an_order_of_the_most_lines_fits_into_one_change_and_one_more_does_not() {
    let mut world = World::shop();
    let (sku, long) = ("s".repeat(96), "l".repeat(100));
    let skus: Vec<String> = (0..order::LINES_MAX).map(|line| format!("{sku}{line:04}")).collect();
    let lines: Vec<_> = skus.iter().map(|sku| (sku.as_str(), Quantity::MAX.get(), 1_000_000_000)).collect();
    let mut order = order_of("o", &lines);
    order.customer = Some(CustomerId::new(&long).unwrap());
    world.receive("m", &lines.iter().map(|(sku, n, _)| (*sku, *n)).collect::<Vec<_>>()).unwrap();
    world.place(&order).unwrap();
    world.pay("o").unwrap();
    world.ship("o", &order::everything_open(&world.order("o").value)).unwrap();
    world.deliver("o", &order::everything_shipped(&world.order("o").value)).unwrap();
    for found in [0, order::LINES_MAX + 1] {
        let mut order = order_of("p", &[]);
        order.lines = vec![order_of("p", &[("a", 1, 1)]).lines.remove(0); found];
        let refused = Rejection::LineCount { found, max: order::LINES_MAX };
        assert_eq!(world.place(&order), Err(No::Order(refused)));
    }
}

/// Case O20.
#[test]
fn another_order_under_the_same_key_is_a_conflict_and_the_same_one_is_answered() {
    let mut world = World::shop();
    let mut place = |n| -> Result<(), Refusal> {
        let command = order_of("o", &[("a", n, 100)]);
        let mut context = world.context_under("place/key");
        context.fingerprint = Fingerprint::of("order.place", &command);
        let change: Change = order::place(&context, None, &command).unwrap();
        world.commit(change)
    };
    place(1).unwrap();
    place(1).expect("the first answer");
    assert!(matches!(place(2), Err(Refusal::KeyReused { .. })));
    assert_eq!(world.order("o").value.total, usd(100));
}

/// Case O27.
#[test]
fn an_order_that_costs_nothing_ships_without_a_payment() {
    let mut world = World::shop();
    world.receive("m", &[("a", 5)]).unwrap();
    let free = order_of("o", &[("a", 2, 0), ("a", 1, 0)]);
    world.place(&PlaceOrder { expires_at: Some(seconds(1_100)), ..free }).unwrap();
    assert_eq!(world.order("o").value.payment, None);
    assert_eq!(world.all::<Payment>(), []);
    world.on_hold("o", inventory::commit).unwrap();
    world.now = seconds(1_100);
    assert!(matches!(world.expire("o"), Err(No::Order(Rejection::IllegalTransition { from: "paid", .. }))));
    world.ship("o", &[units(0, 2), units(1, 1)]).unwrap();
    world.deliver("o", &[units(0, 2), units(1, 1)]).unwrap();
    assert_eq!(world.order("o").value.lifecycle, Lifecycle::Completed);
    assert_eq!(world.stock("a").on_hand, 2);
    world.verify(&mut Ends::default());
}

#[test]
fn units_move_line_by_line_and_no_line_gives_more_than_it_has() {
    let mut world = in_state("paid");
    let exceeds = |line, event, left, asked| Err(No::Order(Rejection::ExceedsLine { line, event, left, asked }));
    assert_eq!(world.ship("o", &[units(2, 2)]), exceeds(2, "ship", 1, 2), "the other line of the sku has it");
    assert_eq!(world.ship("o", &[units(0, 1), units(0, 2)]), exceeds(0, "ship", 1, 2), "twice the same line");
    let unknown = Rejection::UnknownLine { order: order_id("o"), line: 3, lines: 3 };
    assert_eq!(world.ship("o", &[units(3, 1)]), Err(No::Order(unknown)));
    let nothing = |event| Err(No::Order(Rejection::NothingTo { order: order_id("o"), event }));
    assert_eq!((world.ship("o", &[]), world.deliver("o", &[])), (nothing("ship"), nothing("deliver")));
    world.ship("o", &[units(0, 1), units(2, 1)]).unwrap();
    assert_eq!((world.stock("a").on_hand, world.stock("a").reserved), (3, 1));
    assert_eq!(world.deliver("o", &[units(0, 2)]), exceeds(0, "deliver", 1, 2));
    assert_eq!(world.deliver("o", &[units(1, 1)]), exceeds(1, "deliver", 0, 1));
    world.deliver("o", &[units(0, 1), units(2, 1)]).unwrap();
    world.ship("o", &[units(1, 1), units(0, 1)]).unwrap();
    assert_eq!(world.order("o").value.lifecycle, Lifecycle::Placed);
    world.deliver("o", &[units(0, 1), units(1, 1)]).unwrap();
    assert_eq!(world.order("o").value.lifecycle, Lifecycle::Completed);
    let last = world.told::<Progressed>().pop().unwrap();
    assert_eq!((last.kind, last.lifecycle), (ProgressKind::Delivered, Lifecycle::Completed));
    world.verify(&mut Ends::default());
}

/// Goods used to leave against any captured payment: another order's, or one of a cent.
#[test]
fn goods_leave_against_the_orders_own_payment_of_its_whole_total() {
    let mut world = in_state("paid");
    let (context, order, paid) = (world.context(), world.order("o"), world.payment("o").value);
    let ship = |payment: &Payment| order::ship(&context, &order, Some(payment), &[units(1, 1)]);
    assert!(ship(&paid).is_ok());
    let foreign = Payment { order: order_id("p"), id: payment_id("p"), ..paid.clone() };
    let refused = Rejection::ForeignPayment { order: order_id("o"), payment: payment_id("p") };
    assert_eq!(ship(&foreign), Err(refused.clone()));
    let other_state = Payment { state: PaymentState::Created, ..foreign };
    assert_eq!(
        order::expire(&txn_core::Context { now: seconds(9_000), ..context.clone() }, &order, Some(&other_state)),
        Err(refused)
    );
    for found in [usd(1), usd(1_249), usd(1_251), Money::from_minor(1_250, Currency::from_code("JPY").unwrap())] {
        let payment = Payment { amount: found, captured: found, ..paid.clone() };
        let refused = Rejection::AmountMismatch { order: order_id("o"), expected: usd(1_250), found };
        assert_eq!(ship(&payment), Err(refused));
    }
}

/// Money that went back used to stop every later shipment, and money on its way back stopped none.
#[test]
fn what_is_kept_of_the_payment_covers_what_is_out() {
    let mut world = in_state("paid");
    world.request_refund("r", "o", usd(1_250)).unwrap();
    let not_covered = |goods, kept| {
        Err(No::Order(Rejection::NotCovered { order: order_id("o"), goods: usd(goods), kept: usd(kept) }))
    };
    assert_eq!(world.ship("o", &[units(1, 1)]), not_covered(400, 0));
    world.settle_refund("r", payment::RefundResult::Failed).unwrap();
    assert_eq!(world.all::<payment::Refund>()[0].id, refund_id("r"));
    world.record_refund("s", "o", usd(850)).unwrap();
    assert_eq!(world.ship("o", &[units(1, 1), units(2, 1)]), not_covered(650, 400));
    world.ship("o", &[units(1, 1)]).unwrap();
    assert_eq!(world.ship("o", &[units(2, 1)]), not_covered(650, 400));
}

#[test]
fn an_orders_record_says_what_was_asked() {
    let order: Order = in_state("placed").order("o").value;
    assert_eq!((order.total, order.payment, order.hold), (usd(1_250), Some(payment_id("o")), hold_id("o")));
}
