//! The queue in memory: the reference for every other backend. It needs no runtime, forgets everything when it is dropped, and does each call within one poll.

mod later;
mod publish;
mod state;
mod topic;

use std::{
    fmt,
    future::poll_fn,
    iter::once_with,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use txn_change::Timestamp;

use crate::{
    admin::{Control, QueueAdmin, Redrive, Redriven, Reschedule, Rescheduled, Stats},
    capabilities::Capabilities,
    clock::{Clock, SystemClock},
    engine::{
        between,
        group::{Leased, Wanted},
        topic::{Topic, find},
    },
    error::Error,
    limits::QueueLimits,
    observe::{Observe, Within},
    queue::{
        Delivery, Group, Lease, Position, Publish, Published, Queue, Receive, Received, Seen, Settle, Settled, Wait,
    },
    spans::Trace,
    topology::Topology,
};
use later::Later;
use publish::Batch;
use state::State;

/// A queue in memory.
///
/// ```
/// use std::sync::Arc;
/// use txn_queue::{memory::Memory, ManualClock, QueueLimits};
/// let clock = Arc::new(ManualClock::at("2030-01-01T00:00:00Z".parse()?));
/// let queue = Memory::with(clock.clone(), QueueLimits::default());
/// # let _ = queue;
/// # Ok::<(), txn_change::TimeError>(())
/// ```
pub struct Memory {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    limits: QueueLimits,
    observe: Observe,
}

impl Memory {
    /// What this backend can do.
    pub const CAPABILITIES: Capabilities = Capabilities {
        durable: false,
        delay_max: Some(Duration::MAX),
        cancel: true,
        priority: true,
        key_order: true,
        dedupe_max: Some(Duration::MAX),
        replay: true,
        host_transactions: false,
    };

    /// A queue with the system's clock and the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Arc::new(SystemClock), QueueLimits::default())
    }

    /// A queue with another clock and other limits.
    #[must_use]
    pub fn with(clock: Arc<dyn Clock>, limits: QueueLimits) -> Self {
        Self { state: Mutex::default(), clock, limits, observe: Observe::new("memory") }
    }

    /// Joins its spans with those of others. It makes them in any case.
    #[must_use]
    pub fn traced(mut self, trace: Trace) -> Self {
        self.observe.trace = trace;
        self
    }

    fn state(&self) -> (MutexGuard<'_, State>, Timestamp) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.last.map_or(now, |last| last.max(now));
        state.last = Some(now);
        (state, now)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for Memory {
    fn capabilities(&self) -> Capabilities {
        Self::CAPABILITIES
    }

    async fn publish(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        self.observe.publish(batch, Within::Own, |batch| self.publish_unobserved(batch)).await
    }

    async fn receive(&self, receive: Receive) -> Result<Received, Error> {
        self.observe.receive(receive, |receive| self.receive_unobserved(receive)).await
    }

    async fn settle(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        self.observe.settle(group, batch, Within::Own, |batch| self.settle_unobserved(group, batch)).await
    }

    async fn wait(&self, wait: Wait) -> Result<(), Error> {
        self.wait_unobserved(wait).await
    }
}

impl Memory {
    async fn publish_unobserved(&self, batch: Vec<Publish>) -> Result<Vec<Published>, Error> {
        let count = Publish::count(&batch);
        self.limits.check_batch(count)?;
        let checked = batch.into_iter().map(|publish| Batch::checked(publish, &self.limits));
        let checked: Vec<Batch> = checked.collect();
        let (mut later, mut results) = (Later::default(), Vec::with_capacity(count));
        {
            let (mut state, now) = self.state();
            checked.into_iter().for_each(|batch| state.publish(batch, &self.limits, now, &mut later, &mut results));
        }
        later.do_now();
        Ok(results)
    }

    async fn receive_unobserved(&self, receive: Receive) -> Result<Received, Error> {
        self.limits.check_receive(&receive)?;
        let mut later = Later::default();
        let received = {
            let (mut state, now) = self.state();
            state.advance(&receive.group, now, &mut later)?;
            let mut tokens = state.tokens;
            let known = state.topic(receive.group.topic())?;
            let Topic { groups, log, .. } = &mut known.topic;
            let group = find(groups, &receive.group)?;
            let until = now.after(receive.lease).unwrap_or(Timestamp::MAX);
            let wanted = Wanted { worker: &receive.worker, max: receive.max, until };
            let mut deliveries = Vec::with_capacity(group.ready_count().min(receive.max));
            group.receive_each(wanted, log, now, &mut tokens, |leased, stored| {
                let Some(message) = stored.message() else { return };
                let Leased { position, token, deliveries: count, is_last } = leased;
                // Made where it stays. A push makes it elsewhere, lest there be no room, and copies it: that is felt.
                deliveries.extend(once_with(|| Delivery {
                    lease: Lease { position: Position(position), token },
                    message: Arc::clone(message),
                    deliveries: count,
                    is_last,
                    accepted_at: stored.accepted_at,
                    leased_until: until,
                    death: stored.letter().map(|letter| Arc::clone(&letter.death)),
                }));
            });
            let seen = Seen(group.changes());
            let next_in = group.next_at(now).map(|next| between(now, next));
            known.release(now, &mut later);
            state.tokens = tokens;
            Received { deliveries, next_in, seen }
        };
        later.do_now();
        Ok(received)
    }

    async fn settle_unobserved(&self, group: &Group, batch: Vec<Settle>) -> Result<Vec<Settled>, Error> {
        self.limits.check_settle(&batch)?;
        let mut later = Later::default();
        let results = {
            let (mut state, now) = self.state();
            later.drop.reserve(batch.len());
            state.settle(group, &batch, now, &mut later)
        };
        later.do_now();
        Ok(results)
    }

    async fn wait_unobserved(&self, wait: Wait) -> Result<(), Error> {
        let number = {
            let (mut state, _) = self.state();
            state.waits = state.waits.wrapping_add(1);
            state.waits
        };
        let _given_up = GivenUp { memory: self, wait: &wait, number };
        poll_fn(|context| {
            let (mut state, _) = self.state();
            let is_there = match &wait {
                Wait::Messages(group, seen) => {
                    let topic = match state.topic(group.topic()) {
                        Ok(topic) => topic,
                        Err(error) => return Poll::Ready(Err(error)),
                    };
                    match topic.topic.group(group) {
                        Ok(group) if group.changes() == seen.0 => {
                            group.register(number, Some(context.waker()));
                            false
                        }
                        Ok(_) => true,
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                Wait::Room(topic) => match state.topic(topic) {
                    Ok(known) if known.topic.has_room() => true,
                    Ok(known) => {
                        known.topic.register_room(number, Some(context.waker()));
                        false
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                },
            };
            if is_there { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

/// Takes the waker of a wait away that has ended.
struct GivenUp<'m> {
    memory: &'m Memory,
    wait: &'m Wait,
    number: u64,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let mut state = self.memory.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(known) = state.topic(self.wait.topic()) else { return };
        match self.wait {
            Wait::Room(_) => known.topic.register_room(self.number, None),
            Wait::Messages(group, _) => {
                if let Ok(group) = known.topic.group(group) {
                    group.register(self.number, None);
                }
            }
        }
    }
}

#[async_trait]
impl QueueAdmin for Memory {
    async fn declare(&self, topology: Topology) -> Result<(), Error> {
        topology.check(&Self::CAPABILITIES)?;
        let (mut state, _) = self.state();
        state.declare(topology, &self.limits)
    }

    async fn reschedule(&self, batch: Vec<Reschedule>) -> Result<Vec<Rescheduled>, Error> {
        self.limits.check_batch(batch.len())?;
        let mut later = Later::default();
        let results = {
            let (mut state, now) = self.state();
            let results = batch.into_iter().map(|reschedule| match state.topics.get_mut(&reschedule.topic) {
                Some(topic) => topic.reschedule(&reschedule.key, reschedule.due, now, &mut later),
                None => Rescheduled::NoSuchTopic,
            });
            results.collect()
        };
        later.do_now();
        Ok(results)
    }

    async fn control(&self, control: Control) -> Result<(), Error> {
        let mut later = Later::default();
        {
            let (mut state, now) = self.state();
            state.control(control, now, &mut later)?;
        }
        later.do_now();
        Ok(())
    }

    async fn redrive(&self, redrive: Redrive) -> Result<Redriven, Error> {
        self.limits.check_redrive(&redrive)?;
        let mut later = Later::default();
        let redriven = {
            let (mut state, now) = self.state();
            state.redrive(&redrive, now, &mut later)?
        };
        later.do_now();
        Ok(redriven)
    }

    async fn stats(&self) -> Result<Stats, Error> {
        let (state, _) = self.state();
        Ok(Stats { topics: state.topics.iter().map(|(name, known)| (name.clone(), known.topic.stats())).collect() })
    }
}
