//! The evaluator: the one place where versions, guards, idempotency, conservation and entries are judged.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use crate::{
    change::{Add, Change, Expect, Fence},
    counter::{Class, Counter, Guard, Lanes, Status, Unit},
    fingerprint::Fingerprint,
    key::{Key, Term},
    log::{self, Entry},
    name::Label,
    refusal::Refusal,
    time::Timestamp,
    view::{Record, Stored, View},
};

/// What the evaluator says of a change that it does not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same command was committed under this id before: this is what was stored. Nothing is to be written.
    Replayed(Stored),
    /// Nothing stands against it: these effects, and the change's events, are to be written in one storage transaction.
    Accepted(Effects),
}

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordWrite {
    /// The record.
    pub key: Key,
    /// Where it stood.
    pub before: Expect,
    /// What it is from now on; `None` when it is removed.
    pub after: Option<Record>,
    /// Index entries to take away.
    pub terms_removed: Vec<Term>,
    /// Index entries to add.
    pub terms_added: Vec<Term>,
}

/// A counter to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterWrite {
    /// The counter.
    pub key: Key,
    /// Its row from now on.
    pub after: Counter,
    /// Whether it did not exist before.
    pub opened: bool,
}

/// Everything that an accepted change writes beside its own events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects {
    /// Records, in the order of the change.
    pub records: Vec<RecordWrite>,
    /// Counters, each once.
    pub counters: Vec<CounterWrite>,
    /// Entries, in the order of the additions.
    pub entries: Vec<Entry>,
    /// Tokens to remember.
    pub fences: Vec<Fence>,
    /// What is stored under the change's id.
    pub stored: Stored,
}

/// Judges a change. `now` is the store's time. The answer depends on nothing but the arguments.
///
/// The change is taken as well-formed ([`Change::check`]); a later change of a group is judged against a view that holds the effects of the
/// earlier ones.
///
/// # Errors
/// [`Refusal`]: the first reason in the order of that type. Nothing is to be written.
pub fn evaluate<V: View + ?Sized>(view: &V, change: &Change, now: Timestamp) -> Result<Verdict, Refusal> {
    if let Some(stored) = view.stored(&change.id) {
        if stored.fingerprint != change.fingerprint {
            let id = change.id.clone();
            let is_given_up = stored.fingerprint == Fingerprint::NOT_DONE;
            return Err(if is_given_up { Refusal::GivenUp { id } } else { Refusal::KeyReused { id } });
        }
        return Ok(Verdict::Replayed(stored.clone()));
    }
    if let Some(until) = change.before.filter(|until| now >= *until) {
        return Err(Refusal::Late { until, now });
    }
    check_fences(view, change)?;
    check_requires(view, change)?;
    let records = write_records(view, change)?;
    check_facts(view, change)?;
    let (counters, entries) = Numbers::judge(view, change, now)?;
    let digest = log::digest(&change.id, change.fingerprint, &change.answer, now, &entries, &change.append);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let stored = Stored {
        fingerprint: change.fingerprint,
        answer: change.answer.clone(),
        recorded_at: now,
        entries: count(entries.len()),
        events: count(change.append.len()),
        digest,
        passed: None,
    };
    Ok(Verdict::Accepted(Effects { records, counters, entries, fences: change.fence.clone(), stored }))
}

fn check_fences<V: View + ?Sized>(view: &V, change: &Change) -> Result<(), Refusal> {
    for fence in &change.fence {
        // Two tokens of one lock in a change: the lower one is stale, wherever it stands.
        let beside = change.fence.iter().filter(|other| other.name == fence.name).map(|other| other.token);
        let highest = beside.fold(view.fence(&fence.name), u64::max);
        if fence.token < highest {
            return Err(Refusal::FenceStale { fence: fence.name.clone(), token: fence.token, highest });
        }
    }
    Ok(())
}

fn expect_version(key: &Key, expected: Expect, actual: Expect) -> Result<(), Refusal> {
    if expected == actual { Ok(()) } else { Err(Refusal::Conflict { key: key.clone(), expected, actual }) }
}

fn check_requires<V: View + ?Sized>(view: &V, change: &Change) -> Result<(), Refusal> {
    for require in &change.require {
        let actual = Expect::of(view.record(&require.key).map(|r| r.version));
        expect_version(&require.key, require.expect, actual)?;
    }
    Ok(())
}

fn write_records<V: View + ?Sized>(view: &V, change: &Change) -> Result<Vec<RecordWrite>, Refusal> {
    let mut writes = Vec::with_capacity(change.put.len());
    for put in &change.put {
        let before = view.record(&put.key);
        let actual = Expect::of(before.map(|r| r.version));
        expect_version(&put.key, put.expect, actual)?;
        let version = before.map_or(0, |r| r.version).saturating_add(1);
        let after = put.body.as_ref().map(|body| Record { version, body: body.clone(), terms: put.terms.clone() });
        let old: &[Term] = before.map_or(&[], |r| &r.terms);
        let new: &[Term] = if after.is_some() { &put.terms } else { &[] };
        let missing_from = |from: &[Term], others: &[Term]| -> Vec<Term> {
            others.iter().filter(|term| !from.contains(term)).cloned().collect()
        };
        writes.push(RecordWrite {
            key: put.key.clone(),
            before: actual,
            after,
            terms_removed: missing_from(new, old),
            terms_added: missing_from(old, new),
        });
    }
    Ok(writes)
}

