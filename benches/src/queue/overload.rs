//! Overload: publishers that bring twice what workers settle, into a topic that holds so many messages and no more. Whether the process grows, whatever the topic does with what it has no room for.
//!
//! Workers settle [`BATCH`] messages in each [`PACE`]; publishers bring twice as many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::Runtime,
    time::{MissedTickBehavior, interval},
};
use txn_queue::{Overflow, Published, Refusal, Topology, Wait};

use super::{
    memory::BATCH,
    ours::{Backend, Ours},
    side::Side,
    work::{Keyed, group, message, publish, topic, topology},
};
use crate::{report::Measurement, scale::resident_mib};

/// 12,800 messages a second.
const PACE: Duration = Duration::from_millis(20);

/// Messages that the topic holds.
const ROOM: u64 = 32_768;

/// What becomes of what there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// It is given up.
    Reject,
    /// Its publisher waits for room and sends it again.
    Wait,
    /// The oldest goes.
    DropOldest,
}

impl Policy {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Reject, "reject"), (Self::Wait, "wait"), (Self::DropOldest, "drop-oldest")];

    fn topology(self) -> Topology {
        let mut topology = topology(ROOM);
        if self == Self::DropOldest {
            topology.topics.iter_mut().for_each(|topic| topic.overflow = Overflow::DropOldest);
        }
        topology
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Came {
    accepted: AtomicU64,
    refused: AtomicU64,
    settled: AtomicU64,
    /// Messages that the topic held, at most, when somebody looked.
    held_max: AtomicU64,
}

/// Runs each policy for so long, each in a queue of its own.
pub(super) fn measure<P>(
    runtime: &Runtime,
    backend: Backend,
    time: Duration,
    open: impl Fn() -> Result<(Arc<Ours>, P), String>,
) -> Result<Vec<Measurement>, String> {
    let mut measurements = Vec::new();
    for (policy, name) in Policy::ALL {
        eprintln!("overload: {name}, {} s", time.as_secs());
        let (ours, _place) = open()?;
        let came = Arc::new(Came::default());
        let sizes = runtime.block_on(run(&ours, policy, time, &came))?;
        let [first, last] = sizes;
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let (accepted, settled) = (count(&came.accepted), count(&came.settled));
        let left = runtime.block_on(ours.left())?;
        let dropped = match policy {
            Policy::DropOldest => runtime.block_on(dropped(&ours))?,
            Policy::Reject | Policy::Wait => 0,
        };
        if accepted != settled + left + dropped {
            return Err(format!("{accepted} were accepted; {settled} are settled, {left} left, {dropped} dropped"));
        }
        if count(&came.held_max) > ROOM {
            return Err(format!("the topic held {} messages; {ROOM} it may", count(&came.held_max)));
        }
        eprintln!("overload: {accepted} accepted, {} refused, {dropped} dropped", count(&came.refused));
        let one = |what: &str, unit, ours, peer: Option<(&'static str, f64)>| Measurement {
            name: format!("queue.{}.overload.{name}.{what}", backend.name()),
            unit,
            ours: vec![ours],
            peer: peer.map(|(name, value)| (name, vec![value])),
        };
        measurements.push(one("memory", "MiB", last, Some(("after a third", first))));
        measurements.push(one("settled", super::RATE, settled as f64 / time.as_secs_f64(), None));
    }
    Ok(measurements)
}

async fn dropped(ours: &Ours) -> Result<u64, String> {
    let stats = ours.queue.stats().await.map_err(|error| error.to_string())?;
    Ok(stats.topics.get(&topic()).map_or(0, |topic| topic.dropped))
}

/// The largest size of the process up to a third of the time, and after that.
async fn run(ours: &Arc<Ours>, policy: Policy, time: Duration, came: &Arc<Came>) -> Result<[f64; 2], String> {
    ours.queue.declare(policy.topology()).await.map_err(|error| error.to_string())?;
    let began = Instant::now();
    let publisher = tokio::spawn(bring(Arc::clone(ours), policy, began, time, Arc::clone(came)));
    let worker = tokio::spawn(take(Arc::clone(ours), began, time, Arc::clone(came)));
    let mut sizes = [0f64; 2];
    while began.elapsed() < time {
        tokio::time::sleep(time / 60).await;
        came.held_max.fetch_max(ours.left().await?, Ordering::Relaxed);
        let size = &mut sizes[usize::from(began.elapsed() > time / 3)];
        *size = size.max(resident_mib());
    }
    for task in [publisher, worker] {
        task.await.map_err(|error| error.to_string())??;
    }
    Ok(sizes)
}

fn ticks(pace: Duration) -> tokio::time::Interval {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

async fn bring(ours: Arc<Ours>, policy: Policy, began: Instant, time: Duration, came: Arc<Came>) -> Result<(), String> {
    let mut ticks = ticks(PACE / 2);
    let mut next = 0u64;
    while began.elapsed() < time {
        ticks.tick().await;
        let mut messages: Vec<_> = (next..next + BATCH as u64).map(|number| message(number, Keyed::No)).collect();
        next += BATCH as u64;
        loop {
            let published = ours.queue.publish(publish(&messages)).await.map_err(|error| error.to_string())?;
            let accepted = published.iter().take_while(|one| matches!(one, Published::Accepted { .. })).count();
            came.accepted.fetch_add(accepted as u64, Ordering::Relaxed);
            messages.drain(..accepted);
            let is_full = |one: &Published| matches!(one, Published::Refused(Refusal::Full { .. }));
            if let Some(other) = published.iter().skip(accepted).find(|one| !is_full(one)) {
                return Err(format!("a message that found no room ended with {other:?}"));
            }
            if messages.is_empty() {
                break;
            }
            if policy == Policy::Reject {
                came.refused.fetch_add(messages.len() as u64, Ordering::Relaxed);
                break;
            }
            let room = ours.queue.wait(Wait::Room(topic()));
            match tokio::time::timeout(Duration::from_secs(5), room).await {
                Ok(waited) => waited.map_err(|error| error.to_string())?,
                Err(_) => return Err("no room came in 5 seconds".to_owned()),
            }
            if began.elapsed() >= time {
                break;
            }
        }
    }
    Ok(())
}

async fn take(ours: Arc<Ours>, began: Instant, time: Duration, came: Arc<Came>) -> Result<(), String> {
    let mut ticks = ticks(PACE);
    while began.elapsed() < time {
        ticks.tick().await;
        let claim = ours.claim(BATCH).await?;
        let acks = super::ours::acks(claim);
        let count = acks.len();
        let settled = ours.queue.settle(&group(), acks).await.map_err(|error| error.to_string())?;
        // The oldest may have gone while it was held.
        let applied = settled.iter().filter(|settled| **settled == txn_queue::Settled::Applied).count();
        came.settled.fetch_add(applied as u64, Ordering::Relaxed);
        if count == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Ours, callers};

    #[test]
    fn a_short_overload_keeps_its_bounds() {
        let runtime = callers::runtime();
        let open = || Ok((runtime.block_on(Ours::open(Backend::Memory, "", ROOM))?, ()));
        let measured = measure(&runtime, Backend::Memory, Duration::from_millis(300), open).unwrap();
        assert_eq!(measured.len(), 6);
        assert!(measured.iter().all(|m| m.ours[0] > 0.0));
    }
}
