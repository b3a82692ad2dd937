//! Turns: what becomes of the events that wait at an instance. Pure; one change applies one event at most, so that no record is written twice in it.

use txn_change::{Body, Change, Document, Timestamp};
use txn_core::Context;

use super::{
    definition::{Cell, Table},
    limits::ProcessLimits,
    name::ProcessName,
    note::What,
    record::{Elapsed, Instance, Payload, Phase, Status, StepRecord, Timeout, Undone, Waiting, Work},
    registry::{Decided, Erased, Question},
    step::Operation,
    work,
};

/// What happens to an instance in one change.
pub(super) struct Turns<'a> {
    pub(super) process: Option<&'a dyn Erased>,
    pub(super) limits: &'a ProcessLimits,
    pub(super) context: &'a Context,
    pub(super) instance: Instance,
    pub(super) notes: Vec<What>,
    /// What the host writes.
    pub(super) change: Option<Change>,
}

/// An event that cannot be applied, and why.
#[derive(Debug, Clone)]
pub(super) struct NotApplied {
    pub(super) event: Box<Waiting>,
    pub(super) reason: String,
}

/// What an event whose turn it is comes to.
enum Next {
    Drop(usize),
    Refuse(usize, &'static str),
    Apply(usize, usize, Vec<usize>),
}

/// Where an instance stands in a table; `None` for a state that the table does not have.
fn position(table: &Table, instance: &Instance) -> Option<Option<usize>> {
    match &instance.state {
        None => Some(None),
        Some(state) => table.state_at(state).map(Some),
    }
}

impl<'a> Turns<'a> {
    fn next(&self) -> Option<Next> {
        let table = self.process?.table();
        let state = position(table, &self.instance)?;
        if matches!(self.instance.phase, Phase::Stuck | Phase::Abandoned) {
            return None;
        }
        self.instance.waiting.iter().enumerate().find_map(|(index, waiting)| {
            let Some(event) = table.event_at(&waiting.event) else {
                return Some(Next::Refuse(index, "the process has no such event"));
            };
            match table.cell(state, event) {
                Cell::Apply(targets) => Some(Next::Apply(index, event, targets.clone())),
                Cell::Ignore => Some(Next::Drop(index)),
                Cell::Reject => Some(Next::Refuse(index, "the table refuses it in this state")),
                Cell::Defer => None,
            }
        })
    }

    /// Brings the undoing on, and says whether an event may have its turn.
    pub(super) fn settle(&mut self) {
        work::recall(&mut self.instance, self.context.now, &mut self.notes);
        self.progress_undo();
        let is_parked = self.process.is_none_or(|process| position(process.table(), &self.instance).is_none());
        self.instance.is_ready = match self.instance.phase {
            Phase::Stuck | Phase::Abandoned => false,
            _ if is_parked => !self.instance.waiting.is_empty(),
            _ => self.next().is_some(),
        };
    }

    /// Drops what is to be dropped in front of the next event to be applied; gives that event.
    pub(super) fn candidate(&mut self) -> Option<(Waiting, usize, Vec<usize>)> {
        loop {
            match self.next()? {
                Next::Drop(index) => {
                    let Waiting { event, id, .. } = self.instance.waiting.remove(index);
                    self.notes.push(What::Ignored { event, id });
                }
                Next::Refuse(index, reason) => {
                    let Waiting { event, id, .. } = self.instance.waiting.remove(index);
                    self.notes.push(What::Rejected { event, id, reason: reason.to_owned() });
                }
                Next::Apply(index, event, targets) => {
                    let waiting = self.instance.waiting.get(index)?.clone();
                    return Some((waiting, event, targets));
                }
            }
        }
    }

