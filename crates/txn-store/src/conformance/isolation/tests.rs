//! Histories written by hand: every anomaly by its name, and valid ones that look like it.

#![allow(clippy::arithmetic_side_effects, reason = "tests calculate with small numbers")]

use super::*;

fn t(name: &str, begin: u64, end: u64) -> Transaction {
    Transaction::new(name, begin, end)
}

fn kinds(transactions: impl IntoIterator<Item = Transaction>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = check(&History::of(transactions)).iter().map(|anomaly| anomaly.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// All at once, so that time orders nothing.
fn at_once(transactions: impl IntoIterator<Item = Transaction>) -> Vec<Kind> {
    kinds(transactions.into_iter().enumerate().map(|(at, t)| Transaction {
        begin: at as u64,
        end: Some(1_000 + at as u64),
        ..t
    }))
}

#[test]
fn a_serial_history_is_clean() {
    let history = [
        t("a", 1, 2).read("x", &[]).append("x", 1).append("y", 1),
        t("b", 3, 4).read("x", &[1]).append("x", 2).read("x", &[1, 2]).length("y", 1),
        t("c", 5, 6).append("x", 3).read("x", &[1, 2, 3]).length("x", 3),
        t("d", 7, 8).read("x", &[1, 2, 3]).read("y", &[1]).read("never", &[]),
    ];
    assert_eq!(kinds(history), []);
    assert_eq!(kinds([]), []);
}

#[test]
fn writes_behind_each_other_are_a_dirty_write() {
    let history = [
        t("a", 0, 0).append("x", 1).append("y", 1),
        t("b", 0, 0).append("x", 2).append("y", 2),
        t("c", 0, 0).read("x", &[1, 2]),
        t("d", 0, 0).read("y", &[2, 1]),
    ];
    assert_eq!(at_once(history), [Kind::DirtyWrite]);
}

#[test]
fn what_was_refused_must_not_be_seen() {
    let history = [t("a", 1, 2).append("x", 1).refused(), t("b", 3, 4).read("x", &[1])];
    assert_eq!(kinds(history), [Kind::AbortedRead]);
    let unseen = [t("a", 1, 2).append("x", 1).refused(), t("b", 3, 4).append("x", 2), t("c", 5, 6).read("x", &[2])];
    assert_eq!(kinds(unseen), []);
}

#[test]
fn a_list_must_not_be_seen_between_two_appends_of_one() {
    let history =
        [t("a", 0, 0).append("x", 1).append("x", 2), t("b", 0, 0).read("x", &[1]), t("c", 0, 0).read("x", &[1, 2])];
    // What is missed of a transaction that is seen is read skew too.
    assert_eq!(at_once(history), [Kind::IntermediateRead, Kind::ReadSkew]);
    let by_length =
        [t("a", 0, 0).append("x", 1).append("x", 2), t("b", 0, 0).length("x", 1), t("c", 0, 0).read("x", &[1, 2])];
    assert_eq!(at_once(by_length), [Kind::IntermediateRead, Kind::ReadSkew]);
    let own = [t("a", 0, 0).append("x", 1).read("x", &[1]).append("x", 2), t("c", 0, 0).read("x", &[1, 2])];
    assert_eq!(at_once(own), []);
}

#[test]
fn seeing_each_other_is_circular() {
    let history = [t("a", 0, 0).append("x", 1).read("y", &[2]), t("b", 0, 0).append("y", 2).read("x", &[1])];
    assert_eq!(at_once(history), [Kind::CircularFlow]);
}

#[test]
fn half_of_a_transaction_seen_is_read_skew() {
    let history = [
        t("a", 0, 0).append("x", 1).append("y", 1),
        t("b", 0, 0).read("x", &[1]).read("y", &[]),
        t("c", 0, 0).read("y", &[1]),
    ];
    assert_eq!(at_once(history), [Kind::ReadSkew]);
    let by_length = [
        t("a", 0, 0).append("x", 1).append("y", 1),
        t("b", 0, 0).length("x", 1).length("y", 0),
        t("c", 0, 0).read("y", &[1]).read("x", &[1]),
    ];
    assert_eq!(at_once(by_length), [Kind::ReadSkew]);
}

#[test]
fn two_that_miss_each_other_are_write_skew() {
    let history = |last: [&[u64]; 2]| {
        [
            t("a", 0, 0).read("x", &[]).append("y", 1),
            t("b", 0, 0).read("y", &[]).append("x", 2),
            t("c", 0, 0).read("x", last[0]).read("y", last[1]),
        ]
    };
    assert_eq!(at_once(history([&[2], &[1]])), [Kind::WriteSkew]);
    let lengths = [
        t("a", 0, 0).length("x", 0).append("y", 1),
        t("b", 0, 0).length("y", 0).append("x", 2),
        t("c", 0, 0).read("x", &[2]).read("y", &[1]),
    ];
    assert_eq!(at_once(lengths), [Kind::WriteSkew]);
    // Nobody read the lists afterwards; that both were told done is enough.
    let unread = history([&[], &[]]).into_iter().take(2);
    assert_eq!(at_once(unread), [Kind::WriteSkew]);
}

#[test]
fn three_that_miss_one_another_in_a_ring_are_write_skew() {
    let history = [
        t("a", 0, 0).read("x", &[]).append("y", 1),
        t("b", 0, 0).read("y", &[]).append("z", 2),
        t("c", 0, 0).read("z", &[]).append("x", 3),
        t("d", 0, 0).read("x", &[3]).read("y", &[1]).read("z", &[2]),
    ];
    let found = check(&History::of(history));
    assert_eq!(
        found.iter().map(|anomaly| (anomaly.kind, anomaly.cycle.len())).collect::<Vec<_>>(),
        [(Kind::WriteSkew, 3)]
    );
}

#[test]
fn appending_to_one_state_twice_is_a_lost_update() {
    let history = [
        t("a", 0, 0).read("x", &[1]).append("x", 2),
        t("b", 0, 0).read("x", &[1]).append("x", 3),
        t("c", 0, 0).append("x", 1),
        t("d", 0, 0).read("x", &[1, 2, 3]),
    ];
    assert_eq!(at_once(history), [Kind::ReadSkew, Kind::LostUpdate]);
    // Blind appends lose nothing.
    let blind = [t("a", 0, 0).append("x", 2), t("b", 0, 0).append("x", 3), t("d", 0, 0).read("x", &[2, 3])];
    assert_eq!(at_once(blind), []);
}

#[test]
fn readings_that_part_are_incompatible() {
    let history = [
        t("a", 0, 0).append("x", 1),
        t("b", 0, 0).append("x", 2),
        t("c", 0, 0).read("x", &[1, 2]),
        t("d", 0, 0).read("x", &[2]),
    ];
    assert_eq!(at_once(history), [Kind::IncompatibleOrders]);
}

#[test]
fn a_value_twice_is_a_duplicate_and_one_of_nobody_is_invented() {
    assert_eq!(at_once([t("a", 0, 0).append("x", 1), t("b", 0, 0).read("x", &[1, 1])]), [Kind::Duplicate]);
    assert_eq!(at_once([t("a", 0, 0).append("x", 1), t("b", 0, 0).append("x", 1)]), [Kind::Duplicate]);
    assert_eq!(at_once([t("a", 0, 0).append("x", 1), t("b", 0, 0).read("x", &[1, 7])]), [Kind::Invented]);
    assert_eq!(at_once([t("a", 0, 0).append("x", 1), t("b", 0, 0).length("x", 2)]), [Kind::Invented]);
    // Nobody reads the values, but there may be as many.
    assert_eq!(
        at_once([t("a", 0, 0).append("x", 1), t("b", 0, 0).append("x", 2).unknown(), t("c", 0, 0).length("x", 2)]),
        []
    );
}

#[test]
fn a_transaction_agrees_with_itself() {
    assert_eq!(at_once([t("a", 0, 0).append("x", 1).read("x", &[])]), [Kind::Internal]);
    assert_eq!(at_once([t("a", 0, 0).length("x", 3).read("x", &[])]), [Kind::Invented, Kind::Internal]);
    let twice = [t("a", 0, 0).read("x", &[]).read("x", &[1]), t("b", 0, 0).append("x", 1)];
    assert_eq!(at_once(twice), [Kind::Internal]);
}

#[test]
fn what_was_over_is_seen_by_what_begins_later() {
    let history =
        |begin: u64| [t("a", 1, 3).append("x", 1), t("b", begin, 9).read("x", &[]), t("c", 10, 11).read("x", &[1])];
    assert_eq!(kinds(history(2)), [], "they ran at once");
    assert_eq!(kinds(history(4)), [Kind::RealTime]);
    assert_eq!(
        kinds([t("a", 1, 2).append("x", 1), t("b", 3, 4).read("x", &[])]),
        [Kind::RealTime],
        "acknowledged and never seen"
    );
    assert_eq!(
        kinds([t("a", 1, 2).read("x", &[1]), t("b", 3, 4).append("x", 1)]),
        [Kind::RealTime],
        "seen before it began"
    );
}

#[test]
fn time_orders_over_others_too() {
    // The reading begins after `b`, which saw what `a` is still about to be told.
    let history = [t("a", 1, 20).append("x", 1), t("b", 2, 3).read("x", &[1]), t("c", 4, 5).read("x", &[])];
    let found = check(&History::of(history));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].kind, found[0].cycle.len()), (Kind::RealTime, 3));
}

