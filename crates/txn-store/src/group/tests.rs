//! Whose turn it is, what fits into a group, and who is answered without being begun.

#[cfg(feature = "postgres")]
mod lanes;

use std::time::Duration;

use pollster::block_on;
use txn_change::{Body, ChangeId, Fingerprint, Tenant};

use super::*;
use crate::{
    error::ErrorKind,
    store::{Freshness, Receipt},
};

type Answers = oneshot::Receiver<Vec<Answer>>;

fn change(id: &str, body: usize) -> Change {
    let change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("test", id.as_bytes()));
    change.answer(Body::raw("answer", 1, vec![b' '; body]))
}

/// A call of these changes, each a tenant and an id.
fn call_of(changes: &[(&str, &str)], body: usize) -> (Vec<Waiting>, Answers) {
    let (reply, answers) = oneshot::channel();
    let state = CallState {
        answers: changes.iter().map(|_| None).collect(),
        reply: Some(reply),
        left: changes.len(),
        begun: 0,
        seat: None,
    };
    let call = Arc::new(Call { observe: Observe("test"), span: None, since: Instant::now(), state: Mutex::new(state) });
    let waiting = changes.iter().enumerate().map(|(at, (tenant, id))| {
        let commit = Commit { tenant: Tenant::new(tenant).unwrap(), change: change(id, body) };
        Waiting {
            bytes: weigh(&commit.change),
            commit,
            since: Instant::now(),
            #[cfg(feature = "postgres")]
            skips: 0,
            #[cfg(feature = "postgres")]
            passes: 0,
            #[cfg(feature = "postgres")]
            touches: Box::default(),
            at,
            call: Arc::clone(&call),
        }
    });
    (waiting.collect(), answers)
}

/// So many calls of one change each; the answers must be kept for the calls to count as waiting.
fn calls(lines: &mut Lines, tenant: &str, count: usize) -> Vec<Answers> {
    let one = |number: usize| {
        let (waiting, answers) = call_of(&[(tenant, &format!("{tenant}/{number}"))], 0);
        lines.add(waiting);
        answers
    };
    (0..count).map(one).collect()
}

fn limits(group_max: usize) -> StoreLimits {
    StoreLimits { group_max, ..StoreLimits::default() }
}

/// The next group by the ids of its changes, each answered as done.
fn next(lines: &mut Lines, limits: &StoreLimits) -> Vec<String> {
    let begin = |(_, waiting): (Tenant, Waiting)| {
        let id = waiting.commit.change.id.to_string();
        waiting.answer(Ok(done()));
        id
    };
    lines.gather(limits).into_iter().map(begin).collect()
}

fn done() -> Outcome {
    Outcome::Done(Receipt {
        answer: Body::raw("answer", 1, Vec::new()),
        replayed: false,
        recorded_at: txn_change::Timestamp::EPOCH,
        freshness: Freshness(1),
        head: txn_change::Link::START,
    })
}

fn of(group: &[String], tenant: &str) -> usize {
    group.iter().filter(|id| id.starts_with(&format!("{tenant}/"))).count()
}

#[test]
fn one_change_beside_ten_thousand_of_another_tenant_is_in_the_very_next_group() {
    for group_max in [2, 3, 1_024] {
        let mut lines = Lines::default();
        let _busy = calls(&mut lines, "busy", 10_000);
        let _calm = calls(&mut lines, "calm", 1);
        let group = next(&mut lines, &limits(group_max));
        assert_eq!((group.len(), of(&group, "calm")), (group_max, 1));
    }
}

#[test]
fn a_tenant_that_finds_the_group_full_is_first_in_the_next_one() {
    let weight = weigh(&change("a/0", 0));
    for limits in [limits(2), StoreLimits { group_bytes_max: 2 * weight, ..limits(3) }] {
        let mut lines = Lines::default();
        let _all = ["a", "b", "c"].map(|tenant| calls(&mut lines, tenant, 10));
        let mut begun = Vec::new();
        // As many groups of two as give each tenant two turns.
        for _ in 0..3 {
            begun.extend(next(&mut lines, &limits));
        }
        assert_eq!(["a", "b", "c"].map(|tenant| of(&begun, tenant)), [2; 3], "{begun:?}");
    }
}

