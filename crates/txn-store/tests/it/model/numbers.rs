//! Counters: what additions, conditions, guards and conservation come to.

use std::collections::BTreeMap;

use txn_change::{
    Add, Change, Class, Condition, Counter, Entry, Expect, Guard, Key, Label, Lanes, Opening, Refusal, Status,
    Timestamp, Unit,
};

use super::House;

#[derive(Debug, Clone)]
pub(crate) struct Tally {
    class: Class,
    unit: Unit,
    guards: [Option<Guard>; 2],
    status: Status,
    deltas: Vec<Lanes>,
    touched: u64,
    pub(crate) entries: Vec<Entry>,
}

impl Tally {
    fn new(opening: &Opening) -> Self {
        let Opening { class, unit, guards } = opening.clone();
        let class = (*class).clone();
        Self { class, unit, guards, status: Status::Open, deltas: vec![], touched: 0, entries: vec![] }
    }

    fn lanes(&self) -> Lanes {
        let mut sum = [0i128; 4];
        for delta in &self.deltas {
            for (total, lane) in sum.iter_mut().zip(delta.0) {
                *total += lane;
            }
        }
        Lanes(sum)
    }

    pub(crate) fn counter(&self) -> Counter {
        Counter {
            class: self.class.clone().into(),
            unit: self.unit.clone(),
            guards: self.guards,
            status: self.status,
            lanes: self.lanes(),
            version: self.touched,
            sequence: self.deltas.len() as u64,
        }
    }
}

fn plus(lanes: Lanes, delta: Lanes) -> Option<Lanes> {
    let mut sum = lanes.0;
    for (total, lane) in sum.iter_mut().zip(delta.0) {
        *total = total.checked_add(lane)?;
    }
    Some(Lanes(sum))
}

/// The histories only weigh by -2, -1, 0, 1 and 2.
fn weigh(weights: [i8; 4], lanes: Lanes) -> Option<i128> {
    let mut sum = 0i128;
    for (weight, lane) in weights.into_iter().zip(lanes.0) {
        sum = match weight {
            0 => Some(sum),
            1 => sum.checked_add(lane),
            -1 => sum.checked_sub(lane),
            2 => lane.checked_add(lane).and_then(|twice| sum.checked_add(twice)),
            -2 => lane.checked_add(lane).and_then(|twice| sum.checked_sub(twice)),
            _ => unreachable!("no history weighs by {weight}"),
        }?;
    }
    Some(sum)
}

/// Judges all that is about counters. Conditions look at `before`, all else at the house as the change leaves it behind so far.
pub(super) fn numbers(house: &mut House, change: &Change, now: Timestamp) -> Result<Vec<Entry>, Refusal> {
    let before = house.tallies.clone();
    // Counters in the order in which the change comes to them.
    let mut order: Vec<Key> = Vec::new();
    for open in &change.open {
        if before.contains_key(&open.counter) {
            return Err(Refusal::CounterExists { counter: open.counter.clone() });
        }
        house.tallies.insert(open.counter.clone(), Tally::new(&open.opening));
        order.push(open.counter.clone());
    }
    for set in &change.set {
        let actual = before.get(&set.counter).map_or(Expect::Absent, |tally| Expect::Version(tally.touched));
        let expected = Expect::Version(set.expect);
        if actual != expected {
            return Err(Refusal::Conflict { key: set.counter.clone(), expected, actual });
        }
        let tally = house.tallies.get_mut(&set.counter).unwrap();
        tally.guards = set.guards;
        tally.status = set.status;
        order.push(set.counter.clone());
    }
    for hold in &change.hold {
        condition(before.get(&hold.counter), hold.condition, &hold.counter, &hold.label)?;
    }
    let mut entries = Vec::new();
    for (index, add) in change.add.iter().enumerate() {
        entries.extend(one_add(house, &before, change, index, now)?);
        if !order.contains(&add.counter) {
            order.push(add.counter.clone());
        }
    }
    for key in &order {
        let is_short = counter(house, &before, change, key)?;
        for entry in entries.iter_mut().filter(|entry| entry.counter == *key) {
            entry.short = is_short;
        }
    }
    balance(house, change)?;
    for key in &order {
        let tally = house.tallies.get_mut(key).unwrap();
        tally.touched += 1;
        tally.entries.extend(entries.iter().filter(|entry| entry.counter == *key).cloned());
    }
    Ok(entries)
}

fn condition(tally: Option<&Tally>, condition: Condition, counter: &Key, label: &Label) -> Result<(), Refusal> {
    let lanes = tally.map_or(Lanes::ZERO, Tally::lanes);
    let value = match condition {
        Condition::AtLeast(weights, _) | Condition::AtMost(weights, _) | Condition::Equals(weights, _) => {
            weigh(weights, lanes)
        }
        Condition::Version(_) => Some(i128::from(tally.map_or(0, |tally| tally.touched))),
        _ => unreachable!("no history has another condition"),
    };
    let Some(value) = value else {
        return Err(Refusal::Overflow { counter: counter.clone(), label: label.clone() });
    };
    let is_true = match condition {
        Condition::AtLeast(_, least) => value >= least,
        Condition::AtMost(_, most) => value <= most,
        Condition::Equals(_, exactly) => value == exactly,
        Condition::Version(version) => value == i128::from(version),
        _ => false,
    };
    if is_true {
        return Ok(());
    }
    Err(Refusal::ConditionFailed { counter: counter.clone(), label: label.clone(), value })
}

