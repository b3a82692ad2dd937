//! A topic as its steps have left it.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use txn_change::Timestamp;

use super::{
    packs::Packs,
    row::Brief,
    step::{self, Op, Step},
};
use crate::{
    engine::{
        group::{GroupState, Wanted, saved::SavedGroup},
        log::{Log, Stored},
        topic::Topic as Decided,
    },
    error::{Error, ErrorKind},
    name::{GroupName, Topic},
    queue::{Lease, Position},
    topology::TopicSpec,
};

/// A topic that this process has read.
#[derive(Debug)]
pub(crate) struct Replica {
    /// The topic's number in the medium.
    pub(crate) id: i64,
    pub(crate) topic: Decided,
    /// The last step that it has taken in.
    pub(crate) number: u64,
    pub(crate) nonce: u64,
    pub(crate) at: Timestamp,
    /// The step up to which it was saved last.
    pub(crate) saved: u64,
    /// Whoever reads the saved state wants the messages from here on; those before it may be deleted.
    saved_first: u64,
    /// Messages before this one have been deleted.
    tidied: u64,
    /// Dedupe ids that ended before have been deleted.
    #[cfg(feature = "postgres")]
    pub(crate) repeats_gone: Timestamp,
    pub(crate) packs: Packs,
    /// What hosts' transactions brought with lower tickets has been taken in.
    pub(crate) hosted: Hosted,
    /// Tells this reading of the topic from all others in this process; never 0.
    pub(crate) reading: u64,
}

/// How far hosts' transactions have been taken in. Tickets are drawn in order, and are seen in any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hosted {
    /// Everything with a lower ticket has been taken in, or never will be there.
    pub(crate) low: i64,
    /// When all transactions before this one have ended, `low` is the ticket beside it.
    awaited: Option<(u64, i64)>,
    /// The last ticket that was drawn when it was looked before.
    last: i64,
    /// How many sessions this process had begun by then.
    sessions: u64,
}

impl Hosted {
    /// Forgets what it knows when the server may be another one, or have crashed: that counts tickets anew, or from some that it had given out before. Nobody tells; but no session outlives it.
    #[cfg(feature = "postgres")]
    pub(crate) fn meets(&mut self, sessions: u64, last: i64) {
        if self.sessions != sessions || last < self.last {
            *self = Self { sessions, ..Self::default() };
        }
    }

    /// What a look tells: the oldest transaction that is open, the next to begin, and the last ticket that was drawn. Whoever draws one has a transaction's number before. The ticket is told after the
    /// transactions, so it goes with those of the next look.
    #[cfg(feature = "postgres")]
    pub(crate) fn seen(&mut self, oldest: u64, next: u64, last: i64) {
        if last < self.last {
            // The database was restored, and tickets are drawn again.
            *self = Self::default();
        }
        if let Some((before, ticket)) = self.awaited
            && oldest >= before
        {
            self.low = self.low.max(ticket);
            self.awaited = None;
        }
        if self.awaited.is_none() && self.last >= self.low {
            self.awaited = Some((next, self.last.saturating_add(1)));
        }
        self.last = last;
    }

    /// Whether there may be something, with this last ticket.
    #[cfg(feature = "postgres")]
    pub(crate) const fn is_behind(&self, last: i64) -> bool {
        last > 0 && last >= self.low
    }
}

/// Readings of topics in this process.
static READINGS: AtomicU64 = AtomicU64::new(0);

fn reading() -> u64 {
    READINGS.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// A topic as it was after a step, without what its messages tell.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    nonce: u64,
    at: i64,
    spec: TopicSpec,
    first: u64,
    end: u64,
    dropped: u64,
    /// Messages that are due at another time than they say, or are for nobody any more.
    altered: Vec<(u64, Option<i64>)>,
    groups: Vec<SavedGroup>,
}

impl Saved {
    /// Which messages it wants to see.
    pub(crate) const fn messages(&self) -> std::ops::Range<u64> {
        self.first..self.end
    }
}

