//! Accounts: their limits on both sides, every status under every event, their places in the chart, and their history.

use txn_change::{Change, Counter, Expect, Refusal, Status};
use txn_core::{
    Context, Versioned,
    id::{LedgerHoldId, TransferId},
    ledger::{
        self, ACCOUNT_LEVELS_MAX, ACCOUNT_NAME_BYTES_MAX, Account, AccountChange, AccountChanged, AccountState,
        AccountType, Authorise, DescribeAccount, Limits, Metadata, Overdraft, REASON_BYTES_MAX, Rejection, SetLimits,
        SetStatus, Transfer, account_key, describe_account, expire, hold_key, record_key, set_limits, set_status, void,
    },
    money::{Currency, Money},
};

use crate::{
    shop::{account_id, usd},
    world::{No, Outcome, World, seconds},
};

fn asset(id: &str) -> Account {
    Account::new(account_id(id), AccountType::Asset, Currency::USD)
}

fn liability(id: &str) -> Account {
    Account::new(account_id(id), AccountType::Liability, Currency::USD)
}

impl World {
    fn on_account(
        &mut self,
        id: &str,
        decide: impl FnOnce(&Context, &Versioned<Account>, &Counter) -> Result<Change, Rejection>,
    ) -> Outcome {
        let context = self.context();
        let account = self.read(&record_key(&account_id(id), Currency::USD));
        let counter = self.view.counters[&account_key(&account_id(id), Currency::USD)].clone();
        self.put(decide(&context, &account, &counter))
    }

    pub(crate) fn set_status(&mut self, id: &str, status: Status) -> Outcome {
        let command = SetStatus { account: account_id(id), currency: Currency::USD, status, reason: "because".into() };
        self.on_account(id, |context, account, counter| set_status(context, account, counter, &command))
    }

    pub(crate) fn set_limits(&mut self, id: &str, limits: Limits) -> Outcome {
        let command = SetLimits { account: account_id(id), currency: Currency::USD, limits, reason: String::new() };
        self.on_account(id, |context, account, counter| set_limits(context, account, counter, &command))
    }

    fn status(&self, id: &str) -> Status {
        self.view.counters[&account_key(&account_id(id), Currency::USD)].status
    }

    pub(crate) fn move_money(&mut self, id: &str, debit: &str, credit: &str, amount: i128) -> Outcome {
        let context = self.context();
        let id = TransferId::new(id).unwrap();
        let transfer = Transfer::simple(id, account_id(debit), account_id(credit), usd(amount));
        self.put(ledger::transfer(&context, &transfer))
    }

    fn hold_money(&mut self, id: &str, debit: &str, credit: &str, amount: i128) -> Outcome {
        let context = self.context();
        let id = LedgerHoldId::new(id).unwrap();
        let command = Authorise::new(id, account_id(debit), account_id(credit), usd(amount));
        self.put(ledger::authorise(&context, None, &command.until(seconds(1_100))))
    }
}

/// `a` may hold what it likes, `b` owes nobody anything.
fn bank() -> World {
    let mut world = World::default();
    world.now = seconds(1_000);
    world.open_account(&asset("a").overdraft(Overdraft::Unlimited)).unwrap();
    world.open_account(&liability("b")).unwrap();
    world
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Becomes,
    Unchanged,
    NotAllowed,
    Pending,
    Balance,
}

