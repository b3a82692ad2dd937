//! Lists in a store: a record whose body is one, and a counter whose entries are.
//!
//! A change appends to a list once, so that its version is the length; or, to one of *pairs*, twice, so that it is half of it: nobody may see such a list between
//! the two. Pairs are counters, to which a change may add as often as it likes. A record is put at most once by a change
//! ([`Invalid::Twice`](txn_change::Invalid::Twice)), so nothing stands between two puts of one change; what shows a part of such a change is another of its lists, as read skew.

use std::sync::Arc;

use txn_change::{Add, Body, Counter, Expect, Key, Kind, Label, Record, Refusal};
use txn_suite::Checked;

use super::history::Op;
use crate::{
    conformance::{
        Failure,
        sample::{add, stock},
    },
    query::{Found, Query, Range},
};

/// A list, by its round: after a while new ones are taken, so that callers meet at lists that do not exist too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List {
    pub(super) of: Of,
    pub(super) round: u64,
    pub(super) number: u64,
}

/// What holds a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Record,
    Counter,
    /// A counter to which each change adds twice, or not at all.
    Pairs,
}

/// More than any list ever holds: the lanes that an addition asks for which is meant to be refused.
pub(super) const TOO_MANY: i128 = 1_000_000;

const WORD: &str = "value";
const PAIRS: &str = "pairs";

impl Of {
    fn kind(self) -> Checked<Kind> {
        Ok(Kind::new(match self {
            Self::Record => "list",
            Self::Counter => "count",
            Self::Pairs => PAIRS,
        })?)
    }

    /// What holds the lists of a round that are not records.
    pub(super) const fn counted(round: u64) -> Self {
        if round.is_multiple_of(2) { Self::Counter } else { Self::Pairs }
    }

    /// How many values a change appends.
    pub(super) const fn values(self) -> u64 {
        match self {
            Self::Record | Self::Counter => 1,
            Self::Pairs => 2,
        }
    }

    /// Finds every list of a round.
    pub(super) fn all(self, round: u64) -> Checked<Query> {
        let range = Range::prefix(Key::of(self.kind()?).number(round));
        Ok(match self {
            Self::Record => Query::Records(range),
            Self::Counter | Self::Pairs => Query::Counters(range),
        })
    }
}

impl List {
    pub(super) fn key(self) -> Checked<Key> {
        Ok(Key::of(self.of.kind()?).number(self.round).number(self.number).build())
    }

    pub(super) fn name(self) -> Checked<Arc<str>> {
        Ok(Arc::from(self.key()?.to_string()))
    }
}

/// The body that holds a list.
pub(super) fn body(list: &[u64]) -> Body {
    Body::raw("list", 1, format!("{list:?}").into_bytes())
}

/// An addition that appends a value: one more in lane 0, with the value in its label.
pub(super) fn addition(counter: &Key, value: u64) -> Add {
    let label = Label::indexed(WORD, usize::try_from(value).unwrap_or(usize::MAX));
    Add { label, ..add(counter, [1, 0, 0, 0], Some(stock())) }
}

/// What a record, or its absence, tells of a list. Its version is told apart only where it does not agree.
pub(super) fn told_by_record(name: &Arc<str>, record: Option<&Record>) -> Checked<(Vec<u64>, Vec<Op>)> {
    let list: Vec<u64> = match record {
        Some(record) => serde_json::from_slice(record.body.bytes())
            .map_err(|error| Failure::new(format!("expected a list in {name}, found {:?}: {error}", record.body)))?,
        None => Vec::new(),
    };
    let mut ops = vec![Op::Read { key: Arc::clone(name), list: list.clone() }];
    let length = length(record.map_or(0, |record| record.version));
    if length != list.len() {
        ops.push(Op::Length { key: Arc::clone(name), length });
    }
    Ok((list, ops))
}

/// What a counter, or its absence, tells: no values, and their number three times over, of which equal ones are told once.
pub(super) fn told_by_counter(name: &Arc<str>, of: Of, counter: Option<&Counter>) -> Vec<Op> {
    let lane = counter.map_or(0, |counter| u64::try_from(counter.lanes.0[0]).unwrap_or(u64::MAX));
    let all = |counter: &Counter| vec![counter.sequence, lane, counter.version.saturating_mul(of.values())];
    let mut numbers = counter.map_or(vec![0], all);
    numbers.dedup();
    numbers.into_iter().map(|number| Op::Length { key: Arc::clone(name), length: length(number) }).collect()
}

/// What the entries of a counter tell.
pub(super) fn told_by_entries(name: &Arc<str>, entries: &[Found]) -> Checked<Op> {
    let mut list = Vec::with_capacity(entries.len());
    for found in entries {
        let value = match found {
            Found::Entry(entry) => entry.label.index(WORD).and_then(|value| u64::try_from(value).ok()),
            _ => None,
        };
        list.push(
            value.ok_or_else(|| Failure::new(format!("expected an entry of {name} with a value, found {found:?}")))?,
        );
    }
    Ok(Op::Read { key: Arc::clone(name), list })
}

/// What a refusal tells of a row: where it stood at the refusal's place in the serial order.
pub(super) fn told_by_refusal(refusal: &Refusal) -> Option<Op> {
    let (key, number) = match refusal {
        Refusal::Conflict { key, actual, .. } => (key, i128::from(version(*actual))),
        Refusal::ConditionFailed { counter, value, .. } => {
            let of = if counter.kind() == PAIRS { Of::Pairs } else { Of::Counter };
            (counter, value.saturating_mul(of.values().into()))
        }
        Refusal::GuardBroken { counter, value, .. } => (counter, value.saturating_add(TOO_MANY)),
        _ => return None,
    };
    Some(Op::Length { key: Arc::from(key.to_string()), length: usize::try_from(number).unwrap_or(usize::MAX) })
}

const fn version(expect: Expect) -> u64 {
    match expect {
        Expect::Absent => 0,
        Expect::Version(version) => version,
    }
}

/// A version of 0 is that of what does not exist.
pub(super) const fn expect(length: u64) -> Expect {
    if length == 0 { Expect::Absent } else { Expect::Version(length) }
}

fn length(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
