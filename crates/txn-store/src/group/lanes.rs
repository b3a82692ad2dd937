//! Several committers of one process, its *lanes*, that take from the same lines, so that one evaluates while another is flushed.
//!
//! A change that touches what a lane has in flight waits for that lane, and is not handed to the database to be found locked there. So does what follows it in its call: the changes of one call are never
//! in two lanes.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::RandomState},
    future::poll_fn,
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use txn_change::{Expect, Tenant};

use super::{Lines, Queue, Waiting, lines::PASSED_MAX};
use crate::{error::Error, limits::StoreLimits};

/// A change that was passed over so often reserves what it touches, so that those who come later do not keep it waiting.
const PASSES_MAX: u32 = 4;

/// What a change touches, as a hash: two that differ and are taken for the same only wait for each other.
pub(super) struct Touch {
    hash: u64,
    is_written: bool,
}

/// What waits for the lanes, and what they have in flight.
pub(crate) struct Lanes {
    state: Mutex<State>,
    hasher: RandomState,
}

struct State {
    lines: Lines,
    lanes: Vec<Lane>,
    wakers: Vec<Waker>,
}

#[derive(Default)]
struct Lane {
    flight: Flight,
    /// How much of the queue's weight it holds.
    weight: usize,
    /// All that waits waits for another lane: only what is new has to be looked at.
    is_blocked: bool,
    has_ended: bool,
}

/// What is touched by changes that are in flight, or reserved by one that waits.
#[derive(Default)]
struct Flight {
    /// Whether it is written.
    touched: HashMap<u64, bool>,
    calls: HashSet<usize>,
}

/// A group, each change with its line, and whether nothing else was waiting.
pub(crate) struct Gathered {
    pub(crate) group: Vec<(Tenant, Waiting)>,
    pub(crate) is_all: bool,
}

