//! One change of one instance: read, changed, given its turn, committed; and again on a conflict, a bounded number of times.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use txn_change::{Body, Change, ChangeId, Expect, Fingerprint, Link, Record, Refusal};
use txn_core::{Context, Versioned};
use txn_store::{Freshness, Outcome, Receipt, Scope};

use super::{
    definition::Cell,
    handled::{Ending, Handled},
    index::{begun_key, instance_key},
    name::{CorrelationId, IncomingId, ProcessName},
    note::{Noted, What},
    record::{Begun, Cause, Instance, Phase},
    registry::{Erased, Question, Registry},
    rejection::Rejection,
    turn::{NotApplied, Turns},
    work,
};
use crate::failure::Failure;

/// What is to be changed about an instance.
pub(super) enum Built {
    /// Nothing: it is not as was thought.
    Nothing,
    /// Events that came earlier must have their turn first.
    Busy,
    /// This is how it is now, before its turn.
    Changed(Box<Instance>),
}

/// What a change of an instance came to.
pub(super) enum Advanced {
    Nothing,
    Busy,
    Done(Box<Step>),
}

/// A change that was committed.
pub(super) struct Step {
    pub(super) receipt: Receipt,
    pub(super) instance: Option<Instance>,
}

/// The id under which a change is committed.
pub(super) enum Name<'a> {
    /// Somebody asked for it, under an id: it is done once.
    Asked { id: ChangeId, fingerprint: Fingerprint, event: Option<&'a IncomingId> },
    /// The instance's own: only the version of its record says whether it is done.
    Own { verb: &'static str },
}

/// The scope, registry and bounds of what handles events.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) scope: Scope,
    pub(super) registry: Registry,
    pub(super) attempts_max: u32,
    /// Versions whose table is known to be the one that they were begun with. That is never changed again.
    pub(super) begun: Arc<Mutex<BTreeSet<(ProcessName, u32)>>>,
}

impl Engine {
    /// What an instance runs under; `None` when this build has not registered it. One that has not begun goes over to the newest version.
    fn process_of(&self, instance: &mut Instance) -> Option<&dyn Erased> {
        if instance.phase == Phase::Awaited
            && let Some((newest, _)) = self.registry.newest(&instance.process)
        {
            instance.version = instance.version.max(newest);
        }
        let process = self.registry.get(&instance.process, instance.version)?;
        let is_known = instance.state.as_ref().is_none_or(|state| process.table().state_at(state).is_some());
        is_known.then_some(process)
    }

    /// Whether an event that comes now waits.
    pub(super) fn is_to_wait(&self, instance: &Instance, event: &str) -> bool {
        let Some(process) = self.process_of(&mut instance.clone()) else { return true };
        let table = process.table();
        let state = instance.state.as_ref().and_then(|state| table.state_at(state));
        let is_deferred = table.event_at(event).is_some_and(|event| *table.cell(state, event) == Cell::Defer);
        instance.phase == Phase::Stuck || is_deferred
    }

    pub(super) async fn advance(
        &self,
        address: (&ProcessName, &CorrelationId),
        name: &Name<'_>,
        build: impl Fn(Option<Instance>, bool, &Context, &mut Vec<What>) -> Result<Built, Failure>,
    ) -> Result<Advanced, Failure> {
        // What the store refused of an event's effects, once it has: the event is not tried again in this call.
        let mut blocked: Option<Blocked> = None;
        for _ in 0..self.attempts_max {
            match self.once(address, name, &build, blocked.as_ref()).await? {
                Once::Advanced(advanced) => return Ok(advanced),
                Once::Conflict => {}
                Once::Blocked(by) => blocked = Some(by),
            }
        }
        Err(Failure::Conflict { attempts: self.attempts_max })
    }

