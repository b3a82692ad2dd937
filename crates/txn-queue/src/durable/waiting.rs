//! Who waits for messages or for room, and what they are told. Replicas come and go with errors; this stays.

use std::{
    collections::HashMap,
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
}

#[derive(Debug, Default)]
struct TopicSignal {
    groups: HashMap<GroupName, GroupSignal>,
    has_room: bool,
    room: Vec<Waker>,
}

#[derive(Debug, Default)]
struct GroupSignal {
    /// How often something may have become ready, as callers count.
    changes: u64,
    /// As the replica counts, and which: one that was read anew counts from the beginning.
    raw: (u64, u64),
    wakers: Vec<Waker>,
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
                woken.append(&mut known.wakers);
            }
        }
        signal.has_room = replica.topic.has_room();
        if signal.has_room {
            woken.append(&mut signal.room);
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
            woken.append(&mut signal.room);
            signal.groups.values_mut().for_each(|group| woken.append(&mut group.wakers));
        }
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Ends when there may be something.
    pub(crate) async fn wait(&self, wait: &Wait) -> Result<(), Error> {
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(why) = state.closed {
                return Poll::Ready(Err(Error::new(ErrorKind::Closed, why)));
            }
            let register = |wakers: &mut Vec<Waker>| {
                if !wakers.iter().any(|known| known.will_wake(context.waker())) {
                    wakers.push(context.waker().clone());
                }
            };
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
