//! The services on both backends: repetition, concurrency, answers that were lost, callers that went away.

mod away;
mod dropped;
mod ledger;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use txn::{
    Failure, InertGateway, Instruction, Rejection, Services, Ship, Tenant, Txn,
    change::{BodyError, ChangeId, Timestamp},
    core::{
        id::{CustomerId, HoldId, LocationId, MovementId, OrderId, PaymentId, RefundId, Sku},
        inventory::{self, Demand, Extend, HoldState, Item, Receive, Reserve},
        money::{Currency, Money},
        order::{self, Lifecycle, NewLine, PlaceOrder},
        payment::{self, PaymentState, RefundState},
        quantity::Quantity,
    },
    store::{ManualClock, Purge, Resolution, StoreAdmin, StoreLimits, memory::Memory, sqlite::Sqlite},
};

/// A shop on one backend, with its clock and gateway in hand.
struct World {
    txn: Txn,
    shop: Services,
    gateway: Arc<InertGateway>,
    clock: Arc<ManualClock>,
    _folder: Option<tempfile::TempDir>,
}

fn worlds() -> [World; 2] {
    let clock = || Arc::new(ManualClock::at("2030-01-01T00:00:00Z".parse().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (clock(), clock());
    let sqlite = Sqlite::options(folder.path().join("shop.db")).clock(Arc::clone(&second) as _).open().unwrap();
    let memory = Memory::with(Arc::clone(&first) as _, StoreLimits::default());
    [world(Arc::new(memory), first, None), world(Arc::new(sqlite), second, Some(folder))]
}

fn world(store: Arc<dyn StoreAdmin>, clock: Arc<ManualClock>, folder: Option<tempfile::TempDir>) -> World {
    let gateway = Arc::new(InertGateway::default());
    let txn = Txn::builder(store, Arc::clone(&gateway) as _).build();
    let shop = txn.tenant(Tenant::default());
    World { txn, shop, gateway, clock, _folder: folder }
}

fn item(sku: &str) -> Item {
    Item { sku: Sku::new(sku).unwrap(), location: LocationId::new("main").unwrap() }
}

fn usd(amount: &str) -> Money {
    Money::parse(amount, Currency::USD).unwrap()
}

fn place(name: &str, quantity: u64) -> PlaceOrder {
    PlaceOrder {
        order: OrderId::new(name).unwrap(),
        customer: Some(CustomerId::new("ann").unwrap()),
        currency: Currency::USD,
        location: LocationId::new("main").unwrap(),
        hold: HoldId::new(name).unwrap(),
        payment: PaymentId::new(name).unwrap(),
        expires_at: None,
        lines: vec![NewLine {
            sku: Sku::new("tea").unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
            price: usd("10.00"),
        }],
    }
}

impl World {
    async fn stocked(&self, quantity: u64) {
        self.shop.ledger().open_payment_accounts(Currency::USD).await.unwrap();
        let lines = vec![Demand { item: item("tea"), quantity: Quantity::new(quantity).unwrap() }];
        self.shop.inventory().receive(&Receive { id: MovementId::new("in").unwrap(), lines }).await.unwrap();
    }

    async fn paid(&self, name: &str, quantity: u64) -> (OrderId, PaymentId) {
        let place = place(name, quantity);
        self.shop.orders().place(&place).await.unwrap();
        self.shop.orders().reserve(&place.order, None).await.unwrap();
        self.shop.payments().authorise(&place.payment).await.unwrap();
        self.shop.payments().capture(&place.payment).await.unwrap();
        (place.order, place.payment)
    }

    async fn is_clean(&self) {
        let report = self.txn.verify().await.unwrap();
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
    }
}

fn on_both(test: impl AsyncFn(&World)) {
    for world in worlds() {
        pollster::block_on(async {
            test(&world).await;
            world.is_clean().await;
        });
    }
}

/// Runs calls side by side on threads of their own.
fn at_once<T: Send>(count: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let call = &call;
        let threads: Vec<_> = (0..count).map(|index| scope.spawn(move || call(index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Cases O19, O20, B26.
#[test]
fn a_double_click_is_one_order_and_another_body_under_its_id_a_conflict() {
    on_both(async |world| {
        world.stocked(10).await;
        let first = world.shop.orders().place(&place("web-1", 2)).await.unwrap();
        let again = world.shop.orders().place(&place("web-1", 2)).await.unwrap();
        assert!(!first.replayed() && again.replayed());
        assert_eq!(first.answer().bytes(), again.answer().bytes());
        let other = world.shop.orders().place(&place("web-1", 3)).await.unwrap_err();
        assert!(matches!(&other, Failure::KeyReused { .. }), "{other}");
        assert!(!other.to_string().contains("20.00"), "the first answer is not given away");
        let order = world.shop.orders().get(&OrderId::new("web-1").unwrap()).await.unwrap().unwrap();
        assert_eq!(order.total, usd("20.00"));
    });
}

#[test]
fn an_id_that_was_settled_as_not_done_is_given_up_and_one_that_was_done_gives_its_answer() {
    on_both(async |world| {
        world.stocked(10).await;
        let scope = world.shop.scope();
        let done = world.shop.orders().place(&place("web-1", 2)).await.unwrap();
        let id = |name: &str| ChangeId::new(format!("order.place/{name}")).unwrap();
        let Resolution::Done(resolved) = scope.resolve(&id("web-1")).await.unwrap() else { panic!("it was done") };
        assert_eq!((&resolved.answer, resolved.recorded_at), (done.answer(), done.recorded_at()));

        assert_eq!(scope.resolve(&id("web-2")).await.unwrap(), Resolution::NotDone);
        for _ in 0..2 {
            let late = world.shop.orders().place(&place("web-2", 2)).await.unwrap_err();
            assert!(matches!(&late, Failure::GivenUp { id: given_up } if *given_up == id("web-2")), "{late}");
            assert!(!late.is_retryable());
        }
        assert_eq!(world.shop.orders().get(&OrderId::new("web-2").unwrap()).await.unwrap(), None);
        assert!(world.shop.orders().place(&place("web-1", 2)).await.unwrap().replayed());
    });
}

/// A gateway's answer must find its way into the payment, even when somebody has given up the step's id.
#[test]
fn a_charge_whose_step_was_given_up_is_recorded_all_the_same() {
    on_both(async |world| {
        world.stocked(10).await;
        let place = place("web-1", 1);
        world.shop.orders().place(&place).await.unwrap();
        world.shop.orders().reserve(&place.order, None).await.unwrap();
        // The claim is the payment's second version, and its result is recorded under that.
        let step = ChangeId::new("payment.result/web-1/2").unwrap();
        assert_eq!(world.shop.scope().resolve(&step).await.unwrap(), Resolution::NotDone);
        let payment = world.shop.payments().authorise(&place.payment).await.unwrap();
        assert_eq!(payment.state, PaymentState::Authorised);
        let late = ChangeId::new("payment.late/web-1/2").unwrap();
        assert!(matches!(world.shop.scope().resolve(&late).await.unwrap(), Resolution::Done(_)));
    });
}

/// Case B28.
#[test]
fn twenty_callers_with_one_key_have_one_effect_and_one_answer() {
    on_both(async |world| {
        world.stocked(10).await;
        let answers = at_once(20, |_| pollster::block_on(world.shop.orders().place(&place("web-1", 2))).unwrap());
        assert_eq!(answers.iter().filter(|done| !done.replayed()).count(), 1);
        assert!(answers.iter().all(|done| done.answer() == answers[0].answer()));
    });
}

/// Cases O1, B22.
#[test]
fn the_last_units_go_to_exactly_as_many_buyers() {
    on_both(async |world| {
        world.stocked(10).await;
        for index in 0..60 {
            world.shop.orders().place(&place(&format!("web-{index}"), 1)).await.unwrap();
        }
        let outcomes = at_once(60, |index| {
            let order = OrderId::new(format!("web-{index}")).unwrap();
            pollster::block_on(world.shop.orders().reserve(&order, None))
        });
        let short = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|failure| {
            let refusal = failure.rejection();
            matches!(refusal, Some(Rejection::Stock(inventory::Rejection::StockInsufficient { missing: 1, .. })))
        });
        assert!(short);
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
        let stock = world.shop.inventory().stock(&item("tea")).await.unwrap();
        assert_eq!((stock.on_hand, stock.reserved, stock.available()), (10, 10, 0));
    });
}

/// Case B30. What was answered is forgotten, and what was done is not done again.
#[test]
fn a_repetition_after_its_answer_was_purged_does_nothing_and_says_so() {
    on_both(async |world| {
        world.stocked(10).await;
        let (order, payment) = world.paid("web-1", 2).await;
        let refund = RefundId::new("r-1").unwrap();
        world.shop.payments().refund(&payment, &refund, usd("5.00")).await.unwrap();
        let (asked, stands) = (world.gateway.executed(), world.shop.payments().get(&payment).await.unwrap().unwrap());
        for what in [Purge::Answers, Purge::Events] {
            while !world.txn.store().purge(what, Timestamp::MAX, 100).await.unwrap().is_complete {}
        }
        let again = world.shop.payments().refund(&payment, &refund, usd("5.00")).await.unwrap();
        assert_eq!(again.state, RefundState::Done);
        let placed = world.shop.orders().place(&place("web-1", 2)).await.unwrap();
        assert!(placed.replayed(), "{order} is known");
        assert!(matches!(placed.value(), Err(BodyError::Erased { .. })), "{placed:?}");
        let other = world.shop.orders().place(&place("web-1", 3)).await.unwrap_err();
        assert!(matches!(other, Failure::KeyReused { .. }));
        assert_eq!(world.gateway.executed(), asked, "the gateway was not asked again");
        assert_eq!(world.shop.payments().get(&payment).await.unwrap().unwrap(), stands);
        world.is_clean().await;
    });
}

/// Case B23.
#[test]
fn refunds_at_once_never_pass_what_was_captured() {
    on_both(async |world| {
        world.stocked(10).await;
        let (_, payment) = world.paid("web-1", 10).await;
        let outcomes = at_once(8, |index| {
            let refund = RefundId::new(format!("r-{index}")).unwrap();
            pollster::block_on(world.shop.payments().refund(&payment, &refund, usd("60.00")))
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|failure| {
            matches!(failure.rejection(), Some(Rejection::Payment(payment::Rejection::RefundExceedsCaptured { .. })))
        });
        assert!(refused);
        let euro = Money::parse("1.00", Currency::EUR).unwrap();
        let other = world.shop.payments().refund(&payment, &RefundId::new("r-euro").unwrap(), euro).await.unwrap_err();
        assert!(matches!(other.rejection(), Some(Rejection::Payment(payment::Rejection::CurrencyMismatch { .. }))));
        let after = world.shop.payments().get(&payment).await.unwrap().unwrap();
        assert_eq!((after.refunded, after.refunding), (usd("60.00"), usd("0.00")));
    });
}

#[test]
fn a_lost_answer_blocks_the_next_attempt_until_it_is_known() {
    on_both(async |world| {
        world.stocked(10).await;
        for (name, instruction, known) in [
            ("after", Instruction::TimeoutAfter, PaymentState::Authorised),
            ("before", Instruction::TimeoutBefore, PaymentState::Created),
        ] {
            let order = place(name, 1);
            world.shop.orders().place(&order).await.unwrap();
            world.gateway.instruct(order.payment.clone(), instruction);
            let unknown = world.shop.payments().authorise(&order.payment).await.unwrap();
            assert_eq!(unknown.state, PaymentState::AuthoriseUnknown);
            let blocked = world.shop.payments().authorise(&order.payment).await.unwrap_err();
            let refusal = blocked.rejection();
            assert!(matches!(refusal, Some(Rejection::Payment(payment::Rejection::IllegalTransition { .. }))));
            let resolved = world.shop.payments().resolve(&order.payment).await.unwrap();
            assert_eq!(resolved.state, known);
        }
        assert_eq!(world.gateway.executed(), 1, "what was lost before it was sent was never executed");
    });
}

#[test]
fn a_declined_payment_may_be_tried_again() {
    on_both(async |world| {
        world.stocked(10).await;
        let order = place("web-1", 1);
        world.shop.orders().place(&order).await.unwrap();
        world.gateway.instruct(order.payment.clone(), Instruction::Decline);
        assert_eq!(world.shop.payments().authorise(&order.payment).await.unwrap().state, PaymentState::Created);
        world.gateway.instruct(order.payment.clone(), Instruction::Approve);
        let payment = world.shop.payments().authorise(&order.payment).await.unwrap();
        assert_eq!((payment.state, payment.attempts), (PaymentState::Authorised, 2));
    });
}

/// A declined capture was asked for again under the same idempotency key, so that a gateway that keeps its contract declined it for ever.
#[test]
fn a_declined_capture_may_be_tried_again_as_another_operation() {
    on_both(async |world| {
        world.stocked(10).await;
        let order = place("web-1", 1);
        world.shop.orders().place(&order).await.unwrap();
        world.shop.payments().authorise(&order.payment).await.unwrap();
        world.gateway.instruct(order.payment.clone(), Instruction::Decline);
        assert_eq!(world.shop.payments().capture(&order.payment).await.unwrap().state, PaymentState::Authorised);
        world.gateway.instruct(order.payment.clone(), Instruction::Approve);
        assert_eq!(world.shop.payments().capture(&order.payment).await.unwrap().state, PaymentState::Captured);
    });
}

/// Case B24.
#[test]
fn steps_out_of_order_are_illegal_and_change_nothing() {
    on_both(async |world| {
        world.stocked(10).await;
        let order = place("web-1", 1);
        world.shop.orders().place(&order).await.unwrap();
        world.shop.orders().reserve(&order.order, None).await.unwrap();
        let ship = Ship { order: order.order.clone(), shipment: "1".into(), units: None };
        let unpaid = world.shop.orders().ship(&ship).await.unwrap_err();
        let illegal = |failure: &Failure| {
            matches!(failure.rejection(), Some(Rejection::Order(order::Rejection::IllegalTransition { .. })))
        };
        assert!(illegal(&unpaid), "{unpaid}");
        world.shop.payments().authorise(&order.payment).await.unwrap();
        world.shop.payments().capture(&order.payment).await.unwrap();
        let twice = world.shop.payments().capture(&order.payment).await.unwrap_err();
        assert!(matches!(twice.rejection(), Some(Rejection::Payment(payment::Rejection::IllegalTransition { .. }))));
        world.shop.orders().ship(&ship).await.unwrap();
        let key = order::order_key(&order.order);
        let before = world.shop.scope().record(key.clone()).await.unwrap().unwrap().version;
        let shipped = world.shop.orders().cancel(&order.order).await.unwrap_err();
        assert!(illegal(&shipped), "{shipped}");
        assert_eq!(world.shop.scope().record(key).await.unwrap().unwrap().version, before);
    });
}

#[test]
fn a_cancelled_order_gives_back_stock_and_voids_its_payment_and_is_never_charged() {
    on_both(async |world| {
        world.stocked(10).await;
        let order = place("web-1", 4);
        world.shop.orders().place(&order).await.unwrap();
        world.shop.orders().reserve(&order.order, None).await.unwrap();
        world.shop.payments().authorise(&order.payment).await.unwrap();
        world.gateway.instruct(order.payment.clone(), Instruction::Decline);
        let cancelled = world.shop.orders().cancel(&order.order).await.unwrap();
        assert_eq!(cancelled.value().unwrap().lifecycle, Lifecycle::Cancelled);
        assert_eq!(world.shop.inventory().stock(&item("tea")).await.unwrap().available(), 10);
        // The gateway would not void it, so it is authorised still; capturing it is out of the question.
        world.gateway.instruct(order.payment.clone(), Instruction::Approve);
        let charged = world.shop.payments().capture(&order.payment).await.unwrap_err();
        assert!(matches!(charged.rejection(), Some(Rejection::Order(order::Rejection::IllegalTransition { .. }))));
    });
}

/// Cases O5, O6.
#[test]
fn an_order_expires_once_and_a_payment_in_that_instant_finds_it_expired() {
    on_both(async |world| {
        world.stocked(3).await;
        let due = "2030-01-01T00:15:00Z".parse().unwrap();
        let order = PlaceOrder { expires_at: Some(due), ..place("web-1", 3) };
        world.shop.orders().place(&order).await.unwrap();
        world.shop.orders().reserve(&order.order, Some(due)).await.unwrap();
        world.clock.set(due);
        let hold = world.shop.inventory().commit(&order.hold).await.unwrap_err();
        assert!(matches!(hold.rejection(), Some(Rejection::Stock(inventory::Rejection::HoldExpired { .. }))));
        let mut effective = 0;
        for _ in 0..3 {
            effective += world.shop.timers().run_due().await.unwrap().effective;
        }
        assert!((1..=2).contains(&effective), "the hold and the order, once each at most: {effective}");
        let after = world.shop.orders().get(&order.order).await.unwrap().unwrap();
        assert_eq!(after.lifecycle, Lifecycle::Expired);
        let late = world.shop.payments().authorise(&order.payment).await.unwrap_err();
        assert!(late.rejection().is_some());
        assert_eq!(world.shop.inventory().stock(&item("tea")).await.unwrap().available(), 3);
    });
}

/// Case O7.
#[test]
fn a_hold_that_has_run_out_does_not_stand_in_the_way_and_cannot_be_extended() {
    on_both(async |world| {
        world.stocked(3).await;
        let due: txn::change::Timestamp = "2030-01-01T00:15:00Z".parse().unwrap();
        let reserve = |name: &str| Reserve {
            hold: HoldId::new(name).unwrap(),
            order: None,
            lines: vec![Demand { item: item("tea"), quantity: Quantity::new(3).unwrap() }],
            expires_at: Some(due),
        };
        world.shop.inventory().reserve(&reserve("first")).await.unwrap();
        let second = Reserve { expires_at: None, ..reserve("second") };
        assert!(world.shop.inventory().reserve(&second).await.is_err());
        world.clock.set(due);
        // Nobody has swept; the reservation itself does.
        world.shop.inventory().reserve(&second).await.unwrap();
        let first = HoldId::new("first").unwrap();
        assert_eq!(world.shop.inventory().hold(&first).await.unwrap().unwrap().state, HoldState::Expired);
        let extend = Extend { hold: first, expires_at: due.after(Duration::from_secs(60)).unwrap() };
        let late = world.shop.inventory().extend(&extend).await.unwrap_err();
        assert!(matches!(late.rejection(), Some(Rejection::Stock(inventory::Rejection::HoldExpired { .. }))));
    });
}

#[test]
fn a_refund_whose_answer_was_lost_stays_pending_and_holds_its_amount() {
    on_both(async |world| {
        world.stocked(10).await;
        let (_, payment) = world.paid("web-1", 10).await;
        world.gateway.instruct(payment.clone(), Instruction::TimeoutBefore);
        let refund = RefundId::new("r-1").unwrap();
        let pending = world.shop.payments().refund(&payment, &refund, usd("60.00")).await.unwrap();
        assert_eq!(pending.state, RefundState::Pending);
        let other = world.shop.payments().refund(&payment, &RefundId::new("r-2").unwrap(), usd("60.00")).await;
        assert!(other.is_err(), "what is on its way counts");
        world.gateway.instruct(payment.clone(), Instruction::Approve);
        let done = world.shop.payments().refund(&payment, &refund, usd("60.00")).await.unwrap();
        assert_eq!(done.state, RefundState::Done);
        let after = world.shop.payments().get(&payment).await.unwrap().unwrap();
        assert_eq!(after.refunded, usd("60.00"));
    });
}
