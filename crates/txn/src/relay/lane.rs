//! A lane: what one cursor's share of the log has come to, what of it may go next, and how far it is done. No I/O.
//!
//! Events of one subject have one *order*. Of an order, nothing goes before what stands before it is settled, but for messages to the same topic, which may go in one batch: a topic takes those of a batch
//! in their order, and none behind one that it had no room for.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use txn_change::{ChangeId, Fence, Tenant, Timestamp};
use txn_queue::{Address, Message, Reschedule, ScheduleKey, Topic};
use txn_store::{Consumer, Position};

use crate::leases::Held;

/// So far the log is read beyond the first event of a lane that is not done, at most: as much is read again after a crash.
const AHEAD_MAX: u64 = 65_536;
/// So many moves and cancellations that are carried out beyond it are remembered, at most, but for those that are read: they are one record.
const EXECUTED_MAX: usize = 8_192;

/// An event in its lane, as far as it is not done.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) position: Position,
    /// Where the change before its own ends: as far may be acknowledged while it is not done.
    pub(super) before: Position,
    pub(super) order: u64,
    pub(super) from: Arc<From>,
    /// What is not done.
    pub(super) steps: VecDeque<Step>,
    pub(super) bytes: usize,
}

/// What is kept of an event with a message that is parked.
#[derive(Debug, Clone)]
pub(super) struct From {
    pub(super) tenant: Tenant,
    pub(super) change: ChangeId,
    pub(super) index: u32,
    pub(super) kind: Arc<str>,
    pub(super) recorded_at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) nth: u32,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Publish(Address, Arc<Message>),
    Reschedule(Reschedule),
    /// The mapping gave the event up.
    Park(Arc<str>),
}

/// Which step of which event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) position: u64,
    pub(super) nth: u32,
}

impl Place {
    /// In the place of a number: the event as a whole.
    pub(super) const WHOLE: u32 = u32::MAX;
}

/// Which lane, in which of its lives here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Which {
    pub(super) lane: u32,
    pub(super) life: u64,
}

/// Which step of which lane.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) lane: Which,
    pub(super) place: Place,
    pub(super) from: Arc<From>,
}

/// What goes to the queue, and to the store before it, in one go.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lanes: Vec<Which>,
    pub(super) marks: Vec<Mark>,
    pub(super) publishes: Vec<(Ticket, (Address, Arc<Message>))>,
    pub(super) reschedules: Vec<(Ticket, Reschedule)>,
    pub(super) parks: Vec<(Ticket, Arc<str>)>,
}

/// The moves and cancellations that a lane has carried out and not acknowledged, to be remembered.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) lane: Which,
    pub(super) fence: Fence,
    pub(super) version: u64,
    pub(super) executed: BTreeSet<Place>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.publishes.len().saturating_add(self.reschedules.len()).saturating_add(self.parks.len())
    }
}

/// What became of a step.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It is done, and never done again on purpose.
    Done,
    /// It is done: a message was moved or cancelled, or there was none.
    Executed(ScheduleKey),
    /// There was no room in the topic.
    Full(Topic),
    /// It may be tried again.
    Again,
}

pub(super) struct Lane {
    pub(super) held: Held,
    pub(super) life: u64,
    /// Away while an acknowledgement is on its way.
    pub(super) consumer: Option<Consumer>,
    /// As far as everything has been given to it.
    pub(super) fed: Position,
    /// Where the last change ends that has been given to it as a whole.
    pub(super) boundary: Position,
    pub(super) acknowledged: Position,
    pub(super) items: VecDeque<Item>,
    /// Of these, what is done, until its batch has landed.
    emptied: usize,
    /// Bytes of what is not done.
    pub(super) bytes: usize,
    pub(super) is_in_flight: bool,
    /// Orders that wait for room.
    waiting: HashSet<u64>,
    /// All of it waits.
    is_held: bool,
    /// Somebody waits for what it waits for, and will wake it.
    pub(super) is_resting: bool,
    /// It takes nothing more: it is given to another process.
    pub(super) is_leaving: bool,
    /// How often in a row it had to wait.
    pub(super) failures: u32,
    /// Events that were done since the last acknowledgement.
    pub(super) done: u64,
    /// Moves and cancellations that are carried out and not acknowledged, and which of them the store knows of.
    executed: BTreeSet<Place>,
    marked: BTreeSet<Place>,
    mark_version: u64,
    /// The last of them for each schedule key.
    keys: HashMap<ScheduleKey, Place>,
}

impl Lane {
    pub(super) fn new(held: Held, life: u64, consumer: Consumer, mark: (u64, BTreeSet<Place>)) -> Self {
        let at = consumer.acknowledged();
        Self {
            held,
            life,
            consumer: Some(consumer),
            fed: at,
            boundary: at,
            acknowledged: at,
            items: VecDeque::new(),
            emptied: 0,
            bytes: 0,
            is_in_flight: false,
            waiting: HashSet::new(),
            is_held: false,
            is_resting: false,
            is_leaving: false,
            failures: 0,
            done: 0,
            executed: mark.1.clone(),
            marked: mark.1,
            mark_version: mark.0,
            keys: HashMap::new(),
        }
    }

    pub(super) fn which(&self) -> Which {
        Which { lane: self.held.number, life: self.life }
    }

    /// Takes what has been read for it, up to a position; steps that the store knows to be carried out are left out.
    pub(super) fn feed(&mut self, mut item: Item) {
        self.fed = item.position;
        let position = item.position.0;
        item.steps.retain(|step| !self.marked.contains(&Place { position, nth: step.nth }));
        if item.steps.is_empty() {
            self.done = self.done.saturating_add(1);
        } else {
            self.bytes = self.bytes.saturating_add(item.bytes);
            self.items.push_back(item);
        }
    }

