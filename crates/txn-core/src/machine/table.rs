//! The verified machine: a dense table, one byte per pair of state and event.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::marker::PhantomData;

use super::layout::{Edge, ILLEGAL, Layout, bit};
use super::{Definition, DefinitionError, Variants};

/// The most states of one machine: a set of them is one `u64`.
pub const STATES_MAX: usize = 64;

/// The most events of one machine.
pub const EVENTS_MAX: usize = 64;

/// A sound machine over the states `S` and the events `E`; an unsound one cannot be made.
///
/// Immutable and free of a current state, so one `static` serves every record. Made by [`Machine::build`] at run time or by
/// [`state_machine!`](crate::state_machine) at compile time.
///
/// ```
/// use txn_core::machine::{Definition, Machine};
///
/// txn_core::variants! {
///     enum Door { Open, Shut }
///     enum Act { Close, Open }
/// }
/// let door = Machine::build(&Definition {
///     initial: &[Door::Open],
///     terminal: &[Door::Shut],
///     edges: &[(Door::Open, Act::Close, Door::Shut)],
///     reopening: &[(Door::Shut, Act::Open, Door::Open)],
/// })?;
/// assert_eq!(door.next(Door::Open, Act::Close), Ok(Door::Shut));
/// assert!(door.is_terminal(Door::Shut));
/// # Ok::<(), txn_core::machine::DefinitionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine<S, E> {
    /// A row per state, a cell per event, in it the position of the next state or [`ILLEGAL`].
    table: Cow<'static, [u8]>,
    initial: u64,
    terminal: u64,
    kinds: PhantomData<fn(S, E)>,
}

/// The event is not allowed in the state; the record stays as it was.
///
/// ```
/// use txn_core::machine::IllegalTransition;
///
/// let refused = IllegalTransition { from: "Delivered", event: "Cancel" };
/// assert_eq!(refused.to_string(), "Cancel is not allowed in Delivered");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{event} is not allowed in {from}")]
pub struct IllegalTransition {
    /// The name of the state.
    pub from: &'static str,
    /// The name of the event.
    pub event: &'static str,
}

impl<S: Variants, E: Variants> Machine<S, E> {
    /// The machine that the definition describes, if it is sound.
    ///
    /// # Errors
    ///
    /// [`DefinitionError`], with the names of the offending state and event.
    pub fn build(definition: &Definition<'_, S, E>) -> Result<Machine<S, E>, DefinitionError> {
        verify_numbers::<S>()?;
        verify_numbers::<E>()?;
        let edges = numbered(definition)?;
        let layout = Layout {
            states: S::ALL.len(),
            events: E::ALL.len(),
            initial: mask(definition.initial)?,
            terminal: mask(definition.terminal)?,
            edges: &edges,
        };
        if let Some(fault) = layout.fault() {
            return Err(DefinitionError::named::<S, E>(fault));
        }
        let mut table = vec![ILLEGAL; layout.cells()];
        layout.fill(&mut table);
        Ok(Machine { table: Cow::Owned(table), initial: layout.initial, terminal: layout.terminal, kinds: PhantomData })
    }

    /// The state after `event` in `state`. One multiplication and one load; nothing is allocated.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`] if the table does not list the pair.
    pub fn next(&self, state: S, event: E) -> Result<S, IllegalTransition> {
        self.target(state, event).ok_or_else(|| IllegalTransition { from: state.name(), event: event.name() })
    }

    /// What may happen next: each legal event with the state it leads to, in the order of the events.
    pub fn allowed(&self, state: S) -> impl Iterator<Item = (E, S)> + '_ {
        E::ALL.iter().filter_map(move |event| Some((*event, self.target(state, *event)?)))
    }

    /// Whether a record may begin in `state`.
    #[must_use]
    pub fn is_initial(&self, state: S) -> bool {
        contains(self.initial, state)
    }

    /// Whether a record is over in `state`, although an edge may reopen it.
    #[must_use]
    pub fn is_terminal(&self, state: S) -> bool {
        contains(self.terminal, state)
    }

    fn target(&self, state: S, event: E) -> Option<S> {
        let event = Some(event.index()).filter(|event| *event < E::ALL.len())?;
        let cell = state.index().checked_mul(E::ALL.len())?.checked_add(event)?;
        // An illegal cell is above every state, see STATES_MAX.
        S::ALL.get(usize::from(*self.table.get(cell)?)).copied()
    }
}

impl<S, E> Machine<S, E> {
    /// For the expansion of [`state_machine!`](crate::state_machine): the parts were verified while compiling.
    #[doc(hidden)]
    #[must_use]
    pub const fn compiled(table: &'static [u8], layout: &Layout<'_>) -> Machine<S, E> {
        Machine { table: Cow::Borrowed(table), initial: layout.initial, terminal: layout.terminal, kinds: PhantomData }
    }
}

fn contains<T: Variants>(mask: u64, value: T) -> bool {
    u8::try_from(value.index()).is_ok_and(|position| mask & bit(position) != 0)
}

fn verify_numbers<T: Variants>() -> Result<(), DefinitionError> {
    match T::ALL.iter().enumerate().find(|(position, value)| value.index() != *position) {
        Some((position, value)) => {
            Err(DefinitionError::Misnumbered { name: value.name(), index: value.index(), position })
        }
        None => Ok(()),
    }
}

fn numbered<S: Variants, E: Variants>(definition: &Definition<'_, S, E>) -> Result<Vec<Edge>, DefinitionError> {
    let edges = definition.edges.iter().map(|edge| (edge, false));
    let reopening = definition.reopening.iter().map(|edge| (edge, true));
    edges
        .chain(reopening)
        .map(|((from, event, to), is_reopening)| {
            Ok(Edge { from: position(*from)?, event: position(*event)?, to: position(*to)?, is_reopening })
        })
        .collect()
}

fn mask<S: Variants>(states: &[S]) -> Result<u64, DefinitionError> {
    states.iter().try_fold(0, |mask, state| Ok(mask | bit(position(*state)?)))
}

fn position<T: Variants>(value: T) -> Result<u8, DefinitionError> {
    u8::try_from(value.index())
        .ok()
        .filter(|position| usize::from(*position) < T::ALL.len())
        .ok_or(DefinitionError::Unknown { name: value.name() })
}
