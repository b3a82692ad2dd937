//! Firing what is due.

use std::time::Duration;

use txn_change::{Body, Event, FactId, Segment, Timestamp};
use txn_store::{Found, Query, Range};

use super::{
    cron::Expression,
    record::{Fired, Missed, Schedule, ScheduleName, Standing, by_due},
    store::{FIRED_BYTES_MAX, FIRED_MAX, Next, Schedules},
};
use crate::failure::Failure;

/// Schedules that are looked at together.
const PAGE: usize = 256;
/// Pages in a pass, at most.
const PAGES_MAX: usize = 16;
/// Missed instants are counted up to here.
const COUNT_MAX: u32 = 10_000;

/// What one pass did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Pass {
    /// Instants that were fired.
    pub fired: u64,
    /// Instants that were missed and not fired of their own; of one schedule at most 10000 are counted.
    pub missed: u64,
    /// What failed, with the schedule; the others went on.
    pub failures: Vec<(String, Failure)>,
    /// When an instant is due next. It is past while there is more to make up for: call again.
    pub next_due: Option<Timestamp>,
}

/// What is due of a schedule.
#[derive(Default)]
struct Due {
    instants: Vec<(Timestamp, u32)>,
    /// Up to where it is done with then.
    after: Timestamp,
    /// What was left out.
    skipped: u32,
}

impl Schedules {
    /// Fires what is due by the store's time, once however many runners there are: of each schedule at most 256 instants and 1 MiB, or as many as its [`Missed::All`] says, and of at most 4096 schedules. Says when to call again.
    ///
    /// # Errors
    /// [`Failure`] when what is due cannot be read at all.
    pub async fn run_once(&self) -> Result<Pass, Failure> {
        let now = self.scope.get(self.scope.ask()).await?.now;
        let until = Timestamp::from_nanos(now.as_nanos().saturating_add(1));
        let due = Query::RecordsByTerm(Range::prefix(by_due()).until(by_due().time(until)));
        let (mut pass, mut after) = (Pass::default(), None);
        for _ in 0..PAGES_MAX {
            let page = self.scope.find(&due, after.as_ref(), PAGE).await?;
            for found in page.items {
                let Found::Record(key, _) = found else { continue };
                let Some(Segment::Text(name)) = key.segments().into_iter().next() else { continue };
                let Ok(name) = ScheduleName::new(&name) else { continue };
                if let Err(failure) = self.fire(&name, &mut pass).await {
                    pass.failures.push((name.to_string(), failure));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        metrics::counter!("txn_schedule_instants_total", "what" => "fired").increment(pass.fired);
        metrics::counter!("txn_schedule_instants_total", "what" => "missed").increment(pass.missed);
        let first = self.scope.find(&Query::RecordsByTerm(Range::prefix(by_due())), None, 1).await?.items;
        pass.next_due = first.into_iter().find_map(|found| match found {
            Found::Record(_, record) => {
                record.terms.iter().flat_map(|term| term.segments()).find_map(|segment| match segment {
                    Segment::Time(time) => Some(time),
                    _ => None,
                })
            }
            _ => None,
        });
        Ok(pass)
    }

    async fn fire(&self, name: &ScheduleName, pass: &mut Pass) -> Result<(), Failure> {
        let counts = std::sync::Mutex::new((0u64, 0u64));
        let fire = |stood: Option<Schedule>, now: Timestamp| {
            let is_due =
                |stood: &Schedule| stood.standing == Standing::Active && stood.next.is_some_and(|next| next <= now);
            let Some(mut schedule) = stood.filter(is_due) else { return Ok(Next::Same) };
            let expression = Expression::new(&schedule.cron, &schedule.zone)?;
            let Due { instants, after, skipped } = due(&schedule, &expression, now, fitting(&schedule, now)?);
            let missed = instants.iter().fold(skipped, |sum, (_, missed)| sum.saturating_add(*missed));
            let fired = u64::try_from(instants.len()).unwrap_or(u64::MAX);
            *counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = (fired, u64::from(missed));
            let events =
                instants.into_iter().map(|(due, missed)| event(&schedule, due, missed)).collect::<Result<_, _>>()?;
            schedule.after = after;
            schedule.next = expression.next(after);
            Ok(Next::Put(Box::new(schedule), events))
        };
        if self.change(name, "fire", fire).await? {
            let (fired, missed) = counts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            pass.fired = pass.fired.saturating_add(fired);
            pass.missed = pass.missed.saturating_add(missed);
        }
        Ok(())
    }
}

/// How many instants one change fires, at most: else what has fallen due would be more than a change may have, and stay due.
fn fitting(schedule: &Schedule, now: Timestamp) -> Result<usize, Failure> {
    let one = event(schedule, now, COUNT_MAX)?.body.bytes().len();
    let fit = FIRED_BYTES_MAX.checked_div(one).unwrap_or(FIRED_MAX);
    Ok(fit.clamp(1, FIRED_MAX))
}

/// Which instants are fired now, so many at most.
fn due(schedule: &Schedule, expression: &Expression, now: Timestamp, fit: usize) -> Due {
    // Instants up to now, the oldest first.
    let behind = |after: Timestamp| {
        let first = expression.next(after);
        std::iter::successors(first, |last| expression.next(*last)).take_while(|instant| *instant <= now)
    };
    let counted = |after: Timestamp, before: Timestamp| {
        let max = usize::try_from(COUNT_MAX).unwrap_or(usize::MAX);
        let count = behind(after).take_while(|instant| *instant < before).take(max).count();
        u32::try_from(count).unwrap_or(COUNT_MAX)
    };
    match schedule.missed {
        Missed::Coalesce => {
            let last = expression.last(now).filter(|last| *last > schedule.after);
            let instants = last.map(|last| (last, counted(schedule.after, last))).into_iter().collect();
            Due { instants, after: now, skipped: 0 }
        }
        Missed::All { max } => {
            let max = usize::try_from(max).unwrap_or(usize::MAX).min(fit);
            let instants: Vec<(Timestamp, u32)> =
                behind(schedule.after).take(max).map(|instant| (instant, 0)).collect();
            let after = instants.last().map_or(now, |(last, _)| *last);
            Due { instants, after, skipped: 0 }
        }
        Missed::Skip => {
            let grace = i64::try_from(Duration::from_millis(schedule.grace_ms).as_nanos()).unwrap_or(i64::MAX);
            let from = Timestamp::from_nanos(now.as_nanos().saturating_sub(grace).saturating_sub(1));
            let from = from.max(schedule.after);
            let instants: Vec<(Timestamp, u32)> = behind(from).take(fit).map(|instant| (instant, 0)).collect();
            let first = instants.first().map_or(Timestamp::MAX, |(first, _)| *first);
            let after = if instants.len() < fit { now } else { instants.last().map_or(now, |(last, _)| *last) };
            Due { skipped: counted(schedule.after, first), instants, after }
        }
    }
}

fn event(schedule: &Schedule, due: Timestamp, missed: u32) -> Result<Event, Failure> {
    let fired = Fired { schedule: schedule.name.clone(), due, missed, payload: schedule.payload.clone() };
    let id = FactId::new(format!("timer.schedule/{}/{due}", schedule.name))?;
    Ok(Event::new(Body::of(&fired)?).with_id(id).about(schedule.key()))
}
