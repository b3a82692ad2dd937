//! Holds of money in every state under every command, and transfers that do not balance.

use txn_change::Change;
use txn_core::{
    Context, Versioned,
    id::{AccountId, LedgerHoldId, TransferId},
    ledger::{
        self, Authorise, Capture, Hold, HoldState, NormalSide, Posting, Rejection, Remainder, Side, Transfer,
        TransferKind, Transferred, capture, expire, hold_key, void,
    },
    money::{Currency, Money},
};

use crate::{
    shop::{account_id, usd},
    world::{No, Outcome, World, seconds},
};

fn hold_id(id: &str) -> LedgerHoldId {
    LedgerHoldId::new(id).unwrap()
}

/// `cash` may be overdrawn; `wallet` has 100.00, `shop` nothing.
pub(crate) fn bank() -> World {
    let mut world = World::default();
    world.now = seconds(1_000);
    world.account(&account_id("cash"), NormalSide::Debit, true).unwrap();
    world.account(&account_id("wallet"), NormalSide::Credit, false).unwrap();
    world.account(&account_id("shop"), NormalSide::Credit, false).unwrap();
    world.transfer("fund", "cash", "wallet", usd(10_000)).unwrap();
    world
}

impl World {
    fn transfer(&mut self, id: &str, debit: &str, credit: &str, amount: Money) -> Outcome {
        let id = TransferId::new(id).unwrap();
        self.post(&Transfer::simple(id, account_id(debit), account_id(credit), amount))
    }

    pub(crate) fn post(&mut self, transfer: &Transfer) -> Outcome {
        let context = self.context();
        self.put(ledger::transfer(&context, transfer))
    }

    fn authorise(&mut self, id: &str, debit: &str, credit: &str, amount: Money, expires_at: Option<i64>) -> Outcome {
        let command = Authorise::new(hold_id(id), account_id(debit), account_id(credit), amount);
        self.promise(&Authorise { expires_at: expires_at.map(seconds), ..command })
    }

    fn promise(&mut self, command: &Authorise) -> Outcome {
        let context = self.context();
        let existing = self.find(&hold_key(&command.hold));
        self.put(ledger::authorise(&context, existing.as_ref(), command))
    }

    fn money_hold(&self, id: &str) -> Versioned<Hold> {
        self.read(&hold_key(&hold_id(id)))
    }

    fn on_money(
        &mut self,
        id: &str,
        decide: impl FnOnce(&Context, &Versioned<Hold>) -> Result<Change, Rejection>,
    ) -> Outcome {
        let context = self.context();
        let hold = self.money_hold(id);
        self.put(decide(&context, &hold))
    }

    fn capture(&mut self, id: &str, amount: Money, remainder: Remainder) -> Outcome {
        let command = Capture { hold: hold_id(id), amount, remainder };
        self.on_money(id, |context, hold| capture(context, hold, &command))
    }

    fn wallets(&self) -> ([i128; 4], [i128; 4]) {
        (self.balance(&account_id("wallet")), self.balance(&account_id("shop")))
    }
}

fn take(amount: i128, remainder: Remainder) -> Capture {
    Capture { hold: hold_id("h"), amount: usd(amount), remainder }
}

type Decide = fn(&Context, &Versioned<Hold>) -> Result<Change, Rejection>;

const COMMANDS: [(&str, Decide); 6] = [
    ("capture some", |context, hold| capture(context, hold, &take(400, Remainder::Keep))),
    ("capture some, the last", |context, hold| capture(context, hold, &take(400, Remainder::Release))),
    ("capture all", |context, hold| capture(context, hold, &take(1_000, Remainder::Keep))),
    ("capture more", |context, hold| capture(context, hold, &take(1_001, Remainder::Release))),
    ("void", void),
    ("expire", expire),
];

#[derive(Debug, PartialEq)]
enum Then {
    /// The state, what is pending and what is posted.
    Now(HoldState, i128, i128),
    Nothing,
    Expired,
    NotDue,
    Illegal,
    Exceeds(i128),
}

