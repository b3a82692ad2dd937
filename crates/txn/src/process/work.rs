//! The life of a step's operation: claimed, called or asked about, settled. Pure.

use txn_change::{Body, BodyError, Fingerprint, Timestamp};

use super::{
    definition::hex,
    limits::ProcessLimits,
    name::IncomingId,
    note::What,
    record::{Cause, Instance, Payload, Phase, Status, StepFailed, StepRecord, Stuck, Waiting, Work},
    step::{Operation, StepResult},
};

/// An operation that a runner has claimed.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) number: u32,
    pub(super) operation: Operation,
    pub(super) is_query: bool,
    /// The claim's number: a later claim has a higher one.
    pub(super) claim: u32,
    pub(super) holder: String,
}

/// What a runner comes to that looks for an operation to claim.
pub(super) enum Claimed {
    /// This one.
    Claim(Claim),
    /// The instance waits for a person now.
    Stuck,
    /// Nothing is due.
    Nothing,
}

/// Claims the first operation that is due.
pub(super) fn claim(
    instance: &mut Instance,
    holder: &str,
    is_served: impl Fn(&str) -> bool,
    now: Timestamp,
    notes: &mut Vec<What>,
) -> Claimed {
    if !matches!(instance.phase, Phase::Running | Phase::Undoing) {
        return Claimed::Nothing;
    }
    let due = instance.open_works().find(|(step, _, work)| work.due <= now && is_served(&step.step));
    let Some((number, operation)) = due.map(|(step, operation, _)| (step.number, operation)) else {
        return Claimed::Nothing;
    };
    let Some(step) = instance.step_mut(number) else { return Claimed::Nothing };
    let (until, queries_max) = (step.until(now), step.queries_max);
    let Some(work) = step.work_mut(operation) else { return Claimed::Nothing };
    let is_query = work.status != Status::Waiting;
    if is_query && work.queries >= queries_max {
        work.status = Status::Unknown;
        let detail = format!("step {number} was asked about {queries_max} times without an answer");
        stick(instance, Cause::OutcomeUnknown { step: number, operation }, detail, now, notes);
        return Claimed::Stuck;
    }
    if is_query {
        (work.status, work.queries) = (Status::Asking, work.queries.saturating_add(1));
    } else {
        (work.status, work.attempts, work.queries) = (Status::Calling, work.attempts.saturating_add(1), 0);
    }
    work.claim = work.claim.saturating_add(1);
    (work.holder, work.due) = (Some(holder.to_owned()), until);
    let claim = work.claim;
    notes.push(What::Claimed { number, operation, claim, is_query, holder: holder.to_owned() });
    Claimed::Claim(Claim { number, operation, is_query, claim, holder: holder.to_owned() })
}

/// Takes what a runner came back with. Of one who comes late, because its claim ran out, only `Done` counts: what was done was done.
pub(super) fn take(
    instance: &mut Instance,
    claim: &Claim,
    result: &StepResult,
    limits: &ProcessLimits,
    now: Timestamp,
    notes: &mut Vec<What>,
) -> bool {
    let (number, operation) = (claim.number, claim.operation);
    let is_undoing = phase_behind(instance) == Phase::Undoing;
    let Some(step) = instance.step_mut(number) else { return false };
    let (attempts_max, queries_max) = (step.attempts_max, step.queries_max);
    let (retry, ask) = {
        let Some(work) = step.work(operation) else { return false };
        (step.retry_at(now, work.attempts), step.retry_at(now, work.queries.max(1)))
    };
    let Some(work) = step.work_mut(operation) else { return false };
    let is_current =
        work.status.is_claimed() && work.claim == claim.claim && work.holder.as_ref() == Some(&claim.holder);
    let (word, class) = words(result);
    let settled = work.status;
    match result {
        StepResult::Done(_) if settled == Status::Done => return false,
        StepResult::Done(_) => work.status = Status::Done,
        _ if !is_current => return false,
        StepResult::Failed(_) => work.status = Status::Failed,
        StepResult::NotExecuted if is_undoing && operation == Operation::Execute => work.status = Status::Withdrawn,
        StepResult::NotExecuted if work.attempts >= attempts_max => work.status = Status::Failed,
        StepResult::NotExecuted => (work.status, work.due) = (Status::Waiting, retry),
        StepResult::Unknown => (work.status, work.due) = (Status::Unknown, ask),
    }
    work.class = match (work.status, result) {
        (Status::Failed, StepResult::Failed(class)) => Some(short(class)),
        (Status::Failed, _) => Some("exhausted".to_owned()),
        _ => None,
    };
    let (status, queries) = (work.status, work.queries);
    notes.push(What::Returned { number, operation, result: word.to_owned(), class });
    if let StepResult::Done(value) = result
        && operation == Operation::Execute
    {
        let none = || Payload { type_name: "none".to_owned(), schema: 1, json: "null".to_owned() };
        let value = Payload::of(value).filter(|value| value.size() <= limits.step_bytes_max);
        step.value = Some(value.unwrap_or_else(none));
    }
    if settled.is_settled() {
        done_late(instance, number, operation, &format!("{settled:?}"), now, notes);
    } else if status.is_settled() {
        ended(instance, number, operation, now, notes);
    } else if status == Status::Unknown && queries >= queries_max {
        let detail = format!("step {number} was asked about {queries} times without an answer");
        stick(instance, Cause::OutcomeUnknown { step: number, operation }, detail, now, notes);
    }
    true
}

