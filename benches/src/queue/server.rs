//! The queue on a server, beside its peers: each side of each run in a database made for it, so that none inherits what another left.

use std::sync::Arc;

use tokio::runtime::Runtime;
use txn_bench::callers;

use super::{
    BATCHES, MESSAGES_MAX, OURS, PUBLISHERS, RATE, Size, WORKERS, alone, apalis, backlog, best, best_of, check, claims,
    held,
    memory::BATCH,
    ours::{Backend, Ours},
    overload,
    side::{self, Side},
    skip_locked::SkipLocked,
    work::{Keyed, message, messages},
};
use crate::{
    postgres::server::Server,
    report::{Measurement, Values},
};

/// The database of the side that is at work.
const DATABASE: &str = "txn_bench_queue";

/// Publishers and workers that are at work at once.
const FLOWS: [(usize, usize); 3] = [(1, 1), (2, 4), (4, 16)];

const BY_HAND: &str = "by-hand";
const APALIS: &str = "apalis";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    All,
    Peers,
}

/// What all sides have in common.
struct Bench {
    runtime: Runtime,
    server: Server,
    sides: Sides,
    size: Size,
    values: Values,
}

/// Checks that a lease by hand is fenced, then measures everything so often, in turn.
pub(super) fn measure(runs: usize, url: &str, size: Size, sides: Sides) -> Result<Vec<Measurement>, String> {
    let program = apalis::program()?;
    let runtime = callers::runtime();
    let server = runtime.block_on(Server::reach(url))?;
    eprintln!("{runs} runs on {}", server.name);
    let mut bench = Bench { runtime, server, sides, size, values: Values::default() };
    eprintln!("self check");
    let (peer, _) = bench.by_hand(2)?;
    bench.runtime.block_on(check::is_fenced(&peer))?;
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        for batch in BATCHES {
            for workers in WORKERS {
                bench.claims(batch, workers)?;
            }
        }
        for tasks in FLOWS {
            bench.flows(tasks)?;
            // At once, so that all have the same minute of the machine.
            let (database, batches) = (bench.fresh()?, usize::try_from(size.stored).unwrap_or(usize::MAX) / BATCH);
            let seconds = apalis::flow(&program, &database, tasks, BATCH, batches, &message(0, Keyed::No))?;
            bench.values.push(flow_name(APALIS, tasks), RATE, (BATCH * batches) as f64 / seconds);
        }
    }
    bench.held()?;
    let mut whole = bench.backlog()?;
    if sides == Sides::All && !size.overload.is_zero() {
        whole.extend(overload::measure(&bench.runtime, Backend::Postgres, size.overload, || bench.ours())?);
    }
    let dropped = bench.runtime.block_on(bench.server.drop_database(DATABASE));
    dropped.map_err(|error| error.to_string())?;
    let mut measurements = if sides == Sides::All { compared(&mut bench.values, size) } else { Vec::new() };
    measurements.extend(whole);
    measurements.extend(alone(bench.values, Backend::Postgres));
    Ok(measurements)
}

impl Bench {
    fn fresh(&self) -> Result<Server, String> {
        self.runtime.block_on(self.server.fresh_database(DATABASE)).map_err(|error| error.to_string())
    }

    fn ours(&self) -> Result<(Arc<Ours>, Server), String> {
        let database = self.fresh()?;
        let ours = self.runtime.block_on(Ours::open(Backend::Postgres, &database.url, MESSAGES_MAX))?;
        Ok((ours, database))
    }

    fn by_hand(&self, tasks: usize) -> Result<(Arc<SkipLocked>, Server), String> {
        let database = self.fresh()?;
        let peer = self.runtime.block_on(SkipLocked::open(&database, tasks))?;
        Ok((peer, database))
    }

