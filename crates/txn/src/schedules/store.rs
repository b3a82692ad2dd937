//! Setting, pausing, cancelling and listing schedules.

use std::time::Duration;

use txn_change::{Body, Change, ChangeId, Expect, Fingerprint, Timestamp};
use txn_core::Versioned;
use txn_store::{Cursor, Found, Outcome, Query, Range, Scope};

use super::{
    cron::{CronError, Expression},
    record::{Missed, Plan, SCHEDULE_KIND, Schedule, ScheduleName, Standing, schedule_key},
};
use crate::{failure::Failure, process::Payload, services::Services};

/// Bytes of a payload, at most.
const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Instants that one change fires, at most.
pub(super) const FIRED_MAX: usize = 256;
/// Bytes of what one change fires, at most, if it is more than one instant: a quarter of what a change may have.
pub(super) const FIRED_BYTES_MAX: usize = 1 << 20;

/// The schedules of one tenant.
#[derive(Debug, Clone)]
pub struct Schedules {
    pub(super) scope: Scope,
    pub(super) attempts_max: u32,
}

/// A page of schedules.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed {
    /// The schedules, by name; cancelled ones as well.
    pub schedules: Vec<Schedule>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

/// What a change of a schedule comes to.
pub(super) enum Next {
    /// It stays as it is.
    Same,
    /// It is this from now on, and these are appended.
    Put(Box<Schedule>, Vec<txn_change::Event>),
}

impl Schedules {
    /// The schedules of the tenant of these services.
    #[must_use]
    pub fn new(services: &Services) -> Self {
        Self { scope: services.decider.scope.clone(), attempts_max: services.decider.attempts_max }
    }

    /// Sets a schedule, or changes it. It fires at instants from now on; what was missed under an earlier expression is not made up for. Set again as it is, it stays as it is.
    ///
    /// # Errors
    /// [`CronError`] as [`crate::Rejection::Schedule`].
    pub async fn set(&self, name: &ScheduleName, plan: &Plan) -> Result<(), Failure> {
        let expression = Expression::new(&plan.cron, &plan.zone)?;
        let payload = plan.payload.as_ref().map(payload).transpose()?;
        if let Missed::All { max } = plan.missed {
            let found = usize::try_from(max).unwrap_or(usize::MAX);
            let (what, max) = ("instants in a pass", 256);
            if found == 0 || found > max {
                return Err(CronError::TooMany { what, found, max }.into());
            }
        }
        let set = |stood: Option<Schedule>, now: Timestamp| {
            // Time does not go back for a schedule: an instant is never fired twice.
            let after = stood.as_ref().map_or(now, |stood| stood.after.max(now));
            let never = || CronError::Never { expression: plan.cron.clone(), after };
            let next = expression.next(after).ok_or_else(never)?;
            let set = Schedule {
                name: name.clone(),
                cron: plan.cron.clone(),
                zone: plan.zone.clone(),
                missed: plan.missed,
                grace_ms: millis(plan.grace),
                payload: payload.clone(),
                standing: Standing::Active,
                after,
                next: Some(next),
            };
            let is_same = stood.is_some_and(|stood| {
                let Schedule { after, next, .. } = set.clone();
                stood.standing == Standing::Active && Schedule { after, next, ..stood } == set
            });
            Ok(if is_same { Next::Same } else { Next::Put(Box::new(set), Vec::new()) })
        };
        self.change(name, "set", set).await.map(|_| ())
    }

    /// It does not fire until it is resumed.
    ///
    /// # Errors
    /// [`CronError::Unknown`].
    pub async fn pause(&self, name: &ScheduleName) -> Result<(), Failure> {
        let pause = |stood: Option<Schedule>, _: Timestamp| {
            let stood = known(name, stood)?;
            Ok(Next::Put(Box::new(Schedule { standing: Standing::Paused, ..stood }), Vec::new()))
        };
        self.change(name, "pause", pause).await.map(|_| ())
    }

