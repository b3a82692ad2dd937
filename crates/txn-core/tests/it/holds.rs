//! Holds of money: increased, extended, captured beyond their amount within a tolerance, and run out to the instant.

use txn_change::{Change, Refusal, Timestamp};
use txn_core::{
    Context, Versioned,
    id::LedgerHoldId,
    ledger::{
        self, Authorise, Capture, ExtendHold, Hold, HoldExtended, HoldState, Increment, Rejection, Remainder, capture,
        due_prefix, expire, extend, hold_key, increment, sweep, void,
    },
    money::{Currency, Money},
};

use crate::{
    shop::{account_id, usd},
    world::{No, Outcome, World, seconds},
};

fn id() -> LedgerHoldId {
    LedgerHoldId::new("h").unwrap()
}

fn hold() -> Authorise {
    Authorise::new(id(), account_id("wallet"), account_id("shop"), usd(1_000))
}

impl World {
    fn with_wallet(funds: i128) -> Self {
        let mut world = Self::default();
        world.now = seconds(1_000);
        world.account(&account_id("cash"), ledger::NormalSide::Debit, true).unwrap();
        world.account(&account_id("wallet"), ledger::NormalSide::Credit, false).unwrap();
        world.account(&account_id("shop"), ledger::NormalSide::Credit, false).unwrap();
        world.move_money("fund", "cash", "wallet", funds).unwrap();
        world
    }

    fn held(&mut self, command: &Authorise) -> Outcome {
        let context = self.context();
        self.put(ledger::authorise(&context, None, command))
    }

    fn on_hold_of_money(
        &mut self,
        decide: impl FnOnce(&Context, &Versioned<Hold>) -> Result<Change, Rejection>,
    ) -> Outcome {
        let (context, hold) = (self.context(), self.read(&hold_key(&id())));
        self.put(decide(&context, &hold))
    }

    fn the_hold(&self) -> Hold {
        self.read(&hold_key(&id())).value
    }
}

fn take(amount: i128, remainder: Remainder) -> Capture {
    Capture { hold: id(), amount: usd(amount), remainder }
}

fn more(amount: i128) -> Increment {
    Increment { hold: id(), amount: usd(amount) }
}

fn until(at: i64) -> ExtendHold {
    ExtendHold { hold: id(), expires_at: seconds(at) }
}

type Decide = fn(&Context, &Versioned<Hold>) -> Result<Change, Rejection>;

const COMMANDS: [(&str, Decide); 9] = [
    ("hold 500 more", |context, hold| increment(context, hold, &more(500))),
    ("hold nothing more", |context, hold| increment(context, hold, &more(0))),
    ("hold less", |context, hold| increment(context, hold, &more(-1))),
    ("until 1,200", |context, hold| extend(context, hold, &until(1_200))),
    ("until 1,100", |context, hold| extend(context, hold, &until(1_100))),
    ("until 1,099", |context, hold| extend(context, hold, &until(1_099))),
    ("capture with the tolerance", |context, hold| capture(context, hold, &take(1_200, Remainder::Keep))),
    ("capture beyond it", |context, hold| capture(context, hold, &take(1_201, Remainder::Release))),
    ("void", void),
];

#[derive(Debug, PartialEq)]
enum Then {
    /// The state, what is pending, what is posted, and when it runs out.
    Now(HoldState, i128, i128, i64),
    Expired,
    Illegal,
    Invalid,
    NotLater,
    Exceeds(i128),
}

/// A hold of 1,000 with 200 of tolerance until 1,100, in each state.
fn in_state(state: &str) -> World {
    let mut world = World::with_wallet(10_000);
    world.held(&hold().tolerance(usd(200)).until(seconds(1_100))).unwrap();
    match state {
        "pending" => {}
        "partly captured" => {
            world.on_hold_of_money(|context, hold| capture(context, hold, &take(300, Remainder::Keep))).unwrap();
        }
        "due" => world.now = seconds(1_100),
        "captured" => {
            world.on_hold_of_money(|context, hold| capture(context, hold, &take(1_000, Remainder::Keep))).unwrap();
        }
        "voided" => world.on_hold_of_money(void).unwrap(),
        "expired" => {
            world.now = seconds(1_101);
            world.on_hold_of_money(expire).unwrap();
        }
        _ => panic!("{state}"),
    }
    world
}