/// Cases L20, L34.
#[test]
fn every_status_under_every_event() {
    use Status::{Closed, Frozen, Open};
    use Then::{Balance, Becomes, NotAllowed, Pending, Unchanged};
    // What stands on the account: nothing, a balance, or something pending.
    let table = [
        (Open, Open, [Unchanged; 3]),
        (Open, Frozen, [Becomes; 3]),
        (Open, Closed, [Becomes, Balance, Pending]),
        (Frozen, Open, [Becomes; 3]),
        (Frozen, Frozen, [Unchanged; 3]),
        (Frozen, Closed, [Becomes, Balance, Pending]),
        (Closed, Open, [Becomes, Becomes, Becomes]),
        (Closed, Frozen, [NotAllowed; 3]),
        (Closed, Closed, [Unchanged; 3]),
    ];
    for (from, to, expected) in table {
        for (stands, then) in ["nothing", "a balance", "a hold"].into_iter().zip(expected) {
            let mut world = bank();
            match stands {
                // A closed account is empty.
                _ if from == Closed => {}
                "a balance" => world.move_money("t", "a", "b", 5).unwrap(),
                "a hold" => world.hold_money("h", "a", "b", 5).unwrap(),
                _ => {}
            }
            if from != Open {
                world.set_status("b", from).unwrap();
            }
            let seen = world.view.clone();
            let answer = world.set_status("b", to);
            let found = match answer {
                Ok(()) => Becomes,
                Err(No::Ledger(Rejection::StatusUnchanged { status, .. })) if status == from => Unchanged,
                Err(No::Ledger(Rejection::StatusNotAllowed { from: a, to: b, .. })) if (a, b) == (from, to) => {
                    NotAllowed
                }
                Err(No::Ledger(Rejection::HasPending { debits, credits, .. })) => {
                    assert_eq!((debits, credits), (usd(0), usd(5)));
                    Pending
                }
                Err(No::Ledger(Rejection::NotZero { balance, .. })) => {
                    assert_eq!(balance, usd(5));
                    Balance
                }
                other => panic!("{from} to {to} over {stands}: {other:?}"),
            };
            assert_eq!(found, then, "{from} to {to} over {stands}");
            assert_eq!(world.status("b"), if then == Becomes { to } else { from });
            if then != Becomes {
                assert_eq!(world.view, seen, "nothing has changed");
            }
        }
    }
}

/// Case L20.
#[test]
fn a_frozen_account_gives_holds_back_and_takes_nothing_else() {
    let mut world = bank();
    world.move_money("fund", "a", "b", 100).unwrap();
    world.open_account(&liability("c")).unwrap();
    for hold in ["captured", "voided", "expired"] {
        world.hold_money(hold, "b", "c", 10).unwrap();
    }
    world.set_status("b", Status::Frozen).unwrap();
    world.set_status("c", Status::Frozen).unwrap();
    let not_open = |account: &str| Err(No::Ledger(Rejection::AccountNotOpen { account: account.into() }));
    assert_eq!(world.move_money("in", "a", "b", 1), not_open("b"));
    assert_eq!(world.move_money("out", "b", "a", 1), not_open("b"));
    assert_eq!(world.hold_money("more", "b", "a", 1), not_open("b"));
    let key = |hold: &str| hold_key(&LedgerHoldId::new(hold).unwrap());
    let capture = ledger::Capture {
        hold: LedgerHoldId::new("captured").unwrap(),
        amount: usd(10),
        remainder: ledger::Remainder::Release,
    };
    let (context, hold) = (world.context(), world.read(&key("captured")));
    assert_eq!(world.put(ledger::capture(&context, &hold, &capture)), not_open("b"));
    let (context, hold) = (world.context(), world.read(&key("voided")));
    world.put(void(&context, &hold)).unwrap();
    world.now = seconds(1_100);
    let (context, hold) = (world.context(), world.read(&key("expired")));
    world.put(expire(&context, &hold)).unwrap();
    assert_eq!(world.balance(&account_id("b")), [10, 0, 0, 100]);
    assert!(world.entries.iter().all(|entry| !entry.short), "what gives back is short of nothing");
}

