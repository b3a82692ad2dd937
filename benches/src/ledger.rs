//! Ledger-shaped changes: transfers between two of 1,000 accounts (or of more), drawn from a seed.
//!
//! A change is what `txn_core::ledger::transfer` decides (two additions to guarded counters with history, and one fact with two index terms) with a plain event
//! beside it. Stored, it is ten rows: its id, two counters, two entries, two events, two terms, and nothing else but the numbers in two indexes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use txn_change::{Body, Change, ChangeId, Event, Fingerprint, MapView, Tenant, Timestamp, Verdict, evaluate};
use txn_core::{
    Context,
    id::{AccountId, TransferId},
    ledger::{self, Account, AccountType, OpenAccount, Overdraft, Transfer},
    money::{Currency, Money},
};
use txn_store::{Commit, Outcome, Receipt, Store};

use crate::Random;

/// How many accounts there are.
pub const ACCOUNTS: u64 = 1_000;
/// What each account begins with, in minor units: more than a run can spend.
pub const FUNDS: i64 = 1_000_000_000_000;
/// The instant at which everything counts.
pub const EFFECTIVE_AT: Timestamp = Timestamp::from_nanos(1_900_000_000_000_000_000);

/// Whether a transfer can be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// It can: the change is accepted.
    Enough,
    /// The account has less: a guard refuses the change.
    TooLittle,
}

/// Who is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payee {
    /// Any account.
    Any,
    /// The first account, by all others, as a shop is by its customers: every change adds to that counter.
    First,
}

/// A list of transfers. Two of one seed are equal; those of two seeds share no id.
#[derive(Debug, Clone, Copy)]
pub struct Transfers {
    /// What the random numbers come from.
    pub seed: u64,
    /// Between so many accounts.
    pub accounts: u64,
    /// Who is paid.
    pub payee: Payee,
    /// Whether they can be.
    pub means: Means,
}

/// What a change does to one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// The account's number, from 0.
    pub account: u64,
    /// Added to its posted debits.
    pub debit: i64,
    /// Added to its posted credits.
    pub credit: i64,
}

/// A transfer as a change, and for peers also as plain numbers.
#[derive(Debug, Clone)]
pub struct Work {
    /// The change.
    pub change: Change,
    /// The two accounts, in the order of the change's additions.
    pub legs: [Leg; 2],
}

fn account_id(number: u64) -> AccountId {
    AccountId::new(format!("customers:{number:04}")).expect("digits and a colon are allowed")
}

fn context(operation: &str, key: &str) -> Context {
    Context {
        id: ChangeId::new(format!("{operation}/{key}")).expect("short and graphic"),
        fingerprint: Fingerprint::of(operation, key),
        now: EFFECTIVE_AT,
        effective_at: None,
    }
}

/// The changes that open so many accounts and give each its funds.
///
/// # Panics
/// Never: all of it is sound.
pub fn openings(accounts: u64) -> impl Iterator<Item = Change> {
    let equity = AccountId::new("equity").expect("letters");
    let open = |id: AccountId, may_overdraw| {
        let overdraft = if may_overdraw { Overdraft::Unlimited } else { Overdraft::None };
        let account = Account::new(id, AccountType::Asset, Currency::USD).overdraft(overdraft);
        let context = context("account.open", &account.id);
        ledger::open_account(&context, None, None, &OpenAccount { account }).expect("the account is new")
    };
    let first = open(equity.clone(), true);
    let others = (0..accounts).flat_map(move |number| {
        let id = TransferId::new(format!("funds-{number}")).expect("short and allowed");
        let amount = Money::from_minor(FUNDS.into(), Currency::USD);
        let funds = Transfer::simple(id, account_id(number), equity.clone(), amount);
        let funded = ledger::transfer(&context("ledger.transfer", &funds.id), &funds).expect("the transfer is sound");
        [open(account_id(number), false), funded]
    });
    std::iter::once(first).chain(others)
}

/// So many transfers of a seed between [`ACCOUNTS`] accounts.
///
/// # Panics
/// Never: all of them are sound.
#[must_use]
pub fn work(seed: u64, count: usize, means: Means) -> Vec<Work> {
    Transfers { means, ..Transfers::of(seed) }.iter().take(count).collect()
}

impl Transfers {
    /// Between any two of [`ACCOUNTS`] accounts, all of them paid.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        Self { seed, accounts: ACCOUNTS, payee: Payee::Any, means: Means::Enough }
    }

    /// One transfer after the other, without end.
    ///
    /// # Panics
    /// Never: all of them are sound.
    pub fn iter(self) -> impl Iterator<Item = Work> {
        let mut random = Random::new(self.seed);
        (0..).map(move |index| one(&mut random, self, index))
    }
}

