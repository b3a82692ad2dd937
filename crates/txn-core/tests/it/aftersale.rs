//! Goods that come back: never more than arrived, and money for them at most once.

use txn_core::{
    Versioned,
    aftersale::{self, Receipt, ReceivedLine, Rejection, Return, ReturnState, return_key},
    id::ReturnId,
    inventory::Disposition,
    order::{self, AfterSaleAxis, Axes, PaymentAxis},
    payment::{self, PostingRules},
};

use crate::{
    invariants::Ends,
    shop::{order_id, order_of, pieces, refund_id, units, usd},
    world::{No, World},
};

fn back(line: usize, n: u64, disposition: Disposition) -> ReceivedLine {
    ReceivedLine { line, quantity: pieces(n), disposition }
}

fn restocked(line: usize, n: u64) -> ReceivedLine {
    back(line, n, Disposition::Restock)
}

fn return_id(id: &str) -> ReturnId {
    ReturnId::new(id).unwrap()
}

fn exceeds(line: usize, left: u64, asked: u64) -> Result<(), No> {
    Err(No::Return(Rejection::ExceedsDelivered { line, left, asked }))
}

/// Lines of 3 at 1.00, 2 at 0.70 and 1 at 0.90, of which 2, 0 and 1 were delivered.
fn world() -> World {
    let mut world = World::shop();
    world.receive("m", &[("a", 10), ("b", 10)]).unwrap();
    world.place(&order_of("o", &[("a", 3, 100), ("b", 2, 70), ("a", 1, 90)])).unwrap();
    world.pay("o").unwrap();
    world.ship("o", &[units(0, 2), units(1, 1), units(2, 1)]).unwrap();
    world.deliver("o", &[units(0, 2), units(2, 1)]).unwrap();
    world
}

impl World {
    fn returned(&self, id: &str) -> Versioned<Return> {
        self.read(&return_key(&return_id(id)))
    }
}

/// Cases O46, O44.
#[test]
fn what_comes_back_was_delivered_and_comes_back_once() {
    let mut world = world();
    assert_eq!(world.request_return("r", "o", &[units(0, 3)]), exceeds(0, 2, 3));
    assert_eq!(world.request_return("r", "o", &[units(0, 1), units(0, 2)]), exceeds(0, 1, 2), "twice the same line");
    assert_eq!(world.request_return("r", "o", &[units(1, 1)]), exceeds(1, 0, 1), "shipped is not delivered");
    let unknown = order::Rejection::UnknownLine { order: order_id("o"), line: 9, lines: 3 };
    assert_eq!(world.request_return("r", "o", &[units(9, 1)]), Err(No::Return(Rejection::Order(unknown))));
    assert_eq!(world.request_return("r", "o", &[]), Err(No::Return(Rejection::Empty)));
    world.request_return("r", "o", &[units(0, 2)]).unwrap();
    let exists = Rejection::ReturnExists { id: return_id("r") };
    assert_eq!(world.request_return("r", "o", &[units(0, 1)]), Err(No::Return(exists)));
    assert_eq!((world.payment("o").value.refunded, world.stock("a").on_hand), (usd(0), 7), "nothing has moved yet");

    // Received is not what was asked for: one of two, damaged, and one of another line.
    assert_eq!(world.receive_return("r", "o", &[]), Err(No::Return(Rejection::Empty)));
    world.receive_return("r", "o", &[back(0, 1, Disposition::Damaged), restocked(2, 1)]).unwrap();
    let stock = world.stock("a");
    assert_eq!((stock.on_hand, stock.unavailable, stock.available()), (9, 1, 7), "the damaged one is not for sale");
    let record = world.returned("r").value;
    assert_eq!((record.state, record.refund), (ReturnState::Received, usd(190)), "at the price of each line");
    assert_eq!((record.requested, record.received.len()), (vec![units(0, 2)], 2));
    assert_eq!(world.payment("o").value.refunded, usd(190));

    let again = Rejection::AlreadyReceived { id: return_id("r") };
    assert_eq!(world.receive_return("r", "o", &[restocked(0, 1)]), Err(No::Return(again)));
    assert_eq!(world.receive_return("s", "o", &[restocked(2, 1)]), exceeds(2, 0, 1), "a returned line");
    assert_eq!(world.receive_return("s", "o", &[restocked(0, 1), restocked(0, 1)]), exceeds(0, 0, 1));
    world.receive_return("s", "o", &[restocked(0, 1)]).expect("a return that was not asked for");
    assert_eq!(world.payment("o").value.refunded, usd(290));
    let axes = Axes::of(&world.order("o").value, Some(&world.payment("o").value));
    assert_eq!((axes.after_sale, axes.payment), (AfterSaleAxis::Returned, PaymentAxis::PartlyRefunded));
    world.verify(&mut Ends::default());
}

