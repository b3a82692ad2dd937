//! One store under test, with its clock and the few calls that nearly every scenario makes.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use txn_change::{Change, Counter, Key, Lanes, Record, Refusal, Tenant, Timestamp};
use txn_suite::{Checked, Run, only, race, some, within};

use super::{Failure, harness::Backend};
use crate::{
    admin::{Health, Row, StoreAdmin},
    clock::ManualClock,
    limits::StoreLimits,
    query::{Found, Query},
    store::{Ask, Commit, LogItem, Outcome, Position, Receipt, Snapshot},
};

/// A store, and the tenant `subject` in it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) store: Arc<dyn StoreAdmin>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) tenant: Tenant,
    backend: Arc<dyn Backend>,
    place: String,
    limits: StoreLimits,
}

/// Everything a store holds, in an order that does not depend on the backend.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Contents {
    /// How far the store was purged: changes, and a position.
    pub(super) purged: Option<(u64, Position)>,
    pub(super) commits: Vec<Row>,
    /// The links, each with how many commits stand before it.
    pub(super) links: Vec<(usize, Row)>,
    pub(super) counters: Vec<Row>,
    pub(super) records: Vec<Row>,
    pub(super) orphans: Vec<Row>,
}

/// 2030-01-01T00:00:00Z, where every clock of the suite begins.
pub(super) const START: Timestamp = Timestamp::from_nanos(1_893_456_000_000_000_000);

impl Subject {
    pub(super) async fn open(backend: Arc<dyn Backend>, place: String, limits: StoreLimits) -> Checked<Self> {
        let clock = Arc::new(ManualClock::at(START));
        let store = backend.open(&place, Arc::clone(&clock) as _, limits).await?;
        Ok(Self { store, clock, tenant: Tenant::new("subject")?, backend, place, limits })
    }

    /// Closes the store and opens it again. No clone of this subject may be alive.
    pub(super) async fn reopened(self) -> Checked<Self> {
        let Self { store, clock, tenant, backend, place, limits } = self;
        backend.close(store).await;
        let store = backend.open(&place, Arc::clone(&clock) as _, limits).await?;
        Ok(Self { store, clock, tenant, backend, place, limits })
    }

    /// The same store, seen by another tenant.
    pub(super) fn tenant(&self, tenant: &str) -> Checked<Self> {
        Ok(Self { tenant: Tenant::new(tenant)?, ..self.clone() })
    }

    pub(super) async fn batch(&self, changes: Vec<Change>) -> Checked<Vec<Outcome>> {
        let wanted = changes.len();
        let commits = changes.into_iter().map(|change| Commit { tenant: self.tenant.clone(), change }).collect();
        let outcomes: Vec<Outcome> = self.store.commit(commits).await.into_iter().collect::<Result<_, _>>()?;
        if outcomes.len() == wanted {
            return Ok(outcomes);
        }
        Err(Failure::new(format!("expected {wanted} results for {wanted} changes, found {}", outcomes.len())))
    }

    pub(super) async fn commit(&self, change: Change) -> Checked<Outcome> {
        only("result", self.batch(vec![change]).await?)
    }

    pub(super) async fn done(&self, change: Change) -> Checked<Receipt> {
        done(self.commit(change).await?)
    }

    pub(super) async fn refused(&self, change: Change) -> Checked<Refusal> {
        refused(self.commit(change).await?)
    }

    pub(super) fn ask(&self) -> Ask {
        Ask::new(self.tenant.clone())
    }

    pub(super) async fn get(&self, ask: Ask) -> Checked<Snapshot> {
        only("snapshot", self.store.get(vec![ask]).await?)
    }

    pub(super) async fn record(&self, key: &Key) -> Checked<Option<Record>> {
        only("record", self.get(self.ask().record(key.clone())).await?.records)
    }

    /// A record's version, 0 when it is absent.
    pub(super) async fn version(&self, key: &Key) -> Checked<u64> {
        Ok(self.record(key).await?.map_or(0, |record| record.version))
    }

    pub(super) async fn counter(&self, key: &Key) -> Checked<Counter> {
        let found = only("counter", self.get(self.ask().counter(key.clone())).await?.counters)?;
        some(&format!("the counter {key}"), found)
    }

    pub(super) async fn lanes(&self, key: &Key) -> Checked<[i128; 4]> {
        Ok(self.counter(key).await?.lanes.0)
    }

    /// Every row that a query finds, read in pages of `limit`.
    pub(super) async fn all(&self, query: &Query, limit: usize) -> Checked<Vec<Found>> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.find(&self.tenant, query, after.as_ref(), limit).await?;
            let count = page.items.len();
            if count > limit || (count == 0 && page.next.is_some()) {
                return Err(Failure::new(format!(
                    "{query:?}: a page of {count} items, at most {limit} were asked for"
                )));
            }
            found.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// The whole log, read in pages of `limit`.
    pub(super) async fn log(&self, limit: usize) -> Checked<Vec<LogItem>> {
        let (mut items, mut after) = (Vec::new(), Position::default());
        loop {
            let page = self.store.read(after, limit).await?;
            match page.items.last() {
                Some(last) => after = last.position,
                None => return Ok(items),
            }
            items.extend(page.items);
        }
    }

