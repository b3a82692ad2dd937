//! Balances and statements against a fold over all facts.

use proptest::prelude::*;
use txn::{AsOf, Axis, StatementOf, change::Timestamp, core::money::Currency};

use super::{Bank, account, id, memory, on_each, seconds, simple, sqlite, usd};
use txn::core::ledger::{ClosePeriod, NormalSide, Transfer};

/// A transfer as the test knows it.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    effective_at: Timestamp,
    recorded_at: Timestamp,
    /// What it added to `b`.
    moved: i128,
}

#[derive(Debug, Clone)]
struct Step {
    /// Seconds that pass before it.
    after: u64,
    /// Seconds from the beginning at which it counts, where it says so.
    dated: Option<i64>,
    minor: i128,
    is_back: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u64..4, proptest::option::of(-30i64..60), 1i128..50, any::<bool>());
    let step = step.prop_map(|(after, dated, minor, is_back)| Step { after, dated, minor, is_back });
    proptest::collection::vec(step, 0..40)
}

async fn play(bank: &Bank, steps: &[Step]) -> Vec<Known> {
    bank.post(simple("fund-a", "cash", "a", 1_000_000)).await.unwrap();
    bank.post(simple("fund-c", "cash", "c", 1_000_000)).await.unwrap();
    let mut known = Vec::new();
    let mut sum = 0;
    for (number, step) in steps.iter().enumerate() {
        bank.clock.advance(std::time::Duration::from_secs(step.after));
        let is_back = step.is_back && sum >= step.minor;
        let (debit, credit, moved) = if is_back { ("b", "c", -step.minor) } else { ("a", "b", step.minor) };
        sum += moved;
        let name = format!("t-{number}");
        let at = step.dated.map(seconds);
        let tenant = at.map_or_else(|| bank.tenant.clone(), |at| bank.tenant.effective_at(at));
        let transfer = simple(&name, debit, credit, step.minor);
        // Every third in a chain of its own, so that its change has another name.
        let recorded_at = if number % 3 == 0 {
            tenant.ledger().transfer_chain(&name, vec![transfer]).await.unwrap().recorded_at()
        } else {
            tenant.ledger().transfer(&transfer).await.unwrap().recorded_at()
        };
        known.push(Known { name, effective_at: at.unwrap_or(recorded_at), recorded_at, moved });
    }
    known
}

fn fold(known: &[Known], effective: Option<Timestamp>, recorded: Option<Timestamp>) -> i128 {
    let counts = |fact: &&Known| {
        effective.is_none_or(|at| fact.effective_at <= at) && recorded.is_none_or(|at| fact.recorded_at <= at)
    };
    known.iter().filter(counts).map(|fact| fact.moved).sum()
}

async fn compare(bank: &Bank, steps: &[Step], asks: &[(i64, i64)]) {
    let known = play(bank, steps).await;
    for (effective, recorded) in asks {
        for effective in [None, Some(seconds(*effective))] {
            for recorded in [None, Some(seconds(*recorded))] {
                let found = bank.as_of("b", AsOf { effective, known: recorded }).await;
                assert_eq!(found, fold(&known, effective, recorded), "{effective:?} {recorded:?} of {known:#?}");
            }
        }
        statements(bank, &known, *effective, *recorded).await;
    }
}

