//! A process that stands still for longer than its lease, whose store or queue hangs, or that has so much to do that it never comes to renew: it sends nothing that may be another's by now.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use txn::{
    queue::{Capabilities, Publish, Published, Reschedule, ScheduleKey},
    relay::{Origin, Verdict},
    store::{Clock, Consumer},
};

use super::{flaky::pause, *};

/// Over three quarters of it nobody else has the lanes. Real time: what a process measures is how long it really stood still.
const LEASE: Duration = Duration::from_secs(2);
const STALL: Duration = Duration::from_millis(1_600);

type Hook = Box<dyn Fn(u64) + Send + Sync>;

/// A queue that does at once what it is asked, and answers when it is let.
struct Slow {
    queue: Arc<queue::memory::Memory>,
    answers: AtomicBool,
    calls: AtomicU64,
    /// What goes on in the world during the call of this number.
    meanwhile: OnceLock<Hook>,
}

impl Slow {
    fn over(world: &World, answers: bool) -> Arc<Self> {
        let (queue, calls) = (Arc::clone(&world.queue), AtomicU64::new(0));
        Arc::new(Self { queue, answers: AtomicBool::new(answers), calls, meanwhile: OnceLock::new() })
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    async fn until_it_answers(&self) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(meanwhile) = self.meanwhile.get() {
            meanwhile(call);
        }
        while !self.answers.load(Ordering::SeqCst) {
            pause().await;
        }
    }
}

