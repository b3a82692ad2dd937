//! Postings on every backend: batches, chains, conditions, reversals, periods, balances on two axes and statements.

mod history;
mod race;

use std::{sync::Arc, time::Duration};

use txn::{
    AsOf, Done, Failure, InertGateway, Rejection, Services, Tenant, Txn,
    change::Timestamp,
    core::{
        id::{AccountId, TransferId},
        ledger::{
            self, Account, AccountType, ClosePeriod, Condition, Is, Measure, Metadata, NormalSide, OpenAccount,
            Overdraft, Posting, Reverse, Side, Transfer, TransferUpTo, Transferred,
        },
        money::{Currency, Money},
    },
    store::{Clock, ManualClock, StoreAdmin, StoreLimits, memory::Memory, sqlite::Sqlite},
};

/// A bank on one backend, with its clock in hand.
pub struct Bank {
    txn: Txn,
    tenant: Services,
    clock: Arc<ManualClock>,
    _folder: Option<tempfile::TempDir>,
}

fn start() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn seconds(after: i64) -> Timestamp {
    Timestamp::from_nanos(start().as_nanos() + after * 1_000_000_000)
}

fn bank(store: Arc<dyn StoreAdmin>, clock: Arc<ManualClock>, folder: Option<tempfile::TempDir>) -> Bank {
    let txn = Txn::builder(store, Arc::new(InertGateway::default())).build();
    let tenant = txn.tenant(Tenant::default());
    let bank = Bank { txn, tenant, clock, _folder: folder };
    pollster::block_on(async {
        for (name, account_type) in [
            ("cash", AccountType::Asset),
            ("a", AccountType::Liability),
            ("b", AccountType::Liability),
            ("c", AccountType::Liability),
        ] {
            let account = Account::new(account(name), account_type, Currency::USD);
            let account = if name == "cash" { account.overdraft(Overdraft::Unlimited) } else { account };
            bank.tenant.ledger().open_account(&OpenAccount { account }).await.unwrap();
        }
    });
    bank
}

fn memory() -> Bank {
    let clock = Arc::new(ManualClock::at(start()));
    bank(Arc::new(Memory::with(Arc::clone(&clock) as _, StoreLimits::default())), clock, None)
}

fn sqlite() -> Bank {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(start())));
    let store = Sqlite::options(folder.path().join("bank.db")).clock(Arc::clone(&clock) as _).open().unwrap();
    bank(Arc::new(store), clock, Some(folder))
}

/// A server is given by `TXN_POSTGRES_URL`.
#[cfg(feature = "servers")]
fn postgres() -> Bank {
    let clock = Arc::new(ManualClock::at(start()));
    bank(crate::relay::postgres::store(&clock), clock, None)
}

fn banks() -> Vec<Bank> {
    vec![
        memory(),
        sqlite(),
        #[cfg(feature = "servers")]
        postgres(),
    ]
}

/// Runs a test on each backend, and audits what it leaves.
fn on_each(test: impl AsyncFn(&Bank)) {
    for bank in banks() {
        pollster::block_on(async {
            test(&bank).await;
            bank.is_clean().await;
        });
    }
}

fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

fn id(name: &str) -> TransferId {
    TransferId::new(name).unwrap()
}

fn usd(minor: i128) -> Money {
    Money::from_minor(minor, Currency::USD)
}

fn simple(name: &str, debit: &str, credit: &str, minor: i128) -> Transfer {
    Transfer::simple(id(name), account(debit), account(credit), usd(minor))
}

impl Bank {
    fn tick(&self) -> Timestamp {
        self.clock.advance(Duration::from_secs(1));
        self.clock.now()
    }

    async fn post(&self, transfer: Transfer) -> Result<Done<Transferred>, Failure> {
        self.tenant.ledger().transfer(&transfer).await
    }

    async fn posted(&self, name: &str) -> i128 {
        let balance = self.tenant.ledger().balance(&account(name), Currency::USD).await.unwrap().unwrap();
        balance.posted(NormalSide::Credit).minor()
    }

