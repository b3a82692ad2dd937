//! Events: at once, too early, too late, twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key as MetricKey, KeyName, Metadata, Recorder, SharedString, Unit,
};
use serde::{Deserialize, Serialize};
use txn::{
    Failure, Rejection,
    change::{Body, Document, Event as Told, Expect, Key, Kind},
    process::{self, Arrived, Declined, Definition, Early, Effects, Policy, Process, Standing},
};

use super::{shop::told_of, *};

/// Case Q53.
#[test]
fn two_events_that_begin_make_one_instance_and_the_loser_joins_it_as_an_event() {
    on_all(async |world| {
        let endings = at_once(8, |index| pollster::block_on(world.tell("web-1", &format!("e-{index}"), Event::Placed)));
        let begun = endings.iter().filter(|ending| matches!(ending, Ending::Applied { from: None, .. })).count();
        let joined = endings.iter().filter(|ending| **ending == Ending::Ignored).count();
        assert_eq!((begun, joined), (1, 7), "{endings:?}");
        assert_eq!(world.instance("web-1").await.steps.len(), 1);
        world.run().await;
        assert_eq!(world.bank.done(), ["reserve", "authorise", "capture"]);
    });
}

/// Case Q54.
#[test]
fn an_event_before_the_beginning_waits_and_is_applied_after_it() {
    on_all(async |world| {
        assert_eq!(world.tell("web-1", "e-1", Event::Cancel).await, Ending::Deferred);
        assert_eq!(world.instance("web-1").await.phase, Phase::Awaited);
        let begun = world.tell("web-1", "e-2", Event::Placed).await;
        assert_eq!(begun, Ending::Applied { from: None, to: "Reserving".to_owned() });
        assert_eq!(world.state("web-1").await, "Cancelled", "what waited had its turn without a runner");
        world.run().await;
        assert_eq!(world.bank.asked(), [""; 0], "the step that had not been called was not called any more");
        // What the table does not keep for later is told at once.
        assert!(matches!(world.tell("web-2", "e-1", Event::Captured).await, Ending::Rejected { .. }));
        assert_eq!(world.tell("web-2", "e-2", Event::TooLate).await, Ending::Ignored);
        assert!(world.processes.get("checkout", &about("web-2")).await.unwrap().is_none(), "and leaves no instance");
    });
}

/// Case Q54. The process dies between the commit of the beginning and the turn of what waited.
#[test]
fn a_turn_that_a_death_cut_off_is_taken_by_a_runner() {
    on_all(async |world| {
        world.tell("web-1", "e-1", Event::Cancel).await;
        world.store.dies_after(2);
        world.tell("web-1", "e-2", Event::Placed).await;
        assert!(world.store.lives(), "it died");
        assert_eq!(world.state("web-1").await, "Reserving");
        world.run().await;
        assert_eq!(world.state("web-1").await, "Cancelled");
        assert_eq!(world.effects("web-1").await, (3, 3));
    });
}

#[test]
fn events_that_wait_have_their_turns_in_their_order_and_are_bounded() {
    on_all(async |world| {
        for index in 0..64 {
            let event = if index == 1 { Event::Cancel } else { Event::Authorised };
            assert_eq!(world.tell("web-1", &format!("e-{index}"), event).await, Ending::Deferred);
        }
        let one_more = world.processes.handle(&incoming("web-1", "e-64", Event::Cancel)).await.unwrap_err();
        let expected = process::Rejection::TooMany { what: "events that wait at one instance", found: 65, max: 64 };
        assert!(matches!(&one_more, Failure::Rejected(Rejection::Process(found)) if *found == expected), "{one_more}");
        world.tell("web-1", "e-65", Event::Placed).await;
        assert_eq!(world.instance("web-1").await.waiting, [], "each was applied or dropped");
        let lines = world.lines("web-1").await;
        let ignored: Vec<_> = lines
            .iter()
            .filter_map(|what| match what {
                What::Ignored { id, .. } => Some(id.to_string()),
                _ => None,
            })
            .collect();
        // The payment is authorised already for the first, the call-off is too late then.
        assert_eq!(ignored.len(), 63);
        assert!(ignored.iter().zip(ignored.iter().skip(1)).all(|(a, b)| a.len() < b.len() || a < b), "{ignored:?}");
    });
}

#[test]
fn an_event_is_handled_once_and_another_under_its_id_is_refused() {
    on_all(async |world| {
        let first = world.processes.handle(&incoming("web-1", "e-1", Event::Placed)).await.unwrap();
        world.run().await;
        let again = world.processes.handle(&incoming("web-1", "e-1", Event::Placed)).await.unwrap();
        assert!(!first.replayed() && again.replayed());
        assert_eq!(first.answer(), again.answer());
        let other = world.processes.handle(&incoming("web-1", "e-1", Event::Cancel)).await.unwrap_err();
        assert!(matches!(other, Failure::KeyReused { .. }), "{other}");
        assert_eq!(world.effects("web-1").await, (4, 4));
        assert!(is_over(&world.instance("web-1").await));
    });
}

