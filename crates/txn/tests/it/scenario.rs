//! A shop's day through the public services: everything that can happen to an order happens to one.

use std::{sync::Arc, time::Duration};

use txn::{
    Failure, Gateway, InertGateway, Instruction, Rejection, Services, Ship, Tenant, Txn,
    change::{
        Add, Body, Change, ChangeId, Class, Event, Fingerprint, Key, Kind, Label, Lanes, Opening, Status, Timestamp,
    },
    core::{
        aftersale::{Receipt, ReceivedLine, RequestReturn},
        id::{
            AccountId, CustomerId, HoldId, LedgerHoldId, LocationId, MovementId, OrderId, PaymentId, RefundId,
            ReturnId, Sku, TransferId,
        },
        inventory::{self, Demand, Disposition, Extend, Item, Receive},
        ledger::{
            Account, AccountType, Authorise, Capture, ClosePeriod, DescribeAccount, ExtendHold, Increment, Limits,
            Metadata, OpenAccount, Overdraft, Remainder, Reverse, SetLimits, SetStatus, Transfer,
        },
        money::{Currency, Money},
        order::{Lifecycle, LineQuantity, NewLine, PlaceOrder},
        payment::{PaymentState, RefundState},
        quantity::Quantity,
    },
    store::{ManualClock, StoreAdmin},
};

pub const SHOP: &str = "shop";

pub fn start() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn order(n: u32) -> OrderId {
    OrderId::new(format!("o-{n}")).unwrap()
}

fn hold(n: u32) -> HoldId {
    HoldId::new(format!("h-{n}")).unwrap()
}

fn payment(n: u32) -> PaymentId {
    PaymentId::new(format!("p-{n}")).unwrap()
}

fn quantity(n: u64) -> Quantity {
    Quantity::new(n).unwrap()
}

fn units(line: usize, n: u64) -> LineQuantity {
    LineQuantity { line, quantity: quantity(n) }
}

pub fn item(sku: &str) -> Item {
    Item { sku: Sku::new(sku).unwrap(), location: LocationId::new("main").unwrap() }
}

fn usd(text: &str) -> Money {
    Money::parse(text, Currency::USD).unwrap()
}

fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

pub struct Day<'a> {
    pub shop: Services,
    pub gateway: Arc<InertGateway>,
    clock: &'a ManualClock,
    check: &'a dyn Fn(&str),
}

/// Plays the day; `check` is called after every step with the step's name.
pub fn play(store: Arc<dyn StoreAdmin>, clock: &ManualClock, check: &dyn Fn(&str)) {
    let gateway = Arc::new(InertGateway::default());
    let txn = Txn::builder(store, Arc::clone(&gateway) as Arc<dyn Gateway>).build();
    let day = Day { shop: txn.tenant(Tenant::new(SHOP).unwrap()), gateway, clock, check };
    pollster::block_on(async {
        day.open().await;
        day.bought_in_parts_and_returned().await;
        day.declined_then_cancelled().await;
        day.expired_by_timer().await;
        day.answer_lost().await;
        day.free().await;
        day.sold_out_and_swept().await;
        day.extended_and_given_up().await;
        day.refunds_that_fail_and_hang().await;
        day.ledger_by_itself().await;
        day.a_hosts_own().await;
        // Another tenant with the same names.
        let other = Day { shop: txn.tenant(Tenant::new("other").unwrap()), ..day };
        other.open().await;
        other.free().await;
    });
}