/// Case O44.
#[test]
fn refunds_are_capped_by_amount_as_well_as_by_quantity() {
    let mut world = world();
    world.request_refund("goodwill", "o", usd(500)).unwrap();
    let capped = payment::Rejection::RefundExceedsCaptured { refundable: usd(30), asked: usd(100) };
    let seen = world.view.clone();
    let answer = world.receive_return("r", "o", &[restocked(0, 1)]);
    assert_eq!(answer, Err(No::Return(Rejection::Payment(capped))), "a refund under way holds its amount");
    assert_eq!(world.view, seen);
    world.settle_refund("goodwill", payment::RefundResult::Failed).unwrap();
    world.receive_return("r", "o", &[restocked(0, 1)]).unwrap();
    assert_eq!(world.receive_return("s", "o", &[restocked(0, 2)]), exceeds(0, 1, 2), "money is left, goods are not");
    world.verify(&mut Ends::default());
}

/// Case O44.
#[test]
fn two_returns_at_once_are_one() {
    let mut world = world();
    let (order, payment, rules) = (world.order("o"), world.payment("o"), PostingRules::default());
    let [first, second] = ["r", "s"].map(|id| {
        let context = world.context();
        let command = Receipt { id: return_id(id), refund: refund_id(id), lines: vec![restocked(0, 2)] };
        aftersale::receive_return(&context, &order, Some(&payment), None, None, &rules, &command).unwrap()
    });
    world.commit(first).unwrap();
    assert!(world.commit(second).unwrap_err().is_conflict());
    assert_eq!(world.receive_return("s", "o", &[restocked(0, 2)]), exceeds(0, 0, 2), "decided again, it is refused");
    world.verify(&mut Ends::default());
}

/// Case O47.
#[test]
fn goods_put_back_are_not_put_back_again_by_a_cancellation() {
    let mut world = world();
    world.receive_return("r", "o", &[restocked(0, 2), restocked(2, 1)]).unwrap();
    let refused = order::Rejection::IllegalTransition { order: order_id("o"), from: "shipped", event: "cancel" };
    assert_eq!(world.cancel("o"), Err(No::Order(refused)));
    // What remains of the order is one of each, and the hold gives back no more than that.
    world.on_hold("o", |context, hold| Ok(txn_core::inventory::cancel(context, hold))).unwrap();
    let (a, b) = (world.stock("a"), world.stock("b"));
    assert_eq!((a.on_hand, a.available(), b.on_hand, b.available()), (10, 10, 9, 9), "not above the start");
    world.verify(&mut Ends::default());

    let mut unshipped = World::shop();
    unshipped.receive("m", &[("a", 10)]).unwrap();
    unshipped.place(&order_of("o", &[("a", 3, 100)])).unwrap();
    unshipped.pay("o").unwrap();
    unshipped.record_refund("r", "o", usd(300)).unwrap();
    unshipped.cancel("o").unwrap();
    assert!(unshipped.cancel("o").is_err());
    assert_eq!((unshipped.stock("a").on_hand, unshipped.stock("a").available()), (10, 10));
    unshipped.verify(&mut Ends::default());
}

/// The rest of an order used to be stuck once some of it had come back.
#[test]
fn an_order_goes_on_after_a_return() {
    let mut world = world();
    world.receive_return("r", "o", &[restocked(0, 2), restocked(2, 1)]).unwrap();
    world.ship("o", &[units(0, 1), units(1, 1)]).unwrap();
    world.deliver("o", &[units(0, 1), units(1, 2)]).unwrap();
    assert_eq!(world.order("o").value.lifecycle, order::Lifecycle::Completed);
    world.receive_return("s", "o", &[restocked(0, 1), restocked(1, 2)]).unwrap();
    assert_eq!(world.payment("o").value.refunded, world.payment("o").value.captured);
    world.verify(&mut Ends::default());
}

/// A return, or a payment, of another order used to be taken for this one's.
#[test]
fn a_return_stays_with_its_order_and_its_orders_payment() {
    let mut world = world();
    world.place(&order_of("p", &[("b", 1, 500)])).unwrap();
    world.pay("p").unwrap();
    world.request_return("r", "o", &[units(0, 1)]).unwrap();
    world.ship("p", &[units(0, 1)]).unwrap();
    world.deliver("p", &[units(0, 1)]).unwrap();
    let unknown = Rejection::UnknownReturn { id: return_id("r") };
    assert_eq!(world.receive_return("r", "p", &[restocked(0, 1)]), Err(No::Return(unknown)));
    let (context, order, rules) = (world.context(), world.order("o"), PostingRules::default());
    let command = Receipt { id: return_id("s"), refund: refund_id("s"), lines: vec![restocked(0, 1)] };
    for payment in [None, Some(world.payment("p"))] {
        let decided = aftersale::receive_return(&context, &order, payment.as_ref(), None, None, &rules, &command);
        assert_eq!(decided, Err(Rejection::PaymentMissing { order: order_id("o") }));
    }
    let used = payment::Rejection::RefundExists { refund: refund_id("t") };
    world.request_refund("t", "p", usd(1)).unwrap();
    assert_eq!(world.receive_return("t", "o", &[restocked(0, 1)]), Err(No::Return(Rejection::Payment(used))));
}
