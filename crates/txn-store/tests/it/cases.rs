//! Named cases that need more than the conformance suite: many iterations, or a clock that misbehaves. On every backend.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use pollster::block_on;
use txn_change::{
    Add, Body, Change, ChangeId, Class, Event, Fingerprint, Guard, Key, Kind, Label, Lanes, Opening, Tenant, Timestamp,
};
use txn_store::{
    Ask, Clock, Commit, ErrorKind, ManualClock, Outcome, Position, Receipt, StoreAdmin, StoreLimits, SystemClock,
    memory::Memory,
};

use crate::backends::Home;

fn key(name: &str) -> Key {
    Key::of(Kind::new("tally").unwrap()).text(name).unwrap().build()
}

fn change(id: &str) -> Change {
    Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("case", id.as_bytes()))
}

fn add(counter: &str, delta: [i128; 4], opening: &Arc<Opening>) -> Add {
    Add {
        counter: key(counter),
        delta: Lanes(delta),
        or_open: Some(Arc::clone(opening)),
        force: false,
        effective_at: Some(Timestamp::EPOCH),
        label: Label::new("line"),
    }
}

fn opening(name: &str, conserves: [Option<[i8; 4]>; 2], guard: [i8; 4]) -> Arc<Opening> {
    let class = Class { name: name.to_owned(), signed: [false; 4], history: true, conserves };
    Arc::new(Opening {
        class: Arc::new(class),
        unit: "unit".into(),
        guards: [Some(Guard { weights: guard, min: 0 }), None],
    })
}

fn stock() -> Arc<Opening> {
    opening("stock-like", [None; 2], [1, -1, 0, -1])
}

fn commit(store: &dyn StoreAdmin, change: Change) -> Outcome {
    let batch = vec![Commit { tenant: Tenant::default(), change }];
    block_on(store.commit(batch)).pop().unwrap().unwrap()
}

fn done(store: &dyn StoreAdmin, change: Change) -> Receipt {
    match commit(store, change) {
        Outcome::Done(receipt) => receipt,
        other => panic!("expected Done, found {other:?}"),
    }
}

fn lanes(store: &dyn StoreAdmin, counter: &str) -> [i128; 4] {
    let ask = Ask::new(Tenant::default()).counter(key(counter));
    block_on(store.get(vec![ask])).unwrap().remove(0).counters.remove(0).map_or([0; 4], |counter| counter.lanes.0)
}

/// Case L1.
#[test]
fn debits_and_credits_are_equal_after_every_step_of_a_random_walk() {
    // [debits pending, debits posted, credits pending, credits posted]; nobody but the bank owes.
    let pairs = [Some([1, 0, -1, 0]), Some([0, 1, 0, -1])];
    let (bank, customer) = (opening("account", pairs, [0; 4]), opening("account", pairs, [-1, -1, 0, 1]));
    for home in Home::all() {
        let store = home.open(Arc::new(SystemClock), StoreLimits::default());
        let account = |number: u64| (format!("a-{number}"), if number == 0 { &bank } else { &customer });
        let mut random = 20_100_101u64;
        let (mut accepted, mut refused) = (0, 0);
        for step in 0..600u64 {
            let mut pick = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let ((from, of_from), (to, of_to)) = (account(pick(5)), account(pick(5)));
            let amount = i128::from(pick(100));
            // Hold, post, post what was held, or let it go; holds that were never made make a pending lane negative, and are refused.
            let (debit, credit) = match pick(4) {
                0 => ([amount, 0, 0, 0], [0, 0, amount, 0]),
                1 => ([0, amount, 0, 0], [0, 0, 0, amount]),
                2 => ([-amount, amount, 0, 0], [0, 0, -amount, amount]),
                _ => ([-amount, 0, 0, 0], [0, 0, -amount, 0]),
            };
            let transfer = change(&format!("step/{step}")).add(add(&from, debit, of_from)).add(add(&to, credit, of_to));
            match commit(&*store, transfer) {
                Outcome::Done(_) => accepted += 1,
                Outcome::Refused(_) => refused += 1,
                Outcome::Unknown(id) => panic!("{id} is unknown"),
            }
            let ask = (0..5).fold(Ask::new(Tenant::default()), |ask, number| ask.counter(key(&account(number).0)));
            let counters = block_on(store.get(vec![ask])).unwrap().remove(0).counters;
            let mut sums = [0i128; 4];
            for counter in counters.into_iter().flatten() {
                assert!(counter.lanes.0.iter().all(|lane| *lane >= 0), "{}: step {step}: {counter:?}", home.name());
                sums.iter_mut().zip(counter.lanes.0).for_each(|(sum, lane)| *sum += lane);
            }
            assert_eq!(sums[0], sums[2], "{}: pending after step {step}", home.name());
            assert_eq!(sums[1], sums[3], "{}: posted after step {step}", home.name());
        }
        assert!(accepted > 100 && refused > 100, "{}: {accepted} accepted, {refused} refused", home.name());
    }
}

