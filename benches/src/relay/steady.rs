//! A steady load: how long after its commit an event is in the queue.

use std::{
    collections::HashMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;
use txn_bench::Random;

use super::{Running, Size, drain, work, world::World};
use crate::{
    postgres::latency::{distance, percentile},
    report::Values,
};

/// Less is better.
const UNIT: &str = "ms";

/// Events that are committed before any is counted, so that sessions are open and lanes are taken.
const WARM_UP: u64 = 500;

/// Commits one event after the other, each at its time, while a relay is at work.
pub(super) fn run(runtime: &Runtime, world: &World, size: Size, name: &str, values: &mut Values) -> Result<(), String> {
    let all = WARM_UP + size.steady;
    let running = Running::begin(runtime, &world.relays)?;
    runtime.block_on(work::place(&*world.store, 0))?;
    running.wait_for(1, &world.relays)?;
    let calls_before = calls(world);

    let mut random = Random::new(1);
    let mut due = Instant::now();
    let mut tasks = Vec::new();
    for number in 1..all {
        due += distance(&mut random, size.rate as f64);
        // A thread wakes within some 50 µs of its time; a timer of the runtime within 1 ms.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let store = Arc::clone(&world.store);
        tasks.push(runtime.spawn(async move {
            let placed = work::place(&*store, number).await;
            placed.map(|()| (number, Instant::now()))
        }));
    }
    let mut answered = HashMap::new();
    for task in tasks {
        let (number, at) = runtime.block_on(task).map_err(|error| error.to_string())??;
        answered.insert(number, at);
    }
    running.wait_for(all, &world.relays)?;
    let calls = calls(world) - calls_before;
    running.end(runtime, all)?;

    let queued = world.relays.iter().flat_map(|(_, noted)| noted.times());
    let from_answer = queued.filter(|(number, _)| *number >= WARM_UP).map(|(number, at)| {
        let answered = answered.get(&number).copied().unwrap_or(at);
        at.saturating_duration_since(answered)
    });
    push(values, &format!("{name}.steady.from-answer"), from_answer.collect());
    let taken = runtime.block_on(drain::take_out(world, all))?;
    if world.has_one_clock() {
        let counted = taken.iter().filter(|taken| taken.number >= WARM_UP);
        push(values, &format!("{name}.steady.by-server"), counted.map(|taken| taken.waited).collect());
    }
    values.push(format!("{name}.steady.events-a-call"), "events", all as f64 / calls.max(1) as f64);
    Ok(())
}

fn calls(world: &World) -> u64 {
    world.relays.iter().map(|(_, noted)| noted.calls()).sum()
}

fn push(values: &mut Values, name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    for percent in [50, 99] {
        values.push(format!("{name}.p{percent}"), UNIT, percentile(&times, percent) / 1e3);
    }
}
