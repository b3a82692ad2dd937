//! What a caller decides on what it saw: changes as services make them, where every reading is a condition.

use std::sync::Arc;

use txn_change::{Change, Condition, Expect, Hold, Key, Label, Put, Require};
use txn_suite::Checked;

use super::{
    history::Op,
    lists::{self, List, Of, TOO_MANY},
    turns::Random,
};
use crate::conformance::sample::{add, change, stock};

/// One list as a snapshot showed it.
pub(super) struct Seen {
    pub(super) list: List,
    pub(super) key: Key,
    pub(super) name: Arc<str>,
    pub(super) version: u64,
    /// The values, where the snapshot tells them.
    pub(super) values: Vec<u64>,
    pub(super) ops: Vec<Op>,
}

/// A change, and what it says of the lists if it is committed.
pub(super) struct Plan {
    pub(super) change: Change,
    pub(super) ops: Vec<Op>,
}

/// How far from the truth an expectation is that is meant to be refused.
const FAR: u64 = 1_000_000;

impl Plan {
    /// Appends to one or more of the lists, and requires the rest to be as they were seen.
    pub(super) fn decide(
        id: &str,
        seen: &[Seen],
        random: &mut Random,
        mut value: impl FnMut() -> u64,
    ) -> Checked<Self> {
        let mut plan = Self { change: change(id)?, ops: Vec::new() };
        let surely = random.below(seen.len());
        for (place, seen) in seen.iter().enumerate() {
            let appends = if place == surely || random.percent(40) { seen.list.of.values() } else { 0 };
            let values: Vec<u64> = (0..appends).map(|_| value()).collect();
            match seen.list.of {
                Of::Record => plan.use_record(seen, &values),
                // Some only add, as one does who does not care what is there.
                Of::Counter | Of::Pairs => plan.use_counter(seen, &values, values.is_empty() || random.percent(50)),
            }
        }
        Ok(plan)
    }

    fn use_record(&mut self, seen: &Seen, values: &[u64]) {
        let (key, expect) = (seen.key.clone(), lists::expect(seen.version));
        self.ops.extend(seen.ops.iter().cloned());
        if values.is_empty() {
            self.change.require.push(Require { key, expect });
            return;
        }
        let body = Some(lists::body(&[seen.values.as_slice(), values].concat()));
        self.change.put.push(Put { key, expect, body, terms: vec![] });
        self.ops.extend(values.iter().map(|value| Op::Append { key: Arc::clone(&seen.name), value: *value }));
    }

    fn use_counter(&mut self, seen: &Seen, values: &[u64], is_read: bool) {
        if is_read {
            self.ops.extend(seen.ops.iter().cloned());
            self.hold(&seen.key, seen.version);
        }
        for &value in values {
            self.change.add.push(lists::addition(&seen.key, value));
            self.ops.push(Op::Append { key: Arc::clone(&seen.name), value });
        }
    }

    fn hold(&mut self, counter: &Key, version: u64) {
        let (counter, condition) = (counter.clone(), Condition::Version(version));
        self.change.hold.push(Hold { counter, condition, label: Label::new("read") });
    }

    /// Requires what another change is about to leave behind that stands before this one in the same call.
    pub(super) fn stand_behind(&mut self, first: &Self) {
        let Some(put) = first.change.put.first() else { return };
        let version = match put.expect {
            Expect::Absent => 1,
            Expect::Version(version) => version.saturating_add(1),
        };
        self.change.require.push(Require { key: put.key.clone(), expect: Expect::Version(version) });
        self.claim(&put.key, version);
    }

    /// Makes it a change that must be refused: by a guard, or by an expectation that nothing meets.
    pub(super) fn spoil(&mut self, list: List, random: &mut Random) -> Checked {
        if self.change.add.is_empty() && random.percent(50) {
            let counter = List { of: Of::Counter, ..list }.key()?;
            self.change.add.push(add(&counter, [0, TOO_MANY, 0, 0], Some(stock())));
            self.claim(&counter, FAR);
        } else if let Some(put) = self.change.put.first_mut() {
            put.expect = Expect::Version(FAR);
            let key = put.key.clone();
            self.claim(&key, FAR);
        } else if let Some(counter) = self.change.add.first().map(|add| add.counter.clone()) {
            self.hold(&counter, FAR);
            self.claim(&counter, FAR);
        }
        Ok(())
    }

    /// States before all else what the change says of a list if it is committed.
    fn claim(&mut self, key: &Key, version: u64) {
        let length = usize::try_from(version).unwrap_or(usize::MAX);
        self.ops.insert(0, Op::Length { key: Arc::from(key.to_string()), length });
    }
}
