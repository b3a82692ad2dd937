//! The inbox on every store: a message has its effect once, whatever happens between the effect and the acknowledgement.

use std::{
    convert::Infallible,
    sync::{Arc, Barrier, atomic::AtomicU32, atomic::Ordering},
    thread,
    time::Duration,
};

use pollster::block_on;
use txn::{
    Failure,
    change::{Body, Change, Class, Condition, Expect, Key, Kind, Label, Open, Opening, Tenant},
    core::Context,
    inbox::{Applied, Inbox, Unapplied, action},
    queue::{
        Action, Delivery, GroupName, Message, MessageId, MessageType, Queue, QueueAdmin, Receive, Redrive, Settle,
        Settled, Source, Which, WorkerId,
    },
    store::{Outcome, Purge, Scope, Snapshot, Store},
};

use crate::relay::{Dice, FlakyStore, World, event, group, seeded, texts, topic, worlds};

fn message(id: &str, text: &str) -> Message {
    let kind = MessageType::new("card.charge").unwrap();
    Message::new(MessageId::new(id).unwrap(), Source::new("/shop").unwrap(), kind)
        .data("application/json", format!("{text:?}").into_bytes())
}

fn inbox(store: Arc<dyn Store>) -> Inbox {
    Inbox::new(Scope::new(store, Tenant::default()), GroupName::new("charges").unwrap())
}

fn card() -> Key {
    Key::of(Kind::new("card").unwrap()).text("ann").unwrap().build()
}

/// Charges the card once more, and says so in an event: the record counts the charges.
fn charge(context: &Context, snapshot: &Snapshot) -> Result<Change, Infallible> {
    let version = snapshot.records[0].as_ref().map(|record| record.version);
    let charges = version.unwrap_or(0) + 1;
    let body = Body::raw("charges", 1, charges.to_string().into_bytes());
    let change = Change::new(context.id.clone(), context.fingerprint);
    let change = change.put(card(), Expect::of(version), body.clone(), vec![]).answer(body);
    Ok(change.append(event("ann", &format!("charged {charges}"))))
}

fn apply(inbox: &Inbox, message: &Message) -> Result<Applied, Unapplied<Infallible>> {
    block_on(inbox.apply(message, inbox.ask().record(card()), charge))
}

fn charges(world: &World) -> u64 {
    let scope = Scope::new(world.store(), Tenant::default());
    block_on(scope.record(card())).unwrap().map_or(0, |record| record.version)
}

fn receive(world: &World) -> Option<Delivery> {
    let lease = Duration::from_secs(30);
    let receive = Receive { group: group(), worker: WorkerId::new("a-1").unwrap(), max: 1, lease };
    block_on(world.queue.receive(receive)).unwrap().deliveries.pop()
}

fn settle(world: &World, delivery: &Delivery, action: Action) -> Settled {
    block_on(world.queue.settle(&group(), vec![Settle { lease: delivery.lease, action }])).unwrap()[0]
}

fn publish(world: &World, message: &Message) {
    let publish = txn::queue::Publish::one(txn::queue::Address::Topic(topic()), message.clone());
    block_on(world.queue.publish(vec![publish])).unwrap();
}

/// Case Q33. Eight workers have one message at the same moment: one applies it, the others are told that it was, and all acknowledge.
#[test]
fn of_many_workers_with_one_message_one_applies_it() {
    for world in worlds() {
        for round in 0..10 {
            let barrier = Barrier::new(8);
            let message = message(&round.to_string(), "x");
            let one = || {
                barrier.wait();
                let applied = apply(&inbox(world.store()), &message);
                assert_eq!(action(&applied, Duration::ZERO), Action::Ack);
                applied.unwrap()
            };
            let applied: Vec<Applied> = thread::scope(|scope| {
                let workers: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).collect()
            });
            assert_eq!(applied.iter().filter(|applied| !applied.is_duplicate()).count(), 1);
            assert!(applied.iter().all(|one| one.answer() == applied[0].answer()), "all have the first answer");
            assert_eq!(charges(&world), round + 1);
        }
    }
}

/// Case Q34. The worker dies when the effect is committed and before the message is acknowledged: delivered again it changes nothing, and what follows from it is sent once.
#[test]
fn a_crash_between_effect_and_acknowledgement_changes_nothing() {
    for world in worlds() {
        publish(&world, &message("1", "x"));
        let first = receive(&world).unwrap();
        assert!(!apply(&inbox(world.store()), &first.message).unwrap().is_duplicate());
        // It never acknowledges; its lease ends.
        world.queue_clock.advance(Duration::from_secs(31));
        let second = receive(&world).unwrap();
        assert_eq!(second.deliveries, 2);
        let applied = apply(&inbox(world.store()), &second.message);
        assert!(applied.as_ref().unwrap().is_duplicate());
        assert_eq!(settle(&world, &second, action(&applied, Duration::ZERO)), Settled::Applied);
        assert_eq!(charges(&world), 1);
        let pass = block_on(world.relay().run_once()).unwrap();
        assert_eq!((pass.published, pass.duplicates), (1, 0));
        assert_eq!(texts(&world.received())["note/ann"], ["\"charged 1\""]);
    }
}

