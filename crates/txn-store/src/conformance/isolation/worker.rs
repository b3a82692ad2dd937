//! One caller: it reads, decides, commits, gives up, asks again, and writes down what it was told.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use txn_change::Change;
use txn_suite::Checked;

use super::{
    decision::Plan,
    history::{Fate, Op, Transaction},
    lists::{self, List, Of},
    turns::{self, Random},
};
use crate::{
    conformance::subject::Subject,
    error::Error,
    scope::Scope,
    store::{Commit, Outcome, Resolution},
};

pub(super) struct Worker {
    pub(super) subject: Subject,
    pub(super) random: Random,
    pub(super) number: u32,
    pub(super) keys: u32,
    /// The order of time, shared by all callers.
    pub(super) clock: Arc<AtomicU64>,
    /// Steps that were begun, by all callers.
    pub(super) steps: Arc<AtomicU64>,
    /// Values given out, to all callers.
    pub(super) values: Arc<AtomicU64>,
    pub(super) log: Log,
}

/// What a caller wrote down.
#[derive(Default)]
pub(super) struct Log {
    pub(super) transactions: Vec<Transaction>,
    /// Changes whose outcome is not known yet, by their place.
    open: Vec<(usize, Change)>,
}

impl Log {
    pub(super) fn join(&mut self, other: Self) {
        let offset = self.transactions.len();
        self.transactions.extend(other.transactions.into_iter().map(|transaction| Transaction {
            behind: transaction.behind.map(|at| at.saturating_add(offset)),
            ..transaction
        }));
    }
}

/// Steps for each list of a round, before all callers go on to new lists.
const STEPS_PER_LIST: u64 = 8;

impl Worker {
    /// Takes so many steps, and tells what it saw.
    pub(super) async fn work(mut self, steps: u32) -> Checked<Log> {
        for step in 0..steps {
            let round = self.round(self.steps.fetch_add(1, Ordering::SeqCst));
            match self.random.below(100) {
                0..10 => drop(self.look(round).await?),
                10..18 => self.read_page(round).await?,
                18..26 => self.settle().await?,
                _ => self.change(round, step).await?,
            }
        }
        Ok(self.log)
    }

    pub(super) fn round(&self, step: u64) -> u64 {
        step.checked_div(STEPS_PER_LIST.saturating_mul(2).saturating_mul(self.keys.into())).unwrap_or(0)
    }

    pub(super) fn lists(&self, round: u64) -> Vec<List> {
        let numbers = || 0..u64::from(self.keys);
        let list = |of| numbers().map(move |number| List { of, round, number });
        list(Of::Record).chain(list(Of::counted(round))).collect()
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn name(&self, what: &str) -> String {
        format!("{}.{} {what}", self.number, self.log.transactions.len())
    }

    pub(super) fn write_down(&mut self, what: &str, begin: u64, ops: Vec<Op>) -> usize {
        let transaction = Transaction { ops, ..Transaction::new(self.name(what), begin, self.now()) };
        self.log.transactions.push(transaction);
        self.log.transactions.len().saturating_sub(1)
    }

    /// Reads, decides, and commits or gives up.
    async fn change(&mut self, round: u64, step: u32) -> Checked {
        let mut first = self.look(round).await?;
        let Some(list) = first.first().map(|seen| seen.list) else { return Ok(()) };
        // Others decide meanwhile.
        for _ in 0..self.random.below(4) {
            turns::turn().await;
        }
        let is_pair = first.len() > 1 && self.random.percent(30);
        let second = if is_pair {
            first.split_off(self.random.below(first.len().saturating_sub(1)).saturating_add(1))
        } else {
            Vec::new()
        };
        let mut plans = Vec::new();
        for (place, seen) in [first, second].iter().enumerate().filter(|(_, seen)| !seen.is_empty()) {
            let (id, values) = (format!("{}/{step}/{place}", self.number), &self.values);
            let value = || values.fetch_add(1, Ordering::SeqCst);
            plans.push(Plan::decide(&id, seen, &mut self.random, value)?);
        }
        if let [first, second] = plans.as_mut_slice()
            && self.random.percent(70)
        {
            second.stand_behind(first);
        }
        if self.random.percent(6)
            && let Some(last) = plans.last_mut()
        {
            last.spoil(list, &mut self.random)?;
        }
        if self.random.percent(10) {
            self.give_up(plans).await
        } else {
            self.commit(plans).await
        }
        Ok(())
    }

    fn batch<'p>(&self, changes: impl IntoIterator<Item = &'p Change>) -> Vec<Commit> {
        let commit = |change: &Change| Commit { tenant: self.subject.tenant.clone(), change: change.clone() };
        changes.into_iter().map(commit).collect()
    }

