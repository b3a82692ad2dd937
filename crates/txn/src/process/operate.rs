//! What a person sees of processes and does to them: lists, timelines, remedies, and migration to another version.

use serde::Serialize;
use txn_change::{Body, ChangeId, Timestamp};
use txn_core::Context;
use txn_store::{Cursor, Found, Query, Range};

use super::{
    engine::{Advanced, Built, Name, request},
    index::{by_phase, by_state, by_version, of_instance},
    name::{CorrelationId, IncomingId, ProcessName},
    note::{Noted, What},
    processes::{Processes, check},
    record::{Cause, Instance, Payload, Phase, Status, Stuck, Work},
    registry::Erased,
    rejection::Rejection,
    step::Operation,
    work,
};
use crate::failure::Failure;

/// Which instances of a process to list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListBy {
    /// Those in a phase, the longest in it first: with [`Phase::Stuck`], those that wait for a person.
    Phase(Phase),
    /// Those in a state of the process' own.
    State(String),
    /// Those that are not over and run under a version: with one that is not registered, the parked ones.
    Version(u32),
}

/// A page of instances.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed {
    /// The instances.
    pub instances: Vec<Instance>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// A line in the life of an instance, with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// When it was committed, in the store's time.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
}

/// A page of a timeline.
#[derive(Debug)]
#[non_exhaustive]
pub struct Timeline {
    /// What happened, in its order.
    pub lines: Vec<Line>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// How a person helps an instance that is stuck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remedy {
    /// It goes on with what it was at: the event is applied again, the operation asked about or called again under the same idempotency key.
    Resume,
    /// The operation that failed is called again under a new idempotency key. Refused while it is not known what became of it: it might be done twice.
    Retry,
    /// What it was at is taken as done, with this value; an event that cannot be applied is dropped.
    Skip(Option<Payload>),
    /// What it was at is taken as failed for good, and the instance goes on from that. What cannot be undone, or applied, gives the instance up.
    Fail,
}

impl Remedy {
    /// [`Remedy::Skip`] with a value.
    #[must_use]
    pub fn skip_with(value: &Body) -> Self {
        Self::Skip(Payload::of(value))
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Skip(_) => "skip",
            Self::Fail => "fail",
        }
    }
}

/// Who does something, why, and the request's id: repeated under it, it is done once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    /// The request's id.
    pub id: IncomingId,
    /// Who: at most 100 bytes.
    pub by: String,
    /// Why: at most 1000 bytes.
    pub note: String,
}

const BY_BYTES_MAX: usize = 100;
const NOTE_BYTES_MAX: usize = 1_000;