    async fn as_of(&self, name: &str, as_of: AsOf) -> i128 {
        let balance = self.tenant.ledger().balance_as_of(&account(name), Currency::USD, as_of).await.unwrap();
        balance.posted(NormalSide::Credit).minor()
    }

    async fn is_clean(&self) {
        let report = self.txn.verify().await.unwrap();
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
    }
}

fn rejection<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> ledger::Rejection {
    match outcome {
        Err(Failure::Rejected(Rejection::Ledger(rejection))) => rejection,
        other => panic!("{other:?}"),
    }
}

fn short(account: &str, missing: i128) -> ledger::Rejection {
    ledger::Rejection::InsufficientFunds { account: account.into(), currency: "USD".into(), missing }
}

/// Cases L5, L16, L17. A later transfer of a batch sees the earlier ones; one that is refused stops none; the same id twice is done once.
#[test]
fn a_batch_gives_each_its_own_answer_in_order() {
    on_each(async |bank| {
        let batch = vec![
            simple("fund", "cash", "a", 100),
            simple("spend", "a", "b", 100),
            simple("more", "a", "b", 1),
            simple("zero", "a", "b", 0),
            simple("fund", "cash", "a", 100),
            simple("fund", "cash", "a", 101),
            simple("nobody", "a", "x", 1),
            simple("last", "b", "c", 40),
        ];
        let answers = bank.tenant.ledger().transfer_many(batch.clone()).await;
        assert_eq!(answers.len(), batch.len());
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap();
        let first = next().unwrap();
        assert!(!first.replayed());
        assert_eq!(next().unwrap().value().unwrap().id, id("spend"));
        assert_eq!(rejection(next()), short("a", 1));
        assert_eq!(rejection(next()), ledger::Rejection::InvalidAmount { amount: usd(0) });
        let again = next().unwrap();
        assert!(again.replayed());
        assert_eq!(again.answer().bytes(), first.answer().bytes());
        assert!(matches!(next(), Err(Failure::KeyReused { .. })));
        assert!(matches!(rejection(next()), ledger::Rejection::UnknownAccount { account, .. } if account == "x"));
        assert!(!next().unwrap().replayed());
        assert_eq!((bank.posted("a").await, bank.posted("b").await, bank.posted("c").await), (0, 60, 40));
        // A repetition of the whole batch is answered as the first was, and what was refused is judged anew.
        let again = bank.tenant.ledger().transfer_many(batch).await;
        let told: Vec<_> = again.iter().map(|answer| answer.as_ref().is_ok_and(Done::replayed)).collect();
        assert_eq!(told, [true, true, false, false, true, false, false, true]);
        assert_eq!(bank.tenant.ledger().transfer_many(Vec::new()).await.len(), 0);
    });
}

/// Cases L4, L6. A refusal is not remembered: the id may succeed once the money is there. From then on it has its answer.
#[test]
fn an_id_that_was_refused_may_be_tried_again_when_the_money_is_there() {
    on_each(async |bank| {
        let spend = simple("spend", "a", "b", 50);
        assert_eq!(rejection(bank.post(spend.clone()).await), short("a", 50));
        bank.post(simple("fund", "cash", "a", 60)).await.unwrap();
        let done = bank.post(spend.clone()).await.unwrap();
        assert!(!done.replayed());
        bank.tick();
        let again = bank.post(spend.clone()).await.unwrap();
        assert!(again.replayed());
        assert_eq!((again.recorded_at(), again.answer()), (done.recorded_at(), done.answer()));
        for other in [simple("spend", "a", "b", 51), simple("spend", "a", "c", 50), spend.clone().about("x")] {
            assert!(matches!(bank.post(other).await, Err(Failure::KeyReused { .. })));
        }
        let dated = bank.tenant.effective_at(seconds(-5)).ledger().transfer(&spend).await;
        assert!(matches!(dated, Err(Failure::KeyReused { .. })), "when it counts is a part of what is asked");
        assert_eq!(bank.posted("b").await, 50);
    });
}

