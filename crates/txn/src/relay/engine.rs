//! One process of a relay at work: reading, publishing, acknowledging and keeping its leases go on side by side, each in a future of its own, and whatever ends first is attended to first. No runtime, no task, no thread.

mod acknowledging;
mod keeping;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use txn_queue::Topic;
use txn_store::{Consumer, ErrorKind, LogPage};

use super::{
    Parts, Pass,
    duties::{Acknowledged, Keeping, backoff, rest},
    lane::{Batch, Fate, Lane, Which},
    observe,
    reader::Reader,
    send::{Sent, send},
    tenure::Tenure,
};
use crate::{failure::Failure, leases::Leases, sleep::Sleep};

/// How often cursors are moved, at most.
const TICK: Duration = Duration::from_secs(1);
/// A pass that waits for nothing asks again so often.
const TRIES_AT_ONCE: u32 = 8;

pub(super) struct Engine {
    parts: Arc<Parts>,
    /// None: one pass, which waits for nothing.
    sleep: Option<Arc<dyn Sleep>>,
    lanes: BTreeMap<u32, Lane>,
    lives: u64,
    reader: Option<Reader>,
    page_max: usize,
    batch_max: usize,
    /// Away while a step of it is under way.
    leases: Option<Leases>,
    tenure: Tenure,
    is_keep_due: bool,
    /// Keeps what is parked from being purged. With the first lane.
    guard: Option<Consumer>,
    ticks: u64,
    ticked_at: Instant,
    is_stopping: bool,
    pass: Pass,

    reading: Option<BoxFuture<'static, Result<LogPage, txn_store::Error>>>,
    /// How often in a row the log could not be read.
    misread: u32,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    resting: FuturesUnordered<BoxFuture<'static, Which>>,
    acknowledging: Option<BoxFuture<'static, Acknowledged>>,
    keeping: Option<BoxFuture<'static, Keeping>>,
    keep_timer: Option<BoxFuture<'static, ()>>,
    tick_timer: Option<BoxFuture<'static, ()>>,
    /// What ended last was a timer.
    was_timer: bool,
}

/// What has ended.
enum Event {
    Stop,
    Kept(Keeping),
    Sent(Sent),
    Acknowledged(Acknowledged),
    Rested(Which),
    Page(Result<LogPage, txn_store::Error>),
    KeepDue,
    Tick,
}

impl Engine {
    pub(super) fn new(parts: Arc<Parts>, leases: Leases, sleep: Option<Arc<dyn Sleep>>) -> Self {
        let (page_max, batch_max, tenure) = (parts.page_max, parts.batch_max, Tenure::new(leases.lease()));
        Self {
            parts,
            sleep,
            lanes: BTreeMap::new(),
            lives: 0,
            reader: None,
            page_max,
            batch_max,
            leases: Some(leases),
            tenure,
            is_keep_due: true,
            guard: None,
            ticks: 0,
            ticked_at: Instant::now(),
            is_stopping: false,
            pass: Pass::default(),
            reading: None,
            misread: 0,
            sending: FuturesUnordered::new(),
            resting: FuturesUnordered::new(),
            acknowledging: None,
            keeping: None,
            keep_timer: None,
            tick_timer: None,
            was_timer: false,
        }
    }

    pub(super) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Pass, Failure> {
        let worked = match self.work(stop).await {
            Ok(()) => self.acknowledge_all().await,
            Err(failure) => Err(failure),
        };
        let left = self.lanes.values().flat_map(|lane| &lane.items).filter(|item| !item.steps.is_empty()).count();
        self.pass.left = u64::try_from(left).unwrap_or(u64::MAX);
        if let Some(leases) = &mut self.leases
            && let Err(failure) = leases.leave().await
        {
            observe::failed(&self.parts.name, "the lanes are not given back, and wait for their lease", &failure);
        }
        worked.map(|()| self.pass)
    }

