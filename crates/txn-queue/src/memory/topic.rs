//! One topic: what is decided about it, and what is remembered of what was published.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use foldhash::fast::RandomState;
use txn_change::Timestamp;

use super::later::Later;
use crate::{
    admin::{Redrive, Redriven, Rescheduled},
    engine::{
        admit,
        group::Dying,
        group::last_reasons,
        log::{Letter, Stored},
        topic::Topic,
    },
    message::{Message, When},
    name::{DedupeId, GroupName, ScheduleKey},
    queue::{Position, Published, Refusal},
    topology::{Death, TopicSpec},
};

#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) topic: Topic,
    /// What was published under each dedupe id, as a digest.
    seen: HashMap<DedupeId, [u8; 32], RandomState>,
    /// When each is forgotten.
    window: VecDeque<(Timestamp, DedupeId)>,
    /// Messages that are not due, by their schedule keys.
    scheduled: HashMap<ScheduleKey, u64, RandomState>,
}

/// What a topic would do with a message that it does not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Takes,
    /// It has it.
    Has,
}

impl TopicState {
    pub(super) fn new(spec: TopicSpec) -> Self {
        Self {
            topic: Topic::new(spec),
            seen: HashMap::default(),
            window: VecDeque::new(),
            scheduled: HashMap::default(),
        }
    }

    /// Takes messages that are plain, as many as there is room for without another's going; says how many.
    pub(super) fn take_plain<I: Iterator<Item = Arc<Message>>>(
        &mut self,
        plain: impl FnOnce(usize) -> I,
        now: Timestamp,
    ) -> usize {
        let before = self.topic.log.len();
        let messages = plain(self.topic.room());
        self.topic.log.extend(messages.map(|message| Stored::carrying(message, [now, now, Timestamp::MAX])));
        usize::try_from(self.topic.log.len().saturating_sub(before)).unwrap_or(usize::MAX)
    }

    /// Takes a message, if it is to be taken. Whoever waits is to be [told](Topic::changed).
    pub(super) fn accept(
        &mut self,
        message: Arc<Message>,
        now: Timestamp,
        later: &mut Later,
    ) -> Result<Published, Refusal> {
        let (message, due, expires) = admit::timed(message, now)?;
        match self.examine(&message, now)? {
            Admission::Has => Ok(Published::Duplicate),
            Admission::Takes => {
                self.take(Stored::carrying(message, [now, due, expires]), now, later);
                Ok(Published::Accepted { copies: 1 })
            }
        }
    }