/// `threads` want the last unit of each of `rounds` shelves, all at the same moment; how many got one.
fn race_for_last_units(store: &Arc<dyn StoreAdmin>, threads: usize, rounds: usize) -> usize {
    for round in 0..rounds {
        done(&**store, change(&format!("stock/{round}")).add(add(&format!("shelf-{round}"), [1, 0, 0, 0], &stock())));
    }
    let (barrier, won) = (Barrier::new(threads), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, won) = (&barrier, &won);
            scope.spawn(move || {
                for round in 0..rounds {
                    let reserve = change(&format!("reserve/{round}/{thread}"));
                    let reserve = reserve.add(add(&format!("shelf-{round}"), [0, 1, 0, 0], &stock()));
                    barrier.wait();
                    if let Outcome::Done(_) = commit(&**store, reserve) {
                        won.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    won.into_inner()
}

/// Cases L10, O1. Four callers at 25,000 shelves in memory, and at fewer where a commit costs more.
#[test]
fn the_last_unit_goes_to_exactly_one_of_many_threads() {
    for home in Home::all() {
        let store = home.open(Arc::new(SystemClock), StoreLimits::default());
        let rounds = if home.is_durable() { 400 } else { 25_000 };
        assert_eq!(race_for_last_units(&store, 4, rounds), rounds, "{}", home.name());
        for round in (0..rounds).step_by(rounds / 100) {
            assert_eq!(lanes(&*store, &format!("shelf-{round}")), [1, 1, 0, 0], "{}: {round}", home.name());
        }
        let commits = block_on(store.health()).unwrap().commits;
        assert_eq!(commits, 2 * rounds as u64, "{}", home.name());
    }
}

/// Case O1. From 2 to 32 threads.
#[test]
fn the_last_unit_goes_to_exactly_one_of_any_number_of_threads() {
    for threads in [2, 8, 32] {
        for home in Home::all() {
            let store = home.open(Arc::new(SystemClock), StoreLimits::default());
            assert_eq!(race_for_last_units(&store, threads, 20), 20, "{} with {threads} threads", home.name());
        }
    }
}

/// A clock that panics when it is told to.
struct Panicky {
    clock: ManualClock,
    is_armed: AtomicBool,
}

impl Clock for Panicky {
    fn now(&self) -> Timestamp {
        assert!(!self.is_armed.load(Ordering::SeqCst), "the clock's own bug");
        self.clock.now()
    }
}

/// Case F39. The clock is the one piece of a host's code that a store runs while it commits and reads.
#[test]
fn a_panic_in_the_clock_writes_nothing_and_leaves_the_store_usable() {
    for home in Home::all() {
        let clock = Arc::new(Panicky { clock: ManualClock::at(Timestamp::EPOCH), is_armed: AtomicBool::new(false) });
        let store = home.open(clock.clone(), StoreLimits::default());
        let write = |id: &str| {
            let body = || Body::raw("n", 1, b"{}".to_vec());
            let change = change(id).insert(key(id), body(), vec![]).append(Event::new(body()));
            change.add(add("t", [1, 0, 0, 0], &stock()))
        };
        for round in 0..5 {
            let ids = [format!("{round}/a"), format!("{round}/b")];
            clock.is_armed.store(true, Ordering::SeqCst);
            let batch = ids.iter().map(|id| Commit { tenant: Tenant::default(), change: write(id) }).collect();
            for result in block_on(store.commit(batch)) {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable, "{}", home.name());
            }
            let read = block_on(store.get(vec![Ask::new(Tenant::default())]));
            assert_eq!(read.unwrap_err().kind(), ErrorKind::Unavailable, "{}", home.name());
            clock.is_armed.store(false, Ordering::SeqCst);
            // Nothing of it is there, and the same changes pass now, for this caller and for another thread's.
            assert_eq!(lanes(&*store, "t")[0], 2 * round, "{}", home.name());
            assert!(!done(&*store, write(&ids[0])).replayed, "{}", home.name());
            let replayed =
                thread::scope(|scope| scope.spawn(|| done(&*store, write(&ids[1])).replayed).join().unwrap());
            assert!(!replayed, "{}", home.name());
            let head = block_on(store.read(Position(0), 1_000)).unwrap().head;
            assert_eq!(head, block_on(store.watch(Position(0))).unwrap(), "{}", home.name());
            assert_eq!(head, block_on(store.health()).unwrap().head, "{}", home.name());
        }
        assert_eq!(block_on(store.health()).unwrap().commits, 10, "{}", home.name());
    }
}

/// No runtime is needed: everything in memory ends under an executor that only parks a thread.
#[test]
fn memory_runs_under_a_plain_block_on() {
    let store = Memory::new();
    let outcome = block_on(async {
        let outcome =
            txn_store::Store::commit(&store, vec![Commit { tenant: Tenant::default(), change: change("c") }]).await;
        assert_eq!(txn_store::Store::read(&store, Position(0), 1).await.unwrap().items, vec![]);
        outcome
    });
    assert!(matches!(&outcome[..], [Ok(Outcome::Done(_))]));
}

/// Cases B39, B40. What a caller sends is bounded far below what a protocol or a parser breaks at, and refused with the number before any driver sees it. That drivers with the weakness are not built in is not shown here:
/// `deny.toml` bans them, and `.ci/run` checks it.
#[test]
fn sizes_counts_and_depths_are_bounded_before_they_reach_a_driver() {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Anything(serde_json::Value);
    impl txn_change::Document for Anything {
        const TYPE: &'static str = "anything";
        const SCHEMA: u16 = 1;
    }

    let limits = StoreLimits::default();
    assert!(limits.change.change_bytes_max <= 64 << 20 && limits.group_bytes_max <= 64 << 20);
    for home in Home::all() {
        let store = home.open(Arc::new(SystemClock), limits);
        let refused = |change: Change| {
            let batch = vec![Commit { tenant: Tenant::default(), change }];
            match block_on(store.commit(batch)).remove(0).unwrap() {
                Outcome::Refused(refusal) => refusal.to_string(),
                other => panic!("{}: {other:?}", home.name()),
            }
        };
        let body = |length: usize| Body::raw("n", 1, vec![b'x'; length]);
        let max = limits.change.body_bytes_max;
        let large = refused(change("large").insert(key("a"), body(max + 1), vec![]));
        assert!(large.contains(&(max + 1).to_string()) && large.contains(&max.to_string()), "{large}");
        let many = (0..5).fold(change("many"), |change, n| change.insert(key(&n.to_string()), body(max), vec![]));
        assert!(refused(many).contains("bytes"), "{}", home.name());
        let terms = (0..=limits.change.terms_max).map(|n| key(&n.to_string())).collect();
        assert!(refused(change("terms").insert(key("a"), body(1), terms)).contains("terms"), "{}", home.name());
        // Bytes are stored as they are; reading them as a value stops at the parser's depth.
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
        done(&*store, change("deep").insert(key("deep"), Body::raw("anything", 1, deep), vec![]));
        let ask = Ask::new(Tenant::default()).record(key("deep"));
        let found = block_on(store.get(vec![ask])).unwrap().remove(0).records.remove(0).unwrap();
        assert!(matches!(found.body.read::<Anything>(), Err(txn_change::BodyError::Unreadable { .. })));
    }
}
