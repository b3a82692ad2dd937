//! Many callers at once: the last unit, storms in both directions, one id in two batches, and the closing of a period beside postings into it.

use txn::{
    Failure,
    core::ledger::{self, ClosePeriod, Reverse, TransferUpTo},
    store::Clock,
};

use super::{AsOf, Bank, account, id, rejection, seconds, short, simple, usd};

/// Calls from threads, each with its number.
fn all<T: Send>(count: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let call = &call;
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || call(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn on_each(test: impl Fn(&Bank)) {
    for bank in super::banks() {
        test(&bank);
        pollster::block_on(bank.is_clean());
    }
}

fn the_last_unit_is_spent_once(bank: &Bank, rounds: usize) {
    for round in 0..rounds {
        let fund = simple(&format!("fund-{round}"), "cash", "a", 1);
        pollster::block_on(bank.post(fund)).unwrap();
        let spent =
            all(4, |caller| pollster::block_on(bank.post(simple(&format!("spend-{round}-{caller}"), "a", "b", 1))));
        let (done, refused): (Vec<_>, Vec<_>) = spent.into_iter().partition(Result::is_ok);
        assert_eq!((done.len(), refused.len()), (1, 3));
        assert!(refused.into_iter().all(|refused| rejection(refused) == short("a", 1)));
    }
    assert_eq!(pollster::block_on(bank.posted("b")), i128::try_from(rounds).unwrap());
}

fn storms_in_both_directions_surface_nothing(bank: &Bank, rounds: usize) {
    let funds = ["a", "b", "c"].map(|name| simple(&format!("fund-{name}"), "cash", name, 1_000_000));
    for done in pollster::block_on(bank.tenant.ledger().transfer_many(funds.to_vec())) {
        done.unwrap();
    }
    let outcomes = all(6, |caller| {
        let (debit, credit) = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("c", "a"), ("a", "c")][caller];
        let mut failures = Vec::new();
        for round in 0..rounds {
            let name = |number| format!("s-{caller}-{round}-{number}");
            let transfers = (0..4).map(|number| simple(&name(number), debit, credit, 3));
            if round % 2 == 0 {
                let answers = pollster::block_on(bank.tenant.ledger().transfer_many(transfers.collect()));
                failures.extend(answers.into_iter().filter_map(Result::err));
            } else {
                let chain = bank.tenant.ledger();
                failures.extend(pollster::block_on(chain.transfer_chain(&name(9), transfers.collect())).err());
            }
        }
        failures
    });
    let failures: Vec<Failure> = outcomes.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{failures:?}");
    for name in ["a", "b", "c"] {
        assert_eq!(pollster::block_on(bank.posted(name)), 1_000_000);
    }
}

fn an_id_in_two_batches_at_once_is_done_once(bank: &Bank, rounds: usize) {
    for round in 0..rounds {
        let shared = format!("shared-{round}");
        let answers = all(3, |caller| {
            let own = |place: usize| simple(&format!("own-{round}-{caller}-{place}"), "cash", "b", 1);
            // The same transfer of two, and another under its id of the third.
            let minor = if caller == 2 { 2 } else { 1 };
            let batch = vec![own(0), simple(&shared, "cash", "a", minor), own(1)];
            pollster::block_on(bank.tenant.ledger().transfer_many(batch))
        });
        let mut wrote = 0;
        for answers in &answers {
            assert!(answers[0].is_ok() && answers[2].is_ok());
            match &answers[1] {
                Ok(done) => wrote += usize::from(!done.replayed()),
                Err(Failure::KeyReused { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(wrote, 1);
        let same =
            [&answers[0][1], &answers[1][1]].map(|answer| answer.as_ref().ok().map(|done| done.answer().clone()));
        assert_eq!(same[0], same[1]);
    }
}

fn of_many_reversals_no_more_than_the_whole_is_done(bank: &Bank, rounds: usize) {
    for round in 0..rounds {
        let name = format!("t-{round}");
        pollster::block_on(bank.post(simple(&name, "cash", "a", 100))).unwrap();
        let outcomes = all(4, |caller| {
            let undo = Reverse::new(id(&format!("r-{round}-{caller}")), id(&name)).part(usd(60));
            pollster::block_on(bank.tenant.ledger().reverse(&undo))
        });
        let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((done.len(), refused.len()), (1, 3));
        let exceeds = ledger::Rejection::ExceedsTransfer { transfer: id(&name), left: usd(40), asked: usd(60) };
        assert!(refused.into_iter().all(|refused| rejection(refused) == exceeds));
    }
}

fn as_much_as_possible_is_never_more(bank: &Bank, rounds: usize) {
    for round in 0..rounds {
        pollster::block_on(bank.post(simple(&format!("fund-{round}"), "cash", "a", 100))).unwrap();
        let moved = all(4, |caller| {
            let command = TransferUpTo {
                id: id(&format!("u-{round}-{caller}")),
                debit: account("a"),
                credit: account("b"),
                max: usd(30),
                reference: String::new(),
            };
            let done = pollster::block_on(bank.tenant.ledger().transfer_up_to(&command)).unwrap();
            done.value().unwrap().posted[0].amount.minor()
        });
        let mut moved = moved;
        moved.sort_unstable();
        assert_eq!(moved, [10, 30, 30, 30]);
    }
}

/// Postings into a period and its closing: what was accepted stands before the closing, so that a report of the closed period made then is the last.
fn a_closing_beside_postings_into_the_period(bank: &Bank, rounds: i64) {
    for round in 0..rounds {
        let at = seconds(round);
        bank.clock.set(seconds(rounds + round).max(bank.clock.now()));
        let until = seconds(round + 1);
        let reports = all(3, |caller| {
            let ledger = bank.tenant.ledger();
            if caller == 0 {
                pollster::block_on(ledger.close_period(&ClosePeriod { until })).unwrap();
                return Some(pollster::block_on(bank.as_of("b", AsOf::NOW.effective(at))));
            }
            for number in 0..4 {
                let dated = bank.tenant.effective_at(at);
                let transfer = simple(&format!("p-{round}-{caller}-{number}"), "cash", "b", 1);
                if let Err(refused) = pollster::block_on(dated.ledger().transfer(&transfer)) {
                    let closed = ledger::Rejection::PeriodClosed { until, effective_at: at };
                    assert_eq!(rejection(Err::<(), _>(refused)), closed);
                }
            }
            None
        });
        let report = reports.into_iter().flatten().next().unwrap();
        assert_eq!(pollster::block_on(bank.as_of("b", AsOf::NOW.effective(at))), report, "round {round}");
    }
}

/// Case L10.
#[test]
fn of_many_who_spend_the_last_unit_one_does() {
    on_each(|bank| the_last_unit_is_spent_once(bank, 30));
}

/// Case L18.
#[test]
fn transfers_in_both_directions_do_not_stop_each_other() {
    on_each(|bank| storms_in_both_directions_surface_nothing(bank, 20));
}

/// Case L5.
#[test]
fn one_id_in_two_batches_is_done_once() {
    on_each(|bank| an_id_in_two_batches_at_once_is_done_once(bank, 20));
}

/// Case L21.
#[test]
fn parts_of_a_reversal_race_for_the_whole() {
    on_each(|bank| of_many_reversals_no_more_than_the_whole_is_done(bank, 20));
}

#[test]
fn who_takes_all_there_is_takes_it_once() {
    on_each(|bank| as_much_as_possible_is_never_more(bank, 20));
}

/// Case L22.
#[test]
fn a_period_that_closes_beside_postings_is_closed_when_it_says_so() {
    on_each(|bank| a_closing_beside_postings_into_the_period(bank, 20));
}
