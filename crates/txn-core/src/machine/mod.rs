//! State machines as tables: verified before they run, asked in nanoseconds, drawn from the same data.
//!
//! A machine says which event leads from which state to which. It holds no current state, runs no code and knows no time: the state is a
//! field of the host's record, and [`Machine::next`] is a function of two values. A pair of state and event that the table
//! does not list is illegal, and says so as an [`IllegalTransition`].
//!
//! What a machine guarantees once it exists: every state can be reached from an initial one, every state can reach a terminal one, no pair
//! has two outcomes, and a terminal state is left only by an edge declared as reopening it. Anything else is a [`DefinitionError`]
//! from [`Machine::build`], or does not compile through [`state_machine!`](crate::state_machine).
//!
//! ```
//! use txn_core::machine::{Definition, Machine};
//!
//! txn_core::variants! {
//!     enum Parcel { Packed, Sent, Delivered, Returned }
//!     enum Step { Send, Deliver, Return }
//! }
//!
//! static PARCEL: Machine<Parcel, Step> = txn_core::state_machine!(Parcel, Step, Definition {
//!     initial: &[Parcel::Packed],
//!     terminal: &[Parcel::Delivered, Parcel::Returned],
//!     edges: &[
//!         (Parcel::Packed, Step::Send, Parcel::Sent),
//!         (Parcel::Sent, Step::Deliver, Parcel::Delivered),
//!     ],
//!     reopening: &[(Parcel::Delivered, Step::Return, Parcel::Returned)],
//! });
//!
//! assert_eq!(PARCEL.next(Parcel::Packed, Step::Send), Ok(Parcel::Sent));
//! let refused = PARCEL.next(Parcel::Packed, Step::Deliver).unwrap_err();
//! assert_eq!(refused.to_string(), "Deliver is not allowed in Packed");
//! assert!(PARCEL.allowed(Parcel::Delivered).eq([(Step::Return, Parcel::Returned)]));
//! ```

mod constant;
mod definition;
#[doc(hidden)]
pub mod layout;
mod render;
mod table;
mod variants;

#[cfg(test)]
mod tests;

pub use definition::{Definition, DefinitionError};
pub use table::{EVENTS_MAX, IllegalTransition, Machine, STATES_MAX};
pub use variants::Variants;
