//! What a caller reads: snapshots, pages and entries, each a transaction of its own.

use std::sync::atomic::Ordering;

use super::{
    decision::Seen,
    lists::{self, List, Of},
    worker::{Log, Worker},
};
use txn_suite::{Checked, only};

use crate::{
    conformance::Failure,
    error::Error,
    query::{Found, Query},
    store::Ask,
};

/// More than any list comes to.
const PAGE: usize = 1_000;

impl Worker {
    /// Reads every list there ever was.
    pub(super) async fn read_everything(mut self) -> Checked<Log> {
        for round in 0..=self.round(self.steps.load(Ordering::SeqCst)) {
            self.snapshot(self.lists(round)).await?;
            for list in self.lists(round).into_iter().filter(|list| list.of != Of::Record) {
                self.read_entries(list).await?;
            }
        }
        Ok(self.log)
    }

    /// Reads some lists of a round.
    pub(super) async fn look(&mut self, round: u64) -> Checked<Vec<Seen>> {
        let mut lists = self.lists(round);
        let wanted = self.random.below(4).saturating_add(1);
        while lists.len() > wanted {
            lists.swap_remove(self.random.below(lists.len()));
        }
        // A store without room may have none for readings: there is nothing to write down then.
        match self.snapshot(lists).await {
            Ok(seen) => Ok(seen),
            Err(Missed::Busy) => Ok(Vec::new()),
            Err(Missed::Failed(failure)) => Err(failure),
        }
    }

    async fn snapshot(&mut self, lists: Vec<List>) -> Result<Vec<Seen>, Missed> {
        let mut ask = Ask::new(self.subject.tenant.clone());
        for list in &lists {
            let key = list.key()?;
            ask = if list.of == Of::Record { ask.record(key) } else { ask.counter(key) };
        }
        let begin = self.now();
        let snapshot = only("snapshot", self.subject.store.get(vec![ask]).await?)?;
        let (mut records, mut counters) = (snapshot.records.into_iter(), snapshot.counters.into_iter());
        let mut seen = Vec::with_capacity(lists.len());
        for list in lists {
            let (key, name) = (list.key()?, list.name()?);
            let (version, values, ops) = match list.of {
                Of::Record => {
                    let record = records.next().flatten();
                    let (values, ops) = lists::told_by_record(&name, record.as_ref())?;
                    (record.map_or(0, |record| record.version), values, ops)
                }
                Of::Counter | Of::Pairs => {
                    let counter = counters.next().flatten();
                    let ops = lists::told_by_counter(&name, list.of, counter.as_ref());
                    (counter.map_or(0, |counter| counter.version), Vec::new(), ops)
                }
            };
            seen.push(Seen { list, key, name, version, values, ops });
        }
        self.write_down("get", begin, seen.iter().flat_map(|seen| seen.ops.clone()).collect());
        Ok(seen)
    }

    /// Reads a page of all records or counters of a round, those that are not there among them, or the entries of one counter.
    pub(super) async fn read_page(&mut self, round: u64) -> Checked {
        let of = Of::counted(round);
        let read = match self.random.below(3) {
            0 => self.read_all(Of::Record, round).await,
            1 => self.read_all(of, round).await,
            _ => {
                let number = u64::try_from(self.random.below(usize::try_from(self.keys).unwrap_or(1))).unwrap_or(0);
                self.read_entries(List { of, round, number }).await
            }
        };
        match read {
            Ok(()) | Err(Missed::Busy) => Ok(()),
            Err(Missed::Failed(failure)) => Err(failure),
        }
    }

    async fn read_all(&mut self, of: Of, round: u64) -> Result<(), Missed> {
        let begin = self.now();
        let found = self.find(&of.all(round)?).await?;
        let mut ops = Vec::new();
        for list in self.lists(round).into_iter().filter(|list| list.of == of) {
            let (key, name) = (list.key()?, list.name()?);
            let row = found.iter().find(|found| match found {
                Found::Record(of, _) | Found::Counter(of, _) => *of == key,
                _ => false,
            });
            match (of, row) {
                (Of::Record, Some(Found::Record(_, record))) => {
                    ops.extend(lists::told_by_record(&name, Some(record))?.1)
                }
                (Of::Record, _) => ops.extend(lists::told_by_record(&name, None)?.1),
                (of, Some(Found::Counter(_, counter))) => ops.extend(lists::told_by_counter(&name, of, Some(counter))),
                (of, _) => ops.extend(lists::told_by_counter(&name, of, None)),
            }
        }
        self.write_down("page", begin, ops);
        Ok(())
    }

    async fn read_entries(&mut self, list: List) -> Result<(), Missed> {
        let begin = self.now();
        let found = self.find(&Query::entries(list.key()?)).await?;
        let op = lists::told_by_entries(&list.name()?, &found)?;
        self.write_down("entries", begin, vec![op]);
        Ok(())
    }

    async fn find(&self, query: &Query) -> Result<Vec<Found>, Missed> {
        let page = self.subject.store.find(&self.subject.tenant, query, None, PAGE).await?;
        match page.next {
            None => Ok(page.items),
            Some(_) => {
                Err(Missed::Failed(Failure::new(format!("{query:?}: more than {PAGE} rows, where fewer were written"))))
            }
        }
    }
}

/// Why a reading did not come about.
enum Missed {
    /// There is no room now.
    Busy,
    Failed(Failure),
}

impl From<Error> for Missed {
    fn from(error: Error) -> Self {
        if error.is_retryable() { Self::Busy } else { Self::Failed(error.into()) }
    }
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Missed> for Failure {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Busy => Self::new("expected room for the readings that close a history, found none"),
            Missed::Failed(failure) => failure,
        }
    }
}
