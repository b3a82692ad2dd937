//! The area `postgres`: throughput and latency of the store on a server, beside hand-written peers.

pub(crate) mod check;
mod groups;
pub(crate) mod latency;
mod ours;
pub(crate) mod processes;
pub(crate) mod server;
mod tables;
mod transactions;

use std::{sync::Arc, time::Duration};

use sqlx::Connection;
use tokio::runtime::Runtime;
use txn_bench::{
    callers,
    ledger::{self, Means, Payee, Transfers, Work, work},
};
use txn_store::Store;

use crate::{
    report::{Measurement, RATE, Values, median},
    rows::Row,
};
use server::Server;

/// The schema of our store.
pub(crate) const OURS: &str = "txn_bench_ours";
/// The schema of a peer.
const PEER: &str = "txn_bench_peer";

/// How much a run takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Changes of many callers: grouped, so that a second holds thousands.
    pub(crate) grouped: usize,
    /// Changes that each have a transaction of their own.
    pub(crate) single: usize,
    /// How long the calls come whose latency is measured.
    pub(crate) steady: Duration,
}

/// Enough for some seconds of each.
pub(crate) const FULL: Size = Size { grouped: 40_960, single: 4_096, steady: Duration::from_secs(8) };

const CALLERS: usize = 256;
const SEED: u64 = 20_111_209;
/// Part of the peak that a latency is measured at.
const LOAD: f64 = 0.1;

const OURS_RATE: &str = "ours";
const HOT: &str = "hot";
const GROUPS: &str = "groups";
const PROCESSES: [&str; 2] = ["one process", "two processes"];
const POOLS: [(u32, &str); 5] = [
    (1, "sqlx, a transaction per change, pool of 1"),
    (4, "sqlx, a transaction per change, pool of 4"),
    (8, "sqlx, a transaction per change, pool of 8"),
    (16, "sqlx, a transaction per change, pool of 16"),
    (32, "sqlx, a transaction per change, pool of 32"),
];
const LATENCIES: [&str; 4] = ["ours p50", "ours p99", "peer p50", "peer p99"];

/// Checks all sides at a tiny size, then measures everything so often, in turn.
pub(crate) fn measure(runs: usize, url: &str, size: Size) -> Result<Vec<Measurement>, String> {
    let runtime = callers::runtime();
    let server = runtime.block_on(Server::reach(url))?;
    eprintln!("{runs} runs on {}", server.name);
    eprintln!("self check");
    check::all_sides(&runtime, &server)?;
    let mut values = Values::default();
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        throughput(&runtime, &server, &mut values, size)?;
        steady(&runtime, &server, &mut values, size)?;
    }
    let cleared = runtime.block_on(async { server.clear(OURS).await.and(server.clear(PEER).await) });
    cleared.map_err(|error| error.to_string())?;
    Ok(compared(values))
}

fn throughput(runtime: &Runtime, server: &Server, values: &mut Values, size: Size) -> Result<(), String> {
    let said = |error: sqlx::Error| error.to_string();
    let rate = |count: usize, time: Duration| count as f64 / time.as_secs_f64();
    let paid = |count| work(SEED, count, Means::Enough);
    let rows = |count| paid(count).into_iter().map(Row::of).collect::<Vec<Row>>();

    // What is compared stands together, so that both have the same minute of the machine.
    let ours = ours::run(runtime, server, CALLERS, paid(size.grouped))?;
    values.push(OURS_RATE, RATE, rate(size.grouped, ours.time));
    values.push("postgres.256.group", "changes/group", size.grouped as f64 / ours.groups as f64);
    values.push("postgres.256.unchained", "changes", ours.unchained as f64);

    let group = size.grouped.div_ceil(ours.groups);
    let time = runtime.block_on(async {
        let mut session = groups::open(server).await?;
        let (time, _) = groups::run(&mut session, rows(size.grouped), group).await?;
        session.close().await?;
        Ok(time)
    });
    values.push(GROUPS, RATE, rate(size.grouped, time.map_err(said)?));

    let hot: Vec<Work> = Transfers { payee: Payee::First, ..Transfers::of(SEED) }.iter().take(size.grouped).collect();
    let hot = ours::run(runtime, server, CALLERS, hot)?;
    values.push(HOT, RATE, rate(size.grouped, hot.time));

    for (connections, name) in POOLS {
        let pool = runtime.block_on(transactions::open(server, connections)).map_err(said)?;
        let (time, _) = transactions::run(runtime, &pool, CALLERS, rows(size.single)).map_err(said)?;
        runtime.block_on(pool.close());
        values.push(name, RATE, rate(size.single, time));
    }

    for (processes, name) in (1..).zip(PROCESSES) {
        let time = processes::run(runtime, server, processes, CALLERS, size.grouped)?;
        values.push(name, RATE, rate(size.grouped, time));
    }
    Ok(())
}

