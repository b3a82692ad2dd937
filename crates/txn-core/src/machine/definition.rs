//! What a host writes to get a machine, and why it may be refused.

use super::layout::{Edge, Fault};
use super::{EVENTS_MAX, STATES_MAX, Variants};

/// A machine as data, not yet verified. Pairs that are not listed are illegal.
///
/// `S` is the enum of states and `E` that of events; all values of `S` must take part, those of `E` may be left out.
///
/// ```
/// use txn_core::machine::{Definition, DefinitionError, Machine};
///
/// txn_core::variants! {
///     enum Door { Open, Shut, Painted }
///     enum Act { Close }
/// }
/// let forgotten = Definition {
///     initial: &[Door::Open],
///     terminal: &[Door::Shut],
///     edges: &[(Door::Open, Act::Close, Door::Shut)],
///     reopening: &[],
/// };
/// let refused = Machine::build(&forgotten).unwrap_err();
/// assert_eq!(refused, DefinitionError::Unreachable { state: "Painted" });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a, S, E> {
    /// Where a record may begin; at least one.
    pub initial: &'a [S],
    /// Where it is over; at least one.
    pub terminal: &'a [S],
    /// From, event, to. None of them leaves a terminal state.
    pub edges: &'a [(S, E, S)],
    /// The allowed exits from terminal states, such as a dispute or a return. All of them leave a terminal state.
    pub reopening: &'a [(S, E, S)],
}

/// Why a [`Definition`] is not a machine. One fault is reported, the first that is found.
///
/// ```
/// use txn_core::machine::DefinitionError;
///
/// let refused = DefinitionError::DuplicateEdge { from: "Sent", event: "Deliver" };
/// assert_eq!(refused.to_string(), "two edges leave Sent on Deliver");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// More states than a machine may have.
    #[error("{count} states are over the limit of {max}")]
    TooManyStates {
        /// The number of states.
        count: usize,
        /// The limit, [`STATES_MAX`].
        max: usize,
    },
    /// More events than a machine may have.
    #[error("{count} events are over the limit of {max}")]
    TooManyEvents {
        /// The number of events.
        count: usize,
        /// The limit, [`EVENTS_MAX`].
        max: usize,
    },
    /// A value whose index is not its position in [`Variants::ALL`].
    #[error("{name} has index {index} and position {position}")]
    Misnumbered {
        /// The name of the value.
        name: &'static str,
        /// What it says of itself.
        index: usize,
        /// Where it is listed.
        position: usize,
    },
    /// A value in use that [`Variants::ALL`] does not list.
    #[error("{name} is not listed among all values")]
    Unknown {
        /// The name of the value.
        name: &'static str,
    },
    /// No initial state, so that nothing can begin.
    #[error("no state is initial")]
    NoInitial,
    /// No terminal state, so that nothing can end.
    #[error("no state is terminal")]
    NoTerminal,
    /// An edge out of a terminal state that is not declared as reopening it.
    #[error("{from} is terminal, yet {event} leaves it without being declared as reopening")]
    LeavesTerminal {
        /// The terminal state.
        from: &'static str,
        /// The event.
        event: &'static str,
    },
    /// A reopening edge out of a state that is not terminal.
    #[error("{from} is not terminal, so that {event} has nothing to reopen")]
    ReopensOpen {
        /// The state.
        from: &'static str,
        /// The event.
        event: &'static str,
    },
    /// Two edges for one pair of state and event, whether or not they lead to the same state.
    #[error("two edges leave {from} on {event}")]
    DuplicateEdge {
        /// The state.
        from: &'static str,
        /// The event.
        event: &'static str,
    },
    /// A state that no path from an initial state reaches.
    #[error("{state} cannot be reached from an initial state")]
    Unreachable {
        /// The state.
        state: &'static str,
    },
    /// A state from which no path leads to a terminal state: without an exit, or in a circle without one.
    #[error("{state} is a dead end: no terminal state can be reached from it")]
    DeadEnd {
        /// The state.
        state: &'static str,
    },
}

impl DefinitionError {
    pub(super) fn named<S: Variants, E: Variants>(fault: Fault) -> DefinitionError {
        let pair = |edge: Edge| (name_at::<S>(edge.from), name_at::<E>(edge.event));
        match fault {
            Fault::TooManyStates => DefinitionError::TooManyStates { count: S::ALL.len(), max: STATES_MAX },
            Fault::TooManyEvents => DefinitionError::TooManyEvents { count: E::ALL.len(), max: EVENTS_MAX },
            Fault::NotListed => DefinitionError::Unknown { name: NOT_LISTED },
            Fault::NoInitial => DefinitionError::NoInitial,
            Fault::NoTerminal => DefinitionError::NoTerminal,
            Fault::LeavesTerminal(edge) => {
                let (from, event) = pair(edge);
                DefinitionError::LeavesTerminal { from, event }
            }
            Fault::ReopensOpen(edge) => {
                let (from, event) = pair(edge);
                DefinitionError::ReopensOpen { from, event }
            }
            Fault::DuplicateEdge(edge) => {
                let (from, event) = pair(edge);
                DefinitionError::DuplicateEdge { from, event }
            }
            Fault::Unreachable(at) => DefinitionError::Unreachable { state: name_at::<S>(at) },
            Fault::DeadEnd(at) => DefinitionError::DeadEnd { state: name_at::<S>(at) },
        }
    }
}

/// Stands in for a name; not met through `Machine::build`, which refuses an unlisted value while it still has its name.
const NOT_LISTED: &str = "a value";

fn name_at<T: Variants>(position: u8) -> &'static str {
    T::ALL.get(usize::from(position)).map_or(NOT_LISTED, |value| value.name())
}