/// Case L16.
#[test]
fn a_chain_is_done_whole_or_not_at_all_and_once() {
    on_each(async |bank| {
        let ledger = bank.tenant.ledger();
        bank.post(simple("fund", "cash", "a", 100)).await.unwrap();
        let broken = vec![simple("1", "a", "b", 10), simple("2", "c", "b", 1), simple("3", "a", "b", 10)];
        assert_eq!(rejection(ledger.transfer_chain("k", broken).await), short("c", 1));
        for name in ["1", "2", "3"] {
            assert!(ledger.transferred(&id(name)).await.unwrap().is_none(), "{name}");
        }
        assert_eq!(rejection(ledger.transfer_chain("k", vec![]).await), ledger::Rejection::EmptyChain);
        let whole = || vec![simple("1", "b", "c", 30), simple("2", "a", "b", 40)];
        let done = ledger.transfer_chain("k", whole()).await.unwrap();
        assert_eq!(done.value().unwrap().transfers, [id("1"), id("2")]);
        assert!(ledger.transfer_chain("k", whole()).await.unwrap().replayed());
        assert!(matches!(
            ledger.transfer_chain("k", vec![simple("9", "a", "b", 1)]).await,
            Err(Failure::KeyReused { .. })
        ));
        let taken =
            rejection(ledger.transfer_chain("l", vec![simple("4", "a", "b", 1), simple("2", "a", "b", 1)]).await);
        assert_eq!(taken, ledger::Rejection::TransferExists { transfer: id("2") });
        assert_eq!((bank.posted("a").await, bank.posted("b").await, bank.posted("c").await), (60, 10, 30));
        // A correction of what does not exist is refused, in a chain as alone.
        let missing = ledger::Rejection::UnknownTransfer { transfer: id("no") };
        let correcting = simple("5", "a", "b", 1).correcting(id("no"));
        assert_eq!(rejection(ledger.transfer_chain("m", vec![correcting.clone()]).await), missing);
        assert_eq!(rejection(bank.post(correcting).await), missing);
    });
}

#[test]
fn conditions_are_refused_by_number_and_what_was_found() {
    on_each(async |bank| {
        bank.post(simple("fund", "cash", "a", 100)).await.unwrap();
        let has = |minor| {
            let is = Is::AtLeast(Measure::Available(NormalSide::Credit), usd(minor));
            Condition::new(account("a"), Currency::USD, is)
        };
        let failed = ledger::Rejection::ConditionFailed {
            account: "a".into(),
            currency: "USD".into(),
            condition: 1,
            found: 100,
        };
        let transfer = simple("t", "a", "b", 1);
        assert_eq!(rejection(bank.post(transfer.clone().only_if(has(100)).only_if(has(101))).await), failed);
        bank.post(transfer.clone().only_if(has(100))).await.unwrap();
        assert!(bank.post(transfer.clone().only_if(has(100))).await.unwrap().replayed(), "it is not judged again");
        assert!(matches!(bank.post(transfer).await, Err(Failure::KeyReused { .. })), "conditions are a part of it");
    });
}

#[test]
fn as_much_as_possible_is_answered_the_same_again() {
    on_each(async |bank| {
        bank.post(simple("fund", "cash", "a", 70)).await.unwrap();
        let up_to = |name: &str, max| TransferUpTo {
            id: id(name),
            debit: account("a"),
            credit: account("b"),
            max: usd(max),
            reference: String::new(),
        };
        let moved = |done: Done<Transferred>| done.value().unwrap().posted[0].amount;
        let ledger = bank.tenant.ledger();
        assert_eq!(moved(ledger.transfer_up_to(&up_to("1", 50)).await.unwrap()), usd(50));
        assert_eq!(moved(ledger.transfer_up_to(&up_to("2", 50)).await.unwrap()), usd(20));
        let nothing = ledger::Rejection::NothingToMove { debit: account("a"), credit: account("b") };
        assert_eq!(rejection(ledger.transfer_up_to(&up_to("3", 50)).await), nothing);
        bank.post(simple("more", "cash", "a", 70)).await.unwrap();
        let again = ledger.transfer_up_to(&up_to("2", 50)).await.unwrap();
        assert!(again.replayed());
        assert_eq!(moved(again), usd(20));
        assert_eq!(moved(ledger.transfer_up_to(&up_to("3", 50)).await.unwrap()), usd(50));
    });
}