    async fn work(&mut self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let mut stop = std::pin::pin!(stop);
        loop {
            self.begin();
            if self.is_over() {
                return Ok(());
            }
            match poll_fn(|context| self.poll(context, stop.as_mut())).await {
                Event::Stop => self.is_stopping = true,
                Event::Kept(keeping) => self.kept(keeping)?,
                Event::Sent(sent) => self.sent(sent)?,
                Event::Acknowledged(acknowledged) => self.acknowledged(acknowledged)?,
                Event::Rested(which) => {
                    if let Some(lane) = self.lane(which) {
                        lane.wake();
                    }
                }
                Event::Page(page) => self.page(page)?,
                Event::KeepDue => self.is_keep_due = true,
                Event::Tick => self.tick(),
            }
        }
    }

    /// Begins whatever can begin.
    fn begin(&mut self) {
        match &self.sleep {
            Some(sleep) if self.tick_timer.is_none() => self.tick_timer = Some(sleep.sleep(TICK)),
            // A pass has no timers.
            None if self.ticked_at.elapsed() >= TICK => self.tick(),
            Some(_) | None => {}
        }
        self.begin_reading();
        while self.begin_sending() {}
        // Last: what could not be sent because the lanes may be lost makes a pass look, and wait.
        self.begin_keeping();
    }

    fn begin_reading(&mut self) {
        let Some(reader) = &self.reader else { return };
        let (events, bytes) = self.pending();
        let is_far_ahead = self.lanes.values().any(|lane| lane.is_far_behind(reader.after));
        let is_full = is_far_ahead || events >= self.parts.buffer_max || bytes >= self.parts.buffer_bytes_max;
        let has_read_all = self.sleep.is_none() && reader.is_at_end;
        if self.reading.is_some() || self.is_stopping || is_full || has_read_all {
            return;
        }
        let (parts, after, limit, is_at_end) = (Arc::clone(&self.parts), reader.after, self.page_max, reader.is_at_end);
        let pause = self.sleep.as_ref().filter(|_| self.misread > 0).map(|sleep| sleep.sleep(backoff(self.misread)));
        let read = async move {
            if let Some(pause) = pause {
                pause.await;
            }
            if is_at_end {
                parts.store().watch(after).await?;
            }
            parts.store().read(after, limit).await
        };
        self.reading = Some(read.boxed());
    }

    /// Nothing while the lanes may be another's: the next look at the leases tells.
    fn begin_sending(&mut self) -> bool {
        if self.is_stopping || self.tenure.is_over() {
            return false;
        }
        let mut batch = Batch::default();
        for lane in self.lanes.values_mut() {
            lane.take(self.batch_max, &mut batch);
        }
        let has_any = batch.len() > 0;
        if has_any {
            self.sending.push(send(Arc::clone(&self.parts), self.tenure.clone(), batch).boxed());
        }
        has_any
    }

    /// Whether nothing is left that this process waits for.
    fn is_over(&self) -> bool {
        let is_busy = !self.sending.is_empty() || self.acknowledging.is_some() || self.keeping.is_some();
        let may_go_on = self.sleep.is_some() && !self.is_stopping;
        !is_busy && !may_go_on && (self.is_stopping || self.reading.is_none())
    }

    fn poll(&mut self, context: &mut Context<'_>, stop: Pin<&mut impl Future<Output = ()>>) -> Poll<Event> {
        if !self.is_stopping && stop.poll(context).is_ready() {
            return Poll::Ready(Event::Stop);
        }
        if let Some(keeping) = ready(&mut self.keeping, context) {
            return Poll::Ready(Event::Kept(keeping));
        }
        // Before what may always be ready, but not twice in a row.
        let is_first = !std::mem::take(&mut self.was_timer);
        if is_first && let Some(event) = self.timer(context) {
            return Poll::Ready(event);
        }
        if let Some(acknowledged) = ready(&mut self.acknowledging, context) {
            return Poll::Ready(Event::Acknowledged(acknowledged));
        }
        if let Poll::Ready(Some(sent)) = self.sending.poll_next_unpin(context) {
            return Poll::Ready(Event::Sent(sent));
        }
        if let Poll::Ready(Some(which)) = self.resting.poll_next_unpin(context) {
            return Poll::Ready(Event::Rested(which));
        }
        if let Some(page) = ready(&mut self.reading, context) {
            return Poll::Ready(Event::Page(page));
        }
        self.timer(context).map_or(Poll::Pending, Poll::Ready)
    }

