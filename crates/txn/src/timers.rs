//! Timers: what must happen at a time, as records ordered by it, and the pass that does what is due.

use serde::{Deserialize, Serialize};
use txn_change::{Body, Change, Document, Fingerprint, Key, Kind, Record, Segment, Timestamp};
use txn_core::{
    Context, Versioned,
    id::{HoldId, LedgerHoldId, OrderId},
    inventory, ledger, order,
};
use txn_store::{Found, Query, Range, Snapshot};

use crate::{
    decide::{Attempt, Decider, Stop, versioned},
    failure::{Failure, Rejection},
    orders::{self, OrderParts},
    services::Services,
};

/// The kind of timer records.
pub(crate) const TIMER_KIND: Kind = Kind::reserved("timer");

/// Timers spread over this many buckets, so that several runners can share the work.
const BUCKETS: u64 = 16;

/// What is to happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Timer {
    /// A hold on stock runs out.
    HoldExpires(HoldId),
    /// A hold of money runs out.
    LedgerHoldDue(LedgerHoldId),
    /// An order's time to pay runs out.
    OrderExpires(OrderId),
}

impl Document for Timer {
    const TYPE: &'static str = "timer";
    const SCHEMA: u16 = 1;
}

/// The record key of a timer: bucket, time, id.
pub(crate) fn timer_key(timer: &Timer, due: Timestamp) -> Key {
    let (name, id) = match timer {
        Timer::HoldExpires(hold) => ("hold", hold.as_str()),
        Timer::LedgerHoldDue(hold) => ("ledger-hold", hold.as_str()),
        Timer::OrderExpires(order) => ("order", order.as_str()),
    };
    let digest = Fingerprint::of_bytes(name, id.as_bytes()).0;
    let bucket = u64::from(digest[0]) % BUCKETS;
    let fits = "an id has at most 100 bytes";
    Key::of(TIMER_KIND).number(bucket).time(due).text(name).and_then(|key| key.text(id)).expect(fits).build()
}

/// Adds a timer to a change.
pub(crate) fn set(change: Change, timer: &Timer, due: Timestamp) -> Change {
    let body = Body::of(timer).expect("a timer is an enum of ids, which always has a JSON form");
    change.insert(timer_key(timer, due), body, Vec::new())
}

/// What one pass did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Fired {
    /// Timers that had an effect.
    pub effective: u64,
    /// Timers whose matter had been settled otherwise.
    pub settled: u64,
    /// Timers that were put off, because a payment is under way.
    pub postponed: u64,
    /// Why timers failed; they stay, and do not keep others from firing.
    pub failures: Vec<Failure>,
}

/// How long a timer waits when a payment is under way.
const POSTPONED_SECONDS: u64 = 60;

/// Timers on one pass, at most. What is left is done by the next.
const PASS_MAX: usize = 256;

/// The timers of one tenant. Nothing fires by itself: the host calls [`Timers::run_due`] as often as it likes, from as many places as it likes; a timer has its effect
/// once. Correctness never waits for it: what has run out is treated so, swept or not.
#[derive(Debug, Clone, Copy)]
pub struct Timers<'a> {
    pub(crate) services: &'a Services,
}