impl Day<'_> {
    fn after(&self, step: &str) {
        (self.check)(step);
    }

    fn in_minutes(&self, minutes: u64) -> Timestamp {
        use txn::store::Clock;
        self.clock.now().after(Duration::from_secs(60 * minutes)).unwrap()
    }

    async fn place(&self, n: u32, expires_at: Option<Timestamp>, lines: &[(&str, u64, &str)]) {
        let line = |(sku, n, price): &(&str, u64, &str)| NewLine {
            sku: Sku::new(sku).unwrap(),
            quantity: quantity(*n),
            price: usd(price),
        };
        let command = PlaceOrder {
            order: order(n),
            customer: (n != 3).then(|| CustomerId::new("ann").unwrap()),
            currency: Currency::USD,
            location: LocationId::new("main").unwrap(),
            hold: hold(n),
            payment: payment(n),
            expires_at,
            lines: lines.iter().map(line).collect(),
        };
        self.shop.orders().place(&command).await.unwrap();
        self.after("an order was placed");
    }

    async fn reserve(&self, n: u32, expires_at: Option<Timestamp>) {
        self.shop.orders().reserve(&order(n), expires_at).await.unwrap();
        self.after("a basket was reserved");
    }

    async fn pay(&self, n: u32) {
        self.shop.payments().authorise(&payment(n)).await.unwrap();
        self.after("a payment was authorised");
        let paid = self.shop.payments().capture(&payment(n)).await.unwrap();
        assert_eq!(paid.state, PaymentState::Captured);
        self.after("a payment was captured");
    }

    async fn ship(&self, n: u32, shipment: &str, units: Option<Vec<LineQuantity>>) {
        let command = Ship { order: order(n), shipment: shipment.into(), units };
        self.shop.orders().ship(&command).await.unwrap();
        self.after("goods were shipped");
    }

    async fn deliver(&self, n: u32, delivery: &str, units: Option<&[LineQuantity]>) {
        self.shop.orders().deliver(&order(n), delivery, units).await.unwrap();
        self.after("goods were delivered");
    }

    async fn open(&self) {
        self.shop.ledger().open_payment_accounts(Currency::USD).await.unwrap();
        let goods = [("tea", 50), ("cup", 20)].map(|(sku, n)| Demand { item: item(sku), quantity: quantity(n) });
        let command = Receive { id: MovementId::new("m-1").unwrap(), lines: goods.to_vec() };
        self.shop.inventory().receive(&command).await.unwrap();
        self.after("goods were received");
    }

    async fn bought_in_parts_and_returned(&self) {
        self.place(1, Some(self.in_minutes(60)), &[("tea", 3, "3.50"), ("cup", 2, "8.00"), ("tea", 1, "3.40")]).await;
        self.reserve(1, Some(self.in_minutes(30))).await;
        self.shop.inventory().commit(&hold(1)).await.unwrap();
        self.after("a hold was committed");
        self.pay(1).await;
        self.ship(1, "first", Some(vec![units(0, 2), units(1, 1)])).await;
        self.deliver(1, "first", Some(&[units(0, 1)])).await;
        self.ship(1, "second", None).await;
        self.deliver(1, "second", None).await;
        assert_eq!(self.shop.orders().get(&order(1)).await.unwrap().unwrap().lifecycle, Lifecycle::Completed);
        let id = ReturnId::new("r-1").unwrap();
        let ask = RequestReturn { id: id.clone(), lines: vec![units(0, 2)] };
        self.shop.returns().request(&order(1), &ask).await.unwrap();
        self.after("a return was asked for");
        let back = |line, n, disposition| ReceivedLine { line, quantity: quantity(n), disposition };
        let lines = vec![back(0, 1, Disposition::Restock), back(1, 1, Disposition::Damaged)];
        let receipt = Receipt { id, refund: RefundId::new("f-1").unwrap(), lines };
        let done = self.shop.returns().receive(&order(1), &receipt).await.unwrap();
        assert_eq!(done.value().unwrap().refund, usd("11.50"));
        self.after("a return was received");
        let lines = vec![back(2, 1, Disposition::Restock)];
        let unasked = Receipt { id: ReturnId::new("r-2").unwrap(), refund: RefundId::new("f-2").unwrap(), lines };
        self.shop.returns().receive(&order(1), &unasked).await.unwrap();
        self.after("a return was received unasked");
        self.shop
            .returns()
            .request(&order(1), &RequestReturn { id: ReturnId::new("r-3").unwrap(), lines: vec![units(0, 1)] })
            .await
            .unwrap();
        self.after("a return is still to come");
    }

    async fn declined_then_cancelled(&self) {
        self.place(2, None, &[("cup", 1, "8.00")]).await;
        self.reserve(2, None).await;
        self.gateway.instruct(payment(2), Instruction::Decline);
        assert_eq!(self.shop.payments().authorise(&payment(2)).await.unwrap().state, PaymentState::Created);
        self.after("a payment was declined");
        self.gateway.instruct(payment(2), Instruction::Approve);
        assert_eq!(self.shop.payments().authorise(&payment(2)).await.unwrap().state, PaymentState::Authorised);
        self.after("a second attempt was authorised");
        self.shop.orders().cancel(&order(2)).await.unwrap();
        self.after("an authorised order was cancelled");
        assert_eq!(self.shop.payments().get(&payment(2)).await.unwrap().unwrap().state, PaymentState::Voided);
    }

    async fn expired_by_timer(&self) {
        self.place(3, Some(self.in_minutes(20)), &[("tea", 5, "3.50")]).await;
        self.reserve(3, Some(self.in_minutes(10))).await;
        self.clock.advance(Duration::from_secs(900));
        assert_eq!(self.shop.timers().run_due().await.unwrap().effective, 1);
        self.after("a hold expired");
        self.clock.advance(Duration::from_secs(900));
        self.shop.timers().run_due().await.unwrap();
        self.after("an order expired");
        assert_eq!(self.shop.orders().get(&order(3)).await.unwrap().unwrap().lifecycle, Lifecycle::Expired);
    }

    async fn answer_lost(&self) {
        self.place(4, Some(self.in_minutes(5)), &[("tea", 2, "3.50")]).await;
        self.reserve(4, None).await;
        self.gateway.instruct(payment(4), Instruction::TimeoutAfter);
        let lost = self.shop.payments().authorise(&payment(4)).await.unwrap();
        assert_eq!(lost.state, PaymentState::AuthoriseUnknown);
        self.after("an answer was lost");
        self.clock.advance(Duration::from_secs(600));
        assert_eq!(self.shop.timers().run_due().await.unwrap().postponed, 1);
        self.after("an expiry was put off");
        self.shop.payments().resolve(&payment(4)).await.unwrap();
        self.after("the answer was found out");
        self.gateway.instruct(payment(4), Instruction::Approve);
        self.shop.payments().capture(&payment(4)).await.unwrap();
        self.after("it was captured and is still to ship");
    }

    async fn free(&self) {
        self.place(5, None, &[("cup", 1, "0.00")]).await;
        self.reserve(5, None).await;
        self.ship(5, "all", None).await;
        self.deliver(5, "all", None).await;
    }

    async fn sold_out_and_swept(&self) {
        self.place(6, None, &[("tea", 60, "3.50")]).await;
        let sold_out = self.shop.orders().reserve(&order(6), None).await.unwrap_err();
        assert!(matches!(sold_out.rejection(), Some(Rejection::Stock(inventory::Rejection::StockInsufficient { .. }))));
        self.after("too much was asked for");
        self.place(7, None, &[("tea", 30, "3.50")]).await;
        self.reserve(7, Some(self.in_minutes(1))).await;
        self.clock.advance(Duration::from_secs(120));
        self.place(8, None, &[("tea", 20, "3.50")]).await;
        self.reserve(8, None).await;
        self.after("a hold that had run out was swept by who needed its stock");
        self.shop.timers().run_due().await.unwrap();
        self.after("its timer found nothing to do");
    }

    async fn extended_and_given_up(&self) {
        self.place(9, None, &[("cup", 2, "8.00")]).await;
        self.reserve(9, Some(self.in_minutes(10))).await;
        let expires_at = self.in_minutes(20);
        self.shop.inventory().extend(&Extend { hold: hold(9), expires_at }).await.unwrap();
        self.after("a hold was extended");
        self.shop.orders().cancel(&order(9)).await.unwrap();
        self.after("an unpaid order was cancelled");
        self.place(10, Some(self.in_minutes(600)), &[("cup", 1, "8.00")]).await;
        self.reserve(10, Some(self.in_minutes(300))).await;
    }

    async fn refunds_that_fail_and_hang(&self) {
        let refund = |n: u32| RefundId::new(format!("f-{n}")).unwrap();
        let payments = self.shop.payments();
        assert_eq!(payments.refund(&payment(1), &refund(3), usd("1.00")).await.unwrap().state, RefundState::Done);
        self.after("some more was refunded");
        self.gateway.instruct(payment(1), Instruction::Decline);
        assert_eq!(payments.refund(&payment(1), &refund(4), usd("1.50")).await.unwrap().state, RefundState::Failed);
        self.after("a refund failed");
        self.gateway.instruct(payment(1), Instruction::TimeoutBefore);
        assert_eq!(payments.refund(&payment(1), &refund(5), usd("2.00")).await.unwrap().state, RefundState::Pending);
        self.after("a refund is pending");
    }

    async fn ledger_by_itself(&self) {
        let ledger = self.shop.ledger();
        let (cash, equity) = (account("assets:cash"), account("equity"));
        for (id, account_type) in [(&cash, AccountType::Asset), (&equity, AccountType::Equity)] {
            let account = Account::new(id.clone(), account_type, Currency::USD);
            ledger.open_account(&OpenAccount { account }).await.unwrap();
        }
        let paid_in = Transfer::simple(TransferId::new("t-1").unwrap(), cash.clone(), equity.clone(), usd("100.00"));
        ledger.transfer(&paid_in.about("p-1")).await.unwrap();
        self.after("a host posted a transfer about a payment");
        for (name, minutes) in [("a", None), ("b", Some(1))] {
            let id = LedgerHoldId::new(name).unwrap();
            let hold = Authorise::new(id, equity.clone(), cash.clone(), usd("30.00"));
            let hold = Authorise { expires_at: minutes.map(|minutes| self.in_minutes(minutes)), ..hold };
            ledger.authorise(&hold).await.unwrap();
            self.after("money was held");
            let capture = Capture { hold: hold.hold.clone(), amount: usd("10.00"), remainder: Remainder::Keep };
            ledger.capture(&capture, "first").await.unwrap();
            self.after("a part of it was captured");
        }
        ledger.void(&LedgerHoldId::new("a").unwrap()).await.unwrap();
        self.after("the rest was voided");
        self.clock.advance(Duration::from_secs(90));
        ledger.expire(&LedgerHoldId::new("b").unwrap()).await.unwrap();
        self.after("the rest expired");
        self.accounts_change().await;
        let hold = LedgerHoldId::new("c").unwrap();
        let held = Authorise::new(hold.clone(), equity.clone(), cash.clone(), usd("5.00")).tolerance(usd("1.00"));
        ledger.authorise(&held.until(self.in_minutes(60))).await.unwrap();
        self.after("money was held with a tolerance");
        ledger.increment(&Increment { hold: hold.clone(), amount: usd("2.00") }, "more").await.unwrap();
        self.after("more was held");
        ledger.extend_hold(&ExtendHold { hold, expires_at: self.in_minutes(90) }).await.unwrap();
        self.after("it was extended");
        self.books(&cash, &equity).await;
    }

    async fn accounts_change(&self) {
        let ledger = self.shop.ledger();
        let (reserve, currency) = (account("equity:reserve"), Currency::USD);
        let opened = Account::new(reserve.clone(), AccountType::Equity, currency).under(account("equity"));
        let metadata = Metadata::new([("board", "2029-12")]).unwrap();
        let opened = opened.named("Reserve").balance_max(usd("50.00")).with(metadata.clone());
        ledger.open_account(&OpenAccount { account: opened }).await.unwrap();
        self.after("an account was opened below another");
        let limits = Limits { overdraft: Overdraft::UpTo(usd("5.00")), balance_max: None };
        let command = SetLimits { account: reserve.clone(), currency, limits, reason: "asked for".into() };
        ledger.set_limits(&command, "first").await.unwrap();
        self.after("its limits were set");
        let (name, account) = ("Reserve fund".to_owned(), reserve.clone());
        let command = DescribeAccount { account, currency, name, metadata, reason: String::new() };
        ledger.describe_account(&command, "first").await.unwrap();
        self.after("it was renamed");
        for (request, status) in [("freeze", Status::Frozen), ("close", Status::Closed), ("reopen", Status::Open)] {
            let command = SetStatus { account: reserve.clone(), currency, status, reason: request.into() };
            ledger.set_status(&command, request).await.unwrap();
            self.after("its status was set");
        }
    }

    async fn books(&self, cash: &AccountId, equity: &AccountId) {
        let (ledger, id) = (self.shop.ledger(), |name: &str| TransferId::new(name).unwrap());
        let transfer = |name: &str| Transfer::simple(id(name), cash.clone(), equity.clone(), usd("10.00"));
        let dated = self.shop.effective_at(start());
        dated.ledger().transfer(&transfer("t-2")).await.unwrap();
        self.after("a transfer was dated back");
        ledger.reverse(&Reverse::new(id("t-3"), id("t-2")).part(usd("4.00")).at_its_date()).await.unwrap();
        self.after("a part of it was reversed at its date");
        ledger.close_period(&ClosePeriod { until: start() }).await.unwrap();
        self.after("a period was closed");
        dated
            .ledger()
            .transfer_chain("two", vec![transfer("t-4"), transfer("t-5").correcting(id("t-2"))])
            .await
            .unwrap();
        self.after("a chain was posted to the first instant that is open");
    }

    async fn a_hosts_own(&self) {
        let kind = Kind::new("note").unwrap();
        let key = |n| Key::of(kind).number(n).build();
        let class = Class { name: "visits".into(), signed: [false; 4], history: false, conserves: [None; 2] };
        let opening = Opening { class: Arc::new(class), unit: Arc::from("visit"), guards: [None; 2] };
        let body = |text: &str| Body::raw("note", 1, format!("{{\"text\":{text:?}}}").into_bytes());
        let add = Add {
            counter: key(2),
            delta: Lanes([1, 0, 0, 0]),
            or_open: Some(Arc::new(opening)),
            force: false,
            effective_at: Some(self.in_minutes(0)),
            label: Label::new("visit"),
        };
        let change = Change::new(ChangeId::new("note/1").unwrap(), Fingerprint::of_bytes("note", b""))
            .insert(key(1), body("hello"), vec![key(7)])
            .add(add)
            .append(Event::new(body("hello")).about(key(1)).with_term(key(8)));
        self.shop.scope().commit(change).await.unwrap();
        self.after("a host wrote its own");
    }
}

