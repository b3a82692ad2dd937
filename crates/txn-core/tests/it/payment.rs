//! Every pair of state and event of a payment, and money that goes back at most once.

use txn_core::{
    Versioned,
    id::LedgerHoldId,
    ledger,
    machine::Variants,
    money::{Currency, Money},
    payment::{
        self, OpenPayment, Operation, OperationResult, PAYMENT, Payment, PaymentEvent, PaymentState, PostingRules,
        RefundResult, Rejection,
    },
};

use crate::{
    invariants::Ends,
    shop::{order_id, payment_id, refund_id, usd},
    world::{No, Outcome, World},
};

impl World {
    fn open(&mut self, payment: &str, amount: Money) -> Outcome {
        let command = OpenPayment { payment: payment_id(payment), order: order_id("o"), amount };
        let context = self.context();
        let existing = self.find(&payment::payment_key(&command.payment));
        self.put(payment::open(&context, existing.as_ref(), &command))
    }
}

/// A payment of 100.00 in a state, brought there by its own decisions.
fn in_state(state: PaymentState) -> World {
    use Operation::{Authorise, Capture, Void};
    use PaymentState as S;
    let mut world = World::shop();
    world.open("p", usd(10_000)).unwrap();
    let authorised = |world: &mut World| {
        world.claim("p", Authorise).unwrap();
        world.done("p", Authorise).unwrap();
    };
    let lost = |world: &mut World, operation| {
        world.claim("p", operation).unwrap();
        world.record("p", operation, OperationResult::Unknown).unwrap();
    };
    match state {
        S::Created => {}
        S::Authorising => world.claim("p", Authorise).unwrap(),
        S::AuthoriseUnknown => lost(&mut world, Authorise),
        S::Cancelled => event(&mut world, PaymentEvent::Cancel).unwrap(),
        _ => authorised(&mut world),
    }
    match state {
        S::Capturing => world.claim("p", Capture).unwrap(),
        S::CaptureUnknown => lost(&mut world, Capture),
        S::Captured => world.done("p", Capture).unwrap(),
        S::Voiding => world.claim("p", Void).unwrap(),
        S::VoidUnknown => lost(&mut world, Void),
        S::Voided => world.done("p", Void).unwrap(),
        _ => {}
    }
    assert_eq!(world.payment("p").value.state, state);
    world
}

/// Makes an event happen through its decision.
fn event(world: &mut World, event: PaymentEvent) -> Outcome {
    use Operation::{Authorise, Capture, Void};
    use OperationResult::{Declined, NotExecuted, Unknown};
    use PaymentEvent as E;
    match event {
        E::ClaimAuthorise => world.claim("p", Authorise),
        E::ClaimCapture => world.claim("p", Capture),
        E::ClaimVoid => world.claim("p", Void),
        E::AuthoriseDone => world.done("p", Authorise),
        E::CaptureDone => world.done("p", Capture),
        E::VoidDone => world.done("p", Void),
        E::AuthoriseDeclined => world.record("p", Authorise, Declined),
        E::AuthoriseNotExecuted => world.record("p", Authorise, NotExecuted),
        E::AuthoriseTimedOut => world.record("p", Authorise, Unknown),
        E::CaptureDeclined => world.record("p", Capture, Declined),
        E::CaptureNotExecuted => world.record("p", Capture, NotExecuted),
        E::CaptureTimedOut => world.record("p", Capture, Unknown),
        E::VoidDeclined => world.record("p", Void, Declined),
        E::VoidNotExecuted => world.record("p", Void, NotExecuted),
        E::VoidTimedOut => world.record("p", Void, Unknown),
        E::Cancel => {
            let context = world.context();
            let payment = world.payment("p");
            world.put(payment::cancel(&context, &payment))
        }
        E::Refund => world.record_refund("r", "p", usd(100)),
    }
}

