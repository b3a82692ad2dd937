//! The ledger on both backends: holds that have run out do not eat funds, accounts change once however often they are asked to, and sums are never torn.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use txn::{
    change::Status,
    core::{
        id::{AccountId, LedgerHoldId, TransferId},
        ledger::{
            self, Account, AccountChange, AccountTemplate, AccountType, Authorise, Capture, ExtendHold, HoldState,
            Increment, Limits, NormalSide, OpenAccount, Overdraft, Remainder, SetLimits, SetStatus, Transfer,
        },
    },
};

use super::*;

const USD: Currency = Currency::USD;

fn usd(minor: i128) -> Money {
    Money::from_minor(minor, USD)
}

fn account_id(id: &str) -> AccountId {
    AccountId::new(id).unwrap()
}

fn hold_id(id: &str) -> LedgerHoldId {
    LedgerHoldId::new(id).unwrap()
}

fn hold(id: &str, debit: &str, credit: &str, amount: i128) -> Authorise {
    Authorise::new(hold_id(id), account_id(debit), account_id(credit), usd(amount))
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Failure>) -> ledger::Rejection {
    match answer {
        Err(Failure::Rejected(Rejection::Ledger(rejection))) => rejection,
        other => panic!("{other:?}"),
    }
}

fn short(account: &str, missing: i128) -> ledger::Rejection {
    ledger::Rejection::InsufficientFunds { account: account.into(), currency: "USD".into(), missing }
}

impl World {
    async fn open(&self, account: Account) {
        self.shop.ledger().open_account(&OpenAccount { account }).await.unwrap();
    }

    /// A till that owes what it likes, and three wallets.
    async fn bank(&self) {
        self.open(Account::new(account_id("till"), AccountType::Asset, USD).overdraft(Overdraft::Unlimited)).await;
        self.open(Account::new(account_id("wallets"), AccountType::Liability, USD)).await;
        let template = AccountTemplate::new("wallets:{owner}", AccountType::Liability).unwrap();
        let template = template.under("wallets").unwrap().named("Wallet of {owner}").unwrap();
        for owner in ["ann", "bob", "eve"] {
            self.open(template.account(&[("owner", owner)], USD).unwrap()).await;
        }
    }

    async fn transfer(&self, id: &str, debit: &str, credit: &str, amount: i128) -> Result<(), Failure> {
        let id = TransferId::new(id).unwrap();
        let transfer = Transfer::simple(id, account_id(debit), account_id(credit), usd(amount));
        self.shop.ledger().transfer(&transfer).await.map(drop)
    }

    async fn lanes(&self, account: &str) -> [i128; 4] {
        self.shop.ledger().balance(&account_id(account), USD).await.unwrap().unwrap().lanes.0
    }

    async fn hold_state(&self, hold: &str) -> HoldState {
        self.shop.ledger().hold(&hold_id(hold)).await.unwrap().unwrap().state
    }

    async fn set(
        &self,
        account: &str,
        status: Status,
        request: &str,
    ) -> Result<txn::Done<ledger::AccountChanged>, Failure> {
        let command = SetStatus { account: account_id(account), currency: USD, status, reason: String::new() };
        self.shop.ledger().set_status(&command, request).await
    }

    fn in_seconds(&self, seconds: u64) -> Timestamp {
        use txn::store::Clock;
        self.clock.now().after(Duration::from_secs(seconds)).unwrap()
    }
}