fn one(random: &mut Random, transfers: Transfers, index: usize) -> Work {
    let Transfers { seed, accounts, payee, means } = transfers;
    // Credits take from these accounts, so the second is the one that pays.
    let to = match payee {
        Payee::Any => random.below(accounts),
        Payee::First => 0,
    };
    let from = (to + 1 + random.below(accounts - 1)) % accounts;
    let amount = match means {
        Means::Enough => 1 + i64::try_from(random.below(10_000)).expect("below 10,000"),
        Means::TooLittle => FUNDS + FUNDS,
    };
    let id = TransferId::new(format!("t-{seed}-{index:07}")).expect("short and allowed");
    let money = Money::from_minor(amount.into(), Currency::USD);
    let transfer =
        Transfer::simple(id, account_id(to), account_id(from), money).about(format!("order-{:06}", index / 2));
    let context = context("ledger.transfer", &transfer.id);
    let change = ledger::transfer(&context, &transfer).expect("the transfer is sound");
    let note = format!(r#"{{"transfer":"{}"}}"#, transfer.id);
    let change = change.append(Event::new(Body::raw("transfer.noted", 1, note.into_bytes())));
    let mut legs = [Leg { account: to, debit: amount, credit: 0 }, Leg { account: from, debit: 0, credit: amount }];
    legs.sort_by_key(|leg| leg.account);
    Work { change, legs }
}

/// The smallest change with two counters: a transfer's additions, and nothing beside them.
#[must_use]
pub fn two_counters(seed: u64, count: usize, means: Means) -> Vec<Change> {
    let changes = work(seed, count, means).into_iter();
    changes
        .map(|work| Change { append: Vec::new(), answer: Body::raw("none", 1, b"null".to_vec()), ..work.change })
        .collect()
}

/// How long a store takes to commit so many changes with two counters, one after the other in one thread. They are made a few at a time, and untimed, so that
/// they are as warm as those that a decision has just returned.
///
/// # Panics
/// When a change ends otherwise than it should.
pub async fn time_two_counters(store: &dyn Store, count: usize, means: Means) -> Duration {
    const BLOCK: usize = 64;
    let mut time = Duration::ZERO;
    for (seed, first) in (1..).zip((0..count).step_by(BLOCK)) {
        let batches = two_counters(seed, BLOCK.min(count - first), means).into_iter().map(single);
        let batches: Vec<_> = batches.collect();
        let mut outcomes = Vec::with_capacity(BLOCK);
        let began = Instant::now();
        for batch in batches {
            outcomes.push(store.commit(batch).await);
        }
        time += began.elapsed();
        let is_done = |outcome: &Result<Outcome, _>| matches!(outcome, Ok(Outcome::Done(_)));
        assert!(
            outcomes.iter().flatten().all(|outcome| is_done(outcome) == (means == Means::Enough)),
            "{means:?}: {outcomes:?}"
        );
    }
    time
}

/// The accounts in a view, for the evaluator alone.
///
/// # Panics
/// Never: the openings are accepted.
#[must_use]
pub fn view() -> MapView {
    let mut view = MapView::default();
    for change in openings(ACCOUNTS) {
        let Ok(Verdict::Accepted(effects)) = evaluate(&view, &change, EFFECTIVE_AT) else {
            unreachable!("the openings are new and sound")
        };
        view.apply(&change, &effects);
    }
    view
}

/// A change in a batch of its own.
#[must_use]
pub fn single(change: Change) -> Vec<Commit> {
    vec![Commit { tenant: Tenant::default(), change }]
}

/// Opens [`ACCOUNTS`] accounts in a store.
///
/// # Panics
/// When the store refuses.
pub async fn open_accounts(store: &dyn Store) {
    open(store, ACCOUNTS).await;
}

/// Opens so many accounts in a store; gives the number of changes that took.
///
/// # Panics
/// When the store refuses.
pub async fn open(store: &dyn Store, accounts: u64) -> u64 {
    let mut openings = openings(accounts);
    let mut done = 0;
    loop {
        let changes = openings.by_ref().take(1_000);
        let batch: Vec<Commit> = changes.map(|change| Commit { tenant: Tenant::default(), change }).collect();
        if batch.is_empty() {
            return done;
        }
        for result in store.commit(batch).await {
            assert!(matches!(result, Ok(Outcome::Done(_))), "an account could not be opened: {result:?}");
            done += 1;
        }
    }
}

/// Commits one change, and checks that it ends as it should: with a receipt, or refused.
///
/// # Panics
/// When it ends otherwise.
pub async fn commit(store: Arc<dyn Store>, change: Change, means: Means) -> Option<Receipt> {
    match (store.commit(single(change)).await.pop(), means) {
        (Some(Ok(Outcome::Done(receipt))), Means::Enough) => Some(receipt),
        (Some(Ok(Outcome::Refused(_))), Means::TooLittle) => None,
        (other, _) => unreachable!("a change that should be {means:?} ended with {other:?}"),
    }
}