/// A hold of 1,000 until 1,100, in each state.
fn in_state(state: &str) -> World {
    let mut world = bank();
    world.authorise("h", "wallet", "shop", usd(1_000), Some(1_100)).unwrap();
    match state {
        "pending" => {}
        "partly captured" => world.capture("h", usd(300), Remainder::Keep).unwrap(),
        "due" => world.now = seconds(1_100),
        "captured" => world.capture("h", usd(1_000), Remainder::Release).unwrap(),
        "captured, the last" => world.capture("h", usd(300), Remainder::Release).unwrap(),
        "voided" => world.on_money("h", void).unwrap(),
        "expired" => {
            world.now = seconds(1_101);
            world.on_money("h", expire).unwrap();
        }
        _ => panic!("{state}"),
    }
    world
}

/// Cases L12, L13, L34.
#[test]
fn every_command_in_every_state_of_a_hold() {
    use HoldState::{Captured, Expired, Pending, Voided};
    use Then::{Exceeds, Illegal, NotDue, Nothing, Now};
    let illegal = || [Illegal, Illegal, Illegal, Illegal, Illegal, Nothing];
    let table = [
        (
            "pending",
            [
                Now(Pending, 600, 400),
                Now(Captured, 0, 400),
                Now(Captured, 0, 1_000),
                Exceeds(1_000),
                Now(Voided, 0, 0),
                NotDue,
            ],
        ),
        (
            "partly captured",
            [Now(Pending, 300, 700), Now(Captured, 0, 700), Exceeds(700), Exceeds(700), Now(Voided, 0, 300), NotDue],
        ),
        ("due", [Then::Expired, Then::Expired, Then::Expired, Then::Expired, Then::Expired, Now(Expired, 0, 0)]),
        ("captured", illegal()),
        ("captured, the last", illegal()),
        ("voided", illegal()),
        ("expired", [Then::Expired, Then::Expired, Then::Expired, Then::Expired, Then::Expired, Nothing]),
    ];
    for (state, expected) in table {
        for ((name, command), then) in COMMANDS.into_iter().zip(expected) {
            let mut world = in_state(state);
            let (before, seen) = (world.money_hold("h"), world.view.clone());
            let answer = world.on_money("h", command);
            let after = world.money_hold("h");
            let ([pending, posted, ..], [_, _, credit_pending, credit_posted]) = world.wallets();
            assert_eq!((pending, posted), (credit_pending, credit_posted));
            let found = match answer {
                Ok(()) if after == before => Nothing,
                Ok(()) => {
                    assert_eq!(after.value.captured, usd(posted));
                    Now(after.value.state, pending, posted)
                }
                Err(No::Ledger(Rejection::HoldExpired { at, .. })) => {
                    assert_eq!(at, seconds(1_100));
                    Then::Expired
                }
                Err(No::Ledger(Rejection::NotDue { .. })) => NotDue,
                Err(No::Ledger(Rejection::IllegalTransition { state, .. })) => {
                    assert_eq!(state, before.value.state);
                    Illegal
                }
                Err(No::Ledger(Rejection::ExceedsHold { left, .. })) => Exceeds(left.minor()),
                Err(other) => panic!("{name} in {state}: {other:?}"),
            };
            assert_eq!(found, then, "{name} in {state}");
            if !matches!(then, Now(..)) {
                assert_eq!((&world.view.records, &world.view.counters), (&seen.records, &seen.counters));
            }
        }
    }
}