fn check_facts<V: View + ?Sized>(view: &V, change: &Change) -> Result<(), Refusal> {
    for (index, event) in change.append.iter().enumerate() {
        let Some(id) = &event.id else { continue };
        let earlier = change.append.get(..index).unwrap_or_default();
        if view.has_fact(id) || earlier.iter().any(|e| e.id.as_ref() == Some(id)) {
            return Err(Refusal::FactExists { id: id.clone() });
        }
    }
    Ok(())
}

/// One counter while a change is judged.
struct Working<'a> {
    key: &'a Key,
    before: Lanes,
    after: Counter,
    opened: bool,
    touched: bool,
    /// The lanes with the additions that were not forced.
    unforced: Lanes,
}

/// The numbers of one change: its counters, entries and conservation sums.
struct Numbers<'a> {
    working: Vec<Working<'a>>,
    /// Where a counter stands in `working`; kept only for changes of many counters.
    places: BTreeMap<&'a Key, usize>,
    sums: Vec<Sum>,
}

/// The running conservation sums of one class and unit.
struct Sum {
    class: Arc<Class>,
    unit: Unit,
    totals: [i128; 2],
}

/// Up to this many counters a linear search is faster than a map.
const LINEAR_MAX: usize = 8;

impl<'a> Numbers<'a> {
    fn judge<V: View + ?Sized>(
        view: &V,
        change: &'a Change,
        now: Timestamp,
    ) -> Result<(Vec<CounterWrite>, Vec<Entry>), Refusal> {
        let capacity = change.add.len().saturating_add(change.open.len());
        let mut numbers = Self { working: Vec::with_capacity(capacity), places: BTreeMap::new(), sums: Vec::new() };
        for open in &change.open {
            if view.counter(&open.counter).is_some() {
                return Err(Refusal::CounterExists { counter: open.counter.clone() });
            }
            numbers.insert(&open.counter, Counter::opened(&open.opening), true);
        }
        for set in &change.set {
            let actual = view.counter(&set.counter);
            expect_version(&set.counter, Expect::Version(set.expect), Expect::of(actual.map(|c| c.version)))?;
            if let Some(counter) = actual {
                let after = Counter { guards: set.guards, status: set.status, ..counter.clone() };
                let place = numbers.insert(&set.counter, after, false);
                numbers.working.get_mut(place).expect("just inserted").touched = true;
            }
        }
        for hold in &change.hold {
            let counter = view.counter(&hold.counter);
            let overflow = || Refusal::Overflow { counter: hold.counter.clone(), label: hold.label.clone() };
            let (holds, value) = hold.condition.judge(counter).ok_or_else(overflow)?;
            if !holds {
                return Err(Refusal::ConditionFailed {
                    counter: hold.counter.clone(),
                    label: hold.label.clone(),
                    value,
                });
            }
        }
        let mut entries = Vec::with_capacity(change.add.len());
        for add in &change.add {
            numbers.apply(view, change, add, now, &mut entries)?;
        }
        for working in &numbers.working {
            working.check(change, &mut entries)?;
        }
        numbers.check_sums()?;
        Ok((numbers.finish(), entries))
    }

    fn find(&self, key: &Key) -> Option<usize> {
        if self.working.len() <= LINEAR_MAX {
            self.working.iter().position(|w| w.key == key)
        } else {
            self.places.get(key).copied()
        }
    }

    fn insert(&mut self, key: &'a Key, after: Counter, opened: bool) -> usize {
        let place = self.working.len();
        let before = after.lanes;
        self.working.push(Working { key, before, after, opened, touched: opened, unforced: before });
        if self.working.len() == LINEAR_MAX.saturating_add(1) {
            self.places = self.working.iter().enumerate().map(|(place, w)| (w.key, place)).collect();
        } else if self.working.len() > LINEAR_MAX {
            self.places.insert(key, place);
        }
        place
    }

    fn place<V: View + ?Sized>(&mut self, view: &V, add: &'a Add) -> Result<usize, Refusal> {
        if let Some(place) = self.find(&add.counter) {
            return Ok(place);
        }
        match (view.counter(&add.counter), &add.or_open) {
            (Some(counter), _) => Ok(self.insert(&add.counter, counter.clone(), false)),
            (None, Some(opening)) => Ok(self.insert(&add.counter, Counter::opened(opening), true)),
            (None, None) => Err(Refusal::CounterAbsent { counter: add.counter.clone(), label: add.label.clone() }),
        }
    }

