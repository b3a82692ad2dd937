//! Everything that a queue in memory holds, and what is done to it under its lock.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use txn_change::Timestamp;

use super::{later::Later, topic::TopicState};
use crate::{
    admin::{Control, Redrive, Redriven},
    engine::{
        admit,
        group::Dying,
        topic::{Topic as Decided, find},
    },
    error::{Error, ErrorKind},
    limits::QueueLimits,
    name::Topic,
    queue::{Action, Group, Settle, Settled},
    routes::Routes,
    topology::Topology,
};

#[derive(Default)]
pub(super) struct State {
    pub(super) topics: HashMap<Topic, TopicState, RandomState>,
    pub(super) routes: Routes,
    /// The last token that was given.
    pub(super) tokens: u64,
    /// Waits that have begun.
    pub(super) waits: u64,
    pub(super) last: Option<Timestamp>,
}

impl State {
    pub(super) fn topic(&mut self, topic: &Topic) -> Result<&mut TopicState, Error> {
        self.topics.get_mut(topic).ok_or_else(|| Error::new(ErrorKind::Invalid, format!("there is no topic {topic}")))
    }

    /// Does what time has brought to a group, so that what follows sees it as it is.
    pub(super) fn advance(&mut self, group: &Group, now: Timestamp, later: &mut Later) -> Result<(), Error> {
        let Decided { groups, log, .. } = &mut self.topic(group.topic())?.topic;
        let dying = find(groups, group)?.advance(log, now);
        self.bury(group, dying, now, later);
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        group: &Group,
        batch: &[Settle],
        now: Timestamp,
        later: &mut Later,
    ) -> Vec<Settled> {
        let known = self.topics.get_mut(group.topic());
        let known = known.and_then(|known| Some((known.topic.groups.get_mut(group.name())?, &known.topic.log)));
        let Some((state, log)) = known else { return vec![Settled::Gone; batch.len()] };
        let (mut dying, mut results) = (Vec::new(), Vec::with_capacity(batch.len()));
        state.settle_all(batch, log, now, &mut dying, &mut results);
        state.forget_done();
        if batch.iter().any(|settle| !matches!(settle.action, Action::Extend { .. })) {
            state.changed(&mut later.wake);
        }
        self.bury(group, dying, now, later);
        if let Some(topic) = self.topics.get_mut(group.topic()) {
            topic.release(now, later);
        }
        results
    }

    /// Moves what a group gave up to its dead letters; what finds no room there stays, for a while.
    fn bury(&mut self, group: &Group, dying: Vec<Dying>, now: Timestamp, later: &mut Later) {
        for dead in dying {
            let Some(topic) = self.topics.get(group.topic()) else { return };
            let Some(letters) = topic.topic.groups.get(group.name()).map(|group| group.spec.dead_letter_topic()) else {
                return;
            };
            let Some(letter) = topic.letter(group.name(), &dead, now) else { continue };
            let is_buried = self.topics.get_mut(&letters).is_some_and(|letters| letters.add(letter, now, later));
            let known = self.topics.get_mut(group.topic()).map(|known| &mut known.topic);
            if let Some(Decided { groups, log, .. }) = known
                && let Some(state) = groups.get_mut(group.name())
            {
                if is_buried {
                    state.buried(dead.position, log, now);
                } else {
                    state.not_buried(dead.position, log, now);
                }
            }
        }
    }

    pub(super) fn declare(&mut self, topology: Topology, limits: &QueueLimits) -> Result<(), Error> {
        let topology = topology.with_letters(|topic| self.topics.contains_key(topic));
        let routes =
            admit::routes(&topology, &self.routes, self.topics.len(), |topic| self.topics.contains_key(topic), limits)?;
        self.routes = routes;
        for spec in topology.topics {
            match self.topics.get_mut(&spec.topic) {
                Some(known) => known.topic.spec = spec,
                None => {
                    self.topics.insert(spec.topic.clone(), TopicState::new(spec));
                }
            }
        }
        for spec in topology.groups {
            if let Some(known) = self.topics.get_mut(spec.group.topic()) {
                known.topic.declare(spec);
            }
        }
        Ok(())
    }

    pub(super) fn control(&mut self, control: Control, now: Timestamp, later: &mut Later) -> Result<(), Error> {
        match control {
            Control::Pause(group) => self.topic(group.topic())?.topic.group(&group)?.set_paused(true),
            Control::Resume(group) => {
                let group = self.topic(group.topic())?.topic.group(&group)?;
                group.set_paused(false);
                group.changed(&mut later.wake);
            }
            Control::Seek(group, start) => {
                let known = self.topic(group.topic())?;
                known.release(now, later);
                let Decided { groups, log, .. } = &mut known.topic;
                let group = find(groups, &group)?;
                group.seek(start, log);
                group.changed(&mut later.wake);
            }
            Control::Rescue(worker) => {
                let mut dying = Vec::new();
                for Decided { groups, log, .. } in self.topics.values_mut().map(|known| &mut known.topic) {
                    for group in groups.values_mut() {
                        let dead = group.rescue(&worker, log, now);
                        group.changed(&mut later.wake);
                        dying.push((group.group().clone(), dead));
                    }
                }
                dying.into_iter().for_each(|(group, dead)| self.bury(&group, dead, now, later));
            }
        }
        Ok(())
    }

    pub(super) fn redrive(&mut self, redrive: &Redrive, now: Timestamp, later: &mut Later) -> Result<Redriven, Error> {
        let topic = &mut self.topic(redrive.group.topic())?.topic;
        let letters = topic.group(&redrive.group)?.spec.dead_letter_topic();
        let room = usize::try_from(topic.spec.messages_max.saturating_sub(topic.log.len())).unwrap_or(usize::MAX);
        let Some(dead) = self.topics.get_mut(&letters) else {
            return Ok(Redriven { moved: 0, has_more: false });
        };
        let (letters, redriven) = dead.take_letters(redrive, room, now, later);
        dead.release(now, later);
        let topic = self.topic(redrive.group.topic())?;
        for (mut letter, count) in letters.into_iter().zip(0u64..) {
            let due = redrive.rate.map_or(now, |rate| now.after(rate.time_of(count)).unwrap_or(Timestamp::MAX));
            letter.accepted_at = now;
            letter.due = due;
            topic.add(letter, now, later);
        }
        Ok(redriven)
    }
}
