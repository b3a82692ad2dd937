//! Calls that wait for a lane, and which of them a lane may take together.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use crate::{
    durable::{declared::Declared, jobs::Job, replica::Replica},
    name::Topic,
    queue::Action,
};

/// Calls that are decided together, at most.
const JOBS_MAX: usize = 256;

/// Bytes of messages, after which no further call is taken with them.
const BYTES_MAX: usize = 64 << 20;

/// What the lanes of a process share. A topic is in one lane's hands at a time.
#[derive(Default)]
pub(super) struct State {
    waiting: VecDeque<Waiter>,
    busy: BTreeSet<Topic>,
    /// How many lanes are at work, and whether one of them declares: that one is alone.
    at_work: usize,
    /// Of the lanes for all calls: how many there are, and how many are at work.
    lanes: usize,
    lanes_at_work: usize,
    is_declaring: bool,
    pub(super) replicas: BTreeMap<Topic, Replica>,
    pub(super) declared: Arc<Declared>,
    pub(super) closed: Option<&'static str>,
}

struct Waiter {
    job: Job,
    topics: BTreeSet<Topic>,
    /// It does nothing but extend leases, which end when it comes too late: it goes before others.
    extends: bool,
}

/// What a lane is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lanes {
    All,
    /// Extending leases, and settling while all others are busy: what is done is not done again only because nobody could say so in time. While one of the others is free it takes a topic's calls in their turn, so that those that settle never keep the rest waiting.
    Reserved,
}

/// What a lane has taken.
pub(super) struct Taken {
    pub(super) jobs: Vec<Job>,
    pub(super) topics: BTreeSet<Topic>,
    pub(super) replicas: BTreeMap<Topic, Replica>,
    pub(super) declared: Arc<Declared>,
    pub(super) is_declaring: bool,
    /// Which lane has taken it.
    pub(super) by: Lanes,
}

impl State {
    /// Nothing waits for so many lanes yet.
    pub(super) fn over(lanes: usize) -> Self {
        Self { lanes, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many wait that are of a kind: calls that settle fill nobody's place, and nobody fills theirs.
    pub(super) fn waiting_like(&self, job: &Job) -> usize {
        let is_settling = settles(job);
        self.waiting.iter().filter(|waiter| settles(&waiter.job) == is_settling).count()
    }

    pub(super) fn push(&mut self, job: Job) {
        let (topics, extends) = (job.topics(&self.declared), extends(&job));
        // Those that wait for several topics, or for all, are not passed for ever.
        let is_behind = |waiter: &Waiter| {
            let is_shared = waiter.topics.len() > 1 && !waiter.topics.is_disjoint(&topics);
            waiter.extends || waiter.is_declaration() || is_shared
        };
        let at = if extends {
            self.waiting.iter().rposition(is_behind).map_or(0, |last| last.saturating_add(1))
        } else {
            self.waiting.len()
        };
        self.waiting.insert(at, Waiter { job, topics, extends });
    }

    /// Puts calls back in front, which concern more than was known.
    pub(super) fn push_again(&mut self, jobs: Vec<Job>, also: &BTreeSet<Topic>) {
        for job in jobs.into_iter().rev() {
            let mut topics = job.topics(&self.declared);
            topics.extend(also.iter().filter(|topic| self.declared.topics.contains_key(*topic)).cloned());
            let extends = extends(&job);
            self.waiting.push_front(Waiter { job, topics, extends });
        }
    }

    /// Whether a topic will be looked at anyway.
    pub(super) fn has_look(&self, topic: &Topic) -> bool {
        self.waiting.iter().any(|waiter| waiter.topics.contains(topic))
    }

    /// Takes the first calls whose topics nobody has in hand, and with them all others of these topics, as far as the lane is for them.
    pub(super) fn take(&mut self, lanes: Lanes) -> Option<Taken> {
        self.waiting.retain(|waiter| waiter.job.is_wanted());
        if self.is_declaring {
            return None;
        }
        // One that waits for several topics is not passed by later ones for ever.
        let mut reserved = self.busy.clone();
        let mut chosen = None;
        let are_busy = self.lanes_at_work >= self.lanes;
        let is_meant = |waiter: &Waiter| lanes == Lanes::All || waiter.extends || (are_busy && settles(&waiter.job));
        for (at, waiter) in self.waiting.iter().enumerate() {
            if !is_meant(waiter) && !waiter.is_declaration() {
                if waiter.topics.len() > 1 {
                    reserved.extend(waiter.topics.iter().cloned());
                }
                continue;
            }
            if waiter.is_declaration() {
                if at == 0 && self.at_work == 0 && is_meant(waiter) {
                    chosen = Some(at);
                }
                break;
            }
            if waiter.topics.is_disjoint(&reserved) {
                chosen = Some(at);
                break;
            }
            reserved.extend(waiter.topics.iter().cloned());
        }
        let first = self.waiting.remove(chosen?)?;
        let is_declaring = first.is_declaration();
        let topics = first.topics;
        let mut bytes = first.job.bytes();
        let mut jobs = vec![first.job];
        let mut at = 0;
        while !is_declaring && jobs.len() < JOBS_MAX && bytes < BYTES_MAX {
            let Some(waiter) = self.waiting.get(at) else { break };
            if waiter.is_declaration() {
                break;
            }
            if is_meant(waiter) && waiter.topics.is_subset(&topics) {
                bytes = bytes.saturating_add(waiter.job.bytes());
                jobs.extend(self.waiting.remove(at).map(|waiter| waiter.job));
            } else {
                at = at.saturating_add(1);
            }
        }
        self.busy.extend(topics.iter().cloned());
        self.at_work = self.at_work.saturating_add(1);
        self.lanes_at_work = self.lanes_at_work.saturating_add(usize::from(lanes == Lanes::All));
        self.is_declaring = is_declaring;
        let replicas = topics.iter().filter_map(|topic| self.replicas.remove_entry(topic)).collect();
        Some(Taken { jobs, topics, replicas, declared: Arc::clone(&self.declared), is_declaring, by: lanes })
    }

    /// A lane brings back replicas that are good.
    pub(super) fn bring_back(&mut self, replicas: BTreeMap<Topic, Replica>) {
        for (topic, replica) in replicas {
            // Another may have read further.
            if self.replicas.get(&topic).is_none_or(|known| known.number < replica.number) {
                self.replicas.insert(topic, replica);
            }
        }
    }

    /// A lane is done with what it had taken.
    pub(super) fn free(&mut self, topics: &BTreeSet<Topic>, is_declaring: bool, by: Lanes) {
        self.busy.retain(|topic| !topics.contains(topic));
        self.at_work = self.at_work.saturating_sub(1);
        self.lanes_at_work = self.lanes_at_work.saturating_sub(usize::from(by == Lanes::All));
        self.is_declaring &= !is_declaring;
    }

    /// Everything that waits, when nothing will be done any more.
    pub(super) fn drain(&mut self) -> Vec<Job> {
        self.waiting.drain(..).map(|waiter| waiter.job).collect()
    }
}

const fn settles(job: &Job) -> bool {
    matches!(job, Job::Settle(..))
}

fn extends(job: &Job) -> bool {
    let Job::Settle(_, batch, _) = job else { return false };
    !batch.is_empty() && batch.iter().all(|settle| matches!(settle.action, Action::Extend { .. }))
}

impl Waiter {
    const fn is_declaration(&self) -> bool {
        matches!(self.job, Job::Declare(..))
    }
}