    /// What the events after this position say.
    pub(super) async fn log_after(&self, mut after: Position, limit: usize) -> Checked<Vec<Vec<u8>>> {
        let mut said = Vec::new();
        loop {
            let page = self.store.read(after, limit).await?;
            match page.items.last() {
                Some(last) => after = last.position,
                None => return Ok(said),
            }
            said.extend(page.items.iter().map(|item| item.recorded.event.body.bytes().to_vec()));
        }
    }

    /// How the store is, once everything is chained: a backend may chain a moment after it has answered.
    pub(super) async fn settled(&self) -> Checked<Health> {
        let chained = async {
            loop {
                let health = self.store.health().await?;
                if health.unchained == 0 {
                    return Ok(health);
                }
            }
        };
        within(20, "chaining", chained).await?
    }

    /// Everything, once it is chained, as exported in parts of `max` rows.
    pub(super) async fn contents(&self, max: usize) -> Checked<Contents> {
        self.settled().await?;
        self.contents_now(max).await
    }

    /// Everything, as exported in parts of `max` rows, while others may be writing.
    pub(super) async fn contents_now(&self, max: usize) -> Checked<Contents> {
        let (mut export, mut contents) = (self.store.export().await?, Contents::default());
        loop {
            let rows = export.next(max).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                contents.take(row)?;
            }
        }
        contents.counters.sort_by_cached_key(place_of);
        contents.records.sort_by_cached_key(place_of);
        Ok(contents)
    }

    /// Runs each future on a thread of its own.
    pub(super) async fn race<T: Send + 'static>(&self, jobs: Vec<BoxFuture<'static, T>>) -> Checked<Vec<T>> {
        let backend = Arc::clone(&self.backend);
        let run: Run = Arc::new(move |future| backend.run(future));
        race(&run, jobs).await
    }

    /// Commits each change from a thread of its own; the outcomes in order.
    pub(super) async fn race_commits(&self, changes: Vec<Change>) -> Checked<Vec<Outcome>> {
        let job = |change: Change| -> BoxFuture<'static, Checked<Outcome>> {
            let subject = self.clone();
            Box::pin(async move { subject.commit(change).await })
        };
        self.race(changes.into_iter().map(job).collect()).await?.into_iter().collect()
    }
}

impl Contents {
    fn take(&mut self, row: Row) -> Checked {
        match row {
            Row::Commit { .. } | Row::Link { .. } if !(self.counters.is_empty() && self.records.is_empty()) => {
                return Err(Failure::new(format!("expected all changes before all else, found {row:?} behind")));
            }
            Row::Commit { .. } => self.commits.push(row),
            Row::Link { .. } => self.links.push((self.commits.len(), row)),
            Row::Counter { .. } => self.counters.push(row),
            Row::Record { tenant, key, record, mut indexed } => {
                indexed.sort();
                indexed.dedup();
                self.records.push(Row::Record { tenant, key, record, indexed });
            }
            Row::Orphan { .. } => self.orphans.push(row),
            Row::Purged { answers, events } => {
                let is_first = self.purged.is_none() && self.commits.is_empty() && self.links.is_empty();
                self.purged = Some((answers, events));
                if !is_first {
                    return Err(Failure::new("expected once, and first of all, how far the store was purged"));
                }
            }
        }
        Ok(())
    }
}

fn place_of(row: &Row) -> Option<(Tenant, Key)> {
    match row {
        Row::Counter { tenant, key, .. } | Row::Record { tenant, key, .. } => Some((tenant.clone(), key.clone())),
        Row::Commit { .. } | Row::Link { .. } | Row::Orphan { .. } | Row::Purged { .. } => None,
    }
}

pub(super) fn done(outcome: Outcome) -> Checked<Receipt> {
    match outcome {
        Outcome::Done(receipt) => Ok(receipt),
        other => Err(Failure::new(format!("expected Done, found {other:?}"))),
    }
}

pub(super) fn refused(outcome: Outcome) -> Checked<Refusal> {
    match outcome {
        Outcome::Refused(refusal) => Ok(refusal),
        other => Err(Failure::new(format!("expected Refused, found {other:?}"))),
    }
}

/// How many were committed by this very call.
pub(super) fn count_new(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Done(receipt) if !receipt.replayed)).count()
}

/// Sums lane by lane; the scenarios' numbers are far from the range's ends.
pub(super) fn sum(lanes: impl IntoIterator<Item = [i128; 4]>) -> Checked<[i128; 4]> {
    let add = |sum: Lanes, lanes| sum.checked_add(Lanes(lanes));
    some("a sum within 128 bits", lanes.into_iter().try_fold(Lanes::ZERO, add)).map(|lanes| lanes.0)
}
