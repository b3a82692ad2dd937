//! A turn: the topics are locked and read, calls are decided one after the other, and what came of them is written at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use txn_change::Timestamp;

use super::{
    declared::Declared,
    medium::{Draft, Medium, Written},
    pack::{self, Opened},
    replica::{Hosted, Replica},
    row::Row,
    step::{self, Leases, Op, Step},
};
use crate::{
    admin::{Control, TopicStats},
    engine::{
        admit, between,
        group::{Dying, Leased, Wanted},
        topic::{Topic as Decided, find},
    },
    error::{Error, ErrorKind},
    limits::QueueLimits,
    name::Topic,
    queue::{Action, Group, Receive, Settle, Settled},
    topology::Topology,
};

/// Packs that are read at once, at most: some megabytes, unless messages are large.
const PACKS_READ: usize = 64;

/// Why a turn did not come to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This one call cannot be done, and has done nothing.
    Refused(Error),
    /// The medium failed: nothing of the turn is known to be.
    Failed(Error),
    /// Another topic is concerned that could not be locked in passing.
    Needs(Topic),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What a worker was given, without the messages.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) group: Group,
    pub(crate) until: Timestamp,
    pub(crate) leased: Vec<Leased>,
    pub(crate) next_in: Option<std::time::Duration>,
}

/// One transaction over some topics.
pub(crate) struct Turn<'t, M> {
    pub(crate) medium: &'t mut M,
    pub(crate) declared: &'t mut Arc<Declared>,
    /// Those that are locked, and up to date.
    pub(crate) topics: &'t mut BTreeMap<Topic, Replica>,
    pub(crate) limits: &'t QueueLimits,
    pub(crate) now: Timestamp,
    /// By chance.
    pub(crate) nonce: u64,
    pub(super) drafts: BTreeMap<Topic, Draft>,
    tokens: u64,
    /// Something of hosts' was taken in, though it may have come to nothing.
    pub(super) took: bool,
}

impl<'t, M: Medium> Turn<'t, M> {
    pub(crate) fn new(
        medium: &'t mut M,
        declared: &'t mut Arc<Declared>,
        topics: &'t mut BTreeMap<Topic, Replica>,
        limits: &'t QueueLimits,
        now: Timestamp,
        nonce: u64,
    ) -> Self {
        // The clock may have gone back, or another's may be ahead.
        let now = topics.values().map(|replica| replica.at).fold(now, Timestamp::max);
        // Remembered also when nothing is written, so that a lease that was found to have ended stays so.
        topics.values_mut().for_each(|replica| replica.at = now);
        Self { medium, declared, topics, limits, now, nonce, drafts: BTreeMap::new(), tokens: nonce, took: false }
    }

    pub(super) fn draft(&mut self, topic: &Topic) -> &mut Draft {
        self.drafts.entry(topic.clone()).or_insert_with(|| Draft { is_passing: true, ..Draft::default() })
    }

    pub(super) fn did(&mut self, topic: &Topic, op: Op) {
        let draft = self.draft(topic);
        draft.is_passing &= matches!(op, Op::Advanced(_) | Op::Leased(_) | Op::Released);
        match (draft.ops.last_mut(), &op) {
            (Some(Op::Added(sum)), Op::Added(count)) => *sum = sum.saturating_add(*count),
            _ => draft.ops.push(op),
        }
    }

    pub(super) fn replica(&mut self, topic: &Topic) -> Result<&mut Replica, Stop> {
        if !self.topics.contains_key(topic) {
            return Err(match self.declared.id(topic) {
                Ok(_) => Stop::Needs(topic.clone()),
                Err(error) => Stop::Refused(error),
            });
        }
        self.topics.get_mut(topic).ok_or_else(|| Stop::Needs(topic.clone()))
    }

    /// Locks a topic that turns out to be concerned.
    pub(super) async fn enter(&mut self, topic: &Topic) -> Result<(), Stop> {
        if self.topics.contains_key(topic) {
            return Ok(());
        }
        let id = self.declared.id(topic).map_err(Stop::Refused)?;
        if !self.medium.lock(id).await? {
            return Err(Stop::Needs(topic.clone()));
        }
        let known = self.medium.known(topic);
        let mut replica = super::medium::read(self.medium, known, id, topic).await?;
        // What hosts brought for it is looked for from the beginning: the look of this turn was at other topics.
        replica.hosted = Hosted::default();
        if replica.at > self.now {
            // What has been decided is read again at the time of the whole step, and must come to the same then; and leases may end by then of which no host was asked. It is decided anew, at the later time.
            return Err(Stop::Needs(topic.clone()));
        }
        self.topics.insert(topic.clone(), replica);
        Ok(())
    }

