//! The area `queue`: what a message costs, from its publishing to its settlement, beside peers.

mod apalis;
mod backlog;
mod check;
mod held;
mod memory;
mod ours;
mod overload;
mod server;
mod side;
mod skip_locked;
mod work;

use std::{sync::Arc, time::Duration};

use tokio::runtime::Runtime;
use txn_bench::callers;

use crate::{
    medium::Medium,
    report::{Measurement, Values, median},
};
pub(crate) use ours::Backend;
use ours::Ours;
use side::Side;
use work::{Keyed, messages};
pub(crate) use work::{group, topic, topology};

/// More is better.
const RATE: &str = "messages/s";

/// How much a run takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Messages through memory.
    pub(crate) memory: u64,
    /// Messages through a file or a server.
    pub(crate) stored: u64,
    /// Messages of the backlog; none with 0.
    pub(crate) backlog: u64,
    /// How long a transaction is held open; not at all with 0.
    pub(crate) held: Duration,
    /// How long each policy of a full topic is overloaded; not at all with 0.
    pub(crate) overload: Duration,
}

/// Enough for some seconds of each.
pub(crate) const FULL: Size = Size {
    memory: 409_600,
    stored: 40_960,
    backlog: 1_000_000,
    held: Duration::from_secs(60),
    overload: Duration::from_secs(10),
};

/// Messages that a worker claims at once.
const BATCHES: [usize; 2] = [32, 256];
const WORKERS: [usize; 3] = [1, 4, 16];
/// Those who fill a queue before workers drain it.
const PUBLISHERS: usize = 4;

/// Room for everything that a run publishes.
const MESSAGES_MAX: u64 = 100_000_000;

const OURS: &str = "ours";

/// Measures a backend; `postgres` beside its peers.
pub(crate) fn measure(
    backend: Backend,
    runs: usize,
    size: Size,
    medium: impl FnOnce() -> Result<Medium, String>,
    url: impl FnOnce() -> Result<String, String>,
) -> Result<Vec<Measurement>, String> {
    match backend {
        Backend::Memory => in_memory(runs, size),
        Backend::Sqlite => on_disk(runs, &medium()?, size),
        Backend::Postgres => server::measure(runs, &url()?, size, server::Sides::All),
    }
}

/// The peers of `postgres` alone: which of their settings is the best.
pub(crate) fn peers(runs: usize, url: &str, size: Size) -> Result<Vec<Measurement>, String> {
    server::measure(runs, url, size, server::Sides::Peers)
}

fn in_memory(runs: usize, size: Size) -> Result<Vec<Measurement>, String> {
    eprintln!("{runs} runs in memory");
    let mut values = Values::default();
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        memory::run(&mut values, size.memory)?;
    }
    let mut measurements = memory::compared(&mut values);
    if size.backlog > 0 {
        let runtime = callers::runtime();
        let ours = runtime.block_on(Ours::open(Backend::Memory, "", MESSAGES_MAX))?;
        measurements.extend(backlog::measure(&runtime, &ours, Backend::Memory, size.backlog)?);
    }
    if !size.overload.is_zero() {
        let runtime = callers::runtime();
        let open = || Ok((runtime.block_on(Ours::open(Backend::Memory, "", MESSAGES_MAX))?, ()));
        measurements.extend(overload::measure(&runtime, Backend::Memory, size.overload, open)?);
    }
    Ok(measurements)
}

/// Files of their own, each on a real disk.
fn on_disk(runs: usize, medium: &Medium, size: Size) -> Result<Vec<Measurement>, String> {
    eprintln!("{runs} runs on {} ({})", medium.folder.display(), medium.name);
    let runtime = callers::runtime();
    let open = || {
        let folder = tempfile::tempdir_in(&medium.folder).map_err(|error| error.to_string())?;
        let place = folder.path().join("queue.db").display().to_string();
        Ok::<_, String>((runtime.block_on(Ours::open(Backend::Sqlite, &place, MESSAGES_MAX))?, folder))
    };
    let mut values = Values::default();
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        for batch in BATCHES {
            for workers in WORKERS {
                let (ours, _folder) = open()?;
                claims(&runtime, &ours, OURS, (batch, workers, Keyed::No), size.stored, &mut values)?;
                runtime.block_on(ours.is_empty())?;
            }
        }
    }
    let mut measurements: Vec<Measurement> = BATCHES
        .map(|batch| Measurement {
            name: format!("queue.sqlite.{batch}.claim"),
            unit: RATE,
            ours: values.all(&best(&values, OURS, batch)).to_vec(),
            peer: None,
        })
        .into();
    measurements.extend(alone(values, Backend::Sqlite));
    if size.backlog > 0 {
        let (ours, _folder) = open()?;
        measurements.extend(backlog::measure(&runtime, &ours, Backend::Sqlite, size.backlog)?);
    }
    if !size.overload.is_zero() {
        measurements.extend(overload::measure(&runtime, Backend::Sqlite, size.overload, open)?);
    }
    Ok(measurements)
}

/// Fills a queue, then lets workers drain it; both are told.
fn claims<S: Side>(
    runtime: &Runtime,
    side: &Arc<S>,
    name: &str,
    (batch, workers, keyed): (usize, usize, Keyed),
    count: u64,
    values: &mut Values,
) -> Result<(), String> {
    let batches = side::batches::<S>(&messages(count, keyed), batch);
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    let time = side::publish(runtime, side, PUBLISHERS, batches)?;
    values.push(format!("{name}.{batch}.publish"), RATE, rate(time));
    let time = side::drain(runtime, side, workers, batch, count)?;
    values.push(claims_name(name, batch, workers), RATE, rate(time));
    Ok(())
}

fn claims_name(side: &str, batch: usize, workers: usize) -> String {
    format!("{side}.{batch}.claim.workers-{workers}")
}

/// The name of the values with the best median: of a side, at a batch size, by its number of workers.
fn best(values: &Values, side: &str, batch: usize) -> String {
    best_of(values, WORKERS.map(|workers| claims_name(side, batch, workers)))
}

fn best_of<const N: usize>(values: &Values, names: [String; N]) -> String {
    let median = |name: &String| median(values.all(name));
    names.into_iter().max_by(|a, b| median(a).total_cmp(&median(b))).expect("there are several")
}

/// Everything that was measured, so that the best can be seen to be it.
fn alone(values: Values, backend: Backend) -> impl Iterator<Item = Measurement> {
    let values = values.0.into_iter();
    values.map(move |(name, unit, ours)| {
        let name = format!("queue.{}.all.{name}", backend.name());
        Measurement { name, unit, ours, peer: None }
    })
}

#[cfg(test)]
mod tests;
