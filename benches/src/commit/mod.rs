//! The area `commit`: throughput of the stores beside hand-written peers, and the time of what a commit is made of.

mod groups;
mod ours;
mod pure;
mod rows;
mod transactions;

use txn_bench::{
    callers,
    ledger::{Means, Work, work},
};

use crate::{
    medium::Medium,
    report::{Measurement, RATE, Values, median},
    rows::Row,
};

/// How many changes a run takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Changes of many callers: grouped, so that a second holds tens of thousands.
    pub(crate) grouped: usize,
    /// Changes that each wait for a flush of their own.
    pub(crate) flushed: usize,
    /// Repetitions of what takes nanoseconds.
    pub(crate) repeated: usize,
}

/// Enough for a second or so of each.
pub(crate) const FULL: Size = Size { grouped: 40_960, flushed: 2_048, repeated: 200_000 };

const CALLERS: [usize; 3] = [1, 32, 512];
const SEED: u64 = 20_111_209;

/// Measures everything so often, in turn.
pub(crate) fn measure(runs: usize, medium: &Medium, size: Size) -> Vec<Measurement> {
    eprintln!("{} runs on {} ({})", runs, medium.folder.display(), medium.name);
    let mut values = Values::default();
    for run in 1..=runs {
        eprintln!("run {run} of {runs}");
        stores(&mut values, medium, size);
        pure::measure(size.repeated, |name, nanos| values.push(name, "ns", nanos));
    }
    let ours = values.take("sqlite.512.accepted");
    let groups = values.take(GROUPS);
    let pools = [
        ("sqlx, a transaction per change, pool of 1", values.take(POOL_1)),
        ("sqlx, a transaction per change, pool of 4", values.take(POOL_4)),
    ];
    let best = pools.into_iter().max_by(|(_, a), (_, b)| median(a).total_cmp(&median(b))).expect("two pools");
    let compared =
        |name: &str, ours: &[f64], peer| Measurement { name: name.into(), unit: RATE, ours: ours.to_vec(), peer };
    let mut measurements = vec![
        compared("sqlite.512.accepted.transactions", &ours, Some(best)),
        compared("sqlite.512.accepted.groups", &ours, Some(("groups by hand, rusqlite", groups))),
    ];
    let alone = values.0.into_iter().map(|(name, unit, ours)| Measurement { name, unit, ours, peer: None });
    measurements.extend(alone);
    measurements
}

const POOL_1: &str = "sqlx.pool-1";
const POOL_4: &str = "sqlx.pool-4";
const GROUPS: &str = "groups";

fn stores(values: &mut Values, medium: &Medium, size: Size) {
    let runtime = callers::runtime();
    let paid = |count| work(SEED, count, Means::Enough);
    let rows = |count| paid(count).into_iter().map(Row::of).collect::<Vec<Row>>();
    let rate = |count: usize, time: std::time::Duration| count as f64 / time.as_secs_f64();

    // What is compared stands together.
    let ours = ours::sqlite(&runtime, &medium.folder, 512, paid(size.grouped), Means::Enough);
    values.push("sqlite.512.accepted", RATE, rate(size.grouped, ours.time));
    values.push("sqlite.512.group", "changes/group", size.grouped as f64 / ours.groups as f64);
    let time = groups::write(&medium.folder, rows(size.grouped), size.grouped.div_ceil(ours.groups));
    values.push(GROUPS, RATE, rate(size.grouped, time));
    for (name, pool) in [(POOL_1, 1), (POOL_4, 4)] {
        let time = transactions::write(&runtime, &medium.folder, 512, pool, rows(size.flushed));
        values.push(name, RATE, rate(size.flushed, time));
    }

    for (means, ending) in [(Means::Enough, "accepted"), (Means::TooLittle, "refused")] {
        for callers in CALLERS {
            let count = if callers == 1 { size.flushed } else { size.grouped };
            let work = |count| -> Vec<Work> { work(SEED, count, means) };
            if (callers, means) != (512, Means::Enough) {
                let ours = ours::sqlite(&runtime, &medium.folder, callers, work(count), means);
                values.push(format!("sqlite.{callers}.{ending}"), RATE, rate(count, ours.time));
            }
            let ours = ours::memory(&runtime, callers, work(size.grouped), means);
            values.push(format!("memory.{callers}.{ending}"), RATE, rate(size.grouped, ours.time));
        }
    }
}

#[cfg(test)]
mod tests;