    /// A backlog, drained: ours, then by hand.
    fn claims(&mut self, batch: usize, workers: usize) -> Result<(), String> {
        if self.sides == Sides::All {
            // Order costs nothing that the peer could save: it is told for one setting.
            let keyed = (batch == BATCH && workers == WORKERS[1]).then_some(("ours-keys", Keyed::Yes));
            for (name, keyed) in [Some((OURS, Keyed::No)), keyed].into_iter().flatten() {
                let (ours, _) = self.ours()?;
                claims(&self.runtime, &ours, name, (batch, workers, keyed), self.size.stored, &mut self.values)?;
                self.runtime.block_on(ours.is_empty())?;
            }
        }
        let (peer, _) = self.by_hand(workers.max(PUBLISHERS))?;
        let settings = (batch, workers, Keyed::No);
        claims(&self.runtime, &peer, BY_HAND, settings, self.size.stored, &mut self.values)?;
        self.runtime.block_on(peer.is_empty())
    }

    /// From publishing to settlement: ours, then by hand.
    fn flows(&mut self, tasks: (usize, usize)) -> Result<(), String> {
        if self.sides == Sides::All {
            let (ours, _) = self.ours()?;
            self.flow(&ours, OURS, tasks)?;
            self.runtime.block_on(ours.is_empty())?;
        }
        let (peer, _) = self.by_hand(tasks.0 + tasks.1)?;
        self.flow(&peer, BY_HAND, tasks)?;
        self.runtime.block_on(peer.is_empty())
    }

    fn flow<S: Side>(&mut self, side: &Arc<S>, name: &str, tasks: (usize, usize)) -> Result<(), String> {
        let messages = messages(self.size.stored, Keyed::No);
        let time = side::flow(&self.runtime, side, tasks, BATCH, &messages)?;
        self.values.push(flow_name(name, tasks), RATE, self.size.stored as f64 / time.as_secs_f64());
        Ok(())
    }

    /// With a transaction held open: ours, then by hand.
    fn held(&mut self) -> Result<(), String> {
        if self.size.held.is_zero() {
            return Ok(());
        }
        if self.sides == Sides::All {
            let (ours, database) = self.ours()?;
            held::run(&self.runtime, &database, &ours, OURS, self.size.held, &mut self.values)?;
        }
        let (peer, database) = self.by_hand(held::TASKS)?;
        held::run(&self.runtime, &database, &peer, BY_HAND, self.size.held, &mut self.values)
    }

    fn backlog(&self) -> Result<Vec<Measurement>, String> {
        if self.size.backlog == 0 || self.sides == Sides::Peers {
            return Ok(Vec::new());
        }
        let (ours, _) = self.ours()?;
        backlog::measure(&self.runtime, &ours, Backend::Postgres, self.size.backlog)
    }
}

fn flow_name(side: &str, (publishers, workers): (usize, usize)) -> String {
    format!("{side}.{BATCH}.flow.tasks-{publishers}-{workers}")
}

/// Ours at its best setting beside each peer at its own.
fn compared(values: &mut Values, size: Size) -> Vec<Measurement> {
    let best_flow = |values: &Values, side| best_of(values, FLOWS.map(|tasks| flow_name(side, tasks)));
    let one = |values: &Values, name: String, unit, ours: &str, peer, theirs: &str| Measurement {
        name,
        unit,
        ours: values.all(ours).to_vec(),
        peer: Some((peer, values.all(theirs).to_vec())),
    };
    let mut measurements = Vec::new();
    for batch in BATCHES {
        let (ours, theirs) = (best(values, OURS, batch), best(values, BY_HAND, batch));
        let name = format!("queue.postgres.{batch}.claim");
        measurements.push(one(values, name, RATE, &ours, "SKIP LOCKED by hand", &theirs));
    }
    for (peer, side) in [("SKIP LOCKED by hand", BY_HAND), ("apalis-postgres 1.0", APALIS)] {
        let (ours, theirs) = (best_flow(values, OURS), best_flow(values, side));
        let name = format!("queue.postgres.{BATCH}.flow.{side}");
        measurements.push(one(values, name, RATE, &ours, peer, &theirs));
    }
    if !size.held.is_zero() {
        for side in [OURS, BY_HAND] {
            let (held, before) = held::names(side);
            let name = format!("queue.postgres.{BATCH}.held.{side}");
            measurements.push(one(values, name, held::UNIT, &held, "before the transaction", &before));
        }
    }
    measurements
}