#[test]
fn tenants_share_a_group_and_what_one_does_not_need_goes_to_the_others() {
    let mut lines = Lines::default();
    let (_a, _b, _c) = (calls(&mut lines, "a", 100), calls(&mut lines, "b", 100), calls(&mut lines, "c", 2));
    let group = next(&mut lines, &limits(30));
    assert_eq!(group.len(), 30);
    let [a, b, c] = ["a", "b", "c"].map(|tenant| of(&group, tenant));
    assert!(c == 2 && a >= 10 && b >= 10, "{a} of a, {b} of b, {c} of c");
}

#[test]
fn changes_of_one_call_keep_their_order_even_over_tenants_and_groups() {
    let mut lines = Lines::default();
    let _before = calls(&mut lines, "b", 3);
    let whole = [("a", "one/0"), ("b", "one/1"), ("c", "one/2"), ("a", "one/3"), ("b", "one/4")];
    let (waiting, _answers) = call_of(&whole, 0);
    lines.add(waiting);
    let _behind = (calls(&mut lines, "a", 2), calls(&mut lines, "c", 2));
    for group_max in [1, 2, 3] {
        let group = lines.gather(&limits(group_max));
        let back = group.iter().map(|(line, waiting)| (line.to_string(), waiting.commit.change.id.to_string()));
        assert!(back.filter(|(_, id)| id.starts_with("one/")).all(|(line, _)| line == "a"), "the line of its first");
        lines.put_back(group);
        assert_eq!(lines.len(), 12, "put back");
    }
    let mut begun = Vec::new();
    while !lines.is_empty() {
        begun.extend(next(&mut lines, &limits(2)));
    }
    begun.retain(|id| id.starts_with("one/"));
    assert_eq!(begun, ["one/0", "one/1", "one/2", "one/3", "one/4"]);
}

#[test]
fn what_is_put_back_is_first_in_its_line() {
    let mut lines = Lines::default();
    let _answers = calls(&mut lines, "a", 5);
    let group = lines.gather(&limits(3));
    assert!(!group[0].1.is_of_call_of(&group[1].1));
    let rest = group.into_iter().skip(1).collect();
    lines.put_back(rest);
    assert_eq!(next(&mut lines, &limits(10)), ["a/1", "a/2", "a/3", "a/4"]);
    assert!(lines.is_empty());
    // Also into a line that has gone.
    let _answers = calls(&mut lines, "a", 2);
    let group = lines.gather(&limits(2));
    lines.put_back(group);
    assert_eq!(next(&mut lines, &limits(10)), ["a/0", "a/1"]);
}

