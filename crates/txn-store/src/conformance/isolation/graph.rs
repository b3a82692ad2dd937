//! Which transaction stands before which, and why.

use std::collections::HashSet;

use super::{
    history::History,
    orders::{Order, Orders},
};

/// Transactions by their place in the history, and the edges between them.
pub(super) struct Graph<'h> {
    out: Vec<Vec<Edge<'h>>>,
}

/// The transaction that it belongs to stands before `to`.
#[derive(Clone, Copy)]
pub(super) struct Edge<'h> {
    pub(super) to: usize,
    pub(super) why: Why,
    /// The list that it comes from.
    pub(super) list: &'h str,
}

/// Why one transaction stands before another; from the strictest to the weakest, as the search for cycles adds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// The other appended behind it (ww).
    Overwritten,
    /// The other saw what it appended (wr).
    Seen,
    /// It did not see what the other appended (rw).
    Missed,
    /// It stands before the other in the same call.
    Called,
    /// It was over before the other began.
    Over,
}

/// How many of the appends that no reading shows are held against one reader. Each of them is a proof of its own.
const UNSEEN_MAX: usize = 8;

impl<'h> Graph<'h> {
    pub(super) fn of(history: &'h History, orders: &Orders<'h>) -> Self {
        let mut graph = Self { out: history.transactions.iter().map(|_| Vec::new()).collect() };
        for order in &orders.lists {
            graph.take(history, order);
        }
        graph.take_time(history, orders);
        graph
    }

    pub(super) fn out(&self, from: usize) -> &[Edge<'h>] {
        self.out.get(from).map_or(&[], Vec::as_slice)
    }

    pub(super) const fn len(&self) -> usize {
        self.out.len()
    }

    fn edge(&mut self, from: usize, to: usize, why: Why, list: &'h str) {
        if from != to
            && let Some(edges) = self.out.get_mut(from)
        {
            edges.push(Edge { to, why, list });
        }
    }

    fn take(&mut self, history: &'h History, order: &Order<'h>) {
        // By place in the list: the last known writer before it, and the next known one from it on.
        let mut last = None;
        let mut before = vec![None];
        for writer in order.writers.iter().copied() {
            if let (Some(from), Some(to)) = (last, writer) {
                self.edge(from, to, Why::Overwritten, order.name);
            }
            last = writer.or(last);
            before.push(last);
        }
        let mut next = None;
        let mut behind: Vec<Option<usize>> = order
            .writers
            .iter()
            .rev()
            .map(|writer| {
                next = writer.or(next);
                next
            })
            .collect();
        behind.reverse();
        let mut unseen = order.unseen.clone();
        unseen.sort_unstable_by_key(|at| history.transactions.get(*at).and_then(|t| t.end));
        if let Some(last) = last {
            unseen.iter().for_each(|writer| self.edge(last, *writer, Why::Overwritten, order.name));
        }
        for reading in &order.readings {
            if !reading.is_in_order {
                continue;
            }
            let at_end = reading.length.min(order.values.len());
            if let Some(writer) = before.get(at_end).copied().flatten() {
                self.edge(writer, reading.reader, Why::Seen, order.name);
            }
            if reading.length > order.values.len() {
                continue;
            }
            match behind.get(reading.length).copied().flatten() {
                Some(writer) => self.edge(reading.reader, writer, Why::Missed, order.name),
                None => {
                    for writer in unseen.iter().take(UNSEEN_MAX) {
                        self.edge(reading.reader, *writer, Why::Missed, order.name);
                    }
                }
            }
        }
    }

    /// The order of time, without the edges that follow from others: a new transaction is put behind those that were over and have nobody behind them that was
    /// over as well. Of these there are never more than ran at once, so that each has as many edges as there are callers, and not as there are
    /// transactions.
    fn take_time(&mut self, history: &'h History, orders: &Orders<'h>) {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (at, transaction) in history.transactions.iter().enumerate() {
            if !orders.has_happened(at) {
                continue;
            }
            moments.push((transaction.begin, false, at));
            // What is over when nobody knows stands before nothing.
            moments.extend(transaction.end.map(|end| (end, true, at)));
            let behind = transaction.behind.filter(|before| orders.has_happened(*before));
            if let Some(before) = behind {
                self.edge(before, at, Why::Called, "");
            }
        }
        moments.sort_unstable();
        let mut over: Vec<usize> = Vec::new();
        let mut before: Vec<HashSet<usize>> = self.out.iter().map(|_| HashSet::new()).collect();
        for (_, is_end, at) in moments {
            let Some(stands_behind) = before.get_mut(at) else { continue };
            if is_end {
                if !stands_behind.is_empty() {
                    over.retain(|other| !stands_behind.contains(other));
                }
                over.push(at);
                // Not asked again.
                *stands_behind = HashSet::new();
            } else {
                stands_behind.extend(&over);
                for other in &over {
                    self.edge(*other, at, Why::Over, "");
                }
            }
        }
    }
}