/// Cases L12, L13.
#[test]
fn captures_take_what_was_held_and_release_exactly_the_rest() {
    let mut world = bank();
    world.authorise("h", "wallet", "shop", usd(1_000), None).unwrap();
    world.authorise("g", "wallet", "shop", usd(50), None).unwrap();
    for amount in [0, -1, i128::MIN] {
        let refused = No::Ledger(Rejection::InvalidAmount { amount: usd(amount) });
        assert_eq!(world.capture("h", usd(amount), Remainder::Keep), Err(refused), "no capture of nothing");
    }
    let yen = Money::from_minor(10, Currency::from_code("JPY").unwrap());
    let refused = world.capture("h", yen, Remainder::Keep);
    assert!(matches!(refused, Err(No::Ledger(Rejection::CurrencyMismatch { .. }))));
    let of_another = world.on_money("g", |context, hold| capture(context, hold, &take(50, Remainder::Keep)));
    assert_eq!(of_another, Err(No::Ledger(Rejection::UnknownHold { hold: hold_id("h") })), "another hold's command");
    for (amount, left) in [(400, 600), (599, 1)] {
        world.capture("h", usd(amount), Remainder::Keep).unwrap();
        assert_eq!(world.money_hold("h").value.left(), Ok(usd(left)));
    }
    let exceeds = Rejection::ExceedsHold { hold: hold_id("h"), left: usd(1), asked: usd(2) };
    assert_eq!(world.capture("h", usd(2), Remainder::Keep), Err(No::Ledger(exceeds)));
    world.capture("h", usd(1), Remainder::Keep).unwrap();
    assert_eq!(world.money_hold("h").value.state, HoldState::Captured, "nothing is left");
    assert_eq!(world.wallets(), ([50, 1_000, 0, 10_000], [0, 0, 50, 1_000]));
    let kinds: Vec<_> = world.told::<Transferred>().into_iter().map(|transfer| transfer.kind).collect();
    use TransferKind::{Captured, Held, Posted};
    assert_eq!(kinds, [Posted, Held, Held, Captured, Captured, Captured]);
}

/// Case L11.
#[test]
fn pending_debits_count_and_pending_credits_cannot_be_spent() {
    let mut world = bank();
    world.transfer("rest", "wallet", "cash", usd(5_000)).unwrap();
    for hold in 0..5 {
        world.authorise(&format!("h{hold}"), "wallet", "shop", usd(1_000), None).unwrap();
    }
    let short = |account: &str, missing| {
        Err(No::Ledger(Rejection::InsufficientFunds { account: account.into(), currency: "USD".into(), missing }))
    };
    assert_eq!(world.authorise("h5", "wallet", "shop", usd(1_000), None), short("wallet", 1_000));
    assert_eq!(world.transfer("t", "wallet", "shop", usd(1)), short("wallet", 1));
    assert_eq!(world.transfer("u", "shop", "cash", usd(1)), short("shop", 1), "its credits are pending");
    world.capture("h0", usd(400), Remainder::Release).unwrap();
    assert_eq!(world.transfer("v", "shop", "cash", usd(401)), short("shop", 1));
    world.transfer("w", "shop", "cash", usd(400)).unwrap();
    world.authorise("h6", "wallet", "shop", usd(600), None).unwrap();
    assert_eq!(world.authorise("h7", "wallet", "shop", usd(1), None), short("wallet", 1));
}

/// Case L3.
#[test]
fn postings_that_are_not_sound_are_refused() {
    let mut world = bank();
    let seen = world.view.clone();
    let refused = |answer: Outcome| match answer {
        Err(No::Ledger(rejection)) => rejection,
        other => panic!("{other:?}"),
    };
    for amount in [0, -1, i128::MIN] {
        let invalid = Rejection::InvalidAmount { amount: usd(amount) };
        assert_eq!(refused(world.transfer("t", "wallet", "shop", usd(amount))), invalid);
        assert_eq!(refused(world.authorise("h", "wallet", "shop", usd(amount), None)), invalid);
    }
    let short = refused(world.transfer("t", "wallet", "shop", usd(i128::MAX)));
    assert!(matches!(short, Rejection::InsufficientFunds { missing, .. } if missing == i128::MAX - 10_000));
    assert_eq!(refused(world.transfer("t", "cash", "wallet", usd(i128::MAX))), Rejection::Overflow);
    let same = Rejection::SameAccount { account: account_id("wallet") };
    assert_eq!(refused(world.transfer("t", "wallet", "wallet", usd(1))), same);
    let unknown = Rejection::UnknownAccount { account: "nobody".into(), currency: "USD".into() };
    assert_eq!(refused(world.transfer("t", "wallet", "nobody", usd(1))), unknown);
    assert_eq!(refused(world.authorise("h", "nobody", "shop", usd(1), None)), unknown);
    let euro = Currency::from_code("EUR").unwrap();
    let unknown = Rejection::UnknownAccount { account: "shop".into(), currency: "EUR".into() };
    assert_eq!(refused(world.transfer("t", "wallet", "shop", Money::from_minor(1, euro))), unknown);
    let leg = |account, side, amount| Posting { account: account_id(account), side, amount };
    let of = |postings| Transfer::new(TransferId::new("t").unwrap(), postings);
    let mixed = vec![leg("wallet", Side::Debit, usd(1)), leg("shop", Side::Credit, Money::from_minor(1, euro))];
    assert!(matches!(refused(world.post(&of(mixed))), Rejection::Unbalanced { .. }));
    for found in 0..2 {
        let postings = vec![leg("wallet", Side::Debit, usd(1)); found];
        assert_eq!(refused(world.post(&of(postings))), Rejection::TooFewPostings { found });
    }
    assert_eq!(world.view, seen, "and nothing has changed");
}

