//! Machines that the compiler verifies.

/// A [`Machine`](crate::machine::Machine) as a constant, verified while compiling: an unsound definition does not compile.
///
/// Takes the enum of states, the enum of events, both from [`variants!`](crate::variants), and a constant
/// [`Definition`](crate::machine::Definition). The rules are those of [`Machine::build`](crate::machine::Machine::build), which
/// names the offending state where the compiler only names the rule.
///
/// ```compile_fail
/// use txn_core::machine::{Definition, Machine};
///
/// txn_core::variants! {
///     enum Door { Open, Shut, Painted }
///     enum Act { Close }
/// }
/// static DOOR: Machine<Door, Act> = txn_core::state_machine!(Door, Act, Definition {
///     initial: &[Door::Open],
///     terminal: &[Door::Shut],
///     edges: &[(Door::Open, Act::Close, Door::Shut)],
///     reopening: &[],
/// }); // error: a state cannot be reached from an initial state
/// # fn main() { let _ = DOOR.next(Door::Open, Act::Close); }
/// ```
// Items of a macro are visible to the expression it is given; their names stay out of the host's way.
#[macro_export]
macro_rules! state_machine {
    ($states:ty, $events:ty, $definition:expr $(,)?) => {{
        use $crate::machine::layout::{Edge as __Edge, Layout as __Layout, joined as __joined};

        const __DEFINITION: $crate::machine::Definition<'static, $states, $events> = $definition;
        const __EDGES: &[__Edge] = &$crate::__numbered!(__DEFINITION.edges, false);
        const __REOPENING: &[__Edge] = &$crate::__numbered!(__DEFINITION.reopening, true);
        const __ALL: [__Edge; __EDGES.len() + __REOPENING.len()] = __joined(__EDGES, __REOPENING);
        const __LAYOUT: __Layout<'static> = __Layout {
            states: $crate::__counted!($states),
            events: $crate::__counted!($events),
            initial: $crate::__masked!(__DEFINITION.initial),
            terminal: $crate::__masked!(__DEFINITION.terminal),
            edges: &__ALL,
        };
        const __TABLE: [u8; __LAYOUT.cells()] = __LAYOUT.compiled();
        $crate::machine::Machine::<$states, $events>::compiled(&__TABLE, &__LAYOUT)
    }};
}

/// Edges with numbers in place of states and events.
#[doc(hidden)]
#[macro_export]
macro_rules! __numbered {
    ($edges:expr, $is_reopening:literal) => {{
        let mut numbered = [$crate::machine::layout::Edge::NONE; $edges.len()];
        let (mut edges, mut places): (_, &mut [_]) = ($edges, &mut numbered);
        while let ([edge, more_edges @ ..], [place, more_places @ ..]) = (edges, places) {
            place.from = edge.0 as u8;
            place.event = edge.1 as u8;
            place.to = edge.2 as u8;
            place.is_reopening = $is_reopening;
            (edges, places) = (more_edges, more_places);
        }
        numbered
    }};
}

/// States as a set.
#[doc(hidden)]
#[macro_export]
macro_rules! __masked {
    ($listed:expr) => {{
        let (mut mask, mut rest) = (0u64, $listed);
        while let [state, more @ ..] = rest {
            mask |= $crate::machine::layout::bit(*state as u8);
            rest = more;
        }
        mask
    }};
}

/// How many values are listed before one is out of order: an edge of a later one is then "not listed".
#[doc(hidden)]
#[macro_export]
macro_rules! __counted {
    ($enum:ty) => {{
        let (mut count, mut rest) = (0usize, <$enum as $crate::machine::Variants>::ALL);
        while let [value, more @ ..] = rest {
            if *value as usize != count {
                break;
            }
            count = count.wrapping_add(1);
            rest = more;
        }
        count
    }};
}
