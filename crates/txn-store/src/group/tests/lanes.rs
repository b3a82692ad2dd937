//! Two lanes that take from the same lines: what neither may do to the other, and who is answered when one ends.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Wake, Waker},
};

use txn_change::{Expect, Key, Kind};

use super::*;
use crate::group::{Gathered, Lanes};

/// Counts how often a lane was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A store's lanes and their queue, driven by hand.
struct Hand {
    lanes: Lanes,
    queue: Queue<Waiting>,
    limits: StoreLimits,
    woken: [Arc<Woken>; 2],
}

/// What a lane gets when it asks.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Group(Vec<String>),
    Waits,
    Ends,
}

impl Hand {
    fn new(group_max: usize) -> Self {
        Self {
            lanes: Lanes::new(2),
            queue: Queue::new("changes", 1_000),
            limits: limits(group_max),
            woken: Default::default(),
        }
    }

    fn push(&self, changes: Vec<Change>) -> Answers {
        let call: Vec<(&str, &str)> = changes.iter().map(|change| ("a", change.id.as_str())).collect();
        let (mut waiting, answers) = call_of(&call, 0);
        waiting.iter_mut().zip(&changes).for_each(|(waiting, change)| waiting.commit.change = change.clone());
        self.queue.push_all(waiting, || Ok(())).unwrap();
        answers
    }

    fn gather(&self, lane: usize) -> Poll<Option<Gathered>> {
        let waker = Waker::from(Arc::clone(&self.woken[lane]));
        pin!(self.lanes.next(lane, &self.queue, &self.limits)).poll(&mut Context::from_waker(&waker))
    }

    /// The next group of a lane, as done but not yet said to be so.
    fn next(&self, lane: usize) -> Got {
        match self.gather(lane) {
            Poll::Ready(Some(gathered)) => {
                let begin = |(_, waiting): (Tenant, Waiting)| {
                    let id = waiting.commit.change.id.to_string();
                    waiting.answer(Ok(super::done()));
                    id
                };
                Got::Group(gathered.group.into_iter().map(begin).collect())
            }
            Poll::Ready(None) => Got::Ends,
            Poll::Pending => Got::Waits,
        }
    }

    fn done(&self, lane: usize) {
        self.lanes.done(lane, &self.queue, |_| ());
    }

    fn woken(&self, lane: usize) -> usize {
        self.woken[lane].0.load(Ordering::SeqCst)
    }
}

fn group(ids: &[&str]) -> Got {
    Got::Group(ids.iter().map(|id| (*id).to_owned()).collect())
}

fn record(key: &str) -> Key {
    Key::of(Kind::new("row").unwrap()).text(key).unwrap().build()
}

fn writes(id: &str, keys: &[&str]) -> Change {
    let put = |change: Change, key: &&str| {
        let body = Body::raw("record", 1, Vec::new());
        change.put(record(key), Expect::Absent, body, Vec::new())
    };
    keys.iter().fold(change(id, 0), put)
}

fn requires(id: &str, key: &str, expect: Expect) -> Change {
    change(id, 0).require(record(key), expect)
}

#[test]
fn the_changes_of_a_call_are_never_in_two_lanes() {
    let hand = Hand::new(2);
    let _call = hand.push((0..5).map(|n| change(&format!("one/{n}"), 0)).collect());
    let _other = hand.push(vec![change("other", 0)]);
    assert_eq!(hand.next(0), group(&["one/0", "one/1"]));
    assert_eq!(hand.next(1), group(&["other"]), "nothing of the call");
    hand.done(1);
    assert_eq!(hand.next(1), Got::Waits);
    hand.done(0);
    assert_eq!(hand.woken(1), 1, "what it waits for is there");
    assert_eq!(hand.next(1), group(&["one/2", "one/3"]));
    assert_eq!(hand.next(0), Got::Waits);
    hand.done(1);
    assert_eq!(hand.next(0), group(&["one/4"]));
    hand.done(0);
    assert_eq!(hand.queue.waiting(), 0);
}

/// A change was put off, and the rest of its call, which touches nothing of it, was begun by the other lane before it was there again.
#[test]
fn what_is_put_back_stays_before_the_rest_of_its_call() {
    let hand = Hand::new(2);
    let _call = hand.push((0..4).map(|n| change(&format!("one/{n}"), 0)).collect());
    let Poll::Ready(Some(gathered)) = hand.gather(0) else { panic!("there is work") };
    assert_eq!(hand.next(1), Got::Waits);
    hand.lanes.done(0, &hand.queue, |lines| lines.put_back(gathered.group));
    assert_eq!(hand.queue.waiting(), 4);
    assert_eq!(hand.next(1), group(&["one/0", "one/1"]));
    assert_eq!(hand.next(0), Got::Waits);
    hand.done(1);
    assert_eq!(hand.next(0), group(&["one/2", "one/3"]));
}

#[test]
fn what_follows_a_change_that_waits_in_its_call_waits_with_it() {
    let hand = Hand::new(10);
    let _first = hand.push(vec![writes("first", &["k"])]);
    assert_eq!(hand.next(0), group(&["first"]));
    let _call = hand.push(vec![writes("one/0", &["k"]), change("one/1", 0)]);
    let _other = hand.push(vec![change("other", 0)]);
    assert_eq!(hand.next(1), group(&["other"]));
    hand.done(0);
    assert_eq!(hand.next(0), group(&["one/0", "one/1"]));
}

