//! A backlog: whether a queue that holds a million messages gives the last as fast as the first, in a process that does not grow.
//!
//! Messages are made as they are published, so that the process holds no more of them than are under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

use super::{
    memory::BATCH,
    ours::{Backend, Ours},
    side::{Goal, Side, join, spawn_workers},
    work::{Keyed, message},
};
use crate::{report::Measurement, scale::resident_mib};

/// Tasks that publish, and workers that drain.
const TASKS: usize = 4;
/// So often is progress told.
const STEPS: u64 = 10;

/// Fills a queue with so many messages, and drains it.
pub(super) fn measure(
    runtime: &Runtime,
    ours: &Arc<Ours>,
    backend: Backend,
    count: u64,
) -> Result<Vec<Measurement>, String> {
    eprintln!("backlog: publishing {count} messages");
    let began = Instant::now();
    runtime.block_on(fill(ours, count))?;
    let filled = began.elapsed();
    match runtime.block_on(ours.left())? {
        left if left == count => {}
        left => return Err(format!("the queue holds {left} messages instead of {count}")),
    }
    let full = resident_mib();
    eprintln!("backlog: draining by {TASKS} workers, {full:.1} MiB at the beginning");
    let steps = runtime.block_on(drain(ours, count))?;
    runtime.block_on(ours.is_empty())?;

    let in_step = count as f64 / STEPS as f64;
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / in_step;
    let one = |what: &str, unit, ours, peer: Option<(&'static str, f64)>| Measurement {
        name: format!("queue.{}.backlog.{what}", backend.name()),
        unit,
        ours: vec![ours],
        peer: peer.map(|(name, value)| (name, vec![value])),
    };
    let at = |index: usize| steps[index.min(steps.len() - 1)];
    let (first, middle, last) = (at(0), at(steps.len() / 2), at(steps.len() - 1));
    let before_last = at(steps.len().saturating_sub(2));
    Ok(vec![
        one("last", "µs/message", micros(last.time - before_last.time), Some(("the first tenth", micros(first.time)))),
        one("memory.middle", "MiB", middle.mib, Some(("at the beginning", full))),
        one("memory.end", "MiB", last.mib, Some(("at the beginning", full))),
        one("publish", super::RATE, count as f64 / filled.as_secs_f64(), None),
        one("drain", super::RATE, count as f64 / last.time.as_secs_f64(), None),
    ])
}

async fn fill(ours: &Arc<Ours>, count: u64) -> Result<(), String> {
    let next = Arc::new(AtomicU64::new(0));
    let tasks = (0..TASKS).map(|_| {
        let (ours, next) = (Arc::clone(ours), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let first = next.fetch_add(BATCH as u64, Ordering::Relaxed);
                if first >= count {
                    return Ok(());
                }
                let end = count.min(first + BATCH as u64);
                let messages: Vec<_> = (first..end).map(|number| message(number, Keyed::No)).collect();
                ours.publish(Ours::batch(&messages)).await?;
            }
        })
    });
    join(tasks.collect()).await
}

#[derive(Debug, Clone, Copy)]
struct Step {
    time: Duration,
    mib: f64,
}

/// Drains, and notes at each tenth when it was reached and how large the process was.
async fn drain(ours: &Arc<Ours>, count: u64) -> Result<Vec<Step>, String> {
    let goal = Arc::new(Goal::new(count));
    let has_ended = Arc::new(AtomicBool::new(false));
    // A thread of its own: workers of a queue in memory leave the runtime no time for anybody else.
    let watcher = {
        let (goal, has_ended) = (Arc::clone(&goal), Arc::clone(&has_ended));
        thread::spawn(move || watch(&goal, count, &has_ended))
    };
    let drained = join(spawn_workers(ours, TASKS, BATCH, &goal)).await;
    has_ended.store(true, Ordering::Release);
    let steps = watcher.join().map_err(|_| "the watcher panicked".to_owned())?;
    drained.map(|()| steps)
}

fn watch(goal: &Goal, count: u64, has_ended: &AtomicBool) -> Vec<Step> {
    let began = Instant::now();
    let mut steps: Vec<Step> = Vec::new();
    loop {
        let is_last = has_ended.load(Ordering::Acquire);
        let settled = goal.settled();
        while (steps.len() as u64) < STEPS && settled * STEPS >= count * (steps.len() as u64 + 1) {
            let step = Step { time: began.elapsed(), mib: resident_mib() };
            eprintln!("{settled:>9} settled  {:>7.1} s  {:>6.1} MiB", step.time.as_secs_f64(), step.mib);
            steps.push(step);
        }
        if is_last {
            return steps;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