/// Cases L12, L13, L34.
#[test]
fn every_further_command_in_every_state_of_a_hold() {
    use HoldState::{Captured, Pending, Voided};
    use Then::{Exceeds, Expired, Illegal, Invalid, NotLater, Now};
    let expired = || [Expired, Expired, Expired, Expired, Expired, Expired, Expired, Expired, Expired];
    let illegal = || [Illegal, Illegal, Illegal, Illegal, Illegal, Illegal, Illegal, Illegal, Illegal];
    let table = [
        (
            "pending",
            [
                Now(Pending, 1_500, 0, 1_100),
                Invalid,
                Invalid,
                Now(Pending, 1_000, 0, 1_200),
                NotLater,
                NotLater,
                Now(Captured, 0, 1_200, 1_100),
                Exceeds(1_200),
                Now(Voided, 0, 0, 1_100),
            ],
        ),
        (
            "partly captured",
            [
                Now(Pending, 1_200, 300, 1_100),
                Invalid,
                Invalid,
                Now(Pending, 700, 300, 1_200),
                NotLater,
                NotLater,
                Exceeds(900),
                Exceeds(900),
                Now(Voided, 0, 300, 1_100),
            ],
        ),
        ("due", expired()),
        ("captured", illegal()),
        ("voided", illegal()),
        ("expired", expired()),
    ];
    for (state, expected) in table {
        for ((name, command), then) in COMMANDS.into_iter().zip(expected) {
            let mut world = in_state(state);
            let seen = world.view.clone();
            let answer = world.on_hold_of_money(command);
            let ([pending, posted, ..], hold) = (world.balance(&account_id("wallet")), world.the_hold());
            let found = match answer {
                Ok(()) => {
                    assert_eq!(hold.captured, usd(posted));
                    let at = hold.expires_at.unwrap().as_nanos() / 1_000_000_000;
                    Now(hold.state, pending, posted, at)
                }
                Err(No::Ledger(Rejection::HoldExpired { at, .. })) if at == seconds(1_100) => Expired,
                Err(No::Ledger(Rejection::IllegalTransition { .. })) => Illegal,
                Err(No::Ledger(Rejection::InvalidAmount { .. })) => Invalid,
                Err(No::Ledger(Rejection::NotLater { at, .. })) if at == Some(seconds(1_100)) => NotLater,
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

/// Case L13.
#[test]
fn what_is_taken_above_the_hold_must_be_available() {
    let mut world = World::with_wallet(1_100);
    world.held(&hold().tolerance(usd(200))).unwrap();
    let over = |world: &mut World, amount| {
        world.on_hold_of_money(|context, hold| capture(context, hold, &take(amount, Remainder::Release)))
    };
    let (account, currency) = ("wallet".into(), "USD".into());
    let short = Rejection::InsufficientFunds { account, currency, missing: 1 };
    assert_eq!(over(&mut world, 1_101), Err(No::Ledger(short)));
    over(&mut world, 1_100).unwrap();
    assert_eq!(world.balance(&account_id("wallet")), [0, 1_100, 0, 1_100]);
    assert_eq!(world.the_hold().captured, usd(1_100));
}

/// Cases L14, L15.
#[test]
fn a_hold_runs_out_to_the_instant_of_the_commit() {
    let at = seconds(1_100);
    let nanos = |by: i64| Timestamp::from_nanos(at.as_nanos() + by);
    let steps: [(&str, Decide); 4] = [
        ("capture", |context, hold| capture(context, hold, &take(1, Remainder::Keep))),
        ("increment", |context, hold| increment(context, hold, &more(1))),
        ("extend", |context, hold| extend(context, hold, &until(1_200))),
        ("void", void),
    ];
    for (name, step) in steps {
        for (decided, committed, passes) in [(-1, -1, true), (-1, 0, false), (-2, 1, false)] {
            let mut world = World::with_wallet(10_000);
            world.held(&hold().until(at)).unwrap();
            world.now = nanos(decided);
            let (context, current) = (world.context(), world.read(&hold_key(&id())));
            let change = step(&context, &current);
            world.now = nanos(committed);
            let seen = world.view.clone();
            let late = Refusal::Late { until: at, now: world.now };
            let expected = if passes { Ok(()) } else { Err(No::Refused(late)) };
            assert_eq!(world.put(change), expected, "{name} decided at {decided} and committed at {committed}");
            assert!(passes || world.view == seen, "nothing has changed");
        }
        // Decided again, it has expired.
        for by in [0, 1] {
            let mut world = World::with_wallet(10_000);
            world.held(&hold().until(at)).unwrap();
            world.now = nanos(by);
            let expired = Rejection::HoldExpired { hold: id(), at };
            assert_eq!(world.on_hold_of_money(step), Err(No::Ledger(expired)), "{name}");
        }
    }
    // A hold that is placed too late is not placed, and one without an expiry never runs out.
    let mut world = World::with_wallet(10_000);
    let context = world.context();
    let change = ledger::authorise(&context, None, &hold().until(seconds(1_001)));
    world.now = seconds(1_001);
    assert!(matches!(world.put(change), Err(No::Refused(Refusal::Late { .. }))));
    world.held(&hold()).unwrap();
    world.now = Timestamp::MAX;
    assert_eq!(world.on_hold_of_money(expire), Err(No::Ledger(Rejection::NotDue { hold: id() })));
    world.on_hold_of_money(|context, hold| capture(context, hold, &take(1, Remainder::Keep))).unwrap();
    let never = Rejection::NotLater { hold: id(), at: None, asked: seconds(1_200) };
    assert_eq!(world.on_hold_of_money(|context, hold| extend(context, hold, &until(1_200))), Err(No::Ledger(never)));
    // The last instant that there is may be said, too.
    let mut world = World::with_wallet(10_000);
    world.held(&hold().until(Timestamp::MAX)).unwrap();
    assert!(!world.the_hold().is_due(Timestamp::from_nanos(i64::MAX - 1)));
}

#[test]
fn an_unsound_hold_is_not_placed() {
    let mut world = World::with_wallet(10_000);
    for amount in [0, -1, i128::MIN] {
        let invalid = Err(No::Ledger(Rejection::InvalidAmount { amount: usd(amount) }));
        assert_eq!(world.held(&hold().tolerance(usd(amount))), invalid);
    }
    let mismatch = Rejection::CurrencyMismatch { expected: Currency::USD, found: Currency::EUR };
    assert_eq!(world.held(&hold().tolerance(Money::from_minor(1, Currency::EUR))), Err(No::Ledger(mismatch)));
    assert_eq!(world.held(&hold().tolerance(usd(i128::MAX))), Err(No::Ledger(Rejection::Overflow)));
    world.held(&hold().tolerance(usd(i128::MAX - 1_000))).unwrap();
    let by_one = world.on_hold_of_money(|context, hold| increment(context, hold, &more(1)));
    assert_eq!(by_one, Err(No::Ledger(Rejection::Overflow)), "what can be captured stays a number");
}

#[test]
fn a_command_for_another_hold_is_refused() {
    let mut world = World::with_wallet(10_000);
    world.held(&hold().until(seconds(1_100))).unwrap();
    let other = LedgerHoldId::new("other").unwrap();
    let unknown = || Err(No::Ledger(Rejection::UnknownHold { hold: other.clone() }));
    let command = Increment { hold: other.clone(), amount: usd(1) };
    assert_eq!(world.on_hold_of_money(|context, hold| increment(context, hold, &command)), unknown());
    let command = ExtendHold { hold: other.clone(), expires_at: seconds(1_200) };
    assert_eq!(world.on_hold_of_money(|context, hold| extend(context, hold, &command)), unknown());
}

#[test]
fn a_hold_is_found_by_both_accounts_while_it_can_run_out() {
    let mut world = World::with_wallet(10_000);
    world.held(&hold().until(seconds(1_100))).unwrap();
    let terms = world.view.records[&hold_key(&id())].terms.clone();
    let due = |account: &str| due_prefix(account, "USD").unwrap().time(seconds(1_100)).build();
    assert_eq!(terms, [due("wallet"), due("shop")]);
    world.on_hold_of_money(|context, hold| extend(context, hold, &until(1_200))).unwrap();
    let terms = world.view.records[&hold_key(&id())].terms.clone();
    assert!(terms.iter().all(|term| term.to_string().ends_with(&seconds(1_200).to_string())));
    let told: Vec<HoldExtended> = world.told();
    assert_eq!(told, [HoldExtended { hold: id(), from: seconds(1_100), expires_at: seconds(1_200) }]);
    world.on_hold_of_money(void).unwrap();
    assert!(world.view.records[&hold_key(&id())].terms.is_empty());
}

/// A release that is forced is not there to be spent in the same change, as the evaluator judges what is not forced by itself: the sweep does not force where the change moves.
#[test]
fn a_sweep_gives_back_what_the_change_needs_even_where_the_other_account_is_frozen() {
    let mut world = World::with_wallet(1_000);
    world
        .open_account(&ledger::Account::new(account_id("other"), ledger::AccountType::Liability, Currency::USD))
        .unwrap();
    world.held(&hold().until(seconds(1_100))).unwrap();
    world.set_status("shop", txn_change::Status::Frozen).unwrap();
    world.now = seconds(1_100);
    let context = Context { effective_at: Some(seconds(5)), ..world.context() };
    let transfer = |id: &str| {
        let id = txn_core::id::TransferId::new(id).unwrap();
        ledger::Transfer::simple(id, account_id("wallet"), account_id("other"), usd(1_000))
    };
    let alone = ledger::transfer(&context, &transfer("t"));
    assert!(matches!(world.put(alone), Err(No::Ledger(Rejection::InsufficientFunds { missing: 1_000, .. }))));
    let due: Versioned<Hold> = world.read(&hold_key(&id()));
    let swept = sweep(&context, ledger::transfer(&context, &transfer("t")).unwrap(), [&due]);
    world.put(swept).unwrap();
    assert_eq!(world.balance(&account_id("wallet")), [0, 1_000, 0, 1_000]);
    assert_eq!((world.the_hold().state, world.balance(&account_id("shop"))), (HoldState::Expired, [0; 4]));
    let effective: Vec<Timestamp> = world.entries.iter().rev().take(4).map(|entry| entry.effective_at).collect();
    assert_eq!(effective, [seconds(1_100), seconds(1_100), seconds(5), seconds(5)], "a hold runs out when it does");
    // What is not due is passed over.
    let mut world = World::with_wallet(1_000);
    world.held(&hold().until(seconds(1_100))).unwrap();
    let (context, held) = (world.context(), world.read(&hold_key(&id())));
    let change = ledger::transfer(&context, &transfer("t")).unwrap();
    assert_eq!(sweep(&context, change.clone(), [&held]), Ok(change));
}