    /// It fires again, at instants from now on: those of the pause were not missed, they were not wanted.
    ///
    /// # Errors
    /// [`CronError::Unknown`], [`CronError::Never`].
    pub async fn resume(&self, name: &ScheduleName) -> Result<(), Failure> {
        let resume = |stood: Option<Schedule>, now: Timestamp| {
            let stood = known(name, stood)?;
            if stood.standing == Standing::Active {
                return Ok(Next::Same);
            }
            let after = stood.after.max(now);
            let expression = Expression::new(&stood.cron, &stood.zone)?;
            let never = || CronError::Never { expression: stood.cron.clone(), after };
            let next = Some(expression.next(after).ok_or_else(never)?);
            Ok(Next::Put(Box::new(Schedule { standing: Standing::Active, after, next, ..stood }), Vec::new()))
        };
        self.change(name, "resume", resume).await.map(|_| ())
    }

    /// It never fires again, unless it is set anew. What was cancelled, or never set, stays so.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Conflict`].
    pub async fn cancel(&self, name: &ScheduleName) -> Result<(), Failure> {
        let cancel = |stood: Option<Schedule>, _: Timestamp| {
            Ok(match stood {
                Some(stood) if stood.standing != Standing::Cancelled => {
                    Next::Put(Box::new(Schedule { standing: Standing::Cancelled, next: None, ..stood }), Vec::new())
                }
                _ => Next::Same,
            })
        };
        self.change(name, "cancel", cancel).await.map(|_| ())
    }

    /// Reads a schedule.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn get(&self, name: &ScheduleName) -> Result<Option<Schedule>, Failure> {
        let record = self.scope.record(schedule_key(name)).await?;
        Ok(record.map(|record| record.body.read()).transpose()?)
    }

    /// Lists schedules, page by page.
    ///
    /// # Errors
    /// As [`Scope::find`].
    pub async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<Listed, Failure> {
        let page = self.scope.find(&Query::Records(Range::kind(SCHEDULE_KIND)), after, limit).await?;
        let read = |found| match found {
            Found::Record(_, record) => Some(record.body.read::<Schedule>()),
            _ => None,
        };
        let schedules = page.items.into_iter().filter_map(read).collect::<Result<_, _>>()?;
        Ok(Listed { schedules, next: page.next })
    }

    /// Reads, decides and commits; and again on a conflict. Gives whether anything was written.
    pub(super) async fn change(
        &self,
        name: &ScheduleName,
        verb: &'static str,
        decide: impl Fn(Option<Schedule>, Timestamp) -> Result<Next, Failure>,
    ) -> Result<bool, Failure> {
        let key = schedule_key(name);
        for _ in 0..self.attempts_max {
            let snapshot = self.scope.get(self.scope.ask().record(key.clone())).await?;
            let stood =
                snapshot.records.first().and_then(Option::as_ref).map(Versioned::<Schedule>::read).transpose()?;
            let version = stood.as_ref().map(|stood| stood.version);
            let (next, events) = match decide(stood.map(|stood| stood.value), snapshot.now)? {
                Next::Same => return Ok(false),
                Next::Put(next, events) => (next, events),
            };
            // The version of the record says who is first; an id that nobody can know beforehand cannot be settled by anybody as not done.
            let id = ChangeId::new(format!("timer.schedule/{verb}/{name}/{}", crate::new_uuid()))?;
            let mut change = Change::new(id, Fingerprint::of("timer.schedule", &(verb, version)));
            change = change.put(key.clone(), Expect::of(version), Body::of(&*next)?, next.terms());
            change.append = events;
            match self.scope.commit(change).await? {
                Outcome::Done(_) => return Ok(true),
                Outcome::Refused(refusal) if refusal.is_conflict() => {}
                Outcome::Refused(refusal) => return Err(Failure::Refused(refusal)),
                Outcome::Unknown(id) => return Err(Failure::Unknown { id }),
            }
        }
        Err(Failure::Conflict { attempts: self.attempts_max })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn payload(body: &Body) -> Result<Payload, Failure> {
    let found = body.bytes().len();
    let too_long = CronError::TooMany { what: "bytes in a payload", found, max: PAYLOAD_BYTES_MAX };
    let payload = Payload::of(body).filter(|_| found <= PAYLOAD_BYTES_MAX);
    payload.ok_or_else(|| too_long.into())
}

fn known(name: &ScheduleName, stood: Option<Schedule>) -> Result<Schedule, Failure> {
    let stood = stood.filter(|stood| stood.standing != Standing::Cancelled);
    stood.ok_or_else(|| CronError::Unknown { name: name.clone() }.into())
}