#[test]
fn a_later_change_of_a_call_sees_the_earlier() {
    let mut history = vec![t("a", 1, 9).append("x", 1), t("b", 1, 9).length("x", 0), t("c", 10, 11).read("x", &[1])];
    assert_eq!(kinds(history.clone()), []);
    history[1].behind = Some(0);
    assert_eq!(kinds(history), [Kind::RealTime]);
}

#[test]
fn an_unknown_that_was_seen_happened() {
    let unknown = || t("u", 1, 2).read("y", &[]).append("x", 1).unknown();
    // It has no end: it may come at any time later, once.
    assert_eq!(kinds([unknown(), t("a", 3, 4).read("x", &[]), t("b", 5, 6).read("x", &[1])]), []);
    assert_eq!(kinds([unknown(), t("a", 3, 4).read("x", &[1]), t("b", 5, 6).read("x", &[])]), [Kind::RealTime]);
    // Its own readings count then: it stands before `w`, which stands before what missed it.
    let history = [
        unknown(),
        t("w", 3, 4).append("y", 2),
        t("a", 5, 6).read("x", &[]).read("y", &[2]),
        t("b", 7, 8).read("x", &[1]),
    ];
    assert_eq!(kinds(history), [Kind::WriteSkew]);
    // An unknown that only an unknown saw, which a third saw.
    let chain = [
        t("u", 1, 2).append("x", 1).unknown(),
        t("v", 1, 2).read("x", &[1]).append("y", 1).unknown(),
        t("a", 3, 4).read("y", &[1]),
        t("b", 5, 6).read("x", &[]),
    ];
    assert_eq!(kinds(chain), [Kind::RealTime]);
}