    /// Forgets what was published so long ago that it may be again.
    pub(super) fn forget_lapsed(&mut self, now: Timestamp) {
        while self.window.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, id)) = self.window.pop_front() {
                self.seen.remove(&id);
            }
        }
    }

    /// Whether a message would be taken. Nothing is changed but what has lapsed.
    pub(super) fn examine(&mut self, message: &Message, now: Timestamp) -> Result<Admission, Refusal> {
        self.forget_lapsed(now);
        if let Some(id) = &message.dedupe_id
            && let Some(digest) = self.seen.get(id)
        {
            if *digest == message.digest() {
                return Ok(Admission::Has);
            }
            return Err(Refusal::Conflict { dedupe_id: id.clone() });
        }
        if let Some(key) = &message.schedule_key
            && self.waiting_under(key, now).is_some()
        {
            return Err(Refusal::Scheduled { schedule_key: key.clone() });
        }
        if !self.topic.has_room() {
            let TopicSpec { topic, messages_max: max, .. } = &self.topic.spec;
            return Err(Refusal::Full { topic: topic.clone(), max: *max });
        }
        Ok(Admission::Takes)
    }

    /// The message that waits under a schedule key.
    fn waiting_under(&mut self, key: &ScheduleKey, now: Timestamp) -> Option<u64> {
        let position = *self.scheduled.get(key)?;
        let waits = self.topic.log.get(position).is_some_and(|stored| !stored.is_removed && stored.due > now);
        if !waits {
            self.scheduled.remove(key);
        }
        waits.then_some(position)
    }

    /// Takes a message that was [examined](Self::examine). Whoever waits is to be [told](Topic::changed).
    pub(super) fn take(&mut self, stored: Stored, now: Timestamp, later: &mut Later) {
        if let Some(message) = stored.message() {
            if let Some(id) = &message.dedupe_id {
                let until = now.after(self.topic.spec.dedupe_window).unwrap_or(Timestamp::MAX);
                if until > now {
                    self.seen.insert(id.clone(), message.digest());
                    self.window.push_back((until, id.clone()));
                }
            }
            if let Some(key) = message.schedule_key.as_ref().filter(|_| stored.due > now) {
                self.scheduled.insert(key.clone(), self.topic.log.end());
            }
        }
        let Self { topic, scheduled, .. } = self;
        topic.push(stored, now, |position, stored| let_go(scheduled, position, stored, later));
    }

    /// Lets go of what all groups have settled and nobody may want again.
    pub(super) fn release(&mut self, now: Timestamp, later: &mut Later) {
        let Self { topic, scheduled, .. } = self;
        let mut woken = Vec::new();
        topic.release(now, &mut woken, |position, stored| let_go(scheduled, position, stored, later));
        later.wake.append(&mut woken);
    }

    pub(super) fn reschedule(
        &mut self,
        key: &ScheduleKey,
        due: Option<When>,
        now: Timestamp,
        later: &mut Later,
    ) -> Rescheduled {
        let Some(position) = self.waiting_under(key, now) else { return Rescheduled::TooLate };
        let due = due.map(|due| due.instant(now).unwrap_or(Timestamp::MAX).max(now));
        self.topic.move_to(position, due, now, &mut later.wake);
        if due.is_some() {
            return Rescheduled::Moved;
        }
        self.scheduled.remove(key);
        Rescheduled::Cancelled
    }

    /// The letter that a group's message becomes.
    pub(super) fn letter(&self, group: &GroupName, dying: &Dying, now: Timestamp) -> Option<Stored> {
        let group = self.topic.groups.get(group)?;
        let stored = self.topic.log.get(dying.position)?;
        let message = stored.message()?;
        let (deliveries, reasons) = group.history(dying.position);
        let reasons = last_reasons(stored.letter().map(|letter| &*letter.death), reasons);
        let death = Death {
            cause: dying.cause,
            reasons,
            group: group.group().clone(),
            position: Position(dying.position),
            deliveries,
            accepted_at: stored.accepted_at,
            died_at: now,
            redriven: stored.letter().map_or(0, |letter| letter.redriven),
        };
        let mut letter = Stored::carrying(Arc::clone(message), [now, now, Timestamp::MAX]);
        letter.set_letter(Letter { redriven: death.redriven, death: Arc::new(death) });
        Some(letter)
    }

    /// Adds what did not come from a publisher, if there is room.
    pub(super) fn add(&mut self, stored: Stored, now: Timestamp, later: &mut Later) -> bool {
        if !self.topic.has_room() {
            return false;
        }
        let Self { topic, scheduled, .. } = self;
        topic.push(stored, now, |position, stored| let_go(scheduled, position, stored, later));
        topic.changed(&mut later.wake);
        true
    }

    /// Takes dead letters out, to be sent back.
    pub(super) fn take_letters(
        &mut self,
        redrive: &Redrive,
        room: usize,
        now: Timestamp,
        later: &mut Later,
    ) -> (Vec<Stored>, Redriven) {
        let chosen = self.topic.log.iter().filter(|(_, stored)| {
            let Some(message) = stored.message().filter(|_| !stored.is_removed) else { return false };
            let death = stored.letter().map(|letter| &letter.death).filter(|death| death.group == redrive.group);
            death.is_some_and(|death| redrive.which.chooses(death, message))
        });
        let mut positions: Vec<u64> = chosen.map(|(position, _)| position).collect();
        let has_more = positions.len() > redrive.max.min(room);
        positions.truncate(redrive.max.min(room));
        let mut letters = Vec::with_capacity(positions.len());
        for position in positions {
            let Some(stored) = self.topic.log.get(position) else { continue };
            let mut sent_back = stored.clone();
            self.topic.move_to(position, None, now, &mut later.wake);
            sent_back.expires = Timestamp::MAX;
            sent_back.set_only(Some(redrive.group.name().clone()));
            if let Some(letter) = sent_back.letter().cloned() {
                sent_back.set_letter(Letter { redriven: letter.redriven.saturating_add(1), ..letter });
            }
            letters.push(sent_back);
        }
        let redriven = Redriven { moved: letters.len(), has_more };
        (letters, redriven)
    }
}

/// Whether nothing need be known of a message beside that there is room: it has no name to be known by, is due at once and does not expire.
#[inline]
pub(super) fn is_plain(message: &Message) -> bool {
    message.dedupe_id.is_none() && message.schedule_key.is_none() && message.due.is_none() && message.expires.is_none()
}

/// A message that is gone waits under no key.
#[inline]
fn let_go(
    scheduled: &mut HashMap<ScheduleKey, u64, RandomState>,
    position: u64,
    stored: &mut Stored,
    later: &mut Later,
) {
    if !scheduled.is_empty() {
        forget_schedule(scheduled, position, stored);
    }
    if let Some(message) = stored.take_message() {
        later.drop.push(message);
    }
}

fn forget_schedule(scheduled: &mut HashMap<ScheduleKey, u64, RandomState>, position: u64, stored: &Stored) {
    let key = stored.message().and_then(|message| message.schedule_key.as_ref());
    if let Some(key) = key.filter(|key| scheduled.get(*key) == Some(&position)) {
        scheduled.remove(key);
    }
}
