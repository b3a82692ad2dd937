//! One topic: its log and its groups.

use std::{collections::BTreeMap, task::Waker};

use txn_change::Timestamp;

use super::{
    group::GroupState,
    log::{Log, Stored},
};
use crate::{
    admin::TopicStats,
    error::{Error, ErrorKind},
    name::GroupName,
    queue::Group,
    topology::{GroupSpec, Overflow, TopicSpec},
};

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) spec: TopicSpec,
    pub(crate) log: Log,
    pub(crate) groups: BTreeMap<GroupName, GroupState>,
    pub(crate) dropped: u64,
    room: BTreeMap<u64, Waker>,
}

impl Topic {
    pub(crate) fn new(spec: TopicSpec) -> Self {
        Self { spec, log: Log::default(), groups: BTreeMap::new(), dropped: 0, room: BTreeMap::new() }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.log.len() < self.spec.messages_max || self.spec.overflow == Overflow::DropOldest
    }

    /// The waker of a wait for room; `None` when it has ended.
    #[cfg(feature = "memory")]
    pub(crate) fn register_room(&mut self, wait: u64, waker: Option<&Waker>) {
        super::register(&mut self.room, wait, waker);
    }

    pub(crate) fn group(&mut self, group: &Group) -> Result<&mut GroupState, Error> {
        find(&mut self.groups, group)
    }

    /// Makes a group, or changes one that is there.
    pub(crate) fn declare(&mut self, spec: GroupSpec) {
        match self.groups.get_mut(spec.group.name()) {
            Some(group) => group.respec(spec, &self.log),
            None => {
                self.groups.insert(spec.group.name().clone(), GroupState::new(spec, &self.log));
            }
        }
    }

    /// How many messages find room without another's going.
    #[cfg(feature = "memory")]
    pub(crate) fn room(&self) -> usize {
        usize::try_from(self.spec.messages_max.saturating_sub(self.log.len())).unwrap_or(usize::MAX)
    }

    /// Adds a message at the end; the oldest may have to go for it, and are given to `gone`.
    pub(crate) fn push(&mut self, stored: Stored, now: Timestamp, gone: impl FnMut(u64, &mut Stored)) -> u64 {
        if self.spec.overflow == Overflow::DropOldest {
            self.make_room(now, gone);
        }
        self.log.push(stored)
    }

    fn make_room(&mut self, now: Timestamp, mut gone: impl FnMut(u64, &mut Stored)) {
        while self.log.len() >= self.spec.messages_max {
            for group in self.groups.values_mut() {
                group.drop_first(&self.log, now);
            }
            if self.log.len() == 0 {
                break;
            }
            self.log.drop_first(1, &mut gone);
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Lets go of what all groups have settled and nobody may want again, and gives it to `gone`.
    pub(crate) fn release(&mut self, now: Timestamp, wakers: &mut Vec<Waker>, gone: impl FnMut(u64, &mut Stored)) {
        let before = self.log.first();
        // A topic that nobody reads keeps what it has, but for what was taken out.
        let taken_out =
            || self.log.iter().take_while(|(_, stored)| stored.is_removed).fold(before, |at, _| at.saturating_add(1));
        let first = self.groups.values().map(GroupState::first).min().unwrap_or_else(taken_out);
        let Some(until) = self.kept_until(now).filter(|_| before < first) else { return };
        let count = self.log.accepted_by(until, before, first);
        self.log.drop_first(count, gone);
        if count > 0 {
            wakers.extend(std::mem::take(&mut self.room).into_values());
        }
    }

    /// What was accepted by then has been kept for as long as it must; `None` where that is nothing.
    fn kept_until(&self, now: Timestamp) -> Option<Timestamp> {
        let keep = i64::try_from(self.spec.keep.as_nanos()).ok()?;
        now.as_nanos().checked_sub(keep).map(Timestamp::from_nanos)
    }

    /// Something may have become ready in any group.
    pub(crate) fn changed(&mut self, wakers: &mut Vec<Waker>) {
        self.groups.values_mut().for_each(|group| group.changed(wakers));
    }

    /// A message that waits is due at another time, or is for nobody any more.
    pub(crate) fn move_to(&mut self, position: u64, due: Option<Timestamp>, now: Timestamp, wakers: &mut Vec<Waker>) {
        let Some(stored) = self.log.get_mut(position) else { return };
        match due {
            Some(due) => (stored.due, stored.is_moved) = (due, true),
            None => stored.is_removed = true,
        }
        for group in self.groups.values_mut() {
            group.rescheduled(position, &self.log, now);
            group.changed(wakers);
        }
    }

    pub(crate) fn stats(&self) -> TopicStats {
        let kept = self.log.iter().filter(|(_, stored)| !stored.is_removed);
        TopicStats {
            messages: kept.fold(0, |sum, _| sum.saturating_add(1)),
            dropped: self.dropped,
            groups: self.groups.iter().map(|(name, group)| (name.clone(), group.stats(&self.log))).collect(),
        }
    }
}

pub(crate) fn find<'g>(
    groups: &'g mut BTreeMap<GroupName, GroupState>,
    group: &Group,
) -> Result<&'g mut GroupState, Error> {
    groups.get_mut(group.name()).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("the topic {} has no group {}", group.topic(), group.name()))
    })
}