fn one_add(
    house: &mut House,
    before: &BTreeMap<Key, Tally>,
    change: &Change,
    index: usize,
    now: Timestamp,
) -> Result<Option<Entry>, Refusal> {
    let add = &change.add[index];
    let (counter, label) = (add.counter.clone(), add.label.clone());
    if !house.tallies.contains_key(&counter) {
        match &add.or_open {
            None => return Err(Refusal::CounterAbsent { counter, label }),
            Some(opening) => {
                house.tallies.insert(counter.clone(), Tally::new(opening));
            }
        }
    }
    let tally = house.tallies.get_mut(&counter).unwrap();
    if let Some(opening) = &add.or_open
        && (tally.class != *opening.class || tally.unit != opening.unit)
    {
        return Err(Refusal::CounterDiffers { counter, class: tally.class.name.clone(), unit: tally.unit.clone() });
    }
    if tally.status == Status::Closed || (tally.status == Status::Frozen && !add.force) {
        return Err(Refusal::CounterNotOpen { counter, status: tally.status, label });
    }
    let overflow = Refusal::Overflow { counter: counter.clone(), label: label.clone() };
    let Some(after) = plus(tally.lanes(), add.delta) else { return Err(overflow) };
    if !add.force && unforced(before, &change.add[..=index], &counter).is_none() {
        return Err(overflow);
    }
    tally.deltas.push(add.delta);
    let sequence = tally.deltas.len() as u64;
    let class = tally.class.clone();
    for weights in class.conserves.into_iter().flatten() {
        if total(house, &change.add[..=index], &class.name, &house.tallies[&counter].unit, weights).is_none() {
            return Err(overflow);
        }
    }
    let entry = Entry {
        counter,
        sequence,
        delta: add.delta,
        after,
        effective_at: add.effective_at.unwrap_or(now),
        recorded_at: now,
        change: change.id.clone(),
        label,
        short: false,
    };
    Ok(class.history.then_some(entry))
}

/// The lanes before the change with those additions that were not forced.
fn unforced(before: &BTreeMap<Key, Tally>, adds: &[Add], counter: &Key) -> Option<Lanes> {
    let mut lanes = before.get(counter).map_or(Lanes::ZERO, Tally::lanes);
    for add in adds.iter().filter(|add| add.counter == *counter && !add.force) {
        lanes = plus(lanes, add.delta)?;
    }
    Some(lanes)
}

/// The weighted sum of what the additions do to the counters of one class and unit.
fn total(house: &House, adds: &[Add], class: &str, unit: &Unit, weights: [i8; 4]) -> Option<i128> {
    let mut sum = 0i128;
    for add in adds {
        let tally = &house.tallies[&add.counter];
        if tally.class.name == class && tally.unit == *unit {
            sum = sum.checked_add(weigh(weights, add.delta)?)?;
        }
    }
    Some(sum)
}

fn balance(house: &House, change: &Change) -> Result<(), Refusal> {
    for add in &change.add {
        let tally = &house.tallies[&add.counter];
        for weights in tally.class.conserves.into_iter().flatten() {
            let off_by = total(house, &change.add, &tally.class.name, &tally.unit, weights).unwrap();
            if off_by != 0 {
                let (class, unit) = (tally.class.name.clone(), tally.unit.clone());
                return Err(Refusal::Unbalanced { class, unit, off_by });
            }
        }
    }
    Ok(())
}

/// Judges a counter as the change leaves it, and says whether it is short.
fn counter(house: &House, before: &BTreeMap<Key, Tally>, change: &Change, key: &Key) -> Result<bool, Refusal> {
    let tally = &house.tallies[key];
    let lanes = tally.lanes();
    for lane in 0..4 {
        if lanes.0[lane] < 0 && !tally.class.signed[lane] {
            let mut weights = [0; 4];
            weights[lane] = 1;
            let label = blamed(change, key, weights);
            return Err(Refusal::LaneNegative { counter: key.clone(), label, lane, value: lanes.0[lane] });
        }
    }
    let was = before.get(key).map_or(Lanes::ZERO, Tally::lanes);
    let alone = unforced(before, &change.add, key).unwrap();
    let mut is_short = false;
    for (place, guard) in tally.guards.into_iter().enumerate() {
        let Some(guard) = guard else { continue };
        let label = blamed(change, key, guard.weights);
        let weighed = |lanes| {
            weigh(guard.weights, lanes).ok_or_else(|| Refusal::Overflow { counter: key.clone(), label: label.clone() })
        };
        let (was, alone) = (weighed(was)?, weighed(alone)?);
        if alone < guard.min && alone < was {
            return Err(Refusal::GuardBroken {
                counter: key.clone(),
                label,
                guard: place as u8,
                value: alone,
                min: guard.min,
            });
        }
        let is = weighed(lanes)?;
        if is < guard.min && is < was {
            is_short = true;
        }
    }
    Ok(is_short)
}

/// The last addition that took: one that was not forced, if there is one.
fn blamed(change: &Change, key: &Key, weights: [i8; 4]) -> Label {
    let mut blamed = Label::new("none");
    for is_forced in [true, false] {
        for add in change.add.iter().filter(|add| add.counter == *key) {
            let takes = weigh(weights, add.delta).is_none_or(|value| value < 0);
            if takes && (is_forced || !add.force) {
                blamed = add.label.clone();
            }
        }
    }
    blamed
}