    pub(crate) async fn receive(&mut self, receive: &Receive) -> Result<Given, Stop> {
        let topic = receive.group.topic();
        let now = self.now;
        let Decided { groups, log, .. } = &mut self.replica(topic)?.topic;
        let before = find(groups, &receive.group).map_err(Stop::Refused)?.mark();
        let dying = find(groups, &receive.group).map_err(Stop::Refused)?.advance(log, now);
        let is_written = !dying.is_empty();
        if is_written {
            self.did(topic, Op::Advanced(receive.group.name().clone()));
            self.bury(&receive.group, dying).await?;
        }
        let now = self.now;
        let until = now.after(receive.lease).unwrap_or(Timestamp::MAX);
        let mut tokens = self.tokens;
        let Decided { groups, log, .. } = &mut self.replica(topic)?.topic;
        let group = find(groups, &receive.group).map_err(Stop::Refused)?;
        let wanted = Wanted { worker: &receive.worker, max: receive.max, until };
        let leased = group.receive(wanted, log, now, &mut tokens);
        let next_in = group.next_at(now).map(|next| between(now, next));
        let after = group.mark();
        let token = std::mem::replace(&mut self.tokens, tokens);
        // What only time has brought is written too, or others would come to another state when they go on from here.
        if !leased.is_empty() || before != after {
            let name = receive.group.name().clone();
            if !is_written {
                self.did(topic, Op::Advanced(name.clone()));
            }
            let got = leased.iter().map(|leased| leased.position);
            let leases = Leases::new(name, receive.worker.clone(), receive.max, until, token, got);
            self.did(topic, Op::Leased(leases));
        }
        self.release(topic)?;
        Ok(Given { group: receive.group.clone(), until, leased, next_in })
    }

    pub(crate) async fn settle(&mut self, group: &Group, batch: &[Settle]) -> Result<Vec<Settled>, Stop> {
        let now = self.now;
        let known = self.topics.get_mut(group.topic()).map(|replica| &mut replica.topic);
        let known = known.and_then(|Decided { groups, log, .. }| Some((groups.get_mut(group.name())?, log)));
        let Some((state, log)) = known else { return Ok(vec![Settled::Gone; batch.len()]) };
        let mut dying = Vec::new();
        let settle = |settle: &Settle| state.settle(&settle.lease, &settle.action, log, now, &mut dying);
        let results: Vec<Settled> = batch.iter().map(settle).collect();
        state.forget_done();
        let applied = batch.iter().zip(&results).filter(|(_, settled)| **settled == Settled::Applied);
        let applied: Vec<&Settle> = applied.map(|(settle, _)| settle).collect();
        if applied.iter().any(|settle| !matches!(settle.action, Action::Extend { .. })) {
            state.changed(&mut Vec::new());
        }
        if !applied.is_empty() {
            let items = applied.iter().map(|settle| (settle.lease.position.0, settle.lease.token, &settle.action));
            self.did(group.topic(), Op::Settled(group.name().clone(), step::ended(items)));
            self.bury(group, dying).await?;
        }
        self.release(group.topic())?;
        Ok(results)
    }

    /// Lets go of what nobody wants any more.
    pub(super) fn release(&mut self, topic: &Topic) -> Result<(), Stop> {
        let now = self.now;
        let known = &mut self.replica(topic)?.topic;
        let before = known.log.first();
        known.release(now, &mut Vec::new(), |_, _| ());
        if known.log.first() != before {
            self.did(topic, Op::Released);
        }
        Ok(())
    }