#[test]
fn a_change_that_waited_longer_than_it_may_is_overloaded_and_not_begun() {
    let wait_max = Duration::from_secs(1);
    let limits = StoreLimits { wait_max, ..StoreLimits::default() };
    let mut lines = Lines::default();
    let (mut late, late_answers) = call_of(&[("a", "late/0"), ("a", "late/1")], 0);
    // The second comes from the future, so that it is in time however slow the test is.
    late[0].since = Instant::now().checked_sub(wait_max + Duration::from_millis(1)).unwrap();
    late[1].since = Instant::now() + wait_max;
    lines.add(late);
    let _behind = calls(&mut lines, "a", 1);
    assert_eq!(next(&mut lines, &limits), ["late/1", "a/0"]);
    let answers: Vec<_> = block_on(late_answers).unwrap().into_iter().map(Option::unwrap).collect();
    let error = answers[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(error.is_retryable() && error.to_string().contains("at most 1s"), "{error}");
    assert!(matches!(answers[1], Ok(Outcome::Done(_))));
    assert!(lines.is_empty());
}

#[test]
fn a_call_that_was_dropped_is_not_begun() {
    let mut lines = Lines::default();
    let (waiting, answers) = call_of(&[("a", "dropped/0"), ("a", "dropped/1")], 0);
    lines.add(waiting);
    let _behind = calls(&mut lines, "a", 1);
    drop(answers);
    assert_eq!(next(&mut lines, &limits(1)), ["a/0"], "it takes no place in the group");
    assert!(lines.is_empty());
}

#[test]
fn a_group_holds_as_many_changes_as_it_may_and_no_more() {
    for group_max in [1, 2, 7] {
        for count in [group_max - 1, group_max, group_max + 1] {
            let mut lines = Lines::default();
            let _answers = calls(&mut lines, "a", count);
            assert_eq!(next(&mut lines, &limits(group_max)).len(), count.min(group_max));
            assert_eq!(lines.len(), count - count.min(group_max));
        }
    }
}

#[test]
fn a_group_holds_as_many_bytes_as_it_may_but_always_one_change() {
    let weight = weigh(&change("large/0", 10_000));
    for (group_bytes_max, expected) in [(3 * weight, 3), (3 * weight - 1, 2), (weight, 1), (weight - 1, 1), (0, 1)] {
        let limits = StoreLimits { group_bytes_max, ..StoreLimits::default() };
        let mut lines = Lines::default();
        let (waiting, _answers) =
            call_of(&[("a", "large/0"), ("b", "large/1"), ("a", "large/2"), ("a", "large/3")], 10_000);
        lines.add(waiting);
        assert_eq!(next(&mut lines, &limits).len(), expected, "{group_bytes_max} bytes");
    }
}

#[test]
fn a_call_in_the_hands_of_a_committer_that_dies_is_unknown() {
    let queue = Queue::new("changes", 10);
    let commits = ["x", "y"].map(|id| Commit { tenant: Tenant::default(), change: change(id, 0) });
    let (limits, mut lines) = (StoreLimits::default(), Lines::default());
    let committer = || {
        let mut taken = std::collections::VecDeque::new();
        assert!(queue.take(&mut taken, usize::MAX, true));
        lines.add(taken);
        let mut group = lines.gather(&limits);
        let (_, last) = group.pop().unwrap();
        last.answer(Ok(done()));
        drop(group);
    };
    let results = std::thread::scope(|scope| {
        let committer = scope.spawn(committer);
        let results = block_on(commit(&queue, &limits, Observe("test"), None, commits.to_vec()));
        committer.join().unwrap();
        results
    });
    assert!(
        matches!(&results[..], [Ok(Outcome::Unknown(id)), Ok(Outcome::Done(_))] if id.as_str() == "x"),
        "{results:?}"
    );
    assert_eq!(queue.waiting(), 2, "until the committer says that it is done");
    queue.done(2);
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn a_call_that_is_given_up_is_unknown_as_far_as_it_was_begun_and_the_rest_is_never_begun() {
    let mut lines = Lines::default();
    let (waiting, answers) = call_of(&[("a", "x/0"), ("a", "x/1"), ("a", "x/2"), ("a", "x/3")], 0);
    let call = Arc::clone(&waiting[0].call);
    lines.add(waiting);
    let mut group = lines.gather(&limits(3));
    assert_eq!(group.len(), 3);
    group.remove(1).1.answer(Ok(done()));
    call.give_up(Duration::from_secs(1));
    let answers = block_on(answers).unwrap();
    assert!(matches!(&answers[..], [None, Some(Ok(Outcome::Done(_))), None, Some(Err(_))]), "{answers:?}");
    let not_begun = answers[3].as_ref().unwrap().as_ref().unwrap_err();
    assert!(not_begun.kind() == ErrorKind::Overloaded && not_begun.to_string().contains("1s"), "{not_begun}");
    // What comes now comes too late, and harms nobody.
    call.give_up(Duration::from_secs(1));
    group.into_iter().for_each(|(_, waiting)| waiting.answer(Ok(done())));
    let _behind = calls(&mut lines, "a", 1);
    assert_eq!(next(&mut lines, &limits(10)), ["a/0"], "the last change of the call was not begun");
    assert!(lines.is_empty());
}

/// A committer and the one who gives up meet at a change at one instant: it is begun or refused, never both.
#[test]
fn a_change_that_is_given_up_while_it_is_begun_is_either_begun_or_refused() {
    let (mut begun, mut refused) = (0, 0);
    for round in 0..2_000 {
        let (waiting, answers) = call_of(&[("a", "x/0")], 0);
        let call = Arc::clone(&waiting[0].call);
        let mut lines = Lines::default();
        lines.add(waiting);
        let group = std::thread::scope(|scope| {
            let gives_up = scope.spawn(|| {
                if round % 2 == 0 {
                    std::thread::yield_now();
                }
                call.give_up(Duration::from_secs(1));
            });
            let group = lines.gather(&limits(1));
            gives_up.join().unwrap();
            group
        });
        match &block_on(answers).unwrap()[..] {
            [None] => begun += usize::from(group.len() == 1),
            [Some(Err(_))] => refused += usize::from(group.is_empty()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(begun + refused, 2_000, "{begun} begun, {refused} refused");
}

#[test]
fn what_may_not_be_taken_now_keeps_its_place_and_the_others_pass() {
    let mut lines = Lines::default();
    let _all = ["a", "b", "c"].map(|tenant| calls(&mut lines, tenant, 6));
    let limits = limits(6);
    let mut gather = |may_take: fn(&mut Waiting) -> bool| -> Vec<String> {
        let group = lines.gather_if(&limits, may_take);
        group.iter().map(|(_, waiting)| waiting.commit.change.id.to_string()).collect()
    };
    let is_not_of_a = |waiting: &mut Waiting| waiting.commit.tenant.as_str() != "a";
    assert_eq!(gather(is_not_of_a), ["b/0", "b/1", "b/2", "c/0", "c/1", "c/2"]);
    assert_eq!(gather(|_| true), ["a/0", "a/1", "b/3", "b/4", "c/3", "c/4"], "the turn of a was kept");
    assert_eq!(gather(|_| false), [""; 0]);
    let is_even = |waiting: &mut Waiting| waiting.commit.change.id.as_bytes().last().is_some_and(|n| n % 2 == 0);
    assert_eq!(gather(is_even), ["a/2", "a/4"]);
    assert_eq!(gather(|_| true), ["b/5", "c/5", "a/3", "a/5"]);
}

/// A call as large as the queue from one tenant, and the next tenant was overloaded at once; a call that was larger still was told to come again, for ever.
#[test]
fn a_tenant_that_fills_its_share_makes_no_other_overloaded() {
    let (queue, limits) = (Queue::new("changes", 100), StoreLimits { queue_max: 100, ..StoreLimits::default() });
    let call = |tenant: &str, count: usize| {
        let commit =
            |number| Commit { tenant: Tenant::new(tenant).unwrap(), change: change(&format!("{tenant}/{number}"), 0) };
        let batch = (0..count).map(commit).collect();
        let mut call = Box::pin(commit_known(&queue, &limits, Observe("test"), None, batch, |_| {}));
        match call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Pending => Ok(call),
            std::task::Poll::Ready(mut told) => Err(told.remove(0).unwrap_err().kind()),
        }
    };
    assert_eq!(call("busy", 76).err(), Some(ErrorKind::Invalid), "it would never fit");
    let busy = call("busy", 75).unwrap();
    assert_eq!(call("busy", 1).err(), Some(ErrorKind::Overloaded));
    let calm = call("calm", 3).unwrap();
    assert_eq!(call("calm", 1).err(), Some(ErrorKind::Overloaded), "more than a 32nd");
    let _late = call("late", 3).unwrap();
    // Given up, they still stand in the queue, until they are taken and found to be wanted by nobody.
    drop((busy, calm));
    assert_eq!(call("busy", 1).err(), Some(ErrorKind::Overloaded));
    let mut taken = std::collections::VecDeque::new();
    assert!(queue.take(&mut taken, 78, true));
    taken.clear();
    queue.done(78);
    drop(call("busy", 72).unwrap());
}
