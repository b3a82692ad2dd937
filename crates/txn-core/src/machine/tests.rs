//! Every pair of a small machine, every rule of a definition, and a naive search as the oracle of both.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

crate::variants! {
    enum Parcel { Packed, Sent, Lost, Delivered, Returned }
    enum Step { Send, Deliver, Lose, Return }
}

use Parcel::{Delivered, Lost, Packed, Returned, Sent};
use Step::{Deliver, Lose, Return, Send};

type Edge = (Parcel, Step, Parcel);

const DEFINITION: Definition<'static, Parcel, Step> = Definition {
    initial: &[Packed],
    terminal: &[Delivered, Returned],
    edges: &[(Packed, Send, Sent), (Sent, Deliver, Delivered), (Sent, Lose, Lost), (Lost, Return, Returned)],
    reopening: &[(Delivered, Return, Returned)],
};

static PARCEL: Machine<Parcel, Step> = crate::state_machine!(Parcel, Step, DEFINITION);

fn refusal(definition: Definition<'_, Parcel, Step>) -> DefinitionError {
    Machine::build(&definition).unwrap_err()
}

#[test]
fn every_pair_is_an_edge_or_a_typed_refusal() {
    let edges: Vec<Edge> = [DEFINITION.edges, DEFINITION.reopening].concat();
    for state in Parcel::ALL {
        for event in Step::ALL {
            let edge = edges.iter().find(|(from, on, _)| (from, on) == (state, event));
            let illegal = IllegalTransition { from: state.name(), event: event.name() };
            assert_eq!(PARCEL.next(*state, *event), edge.map(|(_, _, to)| *to).ok_or(illegal), "{illegal}");
        }
        let leaving: Vec<_> = PARCEL.allowed(*state).map(|(event, to)| (*state, event, to)).collect();
        let expected: Vec<_> = edges.iter().filter(|(from, ..)| from == state).copied().collect();
        assert_eq!(leaving, expected);
        assert_eq!(PARCEL.is_initial(*state), DEFINITION.initial.contains(state));
        assert_eq!(PARCEL.is_terminal(*state), DEFINITION.terminal.contains(state));
    }
}

#[test]
fn the_compiler_and_the_builder_make_the_same_machine() {
    assert_eq!(Machine::build(&DEFINITION).as_ref(), Ok(&PARCEL));
}

/// Case B59.
#[test]
fn unsound_definitions_are_refused_by_name() {
    let sound = DEFINITION;
    let unreachable = Definition { edges: &sound.edges[..2], ..sound };
    assert_eq!(refusal(unreachable), DefinitionError::Unreachable { state: "Lost" });

    assert_eq!(refusal(Definition { terminal: &[], ..sound }), DefinitionError::NoTerminal);
    assert_eq!(refusal(Definition { initial: &[], ..sound }), DefinitionError::NoInitial);

    for to in [Sent, Lost] {
        let edges = [sound.edges, &[(Packed, Send, to)]].concat();
        let duplicate = DefinitionError::DuplicateEdge { from: "Packed", event: "Send" };
        assert_eq!(refusal(Definition { edges: &edges, ..sound }), duplicate);
    }
    let twice = [(Delivered, Return, Returned), (Delivered, Return, Sent)];
    let duplicate = DefinitionError::DuplicateEdge { from: "Delivered", event: "Return" };
    assert_eq!(refusal(Definition { reopening: &twice, ..sound }), duplicate);

    let no_exit = Definition { edges: &sound.edges[..3], ..sound };
    assert_eq!(refusal(no_exit), DefinitionError::DeadEnd { state: "Lost" });
    let circle = [sound.edges[0], sound.edges[1], sound.edges[2], (Lost, Lose, Lost)];
    assert_eq!(refusal(Definition { edges: &circle, ..sound }), DefinitionError::DeadEnd { state: "Lost" });

    let leaving = [sound.edges, sound.reopening].concat();
    let leaves = DefinitionError::LeavesTerminal { from: "Delivered", event: "Return" };
    assert_eq!(refusal(Definition { edges: &leaving, reopening: &[], ..sound }), leaves);
    let reopens = DefinitionError::ReopensOpen { from: "Sent", event: "Return" };
    assert_eq!(refusal(Definition { reopening: &[(Sent, Return, Returned)], ..sound }), reopens);
}

/// A host's own implementation, with a mistake.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number<const LISTED: bool>(usize);

