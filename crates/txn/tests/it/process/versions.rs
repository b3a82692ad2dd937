//! Versions: old instances under old code, or migrated; unknown ones parked.

use txn::{
    Failure, Rejection,
    process::{
        self, Arrived, Declined, Definition, DefinitionError, Effects, ListBy, Parked, Policy, Process, ProcessName,
        Standing,
    },
};

use super::{
    shop::{EARLY, RULES, State, decided},
    *,
};

/// The same, in its next version.
pub(crate) struct Next;

impl Process for Next {
    type State = State;
    type Event = Event;
    type Data = Basket;
    const NAME: &'static str = "checkout";
    const VERSION: u32 = 2;
    const DEFINITION: Definition<State, Event> = Checkout::DEFINITION;
    const STEPS: &'static [&'static str] = Checkout::STEPS;

    fn decide(
        &self,
        standing: Option<Standing<'_, Self>>,
        arrived: &Arrived<'_, Event>,
    ) -> Result<Effects<Self>, Declined> {
        // It reads nothing, and so cannot count.
        let arrived = arrived.event;
        let basket = standing.map_or(Basket { total: "new".to_owned() }, |standing| standing.data.clone());
        Ok(match arrived {
            Event::Placed => Effects::to(State::Reserving, basket),
            Event::Reserved => Effects::to(State::Authorising, basket),
            Event::Authorised => Effects::to(State::Capturing, basket),
            Event::Captured => Effects::to(State::Done, basket),
            Event::NotReserved | Event::Undone => Effects::to(State::Cancelled, basket),
            _ => Effects::to(State::Undoing, basket).undo(Event::Undone),
        })
    }
}

/// Version 1 again, with another table.
struct Changed;

impl Process for Changed {
    type State = State;
    type Event = Event;
    type Data = Basket;
    const NAME: &'static str = "checkout";
    const VERSION: u32 = 1;
    const DEFINITION: Definition<State, Event> = {
        const RULES_CHANGED: [(&[State], &[Event], Policy<State>); RULES.len()] = {
            let mut rules = [RULES[0]; RULES.len()];
            let mut index = 0;
            while index < rules.len() {
                rules[index] = RULES[index];
                index += 1;
            }
            rules[6].2 = Policy::Reject;
            rules[7].2 = Policy::Apply(&[State::Undoing]);
            rules
        };
        Definition { early: EARLY, finals: &[State::Done, State::Cancelled], rules: &RULES_CHANGED }
    };
    const STEPS: &'static [&'static str] = Checkout::STEPS;

    fn decide(
        &self,
        standing: Option<Standing<'_, Self>>,
        arrived: &Arrived<'_, Event>,
    ) -> Result<Effects<Self>, Declined> {
        decided(standing, arrived)
    }
}

fn build(world: &World, add: impl FnOnce(RegistryBuilder) -> RegistryBuilder) -> Processes {
    Processes::new(&world.shop, add(steps(Registry::builder(), &world.bank)).build().unwrap())
}

/// Case Q60.
#[test]
fn instances_of_a_version_that_is_not_registered_are_parked_and_the_others_go_on() {
    on_all(async |world| {
        for order in 0..5 {
            world.tell(&format!("old-{order}"), "e-1", Event::Placed).await;
        }
        let newer = build(world, |builder| builder.process(Next).unwrap());
        newer.handle(&incoming("new", "e-1", Event::Placed)).await.unwrap();
        let pass = newer.runner().run_once().await.unwrap();
        let parked = Parked { process: ProcessName::new("checkout").unwrap(), version: 1, instances: 5 };
        assert_eq!(pass.parked, [parked], "counted");
        assert!(pass.failures.is_empty() && !pass.did_something());
        assert_eq!(newer.list("checkout", &ListBy::Version(1), None, 10).await.unwrap().instances.len(), 5, "listed");
        let moved = newer.handle(&incoming("new", "e-2", Event::Cancel)).await.unwrap();
        assert!(matches!(moved.value().unwrap().ending, Ending::Applied { .. }));

        // What comes for a parked one waits for a build that knows it.
        let cancel = newer.handle(&incoming("old-3", "e-2", Event::Cancel)).await.unwrap();
        assert_eq!(cancel.value().unwrap().ending, Ending::Deferred);
        let both = build(world, |builder| builder.process(Next).unwrap().process(Checkout).unwrap());
        let runner = both.runner();
        while runner.run_once().await.unwrap().did_something() {}
        for order in [0, 1, 2, 4] {
            let old = world.instance(&format!("old-{order}")).await;
            assert_eq!((old.version, old.state.as_deref()), (1, Some("Done")), "it ended under its own version");
        }
        assert_eq!(world.state("old-3").await, "Cancelled");
        assert_eq!(world.effects("old-0").await, (4, 4));
        both.handle(&incoming("newest", "e-1", Event::Placed)).await.unwrap();
        assert_eq!(world.instance("newest").await.version, 2, "new ones begin under the newest");
    });
}