/// The latency of ours and of the best pool so far, both at a part of the peak that ours has just had.
fn steady(runtime: &Runtime, server: &Server, values: &mut Values, size: Size) -> Result<(), String> {
    let rate = LOAD * values.last(OURS_RATE);
    let whole = Duration::from_secs_f64(rate * size.steady.as_secs_f64());
    let count = usize::try_from(whole.as_secs()).expect("a count of calls").max(100);
    let paid = || work(SEED, count, Means::Enough);
    // The first calls of all kinds: what is loaded or planned only once.
    let warm = || work(SEED + 1, 512, Means::Enough);

    let store = runtime.block_on(ours::fresh(server))?;
    ours::commit(runtime, &store, 32, warm())?;
    let shared: Arc<dyn Store> = Arc::clone(&store) as _;
    let ours = latency::at(runtime, rate, paid(), move |work: Work| {
        let store = Arc::clone(&shared);
        async move {
            ledger::commit(store, work.change, Means::Enough).await;
        }
    });
    runtime.block_on(ours::close(store));

    let (connections, _) = best_pool(values);
    let pool = runtime.block_on(transactions::open(server, connections)).map_err(|error| error.to_string())?;
    let rows = |work: Vec<Work>| work.into_iter().map(Row::of).collect::<Vec<Row>>();
    transactions::run(runtime, &pool, 32, rows(warm())).map_err(|error| error.to_string())?;
    let shared = pool.clone();
    let peer = latency::at(runtime, rate, rows(paid()), move |row| {
        let pool = shared.clone();
        async move {
            transactions::commit(&pool, &row).await.expect("every row is accepted");
        }
    });
    runtime.block_on(pool.close());

    for (name, value) in LATENCIES.into_iter().zip([ours.p50, ours.p99, peer.p50, peer.p99]) {
        values.push(name, "µs", value);
    }
    values.push("postgres.steady.rate", "calls/s", rate);
    Ok(())
}

/// The pool with the best median.
fn best_pool(values: &Values) -> (u32, &'static str) {
    let median = |name| median(values.all(name));
    POOLS.into_iter().max_by(|(_, a), (_, b)| median(a).total_cmp(&median(b))).expect("there are pools")
}

fn compared(mut values: Values) -> Vec<Measurement> {
    let (_, best) = best_pool(&values);
    let ours = values.take(OURS_RATE);
    let one = |name: &str, unit, ours: &[f64], peer, theirs| Measurement {
        name: name.into(),
        unit,
        ours: ours.to_vec(),
        peer: Some((peer, theirs)),
    };
    let theirs = values.all(best).to_vec();
    let groups = values.take(GROUPS);
    let hot = values.take(HOT);
    let [alone, two] = PROCESSES.map(|name| values.take(name));
    let [ours_p50, ours_p99, peer_p50, peer_p99] = LATENCIES.map(|name| values.take(name));
    let mut measurements = vec![
        one("postgres.256.accepted.transactions", RATE, &ours, best, theirs),
        one("postgres.256.accepted.groups", RATE, &ours, "groups by hand, sqlx", groups),
        one("postgres.256.hot", RATE, &hot, "ours, on uniform accounts", ours.clone()),
        one("postgres.256.processes", RATE, &two, "ours, in one process", alone),
        one("postgres.steady.p50", "µs", &ours_p50, best, peer_p50),
        one("postgres.steady.p99", "µs", &ours_p99, best, peer_p99),
    ];
    // All pools, so that the best can be seen to be it.
    for (connections, name) in POOLS {
        let name_shown = format!("peer.pool-{connections}");
        measurements.push(Measurement { name: name_shown, unit: RATE, ours: values.take(name), peer: None });
    }
    measurements.extend(values.0.into_iter().map(|(name, unit, ours)| Measurement { name, unit, ours, peer: None }));
    measurements
}