impl<const LISTED: bool> Variants for Number<LISTED> {
    const ALL: &'static [Self] = if LISTED { &[Number(0), Number(2)] } else { &[Number(0), Number(1)] };

    fn index(self) -> usize {
        self.0
    }

    fn name(self) -> &'static str {
        ["Zero", "One", "Two"].get(self.0).unwrap_or(&"Many")
    }
}

#[test]
fn a_mistaken_numbering_is_refused() {
    let misnumbered = Definition { initial: &[Number::<true>(0)], terminal: &[], edges: &[], reopening: &[] };
    let expected = DefinitionError::Misnumbered { name: "Two", index: 2, position: 1 };
    assert_eq!(Machine::<_, Step>::build(&misnumbered), Err(expected));

    for (value, name) in [(2, "Two"), (64, "Many"), (256, "Many"), (usize::MAX, "Many")] {
        let (known, unknown) = (Number::<false>(0), Number::<false>(value));
        let expected = Err(DefinitionError::Unknown { name });
        let base = Definition {
            initial: &[known],
            terminal: &[Number(1)],
            edges: &[(known, Send, Number(1))],
            reopening: &[],
        };
        assert_eq!(Machine::build(&Definition { initial: &[unknown], ..base }), expected);
        assert_eq!(Machine::build(&Definition { terminal: &[unknown], ..base }), expected);
        assert_eq!(Machine::build(&Definition { edges: &[(known, Send, unknown)], ..base }), expected);
        let machine = Machine::build(&base).unwrap();
        assert!(machine.next(unknown, Send).is_err() && !machine.is_terminal(unknown), "an unlisted value is illegal");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Many<const COUNT: usize>(u8);

impl<const COUNT: usize> Variants for Many<COUNT> {
    const ALL: &'static [Self] = {
        &{
            let mut all = [Many(0); COUNT];
            let mut at = 0u8;
            while (at as usize) < COUNT {
                all[at as usize] = Many(at);
                at += 1;
            }
            all
        }
    };

    fn index(self) -> usize {
        usize::from(self.0)
    }

    fn name(self) -> &'static str {
        "Many"
    }
}

/// A chain through all states, on one event.
fn chain<const STATES: usize, const EVENTS: usize>() -> Result<Machine<Many<STATES>, Many<EVENTS>>, DefinitionError> {
    let all = Many::<STATES>::ALL;
    let edges: Vec<_> = all.windows(2).map(|pair| (pair[0], Many(0), pair[1])).collect();
    Machine::build(&Definition { initial: &all[..1], terminal: &all[STATES - 1..], edges: &edges, reopening: &[] })
}

#[test]
fn the_numbers_of_states_and_events_are_limited() {
    let most = chain::<STATES_MAX, EVENTS_MAX>().unwrap();
    assert_eq!(most.next(Many(62), Many(0)).map(|state| state.0), Ok(63));
    assert!(most.is_terminal(Many(63)) && most.next(Many(63), Many(63)).is_err());
    assert_eq!(chain::<65, 64>(), Err(DefinitionError::TooManyStates { count: 65, max: 64 }));
    assert_eq!(chain::<64, 65>(), Err(DefinitionError::TooManyEvents { count: 65, max: 64 }));
}

#[test]
fn diagrams_show_the_whole_table() {
    let mermaid = "\
stateDiagram-v2
    [*] --> Packed
    Packed --> Sent: Send
    Sent --> Delivered: Deliver
    Sent --> Lost: Lose
    Lost --> Returned: Return
    Delivered --> Returned: Return
    Delivered --> [*]
    Returned --> [*]
";
    assert_eq!(PARCEL.to_mermaid(), mermaid);
    let dot = r#"digraph machine {
    rankdir=LR;
    start [shape=point];
    "Packed" [shape=box, peripheries=1];
    "Sent" [shape=box, peripheries=1];
    "Lost" [shape=box, peripheries=1];
    "Delivered" [shape=box, peripheries=2];
    "Returned" [shape=box, peripheries=2];
    start -> "Packed";
    "Packed" -> "Sent" [label="Send"];
    "Sent" -> "Delivered" [label="Deliver"];
    "Sent" -> "Lost" [label="Lose"];
    "Lost" -> "Returned" [label="Return"];
    "Delivered" -> "Returned" [label="Return"];
}
"#;
    assert_eq!(PARCEL.to_dot(), dot);
}