    /// Applies the event that [`Turns::candidate`] gave.
    pub(super) fn apply(
        &mut self,
        waiting: &Waiting,
        event: usize,
        targets: &[usize],
        records: &[Option<txn_change::Record>],
    ) -> Result<(), NotApplied> {
        let refused = |reason: String| NotApplied { event: Box::new(waiting.clone()), reason };
        let Some(process) = self.process else { return Err(refused("its version is not registered".to_owned())) };
        let (body, data) = (waiting.body.body(), self.instance.data.as_ref().map(Payload::body));
        let state = position(process.table(), &self.instance).flatten();
        let question = Question {
            standing: state.zip(data.as_ref()),
            event,
            body: &body,
            correlation: &self.instance.correlation,
            context: self.context,
            records,
        };
        let decided = process.decide(&question).map_err(|declined| refused(declined.to_string()))?;
        if !targets.contains(&decided.state) {
            let state = process.table().state(decided.state);
            return Err(refused(format!("it was decided for {state}, which the table does not list for it")));
        }
        let before = self.instance.clone();
        if let Err(reason) = self.take(process, waiting, decided) {
            self.instance = before;
            return Err(refused(reason));
        }
        Ok(())
    }

    fn take(&mut self, process: &dyn Erased, waiting: &Waiting, decided: Decided) -> Result<(), String> {
        let (table, now) = (process.table(), self.context.now);
        let Decided { state, data, change, timeouts, cancelled, plans, undone } = decided;
        if let Some(change) = &change {
            change.check_host().map_err(|invalid| invalid.to_string())?;
        }
        let data = Payload::of(&data).ok_or("the data is not JSON text")?;
        at_most("bytes of data", data.size(), self.limits.data_bytes_max)?;

        self.instance.waiting.retain(|other| other != waiting);
        let from = self.instance.state.replace(table.state(state).to_owned());
        self.instance.data = Some(data);
        if self.instance.phase == Phase::Awaited {
            self.instance.enter(Phase::Running, now);
        }
        let to = table.state(state).to_owned();
        self.notes.push(What::Applied { event: waiting.event.clone(), id: waiting.id.clone(), from, to });

        let is_set_anew = |name: &str| timeouts.iter().any(|(set, _, _)| *set == name);
        self.instance.waiting.retain(|other| {
            elapsed(other).is_none_or(|name| !cancelled.contains(&name.as_str()) && !is_set_anew(&name))
        });
        self.instance.timeouts.retain(|timeout| !cancelled.contains(&timeout.name.as_str()));
        for (name, due, event) in timeouts {
            ProcessName::new(name).map_err(|invalid| format!("the timeout {name:?}: {invalid}"))?;
            self.instance.timeouts.retain(|timeout| timeout.name != name);
            let event = table.event(event).to_owned();
            self.instance.timeouts.push(Timeout { name: name.to_owned(), due, event });
        }
        at_most("timeouts", self.instance.timeouts.len(), self.limits.timeouts_max)?;

        let is_undoing = self.instance.phase == Phase::Undoing;
        if !plans.is_empty() && (is_undoing || undone.is_some()) {
            return Err("steps are not begun while the others are undone".to_owned());
        }
        for plan in plans {
            let input = Payload::of(&plan.input).ok_or("a step's input is not JSON text")?;
            at_most("bytes in a step's input", input.size(), self.limits.step_bytes_max)?;
            if !process.steps().contains(&plan.step) {
                return Err(format!("the step {:?} is not among the steps of the process", plan.step));
            }
            let number = u32::try_from(self.instance.steps.len()).unwrap_or(u32::MAX).saturating_add(1);
            let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            self.notes.push(What::StepBegun { number, step: plan.step.to_owned() });
            self.instance.steps.push(StepRecord {
                number,
                step: plan.step.to_owned(),
                input,
                value: None,
                done: table.event(plan.done).to_owned(),
                failed: table.event(plan.failed).to_owned(),
                is_undoable: plan.is_undoable,
                attempts_max: plan.attempts_max.max(1),
                queries_max: plan.queries_max.max(1),
                lease_ms: millis(plan.lease),
                retry_after_ms: millis(plan.retry_after),
                execute: Work::new(now),
                compensate: None,
            });
        }
        at_most("steps", self.instance.steps.len(), self.limits.steps_max)?;

        if let Some(event) = undone {
            if is_undoing {
                return Err("it is being undone already".to_owned());
            }
            self.instance.undone = Some(table.event(event).to_owned());
            self.instance.enter(Phase::Undoing, now);
            self.notes.push(What::UndoBegun);
            // What was not called, or certainly did nothing, is not called any more.
            for step in &mut self.instance.steps {
                if step.execute.status == Status::Waiting {
                    step.execute.status = Status::Withdrawn;
                }
            }
        }
        if table.is_final(state) {
            if self.instance.phase == Phase::Undoing || self.instance.open_works().next().is_some() {
                return Err("it leads to an end while steps are open; undo them first".to_owned());
            }
            for timeout in std::mem::take(&mut self.instance.timeouts) {
                self.notes.push(What::TimeoutDropped { timeout: timeout.name });
            }
            self.instance.enter(Phase::Finished, now);
        }
        self.change = change;
        Ok(())
    }

