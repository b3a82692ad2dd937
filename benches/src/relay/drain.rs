//! A backlog: how fast a relay hands over what was committed before it began, and that all of it is there, once, and in order.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;
use txn_queue::{Action, Key, Queue, Receive, Settle, Settled, WorkerId};
use txn_store::{Position, Store};

use super::{Running, work, world::World};
use crate::{queue::group, report::Values};

/// More is better.
const RATE: &str = "events/s";

/// Messages that are taken out of the queue at once.
const BATCH: usize = 256;

/// Fills the log, and lets the relays empty it.
pub(super) fn run(
    runtime: &Runtime,
    world: &World,
    events: u64,
    name: &str,
    values: &mut Values,
) -> Result<(), String> {
    let began = Instant::now();
    runtime.block_on(work::fill(&world.store, events))?;
    eprintln!("{name}: {events} events committed in {:.1} s", began.elapsed().as_secs_f64());
    // What the store still does behind the commit is no part of it.
    let read = runtime.block_on(world.store.read(Position(0), 1));
    read.map_err(|error| error.to_string())?;

    let began = Instant::now();
    let running = Running::begin(runtime, &world.relays)?;
    running.wait_for(events, &world.relays)?;
    let last = world.relays.iter().flat_map(|(_, noted)| noted.times()).map(|(_, at)| at).max();
    let time = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(began));
    running.end(runtime, events)?;
    values.push(format!("{name}.drain"), RATE, events as f64 / time.as_secs_f64());
    let calls: u64 = world.relays.iter().map(|(_, noted)| noted.calls()).sum();
    values.push(format!("{name}.drain.events-a-call"), "events", events as f64 / calls.max(1) as f64);
    runtime.block_on(take_out(world, events)).map(drop)
}

/// A message that was in the queue.
pub(super) struct Taken {
    pub(super) number: u64,
    /// From when its event was recorded to when it was accepted.
    pub(super) waited: Duration,
}

/// Takes everything out: so many, none twice, and those of one subject in the order of the log.
pub(super) async fn take_out(world: &World, count: u64) -> Result<Vec<Taken>, String> {
    let places = log(&*world.store).await?;
    let queue = &world.relays[0].1;
    let worker = WorkerId::new("checker").map_err(|error| error.to_string())?;
    let (mut taken, mut seen) = (Vec::new(), HashSet::new());
    let mut last: HashMap<Key, u64> = HashMap::new();
    loop {
        let lease = Duration::from_secs(60);
        let receive = Receive { group: group(), worker: worker.clone(), max: BATCH, lease };
        let received = queue.receive(receive).await.map_err(|error| error.to_string())?;
        if received.deliveries.is_empty() {
            break;
        }
        let mut settles = Vec::new();
        for delivery in received.deliveries {
            let message = &delivery.message;
            let number = work::number(&message.id).ok_or_else(|| format!("{} is none of ours", message.id))?;
            let key = message.key.clone().ok_or_else(|| format!("{} has no key", message.id))?;
            if !seen.insert(number) {
                return Err(format!("{} is there twice", message.id));
            }
            let place = places.get(&number).copied().ok_or_else(|| format!("the log has no {}", message.id))?;
            if last.insert(key, place).is_some_and(|before| before >= place) {
                return Err(format!("{} is out of its order", message.id));
            }
            let recorded = message.time.ok_or_else(|| format!("{} has no time", message.id))?;
            let nanos = delivery.accepted_at.as_nanos().saturating_sub(recorded.as_nanos()).max(0);
            taken.push(Taken { number, waited: Duration::from_nanos(nanos.unsigned_abs()) });
            settles.push(Settle { lease: delivery.lease, action: Action::Ack });
        }
        let settled = queue.settle(&group(), settles).await.map_err(|error| error.to_string())?;
        if let Some(other) = settled.iter().find(|settled| **settled != Settled::Applied) {
            return Err(format!("a settlement that should apply ended with {other:?}"));
        }
    }
    let found = taken.len() as u64;
    if found == count { Ok(taken) } else { Err(format!("the queue holds {found} messages instead of {count}")) }
}

/// Where each event stands in the log.
async fn log(store: &dyn Store) -> Result<HashMap<u64, u64>, String> {
    let (mut places, mut after) = (HashMap::new(), Position(0));
    loop {
        let page = store.read(after, 1_000).await.map_err(|error| error.to_string())?;
        for item in &page.items {
            after = item.position;
            if let Some(number) = work::number(&format!("{}/0", item.recorded.change)) {
                places.insert(number, after.0);
            }
        }
        if page.items.is_empty() || after >= page.head {
            return Ok(places);
        }
    }
}
