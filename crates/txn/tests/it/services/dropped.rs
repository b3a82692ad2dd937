//! Every public function of the services that waits is dropped after each number of polls, until one ends it; then it is called again to its end.

use std::{collections::BTreeSet, fs, path::Path, task::Wake, thread};

use txn::{
    AsOf, Axis, StatementOf, audit,
    change::{Link, Status},
    core::{
        aftersale::{Receipt, ReceivedLine, RequestReturn},
        id::{AccountId, LedgerHoldId, ReturnId, TransferId},
        inventory::Disposition,
        ledger::{
            Account, AccountType, Authorise, Capture, ClosePeriod, DescribeAccount, ExtendHold, Increment, Limits,
            Metadata, OpenAccount, Remainder, Reverse, SetLimits, SetStatus, Transfer, TransferUpTo,
        },
        order::LineQuantity,
        payment::{Operation, OperationResult},
    },
};

use super::*;

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a call so many times, each when it was woken, and drops it; whether it had ended.
fn ends_within(polls: usize, call: impl Future) -> bool {
    let mut call = pin!(call);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    for _ in 0..polls {
        if call.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
        thread::park_timeout(Duration::from_millis(100));
    }
    false
}

/// What was dropped in a round.
struct Round {
    polls: usize,
    dropped: BTreeSet<&'static str>,
    have_all_ended: bool,
}

macro_rules! call {
    ($round:ident, $name:literal, $call:expr) => {{
        $round.dropped.insert($name);
        $round.have_all_ended &= ends_within($round.polls, $call);
        $call.await.unwrap_or_else(|error| panic!("{} after {} polls: {error}", $name, $round.polls))
    }};
}

/// As `call!`, for what asks a gateway: what the dropped call has handed over may still come, so that it is called until the payment is there.
macro_rules! pay {
    ($round:ident, $name:literal, $shop:ident, $payment:expr, $step:ident, $from:ident, $to:ident) => {{
        $round.dropped.insert($name);
        $round.have_all_ended &= ends_within($round.polls, $shop.payments().$step($payment));
        loop {
            match $shop.payments().get($payment).await.unwrap().unwrap().state {
                PaymentState::$to => break,
                PaymentState::$from => drop($shop.payments().$step($payment).await),
                _ => drop(call!($round, "Payments::resolve", $shop.payments().resolve($payment))),
            }
        }
    }};
}

mod messages;
mod ongoing;

async fn ledger(world: &World, round: &mut Round) {
    let (shop, n) = (&world.shop, round.polls);
    let account = |name: &str| AccountId::new(format!("{name}-{n}")).unwrap();
    let (cash, equity) = (account("cash"), account("equity"));
    for (id, account_type) in [(&cash, AccountType::Asset), (&equity, AccountType::Equity)] {
        let account = Account::new(id.clone(), account_type, Currency::USD);
        let command = OpenAccount { account };
        call!(round, "Ledger::open_account", shop.ledger().open_account(&command));
    }
    let id = TransferId::new(format!("t-{n}")).unwrap();
    let transfer = Transfer::simple(id, cash.clone(), equity.clone(), usd("100.00"));
    call!(round, "Ledger::transfer", shop.ledger().transfer(&transfer));
    postings(world, round, &transfer).await;
    for name in ["void", "expire"] {
        let id = LedgerHoldId::new(format!("{name}-{n}")).unwrap();
        let hold = Authorise::new(id, equity.clone(), cash.clone(), usd("30.00"));
        let hold = Authorise {
            expires_at: (name == "expire").then(|| world.now().after(Duration::from_secs(60)).unwrap()),
            ..hold
        };
        call!(round, "Ledger::authorise", shop.ledger().authorise(&hold));
        let increment = Increment { hold: hold.hold.clone(), amount: usd("1.00") };
        call!(round, "Ledger::increment", shop.ledger().increment(&increment, "first"));
        if let Some(until) = hold.expires_at {
            let extend =
                ExtendHold { hold: hold.hold.clone(), expires_at: until.after(Duration::from_secs(1)).unwrap() };
            call!(round, "Ledger::extend_hold", shop.ledger().extend_hold(&extend));
        }
        let capture = Capture { hold: hold.hold.clone(), amount: usd("10.00"), remainder: Remainder::Keep };
        call!(round, "Ledger::capture", shop.ledger().capture(&capture, "first"));
        if name == "void" {
            call!(round, "Ledger::void", shop.ledger().void(&hold.hold));
        } else {
            world.clock.advance(Duration::from_secs(90));
            call!(round, "Ledger::expire", shop.ledger().expire(&hold.hold));
        }
        let found = call!(round, "Ledger::hold", shop.ledger().hold(&hold.hold)).unwrap();
        assert_eq!(found.captured, usd("10.00"));
    }
    let balance = call!(round, "Ledger::balance", shop.ledger().balance(&cash, Currency::USD)).unwrap();
    let again = shop.ledger().balance(&cash, Currency::USD).await.unwrap().unwrap();
    assert_eq!(format!("{balance:?}"), format!("{again:?}"));
    chart(world, round, &equity).await;
}