/// Leaves an instance to a person because of what turned out to be done. One that is with a person already keeps it in mind until [`recall`].
fn done_late(
    instance: &mut Instance,
    number: u32,
    operation: Operation,
    taken_as: &str,
    now: Timestamp,
    notes: &mut Vec<What>,
) {
    let is_with_person = instance.stuck.is_some();
    let detail = format!("step {number} turned out to be done, and was taken as {taken_as}");
    stick(instance, Cause::DoneLate { step: number, operation }, detail, now, notes);
    if let Some(work) = instance.step_mut(number).and_then(|step| step.work_mut(operation)) {
        work.class = is_with_person.then(|| format!("{DONE_LATE}{taken_as}"));
    }
}

/// Of an operation that is done, the class says what it was taken as, as long as a person has yet to be asked about that.
const DONE_LATE: &str = "done-late:";

/// Leaves an instance that a person has helped to a person again, because of what turned out to be done meanwhile.
pub(super) fn recall(instance: &mut Instance, now: Timestamp, notes: &mut Vec<What>) {
    if instance.stuck.is_some() {
        return;
    }
    let found = instance.steps.iter().find_map(|step| {
        [Operation::Execute, Operation::Compensate].into_iter().find_map(|operation| {
            let work = step.work(operation).filter(|work| work.status == Status::Done)?;
            let taken_as = work.class.as_ref()?.strip_prefix(DONE_LATE)?;
            Some((step.number, operation, taken_as.to_owned()))
        })
    });
    if let Some((number, operation, taken_as)) = found {
        done_late(instance, number, operation, &taken_as, now, notes);
    }
}

/// Tells an instance that an operation was settled.
pub(super) fn ended(instance: &mut Instance, number: u32, operation: Operation, now: Timestamp, notes: &mut Vec<What>) {
    let is_running = phase_behind(instance) == Phase::Running;
    let Some(step) = instance.step_mut(number).cloned() else { return };
    let Some(work) = step.work(operation) else { return };
    match (operation, work.status) {
        // While it is undone, what was done is undone too, and what failed is nothing to be told of.
        (Operation::Execute, Status::Done) if is_running => {
            let body = step.value.as_ref().map(Payload::body);
            let body = body.unwrap_or_else(|| Body::raw("none", 1, b"null".to_vec()));
            raise(instance, &step.done, &own_id(&step, work, "done"), Ok(body), now);
        }
        (Operation::Execute, Status::Failed) if is_running => {
            let class = work.class.clone().unwrap_or_default();
            let body = Body::of(&StepFailed { step: step.step.clone(), number, class });
            raise(instance, &step.failed, &own_id(&step, work, "failed"), body, now);
        }
        (Operation::Compensate, Status::Failed) => {
            let class = work.class.clone().unwrap_or_default();
            let detail = format!("what step {number} ({}) did cannot be undone: {class}", step.step);
            stick(instance, Cause::NotUndone { step: number }, detail, now, notes);
        }
        _ => {}
    }
}

fn own_id(step: &StepRecord, work: &Work, end: &str) -> String {
    format!("step:{}:{end}:{}", step.number, work.claim)
}

/// The phase that an instance is in, or would be if it were not stuck.
pub(super) fn phase_behind(instance: &Instance) -> Phase {
    instance.stuck.as_ref().map_or(instance.phase, |stuck| stuck.before)
}

/// Leaves an instance to a person.
pub(super) fn stick(instance: &mut Instance, cause: Cause, detail: String, now: Timestamp, notes: &mut Vec<What>) {
    notes.push(What::Stuck { cause: cause.clone(), detail: detail.clone() });
    if instance.phase == Phase::Abandoned || instance.stuck.is_some() {
        return;
    }
    instance.stuck = Some(Stuck { cause, detail, before: instance.phase });
    instance.enter(Phase::Stuck, now);
}

fn own(event: &str, id: &str, body: Result<Body, BodyError>, now: Timestamp) -> Waiting {
    let body = body.expect("our documents are texts and numbers, which always have a JSON form");
    let body = Payload::of(&body).expect("what was written as JSON is text");
    // A timeout that is stored already may have any name.
    let id = IncomingId::new(id).unwrap_or_else(|_| {
        let digest = hex(Fingerprint::of_bytes("process.own", id.as_bytes()));
        IncomingId::new(format!("own:{digest}")).expect("a word and 64 digits")
    });
    Waiting { event: event.to_owned(), id, body, since: now, is_own: true }
}

/// An event of the instance's own, behind those that wait.
pub(super) fn raise(instance: &mut Instance, event: &str, id: &str, body: Result<Body, BodyError>, now: Timestamp) {
    instance.waiting.push(own(event, id, body, now));
}

/// An event of the instance's own, before those that wait.
pub(super) fn raise_first(
    instance: &mut Instance,
    event: &str,
    id: &str,
    body: Result<Body, BodyError>,
    now: Timestamp,
) {
    instance.waiting.insert(0, own(event, id, body, now));
}

fn words(result: &StepResult) -> (&'static str, Option<String>) {
    match result {
        StepResult::Done(_) => ("done", None),
        StepResult::Failed(class) => ("failed", Some(short(class))),
        StepResult::NotExecuted => ("not-executed", None),
        StepResult::Unknown => ("unknown", None),
    }
}

/// A class is a word, not a report.
fn short(class: &str) -> String {
    class.chars().take(64).collect()
}
