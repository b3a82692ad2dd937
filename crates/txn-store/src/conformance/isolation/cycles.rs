//! Cycles: transactions of which each stands before the next. Components first (Tarjan, *Depth-first search and linear graph algorithms*, 1972), then a shortest
//! cycle in each, so that a person can read it.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{
    anomaly::{Anomaly, Found, Kind},
    components::components,
    graph::{Edge, Graph, Why},
    history::History,
};

/// One edge with where it begins.
type Hop<'h> = (usize, Edge<'h>);

/// Edges looked at in one search for shortest cycles, at most; a history that is wrong all over is told by the first cycles, not by the shortest of all.
const LOOKED_AT_MAX: usize = 20_000_000;

/// Names the cycles of a graph: in each component one of a kind.
pub(super) fn find_cycles(graph: &Graph<'_>, found: &mut Found<'_>) {
    let mut search = Search { graph, left: LOOKED_AT_MAX, told: HashSet::new() };
    for (kind, up_to) in [(Kind::DirtyWrite, Why::Overwritten), (Kind::CircularFlow, Why::Seen)] {
        let parts = components(graph, up_to);
        for hops in search.starts(&parts, up_to, |why| why == up_to) {
            if let Some(cycle) = search.shortest(&hops, &parts, up_to) {
                search.tell(kind, &cycle, found);
            }
        }
    }
    let parts = components(graph, Why::Missed);
    for hops in search.starts(&parts, Why::Missed, |why| why == Why::Missed) {
        // A missed write is read skew when nothing else was missed on the way back, and else write skew.
        let (mut skewed, mut rest) = (None, Vec::new());
        for hop in hops {
            if search.left == 0 && (skewed.is_some() || !rest.is_empty()) {
                break;
            }
            match search.shortest(&[hop], &parts, Why::Seen) {
                Some(cycle) => keep_shorter(&mut skewed, cycle),
                None => rest.push(hop),
            }
        }
        if let Some(cycle) = skewed {
            search.tell(Kind::ReadSkew, &cycle, found);
        }
        if let Some(cycle) = search.shortest(&rest, &parts, Why::Missed) {
            search.tell(Kind::WriteSkew, &cycle, found);
        }
    }
    search.find_out_of_time(found);
}

struct Search<'g, 'h> {
    graph: &'g Graph<'h>,
    /// How many edges may still be looked at.
    left: usize,
    /// The transactions in the cycles told so far.
    told: HashSet<usize>,
}

fn keep_shorter<'h>(best: &mut Option<Vec<Hop<'h>>>, cycle: Vec<Hop<'h>>) {
    if best.as_ref().is_none_or(|best| cycle.len() < best.len()) {
        *best = Some(cycle);
    }
}