/// Cases L10, L11.
#[test]
fn both_limits_hold_to_the_unit_and_pending_counts_on_its_side() {
    for (account, away) in [(asset("x"), "a"), (liability("x"), "a")] {
        let grows_by_debit = account.normal == ledger::NormalSide::Debit;
        let mut world = World::default();
        world.open_account(&asset("a").overdraft(Overdraft::Unlimited)).unwrap();
        let limited = account.overdraft(Overdraft::UpTo(usd(50))).balance_max(usd(100));
        world.open_account(&limited).unwrap();
        let (plus, minus) = if grows_by_debit { (("x", away), (away, "x")) } else { ((away, "x"), ("x", away)) };
        let (account, currency): (String, String) = ("x".into(), "USD".into());
        let short = |missing| {
            let (account, currency) = (account.clone(), currency.clone());
            Err(No::Ledger(Rejection::InsufficientFunds { account, currency, missing }))
        };
        let over = |excess| {
            let (account, currency) = (account.clone(), currency.clone());
            Err(No::Ledger(Rejection::BalanceMaxExceeded { account, currency, excess }))
        };
        assert_eq!(world.move_money("t1", plus.0, plus.1, 101), over(1));
        world.hold_money("h1", plus.0, plus.1, 60).unwrap();
        assert_eq!(world.move_money("t2", plus.0, plus.1, 41), over(1), "what is pending counts against the room");
        assert_eq!(world.move_money("t3", minus.0, minus.1, 51), short(1), "and cannot be spent");
        world.hold_money("h2", minus.0, minus.1, 30).unwrap();
        assert_eq!(world.move_money("t4", minus.0, minus.1, 21), short(1), "what is promised away is gone");
        world.move_money("t5", minus.0, minus.1, 20).unwrap();
        // The limits are lowered: what stands stands, gets no worse, and may get better.
        world.set_limits("x", Limits::default()).unwrap();
        assert_eq!(world.move_money("t6", minus.0, minus.1, 1), short(51));
        world.move_money("t7", plus.0, plus.1, 10).unwrap();
        world.set_limits("x", Limits::NONE).unwrap();
        world.move_money("t8", minus.0, minus.1, 1_000_000).unwrap();
    }
}

/// Case L2.
#[test]
fn what_is_available_stays_a_number_without_a_limit() {
    let mut world = World::default();
    for id in ["a", "b", "c"] {
        world.open_account(&liability(id).overdraft(Overdraft::Unlimited)).unwrap();
    }
    world.move_money("t", "a", "b", i128::MAX).unwrap();
    let overflow = Err(No::Ledger(Rejection::Overflow));
    assert_eq!(world.hold_money("h", "a", "c", 2), overflow, "posted and pending together leave 128 bits");
    assert_eq!(world.balance(&account_id("a")), [0, i128::MAX, 0, 0]);
    world.hold_money("h", "a", "c", 1).unwrap();
}

#[test]
fn limits_are_amounts_of_the_account() {
    let mut world = bank();
    let below = Limits { overdraft: Overdraft::UpTo(usd(-1)), balance_max: None };
    assert_eq!(world.set_limits("a", below), Err(No::Ledger(Rejection::InvalidLimit { limit: usd(-1) })));
    let euro = Money::from_minor(1, Currency::EUR);
    let foreign = Limits { overdraft: Overdraft::None, balance_max: Some(euro) };
    let mismatch = Rejection::CurrencyMismatch { expected: Currency::USD, found: Currency::EUR };
    assert_eq!(world.set_limits("a", foreign), Err(No::Ledger(mismatch.clone())));
    assert_eq!(world.open_account(&asset("c").balance_max(euro)), Err(No::Ledger(mismatch)));
    world.open_account(&asset("c").balance_max(usd(0))).unwrap();
}

/// Setting limits and a status at once: the second is decided again, since both write the counter.
#[test]
fn two_changes_of_one_account_do_not_undo_each_other() {
    let mut world = bank();
    let (context, account) = (world.context(), world.read(&record_key(&account_id("b"), Currency::USD)));
    let counter = world.view.counters[&account_key(&account_id("b"), Currency::USD)].clone();
    let command =
        SetLimits { account: account_id("b"), currency: Currency::USD, limits: Limits::NONE, reason: String::new() };
    let late = set_limits(&context, &account, &counter, &command);
    world.set_status("b", Status::Frozen).unwrap();
    let key = account_key(&account_id("b"), Currency::USD);
    let conflict = Refusal::Conflict { key, expected: Expect::Version(1), actual: Expect::Version(2) };
    assert_eq!(world.put(late), Err(No::Refused(conflict)));
    assert_eq!(world.status("b"), Status::Frozen);
}

