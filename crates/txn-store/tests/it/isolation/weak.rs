//! A store with one weakness: it stands before a whole one and breaks one promise, now and then.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
};

use async_trait::async_trait;
use txn_change::{Change, ChangeId, Expect, Fingerprint, Key, Link, Record, Refusal, Tenant, Timestamp};
use txn_store::{
    Ask, Commit, Cursor, Erase, Error, Export, Freshness, Health, LogPage, Outcome, Page, Position, Purge, Purged,
    Query, Receipt, Snapshot, Store, StoreAdmin,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weakness {
    /// Does not look at the version of a record that is only required.
    DropsRequire,
    /// Nor, of those, at the absent ones alone.
    DropsRequireAbsent,
    /// Does not look at conditions.
    DropsHold,
    /// Takes every put as if it expected what is there.
    IgnoresExpect,
    /// Serves one record of each round from a cache that it renews too seldom.
    ServesStale,
    /// Reads one half of a snapshot, and the other a moment later.
    TearsSnapshots,
    /// Leaves the last row out of a page.
    HidesRows,
    /// Says done, and forgets.
    AcknowledgesOnly,
    /// Says done, and commits with the next call.
    AcknowledgesEarly,
    /// Adds to counters twice.
    CommitsTwice,
    /// Adds to counters although it refuses.
    WritesWhatItRefuses,
    /// Answers that an id is not done without looking.
    SettlesBlindly,
    /// Writes the records first, and adds to the counters a moment later.
    CommitsInHalves,
    /// Adds to each counter once, and adds what else there is for it a moment later.
    AddsOneByOne,
    /// Says of every conflict that the record is absent.
    MisstatesVersions,
}

pub(super) struct Weak {
    weakness: Weakness,
    whole: Arc<dyn StoreAdmin>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: u64,
    cache: BTreeMap<Key, (u64, Option<Record>)>,
    late: Vec<Commit>,
}

async fn turn() {
    let mut has_waited = false;
    poll_fn(move |context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut has_waited, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn acknowledged(change: &Change) -> Result<Outcome, Error> {
    Ok(Outcome::Done(Receipt {
        answer: change.answer.clone(),
        replayed: false,
        recorded_at: Timestamp::EPOCH,
        freshness: Freshness::default(),
        head: Link::default(),
    }))
}

/// The additions of a change alone, under another id.
fn additions(commit: &Commit) -> Commit {
    let id = ChangeId::new(format!("{}/additions", commit.change.id)).unwrap();
    let change = Change { add: commit.change.add.clone(), ..Change::new(id, commit.change.fingerprint) };
    Commit { change, ..commit.clone() }
}

/// Leaves a change the first addition to each counter; gives the others.
fn split(commit: &mut Commit) -> Commit {
    let mut later = additions(commit);
    let mut seen: Vec<Key> = Vec::new();
    let (first, more) = std::mem::take(&mut commit.change.add).into_iter().partition(|add| {
        let is_first = !seen.contains(&add.counter);
        seen.push(add.counter.clone());
        is_first
    });
    (commit.change.add, later.change.add) = (first, more);
    later
}

impl Weak {
    pub(super) fn new(weakness: Weakness, whole: Arc<dyn StoreAdmin>) -> Self {
        Self { weakness, whole, state: Mutex::default() }
    }

    fn nth_call(&self, nth: u64) -> bool {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        state.calls.is_multiple_of(nth)
    }

    fn weaken(&self, change: &mut Change) {
        match self.weakness {
            Weakness::DropsRequire => change.require.clear(),
            Weakness::DropsRequireAbsent => change.require.retain(|require| require.expect != Expect::Absent),
            Weakness::DropsHold => change.hold.clear(),
            _ => {}
        }
    }

    async fn ignore_expectations(&self, batch: &mut [Commit]) {
        for Commit { tenant, change } in batch {
            for put in &mut change.put {
                let ask = Ask::new(tenant.clone()).record(put.key.clone());
                let found = self.whole.get(vec![ask]).await.unwrap().remove(0).records.remove(0);
                put.expect = Expect::of(found.map(|record| record.version));
            }
        }
    }

    async fn commit_late(&self) {
        let late = std::mem::take(&mut self.state.lock().unwrap().late);
        if !late.is_empty() {
            self.whole.commit(late).await;
        }
    }

    /// Commits a batch without what is then committed behind it.
    async fn commit_in_halves(
        &self,
        mut batch: Vec<Commit>,
        strip: fn(&mut Commit) -> Commit,
    ) -> Vec<Result<Outcome, Error>> {
        let later: Vec<Commit> = batch.iter_mut().map(strip).collect();
        let results = self.whole.commit(batch).await;
        turn().await;
        turn().await;
        let done = results.iter().zip(later).filter(|(result, _)| matches!(result, Ok(Outcome::Done(_))));
        self.whole.commit(done.map(|(_, later)| later).collect()).await;
        results
    }

    /// The first record of a round, as it was up to four readings ago.
    fn cached(&self, key: &Key, now: Option<Record>) -> Option<Record> {
        let mut state = self.state.lock().unwrap();
        let (age, record) = state.cache.entry(key.clone()).or_insert_with(|| (0, now.clone()));
        *age += 1;
        if age.is_multiple_of(4) {
            record.clone_from(&now);
        }
        record.clone()
    }
}

#[async_trait]
impl Store for Weak {
    async fn commit(&self, mut batch: Vec<Commit>) -> Vec<Result<Outcome, Error>> {
        let is_settling = batch.iter().any(|commit| commit.change.fingerprint == Fingerprint::NOT_DONE);
        batch.iter_mut().for_each(|commit| self.weaken(&mut commit.change));
        match self.weakness {
            Weakness::IgnoresExpect => self.ignore_expectations(&mut batch).await,
            Weakness::AcknowledgesOnly if !is_settling && self.nth_call(12) => {
                return batch.iter().map(|commit| acknowledged(&commit.change)).collect();
            }
            Weakness::AcknowledgesEarly => {
                self.commit_late().await;
                if !is_settling && self.nth_call(6) {
                    self.state.lock().unwrap().late.clone_from(&batch);
                    return batch.iter().map(|commit| acknowledged(&commit.change)).collect();
                }
            }
            Weakness::SettlesBlindly if is_settling => {
                return batch.iter().map(|commit| acknowledged(&commit.change)).collect();
            }
            Weakness::CommitsInHalves => {
                let strip = |commit: &mut Commit| {
                    let later = additions(commit);
                    commit.change.add.clear();
                    later
                };
                return self.commit_in_halves(batch, strip).await;
            }
            Weakness::AddsOneByOne => return self.commit_in_halves(batch, split).await,
            _ => {}
        }
        let mut results = self.whole.commit(batch.clone()).await;
        for (result, commit) in results.iter_mut().zip(&batch) {
            match (self.weakness, result) {
                (Weakness::CommitsTwice, Ok(Outcome::Done(_)))
                | (Weakness::WritesWhatItRefuses, Ok(Outcome::Refused(_))) => {
                    self.whole.commit(vec![additions(commit)]).await;
                }
                (Weakness::MisstatesVersions, Ok(Outcome::Refused(Refusal::Conflict { actual, .. }))) => {
                    *actual = Expect::Absent;
                }
                _ => {}
            }
        }
        results
    }

    async fn get(&self, asks: Vec<Ask>) -> Result<Vec<Snapshot>, Error> {
        let mut snapshots = self.whole.get(asks.clone()).await?;
        match self.weakness {
            Weakness::ServesStale => {
                for (ask, snapshot) in asks.iter().zip(&mut snapshots) {
                    for (key, record) in ask.records.iter().zip(&mut snapshot.records) {
                        if key.to_string().ends_with("/0") {
                            *record = self.cached(key, record.take());
                        }
                    }
                }
            }
            Weakness::TearsSnapshots => {
                turn().await;
                turn().await;
                for (snapshot, later) in snapshots.iter_mut().zip(self.whole.get(asks).await?) {
                    snapshot.counters = later.counters;
                }
            }
            _ => {}
        }
        Ok(snapshots)
    }

    async fn find(&self, tenant: &Tenant, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, Error> {
        let mut page = self.whole.find(tenant, query, after, limit).await?;
        if self.weakness == Weakness::HidesRows && self.nth_call(3) {
            page.items.pop();
        }
        Ok(page)
    }

    async fn read(&self, after: Position, limit: usize) -> Result<LogPage, Error> {
        self.whole.read(after, limit).await
    }

    async fn watch(&self, after: Position) -> Result<Position, Error> {
        self.whole.watch(after).await
    }
}

#[async_trait]
impl StoreAdmin for Weak {
    async fn export(&self) -> Result<Box<dyn Export>, Error> {
        self.whole.export().await
    }

    async fn health(&self) -> Result<Health, Error> {
        self.whole.health().await
    }

    async fn erase(&self, tenant: &Tenant, what: Vec<Erase>) -> Result<u64, Error> {
        self.whole.erase(tenant, what).await
    }

    async fn purge(&self, what: Purge, before: Timestamp, max: usize) -> Result<Purged, Error> {
        self.whole.purge(what, before, max).await
    }
}