/// Case Q35. The effect is committed, what follows from it cannot be sent, and the message itself ends as a dead letter: once the queue has room, the relay sends it all the same.
#[test]
fn what_follows_is_sent_even_if_its_message_is_given_up() {
    for world in worlds() {
        let down = crate::relay::Down::over(&world);
        *down.is_down.lock().unwrap() = true;
        publish(&world, &message("1", "x"));
        let delivery = receive(&world).unwrap();
        apply(&inbox(world.store()), &delivery.message).unwrap();
        let relay = world.relay_to(Arc::clone(&down) as _);
        assert_eq!(block_on(relay.run_once()).unwrap().left, 1);
        let dead = Action::Dead { reason: "a worker's bug".into() };
        assert_eq!(settle(&world, &delivery, dead), Settled::Applied);
        assert_eq!(block_on(relay.run_once()).unwrap().left, 1);
        *down.is_down.lock().unwrap() = false;
        assert_eq!(block_on(relay.run_once()).unwrap().published, 1);
        assert_eq!(texts(&world.received())["note/ann"], ["\"charged 1\""]);
    }
}

/// Case Q36. A dead letter is sent back long after everything that may be purged has been: it charges nothing twice. A person who wants it charged again says so, once.
#[test]
fn a_dead_letter_that_is_sent_back_years_later_has_no_second_effect() {
    for world in worlds() {
        publish(&world, &message("1", "x"));
        let delivery = receive(&world).unwrap();
        apply(&inbox(world.store()), &delivery.message).unwrap();
        settle(&world, &delivery, Action::Dead { reason: "a worker's bug".into() });

        let years = Duration::from_secs(5 * 365 * 24 * 3_600);
        world.clock.advance(years);
        world.queue_clock.advance(years);
        let before = txn::store::Clock::now(&*world.clock);
        for what in [Purge::Answers, Purge::Events] {
            while !block_on(world.store.purge(what, before, 1_000)).unwrap().is_complete {}
        }
        let redrive = Redrive { group: group(), max: 10, rate: None, which: Which::default() };
        assert_eq!(block_on(world.queue.redrive(redrive)).unwrap().moved, 1);
        let delivery = receive(&world).unwrap();
        let applied = apply(&inbox(world.store()), &delivery.message);
        assert!(applied.as_ref().unwrap().is_duplicate());
        assert_eq!(action(&applied, Duration::ZERO), Action::Ack);
        assert_eq!(charges(&world), 1);

        for expected in [false, true] {
            let inbox = inbox(world.store());
            let again = inbox.reprocess(&delivery.message, "ticket-7", inbox.ask().record(card()), charge);
            assert_eq!(block_on(again).unwrap().is_duplicate(), expected);
            assert_eq!(charges(&world), 2);
        }
    }
}

#[test]
fn another_message_under_the_same_id_is_a_dead_letter() {
    for world in worlds() {
        let inbox = inbox(world.store());
        apply(&inbox, &message("1", "x")).unwrap();
        let other = apply(&inbox, &message("1", "y"));
        assert!(matches!(&other, Err(Unapplied::Failed(Failure::KeyReused { .. }))), "{other:?}");
        assert!(matches!(action(&other, Duration::ZERO), Action::Dead { .. }));
        let mut elsewhere = message("1", "y");
        elsewhere.source = Source::new("/other-shop").unwrap();
        assert!(!apply(&inbox, &elsewhere).unwrap().is_duplicate(), "an id is its source's");
        assert_eq!(charges(&world), 2);
    }
}

/// A source and an id are told apart wherever the one ends, and where they are too long to be written.
#[test]
fn no_two_messages_have_one_id_in_the_store() {
    let inbox = inbox(worlds()[0].store());
    let id = |source: &str, id: &str| {
        let kind = MessageType::new("t").unwrap();
        inbox.id(&Message::new(MessageId::new(id).unwrap(), Source::new(source).unwrap(), kind))
    };
    assert_eq!(id("/shop", "1").as_str(), "inbox.charges/5:/shop/1");
    assert_ne!(id("/a", "b/c"), id("/a/b", "c"));
    let long = "x".repeat(254);
    assert_ne!(id(&format!("{long}1"), "1"), id(&format!("{long}2"), "1"));
    assert_eq!(id(&long, &long), id(&long, &long));
    assert!(id(&long, &long).starts_with("inbox.charges/sha256:"));
}