    async fn once(
        &self,
        (process_name, correlation): (&ProcessName, &CorrelationId),
        name: &Name<'_>,
        build: impl Fn(Option<Instance>, bool, &Context, &mut Vec<What>) -> Result<Built, Failure>,
        blocked: Option<&Blocked>,
    ) -> Result<Once, Failure> {
        let key = instance_key(process_name, correlation);
        let mut ask = self.scope.ask().record(key.clone());
        if let Name::Asked { id, .. } = name {
            ask = ask.stored(id.clone());
        }
        let snapshot = self.scope.get(ask).await?;
        if let (Some(stored), Name::Asked { id, fingerprint, .. }) = (snapshot.stored, name) {
            if stored.fingerprint != *fingerprint {
                let (id, is_given_up) = (id.clone(), stored.fingerprint == Fingerprint::NOT_DONE);
                return Err(if is_given_up { Failure::GivenUp { id } } else { Failure::KeyReused { id } });
            }
            let (freshness, head) = (Freshness::default(), Link::default());
            let (answer, recorded_at) = (stored.answer, stored.recorded_at);
            let receipt = Receipt { answer, replayed: true, recorded_at, freshness, head };
            return Ok(Once::Advanced(Advanced::Done(Box::new(Step { receipt, instance: None }))));
        }
        let record = snapshot.records.first().and_then(Option::as_ref);
        let stood: Option<Versioned<Instance>> = record.map(Versioned::read).transpose()?;
        let version = stood.as_ref().map(|stood| stood.version);
        let (id, fingerprint) = self.identity(name, process_name, correlation, version)?;
        let context = Context { id, fingerprint, now: snapshot.now, effective_at: None };

        let mut notes = Vec::new();
        let mut before = stood.map(|stood| stood.value);
        let is_known = before.as_mut().is_none_or(|instance| self.process_of(instance).is_some());
        let mut instance = match build(before.clone(), is_known, &context, &mut notes)? {
            Built::Nothing => return Ok(Once::Advanced(Advanced::Nothing)),
            Built::Busy => return Ok(Once::Advanced(Advanced::Busy)),
            Built::Changed(instance) => *instance,
        };
        let process = self.process_of(&mut instance);
        let limits = &self.registry.limits;
        let mut turns = Turns { process, limits, context: &context, instance, notes, change: None };
        turns.settle();
        let asked = if let Name::Asked { event, .. } = name { *event } else { None };
        let mut reads: Vec<(txn_change::Key, Option<u64>)> = Vec::new();
        let (mut is_applied, mut turn_of) = (false, None);
        if let Some((waiting, event, targets)) = turns.candidate() {
            let blocked = blocked.filter(|blocked| blocked.event == waiting.id);
            turn_of = Some(waiting.id.clone());
            let outcome = match blocked {
                Some(blocked) => Err(NotApplied { event: Box::new(waiting.clone()), reason: blocked.refusal.clone() }),
                None => match self.read_for(&turns, &waiting, event, version).await? {
                    Read::Stale => return Ok(Once::Conflict),
                    Read::Declined(reason) => Err(NotApplied { event: Box::new(waiting.clone()), reason }),
                    Read::Records(keys, records) => {
                        let versions = records.iter().map(|record| record.as_ref().map(|record| record.version));
                        reads = keys.into_iter().zip(versions).collect();
                        turns.apply(&waiting, event, &targets, &records)
                    }
                },
            };
            match outcome {
                Ok(()) => is_applied = true,
                Err(refused) if !refused.event.is_own && asked == Some(&refused.event.id) => {
                    let (event, reason) = (refused.event.event, refused.reason);
                    return Err(Failure::Rejected(Rejection::NotApplied { event, reason }.into()));
                }
                Err(refused) => turns.not_applied(refused, blocked.is_some()),
            }
            turns.settle();
        }
        if let Some(event) = asked
            && let Some(waiting) = turns.instance.waiting.iter().find(|waiting| !waiting.is_own && waiting.id == *event)
        {
            turns.notes.push(What::Deferred { event: waiting.event.clone(), id: event.clone() });
        }
        let change = self.change(&turns, &key, version, before.as_ref(), asked, reads).await?;
        let is_external = is_applied && asked.is_some();
        let (instance, notes) = (turns.instance, turns.notes);
        match self.scope.commit(change).await? {
            Outcome::Done(receipt) => {
                count(process_name, &notes);
                Ok(Once::Advanced(Advanced::Done(Box::new(Step { receipt, instance: Some(instance) }))))
            }
            Outcome::Refused(Refusal::GivenUp { id }) => Err(Failure::GivenUp { id }),
            Outcome::Refused(Refusal::KeyReused { id }) => Err(Failure::KeyReused { id }),
            Outcome::Refused(refusal) if refusal.is_conflict() => Ok(Once::Conflict),
            Outcome::Refused(refusal) => match turn_of.filter(|_| is_applied && !is_external) {
                Some(event) => Ok(Once::Blocked(Blocked { event, refusal: refusal.to_string() })),
                None => Err(Failure::Refused(refusal)),
            },
            Outcome::Unknown(id) => Err(Failure::Unknown { id }),
        }
    }

