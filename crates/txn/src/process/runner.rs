//! The runner: does what is due at the instances of one tenant, pass by pass.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Mutex, PoisonError},
    task::Poll,
    time::Instant,
};

use txn_change::{Fingerprint, Segment, Timestamp};
use txn_core::Context;
use txn_store::{Found, Query, Range};

use super::{
    engine::{Advanced, Built, Name},
    index::{BUCKETS, DEFINITION_KIND, by_due, by_version, is_due},
    name::{CorrelationId, ProcessName},
    note::What,
    processes::Processes,
    record::{Begun, Instance, Payload},
    step::{Call, Operation, Step, StepResult, idempotency_key},
    turn::elapse,
    work::{self, Claim, Claimed},
};
use crate::failure::Failure;

/// Instances of one bucket that are looked at together.
const PAGE: usize = 64;
/// Pages of one bucket in a pass, at most: further ones are only read while everything before them failed.
const PAGES_MAX: usize = 16;
/// Things done at one instance in a pass, at most, so that none keeps the others waiting.
const ROUNDS_MAX: usize = 16;
/// How often a result is tried to be recorded. Then its claim runs out, and it is asked for.
const RECORDS_MAX: usize = 3;
/// Parked instances of a version are counted up to here.
const PARKED_COUNT_MAX: usize = 1_000;

/// Instances that this build cannot run: their process, or its version, is not registered here. They stay as they are, for a build that knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The process.
    pub process: ProcessName,
    /// The version.
    pub version: u32,
    /// How many instances that are not over: at most 1000 are counted.
    pub instances: usize,
}

/// What one pass did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Pass {
    /// Changes in which events had their turn.
    pub turns: u64,
    /// Changes in which timeouts became events.
    pub elapsed: u64,
    /// Operations that were called.
    pub calls: u64,
    /// Operations that were asked about.
    pub queries: u64,
    /// Instances that were left to a person.
    pub stuck: u64,
    /// Instances at which nothing was due any more: another runner was first, or what was due was called off.
    pub discarded: u64,
    /// What failed, with the instance; the others went on.
    pub failures: Vec<(String, Failure)>,
    /// Instances that this build cannot run.
    pub parked: Vec<Parked>,
    /// When something is due next. It is past when the pass left something: call again, after a short wait if nothing was done.
    pub next_due: Option<Timestamp>,
}

impl Pass {
    /// Whether anything was done, so that another pass may find more.
    #[must_use]
    pub const fn did_something(&self) -> bool {
        self.turns > 0 || self.elapsed > 0 || self.calls > 0 || self.queries > 0 || self.stuck > 0
    }
}

/// Does what is due at the instances of one tenant: turns, timeouts and steps. It needs no runtime and does nothing by itself: the host calls [`Runner::run_once`] as often
/// as it likes. Steps are called one after the other; run several runners for more at once.
///
/// Any number of runners share the work, in any number of processes. A step is claimed in a commit before it is called; a claim whose runner died runs out, and then
/// another runner asks what became of the call before it calls again.
#[derive(Debug, Clone)]
pub struct Runner {
    processes: Processes,
    holder: String,
}

impl Runner {
    pub(super) fn new(processes: Processes) -> Self {
        Self { processes, holder: crate::new_uuid().to_string() }
    }

    /// The identity under which it claims: another for every runner that was ever made.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Does what is due by the store's time, and says when something is due next. An instance that fails does not keep the others.
    ///
    /// # Errors
    /// [`Failure`] when what is due cannot be read at all.
    pub async fn run_once(&self) -> Result<Pass, Failure> {
        let engine = &self.processes.engine;
        let mut pass = Pass::default();
        let now = engine.scope.get(engine.scope.ask()).await?.now;
        let offset = u64::from(Fingerprint::of_bytes("runner", self.holder.as_bytes()).0[0]);
        for (process, version) in engine.registry.processes.keys() {
            for bucket in 0..BUCKETS {
                let bucket = bucket.saturating_add(offset).checked_rem(BUCKETS).unwrap_or_default();
                self.bucket((process, *version, bucket), now, &mut pass).await?;
            }
        }
        pass.parked = self.processes.parked().await?;
        for Parked { process, version, instances } in &pass.parked {
            let labels = [("process", process.to_string()), ("version", version.to_string())];
            let count = u32::try_from(*instances).unwrap_or(u32::MAX);
            metrics::gauge!("txn_process_parked_instances", &labels).set(f64::from(count));
        }
        Ok(pass)
    }