/// Case B31.
#[test]
fn an_account_is_not_on_both_sides() {
    let mut world = bank();
    let same = || Err(No::Ledger(Rejection::SameAccount { account: account_id("wallet") }));
    assert_eq!(world.transfer("t", "wallet", "wallet", usd(1)), same());
    assert_eq!(world.authorise("h", "wallet", "wallet", usd(1), None), same());
    let leg = |account, side, amount| Posting { account: account_id(account), side, amount: usd(amount) };
    let postings = vec![leg("wallet", Side::Debit, 3), leg("shop", Side::Credit, 2), leg("wallet", Side::Credit, 1)];
    assert_eq!(world.post(&Transfer::new(TransferId::new("t").unwrap(), postings)), same(), "not even beside others");
}

/// Legs that balance, and whose sum on one account leaves 128 bits, used to be posted as the largest number there is.
#[test]
fn the_legs_of_one_account_do_not_saturate() {
    let mut world = bank();
    world.account(&account_id("income"), NormalSide::Credit, true).unwrap();
    world.account(&account_id("float"), NormalSide::Debit, true).unwrap();
    let leg = |account, side| Posting { account: account_id(account), side, amount: usd(i128::MAX) };
    let pair = [leg("float", Side::Debit), leg("income", Side::Credit)];
    let postings = [pair.clone(), pair].concat();
    let refused = world.post(&Transfer::new(TransferId::new("t").unwrap(), postings));
    assert_eq!(refused, Err(No::Ledger(Rejection::Overflow)));
    assert_eq!(world.balance(&account_id("float")), [0; 4]);
}

#[test]
fn ids_are_used_once() {
    let mut world = bank();
    world.transfer("t", "wallet", "shop", usd(1)).unwrap();
    let exists = Rejection::TransferExists { transfer: TransferId::new("t").unwrap() };
    assert_eq!(world.transfer("t", "wallet", "shop", usd(1)), Err(No::Ledger(exists)));
    world.authorise("h", "wallet", "shop", usd(1), None).unwrap();
    let exists = Rejection::HoldExists { hold: hold_id("h") };
    assert_eq!(world.authorise("h", "wallet", "shop", usd(1), None), Err(No::Ledger(exists)));
    let account = account_id("wallet");
    let exists = Rejection::AccountExists { account: account.clone(), currency: Currency::USD };
    assert_eq!(world.account(&account, NormalSide::Credit, true), Err(No::Ledger(exists)));
    let late = Rejection::HoldExpired { hold: hold_id("late"), at: seconds(1_000) };
    assert_eq!(world.authorise("late", "wallet", "shop", usd(1), Some(1_000)), Err(No::Ledger(late)));
}

/// Two holds whose long ids end alike used to write the same transfer, so that the second could not be made.
#[test]
fn long_ids_that_differ_stay_different() {
    let mut world = bank();
    let ids = ["a", "b"].map(|first| format!("{first}{}", "x".repeat(AccountId::LENGTH_MAX - 1)));
    for id in &ids {
        world.authorise(id, "wallet", "shop", usd(10), None).unwrap();
        let command = Capture { hold: hold_id(id), amount: usd(10), remainder: Remainder::Release };
        world.on_money(id, |context, hold| capture(context, hold, &command)).unwrap();
    }
    let ids: std::collections::BTreeSet<_> =
        world.told::<Transferred>().into_iter().map(|t| t.id.to_string()).collect();
    assert_eq!(ids.len(), 5);
}