#[test]
fn an_account_stands_below_one_that_exists_in_its_currency() {
    let mut world = bank();
    let unknown = |parent: &str| {
        Err(No::Ledger(Rejection::UnknownParent { account: account_id("c"), parent: account_id(parent) }))
    };
    assert_eq!(world.open_account(&asset("c").under(account_id("nobody"))), unknown("nobody"));
    assert_eq!(world.open_account(&asset("c").under(account_id("c"))), unknown("c"), "not below itself");
    let euro = Account::new(account_id("c"), AccountType::Asset, Currency::EUR).under(account_id("a"));
    assert_eq!(world.open_account(&euro), unknown("a"), "the parent is in dollars only");
    let mut above = "a".to_owned();
    for level in 1..ACCOUNT_LEVELS_MAX {
        let id = format!("l{level}");
        world.open_account(&asset(&id).under(account_id(&above))).unwrap();
        let record: Versioned<Account> = world.read(&record_key(&account_id(&id), Currency::USD));
        assert_eq!(record.value.level, level);
        above = id;
    }
    let deep = Rejection::TooDeep { account: account_id("deep"), max: ACCOUNT_LEVELS_MAX };
    assert_eq!(world.open_account(&asset("deep").under(account_id(&above))), Err(No::Ledger(deep)));
}

#[test]
fn texts_have_their_limits() {
    let mut world = bank();
    let too_long = |what, max| Err(No::Ledger(Rejection::TooLong { what, length: max + 1, max }));
    let named = |length| asset("c").named("n".repeat(length));
    let (name, reason) = (ACCOUNT_NAME_BYTES_MAX, REASON_BYTES_MAX);
    assert_eq!(world.open_account(&named(name + 1)), too_long("an account's name", name));
    world.open_account(&named(name)).unwrap();
    for (length, expected) in [(reason + 1, too_long("a reason", reason)), (reason, Ok(()))] {
        let command = SetStatus {
            account: account_id("b"),
            currency: Currency::USD,
            status: Status::Frozen,
            reason: "r".repeat(length),
        };
        let answer = world.on_account("b", |context, account, counter| set_status(context, account, counter, &command));
        assert_eq!(answer, expected);
    }
}

/// Case L25.
#[test]
fn the_history_of_an_account_tells_what_it_was() {
    let mut world = bank();
    let opened = liability("c").named("first").balance_max(usd(9));
    world.open_account(&opened).unwrap();
    let entries = world.entries.len();
    let metadata = Metadata::new([("k", "v")]).unwrap();
    let command = DescribeAccount {
        account: account_id("c"),
        currency: Currency::USD,
        name: "second".into(),
        metadata: metadata.clone(),
        reason: "renamed".into(),
    };
    world.on_account("c", |context, account, _| describe_account(context, account, &command)).unwrap();
    world.set_limits("c", Limits::NONE).unwrap();
    world.set_status("c", Status::Closed).unwrap();
    world.set_status("c", Status::Open).unwrap();
    assert_eq!(world.entries.len(), entries, "none of it is an entry of the account");
    let changes: Vec<AccountChanged> =
        world.told().into_iter().filter(|told: &AccountChanged| told.account == account_id("c")).collect();
    let states: Vec<AccountState> = changes
        .iter()
        .scan(None, |state, changed| {
            *state = AccountState::after(state.take(), changed.clone());
            state.clone()
        })
        .collect();
    let described = Account { name: "second".into(), metadata, ..opened.clone() };
    let limited = Account { limits: Limits::NONE, ..described.clone() };
    let expected = [
        (opened, Status::Open),
        (described, Status::Open),
        (limited.clone(), Status::Open),
        (limited.clone(), Status::Closed),
        (limited.clone(), Status::Open),
    ];
    assert_eq!(states, expected.map(|(account, status)| AccountState { account, status }));
    let record: Versioned<Account> = world.read(&record_key(&account_id("c"), Currency::USD));
    assert_eq!((record.value, record.version), (limited, 3), "a status leaves the record alone");
    let reasons: Vec<&str> = changes.iter().map(|changed| &*changed.reason).collect();
    assert_eq!(reasons, ["", "renamed", "", "because", "because"]);
    assert_eq!(changes[3].what, AccountChange::Status { from: Status::Open, to: Status::Closed });
}
