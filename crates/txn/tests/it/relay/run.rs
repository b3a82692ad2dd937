//! A relay that runs: how it waits, how it is stopped, what it does when the queue is down or full.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use tokio::sync::oneshot;
use txn::{
    Failure,
    queue::{Capabilities, Publish, Published},
    relay::Pass,
};

use super::*;

/// A queue that is down as long as it is told so, and counts.
pub(crate) struct Down {
    pub(crate) queue: Arc<queue::memory::Memory>,
    pub(crate) is_down: Mutex<bool>,
    pub(crate) calls: AtomicU64,
    pub(crate) largest: AtomicU64,
}

impl Down {
    pub(crate) fn over(world: &World) -> Arc<Self> {
        let queue = Arc::clone(&world.queue);
        Arc::new(Self { queue, is_down: Mutex::new(false), calls: AtomicU64::new(0), largest: AtomicU64::new(0) })
    }
}

#[async_trait]
impl Queue for Down {
    fn capabilities(&self) -> Capabilities {
        self.queue.capabilities()
    }

    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, queue::Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if *self.is_down.lock().unwrap() {
            return Err(queue::Error::new(queue::ErrorKind::Unavailable, "down"));
        }
        let messages = batch.iter().map(|publish| publish.messages.len() as u64).sum();
        self.largest.fetch_max(messages, Ordering::SeqCst);
        self.queue.publish(batch).await
    }

    async fn receive(&self, receive: Receive) -> Result<queue::Received, queue::Error> {
        self.queue.receive(receive).await
    }

    async fn settle(
        &self,
        group: &queue::Group,
        batch: Vec<queue::Settle>,
    ) -> Result<Vec<queue::Settled>, queue::Error> {
        self.queue.settle(group, batch).await
    }

    async fn wait(&self, wait: queue::Wait) -> Result<(), queue::Error> {
        self.queue.wait(wait).await
    }
}

#[async_trait]
impl QueueAdmin for Down {
    async fn declare(&self, topology: Topology) -> Result<(), queue::Error> {
        self.queue.declare(topology).await
    }

    async fn reschedule(&self, batch: Vec<queue::Reschedule>) -> Result<Vec<queue::Rescheduled>, queue::Error> {
        self.queue.reschedule(batch).await
    }

    async fn control(&self, control: queue::Control) -> Result<(), queue::Error> {
        self.queue.control(control).await
    }

    async fn redrive(&self, redrive: queue::Redrive) -> Result<queue::Redriven, queue::Error> {
        self.queue.redrive(redrive).await
    }

    async fn stats(&self) -> Result<queue::Stats, queue::Error> {
        self.queue.stats().await
    }
}

/// A relay on a runtime whose time stands still unless everybody waits for it.
struct Running {
    stop: oneshot::Sender<()>,
    relay: tokio::task::JoinHandle<Result<Pass, Failure>>,
}

impl Running {
    fn start(relay: Relay) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let run = async move {
            let stopped = async { drop(stopped.await) };
            relay.run(tokio::time::sleep, stopped).await
        };
        Self { stop, relay: tokio::spawn(run) }
    }

    async fn stop(self) -> Pass {
        self.stop.send(()).unwrap();
        self.relay.await.unwrap().unwrap()
    }
}

/// Ends when something is so, which it must be within a minute of real time: what a store does on a thread of its own takes none of the runtime's.
async fn until(mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never was");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test);
}

fn depth(world: &World) -> u64 {
    block_on(world.queue.stats()).unwrap().topics[&topic()].messages
}

#[test]
fn it_waits_for_events_sends_them_at_once_and_acknowledges_when_it_is_stopped() {
    for world in worlds() {
        on_a_runtime(async {
            let running = Running::start(world.relay());
            for n in 0..3 {
                world.write(&format!("c{n}"), vec![event("a", &n.to_string())]);
                until(|| depth(&world) == n + 1).await;
            }
            let pass = running.stop().await;
            assert_eq!((pass.published, pass.duplicates), (3, 0));
        });
        // It has acknowledged, and given its lanes back: another is not kept waiting.
        let pass = block_on(world.relay().run_once()).unwrap();
        assert_eq!((pass.published, pass.duplicates), (0, 0));
        assert_eq!(block_on(world.relay().lag()).unwrap().events, 0);
    }
}