/// Cases L14, L11.
#[test]
fn a_hold_that_has_run_out_does_not_eat_funds_before_it_is_swept() {
    on_both(async |world| {
        world.bank().await;
        let ledger = world.shop.ledger();
        world.transfer("fund", "till", "wallets:ann", 1_000).await.unwrap();
        let due = world.in_seconds(60);
        // More than one page of them.
        for n in 0..100 {
            ledger.authorise(&hold(&format!("h{n}"), "wallets:ann", "wallets:bob", 10).until(due)).await.unwrap();
        }
        assert_eq!(refused(world.transfer("early", "wallets:ann", "wallets:eve", 1).await), short("wallets:ann", 1));
        world.clock.advance(Duration::from_nanos(60_000_000_000 - 1));
        assert_eq!(refused(world.transfer("still", "wallets:ann", "wallets:eve", 1).await), short("wallets:ann", 1));
        world.clock.advance(Duration::from_nanos(1));
        world.transfer("now", "wallets:ann", "wallets:eve", 1_000).await.unwrap();
        assert_eq!(world.lanes("wallets:ann").await, [0, 1_000, 0, 1_000]);
        assert_eq!(world.lanes("wallets:bob").await, [0; 4]);
        assert_eq!(world.hold_state("h99").await, HoldState::Expired);
        let capture = Capture { hold: hold_id("h0"), amount: usd(1), remainder: Remainder::Keep };
        let expired = ledger.capture(&capture, "a");
        assert_eq!(refused(expired.await), ledger::Rejection::HoldExpired { hold: hold_id("h0"), at: due });
        assert_eq!(refused(world.transfer("more", "wallets:ann", "wallets:eve", 1).await), short("wallets:ann", 1));
    });
}

/// What is given back on a chain's way is no part of its answer, and nobody takes the id that a hold needs to give its money back.
#[test]
fn a_chain_gives_back_what_stands_in_its_way_and_takes_no_id_of_a_hold() {
    on_both(async |world| {
        world.bank().await;
        let ledger = world.shop.ledger();
        world.transfer("fund", "till", "wallets:ann", 100).await.unwrap();
        let due = world.in_seconds(60);
        ledger.authorise(&hold("h", "wallets:ann", "wallets:bob", 100).until(due)).await.unwrap();
        for id in ["hold:h:2", "hold:other:1", "refund:r"] {
            let reserved = ledger::Rejection::ReservedId { transfer: TransferId::new(id).unwrap() };
            assert_eq!(refused(world.transfer(id, "till", "wallets:eve", 1).await), reserved);
            let leg =
                Transfer::simple(TransferId::new(id).unwrap(), account_id("till"), account_id("wallets:eve"), usd(1));
            assert_eq!(refused(ledger.transfer_chain("taken", vec![leg]).await), reserved);
        }
        world.clock.advance(Duration::from_secs(60));
        let leg = |id: &str, from: &str, to: &str, amount| {
            Transfer::simple(TransferId::new(id).unwrap(), account_id(from), account_id(to), usd(amount))
        };
        let chain = vec![leg("t1", "wallets:ann", "wallets:eve", 50), leg("t2", "wallets:eve", "wallets:bob", 10)];
        let done = ledger.transfer_chain("chain", chain).await.unwrap().value().unwrap();
        assert_eq!(done.transfers, ["t1", "t2"].map(|id| TransferId::new(id).unwrap()));
        assert_eq!(world.hold_state("h").await, HoldState::Expired);
        let report = world.txn.verify().await.unwrap();
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
    });
}

/// Case L14.
#[test]
fn holds_increments_captures_and_room_meet_no_hold_that_has_run_out() {
    on_both(async |world| {
        world.bank().await;
        let ledger = world.shop.ledger();
        let full = Account::new(account_id("full"), AccountType::Liability, USD).balance_max(usd(100));
        world.open(full).await;
        world.transfer("fund", "till", "wallets:ann", 100).await.unwrap();
        let again = async |name: &str, amount: i128| {
            let due = world.in_seconds(60);
            let blocking = hold(&format!("{name}-blocks"), "wallets:ann", "full", amount).until(due);
            ledger.authorise(&blocking).await.unwrap();
            world.clock.advance(Duration::from_secs(60));
        };
        again("hold", 100).await;
        ledger.authorise(&hold("h", "wallets:ann", "wallets:bob", 20).tolerance(usd(30))).await.unwrap();
        again("increment", 80).await;
        ledger.increment(&Increment { hold: hold_id("h"), amount: usd(10) }, "i").await.unwrap();
        again("capture", 70).await;
        let capture = Capture { hold: hold_id("h"), amount: usd(60), remainder: Remainder::Release };
        ledger.capture(&capture, "c").await.unwrap();
        // The room below a greatest balance is given back, too.
        world.transfer("more", "till", "wallets:ann", 100).await.unwrap();
        again("room", 100).await;
        world.transfer("fill", "till", "full", 100).await.unwrap();
        let over = ledger::Rejection::BalanceMaxExceeded { account: "full".into(), currency: "USD".into(), excess: 1 };
        assert_eq!(refused(world.transfer("over", "till", "full", 1).await), over);
        for name in ["hold", "increment", "capture", "room"] {
            assert_eq!(world.hold_state(&format!("{name}-blocks")).await, HoldState::Expired, "{name}");
        }
    });
}

