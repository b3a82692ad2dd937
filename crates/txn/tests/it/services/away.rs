//! Callers that went away or came at once, and matters that had run out meanwhile.

use super::*;

/// Polls a call so many times and drops it.
fn poll_and_drop<F: Future>(call: F, polls: usize) {
    let mut call = pin!(call);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if call.as_mut().poll(&mut context).is_ready() {
            return;
        }
        std::thread::yield_now();
    }
}

async fn state(shop: &txn::Services, payment: &PaymentId) -> PaymentState {
    shop.payments().get(payment).await.unwrap().unwrap().state
}

/// Case F38.
#[test]
fn a_caller_that_goes_away_leaves_a_whole_step_or_none() {
    on_both(async |world| {
        world.stocked(100).await;
        for polls in 0..6 {
            let name = format!("web-{polls}");
            let order = place(&name, 1);
            let shop = &world.shop;
            let ship = Ship { order: order.order.clone(), shipment: "1".into(), units: None };
            // Each call is dropped after so many polls, and then made again to its end.
            poll_and_drop(shop.orders().place(&order), polls);
            shop.orders().place(&order).await.unwrap();
            poll_and_drop(shop.orders().reserve(&order.order, None), polls);
            shop.orders().reserve(&order.order, None).await.unwrap();
            poll_and_drop(shop.payments().authorise(&order.payment), polls);
            // What the dropped call has handed over may still come, so it is looked at until it has.
            while state(shop, &order.payment).await != PaymentState::Authorised {
                if state(shop, &order.payment).await == PaymentState::Created {
                    shop.payments().authorise(&order.payment).await.unwrap();
                }
                shop.payments().resolve(&order.payment).await.unwrap();
            }
            poll_and_drop(shop.payments().capture(&order.payment), polls);
            while state(shop, &order.payment).await != PaymentState::Captured {
                if state(shop, &order.payment).await == PaymentState::Authorised {
                    shop.payments().capture(&order.payment).await.unwrap();
                }
                shop.payments().resolve(&order.payment).await.unwrap();
            }
            poll_and_drop(shop.orders().ship(&ship), polls);
            shop.orders().ship(&ship).await.unwrap();
            poll_and_drop(shop.orders().deliver(&order.order, "1", None), polls);
            shop.orders().deliver(&order.order, "1", None).await.unwrap();
            let order = shop.orders().get(&order.order).await.unwrap().unwrap();
            assert_eq!(order.lifecycle, Lifecycle::Completed);
        }
        assert_eq!(world.gateway.executed(), 12, "six authorisations, six captures: nobody was charged twice");
        assert_eq!(world.shop.inventory().stock(&item("tea")).await.unwrap().on_hand, 94);
    });
}

/// A gateway whose first answer to each operation is that nothing happened, while the same request of another caller goes through.
struct Torn {
    asked: std::sync::Mutex<std::collections::HashMap<String, usize>>,
    /// Keys of the operations that were done.
    done: std::sync::Mutex<std::collections::BTreeSet<String>>,
}

#[async_trait::async_trait]
impl txn::Gateway for Torn {
    async fn execute(&self, call: &txn::GatewayCall) -> txn::GatewayResult {
        let asked = {
            let mut asked = self.asked.lock().unwrap();
            let count = asked.entry(call.idempotency_key.clone()).or_default();
            *count += 1;
            *count
        };
        if asked == 1 {
            return txn::GatewayResult::NotExecuted;
        }
        self.done.lock().unwrap().insert(call.idempotency_key.clone());
        txn::GatewayResult::Done(call.amount)
    }

    async fn query(&self, _: &txn::GatewayCall) -> txn::GatewayResult {
        txn::GatewayResult::Unknown
    }
}

/// Two callers captured one payment: one request never left, the other went through, and its answer was dropped for the first one's. The next capture had
/// another key, and the customer was charged twice.
#[test]
fn what_was_not_executed_for_one_caller_and_done_for_another_is_charged_once() {
    let gateway = Arc::new(Torn { asked: Default::default(), done: Default::default() });
    let txn = Txn::builder(Arc::new(Memory::new()), Arc::clone(&gateway) as _).build();
    let shop = txn.tenant(Tenant::default());
    pollster::block_on(async {
        shop.ledger().open_payment_accounts(Currency::USD).await.unwrap();
        let order = place("web-1", 3);
        shop.orders().place(&order).await.unwrap();
        for _ in 0..2 {
            let _ = at_once(4, |_| pollster::block_on(shop.payments().authorise(&order.payment)).map(|p| p.state));
        }
        for _ in 0..4 {
            let _ = at_once(4, |_| pollster::block_on(shop.payments().capture(&order.payment)).map(|p| p.state));
        }
        assert_eq!(shop.payments().get(&order.payment).await.unwrap().unwrap().state, PaymentState::Captured);
        let captures: Vec<String> =
            gateway.done.lock().unwrap().iter().filter(|key| key.contains("/capture/")).cloned().collect();
        assert_eq!(captures.len(), 1, "{captures:?}");
        let report = txn.verify().await.unwrap();
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
    });
}

