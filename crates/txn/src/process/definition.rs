//! What a process does with an event in a state, as data: verified when it is registered, and drawn from the same table.

use std::fmt::{self, Write};

use serde::Serialize;
use txn_change::{Fingerprint, NameError};
use txn_core::machine::{EVENTS_MAX, STATES_MAX, Variants};

/// What becomes of an event in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy<S: 'static> {
    /// It is decided on, and leads to one of these states. The decision says which.
    Apply(&'static [S]),
    /// It is dropped, and counted.
    Ignore,
    /// It waits until the state is another.
    Defer,
    /// It is refused, and counted: whoever brought it is told.
    Reject,
}

/// What becomes of an event while its instance has not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Early<S: 'static> {
    /// It begins the instance, in one of these states.
    Begin(&'static [S]),
    /// It is dropped, and counted.
    Ignore,
    /// It waits for the beginning.
    Defer,
    /// It is refused, and counted.
    Reject,
}

/// The table of a process. Every pair of state and event stands in it exactly once; a row may decide several pairs.
///
/// ```
/// use txn::process::{Definition, DefinitionError, Early, Policy};
///
/// txn::core::variants! {
///     enum State { Waiting, Paid, Cancelled }
///     enum Event { Placed, Paid, Cancelled }
/// }
/// const ORDER: Definition<State, Event> = Definition {
///     early: &[(&[Event::Placed], Early::Begin(&[State::Waiting])), (&[Event::Paid, Event::Cancelled], Early::Defer)],
///     finals: &[State::Paid, State::Cancelled],
///     rules: &[
///         (&[State::Waiting], &[Event::Placed], Policy::Ignore),
///         (&[State::Waiting], &[Event::Paid], Policy::Apply(&[State::Paid])),
///         (&[State::Waiting], &[Event::Cancelled], Policy::Apply(&[State::Cancelled])),
///         (&[State::Paid, State::Cancelled], &[Event::Placed, Event::Paid], Policy::Ignore),
///     ],
/// };
/// let refused = ORDER.verify().unwrap_err();
/// assert_eq!(refused, DefinitionError::Undecided { state: "Paid", event: "Cancelled" });
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Definition<S: 'static, E: 'static> {
    /// What becomes of each event while there is no instance; at least one begins it.
    pub early: &'static [(&'static [E], Early<S>)],
    /// Where an instance is over. Nothing is applied or deferred there.
    pub finals: &'static [S],
    /// In these states, these events, have this policy.
    pub rules: &'static [(&'static [S], &'static [E], Policy<S>)],
}

/// Why a [`Definition`] is not the table of a process. One fault is told, the first that is found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// More states or events than a table may have.
    #[error("{count} {what} are over the limit of {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A value whose index is not its position.
    #[error("{name} is not numbered by its position among all values")]
    Misnumbered {
        /// The value's name.
        name: &'static str,
    },
    /// A pair that no row decides.
    #[error("nothing says what becomes of {event} in {state}")]
    Undecided {
        /// The state, or `the beginning`.
        state: &'static str,
        /// The event.
        event: &'static str,
    },
    /// A pair that two rows decide.
    #[error("two rows say what becomes of {event} in {state}")]
    Twice {
        /// The state, or `the beginning`.
        state: &'static str,
        /// The event.
        event: &'static str,
    },
    /// An event that is applied and leads nowhere.
    #[error("{event} is applied in {state} and leads to no state")]
    NoTarget {
        /// The state, or `the beginning`.
        state: &'static str,
        /// The event.
        event: &'static str,
    },
    /// No event begins the process.
    #[error("no event begins the process")]
    NoBeginning,
    /// No state is final.
    #[error("no state is final")]
    NoFinal,
    /// An event is applied or deferred in a final state.
    #[error("{state} is final, yet {event} is applied or deferred there")]
    FinalGoesOn {
        /// The final state.
        state: &'static str,
        /// The event.
        event: &'static str,
    },
    /// A state that no path from the beginning reaches.
    #[error("{state} cannot be reached")]
    Unreachable {
        /// The state.
        state: &'static str,
    },
    /// A state from which no path leads to a final one.
    #[error("{state} is a dead end: no final state can be reached from it")]
    DeadEnd {
        /// The state.
        state: &'static str,
    },
    /// The process, a step or a timeout has a bad name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A process was registered twice in one version.
    #[error("{process} version {version} is registered twice")]
    Registered {
        /// The process.
        process: &'static str,
        /// The version.
        version: u32,
    },
    /// A process begins steps that nothing carries out.
    #[error("{process} begins the step {step}, which is not registered")]
    NoStep {
        /// The process.
        process: &'static str,
        /// The step.
        step: &'static str,
    },
}