    async fn bucket(
        &self,
        (process, version, bucket): (&ProcessName, u32, u64),
        now: Timestamp,
        pass: &mut Pass,
    ) -> Result<(), Failure> {
        let scope = &self.processes.engine.scope;
        let of_bucket = || by_due(process, version, bucket);
        let mut first = self.first_due(of_bucket()).await?;
        if first.is_some_and(|first| first <= now) {
            let until = Timestamp::from_nanos(now.as_nanos().saturating_add(1));
            let due = Query::RecordsByTerm(Range::prefix(of_bucket()).until(of_bucket().time(until)));
            let mut after = None;
            for _ in 0..PAGES_MAX {
                let page = scope.find(&due, after.as_ref(), PAGE).await?;
                let (mut worked, found) = (false, page.items.len());
                for item in page.items {
                    let Found::Record(key, _) = item else { continue };
                    let Some(correlation) = correlation_of(&key) else { continue };
                    match self.work(process, &correlation, pass).await {
                        Ok(()) => worked = true,
                        Err(failure) => pass.failures.push((key.to_string(), failure)),
                    }
                }
                after = page.next;
                if worked || found == 0 || after.is_none() {
                    break;
                }
            }
            first = self.first_due(of_bucket()).await?;
        }
        pass.next_due = pass.next_due.into_iter().chain(first).min();
        Ok(())
    }

    /// When something of a bucket is due first.
    async fn first_due(&self, of_bucket: txn_change::KeyBuilder) -> Result<Option<Timestamp>, Failure> {
        let query = Query::RecordsByTerm(Range::prefix(of_bucket));
        let first = self.processes.engine.scope.find(&query, None, 1).await?.items;
        Ok(first.into_iter().find_map(|found| match found {
            Found::Record(_, record) => record.terms.iter().filter(|term| is_due(term)).find_map(time_of),
            _ => None,
        }))
    }

    /// Does what is due at one instance.
    async fn work(&self, process: &ProcessName, correlation: &CorrelationId, pass: &mut Pass) -> Result<(), Failure> {
        let engine = &self.processes.engine;
        let is_served = |step: &str| engine.registry.steps.contains_key(step);
        for round in 0..ROUNDS_MAX {
            // Before the store is asked for its time, so that a claim never seems to last longer than it does.
            let since = Instant::now();
            // What the last build came to is what was committed.
            let did: Mutex<Did> = Mutex::new(Did::Nothing);
            let build = |instance: Option<Instance>, is_known: bool, context: &Context, notes: &mut Vec<What>| {
                let Some(mut instance) = instance.filter(|_| is_known) else { return Ok(Built::Nothing) };
                let now = context.now;
                let done = if instance.is_ready {
                    Did::Turn
                } else if elapse(&mut instance, now) {
                    Did::Elapse
                } else {
                    match work::claim(&mut instance, &self.holder, is_served, now, notes) {
                        Claimed::Claim(claim) => Did::Claim(claim),
                        Claimed::Stuck => Did::Stick,
                        Claimed::Nothing => return Ok(Built::Nothing),
                    }
                };
                *did.lock().unwrap_or_else(PoisonError::into_inner) = done;
                Ok(Built::Changed(Box::new(instance)))
            };
            let advanced = engine.advance((process, correlation), &Name::Own { verb: "run" }, build).await?;
            let Advanced::Done(step) = advanced else {
                if round == 0 {
                    pass.discarded = pass.discarded.saturating_add(1);
                }
                return Ok(());
            };
            let Some(instance) = step.instance else { return Ok(()) };
            match did.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Did::Nothing => return Ok(()),
                Did::Turn => pass.turns = pass.turns.saturating_add(1),
                Did::Elapse => pass.elapsed = pass.elapsed.saturating_add(1),
                Did::Stick => pass.stuck = pass.stuck.saturating_add(1),
                Did::Claim(claim) => self.carry_out(&instance, &claim, since, pass).await?,
            }
        }
        Ok(())
    }

    /// Calls what was claimed, outside of any commit, and records what became of it. What changes nothing may come late; else the claim must not have run out since then.
    async fn carry_out(
        &self,
        instance: &Instance,
        claim: &Claim,
        since: Instant,
        pass: &mut Pass,
    ) -> Result<(), Failure> {
        let engine = &self.processes.engine;
        let Some((step, mut call)) = self.call(instance, claim) else { return Ok(()) };
        if !claim.is_query {
            call.lease = call.lease.saturating_sub(since.elapsed());
            if call.lease.is_zero() {
                // Another may have asked about it already. So will the next who claims it.
                return Ok(());
            }
        }
        let result = if claim.is_query {
            pass.queries = pass.queries.saturating_add(1);
            isolated(step.query(&call)).await
        } else {
            pass.calls = pass.calls.saturating_add(1);
            isolated(step.execute(&call)).await
        };
        let labels = [
            ("process", call.process.to_string()),
            ("step", call.step.clone()),
            ("operation", call.operation.name().to_owned()),
            ("result", word(&result).to_owned()),
        ];
        metrics::counter!("txn_process_calls_total", &labels).increment(1);
        let limits = &engine.registry.limits;
        let build = |instance: Option<Instance>, _: bool, context: &Context, notes: &mut Vec<What>| {
            let Some(mut instance) = instance else { return Ok(Built::Nothing) };
            let is_taken = work::take(&mut instance, claim, &result, limits, context.now, notes);
            Ok(if is_taken { Built::Changed(Box::new(instance)) } else { Built::Nothing })
        };
        let address = (&instance.process, &instance.correlation);
        for _ in 1..RECORDS_MAX {
            match engine.advance(address, &Name::Own { verb: "result" }, build).await {
                Err(failure) if failure.is_retryable() => {}
                answer => return answer.map(|_| ()),
            }
        }
        engine.advance(address, &Name::Own { verb: "result" }, build).await.map(|_| ())
    }

    fn call(&self, instance: &Instance, claim: &Claim) -> Option<(&dyn Step, Call)> {
        let engine = &self.processes.engine;
        let record = instance.steps.iter().find(|step| step.number == claim.number)?;
        let work = record.work(claim.operation)?;
        let step = engine.registry.steps.get(&record.step)?;
        let mut call = Call {
            tenant: engine.scope.tenant().clone(),
            process: instance.process.clone(),
            correlation: instance.correlation.clone(),
            step: record.step.clone(),
            number: record.number,
            operation: claim.operation,
            attempt: work.attempts,
            idempotency_key: String::new(),
            input: record.input.body(),
            value: record.value.as_ref().map(Payload::body).filter(|_| claim.operation == Operation::Compensate),
            until: work.due,
            lease: std::time::Duration::from_millis(record.lease_ms),
        };
        call.idempotency_key = idempotency_key(&call, work.round);
        Some((&**step, call))
    }
}