impl Replica {
    /// A topic that no step was done to. The first says what it is.
    pub(crate) fn empty(id: i64, name: &Topic) -> Self {
        let topic = Decided::new(TopicSpec::new(name.clone()));
        Self {
            id,
            topic,
            number: 0,
            nonce: 0,
            at: Timestamp::MIN,
            saved: 0,
            saved_first: 0,
            tidied: 0,
            #[cfg(feature = "postgres")]
            repeats_gone: Timestamp::MIN,
            packs: Packs::default(),
            hosted: Hosted::default(),
            reading: reading(),
        }
    }

    /// Whether messages are stored that nobody will ask for any more.
    pub(crate) const fn is_untidy(&self) -> bool {
        self.tidied < self.saved_first
    }

    /// Messages before this one have been deleted, as far as is known.
    #[cfg(feature = "postgres")]
    pub(crate) const fn tidied(&self) -> u64 {
        self.tidied
    }

    /// Nothing of it is stored before this position.
    #[cfg(feature = "postgres")]
    pub(crate) fn begins_at(&mut self, oldest: u64) {
        self.tidied = self.tidied.max(oldest.min(self.saved_first));
    }

    /// So many of them are deleted now, at most: those before the position that it returns.
    pub(crate) fn tidy(&mut self, max: u64) -> u64 {
        self.tidied = self.tidied.saturating_add(max).min(self.saved_first);
        self.tidied
    }

    /// Its state, which will be read from here on.
    pub(crate) fn save(&mut self) -> Saved {
        self.saved = self.number;
        let Decided { spec, log, groups, dropped, .. } = &self.topic;
        // A pack stays until all of its messages may go.
        let first = if log.len() == 0 { None } else { self.packs.first_of(log.first()) };
        self.saved_first = first.unwrap_or(log.first());
        let altered = log.iter().filter(|(_, stored)| stored.is_removed || stored.is_moved);
        Saved {
            nonce: self.nonce,
            at: self.at.as_nanos(),
            spec: spec.clone(),
            first: log.first(),
            end: log.end(),
            dropped: *dropped,
            altered: altered
                .map(|(position, stored)| (position, (!stored.is_removed).then(|| stored.due.as_nanos())))
                .collect(),
            groups: groups.values().map(|group| group.save(log, self.at)).collect(),
        }
    }

    /// The topic as it was saved after the step of this number; the messages are those that [`Saved::messages`] names, and any that stand in a pack with them.
    pub(crate) fn restore(
        id: i64,
        number: u64,
        saved: Saved,
        messages: Vec<Brief>,
        packs: Packs,
    ) -> Result<Self, Error> {
        let name = saved.spec.topic.clone();
        let mut topic = Decided::new(saved.spec);
        topic.log = Log::starting_at(saved.first);
        topic.dropped = saved.dropped;
        let saved_first = messages.first().map_or(saved.first, |brief| brief.position);
        for Brief { position, stored } in messages.into_iter().filter(|brief| brief.position >= saved.first) {
            if topic.log.end() != position {
                return Err(missing(&name, topic.log.end()));
            }
            topic.log.push(stored);
        }
        if topic.log.end() != saved.end {
            return Err(missing(&name, topic.log.end()));
        }
        for (position, due) in saved.altered {
            topic.log.alter(position, due.map(Timestamp::from_nanos));
        }
        let at = Timestamp::from_nanos(saved.at);
        for group in saved.groups {
            let group = GroupState::restore(group, &topic.log, at);
            topic.groups.insert(group.group().name().clone(), group);
        }
        let nonce = saved.nonce;
        Ok(Self {
            id,
            topic,
            number,
            nonce,
            at,
            saved: number,
            saved_first,
            tidied: 0,
            #[cfg(feature = "postgres")]
            repeats_gone: Timestamp::MIN,
            packs,
            hosted: Hosted::default(),
            reading: reading(),
        })
    }

    /// Takes a step in that another has done. The messages that it added come in `added`, in order.
    pub(crate) fn follow(&mut self, step: &Step, ops: Vec<Op>, added: &mut VecDeque<Brief>) -> Result<(), Error> {
        if step.number != self.number.saturating_add(1) {
            let context = format!("step {} of {} follows step {}", step.number, self.topic.spec.topic, self.number);
            return Err(Error::new(ErrorKind::Corrupt, context));
        }
        for op in ops {
            self.apply(op, step.at, added)?;
        }
        (self.number, self.nonce, self.at) = (step.number, step.nonce, self.at.max(step.at));
        self.packs.forget_before(self.topic.log.first());
        Ok(())
    }