#[test]
fn what_cannot_be_decided_or_is_nonsense_is_refused_and_changes_nothing() {
    on_all(async |world| {
        let refused = async |incoming: &Incoming| match world.processes.handle(incoming).await.unwrap_err() {
            Failure::Rejected(Rejection::Process(rejection)) => rejection,
            other => panic!("{other}"),
        };
        let empty =
            Incoming { body: Body::of(&Basket { total: String::new() }).unwrap(), ..incoming("a", "1", Event::Placed) };
        assert!(matches!(refused(&empty).await, process::Rejection::NotApplied { .. }));
        let unread = Incoming { body: Body::raw("basket", 1, b"[".to_vec()), ..empty.clone() };
        assert!(matches!(refused(&unread).await, process::Rejection::NotApplied { .. }));
        let no_text = Incoming { body: Body::raw("basket", 1, vec![0xFF]), ..empty.clone() };
        assert!(matches!(refused(&no_text).await, process::Rejection::NotText { .. }));
        let long = Incoming { body: Body::raw("basket", 1, vec![b'1'; 32 << 10]), ..empty.clone() };
        assert!(matches!(refused(&long).await, process::Rejection::TooMany { .. }));
        let unknown = Incoming { event: "Painted".to_owned(), ..empty.clone() };
        assert!(matches!(refused(&unknown).await, process::Rejection::UnknownEvent { .. }));
        let other = Incoming { process: process::ProcessName::new("checkin").unwrap(), ..empty };
        assert!(matches!(refused(&other).await, process::Rejection::UnknownProcess { .. }));
        assert!(world.processes.get("checkout", &about("a")).await.unwrap().is_none());
    });
}

/// Case Q55.
#[test]
fn an_event_in_the_wrong_or_the_final_state_is_told_and_counted_and_a_timeout_after_the_end_does_not_happen() {
    on_all(async |world| {
        let counts = Counts::default();
        let count = |what: &str| counts.of(&format!("txn_process_notes_total checkout {what}"));
        // The recorder is that of this thread, and every call runs on it.
        let _guard = metrics::set_default_local_recorder(&counts);
        world.tell("web-1", "e-1", Event::Placed).await;
        world.run_now().await;
        assert_eq!(world.state("web-1").await, "Done");
        assert!(matches!(world.tell("web-1", "e-2", Event::Cancel).await, Ending::Rejected { .. }));
        assert_eq!(world.tell("web-1", "e-3", Event::TooLate).await, Ending::Ignored);
        assert_eq!((count("rejected"), count("ignored"), count("applied")), (1, 1, 4));

        world.tell("web-2", "e-1", Event::Placed).await;
        world.bank.tell("reserve", &[bank::Told::Decline]);
        world.run_now().await;
        assert_eq!(world.state("web-2").await, "Cancelled");
        assert_eq!(count("timeout_dropped"), 1);
        world.later(2 * 86_400);
        world.run().await;
        let lines = world.lines("web-2").await;
        assert_eq!(applied(&lines), 2, "{lines:?}");
        assert!(lines.iter().any(|what| matches!(what, What::TimeoutDropped { timeout } if timeout == "payment")));
    });
}

txn::core::variants! {
    enum Tap { Open, Shut }
    enum Turn { Open, Drop, Paid, TooLate }
}

#[derive(Debug, Serialize, Deserialize)]
struct Drops {
    count: u64,
}

impl Document for Drops {
    const TYPE: &'static str = "drops";
    const SCHEMA: u16 = 1;
}

/// Counts what comes, and ends either paid or too late.
struct Taps;

fn end_key(correlation: &CorrelationId) -> Key {
    Key::of(Kind::new("end").unwrap()).text(correlation).unwrap().build()
}

impl Process for Taps {
    type State = Tap;
    type Event = Turn;
    type Data = Drops;
    const NAME: &'static str = "taps";
    const VERSION: u32 = 1;
    const DEFINITION: Definition<Tap, Turn> = Definition {
        early: &[
            (&[Turn::Open], Early::Begin(&[Tap::Open])),
            (&[Turn::Drop, Turn::Paid, Turn::TooLate], Early::Reject),
        ],
        finals: &[Tap::Shut],
        rules: &[
            (&[Tap::Open], &[Turn::Drop], Policy::Apply(&[Tap::Open])),
            (&[Tap::Open], &[Turn::Paid, Turn::TooLate], Policy::Apply(&[Tap::Shut])),
            (&[Tap::Open, Tap::Shut], &[Turn::Open], Policy::Ignore),
            (&[Tap::Shut], &[Turn::Drop, Turn::TooLate], Policy::Ignore),
            (&[Tap::Shut], &[Turn::Paid], Policy::Reject),
        ],
    };

