//! The stock of one tenant.

use serde::{Deserialize, Serialize};
use txn_change::{Change, Document, Fingerprint, Key, Refusal, Timestamp};
use txn_core::{
    Context, Versioned,
    id::{HoldId, MovementId},
    inventory::{self, Extend, Hold, HoldAnswer, Item, Receive, Reserve, Stock},
};
use txn_store::{Ask, Found, Query, Range, Snapshot};

use crate::{
    decide::{Attempt, Decider, Done, Stop, versioned},
    failure::Failure,
    services::Services,
    timers::{self, Timer},
};

/// The stock of one tenant.
#[derive(Debug, Clone, Copy)]
pub struct Inventory<'a> {
    pub(crate) services: &'a Services,
}

/// What receiving goods answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceivedGoods {
    /// The movement.
    pub movement: MovementId,
}

impl Document for ReceivedGoods {
    const TYPE: &'static str = "stock.received.answer";
    const SCHEMA: u16 = 1;
}

/// Holds that a reservation sweeps at once, before it is judged again.
const SWEEP_PAGE: usize = 64;
/// Holds that one reservation sweeps on its way, at most; beyond, it waits for the timers.
const SWEEP_MAX: usize = 1_024;

impl Inventory<'_> {
    /// What there is of an item, read from the primary.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn stock(&self, item: &Item) -> Result<Stock, Failure> {
        let counter = self.services.decider.scope.counter(inventory::item_key(item)).await?;
        Ok(Stock::of(counter.as_ref()))
    }

    /// Reads a hold.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unreadable`].
    pub async fn hold(&self, hold: &HoldId) -> Result<Option<Hold>, Failure> {
        let record = self.services.decider.scope.record(inventory::hold_key(hold)).await?;
        Ok(record.map(|record| record.body.read()).transpose()?)
    }

    /// Adds goods to what is on hand; items that are new begin here.
    ///
    /// # Errors
    /// [`crate::Rejection::Stock`].
    pub async fn receive(&self, command: &Receive) -> Result<Done<ReceivedGoods>, Failure> {
        let answer = ReceivedGoods { movement: command.id.clone() };
        let decide = |context: &Context, _: &Snapshot| {
            let body = txn_change::Body::of(&answer).map_err(Stop::Unreadable)?;
            Ok(inventory::receive(context, command)?.answer(body))
        };
        self.services.decider.run("stock.receive", &command.id, command, |ask| ask, decide, |_| None).await
    }

    /// Promises a whole basket, or nothing of it. Holds that have run out and were not swept yet do not stand in the way: they are swept in the same commit.
    ///
    /// # Errors
    /// [`crate::Rejection::Stock`]: `StockInsufficient` names the line and by how much it is short.
    pub async fn reserve(&self, command: &Reserve) -> Result<Done<HoldAnswer>, Failure> {
        self.reserve_with(command, &[], |_, _| Ok(())).await
    }

    /// Reserves under a further condition on other records, which stand behind the hold in the snapshot.
    pub(crate) async fn reserve_with(
        &self,
        command: &Reserve,
        read: &[Key],
        condition: impl Fn(&Context, &Snapshot) -> Result<(), Stop>,
    ) -> Result<Done<HoldAnswer>, Failure> {
        let decider = &self.services.decider;
        let id = Decider::id("stock.reserve", &command.hold)?;
        let fingerprint = Fingerprint::of("stock.reserve", &(command, decider.effective_at));
        let items: Vec<Item> = command.lines.iter().map(|line| line.item.clone()).collect();
        let mut sweep: Vec<Key> = Vec::new();
        for _ in 0..decider.attempts_max {
            let mut ask: Ask = decider.scope.ask().stored(id.clone()).record(inventory::hold_key(&command.hold));
            ask.records.extend(read.iter().chain(&sweep).cloned());
            let first_swept = read.len().saturating_add(1);
            let attempt = decider.once(&id, fingerprint, ask, |context, snapshot| {
                condition(context, snapshot)?;
                self.reservation(context, snapshot, command, first_swept..first_swept.saturating_add(sweep.len()))
            });
            match attempt.await? {
                Attempt::Done(receipt) => return Ok(Done::of(receipt)),
                Attempt::Conflict => {}
                Attempt::Refused(refusal) => match inventory::explain(&refusal, &items) {
                    None => return Err(Failure::Refused(refusal)),
                    Some(rejection) => {
                        let known = sweep.len();
                        self.find_due(&refusal, &items, &mut sweep).await?;
                        if sweep.len() == known {
                            return Err(Failure::Rejected(rejection.into()));
                        }
                    }
                },
            }
        }
        Err(Failure::Conflict { attempts: decider.attempts_max })
    }

    fn reservation(
        &self,
        context: &Context,
        snapshot: &Snapshot,
        command: &Reserve,
        swept: std::ops::Range<usize>,
    ) -> Result<Change, Stop> {
        let mut change = inventory::reserve(context, versioned(snapshot, 0)?.as_ref(), command)?;
        if let Some(due) = command.expires_at {
            change = timers::set(change, &Timer::HoldExpires(command.hold.clone()), due);
        }
        for index in swept {
            let hold: Option<Versioned<Hold>> = versioned(snapshot, index)?;
            if let Some(hold) = hold.filter(|hold| hold.value.is_due(context.now)) {
                change = change.and(inventory::expire(context, &hold)?);
            }
        }
        Ok(change)
    }

    /// Finds holds on the item that was short which have run out and stand in the way.
    async fn find_due(&self, refusal: &Refusal, items: &[Item], sweep: &mut Vec<Key>) -> Result<(), Failure> {
        let Refusal::GuardBroken { counter, .. } = refusal else { return Ok(()) };
        let Some(item) = items.iter().find(|item| inventory::item_key(item) == *counter) else { return Ok(()) };
        let scope = &self.services.decider.scope;
        let now = scope.get(scope.ask()).await?.now;
        let until = Timestamp::from_nanos(now.as_nanos().saturating_add(1));
        let range = Range::prefix(inventory::due_prefix(item)).until(inventory::due_prefix(item).time(until));
        let (query, known) = (Query::RecordsByTerm(range), sweep.len());
        let mut after = None;
        // Pages of holds that are swept already are passed over, until there is one with others.
        while sweep.len() == known && known < SWEEP_MAX {
            let page = scope.find(&query, after.as_ref(), SWEEP_PAGE).await?;
            for found in page.items {
                if let Found::Record(key, _) = found
                    && !sweep.contains(&key)
                {
                    sweep.push(key);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(())
    }

    /// Makes a hold one that no longer expires.
    ///
    /// # Errors
    /// [`crate::Rejection::Stock`]: `HoldExpired` from the instant of expiry on.
    pub async fn commit(&self, hold: &HoldId) -> Result<Done<HoldAnswer>, Failure> {
        self.step("hold.commit", hold, hold, hold, |context, hold| Ok(inventory::commit(context, hold)?)).await
    }

    /// Moves a hold's expiry to a later time.
    ///
    /// # Errors
    /// [`crate::Rejection::Stock`]: `HoldExpired` once it has run out.
    pub async fn extend(&self, command: &Extend) -> Result<Done<HoldAnswer>, Failure> {
        let key = format!("{}/{}", command.hold, command.expires_at.as_nanos());
        let decide = |context: &Context, hold: &Versioned<Hold>| {
            let change = inventory::extend(context, hold, command)?;
            Ok(timers::set(change, &Timer::HoldExpires(command.hold.clone()), command.expires_at))
        };
        self.step("hold.extend", &key, &command.hold, command, decide).await
    }

    /// Gives back a hold that was not committed. Doing so twice, or after the commit, changes nothing.
    ///
    /// # Errors
    /// [`crate::Rejection::Stock`] for an unknown hold.
    pub async fn release(&self, hold: &HoldId) -> Result<Done<HoldAnswer>, Failure> {
        self.step("hold.release", hold, hold, hold, |context, hold| Ok(inventory::release(context, hold))).await
    }

    async fn step<C: Serialize>(
        &self,
        operation: &'static str,
        key: &str,
        hold: &HoldId,
        command: &C,
        decide: impl Fn(&Context, &Versioned<Hold>) -> Result<Change, Stop>,
    ) -> Result<Done<HoldAnswer>, Failure> {
        let decide = |context: &Context, snapshot: &Snapshot| {
            let current: Option<Versioned<Hold>> = versioned(snapshot, 0)?;
            let current = current.ok_or_else(|| inventory::Rejection::UnknownHold { hold: hold.clone() })?;
            decide(context, &current)
        };
        let fill = |ask: Ask| ask.record(inventory::hold_key(hold));
        self.services.decider.run(operation, key, command, fill, decide, |_| None).await
    }
}