#[async_trait]
impl Queue for Slow {
    fn capabilities(&self) -> Capabilities {
        self.queue.capabilities()
    }

    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, queue::Error> {
        let result = self.queue.publish(batch).await;
        self.until_it_answers().await;
        result
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
impl QueueAdmin for Slow {
    async fn declare(&self, topology: Topology) -> Result<(), queue::Error> {
        self.queue.declare(topology).await
    }

    async fn reschedule(&self, batch: Vec<Reschedule>) -> Result<Vec<queue::Rescheduled>, queue::Error> {
        let result = self.queue.reschedule(batch).await;
        self.until_it_answers().await;
        result
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

/// A message that is due in an hour under the one key, its cancellation, or a message that is due.
fn mapping(origin: &Origin<'_>) -> Verdict {
    let key = ScheduleKey::new("order.expire/42").unwrap();
    match origin.recorded().event.body.bytes() {
        b"\"later\"" => {
            let due = origin.recorded().recorded_at.after(Duration::from_secs(3_600)).unwrap();
            Verdict::topic(topic(), origin.message().unwrap().due_at(due).schedule_key(key))
        }
        b"\"cancel\"" => Verdict::reschedule(Reschedule { topic: topic(), key, due: None }),
        _ => Verdict::topic(topic(), origin.message().unwrap()),
    }
}

fn relay(world: &World, lease: Duration, queue: Arc<dyn QueueAdmin>, batch_max: usize) -> Relay {
    let builder = Relay::builder(world.store(), queue, RelayName::new("notes").unwrap(), mapping);
    builder.lanes(1).lease(lease).batch_max(batch_max).build().unwrap()
}

fn poll<F: Future>(process: Pin<&mut F>) {
    assert!(process.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// Another process takes over, carries out what there is, and publishes under the key anew.
fn another_goes_on(world: &World) {
    world.pass_lease();
    let another = relay(world, LEASE, Arc::clone(&world.queue) as _, 100);
    assert_eq!(block_on(another.run_once()).unwrap().rescheduled, 1);
    world.write("again", vec![event("42", "later")]);
    assert_eq!(block_on(another.run_once()).unwrap().published, 1);
}

fn is_given_the_message(world: &World) -> bool {
    world.queue_clock.advance(Duration::from_secs(7_200));
    world.received().iter().any(|message| message.id.as_str() == "again/0")
}

/// Case Q23. A process has read a cancellation, and is stopped before it sends it; another takes its lanes, cancels, and publishes a message under the same key. The first goes on where it stood: it cancels nothing.
#[test]
fn a_process_that_was_stopped_cancels_nothing_that_came_after_it() {
    let world = in_memory();
    world.write("first", vec![event("42", "later"), event("42", "cancel")]);
    let slow = Slow::over(&world, false);
    let stopped = relay(&world, LEASE, Arc::clone(&slow) as _, 100);
    let mut process = pin!(stopped.run(|_| std::future::pending(), std::future::pending()));
    while slow.calls() == 0 {
        poll(process.as_mut());
    }
    std::thread::sleep(STALL);
    another_goes_on(&world);
    slow.answers.store(true, Ordering::SeqCst);
    (0..100).for_each(|_| poll(process.as_mut()));
    assert_eq!(slow.calls(), 1);
    assert!(is_given_the_message(&world));
}

/// Case Q23. A queue answers a publishing after the lease of the process is over: the cancellation that would have gone with it does not go.
#[test]
fn a_batch_that_is_under_way_when_its_lanes_are_lost_is_not_ended() {
    let world = in_memory();
    world.write("first", vec![event("42", "later")]);
    let plain = relay(&world, LEASE, Arc::clone(&world.queue) as _, 100);
    assert_eq!(block_on(plain.run_once()).unwrap().published, 1);
    world.write("second", vec![event("41", "say"), event("42", "cancel")]);
    let slow = Slow::over(&world, false);
    let late = relay(&world, LEASE, Arc::clone(&slow) as _, 100);
    let mut process = pin!(late.run(|_| std::future::pending(), std::future::pending()));
    while slow.calls() == 0 {
        poll(process.as_mut());
    }
    std::thread::sleep(STALL);
    another_goes_on(&world);
    slow.answers.store(true, Ordering::SeqCst);
    (0..100).for_each(|_| poll(process.as_mut()));
    assert_eq!(slow.calls(), 1);
    assert!(is_given_the_message(&world));
}

/// What another process finds to do, and how far the first has acknowledged.
fn another_looks(world: &World, lease: Duration) -> (u64, u64) {
    let pass = block_on(relay(world, lease, Arc::clone(&world.queue) as _, 100).run_once()).unwrap();
    let cursors = block_on(Consumer::list(&*world.store())).unwrap();
    let position = cursors.into_iter().find(|(name, _)| name == "relay/notes/0").unwrap().1;
    (pass.published + pass.duplicates, position.0)
}

const BACKLOG: u64 = 15;

fn write_backlog(world: &World) {
    for n in 0..BACKLOG {
        world.write(&format!("c{n}"), vec![event(&format!("s{n}"), "say")]);
    }
}

/// A pass over a backlog takes longer than its lease: it renews meanwhile, and moves its cursor, so that nobody does its work once more.
///
/// A machine that is busy may stand still for most of a short lease, which is lost then: a longer one is not.
#[test]
fn a_pass_that_outlasts_its_lease_keeps_its_lanes() {
    let mut passes = [2, 10].map(Duration::from_secs).into_iter().map(outlasting);
    assert!(passes.any(|pass| pass), "another did the work of one that lives, or it did not move its cursor");
}

fn outlasting(lease: Duration) -> bool {
    let world = Arc::new(in_memory());
    write_backlog(&world);
    let (slow, seen) = (Slow::over(&world, true), Arc::new(OnceLock::new()));
    let (outside, result) = (Arc::clone(&world), Arc::clone(&seen));
    let meanwhile = move |call: u64| {
        let step = lease / 10;
        outside.clock.advance(step);
        std::thread::sleep(step);
        if call == BACKLOG {
            result.set(another_looks(&outside, lease)).unwrap();
        }
    };
    assert!(slow.meanwhile.set(Box::new(meanwhile)).is_ok());
    let pass = block_on(relay(&world, lease, Arc::clone(&slow) as _, 1).run_once()).unwrap();
    let seen = seen.get().copied();
    let is_whole = (pass.published, pass.duplicates, pass.left) == (BACKLOG, 0, 0);
    is_whole && seen.is_some_and(|(found, position)| found == 0 && position >= 4)
}

/// A queue that always answers at once keeps a process from nothing: it renews and moves its cursor when it is time.
#[test]
fn a_queue_that_is_always_ready_starves_no_timer() {
    // Nobody waits for it.
    let lease = Duration::from_secs(300);
    let world = Arc::new(in_memory());
    write_backlog(&world);
    let (slow, seen) = (Slow::over(&world, true), Arc::new(OnceLock::new()));
    let (outside, result) = (Arc::clone(&world), Arc::clone(&seen));
    let meanwhile = move |call: u64| {
        outside.clock.advance(lease / 10);
        if call == BACKLOG {
            result.set(another_looks(&outside, lease)).unwrap();
        }
    };
    assert!(slow.meanwhile.set(Box::new(meanwhile)).is_ok());
    let clock = Arc::clone(&world.clock);
    let sleep = move |time: Duration| {
        let clock = Arc::clone(&clock);
        let end = Clock::now(&*clock).after(time).unwrap();
        std::future::poll_fn(move |context: &mut Context<'_>| {
            context.waker().wake_by_ref();
            if Clock::now(&*clock) >= end { Poll::Ready(()) } else { Poll::Pending }
        })
    };
    let busy = relay(&world, lease, Arc::clone(&slow) as _, 1);
    let mut process = pin!(busy.run(sleep, std::future::pending()));
    while slow.calls() < BACKLOG {
        poll(process.as_mut());
    }
    let (found, position) = *seen.get().unwrap();
    assert_eq!(found, 0, "another did the work of one that lives");
    assert!(position >= 4, "{position}");
}