async fn chart(world: &World, round: &mut Round, equity: &AccountId) {
    let (ledger, currency) = (world.shop.ledger(), Currency::USD);
    let (account, reason) = (AccountId::new(format!("{equity}:part")).unwrap(), String::new());
    let part = Account::new(account.clone(), AccountType::Equity, currency).under(equity.clone());
    let command = OpenAccount { account: part };
    call!(round, "Ledger::open_account", ledger.open_account(&command));
    let command = SetLimits { account: account.clone(), currency, limits: Limits::NONE, reason: reason.clone() };
    call!(round, "Ledger::set_limits", ledger.set_limits(&command, "first"));
    let (name, metadata) = ("Part".into(), Metadata::default());
    let command = DescribeAccount { account: account.clone(), currency, name, metadata, reason: reason.clone() };
    call!(round, "Ledger::describe_account", ledger.describe_account(&command, "first"));
    let command = SetStatus { account: account.clone(), currency, status: Status::Closed, reason };
    call!(round, "Ledger::set_status", ledger.set_status(&command, "first"));
    let now = world.now();
    let standing = call!(round, "Ledger::account", ledger.account(&account, currency)).unwrap();
    let history = call!(round, "Ledger::account_history", ledger.account_history(&account, currency, None));
    assert_eq!(history.changes.len(), 4, "each once");
    let state = call!(round, "Ledger::account_as_of", ledger.account_as_of(&account, currency, now)).unwrap();
    assert_eq!((&state.account, state.status), (&standing.account, standing.status));
    let rolled_up = call!(round, "Ledger::rolled_up", ledger.rolled_up(equity, currency)).unwrap();
    let balances = call!(round, "Ledger::balances", ledger.balances(equity));
    assert_eq!((rolled_up.accounts.len(), rolled_up.accounts), (2, balances));
}

async fn postings(world: &World, round: &mut Round, first: &Transfer) {
    let (shop, n) = (&world.shop, round.polls);
    let id = |name: &str| TransferId::new(format!("{name}-{n}")).unwrap();
    let [debit, credit] = &first.postings[..] else { panic!("two legs") };
    let (cash, equity) = (&debit.account, &credit.account);
    let of = |name: &str| Transfer::simple(id(name), cash.clone(), equity.clone(), usd("1.00"));
    round.dropped.insert("Ledger::transfer_many");
    let batch = || vec![of("many-1"), of("many-2").correcting(first.id.clone())];
    round.have_all_ended &= ends_within(round.polls, shop.ledger().transfer_many(batch()));
    shop.ledger().transfer_many(batch()).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let chain = || vec![of("chain-1"), of("chain-2")];
    call!(round, "Ledger::transfer_chain", shop.ledger().transfer_chain(&format!("chain-{n}"), chain()));
    let up_to = TransferUpTo {
        id: id("up-to"),
        debit: cash.clone(),
        credit: equity.clone(),
        max: usd("1.00"),
        reference: String::new(),
    };
    call!(round, "Ledger::transfer_up_to", shop.ledger().transfer_up_to(&up_to));
    let undo = Reverse::new(id("undo"), id("many-1"));
    call!(round, "Ledger::reverse", shop.ledger().reverse(&undo));
    call!(round, "Ledger::transferred", shop.ledger().transferred(&undo.id)).unwrap();
    assert_eq!(call!(round, "Ledger::reversals", shop.ledger().reversals(&undo.transfer, None, 9)).0.len(), 1);
    assert_eq!(call!(round, "Ledger::corrections", shop.ledger().corrections(&first.id, None, 9)).0.len(), 1);
    let until = Timestamp::from_nanos(i64::try_from(n).unwrap());
    call!(round, "Ledger::close_period", shop.ledger().close_period(&ClosePeriod { until }));
    assert_eq!(call!(round, "Ledger::closed_until", shop.ledger().closed_until()), Some(until));
    let as_of = AsOf::NOW.effective(world.now());
    let balance = call!(round, "Ledger::balance_as_of", shop.ledger().balance_as_of(cash, Currency::USD, as_of));
    let of = StatementOf {
        account: cash.clone(),
        currency: Currency::USD,
        from: Timestamp::MIN,
        until: Timestamp::MAX,
        axis: Axis::Effective,
        known: None,
    };
    let statement = call!(round, "Ledger::statement", shop.ledger().statement(&of, None, 100));
    assert_eq!(statement.closing, balance);
}