/// The state after an event, as people would write it down; none where it may not happen.
fn legal(state: PaymentState, event: PaymentEvent) -> Option<PaymentState> {
    use PaymentEvent as E;
    use PaymentState as S;
    Some(match (state, event) {
        (S::Created, E::ClaimAuthorise) => S::Authorising,
        (S::Created, E::Cancel) => S::Cancelled,
        (S::Created | S::Authorising | S::AuthoriseUnknown, E::AuthoriseDone) => S::Authorised,
        (S::Authorising | S::AuthoriseUnknown, E::AuthoriseDeclined | E::AuthoriseNotExecuted) => S::Created,
        (S::Authorising, E::AuthoriseTimedOut) => S::AuthoriseUnknown,
        (S::Authorised, E::ClaimCapture) => S::Capturing,
        (S::Authorised, E::ClaimVoid) => S::Voiding,
        (S::Authorised | S::Capturing | S::CaptureUnknown, E::CaptureDone) => S::Captured,
        (S::Capturing | S::CaptureUnknown, E::CaptureDeclined | E::CaptureNotExecuted) => S::Authorised,
        (S::Capturing, E::CaptureTimedOut) => S::CaptureUnknown,
        (S::Authorised | S::Voiding | S::VoidUnknown, E::VoidDone) => S::Voided,
        (S::Voiding | S::VoidUnknown, E::VoidDeclined | E::VoidNotExecuted) => S::Authorised,
        (S::Voiding, E::VoidTimedOut) => S::VoidUnknown,
        (S::Captured, E::Refund) => S::Captured,
        _ => return None,
    })
}

/// Cases L34, B24, L12.
#[test]
fn every_event_in_every_state_is_the_stated_state_or_a_typed_error() {
    for state in PaymentState::ALL.iter().copied() {
        for happened in PaymentEvent::ALL.iter().copied() {
            let mut world = in_state(state);
            let (before, seen) = (world.payment("p"), world.view.clone());
            let answer = event(&mut world, happened);
            let Some(to) = legal(state, happened) else {
                let transition = PAYMENT.next(state, happened).unwrap_err();
                let refused = Rejection::IllegalTransition { payment: payment_id("p"), transition };
                assert_eq!(answer, Err(No::Payment(refused)), "{happened:?} in {state:?}");
                assert_eq!(world.view, seen, "{happened:?} in {state:?} has changed nothing, not even a version");
                continue;
            };
            assert_eq!(answer, Ok(()), "{happened:?} in {state:?}");
            let after = world.payment("p");
            assert_eq!((after.value.state, after.version), (to, before.version + 1));
            if PAYMENT.is_terminal(state) {
                assert_eq!(happened, PaymentEvent::Refund, "nothing but refunds leaves an end");
            }
            world.verify(&mut Ends::default());
        }
    }
}

#[test]
fn a_payment_is_opened_once_over_something() {
    let mut world = World::shop();
    for amount in [0, -1, i128::MIN] {
        let refused = Rejection::InvalidAmount { amount: usd(amount) };
        assert_eq!(world.open("p", usd(amount)), Err(No::Payment(refused)));
    }
    world.open("p", usd(1)).unwrap();
    let exists = Rejection::PaymentExists { payment: payment_id("p") };
    assert_eq!(world.open("p", usd(1)), Err(No::Payment(exists)));
}

/// Cases O25, B13.
#[test]
fn a_gateway_that_speaks_of_other_money_has_paid_nothing() {
    let mut world = in_state(PaymentState::Authorising);
    let yen = Currency::from_code("JPY").unwrap();
    let seen = world.view.clone();
    let other = world.record("p", Operation::Authorise, OperationResult::Done(Money::from_minor(10_000, yen)));
    let refused = Rejection::CurrencyMismatch { expected: Currency::USD, found: yen };
    assert_eq!(other, Err(No::Payment(refused)), "the same integer in another currency");
    for found in [9_999, 10_001, 0, -10_000] {
        let refused = Rejection::AmountMismatch { expected: usd(10_000), found: usd(found) };
        let answer = world.record("p", Operation::Authorise, OperationResult::Done(usd(found)));
        assert_eq!(answer, Err(No::Payment(refused)));
    }
    assert_eq!(world.view, seen);
}

#[test]
fn a_declined_attempt_is_followed_by_another_with_its_own_hold() {
    let mut world = in_state(PaymentState::Authorising);
    world.record("p", Operation::Authorise, OperationResult::Declined).unwrap();
    world.claim("p", Operation::Authorise).unwrap();
    world.done("p", Operation::Authorise).unwrap();
    assert_eq!(payment::ledger_hold_of(&world.payment("p").value).as_str(), "p:2");
    world.done("p", Operation::Capture).unwrap();
    assert_eq!(world.balance(&PostingRules::default().gateway), [0, 10_000, 0, 0], "charged once");
    world.verify(&mut Ends::default());
}

