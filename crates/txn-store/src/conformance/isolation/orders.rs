//! The order of each list, inferred from what was read, and the anomalies that need no cycle.
//!
//! Values are unique, so a list names its writers; the longest reading of a list gives the order of its appends, and every other reading should be a beginning
//! of it.

use std::collections::{HashMap, HashSet};

use super::{
    anomaly::{Found, Kind},
    history::{Fate, History, Op},
};

/// What is known of one list.
#[derive(Default)]
pub(super) struct Order<'h> {
    pub(super) name: &'h str,
    /// The values of the longest reading.
    pub(super) values: &'h [u64],
    /// Who appended each of them, where it was a transaction that happened.
    pub(super) writers: Vec<Option<usize>>,
    pub(super) readings: Vec<Reading<'h>>,
    /// Who says that an append to the list was done which is in no reading; it stands behind all that is.
    pub(super) unseen: Vec<usize>,
    /// How many appends may have happened.
    appends_max: usize,
}

/// What one transaction saw of a list before it appended to it.
#[derive(Clone, Copy)]
pub(super) struct Reading<'h> {
    pub(super) reader: usize,
    pub(super) length: usize,
    list: Option<&'h [u64]>,
    /// Whether it is a beginning of the order.
    pub(super) is_in_order: bool,
}

/// An append, as its value names it.
struct Append {
    writer: usize,
    /// Whether the writer appended nothing more to the list.
    is_last: bool,
}

/// All lists of a history.
pub(super) struct Orders<'h> {
    history: &'h History,
    pub(super) lists: Vec<Order<'h>>,
    places: HashMap<&'h str, usize>,
    appends: HashMap<(usize, u64), Append>,
    /// Which transactions happened, as far as can be told.
    happened: Vec<bool>,
}

impl<'h> Orders<'h> {
    pub(super) fn of(history: &'h History, found: &mut Found<'_>) -> Self {
        let mut orders = Self {
            history,
            lists: Vec::new(),
            places: HashMap::new(),
            appends: HashMap::new(),
            happened: history.transactions.iter().map(|t| t.fate == Fate::Done).collect(),
        };
        orders.take_appends(found);
        orders.find_happened();
        orders.take_readings(found);
        for place in 0..orders.lists.len() {
            orders.put_in_order(place, found);
        }
        orders.find_unseen();
        orders.find_lost_updates(found);
        orders
    }

    pub(super) fn has_happened(&self, transaction: usize) -> bool {
        self.happened.get(transaction).copied().unwrap_or(false)
    }

    fn take_appends(&mut self, found: &mut Found<'_>) {
        for (writer, transaction) in self.history.transactions.iter().enumerate() {
            let mut last = HashMap::new();
            for op in &transaction.ops {
                let name: &'h str = op.key();
                let next = self.lists.len();
                let place = *self.places.entry(name).or_insert(next);
                if place == next {
                    self.lists.push(Order { name, ..Order::default() });
                }
                let Op::Append { value, .. } = op else { continue };
                if let Some(order) = self.lists.get_mut(place)
                    && transaction.fate != Fate::Refused
                {
                    order.appends_max = order.appends_max.saturating_add(1);
                }
                if let Some(before) = self.appends.insert((place, *value), Append { writer, is_last: true }) {
                    let because = || format!("{value} was appended to {name}");
                    found.tell(Kind::Duplicate, [(before.writer, because()), (writer, because())]);
                }
                if let Some(before) = last.insert(place, *value)
                    && let Some(append) = self.appends.get_mut(&(place, before))
                {
                    append.is_last = before == *value;
                }
            }
        }
    }

