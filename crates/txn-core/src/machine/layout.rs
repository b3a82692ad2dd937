//! The rules of a sound machine, over plain numbers, so that the compiler can apply them too.
//!
//! Not public: reached only by the expansion of [`state_machine!`](crate::state_machine), and free to change.
//!
//! A trait's methods cannot be called while compiling, a cast of a concrete enum can. So the macro turns states and events into
//! numbers, [`Machine::build`](super::Machine::build) does the same at run time, and both are judged here.

use super::{EVENTS_MAX, STATES_MAX};

/// The cell of an illegal pair. Above every state, see [`STATES_MAX`].
pub(super) const ILLEGAL: u8 = u8::MAX;

/// A machine in numbers; sets of states are bit masks.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'a> {
    pub states: usize,
    pub events: usize,
    pub initial: u64,
    pub terminal: u64,
    pub edges: &'a [Edge],
}

/// One edge in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub from: u8,
    pub event: u8,
    pub to: u8,
    pub is_reopening: bool,
}

impl Edge {
    /// A place to be overwritten.
    pub const NONE: Edge = Edge { from: 0, event: 0, to: 0, is_reopening: false };
}

/// A broken rule.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    TooManyStates,
    TooManyEvents,
    NotListed,
    NoInitial,
    NoTerminal,
    LeavesTerminal(Edge),
    ReopensOpen(Edge),
    DuplicateEdge(Edge),
    Unreachable(u8),
    DeadEnd(u8),
}

#[derive(Clone, Copy)]
enum Along {
    Forward,
    Backward,
}

impl Layout<'_> {
    /// The first rule that is broken.
    pub const fn fault(&self) -> Option<Fault> {
        if self.states > STATES_MAX {
            return Some(Fault::TooManyStates);
        }
        if self.events > EVENTS_MAX {
            return Some(Fault::TooManyEvents);
        }
        if self.initial == 0 {
            return Some(Fault::NoInitial);
        }
        if self.terminal == 0 {
            return Some(Fault::NoTerminal);
        }
        if let Some(fault) = self.fault_of_an_edge() {
            return Some(fault);
        }
        if let Some(state) = self.first_outside(self.closure(self.initial, Along::Forward)) {
            return Some(Fault::Unreachable(state));
        }
        if let Some(state) = self.first_outside(self.closure(self.terminal, Along::Backward)) {
            return Some(Fault::DeadEnd(state));
        }
        None
    }

    const fn fault_of_an_edge(&self) -> Option<Fault> {
        let mut rest = self.edges;
        while let [edge, tail @ ..] = rest {
            let is_listed = (edge.from as usize) < self.states && (edge.to as usize) < self.states;
            if !is_listed || edge.event as usize >= self.events {
                return Some(Fault::NotListed);
            }
            match (self.terminal & bit(edge.from) != 0, edge.is_reopening) {
                (true, false) => return Some(Fault::LeavesTerminal(*edge)),
                (false, true) => return Some(Fault::ReopensOpen(*edge)),
                (true, true) | (false, false) => {}
            }
            let mut later = tail;
            while let [other, more @ ..] = later {
                if other.from == edge.from && other.event == edge.event {
                    return Some(Fault::DuplicateEdge(*edge));
                }
                later = more;
            }
            rest = tail;
        }
        None
    }

    /// The states that edges connect with `seed`, including it.
    const fn closure(&self, seed: u64, along: Along) -> u64 {
        let mut connected = seed;
        loop {
            let before = connected;
            let mut rest = self.edges;
            while let [edge, tail @ ..] = rest {
                let (near, far) = match along {
                    Along::Forward => (edge.from, edge.to),
                    Along::Backward => (edge.to, edge.from),
                };
                if connected & bit(near) != 0 {
                    connected |= bit(far);
                }
                rest = tail;
            }
            if connected == before {
                return connected;
            }
        }
    }

    const fn first_outside(&self, set: u64) -> Option<u8> {
        let mut state = 0u8;
        while (state as usize) < self.states {
            if set & bit(state) == 0 {
                return Some(state);
            }
            state = state.saturating_add(1);
        }
        None
    }

    /// The length of the dense table.
    pub const fn cells(&self) -> usize {
        self.states.saturating_mul(self.events)
    }

    /// The dense table, one row per state; stops the compiler if a rule is broken.
    pub const fn compiled<const CELLS: usize>(&self) -> [u8; CELLS] {
        self.stop_if_faulty();
        let mut table = [ILLEGAL; CELLS];
        self.fill(&mut table);
        table
    }

    /// Writes the edges into a table of illegal cells. The layout must be free of faults.
    #[expect(clippy::indexing_slicing, reason = "a const fn has no get_mut; without faults every cell is inside")]
    pub(super) const fn fill(&self, table: &mut [u8]) {
        let mut rest = self.edges;
        while let [edge, tail @ ..] = rest {
            let row = (edge.from as usize).saturating_mul(self.events);
            table[row.saturating_add(edge.event as usize)] = edge.to;
            rest = tail;
        }
    }

    #[expect(clippy::panic, reason = "evaluated by the compiler: a faulty machine does not compile")]
    const fn stop_if_faulty(&self) {
        match self.fault() {
            None => {}
            Some(Fault::TooManyStates) => panic!("too many states"),
            Some(Fault::TooManyEvents) => panic!("too many events"),
            Some(Fault::NotListed) => {
                panic!("a state or event is not listed, or not in the order of its numbers")
            }
            Some(Fault::NoInitial) => panic!("no state is initial"),
            Some(Fault::NoTerminal) => panic!("no state is terminal"),
            Some(Fault::LeavesTerminal(_)) => {
                panic!("an edge leaves a terminal state without being declared as reopening")
            }
            Some(Fault::ReopensOpen(_)) => {
                panic!("a reopening edge leaves a state that is not terminal")
            }
            Some(Fault::DuplicateEdge(_)) => panic!("two edges leave one state on one event"),
            Some(Fault::Unreachable(_)) => {
                panic!("a state cannot be reached from an initial state")
            }
            Some(Fault::DeadEnd(_)) => {
                panic!("a state is a dead end: no terminal state can be reached from it")
            }
        }
    }
}

/// The mask of one state; none above [`STATES_MAX`].
pub const fn bit(state: u8) -> u64 {
    match 1u64.checked_shl(state as u32) {
        Some(bit) => bit,
        None => 0,
    }
}

/// Both lists in one array of their length.
pub const fn joined<const LENGTH: usize>(first: &[Edge], second: &[Edge]) -> [Edge; LENGTH] {
    let mut all = [Edge::NONE; LENGTH];
    let (head, tail) = all.split_at_mut(first.len());
    head.copy_from_slice(first);
    tail.copy_from_slice(second);
    all
}
