//! Who waits for messages or for room, and what they are told. Replicas come and go with errors; this stays.

use std::{
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use super::replica::Replica;
use crate::{
    error::{Error, ErrorKind},
    name::{GroupName, Topic},
    queue::{Seen, Wait},
};

#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    topics: HashMap<Topic, TopicSignal>,
    closed: Option<&'static str>,
    /// Counts waits.
    waits: u64,
}

#[derive(Debug, Default)]
struct TopicSignal {
    groups: HashMap<GroupName, GroupSignal>,
    has_room: bool,
    room: Wakers,
}

#[derive(Debug, Default)]
struct GroupSignal {
    /// How often something may have become ready, as callers count.
    changes: u64,
    /// As the replica counts, and which: one that was read anew counts from the beginning.
    raw: (u64, u64),
    wakers: Wakers,
}

/// By the number of the wait, so that one that is given up takes its own away and no other.
type Wakers = BTreeMap<u64, Waker>;

fn take(wakers: &mut Wakers, woken: &mut Vec<Waker>) {
    woken.extend(std::mem::take(wakers).into_values());
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what a turn, or a reading, has left.
    pub(crate) fn tell(&self, replica: &Replica) {
        let mut woken = Vec::new();
        let mut state = self.state();
        let signal = state.topics.entry(replica.topic.spec.topic.clone()).or_default();
        for (name, group) in &replica.topic.groups {
            let known = match signal.groups.get_mut(name) {
                Some(known) => known,
                None => signal.groups.entry(name.clone()).or_default(),
            };
            let raw = (replica.reading, group.changes());
            if known.raw != raw {
                known.raw = raw;
                known.changes = known.changes.wrapping_add(1);
                take(&mut known.wakers, &mut woken);
            }
        }
        signal.has_room = replica.topic.has_room();
        if signal.has_room {
            take(&mut signal.room, &mut woken);
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// What a worker has seen of a group by now.
    pub(crate) fn seen(&self, topic: &Topic, group: &GroupName) -> Seen {
        let state = self.state();
        let known = state.topics.get(topic).and_then(|signal| signal.groups.get(group));
        Seen(known.map_or(0, |known| known.changes))
    }

    /// Whether somebody waits, so that others' doings are worth a look.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_awaited(&self, topic: &Topic) -> bool {
        let state = self.state();
        state.topics.get(topic).is_some_and(|signal| {
            !signal.room.is_empty() || signal.groups.values().any(|group| !group.wakers.is_empty())
        })
    }

    /// Whether the topic, and the group that is waited for, have been read.
    pub(crate) fn knows(&self, wait: &Wait) -> bool {
        let state = self.state();
        match wait {
            Wait::Messages(group, _) => {
                state.topics.get(group.topic()).is_some_and(|signal| signal.groups.contains_key(group.name()))
            }
            Wait::Room(topic) => state.topics.contains_key(topic),
        }
    }

    pub(crate) fn close(&self, why: &'static str) {
        let mut state = self.state();
        state.closed = Some(why);
        let mut woken = Vec::new();
        for signal in state.topics.values_mut() {
            take(&mut signal.room, &mut woken);
            signal.groups.values_mut().for_each(|group| take(&mut group.wakers, &mut woken));
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Ends when there may be something.
    pub(crate) async fn wait(&self, wait: &Wait) -> Result<(), Error> {
        let number = {
            let mut state = self.state();
            state.waits = state.waits.wrapping_add(1);
            state.waits
        };
        let _given_up = GivenUp { waiting: self, wait, number };
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(why) = state.closed {
                return Poll::Ready(Err(Error::new(ErrorKind::Closed, why)));
            }
            let register = |wakers: &mut Wakers| drop(wakers.insert(number, context.waker().clone()));
            let invalid = |context: String| Poll::Ready(Err(Error::new(ErrorKind::Invalid, context)));
            match wait {
                Wait::Messages(group, seen) => {
                    let known = state.topics.get_mut(group.topic());
                    let Some(known) = known.and_then(|signal| signal.groups.get_mut(group.name())) else {
                        return invalid(format!("the topic {} has no group {}", group.topic(), group.name()));
                    };
                    if known.changes != seen.0 {
                        return Poll::Ready(Ok(()));
                    }
                    register(&mut known.wakers);
                }
                Wait::Room(topic) => {
                    let Some(signal) = state.topics.get_mut(topic) else {
                        return invalid(format!("there is no topic {topic}"));
                    };
                    if signal.has_room {
                        return Poll::Ready(Ok(()));
                    }
                    register(&mut signal.room);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Takes the waker of a wait away that has ended: those of waits that were given up would gather without bound.
struct GivenUp<'w> {
    waiting: &'w Waiting,
    wait: &'w Wait,
    number: u64,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let mut state = self.waiting.state();
        let Some(signal) = state.topics.get_mut(self.wait.topic()) else { return };
        let wakers = match self.wait {
            Wait::Messages(group, _) => signal.groups.get_mut(group.name()).map(|group| &mut group.wakers),
            Wait::Room(_) => Some(&mut signal.room),
        };
        let gone = wakers.and_then(|wakers| wakers.remove(&self.number));
        drop(state);
        drop(gone);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of tests")]
mod tests {
    use std::{
        pin::pin,
        sync::Arc,
        task::{Context, Wake},
    };

    use super::*;
    use crate::queue::Group;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn waits_that_are_given_up_leave_nothing() {
        let topic = Topic::new("orders").expect("a name");
        let group = Group::new(topic.clone(), GroupName::new("workers").expect("a name"));
        let waiting = Waiting::default();
        let mut signal = TopicSignal::default();
        signal.groups.insert(group.name().clone(), GroupSignal::default());
        waiting.state().topics.insert(topic.clone(), signal);
        for wait in [Wait::Messages(group.clone(), Seen(0)), Wait::Room(topic.clone())] {
            let mut kept = pin!(waiting.wait(&wait));
            let waker = Waker::from(Arc::new(Task));
            assert!(kept.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            for _ in 0..100 {
                let mut given_up = pin!(waiting.wait(&wait));
                assert!(given_up.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            let state = waiting.state();
            let signal = state.topics.get(&topic).expect("it was read");
            let count = signal.room.len() + signal.groups.values().map(|group| group.wakers.len()).sum::<usize>();
            assert_eq!(count, 1);
        }
    }
}
