//! The queue in memory beside a bounded channel of tokio.
//!
//! Both are given the same messages, [`BATCH`] at a time. The channel has a place for each message on its way; it knows of no lease, no second delivery and no second reader. `alone` is one task that publishes a batch, receives a batch and settles it, and
//! so again: what a message costs. `across` is a publisher and a worker on two threads, which wait for each other: for room, and for messages.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, sync::mpsc};
use txn_queue::{Message, Publish, Published, Refusal, Settled, Wait};

use super::{
    ours::{Backend, Ours, acks, receive},
    side::Side,
    work::{Keyed, group, messages, publish, topic},
};
use crate::report::{Measurement, Values};

pub(super) const BATCH: usize = 256;
/// Messages that are on their way at once, at most.
const ROOM: usize = 4 * BATCH;

const KEYED: [(Keyed, &str); 2] = [(Keyed::No, "plain"), (Keyed::Yes, "keys")];
const CHANNEL: &str = "a bounded tokio channel: send, recv_many";
const RESERVED: &str = "reserve_many, recv_many";

/// One run of everything.
pub(super) fn run(values: &mut Values, count: u64) -> Result<(), String> {
    let alone = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let alone = alone.map_err(|error| error.to_string())?;
    let across = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let across = across.map_err(|error| error.to_string())?;
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    let plain = messages(count, Keyed::No);
    for (keyed, name) in KEYED {
        let messages = messages(count, keyed);
        let time = alone.block_on(ours_alone(&messages))?;
        values.push(format!("alone.{name}"), super::RATE, rate(time));
        let time = ours_across(&across, &messages)?;
        values.push(format!("across.{name}"), super::RATE, rate(time));
        // Once for each, so that what is compared stands together.
        values.push(format!("alone.{name}.channel"), super::RATE, rate(alone.block_on(channel_alone(&plain))?));
        values.push(format!("across.{name}.channel"), super::RATE, rate(channel_across(&across, &plain)?));
        values.push(format!("alone.{name}.reserved"), super::RATE, rate(alone.block_on(reserved_alone(&plain))?));
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
            measurements.push(Measurement {
                name: format!("queue.memory.{BATCH}.{place}.{name}{suffix}"),
                unit: super::RATE,
                ours,
                peer: Some((what, theirs)),
            });
        }
        for place in ["alone", "across"] {
            values.take(&format!("{place}.{name}"));
        }
    }
    measurements
}

async fn ours_alone(messages: &[Arc<Message>]) -> Result<Duration, String> {
    let said = |error: txn_queue::Error| error.to_string();
    let ours = Ours::open(Backend::Memory, "", 1_000_000).await?;
    let batches: Vec<Vec<Publish>> = messages.chunks(BATCH).map(publish).collect();
    let receive = receive(0, BATCH);
    let mut settled = 0;
    let began = Instant::now();
    for batch in batches {
        ours.queue.publish(batch).await.map_err(said)?;
        let received = ours.queue.receive(receive.clone()).await.map_err(said)?;
        settled += applied(&ours.queue.settle(acks(received)).await.map_err(said)?);
    }
    // Messages whose key had another in the same batch.
    while settled < messages.len() {
        let received = ours.queue.receive(receive.clone()).await.map_err(said)?;
        if received.deliveries.is_empty() {
            return Err(format!("{settled} of {} messages were settled", messages.len()));
        }
        settled += applied(&ours.queue.settle(acks(received)).await.map_err(said)?);
    }
    let time = began.elapsed();
    ours.is_empty().await?;
    Ok(time)
}

fn applied(settled: &[Settled]) -> usize {
    settled.iter().filter(|settled| **settled == Settled::Applied).count()
}

async fn channel_alone(messages: &[Arc<Message>]) -> Result<Duration, String> {
    let batches: Vec<Vec<Arc<Message>>> = messages.chunks(BATCH).map(<[_]>::to_vec).collect();
    let (sender, mut receiver) = mpsc::channel(ROOM);
    let (mut received, mut count) = (Vec::with_capacity(BATCH), 0);
    let began = Instant::now();
    for batch in batches {
        for message in batch {
            sender.send(message).await.map_err(|error| error.to_string())?;
        }
        count += receiver.recv_many(&mut received, BATCH).await;
        received.clear();
    }
    while count < messages.len() {
        count += receiver.recv_many(&mut received, BATCH).await;
        received.clear();
    }
    Ok(began.elapsed())
}

async fn reserved_alone(messages: &[Arc<Message>]) -> Result<Duration, String> {
    let batches: Vec<Vec<Arc<Message>>> = messages.chunks(BATCH).map(<[_]>::to_vec).collect();
    let (sender, mut receiver) = mpsc::channel(ROOM);
    let (mut received, mut count) = (Vec::with_capacity(BATCH), 0);
    let began = Instant::now();
    for batch in batches {
        let permits = sender.reserve_many(batch.len()).await.map_err(|error| error.to_string())?;
        permits.zip(batch).for_each(|(permit, message)| permit.send(message));
        count += receiver.recv_many(&mut received, BATCH).await;
        received.clear();
    }
    while count < messages.len() {
        count += receiver.recv_many(&mut received, BATCH).await;
        received.clear();
    }
    Ok(began.elapsed())
}

fn ours_across(runtime: &Runtime, messages: &[Arc<Message>]) -> Result<Duration, String> {
    let count = messages.len();
    runtime.block_on(async {
        let ours = Ours::open(Backend::Memory, "", ROOM as u64).await?;
        let batches: Vec<Vec<Publish>> = messages.chunks(BATCH).map(publish).collect();
        let began = Instant::now();
        let publisher = tokio::spawn(publish_all(Arc::clone(&ours), batches));
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
                        settled += found;
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
async fn publish_all(ours: Arc<Ours>, batches: Vec<Vec<Publish>>) -> Result<(), String> {
    for batch in batches {
        let mut left = batch;
        while !left.is_empty() {
            // One publisher: as long as there is no room for all, nobody else takes any.
            let published = ours.queue.publish(left.clone()).await.map_err(|error| error.to_string())?;
            let mut accepted = 0;
            for published in published {
                match published {
                    Published::Accepted { .. } => accepted += 1,
                    Published::Refused(Refusal::Full { .. }) => break,
                    other => return Err(format!("a message that should be accepted ended with {other:?}")),
                }
            }
            left.drain(..accepted);
            if !left.is_empty() {
                ours.queue.wait(Wait::Room(topic())).await.map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

fn channel_across(runtime: &Runtime, messages: &[Arc<Message>]) -> Result<Duration, String> {
    let batches: Vec<Vec<Arc<Message>>> = messages.chunks(BATCH).map(<[_]>::to_vec).collect();
    runtime.block_on(async {
        let (sender, mut receiver) = mpsc::channel(ROOM);
        let began = Instant::now();
        let publisher = tokio::spawn(async move {
            for message in batches.into_iter().flatten() {
                sender.send(message).await.map_err(|error| error.to_string())?;
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