    fn timer(&mut self, context: &mut Context<'_>) -> Option<Event> {
        let event = if ready(&mut self.keep_timer, context).is_some() {
            Event::KeepDue
        } else {
            ready(&mut self.tick_timer, context).map(|()| Event::Tick)?
        };
        self.was_timer = true;
        Some(event)
    }

    fn lane(&mut self, which: Which) -> Option<&mut Lane> {
        self.lanes.get_mut(&which.lane).filter(|lane| lane.life == which.life)
    }

    /// Events that are read and not done, and the bytes of their messages.
    fn pending(&self) -> (usize, usize) {
        let add = |(events, bytes): (usize, usize), lane: &Lane| {
            (events.saturating_add(lane.items.len()), bytes.saturating_add(lane.bytes))
        };
        self.lanes.values().fold((0, 0), add)
    }

    fn page(&mut self, page: Result<LogPage, txn_store::Error>) -> Result<(), Failure> {
        match page {
            Ok(page) => {
                self.misread = 0;
                if let Some(reader) = &mut self.reader {
                    reader.feed(&self.parts, page, self.page_max, &mut self.lanes);
                }
            }
            Err(error) if error.kind() == ErrorKind::Invalid && self.page_max > 1 => {
                self.page_max = self.page_max.div_euclid(2);
            }
            Err(error) if error.is_retryable() && self.sleep.is_some() => {
                self.misread = self.misread.saturating_add(1);
                observe::failed(&self.parts.name, "the log cannot be read", &error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn sent(&mut self, sent: Sent) -> Result<(), Failure> {
        let Sent { published, duplicates, rescheduled, parked, .. } = sent;
        self.pass.published = self.pass.published.saturating_add(published);
        self.pass.duplicates = self.pass.duplicates.saturating_add(duplicates);
        self.pass.rescheduled = self.pass.rescheduled.saturating_add(rescheduled);
        self.pass.parked = self.pass.parked.saturating_add(parked);
        if let Some(failure) = sent.failure {
            return Err(failure);
        }
        if let Some(found) = sent.too_many {
            self.batch_max = self.batch_max.min(found.div_euclid(2)).max(1);
        } else if sent.was_alone {
            self.batch_max = self.parts.batch_max;
        }
        for (which, version, executed) in sent.marked {
            if let Some(lane) = self.lane(which) {
                lane.marked(version, executed);
            }
        }
        let mut full: BTreeMap<Which, Topic> = BTreeMap::new();
        for (ticket, fate) in sent.fates {
            if let Fate::Full(topic) = &fate {
                full.entry(ticket.lane).or_insert_with(|| topic.clone());
            }
            if let Some(lane) = self.lane(ticket.lane) {
                lane.settle(ticket.place, fate);
            }
        }
        let was_too_many = sent.too_many.is_some();
        for which in sent.lanes {
            let sleep = self.sleep.clone();
            let Some(lane) = self.lane(which) else { continue };
            if !lane.landed() {
                continue;
            }
            let tries = lane.failures;
            match sleep {
                _ if was_too_many => lane.wake(),
                None if tries < TRIES_AT_ONCE => lane.wake(),
                None => {}
                Some(_) if lane.is_resting => {}
                Some(sleep) => {
                    lane.is_resting = true;
                    let rest = rest(Arc::clone(&self.parts), sleep, full.remove(&which), tries);
                    self.resting.push(rest.map(move |()| which).boxed());
                }
            }
        }
        Ok(())
    }
}

fn ready<T>(future: &mut Option<BoxFuture<'static, T>>, context: &mut Context<'_>) -> Option<T> {
    let Poll::Ready(output) = future.as_mut()?.poll_unpin(context) else { return None };
    *future = None;
    Some(output)
}