/// Cases L21, L22.
#[test]
fn a_reversal_is_made_once_is_found_from_its_transfer_and_may_count_at_its_date() {
    on_each(async |bank| {
        let ledger = bank.tenant.ledger();
        bank.post(simple("fund", "cash", "a", 100)).await.unwrap();
        let paid_at = bank.tick();
        bank.post(simple("t", "a", "b", 60).about("order-1")).await.unwrap();
        let later = bank.tick();
        let unknown = ledger::Rejection::UnknownTransfer { transfer: id("no") };
        assert_eq!(rejection(ledger.reverse(&Reverse::new(id("r"), id("no"))).await), unknown);
        let part = Reverse::new(id("r1"), id("t")).part(usd(25)).at_its_date();
        let done = ledger.reverse(&part).await.unwrap();
        assert!(ledger.reverse(&part).await.unwrap().replayed());
        assert_eq!(done.value().unwrap().effective_at, Some(paid_at));
        assert_eq!(bank.as_of("b", AsOf::NOW.effective(paid_at)).await, 35, "history is other than it was");
        assert_eq!(bank.as_of("b", AsOf::NOW.effective(paid_at).known(paid_at)).await, 60, "and was what it was");
        let exceeds = ledger::Rejection::ExceedsTransfer { transfer: id("t"), left: usd(35), asked: usd(36) };
        assert_eq!(rejection(ledger.reverse(&Reverse::new(id("r2"), id("t")).part(usd(36))).await), exceeds);
        // The money is gone.
        bank.post(simple("gone", "b", "c", 35)).await.unwrap();
        assert_eq!(rejection(ledger.reverse(&Reverse::new(id("r2"), id("t"))).await), short("b", 35));
        ledger.reverse(&Reverse::new(id("r2"), id("t")).forced()).await.unwrap();
        assert_eq!(bank.posted("b").await, -35);
        let already = ledger::Rejection::AlreadyReversed { transfer: id("t") };
        assert_eq!(rejection(ledger.reverse(&Reverse::new(id("r3"), id("t")).forced()).await), already);
        let is_reversal = ledger::Rejection::IsReversal { transfer: id("r1") };
        assert_eq!(rejection(ledger.reverse(&Reverse::new(id("r3"), id("r1"))).await), is_reversal);
        let (found, next) = ledger.reversals(&id("t"), None, 10).await.unwrap();
        assert_eq!(found.iter().map(|fact| fact.id.clone()).collect::<Vec<_>>(), [id("r1"), id("r2")]);
        assert!(next.is_none() && found.iter().all(|fact| fact.reference == "order-1"));
        let right =
            simple("right", "cash", "b", 35).correcting(id("t")).with_metadata(Metadata::new([("by", "ann")]).unwrap());
        bank.post(right).await.unwrap();
        let (found, _) = ledger.corrections(&id("t"), None, 10).await.unwrap();
        assert_eq!((found.len(), found[0].metadata.get("by")), (1, Some("ann")));
        assert!(later > paid_at);
    });
}

