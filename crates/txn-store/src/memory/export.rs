//! A whole reading, taken at one instant.

use async_trait::async_trait;

use super::{
    corrupt,
    state::{Committed, State},
};
use crate::{
    admin::{Export, Row},
    error::Error,
    store::Position,
};

/// All rows, collected under the lock. Bodies are shared with the store, not copied.
pub(super) struct Rows(std::vec::IntoIter<Row>);

impl Rows {
    pub(super) fn of(state: &State) -> Result<Self, Error> {
        let mut rows = Vec::with_capacity(state.commits.len());
        rows.push(Row::Purged { answers: state.unanswered as u64, events: Position(state.tail as u64) });
        let (mut commits, mut events) = (0, 0);
        for linked in &state.links {
            for commit in state.commits.get(commits..linked.commits).unwrap_or_default() {
                rows.push(Self::commit(state, commit)?);
            }
            let since = |now: usize, before: usize| now.saturating_sub(before) as u64;
            rows.push(Row::Link {
                link: linked.link,
                changes: since(linked.commits, commits),
                events: since(linked.events, events),
                position: Position(linked.events as u64),
            });
            (commits, events) = (linked.commits, linked.events);
        }
        for (name, tenant) in &state.tenants {
            rows.extend(tenant.counter_keys.iter().filter_map(|key| {
                let counter = tenant.counters.get(key)?.counter.clone();
                Some(Row::Counter { tenant: name.clone(), key: key.clone(), counter })
            }));
            rows.extend(tenant.records.iter().map(|(key, record)| {
                Row::Record {
                    tenant: name.clone(),
                    key: key.clone(),
                    record: record.clone(),
                    indexed: record
                        .terms
                        .iter()
                        .filter(|t| tenant.record_terms.contains(&((*t).clone(), key.clone())))
                        .cloned()
                        .collect(),
                }
            }));
            let orphans = tenant.record_terms.iter().filter(|(_, key)| !tenant.records.contains_key(key));
            rows.extend(
                orphans.map(|(term, key)| Row::Orphan { what: format!("index term {term} of no record {key}") }),
            );
        }
        Ok(Self(rows.into_iter()))
    }

    fn commit(state: &State, commit: &Committed) -> Result<Row, Error> {
        let stored = state.tenants.get(&commit.tenant).and_then(|t| t.changes.get(&commit.id));
        Ok(Row::Commit {
            tenant: commit.tenant.clone(),
            id: commit.id.clone(),
            stored: stored.ok_or_else(|| corrupt("a commit without its id"))?.as_ref().clone(),
            entries: state.entries.get(commit.entries.clone()).unwrap_or_default().to_vec(),
            events: state.log.get(commit.events.clone()).unwrap_or_default().iter().flatten().cloned().collect(),
        })
    }
}

#[async_trait]
impl Export for Rows {
    async fn next(&mut self, max: usize) -> Result<Vec<Row>, Error> {
        Ok(self.0.by_ref().take(max).collect())
    }
}