    /// An unknown transaction happened when one that happened saw what it appended.
    fn find_happened(&mut self) {
        if self.history.transactions.iter().all(|t| t.fate != Fate::Unknown) {
            return;
        }
        let mut waiting: Vec<usize> = (0..self.happened.len()).filter(|at| self.has_happened(*at)).collect();
        let mut looked_at = HashSet::new();
        while let Some(reader) = waiting.pop() {
            let ops = self.history.transactions.get(reader).map_or(&[][..], |t| &t.ops);
            for op in ops {
                let (Op::Read { list, .. }, Some(place)) = (op, self.places.get(&**op.key())) else { continue };
                for value in list {
                    if !looked_at.insert((*place, *value)) {
                        continue;
                    }
                    let Some(append) = self.appends.get(&(*place, *value)) else { continue };
                    let is_unknown =
                        self.history.transactions.get(append.writer).is_some_and(|t| t.fate == Fate::Unknown);
                    if let Some(happened) = self.happened.get_mut(append.writer)
                        && is_unknown
                        && !*happened
                    {
                        *happened = true;
                        waiting.push(append.writer);
                    }
                }
            }
        }
    }

    fn take_readings(&mut self, found: &mut Found<'_>) {
        for (reader, transaction) in self.history.transactions.iter().enumerate() {
            if !self.has_happened(reader) {
                continue;
            }
            let mut views: Vec<(usize, View<'h>)> = Vec::new();
            for op in &transaction.ops {
                let Some(place) = self.places.get(&**op.key()).copied() else { continue };
                let at = views.iter().position(|(of, _)| *of == place).unwrap_or_else(|| {
                    views.push((place, View::default()));
                    views.len().saturating_sub(1)
                });
                let Some((_, view)) = views.get_mut(at) else { continue };
                if !view.take(op) {
                    found.tell(Kind::Internal, [(reader, format!("it {op}, which is not what it had seen and done"))]);
                }
            }
            for (place, view) in views {
                if let (Some(length), Some(order)) = (view.length, self.lists.get_mut(place)) {
                    let list = view.list;
                    if list.is_some_and(|list| list.len() > order.values.len()) {
                        order.values = list.unwrap_or_default();
                    }
                    order.readings.push(Reading { reader, length, list, is_in_order: true });
                }
            }
        }
    }

    fn put_in_order(&mut self, place: usize, found: &mut Found<'_>) {
        let Some(mut order) = self.lists.get_mut(place).map(std::mem::take) else { return };
        let longest = order.readings.iter().find(|r| r.list.is_some_and(|list| std::ptr::eq(list, order.values)));
        if let Some(reading) = longest {
            self.check_values(place, order.name, reading.reader, order.values, found);
        }
        let longest = longest.map(|reading| reading.reader);
        let writer_of = |value: &u64| {
            self.appends.get(&(place, *value)).map(|append| append.writer).filter(|writer| self.has_happened(*writer))
        };
        order.writers = order.values.iter().map(writer_of).collect();
        let length_max = order.appends_max.max(order.values.len());
        let mut readings = std::mem::take(&mut order.readings);
        for reading in &mut readings {
            if let Some(list) = reading.list
                && order.values.get(..list.len()) != Some(list)
            {
                reading.is_in_order = false;
                if let Some(longest) = longest {
                    let told = |list: &[u64]| format!("it read {} = {list:?}", order.name);
                    let steps = [(reading.reader, told(list)), (longest, told(order.values))];
                    found.tell(Kind::IncompatibleOrders, steps);
                }
                self.check_values(place, order.name, reading.reader, list, found);
            }
            if reading.length > length_max {
                reading.is_in_order = false;
                let because =
                    format!("it found {} in {}, which never held more than {length_max}", reading.length, order.name);
                found.tell(Kind::Invented, [(reading.reader, because)]);
            }
            self.check_end(place, &order, reading, found);
        }
        order.readings = readings;
        if let Some(slot) = self.lists.get_mut(place) {
            *slot = order;
        }
    }

    /// Every value of a reading was appended, once, by somebody who was not refused.
    fn check_values(&self, place: usize, name: &str, reader: usize, list: &[u64], found: &mut Found<'_>) {
        let mut before = HashSet::new();
        for value in list {
            if !before.insert(value) {
                found.tell(Kind::Duplicate, [(reader, format!("it read {value} in {name} twice"))]);
            }
            match self.appends.get(&(place, *value)) {
                None => {
                    let because = format!("it read {value} in {name}, which nobody appended");
                    found.tell(Kind::Invented, [(reader, because)]);
                }
                Some(append) if self.fate(append.writer) == Some(Fate::Refused) => {
                    let steps = [
                        (append.writer, format!("it was refused, and yet its append of {value} to {name} is seen")),
                        (reader, format!("it read {value} in {name}")),
                    ];
                    found.tell(Kind::AbortedRead, steps);
                }
                Some(_) => {}
            }
        }
    }

    /// A reading does not end between two appends of one transaction.
    fn check_end(&self, place: usize, order: &Order<'h>, reading: &Reading<'h>, found: &mut Found<'_>) {
        let last = match reading.list {
            Some(list) => list.last(),
            None => reading.length.checked_sub(1).and_then(|end| order.values.get(end)),
        };
        if let Some(last) = last
            && let Some(append) = self.appends.get(&(place, *last))
            && !append.is_last
            && append.writer != reading.reader
        {
            let steps = [
                (append.writer, format!("it appended more to {} behind {last}", order.name)),
                (reading.reader, format!("it saw {} end with {last}", order.name)),
            ];
            found.tell(Kind::IntermediateRead, steps);
        }
    }

    fn find_unseen(&mut self) {
        let mut seen: HashSet<(usize, u64)> = HashSet::new();
        for (place, order) in self.lists.iter().enumerate() {
            let forks = order.readings.iter().filter(|reading| !reading.is_in_order).filter_map(|r| r.list);
            seen.extend(forks.chain([order.values]).flatten().map(|value| (place, *value)));
        }
        for (writer, transaction) in self.history.transactions.iter().enumerate() {
            if transaction.fate != Fate::Done {
                continue;
            }
            for op in &transaction.ops {
                let (Op::Append { value, .. }, Some(place)) = (op, self.places.get(&**op.key())) else { continue };
                if !seen.contains(&(*place, *value))
                    && let Some(order) = self.lists.get_mut(*place)
                {
                    order.unseen.push(writer);
                }
            }
        }
    }

    fn find_lost_updates(&self, found: &mut Found<'_>) {
        let writes: HashSet<(usize, usize)> =
            self.appends.iter().map(|((place, _), append)| (*place, append.writer)).collect();
        for (place, order) in self.lists.iter().enumerate() {
            let mut updated: HashMap<(usize, Option<u64>), usize> = HashMap::new();
            for reading in order.readings.iter().filter(|reading| writes.contains(&(place, reading.reader))) {
                let list = reading.list.or_else(|| order.values.get(..reading.length));
                let state = (reading.length, list.and_then(<[u64]>::last).copied());
                if let Some(first) = updated.insert(state, reading.reader) {
                    let because = || format!("it saw {} with {} values and appended to it", order.name, reading.length);
                    found.tell(Kind::LostUpdate, [(first, because()), (reading.reader, because())]);
                }
            }
        }
    }

    fn fate(&self, transaction: usize) -> Option<Fate> {
        self.history.transactions.get(transaction).map(|t| t.fate)
    }
}

/// What a transaction knows of a list as its operations pass.
#[derive(Default)]
struct View<'h> {
    /// What was there before it began.
    length: Option<usize>,
    list: Option<&'h [u64]>,
    own: Vec<u64>,
}

impl<'h> View<'h> {
    /// Whether the operation agrees with those before.
    fn take(&mut self, op: &'h Op) -> bool {
        let length = match op {
            Op::Append { value, .. } => {
                self.own.push(*value);
                return true;
            }
            Op::Read { list, .. } => {
                let Some(list) = list.strip_suffix(self.own.as_slice()) else { return false };
                if self.list.is_some_and(|before| before != list) {
                    return false;
                }
                // The number found first stays, if there is one: that both agree is seen below.
                if self.length.is_none_or(|before| before == list.len()) {
                    self.list = Some(list);
                }
                Some(list.len())
            }
            Op::Length { length, .. } => length.checked_sub(self.own.len()),
        };
        let agrees = length.is_some() && self.length.is_none_or(|before| Some(before) == length);
        if agrees {
            self.length = length;
        }
        agrees
    }
}