enum Did {
    Nothing,
    Turn,
    Elapse,
    Stick,
    Claim(Claim),
}

/// A panic of the host's code is an unknown outcome, and not the end of the pass.
async fn isolated(call: impl Future<Output = StepResult>) -> StepResult {
    let mut call = pin!(call);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(_) => Poll::Ready(StepResult::Unknown),
    })
    .await
}

const fn word(result: &StepResult) -> &'static str {
    match result {
        StepResult::Done(_) => "done",
        StepResult::Failed(_) => "failed",
        StepResult::NotExecuted => "not_executed",
        StepResult::Unknown => "unknown",
    }
}

fn correlation_of(key: &txn_change::Key) -> Option<CorrelationId> {
    match key.segments().into_iter().nth(1)? {
        Segment::Text(text) => CorrelationId::new(text).ok(),
        _ => None,
    }
}

fn time_of(term: &txn_change::Term) -> Option<Timestamp> {
    term.segments().into_iter().find_map(|segment| match segment {
        Segment::Time(time) => Some(time),
        _ => None,
    })
}

impl Processes {
    /// Versions that have instances and are not registered in this build.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn parked(&self) -> Result<Vec<Parked>, Failure> {
        let (scope, registry) = (&self.engine.scope, &self.engine.registry);
        let (query, mut after, mut parked) = (Query::Records(Range::kind(DEFINITION_KIND)), None, Vec::new());
        loop {
            let page = scope.find(&query, after.as_ref(), PAGE).await?;
            for found in page.items {
                let Found::Record(_, record) = found else { continue };
                let Begun { process, version, .. } = record.body.read()?;
                if registry.get(&process, version).is_some() {
                    continue;
                }
                let open = Query::RecordsByTerm(Range::prefix(by_version(&process, version)));
                let instances = scope.find(&open, None, PARKED_COUNT_MAX).await?.items.len();
                if instances > 0 {
                    parked.push(Parked { process, version, instances });
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(parked);
            }
        }
    }
}
