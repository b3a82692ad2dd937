//! Enums that can be listed, numbered and named: the states and the events of a machine.

/// A type of few, known values, numbered from 0 in the order of [`ALL`](Variants::ALL).
///
/// Obligation: `ALL[value.index()] == value` for every value. [`Machine::build`](super::Machine::build) verifies it;
/// [`variants!`](crate::variants) writes an enum that keeps it.
///
/// ```
/// use txn_core::machine::Variants;
///
/// txn_core::variants! {
///     enum Door { Open, Shut }
/// }
/// assert_eq!((Door::Shut.index(), Door::Shut.name(), Door::ALL.len()), (1, "Shut", 2));
/// ```
pub trait Variants: Copy + 'static {
    /// Every value, once.
    const ALL: &'static [Self];

    /// The position of the value in [`ALL`](Variants::ALL).
    fn index(self) -> usize;

    /// The name for messages and diagrams: an identifier, different for each value.
    fn name(self) -> &'static str;
}

/// Declares enums that implement [`Variants`](crate::machine::Variants), each value named as it is written.
///
/// They are `Clone, Copy, Debug, PartialEq, Eq, Hash`; further derives, attributes and docs pass through.
///
/// ```
/// txn_core::variants! {
///     /// Where an order stands.
///     #[derive(PartialOrd, Ord, serde::Serialize)]
///     pub enum Order {
///         /// Waiting for money.
///         Placed,
///         /// Paid in full.
///         Paid,
///     }
///     /// What can happen to it.
///     pub enum Event { Pay }
/// }
/// assert_eq!(format!("{:?} {:?}", Order::Paid, Event::Pay), "Paid Pay");
/// ```
#[macro_export]
macro_rules! variants {
    ($($(#[$attribute:meta])* $visibility:vis enum $name:ident {
        $($(#[$variant_attribute:meta])* $variant:ident),+ $(,)?
    })+) => {$(
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $name {
            $($(#[$variant_attribute])* $variant),+
        }

        impl $crate::machine::Variants for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn index(self) -> usize {
                self as usize
            }

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant)),+
                }
            }
        }
    )+};
}