/// Statements over a stretch, on both axes, in small pages.
async fn statements(bank: &Bank, known: &[Known], from: i64, until: i64) {
    let (from, until) = (seconds(from.min(until)), seconds(from.max(until)));
    for axis in [Axis::Effective, Axis::Recorded] {
        for known_at in [None, Some(until)] {
            let seen: Vec<&Known> =
                known.iter().filter(|fact| known_at.is_none_or(|at| fact.recorded_at <= at)).collect();
            let of = StatementOf { account: account("b"), currency: Currency::USD, from, until, axis, known: known_at };
            let place = |fact: &Known| match axis {
                Axis::Effective => fact.effective_at,
                Axis::Recorded => fact.recorded_at,
            };
            let before = |time: Timestamp| -> i128 {
                seen.iter().filter(|fact| place(fact) < time).map(|fact| fact.moved).sum()
            };
            let mut lines = Vec::new();
            let mut next = None;
            loop {
                let page = bank.tenant.ledger().statement(&of, next.as_ref(), 3).await.unwrap();
                let posted = |balance: txn::core::ledger::Balance| balance.posted(NormalSide::Credit).minor();
                assert_eq!((posted(page.opening), posted(page.closing)), (before(from), before(until)));
                lines.extend(page.lines);
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
            let posted = |balance: txn::core::ledger::Balance| balance.posted(NormalSide::Credit).minor();
            let mut running = before(from);
            for line in &lines {
                running += posted(line.moved);
                assert_eq!(posted(line.after), running);
            }
            assert_eq!(running, before(until), "opening and lines are closing");
            let times = lines.iter().map(|line| match axis {
                Axis::Effective => line.effective_at,
                Axis::Recorded => line.recorded_at,
            });
            assert!(times.is_sorted());
            let mut found: Vec<_> = lines.iter().map(|line| line.transfer.clone().unwrap()).collect();
            let within = seen.iter().filter(|fact| place(fact) >= from && place(fact) < until);
            let mut expected: Vec<_> = within.map(|fact| id(&fact.name)).collect();
            if axis == Axis::Recorded {
                assert_eq!(found, expected, "in the order of commit");
            }
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Cases L22, L24.
    #[test]
    fn balances_and_statements_on_both_axes_are_a_fold_over_the_facts(
        steps in steps(),
        asks in proptest::collection::vec((-35i64..80, -5i64..90), 1..4),
    ) {
        pollster::block_on(compare(&memory(), &steps, &asks));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    /// Cases L22, L24.
    #[test]
    fn and_so_they_are_on_sqlite(
        steps in steps(),
        asks in proptest::collection::vec((-35i64..80, -5i64..90), 1..3),
    ) {
        pollster::block_on(compare(&sqlite(), &steps, &asks));
    }
}

/// Case L32. The clock stands still, so that everything is recorded at one instant: only the order of commit tells what a statement had seen.
#[test]
fn the_pages_of_a_statement_stand_still_while_others_write() {
    on_each(async |bank| {
        for number in 0..10i64 {
            let dated = bank.tenant.effective_at(seconds(-number));
            let transfer = simple(&format!("t-{number}"), "cash", "b", 1);
            if number % 2 == 0 {
                dated.ledger().transfer(&transfer).await.unwrap();
            } else {
                bank.post(transfer).await.unwrap();
            }
        }
        for axis in [Axis::Effective, Axis::Recorded] {
            let (from, until) = (seconds(-100), seconds(100));
            let of = StatementOf { account: account("b"), currency: Currency::USD, from, until, axis, known: None };
            let ledger = bank.tenant.ledger();
            let whole = ledger.statement(&of, None, 1_000).await.unwrap();
            assert!(whole.next.is_none() && whole.lines.len() >= 10);
            let (mut lines, mut next, mut round) = (Vec::new(), None, 0i64);
            loop {
                let page = ledger.statement(&of, next.as_ref(), 2).await.unwrap();
                assert_eq!((page.opening, page.closing), (whole.opening, whole.closing));
                lines.extend(page.lines);
                next = page.next;
                if next.is_none() {
                    break;
                }
                round += 1;
                // Before, within and behind what was shown, dated and not.
                for (kind, at) in [("x", Some(-50)), ("y", Some(0)), ("z", Some(50)), ("w", None)] {
                    let name = format!("{kind}-{axis:?}-{round}");
                    let tenant = at.map_or_else(|| bank.tenant.clone(), |at| bank.tenant.effective_at(seconds(at)));
                    tenant.ledger().transfer(&simple(&name, "cash", "b", 7)).await.unwrap();
                }
            }
            assert_eq!(lines, whole.lines);
            assert!(ledger.statement(&of, None, 1_000).await.unwrap().lines.len() > lines.len(), "a new one has all");
            let other = StatementOf { until: seconds(99), ..of.clone() };
            let page = ledger.statement(&of, None, 1).await.unwrap();
            assert!(ledger.statement(&other, page.next.as_ref(), 1).await.is_err(), "a cursor is of its statement");
            for limit in [0, 1_001] {
                assert!(ledger.statement(&of, None, limit).await.is_err());
            }
        }
    });
}

/// A period that is closed keeps its statement as it was, while postings go on.
#[test]
fn a_statement_of_a_closed_period_stays_what_it_was() {
    on_each(async |bank| {
        bank.post(simple("t-1", "cash", "b", 5)).await.unwrap();
        bank.tenant.effective_at(seconds(-3)).ledger().transfer(&simple("t-2", "cash", "b", 6)).await.unwrap();
        bank.clock.advance(std::time::Duration::from_secs(10));
        bank.tenant.ledger().close_period(&ClosePeriod { until: seconds(5) }).await.unwrap();
        let of = StatementOf {
            account: account("b"),
            currency: Currency::USD,
            from: seconds(-10),
            until: seconds(5),
            axis: Axis::Effective,
            known: None,
        };
        let before = bank.tenant.ledger().statement(&of, None, 10).await.unwrap();
        for (number, at) in [None, Some(-3), Some(4), Some(5), Some(7)].into_iter().enumerate() {
            let tenant = at.map_or_else(|| bank.tenant.clone(), |at| bank.tenant.effective_at(seconds(at)));
            let transfer: Transfer = simple(&format!("u-{number}"), "cash", "b", 1);
            let done = tenant.ledger().transfer(&transfer).await;
            assert_eq!(done.is_ok(), at.is_none_or(|at| at >= 5));
        }
        assert_eq!(bank.tenant.ledger().statement(&of, None, 10).await.unwrap(), before);
        assert_eq!(before.closing.posted(NormalSide::Credit), usd(11));
    });
}