    fn identity(
        &self,
        name: &Name<'_>,
        process: &ProcessName,
        correlation: &CorrelationId,
        version: Option<u64>,
    ) -> Result<(ChangeId, Fingerprint), Failure> {
        match name {
            Name::Asked { id, fingerprint, .. } => Ok((id.clone(), *fingerprint)),
            Name::Own { verb } => {
                // The version of the record says who is first. An id that nobody can know beforehand cannot be settled by anybody as not done, which would keep the instance for ever.
                let id = ChangeId::new(format!("process.{verb}/{process}/{correlation}/{}", crate::new_uuid()))?;
                Ok((id, Fingerprint::of("process.own", &(*verb, version))))
            }
        }
    }

    /// Reads what the host wants to see for its decision, in one snapshot with the instance.
    async fn read_for(
        &self,
        turns: &Turns<'_>,
        waiting: &super::record::Waiting,
        event: usize,
        version: Option<u64>,
    ) -> Result<Read, Failure> {
        let Some(process) = turns.process else { return Ok(Read::Records(Vec::new(), Vec::new())) };
        let (body, data) = (waiting.body.body(), turns.instance.data.as_ref().map(super::record::Payload::body));
        let state = turns.instance.state.as_ref().and_then(|state| process.table().state_at(state));
        let correlation = &turns.instance.correlation;
        let standing = state.zip(data.as_ref());
        let question = Question { standing, event, body: &body, correlation, context: turns.context, records: &[] };
        let keys = match process.reads(&question) {
            Ok(keys) if keys.is_empty() => return Ok(Read::Records(Vec::new(), Vec::new())),
            Ok(keys) => keys,
            Err(declined) => return Ok(Read::Declined(declined.to_string())),
        };
        let ask = keys.iter().cloned().fold(self.scope.ask().record(turns.instance.key()), txn_store::Ask::record);
        let mut records = self.scope.get(ask).await?.records;
        let instance = if records.is_empty() { None } else { records.remove(0) };
        if instance.map(|instance| instance.version) != version {
            return Ok(Read::Stale);
        }
        Ok(Read::Records(keys, records))
    }

    async fn change(
        &self,
        turns: &Turns<'_>,
        key: &txn_change::Key,
        version: Option<u64>,
        before: Option<&Instance>,
        asked: Option<&IncomingId>,
        reads: Vec<(txn_change::Key, Option<u64>)>,
    ) -> Result<Change, Failure> {
        let Turns { context, instance, notes, .. } = turns;
        let mut change = Change::new(context.id.clone(), context.fingerprint);
        let is_trace = before.is_none() && instance.phase == Phase::Awaited && instance.waiting.is_empty();
        if is_trace || before == Some(instance) {
            change = change.require(key.clone(), Expect::of(version));
        } else {
            let body = Body::of(instance)?;
            change = change.put(key.clone(), Expect::of(version), body, instance.terms());
            if let Some(process) = turns.process {
                change = self.begun(change, process).await?;
            }
        }
        for what in notes {
            let (process, correlation) = (instance.process.clone(), instance.correlation.clone());
            change = change.append(Noted { process, correlation, what: what.clone() }.event());
        }
        if let Some(host) = &turns.change {
            change = change.and(host.clone());
            change.fingerprint = context.fingerprint;
        }
        for (key, version) in reads {
            let stated = change.put.iter().any(|put| put.key == key) || change.require.iter().any(|r| r.key == key);
            if !stated {
                change = change.require(key, Expect::of(version));
            }
        }
        Ok(match asked {
            Some(event) => change.answer(Body::of(&Handled::of(event, instance, notes))?),
            None => change,
        })
    }