/// An order may not use, or give back, what is another's.
#[cfg(feature = "memory")]
#[test]
fn an_order_that_names_the_hold_of_another_cannot_touch_it() {
    let clock = Arc::new(ManualClock::at(start()));
    let store = Arc::new(txn::store::memory::Memory::with(Arc::clone(&clock) as _, txn::store::StoreLimits::default()));
    let gateway = Arc::new(InertGateway::default());
    let shop = Txn::builder(Arc::clone(&store) as _, Arc::clone(&gateway) as _).build().tenant(Tenant::default());
    let day = Day { shop, gateway, clock: &clock, check: &|_| {} };
    pollster::block_on(async {
        day.open().await;
        day.place(1, None, &[("tea", 3, "3.50")]).await;
        day.reserve(1, None).await;
        let thief = PlaceOrder {
            order: order(2),
            customer: None,
            currency: Currency::USD,
            location: LocationId::new("main").unwrap(),
            hold: hold(1),
            payment: payment(2),
            expires_at: None,
            lines: vec![NewLine { sku: Sku::new("tea").unwrap(), quantity: quantity(2), price: usd("0.00") }],
        };
        day.shop.orders().place(&thief).await.unwrap();
        let shipped = day.shop.orders().ship(&Ship { order: order(2), shipment: "all".into(), units: None }).await;
        let unknown = inventory::Rejection::UnknownHold { hold: hold(1) };
        assert!(matches!(shipped, Err(Failure::Rejected(Rejection::Stock(found))) if found == unknown));
        day.shop.orders().cancel(&order(2)).await.unwrap();
        assert_eq!(day.shop.inventory().stock(&item("tea")).await.unwrap().reserved, 3);
        assert!(txn::audit::verify(&*store).await.unwrap().is_clean());
    });
}