/// Case L22.
#[test]
fn a_closed_period_takes_nothing_more_from_any_service() {
    on_each(async |bank| {
        let (ledger, until) = (bank.tenant.ledger(), seconds(10));
        bank.post(simple("fund", "cash", "a", 100)).await.unwrap();
        let early = bank.tenant.effective_at(seconds(5));
        let first = early.ledger().transfer(&simple("early", "a", "b", 10)).await.unwrap();
        let not_over = ledger::Rejection::PeriodNotOver { until, now: seconds(0) };
        assert_eq!(rejection(ledger.close_period(&ClosePeriod { until }).await), not_over);
        bank.clock.advance(Duration::from_secs(20));
        assert_eq!(ledger.closed_until().await.unwrap(), None);
        ledger.close_period(&ClosePeriod { until }).await.unwrap();
        assert!(ledger.close_period(&ClosePeriod { until }).await.unwrap().replayed());
        let closed = |effective_at| ledger::Rejection::PeriodClosed { until, effective_at };
        let back = ledger.close_period(&ClosePeriod { until: seconds(9) }).await;
        assert_eq!(rejection(back), closed(seconds(9)));
        assert_eq!(ledger.closed_until().await.unwrap(), Some(until));
        // What was done before is answered; what is new is not.
        let again = early.ledger().transfer(&simple("early", "a", "b", 10)).await.unwrap();
        assert!(again.replayed() && again.answer() == first.answer());
        let just = Timestamp::from_nanos(until.as_nanos() - 1);
        for at in [seconds(5), just] {
            let dated = bank.tenant.effective_at(at);
            assert_eq!(rejection(dated.ledger().transfer(&simple("late", "a", "b", 10)).await), closed(at));
            let chain = dated.ledger().transfer_chain("late", vec![simple("late", "a", "b", 10)]).await;
            assert_eq!(rejection(chain), closed(at));
            let opened = dated.ledger().open_payment_accounts(Currency::USD).await;
            assert_eq!(rejection(opened), closed(at), "not by another service either");
        }
        let undo = Reverse::new(id("r"), id("early"));
        assert_eq!(rejection(ledger.reverse(&undo.clone().at_its_date()).await), closed(seconds(5)));
        ledger.reverse(&undo).await.unwrap();
        bank.tenant.effective_at(until).ledger().transfer(&simple("on", "a", "b", 10)).await.unwrap();
        bank.post(simple("now", "a", "b", 10)).await.unwrap();
        assert_eq!(bank.posted("b").await, 20);
    });
}

/// Case L23.
#[test]
fn a_balance_before_the_first_posting_is_zero_and_one_of_nobody_is_an_error() {
    on_each(async |bank| {
        let times = [AsOf::NOW, AsOf::NOW.effective(seconds(-1)), AsOf::NOW.known(seconds(-1))];
        for as_of in times.into_iter().chain([AsOf::NOW.effective(Timestamp::MIN), AsOf::NOW.effective(Timestamp::MAX)])
        {
            assert_eq!(bank.as_of("a", as_of).await, 0, "{as_of:?}");
            let nobody = bank.tenant.ledger().balance_as_of(&account("x"), Currency::USD, as_of).await;
            assert!(matches!(rejection(nobody), ledger::Rejection::UnknownAccount { .. }));
        }
        bank.post(simple("fund", "cash", "a", 100)).await.unwrap();
        assert_eq!(bank.as_of("a", AsOf::NOW.effective(seconds(-1))).await, 0);
        assert_eq!(bank.as_of("a", AsOf::NOW.effective(seconds(0))).await, 100);
    });
}

/// Case L3. Many legs move at once, and balance in each currency by itself.
#[test]
fn a_transfer_of_many_legs_is_one() {
    on_each(async |bank| {
        let leg = |name, side, minor| Posting { account: account(name), side, amount: usd(minor) };
        let legs = vec![
            leg("cash", Side::Debit, 60),
            leg("a", Side::Credit, 10),
            leg("b", Side::Credit, 20),
            leg("c", Side::Credit, 20),
            leg("c", Side::Credit, 10),
        ];
        let posted = bank.post(Transfer::new(id("t"), legs.clone())).await.unwrap().value().unwrap();
        assert_eq!(posted.posted, legs);
        assert_eq!((bank.posted("a").await, bank.posted("b").await, bank.posted("c").await), (10, 20, 30));
        let unbalanced = Transfer::new(id("u"), legs[..4].to_vec());
        let difference = usd(10);
        assert_eq!(rejection(bank.post(unbalanced).await), ledger::Rejection::Unbalanced { difference });
    });
}
