//! Fairness: changes wait in one line per tenant, and a group takes from every line in turn, so that a tenant with much to do does not keep the others waiting.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use txn_change::Tenant;

use super::{Call, Waiting};
use crate::{
    error::{Error, ErrorKind},
    limits::StoreLimits,
};

/// So many changes for each place of a line in a group are passed over, at most, to fill it.
pub(super) const PASSED_MAX: usize = 2;

/// The lines of all tenants. The changes of one call stand in the line of its first, in their order.
#[derive(Default)]
pub(crate) struct Lines {
    lines: HashMap<Tenant, VecDeque<Waiting>>,
    /// Whose turn it is. Every line that is not empty stands here once.
    turns: VecDeque<Tenant>,
    count: usize,
}

impl Lines {
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many wait.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Adds changes at the end of their lines.
    pub(crate) fn add(&mut self, changes: impl IntoIterator<Item = Waiting>) {
        // The changes of a call come together, its first one first.
        let mut last: Option<(Tenant, Arc<Call>)> = None;
        for waiting in changes {
            let line = match last {
                Some((line, call)) if Arc::ptr_eq(&call, &waiting.call) => line,
                _ => waiting.commit.tenant.clone(),
            };
            last = Some((line.clone(), Arc::clone(&waiting.call)));
            self.line(&line).push_back(waiting);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Puts back what a group could not take, in its order, before everything else in its line. `line` is the tenant of the call's first change, as
    /// [`Lines::gather`] gave it.
    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn put_back(&mut self, changes: Vec<(Tenant, Waiting)>) {
        for (line, waiting) in changes.into_iter().rev() {
            self.line(&line).push_front(waiting);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Puts back changes of one call behind everything else in its line, with what is left of the call.
    #[cfg(feature = "postgres")]
    pub(crate) fn put_last(&mut self, changes: Vec<(Tenant, Waiting)>) {
        let Some((line, first)) = changes.first() else { return };
        let (line, rest) = (line.clone(), self.take_call_of(first));
        for waiting in changes.into_iter().map(|(_, waiting)| waiting).chain(rest) {
            self.line(&line).push_back(waiting);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Takes what stands in line of the call of this change, in its order.
    #[cfg(feature = "postgres")]
    pub(crate) fn take_call_of(&mut self, first: &Waiting) -> Vec<Waiting> {
        let mut taken = Vec::new();
        for line in self.lines.values_mut() {
            if !line.iter().any(|next| next.is_of_call_of(first)) {
                continue;
            }
            // Others may stand before it, that were passed over or put back.
            let (of_call, others): (VecDeque<Waiting>, VecDeque<Waiting>) =
                std::mem::take(line).into_iter().partition(|next| next.is_of_call_of(first));
            *line = others;
            self.count = self.count.saturating_sub(of_call.len());
            taken.extend(of_call);
        }
        self.lines.retain(|_, line| !line.is_empty());
        self.turns.retain(|tenant| self.lines.contains_key(tenant));
        taken
    }

    fn line(&mut self, tenant: &Tenant) -> &mut VecDeque<Waiting> {
        if !self.lines.contains_key(tenant) {
            self.turns.push_back(tenant.clone());
            self.lines.insert(tenant.clone(), VecDeque::new());
        }
        self.lines.get_mut(tenant).expect("inserted above")
    }

    /// Takes the next group, each change with its line: at most so many and so large as the limits say, at least one if any waits. Calls that were dropped while
    /// they waited are not begun; those that waited too long are answered.
    #[cfg(any(test, feature = "sqlite"))]
    pub(crate) fn gather(&mut self, limits: &StoreLimits) -> Vec<(Tenant, Waiting)> {
        self.gather_if(limits, |_| true)
    }

    /// As [`Lines::gather`], without those that may not be taken now: they keep their places.
    pub(crate) fn gather_if(
        &mut self,
        limits: &StoreLimits,
        mut may_take: impl FnMut(&mut Waiting) -> bool,
    ) -> Vec<(Tenant, Waiting)> {
        let now = Instant::now();
        let group_max = limits.group_max.max(1);
        let mut group: Vec<(Tenant, Waiting)> = Vec::with_capacity(self.count.min(group_max));
        let (mut bytes, mut is_full) = (0usize, false);
        // Lines of which no more can be taken now, and whether something was.
        let mut aside: Vec<(Tenant, bool)> = Vec::new();
        while !is_full
            && group.len() < group_max
            && let Some(tenant) = self.turns.pop_front()
        {
            let turns = self.turns.len().saturating_add(1);
            let share = group_max.div_ceil(turns).min(group_max.saturating_sub(group.len()));
            let mut line = self.lines.remove(&tenant).unwrap_or_default();
            let mut taken = 0usize;
            let mut passed: Vec<Waiting> = Vec::new();
            while taken < share
                && passed.len() < share.saturating_mul(PASSED_MAX)
                && let Some(mut next) = line.pop_front()
            {
                let waited = now.duration_since(next.since);
                if next.is_dropped() || waited > limits.wait_max {
                    self.count = self.count.saturating_sub(1);
                    let context = format!("waited {waited:?} to be begun; at most {:?} are allowed", limits.wait_max);
                    next.answer(Err(Error::new(ErrorKind::Overloaded, context)));
                    continue;
                }
                let with_next = bytes.saturating_add(next.bytes);
                is_full = !group.is_empty() && with_next > limits.group_bytes_max;
                if is_full {
                    line.push_front(next);
                    break;
                }
                if !may_take(&mut next) {
                    passed.push(next);
                    continue;
                }
                bytes = with_next;
                self.count = self.count.saturating_sub(1);
                if !next.begin() {
                    // Given up just now; its caller has been answered.
                    continue;
                }
                taken = taken.saturating_add(1);
                group.push((tenant.clone(), next));
            }
            let has_more = taken == share || is_full;
            passed.into_iter().rev().for_each(|waiting| line.push_front(waiting));
            if line.is_empty() {
                continue;
            }
            self.lines.insert(tenant.clone(), line);
            // Whoever found the group full keeps its turn.
            match (has_more, taken > 0) {
                (true, true) => self.turns.push_back(tenant),
                (true, false) => self.turns.push_front(tenant),
                (false, was_served) => aside.push((tenant, was_served)),
            }
        }
        for (tenant, was_served) in aside.into_iter().rev() {
            if was_served {
                self.turns.push_back(tenant);
            } else {
                self.turns.push_front(tenant);
            }
        }
        group
    }

    /// Takes everything.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Waiting> {
        self.turns.clear();
        self.count = 0;
        std::mem::take(&mut self.lines).into_values().flatten()
    }
}
