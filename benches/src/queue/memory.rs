//! The queue in memory beside a bounded channel of tokio.
//!
//! Both are given the same messages, [`BATCH`] at a time. The channel has a place for each message on its way; it knows of no lease, no second delivery and no second reader. `alone` is one task that publishes a batch, receives a batch and settles it, and
//! so again: what a message costs. `across` is a publisher and a worker on two threads, which wait for each other: for room, and for messages.
//!
//! Messages are made and dropped outside the timed region, a batch at a time, so that they are as warm as those that an application has just made; `across` sends [`CYCLE`] of them over and over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Runtime,
    sync::mpsc::{self, Receiver},
};
use txn_queue::{Message, Published, Refusal, Settled, Wait};

use super::{
    RATE,
    ours::{Backend, Ours, acks, receive},
    side::Side,
    work::{Keyed, group, message, messages, publish, topic},
};
use crate::report::{Measurement, Values};

/// Messages at a time.
pub(super) const BATCH: usize = 256;
/// Messages that are on their way at once, at most.
const ROOM: usize = 4 * BATCH;
const CYCLE: u64 = 16 * BATCH as u64;

const KEYED: [(Keyed, &str); 2] = [(Keyed::No, "plain"), (Keyed::Yes, "keys")];
const CHANNEL: &str = "a bounded tokio channel: send, recv_many";
const RESERVED: &str = "the same: reserve_many, recv_many";

/// One run of everything.
pub(super) fn run(values: &mut Values, count: u64) -> Result<(), String> {
    let alone = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let alone = alone.map_err(|error| error.to_string())?;
    let across = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let across = across.map_err(|error| error.to_string())?;
    let batches = count.div_ceil(BATCH as u64);
    let rate = |time: Duration| (batches * BATCH as u64) as f64 / time.as_secs_f64();
    let mut push = |name: String, time: Duration| values.push(name, RATE, rate(time));
    for (keyed, name) in KEYED {
        push(format!("alone.{name}"), alone.block_on(ours_alone(batches, keyed))?);
        // Once for each, so that what is compared stands together.
        push(format!("alone.{name}.channel"), alone.block_on(channel_alone(batches, Send::Each))?);
        push(format!("alone.{name}.reserved"), alone.block_on(channel_alone(batches, Send::Reserved))?);
        let cycle = messages(CYCLE, keyed);
        push(format!("across.{name}"), ours_across(&across, batches, &cycle)?);
        push(format!("across.{name}.channel"), channel_across(&across, batches, cycle)?);
    }
    Ok(())
}

pub(super) fn compared(values: &mut Values) -> Vec<Measurement> {
    let mut measurements = Vec::new();
    for (_, name) in KEYED {
        for (place, peer, what) in
            [("alone", "channel", CHANNEL), ("alone", "reserved", RESERVED), ("across", "channel", CHANNEL)]
        {
            let ours = values.all(&format!("{place}.{name}")).to_vec();
            let theirs = values.take(&format!("{place}.{name}.{peer}"));
            let suffix = if peer == "reserved" { ".reserved" } else { "" };
            let name = format!("queue.memory.{BATCH}.{place}.{name}{suffix}");
            measurements.push(Measurement { name, unit: RATE, ours, peer: Some((what, theirs)) });
        }
    }
    measurements
}

/// The messages of a batch, new.
fn block(batch: u64, keyed: Keyed) -> Vec<Arc<Message>> {
    let first = batch * BATCH as u64;
    (first..first + BATCH as u64).map(|number| message(number, keyed)).collect()
}

async fn ours_alone(batches: u64, keyed: Keyed) -> Result<Duration, String> {
    let said = |error: txn_queue::Error| error.to_string();
    let ours = Ours::open(Backend::Memory, "", 1_000_000).await?;
    let receive = receive(0, BATCH);
    let (mut time, mut settled) = (Duration::ZERO, 0);
    let settle_some = async || {
        let received = ours.queue.receive(receive.clone()).await.map_err(said)?;
        let settled = ours.queue.settle(&receive.group, acks(received)).await.map_err(said)?;
        Ok::<_, String>(settled.iter().filter(|settled| **settled == Settled::Applied).count() as u64)
    };
    for batch in 0..batches {
        let block = block(batch, keyed);
        let batch = publish(&block);
        let began = Instant::now();
        ours.queue.publish(batch).await.map_err(said)?;
        settled += settle_some().await?;
        time += began.elapsed();
    }
    // Messages whose key had another in the same batch.
    let began = Instant::now();
    while settled < batches * BATCH as u64 {
        match settle_some().await? {
            0 => return Err(format!("{settled} of {} messages were settled", batches * BATCH as u64)),
            some => settled += some,
        }
    }
    time += began.elapsed();
    ours.is_empty().await?;
    Ok(time)
}