/// The beginning in messages.
const BEGINNING: &str = "the beginning";

/// One pair, decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) enum Cell {
    Apply(Vec<usize>),
    Ignore,
    Defer,
    Reject,
}

/// A verified table over the positions of states and events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    states: Vec<&'static str>,
    events: Vec<&'static str>,
    finals: Vec<bool>,
    /// The row of the beginning, then a row per state.
    rows: Vec<Vec<Cell>>,
}

impl<S: Variants, E: Variants> Definition<S, E> {
    /// Checks that every pair is decided once, that every state can be reached and can come to an end, and that what is over stays so.
    ///
    /// # Errors
    /// [`DefinitionError`], with the names of the state and the event.
    pub fn verify(&self) -> Result<Table, DefinitionError> {
        numbered::<S>("states", STATES_MAX)?;
        numbered::<E>("events", EVENTS_MAX)?;
        let blank = || vec![None; E::ALL.len()];
        let mut beginning: Vec<Option<Cell>> = blank();
        for (events, early) in self.early {
            let cell = match early {
                Early::Begin(targets) => Cell::Apply(targets.iter().map(|state| state.index()).collect()),
                Early::Ignore => Cell::Ignore,
                Early::Defer => Cell::Defer,
                Early::Reject => Cell::Reject,
            };
            events.iter().try_for_each(|event| decide(&mut beginning, BEGINNING, *event, &cell))?;
        }
        let mut rows: Vec<Vec<Option<Cell>>> = S::ALL.iter().map(|_| blank()).collect();
        for (states, events, policy) in self.rules {
            let cell = match policy {
                Policy::Apply(targets) => Cell::Apply(targets.iter().map(|state| state.index()).collect()),
                Policy::Ignore => Cell::Ignore,
                Policy::Defer => Cell::Defer,
                Policy::Reject => Cell::Reject,
            };
            for state in *states {
                let row = rows.get_mut(state.index()).ok_or(DefinitionError::Misnumbered { name: state.name() })?;
                events.iter().try_for_each(|event| decide(row, state.name(), *event, &cell))?;
            }
        }
        let mut decided = vec![whole::<E>(BEGINNING, beginning)?];
        for (state, row) in S::ALL.iter().zip(rows) {
            decided.push(whole::<E>(state.name(), row)?);
        }
        let is_final = |state: &S| self.finals.iter().any(|other| other.index() == state.index());
        let table = Table {
            states: S::ALL.iter().map(|state| state.name()).collect(),
            events: E::ALL.iter().map(|event| event.name()).collect(),
            finals: S::ALL.iter().map(is_final).collect(),
            rows: decided,
        };
        table.check()?;
        Ok(table)
    }
}

fn numbered<T: Variants>(what: &'static str, max: usize) -> Result<(), DefinitionError> {
    let count = T::ALL.len();
    if count > max {
        return Err(DefinitionError::TooMany { what, count, max });
    }
    match T::ALL.iter().enumerate().find(|(position, value)| value.index() != *position) {
        Some((_, value)) => Err(DefinitionError::Misnumbered { name: value.name() }),
        None => Ok(()),
    }
}

fn decide<E: Variants>(
    row: &mut [Option<Cell>],
    state: &'static str,
    event: E,
    cell: &Cell,
) -> Result<(), DefinitionError> {
    let place = row.get_mut(event.index()).ok_or(DefinitionError::Misnumbered { name: event.name() })?;
    if place.is_some() {
        return Err(DefinitionError::Twice { state, event: event.name() });
    }
    if *cell == Cell::Apply(Vec::new()) {
        return Err(DefinitionError::NoTarget { state, event: event.name() });
    }
    *place = Some(cell.clone());
    Ok(())
}

fn whole<E: Variants>(state: &'static str, row: Vec<Option<Cell>>) -> Result<Vec<Cell>, DefinitionError> {
    let undecided = |event: &E| DefinitionError::Undecided { state, event: event.name() };
    row.into_iter().zip(E::ALL).map(|(cell, event)| cell.ok_or_else(|| undecided(event))).collect()
}

