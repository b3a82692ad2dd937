//! Random commands on accounts and holds against a naive model of numbers: every outcome is foretold, and after every step the books balance and no limit is passed.

use proptest::prelude::*;
use txn_change::Status;
use txn_core::{
    Versioned,
    id::LedgerHoldId,
    ledger::{
        self, Account, AccountState, AccountType, Authorise, Capture, ExtendHold, Hold, HoldState, Increment, Limits,
        NormalSide, Overdraft, Remainder, account_key, hold_key, record_key,
    },
    money::Currency,
};

use crate::{
    shop::{account_id, usd},
    world::{Outcome, World, seconds},
};

const ACCOUNTS: usize = 4;
const TYPES: [AccountType; ACCOUNTS] =
    [AccountType::Asset, AccountType::Liability, AccountType::Liability, AccountType::Expense];

/// Accounts are numbers from 0, holds those of their place in the order of their commands.
#[derive(Debug, Clone)]
enum Step {
    Transfer(usize, usize, i128),
    Hold { debit: usize, credit: usize, amount: i128, tolerance: i128, seconds: i64 },
    Capture(usize, i128, bool),
    Increment(usize, i128),
    Extend(usize, i64),
    Void(usize),
    Expire(usize),
    Limit(usize, Option<i128>, Option<i128>),
    Status(usize, Status),
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let account = || 0..ACCOUNTS;
    let hold = || 0..6usize;
    let status = prop_oneof![3 => Just(Status::Open), 1 => Just(Status::Frozen), 1 => Just(Status::Closed)];
    let limit = || prop_oneof![Just(None), (0..200i128).prop_map(Some)];
    let step = prop_oneof![
        6 => (account(), account(), -1..120i128).prop_map(|(debit, credit, amount)| Step::Transfer(debit, credit, amount)),
        6 => (account(), account(), -1..80i128, -1..20i128, 0..40i64).prop_map(
            |(debit, credit, amount, tolerance, seconds)| Step::Hold { debit, credit, amount, tolerance, seconds }
        ),
        5 => (hold(), 0..80i128, any::<bool>()).prop_map(|(hold, amount, is_last)| Step::Capture(hold, amount, is_last)),
        3 => (hold(), -1..40i128).prop_map(|(hold, amount)| Step::Increment(hold, amount)),
        2 => (hold(), 0..60i64).prop_map(|(hold, seconds)| Step::Extend(hold, seconds)),
        2 => hold().prop_map(Step::Void),
        2 => hold().prop_map(Step::Expire),
        2 => (account(), limit(), limit()).prop_map(|(account, floor, ceiling)| Step::Limit(account, floor, ceiling)),
        2 => (account(), status).prop_map(|(account, status)| Step::Status(account, status)),
        3 => (0..15i64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

/// An account in plain numbers: what its own side and the other one have pending and posted.
#[derive(Debug, Clone, Default)]
struct Book {
    own_pending: i128,
    own_posted: i128,
    other_pending: i128,
    other_posted: i128,
    overdraft: Option<i128>,
    most: Option<i128>,
    status: u8,
}

impl Book {
    fn available(&self) -> i128 {
        self.own_posted - self.other_posted - self.other_pending
    }

    fn could_hold(&self) -> i128 {
        self.own_posted + self.own_pending - self.other_posted
    }

    fn is_open(&self) -> bool {
        self.status == Status::Open.code()
    }

    /// Whether it may become this: within each limit, or no further beyond it.
    fn may_become(&self, after: &Self) -> bool {
        let floor = self.overdraft.map(|overdraft| -overdraft);
        floor.is_none_or(|floor| after.available() >= floor || after.available() >= self.available())
            && self.most.is_none_or(|most| after.could_hold() <= most || after.could_hold() <= self.could_hold())
    }
}

#[derive(Debug, Clone)]
struct Promise {
    debit: usize,
    credit: usize,
    amount: i128,
    tolerance: i128,
    captured: i128,
    is_pending: bool,
    until: Option<i64>,
}

#[derive(Debug, Clone)]
struct Model {
    books: Vec<Book>,
    holds: Vec<Option<Promise>>,
    now: i64,
}

impl Model {
    /// Posts and promises on both accounts, if both may; whether they may.
    fn shift(&mut self, (debit, credit): (usize, usize), pending: i128, posted: i128) -> bool {
        let mut books = self.books.clone();
        for (account, is_debit) in [(debit, true), (credit, false)] {
            let is_own = is_debit == (TYPES[account].normal() == NormalSide::Debit);
            let book = &mut books[account];
            let (pend, post) = if is_own {
                (&mut book.own_pending, &mut book.own_posted)
            } else {
                (&mut book.other_pending, &mut book.other_posted)
            };
            *pend += pending;
            *post += posted;
        }
        let may = [debit, credit].iter().all(|account| self.books[*account].may_become(&books[*account]));
        if may {
            self.books = books;
        }
        may
    }

    fn live(&self, hold: usize) -> Option<Promise> {
        let promise = self.holds.get(hold)?.clone()?;
        (promise.is_pending && promise.until.is_none_or(|until| self.now < until)).then_some(promise)
    }

    fn are_open(&self, debit: usize, credit: usize) -> bool {
        self.books[debit].is_open() && self.books[credit].is_open()
    }

    /// Whether the step is done.
    fn take(&mut self, step: &Step) -> bool {
        match *step {
            Step::Transfer(debit, credit, amount) => {
                debit != credit && amount > 0 && self.are_open(debit, credit) && self.shift((debit, credit), 0, amount)
            }
            Step::Hold { debit, credit, amount, tolerance, seconds } => {
                let until = (seconds > 0).then_some(self.now + seconds);
                let passes = debit != credit
                    && amount > 0
                    && tolerance != -1
                    && self.are_open(debit, credit)
                    && self.shift((debit, credit), amount, 0);
                let promise = Promise { debit, credit, amount, tolerance, captured: 0, is_pending: true, until };
                self.holds.push(passes.then_some(promise));
                passes
            }
            Step::Capture(hold, amount, is_last) => {
                let Some(mut promise) = self.live(hold) else { return false };
                let left = promise.amount - promise.captured;
                let is_last = is_last || amount >= left;
                let freed = if is_last { left } else { amount };
                let passes = amount > 0
                    && amount <= left + promise.tolerance
                    && self.are_open(promise.debit, promise.credit)
                    && self.shift((promise.debit, promise.credit), -freed, amount);
                if passes {
                    promise.captured += amount;
                    promise.is_pending = !is_last;
                    self.holds[hold] = Some(promise);
                }
                passes
            }
            Step::Increment(hold, amount) => {
                let Some(mut promise) = self.live(hold) else { return false };
                let passes = amount > 0
                    && self.are_open(promise.debit, promise.credit)
                    && self.shift((promise.debit, promise.credit), amount, 0);
                if passes {
                    promise.amount += amount;
                    self.holds[hold] = Some(promise);
                }
                passes
            }
            Step::Extend(hold, seconds) => {
                let Some(mut promise) = self.live(hold) else { return false };
                let passes = promise.until.is_some_and(|until| self.now + seconds > until);
                if passes {
                    promise.until = Some(self.now + seconds);
                    self.holds[hold] = Some(promise);
                }
                passes
            }
            Step::Void(hold) => {
                let Some(promise) = self.live(hold) else { return false };
                self.give_back(hold, promise)
            }
            Step::Expire(hold) => match self.holds.get(hold).cloned().flatten() {
                // What has ended stays so, and saying it again is done.
                Some(promise) if !promise.is_pending => true,
                Some(promise) if promise.until.is_some_and(|until| self.now >= until) => self.give_back(hold, promise),
                _ => false,
            },
            Step::Limit(account, overdraft, most) => {
                let book = &mut self.books[account];
                (book.overdraft, book.most) = (overdraft, most);
                true
            }
            Step::Status(account, status) => {
                let book = &mut self.books[account];
                let is_empty = book.own_pending == 0 && book.other_pending == 0 && book.own_posted == book.other_posted;
                let passes = match (book.status, status.code()) {
                    (from, to) if from == to => false,
                    (2, to) => to == 0,
                    (_, 2) => is_empty,
                    _ => true,
                };
                if passes {
                    book.status = status.code();
                }
                passes
            }
            Step::Wait(seconds) => {
                self.now += seconds;
                true
            }
        }
    }

    fn give_back(&mut self, hold: usize, promise: Promise) -> bool {
        let left = promise.amount - promise.captured;
        assert!(self.shift((promise.debit, promise.credit), -left, 0), "giving back makes nothing worse");
        self.holds[hold] = Some(Promise { is_pending: false, ..promise });
        true
    }
}

fn name(account: usize) -> String {
    format!("a{account}")
}

impl World {
    fn take(&mut self, model: &Model, step: &Step) -> Outcome {
        let id = |hold: usize| LedgerHoldId::new(format!("h{hold}")).unwrap();
        let context = self.context();
        let on = |world: &World, hold: usize| -> Option<Versioned<Hold>> { world.find(&hold_key(&id(hold))) };
        match *step {
            Step::Transfer(debit, credit, amount) => {
                let transfer = context.id.as_str().to_owned();
                self.move_money(&transfer, &name(debit), &name(credit), amount)
            }
            Step::Hold { debit, credit, amount, tolerance, seconds: by } => {
                let number = model.holds.len();
                let (debit, credit) = (account_id(&name(debit)), account_id(&name(credit)));
                let hold = Authorise {
                    tolerance: (tolerance != 0).then_some(usd(tolerance)),
                    expires_at: (by > 0).then(|| seconds(model.now + by)),
                    ..Authorise::new(id(number), debit, credit, usd(amount))
                };
                self.put(ledger::authorise(&context, None, &hold))
            }
            Step::Capture(hold, amount, is_last) => {
                let Some(current) = on(self, hold) else { return Err(unknown(id(hold))) };
                let remainder = if is_last { Remainder::Release } else { Remainder::Keep };
                self.put(ledger::capture(
                    &context,
                    &current,
                    &Capture { hold: id(hold), amount: usd(amount), remainder },
                ))
            }
            Step::Increment(hold, amount) => {
                let Some(current) = on(self, hold) else { return Err(unknown(id(hold))) };
                self.put(ledger::increment(&context, &current, &Increment { hold: id(hold), amount: usd(amount) }))
            }
            Step::Extend(hold, by) => {
                let Some(current) = on(self, hold) else { return Err(unknown(id(hold))) };
                let command = ExtendHold { hold: id(hold), expires_at: seconds(model.now + by) };
                self.put(ledger::extend(&context, &current, &command))
            }
            Step::Void(hold) => {
                let Some(current) = on(self, hold) else { return Err(unknown(id(hold))) };
                self.put(ledger::void(&context, &current))
            }
            Step::Expire(hold) => {
                let Some(current) = on(self, hold) else { return Err(unknown(id(hold))) };
                self.put(ledger::expire(&context, &current))
            }
            Step::Limit(account, overdraft, most) => {
                let overdraft = overdraft.map_or(Overdraft::Unlimited, |most| Overdraft::UpTo(usd(most)));
                self.set_limits(&name(account), Limits { overdraft, balance_max: most.map(usd) })
            }
            Step::Status(account, status) => self.set_status(&name(account), status),
            Step::Wait(by) => {
                self.now = seconds(model.now + by);
                Ok(())
            }
        }
    }

    fn check(&self, model: &Model) {
        let mut sums = [0i128; 4];
        for (number, book) in model.books.iter().enumerate() {
            let counter = &self.view.counters[&account_key(&account_id(&name(number)), Currency::USD)];
            let lanes = counter.lanes.0;
            sums.iter_mut().zip(lanes).for_each(|(sum, lane)| *sum += lane);
            let own = [book.own_pending, book.own_posted, book.other_pending, book.other_posted];
            let expected = match TYPES[number].normal() {
                NormalSide::Debit => own,
                NormalSide::Credit => [own[2], own[3], own[0], own[1]],
            };
            assert_eq!((lanes, counter.status.code()), (expected, book.status), "{}", name(number));
            let record: Account = self.read(&record_key(&account_id(&name(number)), Currency::USD)).value;
            assert_eq!(counter.guards, record.limits.guards(record.normal));
            let told = self.told().into_iter().filter(|told: &ledger::AccountChanged| told.account == record.id);
            let state = told.fold(None, AccountState::after).unwrap();
            assert_eq!(state, AccountState { account: record, status: counter.status });
        }
        assert_eq!((sums[0], sums[1]), (sums[2], sums[3]), "debits are credits, pending and posted apart");
        let mut pending = [[0i128; 2]; ACCOUNTS];
        for (number, promise) in model.holds.iter().enumerate() {
            let key = hold_key(&LedgerHoldId::new(format!("h{number}")).unwrap());
            let record: Option<Versioned<Hold>> = self.find(&key);
            assert_eq!(record.is_some(), promise.is_some());
            let (Some(Versioned { value: hold, .. }), Some(promise)) = (record, promise) else { continue };
            assert_eq!((hold.amount, hold.captured), (usd(promise.amount), usd(promise.captured)));
            assert_eq!(hold.state == HoldState::Pending, promise.is_pending);
            assert!(promise.captured <= promise.amount + promise.tolerance);
            if promise.is_pending {
                let left = hold.left().unwrap().minor();
                assert!(left > 0 && hold.captured.minor() + left == hold.amount.minor());
                pending[promise.debit][0] += left;
                pending[promise.credit][1] += left;
            }
        }
        for (number, [debits, credits]) in pending.into_iter().enumerate() {
            let lanes = self.balance(&account_id(&name(number)));
            assert_eq!([lanes[0], lanes[2]], [debits, credits], "what is pending is what holds promise");
        }
        assert!(self.entries.iter().all(|entry| !entry.short), "nothing was forced past a limit");
    }
}

fn unknown(hold: LedgerHoldId) -> crate::world::No {
    crate::world::No::Ledger(ledger::Rejection::UnknownHold { hold })
}

proptest! {
    /// Cases L1, L24, L34.
    #[test]
    fn every_outcome_is_foretold_and_the_books_balance_after_every_step(steps in steps()) {
        let mut world = World::default();
        world.now = seconds(1_000);
        let open = Book { overdraft: Some(0), ..Book::default() };
        let mut model = Model { books: vec![open; ACCOUNTS], holds: Vec::new(), now: 1_000 };
        model.books[0].overdraft = None;
        for (number, account_type) in TYPES.into_iter().enumerate() {
            let account = Account::new(account_id(&name(number)), account_type, Currency::USD);
            let overdraft = if number == 0 { Overdraft::Unlimited } else { Overdraft::None };
            world.open_account(&account.overdraft(overdraft)).unwrap();
        }
        for step in &steps {
            let before = world.view.clone();
            let answer = world.take(&model, step);
            let expected = model.take(step);
            prop_assert_eq!(answer.is_ok(), expected, "{:?}: {:?}", step, answer);
            if answer.is_err() {
                prop_assert_eq!((&world.view.records, &world.view.counters), (&before.records, &before.counters));
            }
            world.check(&model);
        }
    }
}