    async fn commit(&mut self, plans: Vec<Plan>) {
        let begin = self.now();
        let results = self.subject.store.commit(self.batch(plans.iter().map(|plan| &plan.change))).await;
        let mut behind = None;
        for (Plan { change, ops }, result) in plans.into_iter().zip(results) {
            let at = self.write_down("commit", begin, ops);
            self.tell(at, change, result);
            if let Some(transaction) = self.log.transactions.get_mut(at) {
                transaction.behind = behind.replace(at);
            }
        }
    }

    /// Writes down what became of a change.
    fn tell(&mut self, at: usize, change: Change, result: Result<Outcome, Error>) {
        let end = self.now();
        let Some(transaction) = self.log.transactions.get_mut(at) else { return };
        let begin = transaction.begin;
        match result {
            Ok(Outcome::Done(_)) => (transaction.fate, transaction.end) = (Fate::Done, Some(end)),
            Ok(Outcome::Unknown(_)) => {
                (transaction.fate, transaction.end) = (Fate::Unknown, None);
                self.log.open.push((at, change));
            }
            Err(_) => transaction.fate = Fate::Refused,
            Ok(Outcome::Refused(refusal)) => {
                transaction.fate = Fate::Refused;
                if let Some(op) = lists::told_by_refusal(&refusal) {
                    self.write_down("refusal", begin, vec![op]);
                }
            }
        }
    }

    /// Begins a commit and drops it: nobody knows then.
    async fn give_up(&mut self, plans: Vec<Plan>) {
        let begin = self.now();
        let batch = self.batch(plans.iter().map(|plan| &plan.change));
        let polls = self.random.below(4);
        turns::give_up(polls, self.subject.store.commit(batch)).await;
        for Plan { change, ops } in plans {
            let at = self.write_down("dropped commit", begin, ops);
            if let Some(transaction) = self.log.transactions.get_mut(at) {
                (transaction.fate, transaction.end) = (Fate::Unknown, None);
            }
            self.log.open.push((at, change));
        }
    }

    /// Settles what is not known, or asks for it again.
    async fn settle(&mut self) -> Checked {
        if self.log.open.is_empty() {
            return Ok(());
        }
        let (at, change) = self.log.open.swap_remove(self.random.below(self.log.open.len()));
        if self.random.percent(50) {
            let begin = self.now();
            let mut results = self.subject.store.commit(self.batch([&change])).await;
            match results.pop() {
                Some(Ok(Outcome::Refused(refusal))) => {
                    if let Some(op) = lists::told_by_refusal(&refusal) {
                        self.write_down("refusal", begin, vec![op]);
                    }
                }
                Some(Ok(done @ Outcome::Done(_))) => self.tell(at, change, Ok(done)),
                _ => self.log.open.push((at, change)),
            }
            return Ok(());
        }
        let scope = Scope::new(self.subject.store.clone(), self.subject.tenant.clone());
        let resolved = scope.resolve(&change.id).await;
        let end = self.now();
        let Some(transaction) = self.log.transactions.get_mut(at) else { return Ok(()) };
        match resolved {
            Ok(Resolution::Done(_)) => (transaction.fate, transaction.end) = (Fate::Done, Some(end)),
            Ok(Resolution::NotDone) => transaction.fate = Fate::Refused,
            Err(error) if error.is_retryable() => self.log.open.push((at, change)),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