impl<'h> Search<'_, 'h> {
    /// The edges within a component that a cycle may begin with, by component.
    fn starts(&self, parts: &[usize], up_to: Why, is_start: impl Fn(Why) -> bool) -> Vec<Vec<Hop<'h>>> {
        let mut by_part: HashMap<usize, usize> = HashMap::new();
        let mut starts: Vec<Vec<Hop<'h>>> = Vec::new();
        for from in 0..self.graph.len() {
            for edge in self.graph.out(from).iter().filter(|edge| edge.why <= up_to && is_start(edge.why)) {
                let part = parts.get(from);
                if part != parts.get(edge.to) {
                    continue;
                }
                let place = *by_part.entry(part.copied().unwrap_or_default()).or_insert(starts.len());
                if place == starts.len() {
                    starts.push(Vec::new());
                }
                if let Some(hops) = starts.get_mut(place) {
                    hops.push((from, *edge));
                }
            }
        }
        starts
    }

    /// A shortest cycle that begins with one of these edges and goes on over edges up to a kind. The first is looked for at any cost, the others while there is room.
    fn shortest(&mut self, hops: &[Hop<'h>], parts: &[usize], up_to: Why) -> Option<Vec<Hop<'h>>> {
        let mut best: Option<Vec<Hop<'h>>> = None;
        for (place, (from, edge)) in hops.iter().enumerate() {
            if place > 0 && self.left == 0 {
                break;
            }
            // Nothing is shorter than two.
            let length_max = best.as_ref().map_or(usize::MAX, |best| best.len().saturating_sub(1));
            if length_max < 2 {
                break;
            }
            if let Some(back) = self.path(edge.to, *from, parts, up_to, length_max.saturating_sub(1)) {
                keep_shorter(&mut best, [vec![(*from, *edge)], back].concat());
            }
        }
        best
    }

    /// A shortest path within a component, of at most so many edges; breadth first.
    fn path(&mut self, from: usize, to: usize, parts: &[usize], up_to: Why, length_max: usize) -> Option<Vec<Hop<'h>>> {
        let mut came_by: HashMap<usize, Hop<'h>> = HashMap::new();
        let mut waiting = VecDeque::from([(from, 0usize)]);
        while let Some((node, length)) = waiting.pop_front() {
            if length >= length_max {
                return None;
            }
            for edge in self.graph.out(node).iter().filter(|edge| edge.why <= up_to) {
                self.left = self.left.saturating_sub(1);
                if parts.get(edge.to) != parts.get(to) || edge.to == from || came_by.contains_key(&edge.to) {
                    continue;
                }
                came_by.insert(edge.to, (node, *edge));
                if edge.to == to {
                    return Some(walk_back(&came_by, from, to));
                }
                waiting.push_back((edge.to, length.saturating_add(1)));
            }
        }
        None
    }

    /// Cycles that need the order of time: where there is no other, or where two transactions alone contradict it.
    fn find_out_of_time(&mut self, found: &mut Found<'_>) {
        let history = found.history;
        let parts = components(self.graph, Why::Over);
        let told: HashSet<usize> = self.told.iter().filter_map(|at| parts.get(*at).copied()).collect();
        for hops in self.starts(&parts, Why::Over, |why| why < Why::Called) {
            let direct = hops.iter().find(|(from, edge)| was_over_before(history, edge.to, *from));
            if let Some((from, edge)) = direct {
                let back = Edge { to: *from, why: Why::Over, list: "" };
                self.tell(Kind::RealTime, &[(*from, *edge), (edge.to, back)], found);
                continue;
            }
            if hops.first().and_then(|(from, _)| parts.get(*from)).is_some_and(|part| told.contains(part)) {
                continue;
            }
            if let Some(cycle) = self.shortest(&hops, &parts, Why::Over) {
                self.tell(Kind::RealTime, &cycle, found);
            }
        }
    }

    fn tell(&mut self, kind: Kind, cycle: &[Hop<'h>], found: &mut Found<'_>) {
        self.told.extend(cycle.iter().map(|(from, _)| *from));
        if !found.has_room(kind) {
            return;
        }
        let history = found.history;
        let anomaly = cycle.iter().fold(Anomaly::new(kind), |anomaly, (from, edge)| {
            match (history.transactions.get(*from), history.transactions.get(edge.to)) {
                (Some(transaction), Some(next)) => anomaly.with(transaction, because(edge, &next.name)),
                _ => anomaly,
            }
        });
        found.anomalies.push(anomaly);
    }
}

fn walk_back<'h>(came_by: &HashMap<usize, Hop<'h>>, from: usize, to: usize) -> Vec<Hop<'h>> {
    let (mut hops, mut at) = (Vec::new(), to);
    while let Some(hop) = came_by.get(&at) {
        hops.push(*hop);
        at = hop.0;
        if at == from {
            break;
        }
    }
    hops.reverse();
    hops
}

fn was_over_before(history: &History, first: usize, second: usize) -> bool {
    match (history.transactions.get(first).and_then(|t| t.end), history.transactions.get(second)) {
        (Some(end), Some(second)) => end < second.begin,
        _ => false,
    }
}

fn because(edge: &Edge<'_>, next: &str) -> String {
    let list = edge.list;
    match edge.why {
        Why::Overwritten => format!("it appended to {list} before {next} did (ww)"),
        Why::Seen => format!("{next} saw what it appended to {list} (wr)"),
        Why::Missed => format!("it did not see what {next} appended to {list} (rw)"),
        Why::Called => format!("it stands before {next} in the same call"),
        Why::Over => format!("it was over before {next} began"),
    }
}