async fn stock(world: &World, round: &mut Round) {
    let (inventory, n) = (world.shop.inventory(), round.polls);
    let lines = || vec![Demand { item: item("tea"), quantity: Quantity::new(3).unwrap() }];
    let receive = Receive { id: MovementId::new(format!("in-{n}")).unwrap(), lines: lines() };
    let before = call!(round, "Inventory::stock", inventory.stock(&item("tea"))).on_hand;
    call!(round, "Inventory::receive", inventory.receive(&receive));
    for name in ["commit", "release"] {
        let hold = HoldId::new(format!("{name}-{n}")).unwrap();
        let until = |seconds| world.now().after(Duration::from_secs(seconds)).ok();
        let reserve = Reserve { hold: hold.clone(), order: None, lines: lines(), expires_at: until(600) };
        call!(round, "Inventory::reserve", inventory.reserve(&reserve));
        let extend = Extend { hold: hold.clone(), expires_at: until(1_200).unwrap() };
        call!(round, "Inventory::extend", inventory.extend(&extend));
        if name == "commit" {
            call!(round, "Inventory::commit", inventory.commit(&hold));
        } else {
            call!(round, "Inventory::release", inventory.release(&hold));
        }
        let found = call!(round, "Inventory::hold", inventory.hold(&hold)).unwrap();
        assert_eq!(found.state == HoldState::Released, name == "release", "{:?}", found.state);
    }
    assert_eq!(inventory.stock(&item("tea")).await.unwrap().on_hand, before + 3, "received once");
}

async fn orders(world: &World, round: &mut Round) {
    let (shop, n) = (&world.shop, round.polls);
    let bought = place(&format!("bought-{n}"), 2);
    call!(round, "Orders::place", shop.orders().place(&bought));
    call!(round, "Orders::reserve", shop.orders().reserve(&bought.order, None));
    pay!(round, "Payments::authorise", shop, &bought.payment, authorise, Created, Authorised);
    call!(round, "Payments::resolve", shop.payments().resolve(&bought.payment));
    pay!(round, "Payments::capture", shop, &bought.payment, capture, Authorised, Captured);
    let ship = Ship { order: bought.order.clone(), shipment: "1".into(), units: None };
    call!(round, "Orders::ship", shop.orders().ship(&ship));
    call!(round, "Orders::deliver", shop.orders().deliver(&bought.order, "1", None));

    let id = ReturnId::new(format!("back-{n}")).unwrap();
    let one = Quantity::new(1).unwrap();
    let request = RequestReturn { id: id.clone(), lines: vec![LineQuantity { line: 0, quantity: one }] };
    call!(round, "Returns::request", shop.returns().request(&bought.order, &request));
    let refund = |name: &str| RefundId::new(format!("{name}-{n}")).unwrap();
    let lines = vec![ReceivedLine { line: 0, quantity: one, disposition: Disposition::Restock }];
    let receipt = Receipt { id: id.clone(), refund: refund("returned"), lines };
    call!(round, "Returns::receive", shop.returns().receive(&bought.order, &receipt));
    assert!(call!(round, "Returns::get", shop.returns().get(&id)).is_some());
    round.dropped.insert("Payments::refund");
    let (id, amount) = (refund("kind"), usd("1.00"));
    round.have_all_ended &= ends_within(round.polls, shop.payments().refund(&bought.payment, &id, amount));
    while shop.payments().refund(&bought.payment, &id, amount).await.map(|refund| refund.state).ok()
        != Some(RefundState::Done)
    {}
    assert_eq!(call!(round, "Payments::get_refund", shop.payments().get_refund(&id)).unwrap().amount, amount);

    let left = place(&format!("left-{n}"), 1);
    shop.orders().place(&left).await.unwrap();
    call!(round, "Orders::cancel", shop.orders().cancel(&left.order));
    let voided = place(&format!("voided-{n}"), 1);
    shop.orders().place(&voided).await.unwrap();
    shop.payments().authorise(&voided.payment).await.unwrap();
    pay!(round, "Payments::void", shop, &voided.payment, void, Authorised, Voided);
    let elsewhere = place(&format!("elsewhere-{n}"), 1);
    shop.orders().place(&elsewhere).await.unwrap();
    let result = || OperationResult::Done(usd("10.00"));
    call!(
        round,
        "Payments::record",
        shop.payments().record(&elsewhere.payment, Operation::Authorise, result(), "terminal")
    );
    let state = call!(round, "Payments::get", shop.payments().get(&elsewhere.payment)).unwrap().state;
    assert_eq!(state, PaymentState::Authorised);
    let found = call!(round, "Orders::get", shop.orders().get(&bought.order)).unwrap();
    assert_eq!(found.lifecycle, Lifecycle::Completed);
}