#[test]
fn an_unknown_that_nobody_saw_says_nothing() {
    let history = [
        t("u", 1, 2).read("y", &[1, 2, 3]).append("x", 1).unknown(),
        t("v", 1, 2).read("x", &[1]).append("z", 1).unknown(),
        t("a", 3, 4).read("x", &[]).read("y", &[]),
    ];
    assert_eq!(kinds(history), []);
}

#[test]
fn an_anomaly_tells_its_story() {
    let history = [
        t("a", 1, 3).read("x", &[]).append("y", 1),
        t("b", 2, 4).read("y", &[]).append("x", 2),
        t("c", 5, 6).read("x", &[2]).read("y", &[1]),
    ];
    let found = check(&History::of(history));
    let story = "G2-item, write skew: each missed what another wrote\n  \
        a (1–3, done): reads x = [], appends 1 to y\n    it did not see what b appended to x (rw)\n  \
        b (2–4, done): reads y = [], appends 2 to x\n    it did not see what a appended to y (rw)";
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [story]);
}

/// A serial history of many callers at once, over lists that grow to `length`.
fn long(transactions: u64, length: u64, callers: u64) -> Vec<Transaction> {
    let mut lists: Vec<u64> = Vec::new();
    (0..transactions)
        .map(|at| {
            let key = format!("x-{}", at / length);
            if at % length == 0 {
                lists.clear();
            }
            let read = Transaction::new(format!("t-{at}"), at * 2 + 1, at * 2 + callers * 2).read(&key, &lists);
            lists.push(at);
            read.append(&key, at)
        })
        .collect()
}

#[test]
fn a_hundred_thousand_transactions_are_checked_in_seconds() {
    let started = std::time::Instant::now();
    assert_eq!(kinds(long(100_000, 50, 10)), []);
    // One that saw what nearly the last of them wrote: one component over all that lies between.
    let mut history = long(100_000, 50, 10);
    let last = history.len() - 2;
    history[10].ops.insert(0, Op::Length { key: "late".into(), length: 1 });
    history[last].ops.push(Op::Append { key: "late".into(), value: 1 });
    history[last + 1].ops.push(Op::Read { key: "late".into(), list: vec![1] });
    assert_eq!(kinds(history), [Kind::RealTime]);
    assert!(started.elapsed().as_secs() < 300, "{:?}", started.elapsed());
}

#[test]
fn a_hundred_thousand_anomalies_are_told_in_short() {
    let skewed = (0..100_000u64).map(|at| {
        let (mine, other) = (format!("x-{}", at / 2 * 2 + at % 2), format!("x-{}", at / 2 * 2 + (at + 1) % 2));
        Transaction::new(format!("t-{at}"), 1, 1_000_000).read(&other, &[]).append(&mine, at)
    });
    let found = check(&History::of(skewed));
    assert!(!found.is_empty() && found.iter().all(|anomaly| anomaly.kind == Kind::WriteSkew), "{found:?}");
    assert!(found.len() < 10);
}