/// A late success of an attempt that was said to be declined is taken as an attempt of its own.
#[test]
fn an_authorisation_that_was_not_claimed_is_an_attempt() {
    let mut world = in_state(PaymentState::Authorising);
    world.record("p", Operation::Authorise, OperationResult::Declined).unwrap();
    world.done("p", Operation::Authorise).unwrap();
    assert_eq!(world.payment("p").value.attempts, 2);
    world.verify(&mut Ends::default());
}

#[test]
fn a_capture_or_void_takes_no_other_payments_hold() {
    let mut world = in_state(PaymentState::Authorised);
    world.open("q", usd(10_000)).unwrap();
    world.done("q", Operation::Authorise).unwrap();
    let payment = world.payment("p");
    let other: Versioned<ledger::Hold> =
        world.read(&ledger::hold_key(&payment::ledger_hold_of(&world.payment("q").value)));
    let unknown = ledger::Rejection::UnknownHold { hold: LedgerHoldId::new("p:1").unwrap() };
    for operation in [Operation::Capture, Operation::Void] {
        for hold in [None, Some(&other)] {
            let (context, rules) = (world.context(), PostingRules::default());
            let result = OperationResult::Done(usd(10_000));
            let decided = payment::record(&context, &payment, hold, &rules, operation, result);
            assert_eq!(decided, Err(Rejection::Ledger(unknown.clone())));
        }
    }
}

/// Two payments whose long ids end alike used to share a ledger hold: the second could never be authorised.
#[test]
fn long_ids_that_end_alike_have_their_own_money() {
    let mut world = World::shop();
    for first in ["a", "b"] {
        let id = format!("{first}{}", "x".repeat(99));
        world.open(&id, usd(500)).unwrap();
        world.done(&id, Operation::Authorise).unwrap();
        world.done(&id, Operation::Capture).unwrap();
    }
    world.verify(&mut Ends::default());
}

/// Cases B1, B2.
#[test]
fn a_refund_of_nothing_or_less_is_refused() {
    let mut world = in_state(PaymentState::Captured);
    for amount in [0, -1, -10_000, i128::MIN] {
        let refused = Err(No::Payment(Rejection::InvalidAmount { amount: usd(amount) }));
        assert_eq!(world.request_refund("r", "p", usd(amount)), refused);
        assert_eq!(world.record_refund("r", "p", usd(amount)), refused);
    }
    assert_eq!(world.payment("p").value.refunding, usd(0));
}

/// Cases B23, O44.
#[test]
fn no_more_goes_back_than_was_taken() {
    let mut world = in_state(PaymentState::Captured);
    let exceeds = |refundable, asked| {
        Err(No::Payment(Rejection::RefundExceedsCaptured { refundable: usd(refundable), asked: usd(asked) }))
    };
    let yen = Currency::from_code("JPY").unwrap();
    let refused = Rejection::CurrencyMismatch { expected: Currency::USD, found: yen };
    assert_eq!(world.request_refund("r", "p", Money::from_minor(1, yen)), Err(No::Payment(refused)));
    assert_eq!(world.request_refund("r", "p", usd(10_001)), exceeds(10_000, 10_001));
    assert_eq!(world.record_refund("r", "p", usd(i128::MAX)), exceeds(10_000, i128::MAX));
    world.request_refund("r1", "p", usd(6_000)).unwrap();
    assert_eq!(world.request_refund("r2", "p", usd(6_000)), exceeds(4_000, 6_000), "what is under way counts");
    assert_eq!(world.record_refund("r2", "p", usd(4_001)), exceeds(4_000, 4_001));
    world.record_refund("r3", "p", usd(3_999)).unwrap();
    assert_eq!(world.request_refund("r4", "p", usd(2)), exceeds(1, 2), "partials that sum up to one more");
    for amount in [1, 6_000] {
        let exists = Rejection::RefundExists { refund: refund_id("r1") };
        assert_eq!(world.record_refund("r1", "p", usd(amount)), Err(No::Payment(exists)));
    }
    world.settle_refund("r1", RefundResult::Done).unwrap();
    for result in [RefundResult::Done, RefundResult::Failed] {
        let ended = Rejection::RefundEnded { refund: refund_id("r1") };
        assert_eq!(world.settle_refund("r1", result), Err(No::Payment(ended)));
    }
    world.record_refund("r4", "p", usd(1)).unwrap();
    assert_eq!(world.record_refund("r5", "p", usd(1)), exceeds(0, 1));
    let rules = PostingRules::default();
    assert_eq!(world.balance(&rules.gateway), [0, 10_000, 0, 10_000]);
    assert_eq!(world.balance(&rules.refunds), [0, 10_000, 0, 0]);
    world.verify(&mut Ends::default());
}