    fn group(&mut self, name: &GroupName) -> Result<(&mut GroupState, &Log), Error> {
        let Decided { spec, log, groups, .. } = &mut self.topic;
        let group = groups.get_mut(name).ok_or_else(|| {
            let context = format!("a step names the group {name} of {}, which no step made", spec.topic);
            Error::new(ErrorKind::Corrupt, context)
        })?;
        Ok((group, log))
    }

    fn apply(&mut self, op: Op, at: Timestamp, added: &mut VecDeque<Brief>) -> Result<(), Error> {
        let mut woken = Vec::new();
        match op {
            Op::Topic(spec) => self.topic.spec = spec,
            Op::Group(spec) => self.topic.declare(spec),
            Op::Added(count) => {
                for _ in 0..count {
                    let end = self.topic.log.end();
                    let brief = added.pop_front().filter(|brief| brief.position == end);
                    let brief = brief.ok_or_else(|| missing(&self.topic.spec.topic, end))?;
                    self.topic.push(brief.stored, at, |_, _| ());
                }
                self.topic.changed(&mut woken);
            }
            Op::Advanced(name) => {
                let (group, log) = self.group(&name)?;
                drop(group.advance(log, at));
            }
            Op::Leased(leases) => {
                let until = Timestamp::from_nanos(leases.until);
                let max = usize::try_from(leases.max).unwrap_or(usize::MAX);
                let wanted = Wanted { worker: &leases.worker, max, until };
                let (group, log) = self.group(&leases.group)?;
                group.receive_as(wanted, &leases.positions(), log, at, leases.token);
            }
            Op::Settled(name, items) => {
                let (state, log) = self.group(&name)?;
                for (lease, action) in leases(items) {
                    state.settle(&lease, &action, log, at, &mut Vec::new());
                }
                state.forget_done();
                state.changed(&mut woken);
            }
            Op::SettledLate(name, items) => {
                let (state, log) = self.group(&name)?;
                for (lease, action) in leases(items) {
                    state.settle_late(&lease, &action, log, at, &mut Vec::new());
                }
                state.forget_done();
                state.changed(&mut woken);
            }
            Op::Died { group, position, is_buried } => {
                let (group, log) = self.group(&group)?;
                if is_buried {
                    group.buried(position, log, at);
                } else {
                    group.not_buried(position, log, at);
                }
            }
            Op::Moved { position, due } => {
                self.topic.move_to(position, due.map(Timestamp::from_nanos), at, &mut woken);
            }
            Op::Paused(name) => self.group(&name)?.0.set_paused(true),
            Op::Resumed(name) => {
                let (group, _) = self.group(&name)?;
                group.set_paused(false);
                group.changed(&mut woken);
            }
            Op::Sought(name, start) => {
                let (group, log) = self.group(&name)?;
                group.seek(start, log);
                group.changed(&mut woken);
            }
            Op::Rescued(worker) => {
                let Decided { groups, log, .. } = &mut self.topic;
                for group in groups.values_mut() {
                    drop(group.rescue(&worker, log, at));
                    group.changed(&mut woken);
                }
            }
            Op::Released => self.topic.release(at, &mut woken, |_, _| ()),
        }
        Ok(())
    }
}

fn leases(items: Vec<step::Ended>) -> impl Iterator<Item = (Lease, crate::queue::Action)> {
    let lease = |(position, token, action)| (Lease { position: Position(position), token }, action);
    step::settled(items).into_iter().map(lease)
}

fn missing(topic: &Topic, position: u64) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the message at {position} of {topic} is missing"))
}

/// A message as it is published: taken in by the replica of whoever publishes it.
pub(crate) fn of_message(
    message: &crate::message::Message,
    accepted_at: Timestamp,
    due: Timestamp,
    expires: Timestamp,
) -> Stored {
    Stored::new(message.key.clone(), message.priority, [accepted_at, due, expires], None)
}
