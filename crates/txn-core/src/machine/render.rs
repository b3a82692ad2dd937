//! Diagrams from the table itself, so that a picture in a document can be compared with the code by a test.

use alloc::string::String;
use core::fmt::{self, Write};

use super::{Machine, Variants};

impl<S: Variants, E: Variants> Machine<S, E> {
    /// A Mermaid `stateDiagram-v2`, states and events in the order of their declaration; ends with a newline.
    ///
    /// Names are written as they are. Those that [`variants!`](crate::variants) gives are identifiers, which Mermaid takes without quotes.
    ///
    /// ```
    /// # use txn_core::machine::{Definition, Machine};
    /// # txn_core::variants! { enum Door { Open, Shut } enum Act { Close } }
    /// # static DOOR: Machine<Door, Act> = txn_core::state_machine!(Door, Act, Definition {
    /// #     initial: &[Door::Open], terminal: &[Door::Shut],
    /// #     edges: &[(Door::Open, Act::Close, Door::Shut)], reopening: &[],
    /// # });
    /// let expected = "\
    /// stateDiagram-v2
    ///     [*] --> Open
    ///     Open --> Shut: Close
    ///     Shut --> [*]
    /// ";
    /// assert_eq!(DOOR.to_mermaid(), expected);
    /// ```
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        written(|out| self.write_mermaid(out))
    }

    /// A Graphviz `digraph`; terminal states have a double border. Ends with a newline.
    ///
    /// ```
    /// # use txn_core::machine::{Definition, Machine};
    /// # txn_core::variants! { enum Door { Open, Shut } enum Act { Close } }
    /// # static DOOR: Machine<Door, Act> = txn_core::state_machine!(Door, Act, Definition {
    /// #     initial: &[Door::Open], terminal: &[Door::Shut],
    /// #     edges: &[(Door::Open, Act::Close, Door::Shut)], reopening: &[],
    /// # });
    /// assert!(DOOR.to_dot().contains("    \"Open\" -> \"Shut\" [label=\"Close\"];\n"));
    /// ```
    #[must_use]
    pub fn to_dot(&self) -> String {
        written(|out| self.write_dot(out))
    }

    fn write_mermaid(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "stateDiagram-v2")?;
        for state in S::ALL.iter().filter(|state| self.is_initial(**state)) {
            writeln!(out, "    [*] --> {}", state.name())?;
        }
        for state in S::ALL {
            for (event, to) in self.allowed(*state) {
                writeln!(out, "    {} --> {}: {}", state.name(), to.name(), event.name())?;
            }
            if self.is_terminal(*state) {
                writeln!(out, "    {} --> [*]", state.name())?;
            }
        }
        Ok(())
    }

    fn write_dot(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "digraph machine {{\n    rankdir=LR;\n    start [shape=point];")?;
        for state in S::ALL {
            let borders = if self.is_terminal(*state) { 2 } else { 1 };
            writeln!(out, "    {:?} [shape=box, peripheries={borders}];", state.name())?;
        }
        for state in S::ALL.iter().filter(|state| self.is_initial(**state)) {
            writeln!(out, "    start -> {:?};", state.name())?;
        }
        for state in S::ALL {
            for (event, to) in self.allowed(*state) {
                writeln!(out, "    {:?} -> {:?} [label={:?}];", state.name(), to.name(), event.name())?;
            }
        }
        writeln!(out, "}}")
    }
}

fn written(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut out = String::new();
    write(&mut out).expect("writing to a String does not fail");
    out
}