/// Case B23.
///
/// Two refunds are decided on the same state; the second finds that the payment has moved.
#[test]
fn two_refunds_at_once_are_one() {
    let mut world = in_state(PaymentState::Captured);
    let (first, second, payment) = (world.context(), world.context(), world.payment("p"));
    let decide = |context, refund: &str| {
        payment::request_refund(context, &payment, None, &refund_id(refund), usd(6_000)).unwrap()
    };
    let (first, second) = (decide(&first, "r1"), decide(&second, "r2"));
    world.commit(first).unwrap();
    assert!(world.commit(second).unwrap_err().is_conflict());
    assert_eq!(world.payment("p").value.refunding, usd(6_000));
    assert!(world.request_refund("r2", "p", usd(6_000)).is_err(), "decided again, it is refused");
}

/// Case O45.
#[test]
fn a_refund_that_failed_frees_its_amount_for_another() {
    let mut world = in_state(PaymentState::Captured);
    world.request_refund("r1", "p", usd(10_000)).unwrap();
    world.settle_refund("r1", RefundResult::Failed).unwrap();
    for result in [RefundResult::Done, RefundResult::Failed] {
        let ended = Rejection::RefundEnded { refund: refund_id("r1") };
        assert_eq!(world.settle_refund("r1", result), Err(No::Payment(ended)), "a late answer frees or pays nothing");
    }
    let Payment { refunded, refunding, .. } = world.payment("p").value;
    assert_eq!((refunded, refunding), (usd(0), usd(0)));
    assert_eq!(world.balance(&PostingRules::default().gateway), [0, 10_000, 0, 0], "nothing was posted");
    let exists = Rejection::RefundExists { refund: refund_id("r1") };
    assert_eq!(
        world.request_refund("r1", "p", usd(10_000)),
        Err(No::Payment(exists)),
        "a retry is a refund of its own"
    );
    world.request_refund("r2", "p", usd(10_000)).unwrap();
    world.settle_refund("r2", RefundResult::Done).unwrap();
    assert_eq!(world.payment("p").value.refunded, usd(10_000));
    world.verify(&mut Ends::default());
}

/// A refund of one payment must not be settled on another: the first would stay held for ever, the second would pay.
#[test]
fn a_refund_is_settled_on_its_own_payment() {
    let mut world = in_state(PaymentState::Captured);
    world.open("q", usd(500)).unwrap();
    world.done("q", Operation::Authorise).unwrap();
    world.done("q", Operation::Capture).unwrap();
    for payment in ["p", "q"] {
        world.request_refund(&format!("r-{payment}"), payment, usd(300)).unwrap();
    }
    let refund = world.read(&payment::refund_key(&refund_id("r-p")));
    let (context, rules, payment) = (world.context(), PostingRules::default(), world.payment("q"));
    let unknown = Rejection::UnknownRefund { refund: refund_id("r-p") };
    for result in [RefundResult::Done, RefundResult::Failed] {
        assert_eq!(payment::settle_refund(&context, &payment, &refund, &rules, result), Err(unknown.clone()));
    }
}

/// A refund whose id looked like the transfer of another payment's capture used to keep that capture from being recorded.
#[test]
fn a_refunds_id_blocks_no_other_payment() {
    let mut world = in_state(PaymentState::Captured);
    world.open("q", usd(500)).unwrap();
    world.done("q", Operation::Authorise).unwrap();
    world.record_refund("q:1:2", "p", usd(1)).unwrap();
    world.record_refund("hold:q:1:2", "p", usd(1)).unwrap();
    world.done("q", Operation::Capture).unwrap();
    world.verify(&mut Ends::default());
}