#[test]
fn a_decision_that_says_no_leaves_nothing_and_is_made_anew() {
    for world in worlds() {
        let inbox = inbox(world.store());
        let decisions = AtomicU32::new(0);
        let decide = |context: &Context, snapshot: &Snapshot| {
            if decisions.fetch_add(1, Ordering::SeqCst) == 0 {
                return Err("the card is blocked");
            }
            charge(context, snapshot).map_err(|never| match never {})
        };
        let message = message("1", "x");
        let ask = || inbox.ask().record(card());
        let declined = block_on(inbox.apply(&message, ask(), decide));
        assert_eq!(action(&declined, Duration::ZERO), Action::Dead { reason: "the card is blocked".into() });
        assert_eq!(charges(&world), 0);
        assert!(!block_on(inbox.apply(&message, ask(), decide)).unwrap().is_duplicate());
    }
}

/// Counters are there for many to add to at once: one that moved since it was read is no conflict, and what a change holds of it is judged when it is committed.
#[test]
fn a_counter_that_moved_is_decided_once_and_what_is_held_of_it_is_refused() {
    for world in worlds() {
        for is_held in [false, true] {
            let scope = Scope::new(world.store(), Tenant::default());
            let stamps = Key::of(Kind::new("stamps").unwrap()).text(is_held.to_string()).unwrap().build();
            let class = Class { name: "stamps".into(), signed: [false; 4], history: false, conserves: [None; 2] };
            let opening = Arc::new(Opening { class: Arc::new(class), unit: "stamp".into(), guards: [None; 2] });
            let (inbox, decided) = (inbox(world.store()), AtomicU32::new(0));
            let applied = block_on(inbox.apply(
                &message(&format!("held-{is_held}"), "x"),
                inbox.ask().counter(stamps.clone()),
                |context, snapshot| {
                    decided.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(snapshot.counters[0], None);
                    // Between its reading and its commit another change opens the counter.
                    let id = txn::change::ChangeId::new(format!("other-{is_held}")).unwrap();
                    let mut other = Change::new(id, context.fingerprint);
                    other.open.push(Open { counter: stamps.clone(), opening: Arc::clone(&opening) });
                    assert!(matches!(block_on(scope.commit(other)).unwrap(), Outcome::Done(_)));
                    let change = Change::new(context.id.clone(), context.fingerprint);
                    let held = Condition::Version(0);
                    let hold = |change: Change| change.hold(stamps.clone(), held, Label::new("unmoved"));
                    Ok::<_, Infallible>(if is_held { hold(change) } else { change })
                },
            ));
            match applied {
                Ok(applied) => assert!(!is_held && !applied.is_duplicate()),
                Err(Unapplied::Failed(Failure::Refused(refusal))) => assert!(is_held, "{refusal}"),
                Err(other) => panic!("{other}"),
            }
            assert_eq!(decided.into_inner(), 1);
        }
    }
}

/// Case Q56. Many messages for one card at once: each is decided again when another was first, none is lost, and each has its one event. When the attempts are used up, that is said, and it may be tried again.
#[test]
fn conflicts_are_decided_again_and_no_update_is_lost() {
    for world in worlds() {
        thread::scope(|scope| {
            for worker in 0..4 {
                let inbox = inbox(world.store()).attempts_max(1_000);
                scope.spawn(move || {
                    for n in 0..25 {
                        apply(&inbox, &message(&format!("{worker}-{n}"), "x")).unwrap();
                    }
                });
            }
        });
        assert_eq!(charges(&world), 100);
        block_on(world.relay().run_once()).unwrap();
        let expected: Vec<String> = (1..=100).map(|n| format!("\"charged {n}\"")).collect();
        assert_eq!(texts(&world.received())["note/ann"], expected);

        // Somebody is always first.
        let inbox = inbox(world.store()).attempts_max(3);
        let meddled = AtomicU32::new(0);
        let decide = |context: &Context, snapshot: &Snapshot| {
            let n = meddled.fetch_add(1, Ordering::SeqCst);
            apply(&self::inbox(world.store()), &message(&format!("meddler-{n}"), "x")).unwrap();
            charge(context, snapshot)
        };
        let applied = block_on(inbox.apply(&message("unlucky", "x"), inbox.ask().record(card()), decide));
        assert!(matches!(&applied, Err(Unapplied::Failed(Failure::Conflict { attempts: 3 }))), "{applied:?}");
        assert!(matches!(action(&applied, Duration::ZERO), Action::Retry { .. }));
        assert_eq!(charges(&world), 103);
    }
}

/// The store's answers are lost, before and after it has done what it was asked: the message is applied once.
#[test]
fn an_answer_that_is_lost_is_asked_for_again() {
    for (seed, world) in seeded(100, 3) {
        let store = FlakyStore { store: world.store(), dice: Arc::new(Dice::new(seed)), is_well: false.into() };
        let inbox = inbox(Arc::new(store));
        for n in 0..20 {
            let mut tries = 0;
            while let Err(error) = apply(&inbox, &message(&n.to_string(), "x")) {
                assert!(error.is_retryable(), "seed {seed}: {error}");
                tries += 1;
                assert!(tries < 100, "seed {seed}");
            }
            assert_eq!(charges(&world), n + 1, "seed {seed}");
        }
    }
}