/// Case Q25, scaled. The queue is down for ten minutes, and 6,000 events wait: what is read ahead is bounded, the age of the oldest is the truth, the backlog drains in large batches, and the order is kept.
#[test]
fn a_backlog_waits_in_the_store_and_drains_in_batches_and_in_order() {
    for world in worlds() {
        let down = Down::over(&world);
        *down.is_down.lock().unwrap() = true;
        for n in 0..60 {
            let events = (0..100).map(|m| event(&format!("s{}", (n * 7 + m) % 50), &format!("{n}-{m}"))).collect();
            world.write(&format!("c{n}"), events);
        }
        world.clock.advance(Duration::from_secs(600));
        let (name, queue) = (RelayName::new("notes").unwrap(), Arc::clone(&down) as _);
        let builder = Relay::builder(world.store(), queue, name, Everything::to_topic(topic()));
        let relay = builder.buffer_max(3_000, 64 << 20).build().unwrap();
        on_a_runtime(async {
            let running = Running::start(relay.clone());
            let calls = || down.calls.load(Ordering::SeqCst);
            until(|| calls() > 20).await;
            tokio::time::sleep(Duration::from_secs(600)).await;
            let calls = calls();
            assert!((20..10_000).contains(&calls), "{calls} calls in ten minutes are neither none nor a storm");
            let lag = relay.lag().await.unwrap();
            assert_eq!(lag.oldest_age, Some(Duration::from_secs(600)));
            assert!(lag.events == 6_000, "{lag:?}");
            *down.is_down.lock().unwrap() = false;
            until(|| depth(&world) == 6_000).await;
            let pass = running.stop().await;
            assert_eq!((pass.published, pass.left), (6_000, 0));
        });
        let largest = down.largest.load(Ordering::SeqCst);
        assert!((1_000..=4_096).contains(&largest), "{largest}");
        assert_eq!(block_on(world.relay().lag()).unwrap().oldest_age, None);
        for (subject, texts) in texts(&world.received()) {
            let order: Vec<(u32, u32)> = texts
                .iter()
                .map(|text| text.trim_matches('"').split_once('-').unwrap())
                .map(|(n, m)| (n.parse().unwrap(), m.parse().unwrap()))
                .collect();
            assert!(order.is_sorted(), "{subject}");
            assert_eq!(order.len(), 120, "{subject}");
        }
    }
}

/// A topic without room holds up what goes there, in its order, and lets all else pass; room is noticed.
#[test]
fn a_full_topic_holds_up_its_subjects_and_no_others() {
    for world in worlds() {
        let tight = Topic::new("tight").unwrap();
        let spec = TopicSpec { messages_max: 3, ..TopicSpec::new(tight.clone()) };
        world.declare(spec);
        let to_tight = tight.clone();
        let mapping = move |origin: &txn::relay::Origin<'_>| {
            let message = origin.message().unwrap();
            let is_tight = message.subject.as_deref() == Some("note/tight");
            txn::relay::Verdict::topic(if is_tight { to_tight.clone() } else { topic() }, message)
        };
        let (name, queue) = (RelayName::new("notes").unwrap(), Arc::clone(&world.queue) as _);
        let relay = Relay::builder(world.store(), queue, name, mapping).lanes(1).build().unwrap();
        for n in 0..10 {
            world.write(&format!("c{n}"), vec![event("tight", &n.to_string()), event("wide", &n.to_string())]);
        }
        on_a_runtime(async {
            let running = Running::start(relay);
            until(|| depth(&world) == 10).await;
            let mut found = Vec::new();
            while found.len() < 10 {
                until(|| block_on(world.queue.stats()).unwrap().topics[&tight].messages > 0).await;
                found.extend(world.received_from(&tight));
            }
            let expected: Vec<String> = (0..10).map(|n| format!("\"{n}\"")).collect();
            assert_eq!(texts(&found)["note/tight"], expected);
            assert_eq!(running.stop().await.left, 0);
        });
    }
}

#[test]
fn a_queue_with_smaller_batches_is_given_smaller_ones() {
    for world in worlds() {
        let limits = queue::QueueLimits { batch_max: 10, ..queue::QueueLimits::default() };
        let queue = Arc::new(queue::memory::Memory::with(Arc::clone(&world.queue_clock) as _, limits));
        block_on(queue.declare(Topology::default().topic(TopicSpec::new(topic())))).unwrap();
        for n in 0..50 {
            world.write(&format!("c{n}"), vec![event(&format!("s{n}"), "x")]);
        }
        let pass = block_on(world.relay_to(queue).run_once()).unwrap();
        assert_eq!((pass.published, pass.duplicates, pass.parked, pass.left), (50, 0, 0, 0));
    }
}