/// How a channel is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Send {
    Each,
    Reserved,
}

async fn channel_alone(batches: u64, send: Send) -> Result<Duration, String> {
    let (sender, mut receiver) = mpsc::channel(ROOM);
    let mut received = Vec::with_capacity(BATCH);
    let mut time = Duration::ZERO;
    for batch in 0..batches {
        let block = block(batch, Keyed::No);
        let batch = block.clone();
        let began = Instant::now();
        match send {
            Send::Each => {
                for message in batch {
                    sender.send(message).await.map_err(|error| error.to_string())?;
                }
            }
            Send::Reserved => {
                let permits = sender.reserve_many(batch.len()).await.map_err(|error| error.to_string())?;
                permits.zip(batch).for_each(|(permit, message)| permit.send(message));
            }
        }
        receive_all(&mut receiver, &mut received, BATCH).await;
        time += began.elapsed();
    }
    Ok(time)
}

/// A channel may give less at a time than there is.
async fn receive_all(receiver: &mut Receiver<Arc<Message>>, received: &mut Vec<Arc<Message>>, mut count: usize) {
    while count > 0 {
        count -= receiver.recv_many(received, count).await;
        received.clear();
    }
}

fn ours_across(runtime: &Runtime, batches: u64, cycle: &[Arc<Message>]) -> Result<Duration, String> {
    let count = batches * BATCH as u64;
    let cycle: Vec<Vec<Arc<Message>>> = cycle.chunks(BATCH).map(<[_]>::to_vec).collect();
    runtime.block_on(async {
        let ours = Ours::open(Backend::Memory, "", ROOM as u64).await?;
        let began = Instant::now();
        let publisher = tokio::spawn(publish_all(Arc::clone(&ours), batches, cycle));
        let worker = tokio::spawn(async move {
            let mut settled = 0;
            while settled < count {
                let claim = ours.claim(BATCH).await?;
                match claim.deliveries.len() {
                    0 => {
                        let wait = ours.queue.wait(Wait::Messages(group(), claim.seen));
                        wait.await.map_err(|error| error.to_string())?;
                    }
                    found => {
                        ours.settle(claim).await?;
                        settled += found as u64;
                    }
                }
            }
            Ok::<(), String>(())
        });
        for task in [publisher, worker] {
            task.await.map_err(|error| error.to_string())??;
        }
        Ok(began.elapsed())
    })
}

/// Publishes in order; what finds no room waits for it.
async fn publish_all(ours: Arc<Ours>, batches: u64, cycle: Vec<Vec<Arc<Message>>>) -> Result<(), String> {
    let cycle = cycle.iter().cycle();
    for (batch, _) in cycle.zip(0..batches) {
        let mut left = &batch[..];
        while !left.is_empty() {
            let published = ours.queue.publish(publish(left)).await.map_err(|error| error.to_string())?;
            let mut accepted = 0;
            // Nobody else publishes: behind one that found no room, none did.
            for published in published {
                match published {
                    Published::Accepted { .. } => accepted += 1,
                    Published::Refused(Refusal::Full { .. }) => break,
                    other => return Err(format!("a message that should be accepted ended with {other:?}")),
                }
            }
            left = &left[accepted..];
            if !left.is_empty() {
                ours.queue.wait(Wait::Room(topic())).await.map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

fn channel_across(runtime: &Runtime, batches: u64, cycle: Vec<Arc<Message>>) -> Result<Duration, String> {
    runtime.block_on(async {
        let (sender, mut receiver) = mpsc::channel(ROOM);
        let began = Instant::now();
        let publisher = tokio::spawn(async move {
            for (batch, _) in cycle.chunks(BATCH).cycle().zip(0..batches) {
                for message in batch {
                    sender.send(Arc::clone(message)).await.map_err(|error| error.to_string())?;
                }
            }
            Ok::<(), String>(())
        });
        let worker = tokio::spawn(async move {
            let mut received = Vec::with_capacity(BATCH);
            while receiver.recv_many(&mut received, BATCH).await > 0 {
                received.clear();
            }
            Ok::<(), String>(())
        });
        for task in [publisher, worker] {
            task.await.map_err(|error| error.to_string())??;
        }
        Ok(began.elapsed())
    })
}