    fn apply<V: View + ?Sized>(
        &mut self,
        view: &V,
        change: &Change,
        add: &'a Add,
        now: Timestamp,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Refusal> {
        let place = self.place(view, add)?;
        let working = self.working.get_mut(place).expect("place() gives an index of working");
        working.touched = true;
        let counter = &mut working.after;
        if let Some(opening) = &add.or_open
            && (counter.class != opening.class || counter.unit != opening.unit)
        {
            return Err(Refusal::CounterDiffers {
                counter: add.counter.clone(),
                class: counter.class.name.clone(),
                unit: counter.unit.clone(),
            });
        }
        let passes = match counter.status {
            Status::Open => true,
            Status::Frozen => add.force,
            Status::Closed => false,
        };
        if !passes {
            return Err(Refusal::CounterNotOpen {
                counter: add.counter.clone(),
                status: counter.status,
                label: add.label.clone(),
            });
        }
        let overflow = || Refusal::Overflow { counter: add.counter.clone(), label: add.label.clone() };
        counter.lanes = counter.lanes.checked_add(add.delta).ok_or_else(overflow)?;
        counter.sequence = counter.sequence.checked_add(1).ok_or_else(overflow)?;
        if !add.force {
            working.unforced = working.unforced.checked_add(add.delta).ok_or_else(overflow)?;
        }
        if counter.class.history {
            entries.push(Entry {
                counter: add.counter.clone(),
                sequence: counter.sequence,
                delta: add.delta,
                after: counter.lanes,
                effective_at: add.effective_at.unwrap_or(now),
                recorded_at: now,
                change: change.id.clone(),
                label: add.label.clone(),
                short: false,
            });
        }
        if counter.class.conserves.iter().any(Option::is_some) {
            let (class, unit) = (&counter.class, &counter.unit);
            let known = self.sums.iter().position(|s| s.class.name == class.name && s.unit == *unit);
            let known = known.unwrap_or_else(|| {
                let (class, unit) = (Arc::clone(class), Arc::clone(unit));
                self.sums.push(Sum { class, unit, totals: [0; 2] });
                self.sums.len().saturating_sub(1)
            });
            let sum = self.sums.get_mut(known).expect("found or just pushed");
            sum.add(add).ok_or_else(overflow)?;
        }
        Ok(())
    }

    fn check_sums(&self) -> Result<(), Refusal> {
        for sum in &self.sums {
            if let Some(off_by) = sum.totals.into_iter().find(|total| *total != 0) {
                return Err(Refusal::Unbalanced { class: sum.class.name.clone(), unit: sum.unit.clone(), off_by });
            }
        }
        Ok(())
    }

    fn finish(self) -> Vec<CounterWrite> {
        let touched = self.working.into_iter().filter(|w| w.touched);
        touched
            .map(|w| {
                let version = w.after.version.saturating_add(1);
                CounterWrite { key: w.key.clone(), after: Counter { version, ..w.after }, opened: w.opened }
            })
            .collect()
    }
}

impl Sum {
    fn add(&mut self, add: &Add) -> Option<()> {
        for (total, weights) in self.totals.iter_mut().zip(self.class.conserves) {
            if let Some(weights) = weights {
                *total = total.checked_add(add.delta.weighted(weights)?)?;
            }
        }
        Some(())
    }
}

impl Working<'_> {
    /// Lanes and guards, on the net result.
    fn check(&self, change: &Change, entries: &mut [Entry]) -> Result<(), Refusal> {
        let lanes = self.after.lanes;
        for (lane, (value, signed)) in lanes.0.into_iter().zip(self.after.class.signed).enumerate() {
            if value < 0 && !signed {
                let weights: [i8; 4] = core::array::from_fn(|i| i8::from(i == lane));
                return Err(Refusal::LaneNegative {
                    counter: self.key.clone(),
                    label: self.blame(change, weights),
                    lane,
                    value,
                });
            }
        }
        for (place, guard) in (0u8..).zip(&self.after.guards) {
            let Some(guard) = guard else { continue };
            let label = || self.blame(change, guard.weights);
            let overflow = || Refusal::Overflow { counter: self.key.clone(), label: label() };
            let before = guard.value(self.before).ok_or_else(overflow)?;
            let unforced = guard.value(self.unforced).ok_or_else(overflow)?;
            if breaks(guard, before, unforced) {
                return Err(Refusal::GuardBroken {
                    counter: self.key.clone(),
                    label: label(),
                    guard: place,
                    value: unforced,
                    min: guard.min,
                });
            }
            let after = guard.value(lanes).ok_or_else(overflow)?;
            if breaks(guard, before, after) {
                let of_this = entries.iter_mut().filter(|entry| entry.counter == *self.key);
                of_this.for_each(|entry| entry.short = true);
            }
        }
        Ok(())
    }

    /// The label of the last addition that lowered the weighted sum.
    fn blame(&self, change: &Change, weights: [i8; 4]) -> Label {
        let lowering = |add: &&Add| add.counter == *self.key && add.delta.weighted(weights).is_none_or(|d| d < 0);
        let unforced = change.add.iter().rev().filter(|add| !add.force).find(lowering);
        let any = change.add.iter().rev().find(lowering);
        unforced.or(any).map_or(Label::new("none"), |add| add.label.clone())
    }
}

/// A guard is broken when the sum is below its limit and the change made it worse.
const fn breaks(guard: &Guard, before: i128, after: i128) -> bool {
    after < guard.min && after < before
}

#[cfg(test)]
mod tests;