    /// As far as everything before is done.
    pub(super) fn done_up_to(&self) -> Position {
        self.items.front().map_or(self.boundary, |item| item.before).max(self.acknowledged)
    }

    /// Whether it waits at a place that the reading of the log must not go on from any farther.
    pub(super) fn is_far_behind(&self, read: Position) -> bool {
        self.items.front().is_some_and(|item| {
            read.0.saturating_sub(item.position.0) >= AHEAD_MAX || self.executed.len() >= EXECUTED_MAX
        })
    }

    /// Adds what may go now, until the batch is full. Nothing while a batch of its own is on its way.
    pub(super) fn take(&mut self, max: usize, batch: &mut Batch) {
        if self.is_in_flight || self.is_held || self.is_leaving || self.items.is_empty() {
            return;
        }
        let before = batch.len();
        let lane = self.which();
        let mut stopped = self.waiting.clone();
        let mut sent: HashMap<u64, Option<&Topic>> = HashMap::new();
        let mut wants_mark = false;
        'items: for item in self.items.iter().filter(|item| !item.steps.is_empty()) {
            if stopped.contains(&item.order) {
                continue;
            }
            for step in &item.steps {
                if batch.len() >= max {
                    break 'items;
                }
                let place = Place { position: item.position.0, nth: step.nth };
                let ticket = || Ticket { lane, place, from: Arc::clone(&item.from) };
                let earlier = sent.get(&item.order).copied();
                let schedule_key = match &step.what {
                    What::Publish(to, message) => {
                        let topic = if let Address::Topic(topic) = to { Some(topic) } else { None };
                        if earlier.is_some_and(|earlier| earlier.is_none() || earlier != topic) {
                            stopped.insert(item.order);
                            continue 'items;
                        }
                        sent.insert(item.order, topic);
                        batch.publishes.push((ticket(), (to.clone(), Arc::clone(message))));
                        message.schedule_key.as_ref()
                    }
                    // What comes after it must not overtake it.
                    What::Reschedule(_) | What::Park(_) if earlier.is_some() => {
                        stopped.insert(item.order);
                        continue 'items;
                    }
                    What::Reschedule(reschedule) => {
                        sent.insert(item.order, None);
                        batch.reschedules.push((ticket(), reschedule.clone()));
                        Some(&reschedule.key)
                    }
                    What::Park(reason) => {
                        batch.parks.push((ticket(), Arc::clone(reason)));
                        None
                    }
                };
                // Were the key's last move or cancellation carried out again after a crash, it would hit what goes now.
                wants_mark |=
                    schedule_key.and_then(|key| self.keys.get(key)).is_some_and(|last| !self.marked.contains(last));
            }
        }
        if batch.len() > before {
            self.is_in_flight = true;
            batch.lanes.push(lane);
            if wants_mark {
                let (fence, version, executed) = (self.held.fence(), self.mark_version, self.executed.clone());
                batch.marks.push(Mark { lane, fence, version, executed });
            }
        }
    }

    /// What became of a step that was taken.
    pub(super) fn settle(&mut self, place: Place, fate: Fate) {
        let found = self.items.binary_search_by_key(&place.position, |item| item.position.0);
        let Some(item) = found.ok().and_then(|at| self.items.get_mut(at)) else { return };
        match fate {
            Fate::Full(_) => {
                self.waiting.insert(item.order);
                return;
            }
            Fate::Again => {
                self.is_held = true;
                return;
            }
            Fate::Done => {}
            Fate::Executed(key) => {
                self.executed.insert(place);
                self.keys.insert(key, place);
            }
        }
        let had_any = !item.steps.is_empty();
        item.steps.retain(|step| step.nth != place.nth);
        self.emptied = self.emptied.saturating_add((had_any && item.steps.is_empty()).into());
    }

    /// Its batch has come back; says whether some of it must wait.
    pub(super) fn landed(&mut self) -> bool {
        self.is_in_flight = false;
        self.drop_done();
        let waits = self.is_held || !self.waiting.is_empty();
        self.failures = match waits {
            true if self.is_resting => self.failures,
            true => self.failures.saturating_add(1),
            false => 0,
        };
        waits
    }

    /// What is done takes no room, also behind what is not.
    fn drop_done(&mut self) {
        // As a rule all of it stands in front.
        while self.items.front().is_some_and(|item| item.steps.is_empty()) {
            let done = self.items.pop_front();
            self.dropped(done.map_or(0, |item| item.bytes));
        }
        if self.emptied > 0 {
            let is_done = |item: &&Item| item.steps.is_empty();
            let bytes = self.items.iter().filter(is_done).map(|item| item.bytes).collect::<Vec<_>>();
            self.items.retain(|item| !item.steps.is_empty());
            bytes.into_iter().for_each(|bytes| self.dropped(bytes));
        }
    }

    fn dropped(&mut self, bytes: usize) {
        self.emptied = self.emptied.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.done = self.done.saturating_add(1);
    }

    /// What waited may be tried again.
    pub(super) fn wake(&mut self) {
        (self.is_held, self.is_resting) = (false, false);
        self.waiting.clear();
    }

    /// The store knows of these.
    pub(super) fn marked(&mut self, version: u64, executed: BTreeSet<Place>) {
        (self.mark_version, self.marked) = (version, executed);
    }

    /// The cursor stands there now.
    pub(super) fn acknowledged(&mut self, position: Position) {
        self.acknowledged = position;
        self.done = 0;
        self.executed.retain(|place| place.position > position.0);
        self.keys.retain(|_, place| place.position > position.0);
    }
}