    fn decide(
        &self,
        standing: Option<Standing<'_, Self>>,
        arrived: &Arrived<'_, Turn>,
    ) -> Result<Effects<Self>, Declined> {
        let Some(standing) = standing else {
            let due = arrived.context.now.after(Duration::from_secs(60))?;
            return Ok(Effects::to(Tap::Open, Drops { count: 0 }).timeout("end", due, Turn::TooLate));
        };
        let told = Told::new(Body::raw("tap.told", 1, b"{}".to_vec())).with_term(told_of(arrived.correlation).build());
        let change = arrived.change().append(told);
        let count = standing.data.count;
        let end = |name: &str| {
            let body = Body::raw("end", 1, format!("{name:?}").into_bytes());
            Effects::to(Tap::Shut, Drops { count }).and(change.clone().put(
                end_key(arrived.correlation),
                Expect::Absent,
                body,
                vec![],
            ))
        };
        Ok(match arrived.event {
            Turn::Paid => end("paid"),
            Turn::TooLate => end("too late"),
            _ => Effects::to(Tap::Open, Drops { count: count + 1 }).and(change),
        })
    }
}

fn taps(world: &World, attempts_max: u32) -> Processes {
    let registry = Registry::builder().process(Taps).unwrap().build().unwrap();
    let store = Arc::clone(world.txn.store());
    let txn = Txn::builder(store, Arc::new(InertGateway::default())).attempts_max(attempts_max).build();
    Processes::new(&txn.tenant(Tenant::default()), registry)
}

fn turn(name: &str, id: &str, event: Turn) -> Incoming {
    Incoming::new::<Taps>(about(name), IncomingId::new(id).unwrap(), event, &Drops { count: 0 }).unwrap()
}

/// Case Q56.
#[test]
fn fifty_events_at_once_are_each_applied_once_after_a_bounded_number_of_conflicts() {
    on_all(async |world| {
        for (name, attempts_max) in [("patient", 64), ("hasty", 1)] {
            let taps = taps(world, attempts_max);
            taps.handle(&turn(name, "open", Turn::Open)).await.unwrap();
            let conflicts: usize = at_once(50, |index| {
                let drop = turn(name, &format!("drop-{index}"), Turn::Drop);
                let mut conflicts = 0;
                // Each is brought twice; and again as long as it conflicts, which is an answer and not an endless wait.
                for _ in 0..2 {
                    while let Err(failure) = pollster::block_on(taps.handle(&drop)) {
                        assert!(
                            matches!(failure, Failure::Conflict { attempts } if attempts == attempts_max),
                            "{failure}"
                        );
                        conflicts += 1;
                    }
                }
                conflicts
            })
            .into_iter()
            .sum();
            assert!(attempts_max == 1 || conflicts == 0, "{conflicts} conflicts");
            assert_eq!(taps.data::<Taps>(&about(name)).await.unwrap().unwrap().count, 50);
            assert_eq!(world.effects(name).await.1, 50, "each told once");
        }
    });
}

/// Case Q38.
#[test]
fn a_timeout_and_a_payment_at_the_same_instant_end_in_exactly_one_of_them() {
    for (world, orders) in [(in_memory(), 2_000), (on_sqlite(), 300)] {
        pollster::block_on(async {
            let taps = taps(&world, 64);
            for order in 0..orders {
                taps.handle(&turn(&format!("o-{order}"), "open", Turn::Open)).await.unwrap();
            }
            world.later(60);
            at_once(4, |thread| {
                if thread < 2 {
                    // Every order is paid by two callers who do not know of each other.
                    for order in 0..orders {
                        let paid = turn(&format!("o-{order}"), &format!("paid-{thread}"), Turn::Paid);
                        pollster::block_on(taps.handle(&paid)).unwrap();
                    }
                } else {
                    let runner = taps.runner();
                    while pollster::block_on(runner.run_once()).unwrap().did_something() {}
                }
            });
            let (mut paid, mut late) = (0, 0);
            for order in 0..orders {
                let name = format!("o-{order}");
                assert!(is_over(&taps.get("taps", &about(&name)).await.unwrap().unwrap()));
                assert_eq!(world.effects(&name).await.1, 1, "{name} ended once");
                match world.shop.scope().record(end_key(&about(&name))).await.unwrap().unwrap().body.bytes() {
                    br#""paid""# => paid += 1,
                    br#""too late""# => late += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(paid + late, orders);
            assert!(paid > 0 && late > 0, "{paid} paid, {late} late: they were no race");
            world.is_clean().await;
        });
    }
}

/// A recorder that keeps counters.
#[derive(Debug, Default)]
struct Counts(Mutex<BTreeMap<String, Arc<Mutex<u64>>>>);

struct One(Arc<Mutex<u64>>);

impl CounterFn for One {
    fn increment(&self, value: u64) {
        *self.0.lock().unwrap() += value;
    }

    fn absolute(&self, value: u64) {
        *self.0.lock().unwrap() = value;
    }
}

struct Nowhere;

impl GaugeFn for Nowhere {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, _: f64) {}
}

impl Counts {
    fn of(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).map_or(0, |count| *count.lock().unwrap())
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &MetricKey, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> = key.labels().map(|label| label.value()).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        let count = Arc::clone(self.0.lock().unwrap().entry(name).or_default());
        Counter::from_arc(Arc::new(One(count)))
    }

    fn register_gauge(&self, _: &MetricKey, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Nowhere))
    }

    fn register_histogram(&self, _: &MetricKey, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