    /// Moves what a group gave up to its dead letters; what finds no room there stays, for a while.
    pub(super) async fn bury(&mut self, group: &Group, dying: Vec<Dying>) -> Result<(), Stop> {
        if dying.is_empty() {
            return Ok(());
        }
        let state = self.replica(group.topic())?.topic.group(group).map_err(Stop::Refused)?;
        let letters = state.spec.dead_letter_topic();
        // A topic that was never declared has no room: what is dead stays, and what else was decided stands.
        let is_there = match self.enter(&letters).await {
            Err(Stop::Refused(_)) => false,
            entered => entered.map(|()| true)?,
        };
        let positions: Vec<u64> = dying.iter().map(|dying| dying.position).collect();
        let rows = self.fetch(group.topic(), &positions).await?;
        let mut rows: HashMap<u64, Row> = rows.into_iter().map(|row| (row.position, row)).collect();
        for dead in dying {
            let Some(row) = rows.remove(&dead.position) else { continue };
            let is_buried = is_there && self.write_letter(group, &letters, &dead, row)?;
            let (now, name) = (self.now, group.name().clone());
            let Decided { groups, log, .. } = &mut self.replica(group.topic())?.topic;
            let state = find(groups, group).map_err(Stop::Refused)?;
            if is_buried {
                state.buried(dead.position, log, now);
            } else {
                state.not_buried(dead.position, log, now);
            }
            self.did(group.topic(), Op::Died { group: name, position: dead.position, is_buried });
        }
        Ok(())
    }

    /// The messages at these positions, of which this very turn may have published some.
    pub(super) async fn fetch(&mut self, topic: &Topic, positions: &[u64]) -> Result<Vec<Row>, Stop> {
        let mut rows = Vec::with_capacity(positions.len());
        let mut missing: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let Self { topics, drafts, .. } = self;
        let replica = topics.get_mut(topic).ok_or_else(|| Stop::Needs(topic.clone()))?;
        let drafted = drafts.get(topic).map(|draft| draft.rows.as_slice()).unwrap_or_default();
        for position in positions.iter().copied() {
            let nth = drafted.first().and_then(|first| usize::try_from(position.checked_sub(first.position)?).ok());
            if let Some(row) = nth.and_then(|nth| drafted.get(nth)) {
                rows.push(row.clone());
            } else if let Some(row) = replica.packs.row(position)? {
                rows.push(row);
            } else {
                missing.entry(replica.packs.first_of(position).unwrap_or(position)).or_default().push(position);
            }
        }
        if !missing.is_empty() {
            let firsts: Vec<u64> = missing.keys().copied().collect();
            for firsts in firsts.chunks(PACKS_READ) {
                for pack in self.medium.packs(replica.id, firsts).await? {
                    let first = pack.first;
                    let opened = Opened::new(pack)?;
                    for position in missing.remove(&first).into_iter().flatten() {
                        rows.extend(opened.row(position)?);
                    }
                    replica.packs.read(first, opened);
                }
            }
        }
        if rows.len() != positions.len() {
            let missing = positions.len().abs_diff(rows.len());
            let context = format!("{missing} of {} messages of {topic} are missing", positions.len());
            return Err(Stop::Failed(Error::new(ErrorKind::Corrupt, context)));
        }
        Ok(rows)
    }

    /// Adds a message that did not come from a publisher; false when there is no room.
    pub(super) fn add(
        &mut self,
        topic: &Topic,
        stored: crate::engine::log::Stored,
        row: impl FnOnce(u64, &crate::engine::log::Stored) -> Row,
    ) -> Result<bool, Stop> {
        let now = self.now;
        let known = &mut self.replica(topic)?.topic;
        if !known.has_room() {
            return Ok(false);
        }
        let row = row(known.log.end(), &stored);
        known.push(stored, now, |_, _| ());
        known.changed(&mut Vec::new());
        self.draft(topic).rows.push(row);
        self.did(topic, Op::Added(1));
        Ok(true)
    }

    /// Carries out an order for one topic.
    pub(crate) async fn control(&mut self, topic: &Topic, control: &Control) -> Result<(), Stop> {
        let known = &mut self.replica(topic)?.topic;
        let mut wakers = Vec::new();
        let op = match control {
            Control::Pause(group) => {
                known.group(group).map_err(Stop::Refused)?.set_paused(true);
                Op::Paused(group.name().clone())
            }
            Control::Resume(group) => {
                let state = known.group(group).map_err(Stop::Refused)?;
                state.set_paused(false);
                state.changed(&mut wakers);
                Op::Resumed(group.name().clone())
            }
            Control::Seek(group, start) => {
                self.secure_all_in(group).await?;
                let now = self.now;
                let known = &mut self.replica(topic)?.topic;
                known.release(now, &mut wakers, |_, _| ());
                let Decided { groups, log, .. } = known;
                let state = find(groups, group).map_err(Stop::Refused)?;
                state.seek(*start, log);
                state.changed(&mut wakers);
                self.did(topic, Op::Released);
                Op::Sought(group.name().clone(), *start)
            }
            Control::Rescue(worker) => {
                self.secure_all_of(topic, worker).await?;
                let now = self.now;
                let Decided { groups, log, .. } = &mut self.replica(topic)?.topic;
                let mut dying = Vec::new();
                for group in groups.values_mut() {
                    dying.push((group.group().clone(), group.rescue(worker, log, now)));
                    group.changed(&mut wakers);
                }
                self.did(topic, Op::Rescued(worker.clone()));
                for (group, dying) in dying {
                    self.bury(&group, dying).await?;
                }
                return Ok(());
            }
        };
        self.did(topic, op);
        Ok(())
    }

