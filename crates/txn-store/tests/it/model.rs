//! A naive store: what a store should do, written down in the most obvious way, as the oracle of random histories.
//!
//! It shares the plain data with the store and nothing of its judgement: no evaluator, no view, no index. Lanes are the sum of all deltas ever added, a fence is the
//! greatest token ever given, a fact is looked for in the whole log, and a change is tried on a copy of everything.

mod consumers;
mod erase;
mod numbers;
mod purge;

use std::collections::BTreeMap;

use txn_change::{
    Body, Change, ChangeId, Entry, Expect, FactId, FenceName, Invalid, Key, Limits, Record, Refusal, Stored, Tenant,
    Timestamp,
};
use txn_store::Recorded;

pub(crate) use consumers::tail_key;
pub(crate) use purge::Told;

use consumers::Cursor;
use numbers::Tally;

/// What the model says of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Done { stored: Stored, replayed: bool },
    Refused(Refusal),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) houses: BTreeMap<Tenant, House>,
    /// Every event that was ever appended, the first at position 1.
    pub(crate) log: Vec<Logged>,
    /// In their order.
    pub(crate) commits: Vec<Committed>,
    /// The log was purged up to here.
    pub(crate) tail: u64,
    /// Among so many changes from the first, answers were purged.
    pub(crate) unanswered: usize,
    cursors: BTreeMap<String, Cursor>,
    /// The log was given free up to here.
    free: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) position: u64,
    pub(crate) recorded: Recorded,
    /// Purged.
    pub(crate) is_gone: bool,
}

/// A change that was committed, with its entries.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    pub(crate) tenant: Tenant,
    pub(crate) id: ChangeId,
    pub(crate) entries: Vec<Entry>,
    /// Where the log ended with it.
    end: u64,
}

/// What one tenant has.
#[derive(Debug, Clone, Default)]
pub(crate) struct House {
    pub(crate) answers: BTreeMap<ChangeId, Stored>,
    pub(crate) records: BTreeMap<Key, Record>,
    pub(crate) tallies: BTreeMap<Key, Tally>,
    tokens: Vec<(FenceName, u64)>,
}

/// Whether a body is of one of txn's own types, of those that the histories know.
fn is_own(body: &Body) -> bool {
    ["txn.", "order."].iter().any(|family| body.type_name().starts_with(family))
}

impl Model {
    pub(crate) fn house(&self, tenant: &Tenant) -> House {
        self.houses.get(tenant).cloned().unwrap_or_default()
    }

    pub(crate) fn fact(&self, tenant: &Tenant, id: &FactId) -> Option<Recorded> {
        let mut left = self.left().map(|logged| &logged.recorded);
        left.find(|item| item.tenant == *tenant && item.event.id.as_ref() == Some(id)).cloned()
    }

    /// The events that were not purged.
    pub(crate) fn left(&self) -> impl Iterator<Item = &Logged> {
        self.log.iter().filter(|logged| !logged.is_gone)
    }

    /// The events that a reader of the log is given: those behind where it begins.
    pub(crate) fn readable(&self) -> impl Iterator<Item = &Logged> {
        self.log.iter().filter(|logged| logged.position > self.tail)
    }

    /// Commits a change, or says why not.
    pub(crate) fn commit(&mut self, tenant: &Tenant, change: &Change, now: Timestamp, limits: &Limits) -> Said {
        if let Some(invalid) = malformed(change, limits) {
            return Said::Refused(Refusal::Invalid(invalid));
        }
        let house = self.house(tenant);
        if let Some(stored) = house.answers.get(&change.id) {
            if stored.fingerprint == change.fingerprint {
                return Said::Done { stored: stored.clone(), replayed: true };
            }
            let id = change.id.clone();
            let is_given_up = stored.fingerprint.0 == [0; 32];
            return Said::Refused(if is_given_up { Refusal::GivenUp { id } } else { Refusal::KeyReused { id } });
        }
        match self.attempt(tenant, house, change, now) {
            Err(refusal) => Said::Refused(refusal),
            Ok((house, stored, entries)) => {
                self.houses.insert(tenant.clone(), house);
                for event in &change.append {
                    let (tenant, change) = (tenant.clone(), change.id.clone());
                    let recorded = Recorded { tenant, change, recorded_at: now, event: event.clone() };
                    let position = self.log.len() as u64 + 1;
                    self.log.push(Logged { position, recorded, is_gone: false });
                }
                let (tenant, id, end) = (tenant.clone(), change.id.clone(), self.log.len() as u64);
                self.commits.push(Committed { tenant, id, entries, end });
                Said::Done { stored, replayed: false }
            }
        }
    }