    /// What was done is undone one by one, the last first, once it is known what became of everything that was begun. Then the instance is told.
    fn progress_undo(&mut self) {
        if self.instance.phase != Phase::Undoing || self.instance.open_works().next().is_some() {
            return;
        }
        let now = self.context.now;
        // It failed while the instance waited for a person for another reason.
        let is_not_undone =
            |step: &&StepRecord| step.compensate.as_ref().is_some_and(|work| work.status == Status::Failed);
        if let Some(number) = self.instance.steps.iter().rev().find(is_not_undone).map(|step| step.number) {
            work::ended(&mut self.instance, number, Operation::Compensate, now, &mut self.notes);
            return;
        }
        let is_next = |step: &&mut StepRecord| {
            step.is_undoable && step.execute.status == Status::Done && step.compensate.is_none()
        };
        if let Some(step) = self.instance.steps.iter_mut().rev().find(is_next) {
            step.compensate = Some(Work::new(now));
            return;
        }
        let Some(event) = self.instance.undone.take() else { return };
        self.instance.enter(Phase::Running, now);
        let undone = self.instance.steps.iter().filter(|step| step.compensate.is_some()).count();
        let body = Body::of(&Undone { steps: u32::try_from(undone).unwrap_or(u32::MAX) });
        work::raise_first(&mut self.instance, &event, &format!("undone:{undone}"), body, now);
    }
}

/// Timeouts that are due become events, in their order. Says whether any was.
pub(super) fn elapse(instance: &mut Instance, now: Timestamp) -> bool {
    if !matches!(instance.phase, Phase::Running | Phase::Undoing) {
        return false;
    }
    let timeouts = std::mem::take(&mut instance.timeouts);
    let (mut due, rest): (Vec<Timeout>, Vec<Timeout>) = timeouts.into_iter().partition(|timeout| timeout.due <= now);
    instance.timeouts = rest;
    due.sort_by(|a, b| (a.due, &a.name).cmp(&(b.due, &b.name)));
    for Timeout { name, due, event } in &due {
        let body = Body::of(&Elapsed { timeout: name.clone(), due: *due });
        work::raise(instance, event, &format!("timeout:{name}:{}", due.as_nanos()), body, now);
    }
    !due.is_empty()
}

/// Which timeout an event that waits is the end of.
fn elapsed(waiting: &Waiting) -> Option<String> {
    let is_one = waiting.is_own && waiting.body.type_name == Elapsed::TYPE && !waiting.id.starts_with("step:");
    let read = is_one.then(|| waiting.body.body().read::<Elapsed>().ok());
    Some(read??.timeout)
}

pub(super) fn at_most(what: &str, found: usize, max: usize) -> Result<(), String> {
    if found > max { Err(format!("{found} {what}; at most {max} are allowed")) } else { Ok(()) }
}