/// A gateway that declines voids, does everything else, and keeps the keys it was asked under.
#[derive(Default)]
struct NoVoids(std::sync::Mutex<Vec<String>>);

#[async_trait::async_trait]
impl txn::Gateway for NoVoids {
    async fn execute(&self, call: &txn::GatewayCall) -> txn::GatewayResult {
        self.0.lock().unwrap().push(call.idempotency_key.clone());
        match call.operation {
            txn::GatewayOperation::Void => txn::GatewayResult::Declined,
            _ => txn::GatewayResult::Done(call.amount),
        }
    }

    async fn query(&self, _: &txn::GatewayCall) -> txn::GatewayResult {
        txn::GatewayResult::Unknown
    }
}

/// A declined void changed the key of the next capture, so that an earlier capture that was only late could be done beside it.
#[test]
fn a_declined_void_changes_the_key_of_the_next_void_only() {
    let gateway = Arc::new(NoVoids::default());
    let txn = Txn::builder(Arc::new(Memory::new()), Arc::clone(&gateway) as _).build();
    let shop = txn.tenant(Tenant::default());
    pollster::block_on(async {
        shop.ledger().open_payment_accounts(Currency::USD).await.unwrap();
        let order = place("web-1", 1);
        shop.orders().place(&order).await.unwrap();
        shop.payments().authorise(&order.payment).await.unwrap();
        for _ in 0..2 {
            assert_eq!(shop.payments().void(&order.payment).await.unwrap().state, PaymentState::Authorised);
        }
        shop.payments().capture(&order.payment).await.unwrap();
        let keys = gateway.0.lock().unwrap().clone();
        let key = |operation: &str| format!("default/web-1/{operation}/10.00 USD");
        assert_eq!(keys, ["authorise/0", "void/0", "void/1", "capture/0"].map(key));
    });
}

/// An order that had run out was authorised and captured because no timer had swept it, and could then neither ship nor end.
#[test]
fn an_order_that_has_run_out_is_not_authorised_swept_or_not() {
    on_both(async |world| {
        world.stocked(3).await;
        let due = "2030-01-01T00:15:00Z".parse().unwrap();
        let order = PlaceOrder { expires_at: Some(due), ..place("web-1", 3) };
        world.shop.orders().place(&order).await.unwrap();
        world.clock.set(due);
        let illegal = |failure: &Failure| {
            matches!(
                failure.rejection(),
                Some(Rejection::Order(order::Rejection::IllegalTransition { from: "expired", .. }))
            )
        };
        let late = world.shop.payments().authorise(&order.payment).await.unwrap_err();
        assert!(illegal(&late), "{late}");
        let late = world.shop.orders().reserve(&order.order, None).await.unwrap_err();
        assert!(illegal(&late), "{late}");
        assert_eq!(world.gateway.executed(), 0);
    });
}

/// Two orders named one cart's hold; cancelling the second gave away the stock that the first had paid for.
#[test]
fn an_order_does_not_give_away_a_hold_that_is_not_its_own() {
    on_both(async |world| {
        world.stocked(3).await;
        let cart = HoldId::new("cart").unwrap();
        let lines = vec![Demand { item: item("tea"), quantity: Quantity::new(3).unwrap() }];
        let reserve = Reserve { hold: cart.clone(), order: None, lines, expires_at: None };
        world.shop.inventory().reserve(&reserve).await.unwrap();
        let other = PlaceOrder { hold: cart.clone(), ..place("web-2", 3) };
        world.shop.orders().place(&other).await.unwrap();
        world.shop.orders().cancel(&other.order).await.unwrap();
        assert_eq!(world.shop.inventory().hold(&cart).await.unwrap().unwrap().state, HoldState::Held);
        assert_eq!(world.shop.inventory().stock(&item("tea")).await.unwrap().available(), 0);
    });
}

/// A reservation swept the first 64 holds that had run out, looked for more on the same page, and refused stock that was free.
#[test]
fn any_number_of_holds_that_have_run_out_stands_in_nobodys_way() {
    on_both(async |world| {
        world.stocked(150).await;
        let due: txn::change::Timestamp = "2030-01-01T00:15:00Z".parse().unwrap();
        let reserve = |name: &str, quantity, expires_at| Reserve {
            hold: HoldId::new(name).unwrap(),
            order: None,
            lines: vec![Demand { item: item("tea"), quantity: Quantity::new(quantity).unwrap() }],
            expires_at,
        };
        for index in 0..150 {
            world.shop.inventory().reserve(&reserve(&format!("cart-{index}"), 1, Some(due))).await.unwrap();
        }
        world.clock.set(due);
        world.shop.inventory().reserve(&reserve("all", 150, None)).await.unwrap();
    });
}