    fn attempt(
        &self,
        tenant: &Tenant,
        mut house: House,
        change: &Change,
        now: Timestamp,
    ) -> Result<(House, Stored, Vec<Entry>), Refusal> {
        match change.before {
            Some(until) if until <= now => return Err(Refusal::Late { until, now }),
            _ => {}
        }
        fences(&mut house, change)?;
        records(&mut house, change)?;
        for (index, event) in change.append.iter().enumerate() {
            if let Some(id) = &event.id {
                let is_twice = change.append[..index].iter().any(|earlier| earlier.id.as_ref() == Some(id));
                if is_twice || self.fact(tenant, id).is_some() {
                    return Err(Refusal::FactExists { id: id.clone() });
                }
            }
        }
        let entries = numbers::numbers(&mut house, change, now)?;
        let stored = Stored {
            fingerprint: change.fingerprint,
            answer: change.answer.clone(),
            recorded_at: now,
            entries: entries.len() as u32,
            events: change.append.len() as u32,
            passed: None,
            digest: txn_change::digest(&change.id, change.fingerprint, &change.answer, now, &entries, &change.append),
        };
        house.answers.insert(change.id.clone(), stored.clone());
        Ok((house, stored, entries))
    }
}

fn fences(house: &mut House, change: &Change) -> Result<(), Refusal> {
    let mut seen = house.tokens.clone();
    seen.extend(change.fence.iter().map(|fence| (fence.name.clone(), fence.token)));
    for fence in &change.fence {
        let highest = seen.iter().filter(|(name, _)| *name == fence.name).map(|(_, token)| *token).max().unwrap_or(0);
        if fence.token < highest {
            return Err(Refusal::FenceStale { fence: fence.name.clone(), token: fence.token, highest });
        }
    }
    house.tokens = seen;
    Ok(())
}

fn stands(house: &House, key: &Key, expected: Expect) -> Result<(), Refusal> {
    let actual = match house.records.get(key) {
        Some(record) => Expect::Version(record.version),
        None => Expect::Absent,
    };
    if actual == expected { Ok(()) } else { Err(Refusal::Conflict { key: key.clone(), expected, actual }) }
}

fn records(house: &mut House, change: &Change) -> Result<(), Refusal> {
    for require in &change.require {
        stands(house, &require.key, require.expect)?;
    }
    for put in &change.put {
        stands(house, &put.key, put.expect)?;
    }
    for put in &change.put {
        let version = house.records.get(&put.key).map_or(1, |record| record.version + 1);
        match &put.body {
            Some(body) => {
                let record = Record { version, body: body.clone(), terms: put.terms.clone() };
                house.records.insert(put.key.clone(), record);
            }
            None => {
                house.records.remove(&put.key);
            }
        }
    }
    Ok(())
}

/// What is wrong with the request itself; the histories never pass the limits of keys, labels and names.
fn malformed(change: &Change, limits: &Limits) -> Option<Invalid> {
    let counts = [
        ("requirements", change.require.len(), limits.requires_max),
        ("records", change.put.len(), limits.puts_max),
        ("counters to open", change.open.len(), limits.opens_max),
        ("counters to set", change.set.len(), limits.opens_max),
        ("additions", change.add.len(), limits.adds_max),
        ("conditions", change.hold.len(), limits.holds_max),
        ("fences", change.fence.len(), limits.fences_max),
        ("events", change.append.len(), limits.events_max),
    ];
    let terms_of_puts = change.put.iter().map(|put| ("terms on a record", put.terms.len(), limits.terms_max));
    let terms_of_events = change.append.iter().map(|event| ("terms on an event", event.terms.len(), limits.terms_max));
    for (what, found, max) in counts.into_iter().chain(terms_of_puts).chain(terms_of_events) {
        if found > max {
            return Some(Invalid::TooMany { what, found, max });
        }
    }
    let lists = [
        ("puts", change.put.iter().map(|put| &put.key).collect::<Vec<_>>()),
        ("requires", change.require.iter().map(|require| &require.key).collect()),
        ("opens", change.open.iter().map(|open| &open.counter).collect()),
        ("sets", change.set.iter().map(|set| &set.counter).collect()),
    ];
    for (what, mut keys) in lists {
        keys.sort();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(Invalid::Twice { what, key: pair[0].clone() });
        }
    }
    None
}
