//! The strongly connected components of a graph, without recursion: a history may be one long chain.

use super::graph::{Graph, Why};

/// The number of each transaction's component, over edges up to a kind.
pub(super) fn components(graph: &Graph<'_>, up_to: Why) -> Vec<usize> {
    let visits = (0..graph.len()).map(|_| Visit::default()).collect();
    let mut tarjan = Tarjan { graph, up_to, visits, open: Vec::new(), visited: 0, closed: 0 };
    for root in 0..graph.len() {
        if tarjan.visit(root).number == 0 {
            tarjan.walk(root);
        }
    }
    tarjan.visits.into_iter().map(|visit| visit.part).collect()
}

#[derive(Clone, Copy, Default)]
struct Visit {
    /// When it was first come to, from 1; 0 when it was not.
    number: usize,
    /// The earliest visit that is reached from it and still open.
    low: usize,
    is_open: bool,
    part: usize,
}

struct Tarjan<'g, 'h> {
    graph: &'g Graph<'h>,
    up_to: Why,
    visits: Vec<Visit>,
    open: Vec<usize>,
    visited: usize,
    closed: usize,
}

impl Tarjan<'_, '_> {
    fn visit(&self, node: usize) -> Visit {
        self.visits.get(node).copied().unwrap_or_default()
    }

    fn walk(&mut self, root: usize) {
        self.enter(root);
        let mut path = vec![(root, 0usize)];
        while let Some((node, cursor)) = path.pop() {
            let Some(edge) = self.graph.out(node).get(cursor) else {
                self.leave(node, path.last().map(|(parent, _)| *parent));
                continue;
            };
            path.push((node, cursor.saturating_add(1)));
            if edge.why > self.up_to {
                continue;
            }
            let visit = self.visit(edge.to);
            if visit.number == 0 {
                self.enter(edge.to);
                path.push((edge.to, 0));
            } else if visit.is_open {
                self.lower(node, visit.number);
            }
        }
    }

    fn enter(&mut self, node: usize) {
        self.visited = self.visited.saturating_add(1);
        if let Some(visit) = self.visits.get_mut(node) {
            *visit = Visit { number: self.visited, low: self.visited, is_open: true, part: 0 };
        }
        self.open.push(node);
    }

    fn leave(&mut self, node: usize, parent: Option<usize>) {
        let visit = self.visit(node);
        if visit.low == visit.number {
            while let Some(member) = self.open.pop() {
                if let Some(visit) = self.visits.get_mut(member) {
                    (visit.is_open, visit.part) = (false, self.closed);
                }
                if member == node {
                    break;
                }
            }
            self.closed = self.closed.saturating_add(1);
        }
        if let Some(parent) = parent {
            self.lower(parent, visit.low);
        }
    }

    fn lower(&mut self, node: usize, to: usize) {
        if let Some(visit) = self.visits.get_mut(node) {
            visit.low = visit.low.min(to);
        }
    }
}