    /// Declares; the topics that are named, and are known, are locked. True when the topology has changed beyond single topics.
    pub(crate) fn declare(&mut self, topology: Topology) -> Result<bool, Stop> {
        let topology = topology.with_letters(|topic| self.declared.topics.contains_key(topic));
        let known = |topic: &Topic| self.declared.topics.contains_key(topic);
        let routes = admit::routes(&topology, &self.declared.routes, self.declared.topics.len(), known, self.limits);
        let routes = routes.map_err(Stop::Refused)?;
        let concerned = topology.topics.iter().map(|spec| &spec.topic);
        for topic in concerned.chain(topology.groups.iter().map(|spec| spec.group.topic())) {
            if self.declared.topics.contains_key(topic) && !self.topics.contains_key(topic) {
                return Err(Stop::Needs(topic.clone()));
            }
        }
        let before = Arc::clone(self.declared);
        Arc::make_mut(self.declared).routes = routes;
        for spec in topology.topics {
            let id = Arc::make_mut(self.declared).number(&spec.topic);
            let replica = self.topics.entry(spec.topic.clone()).or_insert_with(|| Replica::empty(id, &spec.topic));
            if replica.number == 0 || replica.topic.spec != spec {
                replica.topic.spec = spec.clone();
                self.did(&spec.topic.clone(), Op::Topic(spec));
            }
        }
        for spec in topology.groups {
            let topic = spec.group.topic().clone();
            let known = &mut self.replica(&topic)?.topic;
            if known.groups.get(spec.group.name()).is_none_or(|group| group.spec != spec) {
                known.declare(spec.clone());
                self.did(&topic, Op::Group(spec));
            }
        }
        let is_changed = *self.declared != before;
        if is_changed {
            let declared = Arc::make_mut(self.declared);
            declared.version = declared.version.saturating_add(1);
        }
        Ok(is_changed)
    }

    pub(crate) fn stats(&mut self, topic: &Topic) -> Result<TopicStats, Stop> {
        Ok(self.replica(topic)?.topic.stats())
    }

    /// Whether nothing is to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.drafts.is_empty() && !self.took
    }

    /// Whether what was written must outlive a crash of the server before it is told.
    pub(crate) fn is_passing(&self) -> bool {
        !self.took && self.drafts.values().all(|draft| draft.is_passing)
    }

    /// Writes what the turn came to. It is done when the transaction is committed; when that fails, the replicas are to be forgotten.
    ///
    /// Returns the topics' numbers, each with its last step's.
    pub(crate) async fn write(&mut self) -> Result<Vec<(i64, u64)>, Error> {
        let mut written = Vec::with_capacity(self.drafts.len());
        for (topic, draft) in std::mem::take(&mut self.drafts) {
            let Some(replica) = self.topics.get_mut(&topic) else { continue };
            replica.number = replica.number.saturating_add(1);
            (replica.nonce, replica.at) = (self.nonce, self.now);
            let step =
                Step { number: replica.number, nonce: self.nonce, at: self.now, body: step::to_bytes(&draft.ops) };
            let is_due = replica.number.saturating_sub(replica.saved) >= self.limits.steps_max;
            let packs = pack::write(&draft.rows);
            let mut rest = draft.rows.as_slice();
            for (pack, next) in packs.iter().zip(packs.iter().skip(1).map(Some).chain([None])) {
                let count = next.and_then(|next| usize::try_from(next.first.saturating_sub(pack.first)).ok());
                let (rows, others) = rest.split_at(count.unwrap_or(rest.len()).min(rest.len()));
                replica.packs.push(pack.first);
                replica.packs.wrote(rows);
                rest = others;
            }
            replica.packs.forget_before(replica.topic.log.first());
            let before = replica.saved;
            let saved = is_due.then(|| (before, step::to_bytes(&replica.save())));
            written.push((replica.id, replica.number));
            self.medium.write(Written { topic: replica.id, step, draft: &draft, packs, saved }).await?;
        }
        Ok(written)
    }
}