/// Every fault of a definition, found by walking the graph from each state.
fn faults(definition: &Definition<'_, Parcel, Step>) -> Vec<DefinitionError> {
    let all = [definition.edges, definition.reopening].concat();
    let walk = |start: Parcel| {
        let (mut seen, mut open) = (BTreeSet::from([start.index()]), vec![start]);
        while let Some(state) = open.pop() {
            let next = all.iter().filter(|(from, ..)| *from == state).map(|(_, _, to)| *to);
            open.extend(next.filter(|to| seen.insert(to.index())));
        }
        seen
    };
    let mut faults = Vec::new();
    if definition.initial.is_empty() {
        faults.push(DefinitionError::NoInitial);
    }
    if definition.terminal.is_empty() {
        faults.push(DefinitionError::NoTerminal);
    }
    for (from, event, _) in &all {
        let (from, event, is_terminal) = (*from, event.name(), definition.terminal.contains(from));
        if all.iter().filter(|(other, on, _)| (*other, on.name()) == (from, event)).count() > 1 {
            faults.push(DefinitionError::DuplicateEdge { from: from.name(), event });
        }
        let is_in = |edges: &[Edge]| edges.iter().any(|(other, on, _)| (*other, on.name()) == (from, event));
        if is_terminal && is_in(definition.edges) {
            faults.push(DefinitionError::LeavesTerminal { from: from.name(), event });
        }
        if !is_terminal && is_in(definition.reopening) {
            faults.push(DefinitionError::ReopensOpen { from: from.name(), event });
        }
    }
    for state in Parcel::ALL {
        if !definition.initial.iter().any(|start| walk(*start).contains(&state.index())) {
            faults.push(DefinitionError::Unreachable { state: state.name() });
        }
        if !definition.terminal.iter().any(|end| walk(*state).contains(&end.index())) {
            faults.push(DefinitionError::DeadEnd { state: state.name() });
        }
    }
    faults
}

fn a_state() -> impl Strategy<Value = Parcel> {
    prop::sample::select(Parcel::ALL)
}

/// Few duplicates and mostly well-declared exits, so that sound machines are frequent too.
fn any_edges() -> impl Strategy<Value = (Vec<Parcel>, Vec<Edge>, Vec<Edge>)> {
    let targets = prop::collection::vec(prop::option::weighted(0.65, a_state()), Parcel::ALL.len() * Step::ALL.len());
    let extra = prop::option::weighted(0.1, (a_state(), prop::sample::select(Step::ALL), a_state()));
    let terminal = prop::sample::subsequence(Parcel::ALL, 0..=4);
    (terminal, targets, extra, prop::option::weighted(0.1, any::<prop::sample::Index>())).prop_map(
        |(terminal, targets, extra, misplaced)| {
            let pairs = Parcel::ALL.iter().flat_map(|from| Step::ALL.iter().map(move |event| (*from, *event)));
            let listed = pairs.zip(targets).filter_map(|((from, event), to)| Some((from, event, to?)));
            let all: Vec<Edge> = listed.chain(extra).collect();
            let (mut reopening, mut edges): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|(from, ..)| terminal.contains(from));
            match misplaced {
                Some(at) if !reopening.is_empty() => edges.push(reopening.remove(at.index(reopening.len()))),
                Some(at) if !edges.is_empty() => reopening.push(edges.remove(at.index(edges.len()))),
                _ => {}
            }
            (terminal, edges, reopening)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_verdict_is_that_of_a_naive_search(
        initial in prop::sample::subsequence(Parcel::ALL, 0..=3), (terminal, edges, reopening) in any_edges()
    ) {
        let definition = Definition { initial: &initial, terminal: &terminal, edges: &edges, reopening: &reopening };
        let faults = faults(&definition);
        match Machine::build(&definition) {
            Err(refused) => prop_assert!(faults.contains(&refused), "{refused} is not among {faults:?}"),
            Ok(machine) => {
                prop_assert_eq!(faults, vec![]);
                let listed = Parcel::ALL.iter().map(|state| machine.allowed(*state).count()).sum::<usize>();
                prop_assert_eq!(listed, edges.len() + reopening.len());
                for (from, event, to) in edges.iter().chain(&reopening) {
                    prop_assert_eq!(machine.next(*from, *event), Ok(*to));
                }
            }
        }
    }
}