impl Processes {
    /// Lists instances, page by page, over an index.
    ///
    /// # Errors
    /// As [`txn_store::Scope::find`]; [`Failure::Name`] for what is no process name.
    pub async fn list(
        &self,
        process: &str,
        by: &ListBy,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Listed, Failure> {
        let process = ProcessName::new(process)?;
        let prefix = match by {
            ListBy::Phase(phase) => by_phase(&process, *phase),
            ListBy::State(state) => by_state(&process, state),
            ListBy::Version(version) => by_version(&process, *version),
        };
        let page = self.engine.scope.find(&Query::RecordsByTerm(Range::prefix(prefix)), after, limit).await?;
        let read = |found| match found {
            Found::Record(_, record) => Some(record.body.read::<Instance>()),
            _ => None,
        };
        let instances = page.items.into_iter().filter_map(read).collect::<Result<_, _>>()?;
        Ok(Listed { instances, next: page.next })
    }

    /// What an instance went through, page by page.
    ///
    /// # Errors
    /// As [`Processes::list`].
    pub async fn timeline(
        &self,
        process: &str,
        correlation: &CorrelationId,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Timeline, Failure> {
        let term = of_instance(&ProcessName::new(process)?, correlation);
        let exactly = Range { prefix: term.as_bytes().to_vec(), from: None, until: None };
        let page = self.engine.scope.find(&Query::EventsByTerm(exactly), after, limit).await?;
        let mut lines = Vec::with_capacity(page.items.len());
        for found in page.items {
            if let Found::Event(recorded) = found {
                let Noted { what, .. } = recorded.event.body.read()?;
                lines.push(Line { at: recorded.recorded_at, what });
            }
        }
        Ok(Timeline { lines, next: page.next })
    }

    /// Helps an instance that is stuck.
    ///
    /// # Errors
    /// [`Rejection::UnknownInstance`](super::Rejection::UnknownInstance), [`Rejection::NotStuck`](super::Rejection::NotStuck), [`Rejection::WrongRemedy`](super::Rejection::WrongRemedy).
    pub async fn help(
        &self,
        process: &str,
        correlation: &CorrelationId,
        remedy: &Remedy,
        order: &Order,
    ) -> Result<(), Failure> {
        let process = ProcessName::new(process)?;
        let fingerprint = request("process.help", &(&process, correlation, remedy, order));
        let name = asked("process.help", &process, correlation, order, fingerprint)?;
        let step_bytes_max = self.engine.registry.limits.step_bytes_max;
        if let Remedy::Skip(Some(value)) = remedy {
            check("bytes in a step's value", value.size(), step_bytes_max)?;
        }
        let build = |instance: Option<Instance>, _: bool, context: &Context, notes: &mut Vec<What>| {
            let (process, correlation) = (process.clone(), correlation.clone());
            let mut instance = instance.ok_or_else(|| {
                rejected(Rejection::UnknownInstance { process: process.clone(), correlation: correlation.clone() })
            })?;
            let stuck = instance.stuck.clone().ok_or_else(|| rejected(Rejection::NotStuck { process, correlation }))?;
            let (remedy_name, by, note) = (remedy.name().to_owned(), order.by.clone(), order.note.clone());
            notes.push(What::Helped { remedy: remedy_name, by, note });
            apply(&mut instance, stuck, remedy, context.now, notes).map_err(rejected)?;
            Ok(Built::Changed(Box::new(instance)))
        };
        self.operate((&process, correlation), &name, build).await
    }

    /// Moves an instance to another version that is registered here. `lift` is given its state and data and says what they are there; everything that is set or open must have its events there.
    ///
    /// # Errors
    /// [`Rejection::NotMigrated`](super::Rejection::NotMigrated), [`Rejection::UnknownVersion`](super::Rejection::UnknownVersion).
    pub async fn migrate(
        &self,
        process: &str,
        correlation: &CorrelationId,
        to: u32,
        lift: impl Fn(&str, &Body) -> Option<(String, Body)>,
        order: &Order,
    ) -> Result<(), Failure> {
        let process = ProcessName::new(process)?;
        let fingerprint = request("process.migrate", &(&process, correlation, to, order));
        let name = asked("process.migrate", &process, correlation, order, fingerprint)?;
        let version = Rejection::UnknownVersion { process: process.clone(), version: to };
        let target = self.engine.registry.get(&process, to).ok_or_else(|| rejected(version))?;
        let data_bytes_max = self.engine.registry.limits.data_bytes_max;
        let build = |instance: Option<Instance>, _: bool, _: &Context, notes: &mut Vec<What>| {
            let (process, correlation) = (process.clone(), correlation.clone());
            let mut instance = instance.ok_or_else(|| {
                rejected(Rejection::UnknownInstance { process: process.clone(), correlation: correlation.clone() })
            })?;
            let (by, note) = (order.by.clone(), order.note.clone());
            notes.push(What::Migrated { from: instance.version, to, by, note });
            let moved = lifted(&mut instance, target, to, data_bytes_max, &lift);
            moved.map_err(|reason| rejected(Rejection::NotMigrated { process, correlation, reason }))?;
            Ok(Built::Changed(Box::new(instance)))
        };
        self.operate((&process, correlation), &name, build).await
    }

    async fn operate(
        &self,
        address: (&ProcessName, &CorrelationId),
        name: &Name<'_>,
        build: impl Fn(Option<Instance>, bool, &Context, &mut Vec<What>) -> Result<Built, Failure>,
    ) -> Result<(), Failure> {
        if let Advanced::Done(step) = self.engine.advance(address, name, build).await?
            && step.instance.is_some_and(|instance| instance.is_ready)
        {
            // It is done; should this fail, a runner goes on with what waits.
            let _ = self.engine.drain(address).await;
        }
        Ok(())
    }
}

fn rejected(rejection: Rejection) -> Failure {
    Failure::Rejected(rejection.into())
}

fn asked(
    operation: &'static str,
    process: &ProcessName,
    correlation: &CorrelationId,
    order: &Order,
    fingerprint: txn_change::Fingerprint,
) -> Result<Name<'static>, Failure> {
    check("bytes in a name", order.by.len(), BY_BYTES_MAX)?;
    check("bytes in a note", order.note.len(), NOTE_BYTES_MAX)?;
    let id = ChangeId::new(format!("{operation}/{process}/{correlation}/{}", order.id))?;
    Ok(Name::Asked { id, fingerprint, event: None })
}

/// Changes an instance as a person ordered.
fn apply(
    instance: &mut Instance,
    stuck: Stuck,
    remedy: &Remedy,
    now: Timestamp,
    notes: &mut Vec<What>,
) -> Result<(), Rejection> {
    instance.stuck = None;
    instance.enter(stuck.before, now);
    let wrong = |reason| Err(Rejection::WrongRemedy { remedy: remedy.name(), reason });
    let (number, operation) = match stuck.cause {
        Cause::NotApplied { .. } => {
            match remedy {
                Remedy::Resume | Remedy::Retry => {}
                Remedy::Skip(_) if instance.waiting.is_empty() => {}
                Remedy::Skip(_) => {
                    let dropped = instance.waiting.remove(0);
                    let reason = "a person dropped it".to_owned();
                    notes.push(What::Rejected { event: dropped.event, id: dropped.id, reason });
                }
                Remedy::Fail => give_up(instance, now, notes),
            }
            return Ok(());
        }
        Cause::DoneLate { .. } => {
            return match remedy {
                Remedy::Resume | Remedy::Skip(_) => Ok(()),
                Remedy::Retry => wrong("it is done"),
                Remedy::Fail => {
                    give_up(instance, now, notes);
                    Ok(())
                }
            };
        }
        Cause::OutcomeUnknown { step, operation } => (step, operation),
        Cause::NotUndone { step } => (step, Operation::Compensate),
    };
    let is_unknown = matches!(stuck.cause, Cause::OutcomeUnknown { .. });
    let Some(step) = instance.step_mut(number) else { return Ok(()) };
    if let (Remedy::Skip(Some(value)), Operation::Execute) = (remedy, operation) {
        step.value = Some(value.clone());
    }
    let Some(work) = step.work_mut(operation) else { return Ok(()) };
    match remedy {
        // It turned out to be done while it was stuck: that is settled with it.
        _ if work.status == Status::Done => {
            work.class = None;
            return Ok(());
        }
        Remedy::Resume if is_unknown => (work.queries, work.due) = (0, now),
        Remedy::Resume => again(work, now),
        Remedy::Retry if is_unknown => {
            return wrong("it is not known what became of the operation; it might be done twice");
        }
        Remedy::Retry => {
            work.round = work.round.saturating_add(1);
            again(work, now);
        }
        Remedy::Skip(_) => work.status = Status::Done,
        Remedy::Fail if operation == Operation::Compensate => {
            give_up(instance, now, notes);
            return Ok(());
        }
        Remedy::Fail => (work.status, work.class) = (Status::Failed, Some("by-operator".to_owned())),
    }
    if work.status.is_settled() {
        work::ended(instance, number, operation, now, notes);
    }
    Ok(())
}

fn again(work: &mut Work, now: Timestamp) {
    (work.status, work.attempts, work.queries, work.due) = (Status::Waiting, 0, 0, now);
    work.class = None;
}

/// The end that nothing follows.
fn give_up(instance: &mut Instance, now: Timestamp, notes: &mut Vec<What>) {
    instance.timeouts.clear();
    instance.undone = None;
    for waiting in std::mem::take(&mut instance.waiting) {
        let reason = "the instance was given up".to_owned();
        notes.push(What::Rejected { event: waiting.event, id: waiting.id, reason });
    }
    instance.enter(Phase::Abandoned, now);
}

/// Brings an instance under another version.
fn lifted(
    instance: &mut Instance,
    target: &dyn Erased,
    to: u32,
    data_bytes_max: usize,
    lift: impl Fn(&str, &Body) -> Option<(String, Body)>,
) -> Result<(), String> {
    if instance.phase.is_over() {
        return Err("it is over".to_owned());
    }
    let table = target.table();
    let mut is_final = false;
    if let (Some(state), Some(data)) = (&instance.state, &instance.data) {
        let (state, data) = lift(state, &data.body()).ok_or("its state and data are not lifted")?;
        let position = table.state_at(&state).ok_or_else(|| format!("version {to} has no state {state:?}"))?;
        is_final = table.is_final(position);
        let data = Payload::of(&data).ok_or("the data is not JSON text")?;
        super::turn::at_most("bytes of data", data.size(), data_bytes_max)?;
        (instance.state, instance.data) = (Some(state), Some(data));
    }
    if is_final {
        return Err("it would be over, without an event that ends it".to_owned());
    }
    let waiting = instance.waiting.iter().map(|waiting| &waiting.event);
    let timeouts = instance.timeouts.iter().map(|timeout| &timeout.event);
    let open = instance.steps.iter().filter(|step| !step.execute.status.is_settled());
    let steps = open.flat_map(|step| [&step.done, &step.failed]);
    let events = waiting.chain(timeouts).chain(steps).chain(&instance.undone);
    if let Some(event) = events.into_iter().find(|event| table.event_at(event).is_none()) {
        return Err(format!("version {to} has no event {event:?}, which is waiting, set or open"));
    }
    instance.version = to;
    Ok(())
}