/// Cases L14, L20.
#[test]
fn timers_sweep_holds_once_and_on_frozen_accounts() {
    on_both(async |world| {
        world.bank().await;
        let ledger = world.shop.ledger();
        world.transfer("fund", "till", "wallets:ann", 100).await.unwrap();
        ledger.authorise(&hold("a", "wallets:ann", "wallets:bob", 10).until(world.in_seconds(60))).await.unwrap();
        ledger.authorise(&hold("b", "wallets:ann", "wallets:bob", 20).until(world.in_seconds(60))).await.unwrap();
        ledger.authorise(&hold("c", "wallets:ann", "wallets:bob", 30).until(world.in_seconds(60))).await.unwrap();
        let extend = ExtendHold { hold: hold_id("b"), expires_at: world.in_seconds(120) };
        ledger.extend_hold(&extend).await.unwrap();
        ledger.void(&hold_id("c")).await.unwrap();
        world.set("wallets:ann", Status::Frozen, "freeze").await.unwrap();
        let fired = async || {
            let fired = world.shop.timers().run_due().await.unwrap();
            assert!(fired.failures.is_empty(), "{:?}", fired.failures);
            (fired.effective, fired.settled)
        };
        assert_eq!(fired().await, (0, 0));
        world.clock.advance(Duration::from_secs(60));
        assert_eq!(fired().await, (1, 2), "one ran out, one was extended and one voided");
        assert_eq!(fired().await, (0, 0));
        assert_eq!(world.lanes("wallets:ann").await, [20, 0, 0, 100]);
        world.clock.advance(Duration::from_secs(60));
        assert_eq!(fired().await, (1, 0));
        assert_eq!(world.lanes("wallets:ann").await, [0, 0, 0, 100]);
        ledger.expire(&hold_id("b")).await.unwrap();
    });
}

/// Cases L4, L5.
#[test]
fn what_is_asked_twice_is_done_once_and_another_body_is_refused() {
    on_both(async |world| {
        world.bank().await;
        let ledger = world.shop.ledger();
        world.transfer("fund", "till", "wallets:ann", 100).await.unwrap();
        let placed = hold("h", "wallets:ann", "wallets:bob", 10).tolerance(usd(5)).until(world.in_seconds(60));
        let first = ledger.authorise(&placed).await.unwrap();
        let more = Increment { hold: hold_id("h"), amount: usd(10) };
        let answers = at_once(8, |_| pollster::block_on(ledger.increment(&more, "once")).unwrap());
        assert_eq!(answers.iter().filter(|done| !done.replayed()).count(), 1);
        assert_eq!(ledger.hold(&hold_id("h")).await.unwrap().unwrap().amount, usd(20));
        assert_eq!(ledger.authorise(&placed).await.unwrap().answer(), first.answer(), "the first answer");
        let reused =
            |answer: Result<(), Failure>| assert!(matches!(answer, Err(Failure::KeyReused { .. })), "{answer:?}");
        let other = Increment { hold: hold_id("h"), amount: usd(11) };
        reused(ledger.increment(&other, "once").await.map(drop));
        for other in [
            hold("h", "wallets:ann", "wallets:bob", 11).tolerance(usd(5)).until(world.in_seconds(60)),
            hold("h", "wallets:ann", "wallets:eve", 10).tolerance(usd(5)).until(world.in_seconds(60)),
            hold("h", "wallets:ann", "wallets:bob", 10).tolerance(usd(6)).until(world.in_seconds(60)),
            hold("h", "wallets:ann", "wallets:bob", 10).tolerance(usd(5)).until(world.in_seconds(61)),
        ] {
            reused(ledger.authorise(&other).await.map(drop));
        }
        assert!(!world.set("wallets:eve", Status::Frozen, "a").await.unwrap().replayed());
        assert!(world.set("wallets:eve", Status::Frozen, "a").await.unwrap().replayed());
        let unchanged = refused(world.set("wallets:eve", Status::Frozen, "b").await);
        assert!(matches!(unchanged, ledger::Rejection::StatusUnchanged { status: Status::Frozen, .. }));
        reused(world.set("wallets:eve", Status::Open, "a").await.map(drop));
    });
}

