//! What a process of a relay does beside sending: it moves cursors, keeps its leases, and waits for the queue.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, select, try_join_all};
use txn_change::Timestamp;
use txn_queue::{Topic, Wait};
use txn_store::{Consumer, Position};

use super::{
    Parts,
    lane::{Place, Which},
    observe, parked, send,
};
use crate::{
    failure::Failure,
    leases::{Held, Leases},
    sleep::Sleep,
};

/// Waiting for the queue begins with this, and is doubled up to the other.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A cursor that is to be moved.
pub(super) struct Acknowledgement {
    pub(super) which: Which,
    pub(super) consumer: Consumer,
    pub(super) up_to: Position,
}

pub(super) struct Acknowledged {
    pub(super) lanes: Vec<(Acknowledgement, Result<(), txn_store::Error>)>,
    pub(super) guard: Option<Consumer>,
    pub(super) now: Option<Timestamp>,
}

/// Moves cursors, all at once, so that the store commits them together.
pub(super) async fn acknowledge(
    parts: Arc<Parts>,
    list: Vec<Acknowledgement>,
    guard: Option<Consumer>,
    wants_time: bool,
) -> Acknowledged {
    let one = |mut one: Acknowledgement| async move {
        let result = one.consumer.acknowledge_up_to(one.up_to).await;
        (one, result)
    };
    let lanes = join_all(list.into_iter().map(one)).await;
    let guard = match guard {
        Some(guard) => Some(move_guard(&parts, guard).await),
        None => None,
    };
    let now =
        if wants_time { parts.scope.get(parts.scope.ask()).await.ok().map(|snapshot| snapshot.now) } else { None };
    Acknowledged { lanes, guard, now }
}

/// Moves the cursor that keeps what is parked from being purged. The lanes are looked at first: what is parked after that stands behind where they were.
async fn move_guard(parts: &Parts, mut guard: Consumer) -> Consumer {
    let target = async {
        let (own, prefix) = (parts.cursor("parked"), parts.cursor(""));
        let cursors = Consumer::list(&**parts.store()).await?;
        let lanes = cursors.into_iter().filter(|(name, _)| name.starts_with(&prefix) && *name != own);
        let slowest = lanes.map(|(_, position)| position).min().unwrap_or_default();
        let parked = parked::first(parts).await?.map(|parked| Position(parked.0.saturating_sub(1)));
        Ok::<_, Failure>(parked.map_or(slowest, |parked| parked.min(slowest)))
    };
    let moved = match target.await {
        Ok(target) => guard.acknowledge_up_to(target).await.map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    if let Err(failure) = moved {
        observe::failed(&parts.name, "the cursor of what is parked cannot be moved", &failure);
    }
    guard
}

/// A lane that was taken, with its cursor and what the store knows of its moves and cancellations.
pub(super) type Opened = (Held, Consumer, (u64, BTreeSet<Place>));

pub(super) struct Keeping {
    pub(super) leases: Leases,
    pub(super) begun_at: Instant,
    pub(super) result: Result<KeptLanes, Failure>,
}

pub(super) struct KeptLanes {
    pub(super) held: Vec<Held>,
    pub(super) surplus: Vec<u32>,
    pub(super) next_in: Duration,
    pub(super) opened: Vec<Opened>,
    pub(super) guard: Option<Consumer>,
}

/// Gives back the lanes that are at rest, renews the others, takes what is free, and opens the cursors of what was taken.
pub(super) async fn keep(
    parts: Arc<Parts>,
    mut leases: Leases,
    leaving: Vec<Acknowledgement>,
    known: BTreeSet<(u32, u64)>,
    has_guard: bool,
) -> Keeping {
    let begun_at = Instant::now();
    let result = lanes(&parts, &mut leases, leaving, known, has_guard).await;
    Keeping { leases, begun_at, result }
}

async fn lanes(
    parts: &Parts,
    leases: &mut Leases,
    leaving: Vec<Acknowledgement>,
    known: BTreeSet<(u32, u64)>,
    has_guard: bool,
) -> Result<KeptLanes, Failure> {
    if !leaving.is_empty() {
        let numbers: Vec<u32> = leaving.iter().map(|one| one.which.lane).collect();
        // What is not acknowledged is published again by the next, as a repetition.
        join_all(leaving.into_iter().map(async |mut one| one.consumer.acknowledge_up_to(one.up_to).await)).await;
        leases.release(&numbers).await?;
    }
    let kept = leases.keep().await?;
    let open = async |held: &Held| {
        let name = parts.cursor(&held.number.to_string());
        let consumer = Consumer::open(Arc::clone(parts.store()), &name).await?;
        Ok::<_, Failure>((held.clone(), consumer, send::known(parts, held.number).await?))
    };
    let taken = kept.held.iter().filter(|held| !known.contains(&(held.number, held.token)));
    let opened = try_join_all(taken.map(open)).await?;
    let is_first = kept.held.iter().any(|held| held.number == 0);
    let guard = match is_first && !has_guard {
        true => Some(Consumer::open(Arc::clone(parts.store()), &parts.cursor("parked")).await?),
        false => None,
    };
    let (held, surplus, next_in) = (kept.held, kept.surplus, kept.next_in);
    Ok(KeptLanes { held, surplus, next_in, opened, guard })
}

/// Longer with every try.
pub(super) fn backoff(tries: u32) -> Duration {
    let factor = 1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
    BACKOFF_MIN.saturating_mul(factor).min(BACKOFF_MAX)
}

/// Waits until there may be room, but a moment, and not for ever.
pub(super) async fn rest(parts: Arc<Parts>, sleep: Arc<dyn Sleep>, full: Option<Topic>, tries: u32) {
    sleep.sleep(BACKOFF_MIN).await;
    let more = sleep.sleep(backoff(tries).saturating_sub(BACKOFF_MIN));
    match full {
        None => more.await,
        Some(topic) => {
            let room = async {
                if parts.queue.wait(Wait::Room(topic)).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            drop(select(more, pin!(room)).await);
        }
    }
}