#[test]
fn a_change_waits_for_the_lane_that_has_its_rows_and_is_not_put_off() {
    let hand = Hand::new(10);
    let _first = hand.push(vec![writes("first", &["k", "l"])]);
    assert_eq!(hand.next(0), group(&["first"]));
    let _rest = [writes("second", &["l"]), writes("free", &["m"]), change("first", 0)].map(|c| hand.push(vec![c]));
    assert_eq!(hand.next(1), group(&["free"]), "one has a row of the first in it, and one is the first once more");
    hand.done(1);
    assert_eq!(hand.next(1), Got::Waits);
    let _third = hand.push(vec![writes("third", &["k"])]);
    assert_eq!(hand.next(1), Got::Waits);
    hand.done(0);
    let Poll::Ready(Some(gathered)) = hand.gather(1) else { panic!("there is work") };
    let ids: Vec<&str> = gathered.group.iter().map(|(_, waiting)| waiting.commit.change.id.as_str()).collect();
    assert_eq!(ids, ["second", "first", "third"]);
    assert!(gathered.is_all && gathered.group.iter().all(|(_, waiting)| waiting.skips == 0));
}

#[test]
fn changes_that_only_read_a_row_may_be_in_both_lanes() {
    let hand = Hand::new(1);
    let at = Expect::Version(1);
    let _all = [requires("r0", "k", at), requires("r1", "k", at), requires("vacant", "k", Expect::Absent)]
        .map(|change| hand.push(vec![change]));
    assert_eq!(hand.next(0), group(&["r0"]));
    assert_eq!(hand.next(1), group(&["r1"]));
    hand.done(1);
    assert_eq!(hand.next(1), Got::Waits, "who requires that it is absent keeps it so, and that is a write");
    let _writer = hand.push(vec![writes("w", &["k"])]);
    assert_eq!(hand.next(1), Got::Waits);
    hand.done(0);
    assert_eq!(hand.next(1), group(&["vacant"]));
}

/// Two lanes that take turns with two rows kept a change that needs both of them waiting for ever.
#[test]
fn a_change_that_was_passed_over_often_gets_its_turn() {
    let hand = Hand::new(1);
    let mut answers = vec![hand.push(vec![writes("k/0", &["k"])])];
    assert_eq!(hand.next(0), group(&["k/0"]));
    answers.push(hand.push(vec![writes("both", &["k", "l"])]));
    for round in 1..100 {
        let (lane, key) = (round % 2, ["k", "l"][round % 2]);
        answers.push(hand.push(vec![writes(&format!("{key}/{round}"), &[key])]));
        let got = hand.next(lane);
        hand.done(1 - lane);
        let is_begun = got == group(&["both"]) || (got == Got::Waits && hand.next(lane) == group(&["both"]));
        if is_begun {
            return;
        }
    }
    panic!("it was never begun");
}

#[test]
fn a_lane_that_ends_frees_what_it_had_and_the_last_one_answers_what_is_left() {
    let hand = Hand::new(1);
    let calls = ["k/0", "k/1", "k/2"].map(|id| hand.push(vec![writes(id, &["k"])]));
    let Poll::Ready(Some(gathered)) = hand.gather(0) else { panic!("there is work") };
    assert_eq!(hand.next(1), Got::Waits);
    // It dies with its group in hand.
    drop(gathered);
    let closed = || Error::new(ErrorKind::Closed, "closed");
    hand.lanes.end(0, &hand.queue, closed);
    assert_eq!(hand.next(1), group(&["k/1"]));
    hand.lanes.end(1, &hand.queue, closed);
    let [lost, done, left] = calls.map(|answers| block_on(answers).unwrap().pop().unwrap());
    assert!(lost.is_none(), "unknown");
    assert!(matches!(done, Some(Ok(Outcome::Done(_)))));
    assert_eq!(left.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn both_lanes_work_until_a_closed_queue_is_empty() {
    let hand = Hand::new(1);
    let _calls = ["k/0", "k/1"].map(|id| hand.push(vec![writes(id, &["k"])]));
    hand.queue.close("closed");
    assert_eq!(hand.next(0), group(&["k/0"]));
    assert_eq!(hand.next(1), Got::Waits, "there is still something for it");
    hand.done(0);
    assert_eq!(hand.woken(1), 1);
    assert_eq!(hand.next(0), group(&["k/1"]));
    assert_eq!(hand.next(1), Got::Ends);
    hand.done(0);
    assert_eq!(hand.next(0), Got::Ends);
    assert_eq!(hand.queue.waiting(), 0);
}

/// A lane that has taken a group was still the one to be woken, and the idle one slept beside what had come.
#[test]
fn an_idle_lane_is_woken_while_the_other_is_busy() {
    let hand = Hand::new(10);
    assert_eq!([hand.next(0), hand.next(1)], [Got::Waits, Got::Waits]);
    let _first = hand.push(vec![change("first", 0)]);
    let busy = usize::from(hand.woken(1) == 1);
    assert_eq!(hand.next(busy), group(&["first"]));
    let _second = hand.push(vec![change("second", 0)]);
    assert_eq!((hand.woken(busy), hand.woken(1 - busy)), (1, 1));
    // What does not fit into one group is for the other lane.
    let hand = Hand::new(1);
    assert_eq!([hand.next(0), hand.next(1)], [Got::Waits, Got::Waits]);
    let (mut both, _one) = call_of(&[("a", "one")], 0);
    let (other, _other) = call_of(&[("a", "other")], 0);
    both.extend(other);
    hand.queue.push_all(both, || Ok(())).unwrap();
    let first = usize::from(hand.woken(1) == 1);
    assert_eq!(hand.woken(1 - first), 0);
    assert_eq!(hand.next(first), group(&["one"]));
    assert_eq!(hand.woken(1 - first), 1);
    assert_eq!(hand.next(1 - first), group(&["other"]));
}