/// Case L10.
#[test]
fn the_last_unit_is_spent_once() {
    on_both(async |world| {
        world.bank().await;
        for round in 0..20 {
            world.transfer(&format!("fund-{round}"), "till", "wallets:ann", 1).await.unwrap();
            let answers = at_once(8, |caller| {
                pollster::block_on(async {
                    let id = format!("{round}-{caller}");
                    if caller % 2 == 0 {
                        world.transfer(&id, "wallets:ann", "wallets:bob", 1).await
                    } else {
                        let placed = hold(&id, "wallets:ann", "wallets:bob", 1);
                        world.shop.ledger().authorise(&placed).await.map(drop)
                    }
                })
            });
            assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
            for answer in answers.into_iter().filter(Result::is_err) {
                assert_eq!(refused(answer), short("wallets:ann", 1));
            }
        }
    });
}

/// Case L24.
#[test]
fn sums_are_never_torn_while_money_moves_and_accounts_are_opened() {
    on_both(async |world| {
        world.bank().await;
        world.transfer("fund", "till", "wallets:ann", 1_000).await.unwrap();
        let (ledger, done) = (world.shop.ledger(), AtomicU64::new(0));
        thread::scope(|scope| {
            for mover in 0..2 {
                let done = &done;
                scope.spawn(move || {
                    pollster::block_on(async {
                        for n in 0..40 {
                            let opened = format!("wallets:{mover}-{n}");
                            let account = Account::new(account_id(&opened), AccountType::Liability, USD);
                            world.open(account.under(account_id("wallets:bob"))).await;
                            let from = if n % 2 == 0 { "wallets:ann" } else { "wallets:bob" };
                            for (step, to) in [(0, "wallets:bob"), (1, &*opened)] {
                                if from != to {
                                    drop(world.transfer(&format!("{mover}-{n}-{step}"), from, to, 3).await);
                                }
                            }
                        }
                    });
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
            let mut looks = 0;
            while done.load(Ordering::SeqCst) < 2 || looks == 0 {
                let rolled_up = pollster::block_on(ledger.rolled_up(&account_id("wallets"), USD));
                let rolled_up = match rolled_up {
                    Err(Failure::Conflict { .. }) => continue,
                    other => other.unwrap().unwrap(),
                };
                assert_eq!(rolled_up.total.posted(NormalSide::Credit), usd(1_000));
                let listed = pollster::block_on(ledger.balances("")).unwrap();
                let total = listed.iter().map(|found| found.balance.posted(NormalSide::Credit).minor()).sum::<i128>();
                assert_eq!(total, 0, "what the till owes is in the wallets");
                looks += 1;
            }
        });
    });
}

#[test]
fn balances_are_found_by_prefix_and_below_an_account() {
    on_both(async |world| {
        world.bank().await;
        let ledger = world.shop.ledger();
        world.transfer("fund", "till", "wallets:ann", 7).await.unwrap();
        let euro = Account::new(account_id("wallets:ann"), AccountType::Liability, Currency::EUR);
        world.open(euro).await;
        world.open(Account::new(account_id("walletsx"), AccountType::Liability, USD)).await;
        let ids = async |prefix: &str| {
            let found = ledger.balances(prefix).await.unwrap();
            found
                .into_iter()
                .map(|found| format!("{} {}", found.account, found.balance.currency.code()))
                .collect::<Vec<_>>()
        };
        let below = ["wallets:ann EUR", "wallets:ann USD", "wallets:bob USD", "wallets:eve USD"];
        assert_eq!(ids("wallets:").await, below);
        assert_eq!(ids("wallets").await.len(), 6);
        assert_eq!(ids("").await.len(), 7);
        assert_eq!(ids("nobody").await, [""; 0]);
        let rolled_up = ledger.rolled_up(&account_id("wallets"), USD).await.unwrap().unwrap();
        assert_eq!((rolled_up.accounts.len(), rolled_up.total.lanes.0), (4, [0, 0, 0, 7]));
        assert_eq!(ledger.rolled_up(&account_id("wallets"), Currency::EUR).await.unwrap(), None);
        let leaf = ledger.rolled_up(&account_id("wallets:ann"), USD).await.unwrap().unwrap();
        assert_eq!(leaf.accounts.len(), 1);
    });
}

#[test]
fn more_accounts_than_the_limit_are_refused_and_not_cut_off() {
    on_both(async |world| {
        world.bank().await;
        let ledger = world.shop.ledger();
        // With the parent and three wallets of the bank.
        for n in 4..txn::BALANCES_MAX {
            let account = Account::new(account_id(&format!("wallets:n{n}")), AccountType::Liability, USD);
            world.open(account.under(account_id("wallets"))).await;
        }
        assert_eq!(ledger.balances("wallets").await.unwrap().len(), txn::BALANCES_MAX);
        let whole = ledger.rolled_up(&account_id("wallets"), USD).await.unwrap().unwrap();
        assert_eq!(whole.accounts.len(), txn::BALANCES_MAX);
        world
            .open(Account::new(account_id("wallets:last"), AccountType::Liability, USD).under(account_id("wallets")))
            .await;
        let many = ledger::Rejection::TooManyAccounts { max: txn::BALANCES_MAX };
        assert_eq!(refused(ledger.balances("wallets").await), many);
        assert_eq!(refused(ledger.rolled_up(&account_id("wallets"), USD).await), many);
    });
}

/// Case L25.
#[test]
fn an_account_is_read_as_it_was_at_any_time() {
    on_both(async |world| {
        world.bank().await;
        let (ledger, ann) = (world.shop.ledger(), account_id("wallets:ann"));
        let limit = async |n: i128| {
            world.clock.advance(Duration::from_secs(1));
            let limits = Limits { overdraft: Overdraft::UpTo(usd(n)), balance_max: None };
            let command = SetLimits { account: ann.clone(), currency: USD, limits, reason: format!("{n}") };
            ledger.set_limits(&command, &n.to_string()).await.unwrap().recorded_at()
        };
        let before = world.in_seconds(0);
        let mut times = Vec::new();
        // More than one page of history.
        for n in 1..=300 {
            times.push((limit(n).await, n));
        }
        for (at, n) in times.iter().step_by(37).chain(times.last()) {
            let state = ledger.account_as_of(&ann, USD, *at).await.unwrap().unwrap();
            assert_eq!(state.account.limits.overdraft, Overdraft::UpTo(usd(*n)));
            let just_before = Timestamp::from_nanos(at.as_nanos() - 1);
            let state = ledger.account_as_of(&ann, USD, just_before).await.unwrap().unwrap();
            let earlier = if *n == 1 { Overdraft::None } else { Overdraft::UpTo(usd(n - 1)) };
            assert_eq!(state.account.limits.overdraft, earlier);
        }
        let never = Timestamp::from_nanos(before.as_nanos() - 1);
        assert_eq!(ledger.account_as_of(&ann, USD, never).await.unwrap(), None);
        assert_eq!(ledger.account_as_of(&account_id("nobody"), USD, before).await.unwrap(), None);
        let history = ledger.account_history(&ann, USD, None).await.unwrap();
        assert!(matches!(history.changes[0].1.what, AccountChange::Opened(_)));
        assert!(history.next.is_some());
        let now = ledger.account(&ann, USD).await.unwrap().unwrap();
        assert_eq!((now.account.limits.overdraft, now.status), (Overdraft::UpTo(usd(300)), Status::Open));
    });
}

/// Random commands, the same on both backends: they answer alike, and after every few steps the audit finds nothing.
///
/// Cases L1, L24.
#[test]
fn both_backends_answer_random_commands_alike_and_are_sound() {
    let answers: RefCell<BTreeMap<u64, Vec<String>>> = RefCell::default();
    for seed in 0..6 {
        on_both(async |world| {
            let told = walk(world, seed).await;
            let mut answers = answers.borrow_mut();
            let first = answers.entry(seed).or_insert_with(|| told.clone());
            assert_eq!(*first, told, "seed {seed}");
        });
    }
    let answers = answers.into_inner();
    let all: Vec<&String> = answers.values().flatten().collect();
    let done = all.iter().filter(|answer| answer.starts_with("done")).count();
    assert!(done * 4 > all.len() && done * 4 < all.len() * 3, "{done} of {}", all.len());
}

async fn walk(world: &World, seed: u64) -> Vec<String> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut roll = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    world.bank().await;
    let ledger = world.shop.ledger();
    world.transfer("fund", "till", "wallets:ann", 300).await.unwrap();
    let names = ["till", "wallets:ann", "wallets:bob", "wallets:eve"];
    let mut told = Vec::new();
    for step in 0..120u32 {
        let place = roll(4);
        let name = |place: u64| names[usize::try_from(place % 4).unwrap()];
        // Mostly between two accounts, and about one of the last holds.
        let (debit, credit) = (name(place), name(place + 1 + roll(20) % 4));
        let recent = u64::from(step).saturating_sub(1 + roll(8));
        let (amount, held) = (i128::from(roll(60)), hold_id(&format!("h{recent}")));
        let id = format!("s{step}");
        let answer: Result<(), Failure> = match roll(24) {
            0..=4 => world.transfer(&id, debit, credit, amount).await,
            5..=14 => {
                let placed = hold(&format!("h{step}"), debit, credit, amount).tolerance(usd(10));
                let until = world.in_seconds(roll(20) + 1);
                ledger.authorise(&placed.until(until)).await.map(drop)
            }
            15..=17 => {
                let remainder = if roll(2) == 0 { Remainder::Keep } else { Remainder::Release };
                ledger.capture(&Capture { hold: held, amount: usd(amount / 2), remainder }, &id).await.map(drop)
            }
            18 => ledger.increment(&Increment { hold: held, amount: usd(amount / 4) }, &id).await.map(drop),
            19 => {
                let extend = ExtendHold { hold: held, expires_at: world.in_seconds(roll(60)) };
                ledger.extend_hold(&extend).await.map(drop)
            }
            20 => ledger.void(&held).await.map(drop),
            21..=22 => {
                let status =
                    [Status::Open, Status::Open, Status::Frozen, Status::Closed][usize::try_from(roll(4)).unwrap()];
                world.set(debit, status, &id).await.map(drop)
            }
            _ => {
                let limits = Limits { overdraft: Overdraft::UpTo(usd(amount)), balance_max: Some(usd(amount * 10)) };
                let command = SetLimits { account: account_id(credit), currency: USD, limits, reason: id.clone() };
                ledger.set_limits(&command, &id).await.map(drop)
            }
        };
        told.push(match answer {
            Ok(()) => "done".to_owned(),
            Err(Failure::Rejected(rejection)) => rejection.to_string(),
            Err(other) => panic!("{other}"),
        });
        if roll(3) == 0 {
            world.clock.advance(Duration::from_secs(roll(8)));
        }
        if roll(6) == 0 {
            world.shop.timers().run_due().await.unwrap();
        }
        if step % 20 == 19 {
            world.is_clean().await;
        }
    }
    let lanes: Vec<[i128; 4]> = ledger.balances("").await.unwrap().iter().map(|found| found.balance.lanes.0).collect();
    told.push(format!("done: {lanes:?}"));
    told
}