impl World {
    fn now(&self) -> Timestamp {
        txn::store::Clock::now(&*self.clock)
    }
}

/// Case F38.
#[test]
fn every_service_may_be_dropped_after_any_poll_and_called_again() {
    for world in worlds() {
        let mut dropped = BTreeSet::new();
        pollster::block_on(async {
            let shop = &world.shop;
            let mut before = 0;
            world.stocked(10_000).await;
            for polls in 0.. {
                let mut own = Round { polls, dropped: BTreeSet::new(), have_all_ended: true };
                let round = &mut own;
                call!(round, "Ledger::open_payment_accounts", shop.ledger().open_payment_accounts(Currency::USD));
                ledger(&world, round).await;
                stock(&world, round).await;
                orders(&world, round).await;
                ongoing::processes(&world, round).await;
                messages::messages(&world, round).await;
                #[cfg(feature = "cron")]
                ongoing::schedules(&world, round).await;
                call!(round, "Timers::run_due", shop.timers().run_due());
                let store = world.txn.store();
                let reports = [
                    call!(round, "Txn::verify", world.txn.verify()),
                    call!(round, "Txn::verify_since", world.txn.verify_since(Link::START)),
                    call!(round, "audit::verify", audit::verify(store)),
                    call!(round, "audit::verify_since", audit::verify_since(store, Link::START)),
                ];
                for report in reports {
                    assert!(report.is_clean(), "{polls} polls: {:#?}", report.violations);
                }
                // Two authorisations, a capture, a void and a refund, whether they were dropped or not.
                let executed = world.gateway.executed();
                assert_eq!(executed - before, 5, "{polls} polls: each was asked for once");
                before = executed;
                dropped.append(&mut own.dropped);
                if own.have_all_ended {
                    println!("{} functions, dropped after up to {polls} polls", dropped.len());
                    break;
                }
            }
        });
        assert_eq!(dropped, public(), "what is dropped here, and the public functions that wait");
    }
}

/// The public functions that wait, in the source: methods by their type, others by their module.
fn public() -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // What is not built cannot be called.
                if cfg!(feature = "cron") || !path.ends_with("schedules") {
                    folders.push(path);
                }
                continue;
            }
            let stem = if path.ends_with("mod.rs") { folder.file_name() } else { path.file_stem() };
            let module = stem.unwrap().to_str().unwrap().to_owned();
            let mut of = module.clone();
            for line in fs::read_to_string(&path).unwrap().lines() {
                if let Some(rest) = line.strip_prefix("impl ") {
                    of = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
                } else if line == "}" {
                    of.clone_from(&module);
                }
                if let Some(function) = line.trim_start().strip_prefix("pub async fn ") {
                    let name = format!("{of}::{}", function.split(['(', '<']).next().unwrap());
                    found.insert(&*name.leak());
                }
            }
        }
    }
    found
}