    /// Remembers the table of a version with its first instance, and refuses another table under it.
    async fn begun(&self, change: Change, process: &dyn Erased) -> Result<Change, Failure> {
        let (name, version) = (process.name(), process.version());
        let place = (name.clone(), version);
        let known = || self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(&place) {
            return Ok(change);
        }
        let key = begun_key(name, version);
        let begun = Begun { process: name.clone(), version, table: process.table().digest() };
        match self.scope.record(key.clone()).await? {
            Some(record) if record.body.read::<Begun>()? == begun => {
                known().insert(place);
                Ok(change)
            }
            Some(_) => {
                let changed = Rejection::TableChanged { process: name.clone(), version };
                Err(Failure::Rejected(changed.into()))
            }
            None => Ok(change.insert(key, Body::of(&begun)?, Vec::new())),
        }
    }

    /// Gives events that wait their turns, one change after the other, until none may have one.
    pub(super) async fn drain(&self, address: (&ProcessName, &CorrelationId)) -> Result<(), Failure> {
        for _ in 0..self.registry.limits.waiting_max {
            let turn = |instance: Option<Instance>, is_known: bool, _: &Context, _: &mut Vec<What>| {
                let ready = instance.filter(|instance| instance.is_ready && is_known);
                Ok(ready.map_or(Built::Nothing, |instance| Built::Changed(Box::new(instance))))
            };
            match self.advance(address, &Name::Own { verb: "turn" }, turn).await? {
                Advanced::Done(step) if step.instance.as_ref().is_some_and(|instance| instance.is_ready) => {}
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

enum Once {
    Advanced(Advanced),
    Conflict,
    Blocked(Blocked),
}

/// An event whose effects the store refused.
struct Blocked {
    event: IncomingId,
    refusal: String,
}

enum Read {
    Records(Vec<txn_change::Key>, Vec<Option<Record>>),
    Declined(String),
    Stale,
}

impl Turns<'_> {
    /// An event of the instance's own that cannot be applied leaves it to a person, and so does one that the store refused; one from outside that is declined is refused.
    fn not_applied(&mut self, refused: NotApplied, is_store: bool) {
        let NotApplied { event, reason } = refused;
        let event = *event;
        if event.is_own || is_store {
            let detail = format!("{} cannot be applied: {reason}", event.event);
            let cause = Cause::NotApplied { event: event.event.clone() };
            work::stick(&mut self.instance, cause, detail, self.context.now, &mut self.notes);
            // It is the first in its turn when a person has helped.
            self.instance.waiting.retain(|other| *other != event);
            self.instance.waiting.insert(0, event);
        } else {
            self.instance.waiting.retain(|other| *other != event);
            self.notes.push(What::Rejected { event: event.event, id: event.id, reason });
        }
    }
}

/// Counts what happened.
fn count(process: &ProcessName, notes: &[What]) {
    for what in notes {
        let (process, what) = (process.to_string(), what.word());
        metrics::counter!("txn_process_notes_total", "process" => process, "what" => what).increment(1);
    }
}

/// The fingerprint of a request.
pub(super) fn request<C: Serialize + ?Sized>(operation: &str, command: &C) -> Fingerprint {
    Fingerprint::of(operation, command)
}

impl Handled {
    fn of(id: &IncomingId, instance: &Instance, notes: &[What]) -> Self {
        let ending = notes.iter().rev().find_map(|what| match what {
            What::Applied { id: other, from, to, .. } if other == id => {
                Some(Ending::Applied { from: from.clone(), to: to.clone() })
            }
            What::Ignored { id: other, .. } if other == id => Some(Ending::Ignored),
            What::Rejected { id: other, reason, .. } if other == id => {
                Some(Ending::Rejected { reason: reason.clone() })
            }
            _ => None,
        });
        Self { ending: ending.unwrap_or(Ending::Deferred), phase: instance.phase }
    }
}