impl Lanes {
    pub(crate) fn new(count: usize) -> Self {
        let lanes = (0..count).map(|_| Lane::default()).collect();
        let state = State { lines: Lines::default(), lanes, wakers: Vec::new() };
        Self { state: Mutex::new(state), hasher: RandomState::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic could leave half done is a line that is answered as unknown.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next group of a lane, which has nothing in flight; waits until there is one. `None` when the queue is closed and nothing waits.
    pub(crate) async fn next(&self, lane: usize, queue: &Queue<Waiting>, limits: &StoreLimits) -> Option<Gathered> {
        poll_fn(|context| self.poll_next(context, lane, queue, limits)).await
    }

    fn poll_next(
        &self,
        context: &mut Context<'_>,
        lane: usize,
        queue: &Queue<Waiting>,
        limits: &StoreLimits,
    ) -> Poll<Option<Gathered>> {
        let mut state = self.state();
        let mut new = VecDeque::new();
        let is_open = loop {
            match queue.poll_take(context, &mut new, usize::MAX) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => break false,
                Poll::Pending => break true,
            }
        };
        for waiting in &mut new {
            waiting.touches = self.touches(waiting);
        }
        // Where more waits than is looked at, what is new would hardly be reached.
        let is_crowded = state.lines.len() > limits.group_max.saturating_mul(PASSED_MAX);
        let is_blocked =
            state.is_blocked(lane) && (is_crowded || new.iter().all(|waiting| !state.may_begin(lane, waiting)));
        state.lines.add(new);
        let group = if is_blocked { Vec::new() } else { state.gather(lane, queue, limits) };
        if !group.is_empty() {
            queue.forget(context.waker());
            let is_all = state.lines.is_empty();
            let wakers = if is_all { Vec::new() } else { std::mem::take(&mut state.wakers) };
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(Gathered { group, is_all }));
        }
        if !is_open && state.lines.is_empty() {
            return Poll::Ready(None);
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Says that a lane has nothing in flight any more; `put_back` may give back to the lines what it could not do.
    pub(crate) fn done(&self, lane: usize, queue: &Queue<Waiting>, put_back: impl FnOnce(&mut Lines)) {
        let mut state = self.state();
        let before = state.lines.len();
        put_back(&mut state.lines);
        let after = state.lines.len();
        let mut weight = 0;
        if let Some(lane) = state.lanes.get_mut(lane) {
            lane.flight = Flight::default();
            weight = std::mem::take(&mut lane.weight);
        }
        state.lanes.iter_mut().for_each(|lane| lane.is_blocked = false);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        queue.done(weight.saturating_add(before).saturating_sub(after));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A lane ends. The last one gives what is left an answer: better that than none.
    pub(crate) fn end(&self, lane: usize, queue: &Queue<Waiting>, answer: impl Fn() -> Error) {
        self.done(lane, queue, |_| ());
        let mut state = self.state();
        if let Some(lane) = state.lanes.get_mut(lane) {
            lane.has_ended = true;
        }
        if state.lanes.iter().all(|lane| lane.has_ended) {
            let mut left = VecDeque::new();
            queue.take(&mut left, usize::MAX, false);
            left.extend(state.lines.drain());
            drop(state);
            left.into_iter().for_each(|waiting| waiting.answer(Err(answer())));
        }
    }

    fn touches(&self, waiting: &Waiting) -> Box<[Touch]> {
        let (tenant, change) = (&waiting.commit.tenant, &waiting.commit.change);
        let touch = |kind: u8, key: &[u8], is_written| Touch {
            hash: self.hasher.hash_one((kind, tenant.as_bytes(), key)),
            is_written,
        };
        let mut touches = vec![touch(0, change.id.as_bytes(), true)];
        // What must stay absent is written, too.
        touches.extend(change.require.iter().map(|r| touch(1, r.key.as_bytes(), r.expect == Expect::Absent)));
        touches.extend(change.put.iter().map(|p| touch(1, p.key.as_bytes(), true)));
        touches.extend(change.hold.iter().map(|h| touch(2, h.counter.as_bytes(), false)));
        touches.extend(change.open.iter().map(|o| touch(2, o.counter.as_bytes(), true)));
        touches.extend(change.set.iter().map(|s| touch(2, s.counter.as_bytes(), true)));
        touches.extend(change.add.iter().map(|a| touch(2, a.counter.as_bytes(), true)));
        touches.extend(change.append.iter().filter_map(|e| e.id.as_ref()).map(|id| touch(3, id.as_bytes(), true)));
        touches.extend(change.fence.iter().map(|fence| touch(4, fence.name.as_bytes(), true)));
        touches.into()
    }
}

impl State {
    fn is_blocked(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.is_blocked)
    }

    fn may_begin(&self, lane: usize, waiting: &Waiting) -> bool {
        others(&self.lanes, lane).all(|flight| flight.admits(waiting))
    }

    fn gather(&mut self, lane: usize, queue: &Queue<Waiting>, limits: &StoreLimits) -> Vec<(Tenant, Waiting)> {
        let Self { lines, lanes, .. } = self;
        let before = lines.len();
        let is_shared = lanes.len() > 1;
        let mut own = Flight::default();
        // What was passed over in this very group.
        let mut passed = Flight::default();
        let group = lines.gather_if(limits, |waiting| {
            if !is_shared {
                return true;
            }
            let is_free = others(lanes, lane).all(|flight| flight.admits(waiting)) && passed.admits(waiting);
            if is_free {
                own.add(waiting);
            } else {
                waiting.passes = waiting.passes.saturating_add(1);
                passed.add_call(waiting);
                if waiting.passes > PASSES_MAX {
                    passed.add(waiting);
                }
            }
            is_free
        });
        let taken = before.saturating_sub(lines.len());
        if let Some(lane) = lanes.get_mut(lane) {
            lane.is_blocked = group.is_empty() && !lines.is_empty();
            lane.flight = own;
            lane.weight = group.len();
        }
        // Some were answered at once, or nobody waits for them.
        queue.done(taken.saturating_sub(group.len()));
        group
    }
}

fn others(lanes: &[Lane], lane: usize) -> impl Iterator<Item = &Flight> {
    lanes.iter().enumerate().filter(move |(other, _)| *other != lane).map(|(_, other)| &other.flight)
}

impl Flight {
    /// Whether the change has nothing to do with what is in here.
    fn admits(&self, waiting: &Waiting) -> bool {
        let is_free = |touch: &Touch| match self.touched.get(&touch.hash) {
            Some(is_written) => !is_written && !touch.is_written,
            None => true,
        };
        waiting.touches.iter().all(is_free) && !self.calls.contains(&waiting.call_address())
    }

    fn add(&mut self, waiting: &Waiting) {
        for touch in &waiting.touches {
            *self.touched.entry(touch.hash).or_default() |= touch.is_written;
        }
        self.add_call(waiting);
    }

    fn add_call(&mut self, waiting: &Waiting) {
        self.calls.insert(waiting.call_address());
    }
}

impl Waiting {
    /// Tells calls apart while they wait.
    fn call_address(&self) -> usize {
        Arc::as_ptr(&self.call).addr()
    }
}
