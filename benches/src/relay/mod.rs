//! The area `relay`: from a commit to the queue, through the log.
//!
//! One relay, or two that share its lanes, as an application runs it. What it hands over is noted where the queue answers, and checked afterwards by taking everything out of the queue.

mod drain;
mod noted;
mod steady;
mod work;
mod world;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, sync::watch, task::JoinHandle};
use txn::{
    Relay,
    relay::{Everything, RelayName},
};
use txn_bench::callers;
use txn_queue::QueueAdmin;
use txn_store::Store;

use crate::{
    medium::Medium,
    queue::{Backend, topic},
    report::{Measurement, Values},
};
use noted::Noted;
use world::{Places, World};

/// How much a run takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Events of the backlog.
    pub(crate) events: u64,
    /// Events of the steady load, and how many of them come in a second.
    pub(crate) steady: u64,
    pub(crate) rate: u64,
}

/// Some 20 seconds of the load, and a backlog of 200 thousand.
pub(crate) const FULL: Size = Size { events: 200_000, steady: 20_000, rate: 1_000 };

/// How long something may take that does not come to an end.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures one store, with a queue of the same technology and with one in memory.
pub(crate) fn measure(
    store: Backend,
    runs: usize,
    size: Size,
    medium: impl FnOnce() -> Result<Medium, String>,
    url: impl FnOnce() -> Result<String, String>,
) -> Result<Vec<Measurement>, String> {
    let runtime = callers::runtime();
    let places = match store {
        Backend::Memory => Places::Memory,
        Backend::Sqlite => Places::on(medium()?),
        Backend::Postgres => Places::server(&runtime, &url()?)?,
    };
    eprintln!("{runs} runs {}", places.name());
    let mut values = Values::default();
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        each(&runtime, &places, size, &mut values)?;
    }
    places.clear(&runtime)?;
    let values = values.0.into_iter();
    Ok(values.map(|(name, unit, ours)| Measurement { name, unit, ours, peer: None }).collect())
}

fn each(runtime: &Runtime, places: &Places, size: Size, values: &mut Values) -> Result<(), String> {
    for (queue, relays, apart) in world::ARRANGEMENTS {
        if places.has(queue, apart) {
            let world = World::open(runtime, places, queue, relays, apart)?;
            let name = format!("relay.{}{}", places.store().name(), world.suffix());
            steady::run(runtime, &world, size, &name, values)?;
        }
    }
    for (queue, relays, apart) in world::ARRANGEMENTS {
        // Who commits is done when a backlog is drained.
        if places.has(queue, apart) && !(apart && relays == 1) {
            let world = World::open(runtime, places, queue, relays, apart)?;
            let name = format!("relay.{}{}", places.store().name(), world.suffix());
            drain::run(runtime, &world, size.events, &name, values)?;
        }
    }
    Ok(())
}

/// Relays at work.
struct Running {
    stop: watch::Sender<bool>,
    relays: Vec<JoinHandle<Result<txn::relay::Pass, txn::Failure>>>,
}

impl Running {
    fn begin(runtime: &Runtime, sides: &[(Arc<dyn Store>, Arc<Noted>)]) -> Result<Self, String> {
        let (stop, _) = watch::channel(false);
        let mut relays = Vec::new();
        for (store, queue) in sides {
            let name = RelayName::new("orders").map_err(|error| error.to_string())?;
            let queue: Arc<dyn QueueAdmin> = Arc::clone(queue) as _;
            let relay = Relay::builder(Arc::clone(store), queue, name, Everything::to_topic(topic()));
            let relay = relay.build().map_err(|error| error.to_string())?;
            let mut told = stop.subscribe();
            relays.push(runtime.spawn(async move {
                let stop = async move {
                    let _ = told.wait_for(|is_over| *is_over).await;
                };
                relay.run(tokio::time::sleep, stop).await
            }));
        }
        Ok(Self { stop, relays })
    }

    /// Waits until so many messages are in the queue.
    fn wait_for(&self, count: u64, sides: &[(Arc<dyn Store>, Arc<Noted>)]) -> Result<(), String> {
        let noted = || sides.iter().map(|(_, noted)| noted.count()).sum::<u64>();
        let began = Instant::now();
        while noted() < count {
            if began.elapsed() > PATIENCE || self.relays.iter().any(JoinHandle::is_finished) {
                return Err(format!("{} of {count} messages reached the queue", noted()));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Stops them; none may have published anything twice.
    fn end(self, runtime: &Runtime, count: u64) -> Result<(), String> {
        self.stop.send_replace(true);
        let mut published = 0;
        for relay in self.relays {
            let pass = runtime.block_on(relay).map_err(|error| error.to_string())?;
            let pass = pass.map_err(|error| error.to_string())?;
            if pass.duplicates + pass.parked + pass.left > 0 {
                return Err(format!("a relay that should have published alone did {pass:?}"));
            }
            published += pass.published;
        }
        if published == count { Ok(()) } else { Err(format!("{published} instead of {count} were published")) }
    }
}

#[cfg(test)]
mod tests;
