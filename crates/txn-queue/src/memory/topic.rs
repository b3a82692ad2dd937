//! One topic: its log, its groups, and what is remembered of what was published.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    task::Waker,
};

use foldhash::fast::RandomState;
use txn_change::Timestamp;

use super::{
    group::{Dying, GroupState},
    log::{Log, Stored},
};
use crate::{
    admin::{Redrive, Redriven, Rescheduled, TopicStats},
    message::{Message, When},
    name::{DedupeId, GroupName, ScheduleKey},
    queue::{Position, Refusal},
    topology::{Death, Overflow, TopicSpec},
};

#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) spec: TopicSpec,
    pub(super) log: Log,
    pub(super) groups: BTreeMap<GroupName, GroupState>,
    /// What was published under each dedupe id, as a digest.
    seen: HashMap<DedupeId, [u8; 32], RandomState>,
    /// When each is forgotten.
    window: VecDeque<(Timestamp, DedupeId)>,
    /// Messages that are not due, by their schedule keys.
    scheduled: HashMap<ScheduleKey, u64, RandomState>,
    dropped: u64,
    room: Vec<Waker>,
}

/// Whether a topic would take a message.
pub(super) enum Admission {
    Takes,
    /// It has it.
    Has,
    Refuses(Refusal),
}

impl TopicState {
    pub(super) fn new(spec: TopicSpec) -> Self {
        Self {
            spec,
            log: Log::default(),
            groups: BTreeMap::new(),
            seen: HashMap::default(),
            window: VecDeque::new(),
            scheduled: HashMap::default(),
            dropped: 0,
            room: Vec::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.log.len() < self.spec.messages_max || self.spec.overflow == Overflow::DropOldest
    }

    pub(super) fn register_room(&mut self, waker: &Waker) {
        if !self.room.iter().any(|known| known.will_wake(waker)) {
            self.room.push(waker.clone());
        }
    }

    /// Whether a message would be taken. Nothing is changed but what has lapsed.
    pub(super) fn examine(&mut self, message: &Message, now: Timestamp) -> Admission {
        while self.window.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, id)) = self.window.pop_front() {
                self.seen.remove(&id);
            }
        }
        if let Some(id) = &message.dedupe_id
            && let Some(digest) = self.seen.get(id)
        {
            if *digest == message.digest() {
                return Admission::Has;
            }
            return Admission::Refuses(Refusal::Conflict { dedupe_id: id.clone() });
        }
        if let Some(key) = &message.schedule_key
            && self.waiting_under(key, now).is_some()
        {
            return Admission::Refuses(Refusal::Scheduled { schedule_key: key.clone() });
        }
        if !self.has_room() {
            let topic = self.spec.topic.clone();
            return Admission::Refuses(Refusal::Full { topic, max: self.spec.messages_max });
        }
        Admission::Takes
    }

    /// The message that waits under a schedule key.
    fn waiting_under(&mut self, key: &ScheduleKey, now: Timestamp) -> Option<u64> {
        let position = *self.scheduled.get(key)?;
        let waits = self.log.get(position).is_some_and(|stored| !stored.is_removed && stored.due > now);
        if !waits {
            self.scheduled.remove(key);
        }
        waits.then_some(position)
    }

    /// Takes a message that was [examined](Self::examine).
    pub(super) fn take(&mut self, stored: Stored, now: Timestamp, wakers: &mut Vec<Waker>) {
        if let Some(id) = stored.message.dedupe_id.clone() {
            let until = now.after(self.spec.dedupe_window).unwrap_or(Timestamp::MAX);
            if until > now {
                self.seen.insert(id.clone(), stored.message.digest());
                self.window.push_back((until, id));
            }
        }
        let schedule_key = stored.message.schedule_key.clone().filter(|_| stored.due > now);
        let position = self.push(stored, now);
        if let Some(key) = schedule_key {
            self.scheduled.insert(key, position);
        }
        self.wake_groups(wakers);
    }

    fn push(&mut self, stored: Stored, now: Timestamp) -> u64 {
        while self.spec.overflow == Overflow::DropOldest && self.log.len() >= self.spec.messages_max {
            self.drop_first(now);
            self.dropped = self.dropped.saturating_add(1);
        }
        self.log.push(stored)
    }

    fn drop_first(&mut self, now: Timestamp) {
        for group in self.groups.values_mut() {
            group.drop_first(&self.log, now);
        }
        self.log.pop();
    }

    /// Lets go of what all groups have settled and nobody may want again.
    pub(super) fn release(&mut self, now: Timestamp, wakers: &mut Vec<Waker>) {
        let before = self.log.first();
        // A topic that nobody reads keeps what it has, but for what was taken out.
        let taken_out =
            self.log.iter().take_while(|(_, stored)| stored.is_removed).fold(before, |at, _| at.saturating_add(1));
        let first = self.groups.values().map(GroupState::first).min().unwrap_or(taken_out);
        while self.log.first() < first
            && let Some(stored) = self.log.front()
            && stored.accepted_at.after(self.spec.keep).is_ok_and(|until| until <= now)
        {
            if let Some(key) = &stored.message.schedule_key
                && self.scheduled.get(key) == Some(&self.log.first())
            {
                self.scheduled.remove(key);
            }
            self.log.pop();
        }
        if self.log.first() > before {
            wakers.append(&mut self.room);
        }
    }

    fn wake_groups(&mut self, wakers: &mut Vec<Waker>) {
        self.groups.values_mut().for_each(|group| group.changed(wakers));
    }

    pub(super) fn reschedule(
        &mut self,
        key: &ScheduleKey,
        due: Option<When>,
        now: Timestamp,
        wakers: &mut Vec<Waker>,
    ) -> Rescheduled {
        let Some(position) = self.waiting_under(key, now) else { return Rescheduled::TooLate };
        let Some(stored) = self.log.get_mut(position) else { return Rescheduled::TooLate };
        let outcome = match due.map(|due| due.instant(now).unwrap_or(Timestamp::MAX)) {
            Some(due) => {
                stored.due = due.max(now);
                Rescheduled::Moved
            }
            None => {
                stored.is_removed = true;
                self.scheduled.remove(key);
                Rescheduled::Cancelled
            }
        };
        for group in self.groups.values_mut() {
            group.rescheduled(position, &self.log);
            group.changed(wakers);
        }
        outcome
    }

    /// The letter that a group's message becomes.
    pub(super) fn letter(&self, group: &GroupName, dying: &Dying, now: Timestamp) -> Option<Stored> {
        let group = self.groups.get(group)?;
        let stored = self.log.get(dying.position)?;
        let (deliveries, mut reasons) = group.history(dying.position);
        if let Some(before) = &stored.death {
            reasons.splice(0..0, before.reasons.iter().cloned());
        }
        let death = Death {
            cause: dying.cause,
            reasons,
            group: group.group().clone(),
            position: Position(dying.position),
            deliveries,
            accepted_at: stored.accepted_at,
            died_at: now,
            redriven: stored.redriven,
        };
        Some(Stored {
            message: Arc::clone(&stored.message),
            accepted_at: now,
            due: now,
            expires: Timestamp::MAX,
            only: None,
            death: Some(Arc::new(death)),
            redriven: stored.redriven,
            is_removed: false,
        })
    }

    /// Adds what did not come from a publisher, if there is room.
    pub(super) fn add(&mut self, stored: Stored, now: Timestamp, wakers: &mut Vec<Waker>) -> bool {
        if !self.has_room() {
            return false;
        }
        self.push(stored, now);
        self.wake_groups(wakers);
        true
    }

    /// Takes dead letters out, to be sent back.
    pub(super) fn take_letters(&mut self, redrive: &Redrive, room: usize) -> (Vec<Stored>, Redriven) {
        let chosen = self.log.iter().filter(|(_, stored)| {
            let death = stored.death.as_deref().filter(|death| !stored.is_removed && death.group == redrive.group);
            death.is_some_and(|death| redrive.which.chooses(death, &stored.message))
        });
        let mut positions: Vec<u64> = chosen.map(|(position, _)| position).collect();
        let has_more = positions.len() > redrive.max.min(room);
        positions.truncate(redrive.max.min(room));
        let mut letters = Vec::with_capacity(positions.len());
        for position in positions {
            let Some(stored) = self.log.get_mut(position) else { continue };
            stored.is_removed = true;
            letters.push(Stored {
                message: Arc::clone(&stored.message),
                accepted_at: stored.accepted_at,
                due: stored.due,
                expires: Timestamp::MAX,
                only: Some(redrive.group.name().clone()),
                death: stored.death.clone(),
                redriven: stored.redriven.saturating_add(1),
                is_removed: false,
            });
        }
        let redriven = Redriven { moved: letters.len(), has_more };
        (letters, redriven)
    }

    pub(super) fn stats(&self) -> TopicStats {
        TopicStats {
            messages: self
                .log
                .iter()
                .filter(|(_, stored)| !stored.is_removed)
                .fold(0, |sum: u64, _| sum.saturating_add(1)),
            dropped: self.dropped,
            groups: self.groups.iter().map(|(name, group)| (name.clone(), group.stats(&self.log))).collect(),
        }
    }
}