impl Timers<'_> {
    fn decider(&self) -> &Decider {
        &self.services.decider
    }

    /// Does what is due by the store's time: at most 256 timers of each of 16 buckets. Call it again while it did something.
    ///
    /// # Errors
    /// [`Failure`] when the timers cannot be read. A timer that fails is named in the answer, and the others go on.
    pub async fn run_due(&self) -> Result<Fired, Failure> {
        let scope = &self.decider().scope;
        let now = scope.get(scope.ask()).await?.now;
        let until = Timestamp::from_nanos(now.as_nanos().saturating_add(1));
        let mut fired = Fired::default();
        for bucket in 0..BUCKETS {
            let of_bucket = || Key::of(TIMER_KIND).number(bucket);
            let query = Query::Records(Range::prefix(of_bucket()).until(of_bucket().time(until)));
            for found in scope.find(&query, None, PASS_MAX).await?.items {
                if let Found::Record(key, record) = found
                    && let Err(failure) = self.fire(&key, &record, &mut fired).await
                {
                    fired.failures.push(failure);
                }
            }
        }
        Ok(fired)
    }

    async fn fire(&self, key: &Key, record: &Record, fired: &mut Fired) -> Result<(), Failure> {
        let timer: Timer = record.body.read()?;
        match &timer {
            Timer::HoldExpires(hold) => {
                let read = [key.clone(), inventory::hold_key(hold)];
                let decide = |context: &Context, snapshot: &Snapshot| {
                    let hold: Option<Versioned<inventory::Hold>> = versioned(snapshot, 1)?;
                    match hold {
                        Some(hold) if hold.value.is_due(context.now) => {
                            Ok(Step::Do(Box::new(inventory::expire(context, &hold)?)))
                        }
                        _ => Ok(Step::Drop),
                    }
                };
                self.settle(key, &timer, &read, decide, fired).await
            }
            Timer::LedgerHoldDue(hold) => {
                let read = [key.clone(), ledger::hold_key(hold)];
                let decide = |context: &Context, snapshot: &Snapshot| {
                    let hold: Option<Versioned<ledger::Hold>> = versioned(snapshot, 1)?;
                    match hold {
                        Some(hold) if hold.value.is_due(context.now) => {
                            Ok(Step::Do(Box::new(ledger::expire(context, &hold)?)))
                        }
                        _ => Ok(Step::Drop),
                    }
                };
                self.settle(key, &timer, &read, decide, fired).await
            }
            Timer::OrderExpires(id) => {
                let Some(known) = self.services.orders().get(id).await? else {
                    return self.settle(key, &timer, std::slice::from_ref(key), |_, _| Ok(Step::Drop), fired).await;
                };
                let read: Vec<Key> = std::iter::once(key.clone()).chain(orders::keys(&known)).collect();
                let decide = |context: &Context, snapshot: &Snapshot| {
                    let parts = OrderParts::read(snapshot, 1, &known)?;
                    match orders::expire(context, &parts) {
                        Ok(change) => Ok(Step::Do(Box::new(change))),
                        Err(Stop::Rejected(Rejection::Order(order::Rejection::IllegalTransition { .. }))) => {
                            Ok(if parts.is_payment_under_way() { Step::Postpone } else { Step::Drop })
                        }
                        Err(stop) => Err(stop),
                    }
                };
                self.settle(key, &timer, &read, decide, fired).await
            }
        }
    }

    /// Does a timer's effect and removes its record in one change. Whoever comes second finds the record gone.
    async fn settle(
        &self,
        key: &Key,
        timer: &Timer,
        read: &[Key],
        step: impl Fn(&Context, &Snapshot) -> Result<Step, Stop>,
        fired: &mut Fired,
    ) -> Result<(), Failure> {
        let name: Vec<String> = key
            .segments()
            .into_iter()
            .skip(1)
            .map(|segment| match segment {
                Segment::Text(text) => text,
                Segment::Number(number) => number.to_string(),
                Segment::Time(time) => time.to_string(),
            })
            .collect();
        let id = Decider::id("timer.fire", &name.join("/"))?;
        let fingerprint = Fingerprint::of("timer.fire", timer);
        for _ in 0..self.decider().attempts_max {
            let mut ask = self.decider().scope.ask().stored(id.clone());
            ask.records = read.to_vec();
            let outcome = std::cell::Cell::new((0u64, 0u64, 0u64));
            let attempt = self
                .decider()
                .once(&id, fingerprint, ask, |context, snapshot| {
                    let Some(record) = snapshot.records.first().and_then(Option::as_ref) else {
                        // Somebody else has done it: commit nothing but the id.
                        return Ok(Change::new(context.id.clone(), context.fingerprint));
                    };
                    let change = match step(context, snapshot)? {
                        Step::Do(change) => {
                            outcome.set((1, 0, 0));
                            *change
                        }
                        Step::Drop => {
                            outcome.set((0, 1, 0));
                            Change::new(context.id.clone(), context.fingerprint)
                        }
                        Step::Postpone => {
                            outcome.set((0, 0, 1));
                            let later = std::time::Duration::from_secs(POSTPONED_SECONDS);
                            let due = context.now.after(later).unwrap_or(Timestamp::MAX);
                            set(Change::new(context.id.clone(), context.fingerprint), timer, due)
                        }
                    };
                    Ok(change.remove(key.clone(), record.version))
                })
                .await?;
            match attempt {
                Attempt::Done(receipt) => {
                    if !receipt.replayed {
                        let (effective, settled, postponed) = outcome.get();
                        fired.effective = fired.effective.saturating_add(effective);
                        fired.settled = fired.settled.saturating_add(settled);
                        fired.postponed = fired.postponed.saturating_add(postponed);
                    }
                    return Ok(());
                }
                Attempt::Conflict => {}
                Attempt::Refused(refusal) => return Err(Failure::Refused(refusal)),
            }
        }
        Err(Failure::Conflict { attempts: self.decider().attempts_max })
    }
}

/// What a due timer comes to.
enum Step {
    /// Its effect.
    Do(Box<Change>),
    /// Its matter is settled.
    Drop,
    /// It is too early to say.
    Postpone,
}

/// Here, since a timer is nobody else's.
#[cfg(all(test, feature = "cron"))]
mod tests {
    use crate::{
        inventory::ReceivedGoods,
        leases::{Lease, Member},
        process::{Begun, Elapsed, Handled, Instance, Noted, StepFailed, Undone},
        relay::{self, ParkedEvent, send::Executed},
    };

    #[test]
    fn every_document_that_was_ever_written_is_read_and_written_as_it_was() {
        use crate::schedules::{Fired, Schedule};
        let fixtures = txn_fixtures::Fixtures::of(env!("CARGO_MANIFEST_DIR"));
        let fixtures = fixtures.keep::<super::Timer>().keep::<ReceivedGoods>().keep::<Member>().keep::<Lease>();
        let fixtures = fixtures.keep::<relay::Begun>().keep::<Executed>().keep::<ParkedEvent>();
        let fixtures =
            fixtures.keep::<Instance>().keep::<Begun>().keep::<StepFailed>().keep::<Elapsed>().keep::<Undone>();
        fixtures.keep::<Handled>().keep::<Noted>().keep::<Schedule>().keep::<Fired>().finish();
    }
}