/// Case Q60.
#[test]
fn an_instance_is_migrated_by_order_only_and_only_to_what_has_its_state_and_events() {
    on_all(async |world| {
        world.tell("old", "e-1", Event::Placed).await;
        let both = build(world, |builder| builder.process(Next).unwrap().process(Checkout).unwrap());
        let old = about("old");
        let lift = |state: &str, data: &txn::change::Body| Some((state.to_owned(), data.clone()));
        let order = people::order("m-1");
        let nowhere = both.migrate("checkout", &old, 3, lift, &order).await.unwrap_err();
        assert!(matches!(nowhere, Failure::Rejected(Rejection::Process(process::Rejection::UnknownVersion { .. }))));
        let astray = |_: &str, data: &txn::change::Body| Some(("Painting".to_owned(), data.clone()));
        let astray = both.migrate("checkout", &old, 2, astray, &order).await.unwrap_err();
        assert!(astray.to_string().contains("no state \"Painting\""), "{astray}");
        let over = |_: &str, data: &txn::change::Body| Some(("Done".to_owned(), data.clone()));
        assert!(both.migrate("checkout", &old, 2, over, &order).await.is_err());
        assert_eq!(world.instance("old").await.version, 1);

        both.migrate("checkout", &old, 2, lift, &order).await.unwrap();
        assert_eq!(world.instance("old").await.version, 2);
        let runner = both.runner();
        while runner.run_once().await.unwrap().did_something() {}
        assert_eq!(world.state("old").await, "Authorising", "the next version begins no further step");
        assert!(world.lines("old").await.iter().any(|what| matches!(what, What::Migrated { from: 1, to: 2, .. })));
    });
}

#[test]
fn a_table_that_was_changed_without_a_new_version_is_refused() {
    on_all(async |world| {
        world.tell("old", "e-1", Event::Placed).await;
        let changed = build(world, |builder| builder.process(Changed).unwrap());
        let refused = changed.handle(&incoming("other", "e-1", Event::Placed)).await.unwrap_err();
        assert!(
            matches!(&refused, Failure::Rejected(Rejection::Process(process::Rejection::TableChanged { .. }))),
            "{refused}"
        );
        let pass = changed.runner().run_once().await.unwrap();
        assert_eq!((pass.failures.len(), pass.did_something()), (1, false), "nor is the old one run by it");
        assert_eq!(world.bank.asked(), [""; 0]);
        world.run().await;
        assert_eq!(world.state("old").await, "Done");
    });
}

#[test]
fn a_registry_is_whole_or_refused() {
    let no_step = Registry::builder().process(Checkout).unwrap().build().unwrap_err();
    assert_eq!(no_step, DefinitionError::NoStep { process: "checkout", step: "reserve" });
    let world = in_memory();
    let twice = steps(Registry::builder(), &world.bank).process(Checkout).unwrap().process(Checkout).unwrap();
    assert_eq!(twice.build().unwrap_err(), DefinitionError::Registered { process: "checkout", version: 1 });
    let drawn = Checkout::DEFINITION.verify().unwrap().to_mermaid();
    assert!(drawn.contains("    [*] --> Reserving: Placed\n") && drawn.contains("    Cancelled --> [*]\n"), "{drawn}");
}

#[test]
fn every_fault_of_a_table_is_named() {
    use DefinitionError as D;
    let verify =
        |early, finals, rules| Definition::<State, Event> { early, finals, rules }.verify().map(|_| ()).unwrap_err();
    const FINALS: &[State] = &[State::Done, State::Cancelled];
    assert_eq!(verify(EARLY, &[], RULES), D::NoFinal);
    assert_eq!(verify(EARLY, &[State::Done], RULES), D::DeadEnd { state: "Undoing" });
    assert_eq!(
        verify(EARLY, &[State::Done, State::Undoing], RULES),
        D::FinalGoesOn { state: "Undoing", event: "Undone" }
    );
    assert_eq!(verify(&EARLY[1..], FINALS, RULES), D::Undecided { state: "the beginning", event: "Placed" });
    assert_eq!(verify(EARLY, FINALS, &RULES[1..]), D::Undecided { state: "Reserving", event: "Reserved" });
    const TWICE: &[(&[State], &[Event], Policy<State>)] = &[RULES[0], RULES[0]];
    assert_eq!(verify(EARLY, FINALS, TWICE), D::Twice { state: "Reserving", event: "Reserved" });
    const NOWHERE: &[(&[State], &[Event], Policy<State>)] = &[(&[State::Done], &[Event::Placed], Policy::Apply(&[]))];
    assert_eq!(verify(EARLY, FINALS, NOWHERE), D::NoTarget { state: "Done", event: "Placed" });
    const ALL: &[Event] = &[
        Event::Placed,
        Event::Reserved,
        Event::NotReserved,
        Event::Authorised,
        Event::Declined,
        Event::Captured,
        Event::NotCaptured,
        Event::Cancel,
        Event::TooLate,
        Event::Undone,
    ];
    const STATES: &[State] =
        &[State::Reserving, State::Authorising, State::Capturing, State::Undoing, State::Done, State::Cancelled];
    const IDLE: &[(&[State], &[Event], Policy<State>)] = &[(STATES, ALL, Policy::Ignore)];
    assert_eq!(verify(EARLY, FINALS, IDLE), D::Unreachable { state: "Authorising" });
    const NEVER: &[(&[Event], process::Early<State>)] = &[(ALL, process::Early::Defer)];
    assert_eq!(verify(NEVER, FINALS, IDLE), D::NoBeginning);
}