impl Table {
    fn check(&self) -> Result<(), DefinitionError> {
        if !self.finals.contains(&true) {
            return Err(DefinitionError::NoFinal);
        }
        for (state, row) in self.rows.iter().skip(1).enumerate().filter(|(state, _)| self.is_final(*state)) {
            let goes_on = row.iter().position(|cell| matches!(cell, Cell::Apply(_) | Cell::Defer));
            if let Some(event) = goes_on {
                return Err(DefinitionError::FinalGoesOn { state: self.state(state), event: self.event(event) });
            }
        }
        let begun: Vec<usize> = self.rows.first().into_iter().flat_map(|row| targets(row)).collect();
        if begun.is_empty() {
            return Err(DefinitionError::NoBeginning);
        }
        let reached =
            self.closure(begun, |state| self.rows.get(state.saturating_add(1)).map_or(vec![], |r| targets(r)));
        if let Some(state) = reached.iter().position(|reached| !reached) {
            return Err(DefinitionError::Unreachable { state: self.state(state) });
        }
        let finals = (0..self.states.len()).filter(|state| self.is_final(*state)).collect();
        let sources = |to: usize| -> Vec<usize> {
            let rows = self.rows.iter().skip(1).enumerate();
            rows.filter(|(_, row)| targets(row).contains(&to)).map(|(from, _)| from).collect()
        };
        let ends = self.closure(finals, sources);
        match ends.iter().position(|ends| !ends) {
            Some(state) => Err(DefinitionError::DeadEnd { state: self.state(state) }),
            None => Ok(()),
        }
    }

    fn closure(&self, mut open: Vec<usize>, next: impl Fn(usize) -> Vec<usize>) -> Vec<bool> {
        let mut seen = vec![false; self.states.len()];
        while let Some(state) = open.pop() {
            if let Some(place) = seen.get_mut(state).filter(|seen| !**seen) {
                *place = true;
                open.extend(next(state));
            }
        }
        seen
    }

    /// What becomes of an event; in no state at the beginning.
    pub(crate) fn cell(&self, state: Option<usize>, event: usize) -> &Cell {
        let row = state.map_or(0, |state| state.saturating_add(1));
        self.rows.get(row).and_then(|row| row.get(event)).unwrap_or(&Cell::Reject)
    }

    pub(crate) fn is_final(&self, state: usize) -> bool {
        self.finals.get(state).copied().unwrap_or_default()
    }

    pub(crate) fn state(&self, position: usize) -> &'static str {
        self.states.get(position).copied().unwrap_or_default()
    }

    pub(crate) fn event(&self, position: usize) -> &'static str {
        self.events.get(position).copied().unwrap_or_default()
    }

    pub(crate) fn state_at(&self, name: &str) -> Option<usize> {
        self.states.iter().position(|state| *state == name)
    }

    pub(crate) fn event_at(&self, name: &str) -> Option<usize> {
        self.events.iter().position(|event| *event == name)
    }

    /// The digest by which a table that was changed without a new version is known.
    pub(crate) fn digest(&self) -> String {
        hex(Fingerprint::of("process.table", self))
    }

    /// A Mermaid `stateDiagram-v2` of what is applied; ends with a newline.
    ///
    /// ```
    /// # use txn::process::{Definition, Early, Policy};
    /// # txn::core::variants! { enum Door { Open, Shut } enum Act { Enter, Close } }
    /// let door = Definition::<Door, Act> {
    ///     early: &[(&[Act::Enter], Early::Begin(&[Door::Open])), (&[Act::Close], Early::Reject)],
    ///     finals: &[Door::Shut],
    ///     rules: &[
    ///         (&[Door::Open], &[Act::Close], Policy::Apply(&[Door::Shut])),
    ///         (&[Door::Open, Door::Shut], &[Act::Enter], Policy::Ignore),
    ///         (&[Door::Shut], &[Act::Close], Policy::Reject),
    ///     ],
    /// };
    /// let expected = "\
    /// stateDiagram-v2
    ///     [*] --> Open: Enter
    ///     Open --> Shut: Close
    ///     Shut --> [*]
    /// ";
    /// assert_eq!(door.verify()?.to_mermaid(), expected);
    /// # Ok::<(), txn::process::DefinitionError>(())
    /// ```
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("stateDiagram-v2\n");
        self.write_mermaid(&mut text).expect("a String takes what is written to it");
        text
    }

    fn write_mermaid(&self, out: &mut String) -> fmt::Result {
        for (row, cells) in self.rows.iter().enumerate() {
            let from = row.checked_sub(1).map_or("[*]", |state| self.state(state));
            for (event, cell) in cells.iter().enumerate() {
                if let Cell::Apply(targets) = cell {
                    for to in targets {
                        writeln!(out, "    {from} --> {}: {}", self.state(*to), self.event(event))?;
                    }
                }
            }
            if row.checked_sub(1).is_some_and(|state| self.is_final(state)) {
                writeln!(out, "    {from} --> [*]")?;
            }
        }
        Ok(())
    }
}

fn targets(row: &[Cell]) -> Vec<usize> {
    let of = |cell: &Cell| if let Cell::Apply(targets) = cell { targets.clone() } else { Vec::new() };
    row.iter().flat_map(of).collect()
}

/// A digest as text.
pub(crate) fn hex(digest: Fingerprint) -> String {
    digest.0.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes what is written to it");
        text
    })
}
