//! Leases on every store: one holder at a time, a fair share, no way back for who was late.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use pollster::block_on;
use txn::{
    Leases,
    change::{Change, ChangeId, Clock, Fingerprint, Refusal, Timestamp},
    leases::{Held, LeaseSet},
    store::{Outcome, Scope, Store},
};

use crate::relay::{Dice, FlakyStore, World, in_memory, seeded, worlds};

const LEASE: Duration = Duration::from_secs(15);

fn leases(world: &World, count: u32) -> Leases {
    Leases::new(world.store(), LeaseSet::new("reports").unwrap(), count, LEASE)
}

fn numbers(held: &[Held]) -> Vec<u32> {
    held.iter().map(|held| held.number).collect()
}

#[test]
fn one_has_all_and_two_share() {
    for world in worlds() {
        let (mut first, mut second) = (leases(&world, 5), leases(&world, 5));
        assert_eq!(numbers(&block_on(first.keep()).unwrap().held), [0, 1, 2, 3, 4]);
        assert!(block_on(second.keep()).unwrap().held.is_empty());
        let kept = block_on(first.keep()).unwrap();
        assert_eq!((kept.members, kept.held.len()), (2, 5));
        assert_eq!(kept.surplus.len() + block_on(second.keep()).unwrap().held.len(), kept.surplus.len());
        block_on(first.release(&kept.surplus)).unwrap();
        let (one, two) = (block_on(first.keep()).unwrap(), block_on(second.keep()).unwrap());
        let mut all = [numbers(&one.held), numbers(&two.held)].concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4], "each has one holder");
        assert_eq!(one.held.len().abs_diff(two.held.len()), 1);
        assert!(one.surplus.is_empty() && two.surplus.is_empty());

        // Who leaves gives everything back at once, and can come again.
        block_on(second.leave()).unwrap();
        assert_eq!(block_on(first.keep()).unwrap().held.len(), 5);
        block_on(second.keep()).unwrap();
        assert_eq!(block_on(first.keep()).unwrap().members, 2);
    }
}

#[test]
fn who_is_late_has_lost_everything_and_its_tokens_are_stale() {
    for world in worlds() {
        let (mut first, mut second) = (leases(&world, 3), leases(&world, 3));
        let before = block_on(first.keep()).unwrap().held;
        let name = first.holder().to_owned();
        // Renewed in time, it keeps everything, and its tokens.
        for _ in 0..5 {
            world.clock.advance(Duration::from_secs(5));
            assert_eq!(block_on(first.keep()).unwrap().held, before);
            assert!(block_on(second.keep()).unwrap().held.is_empty());
        }
        let surplus = block_on(first.keep()).unwrap().surplus;
        assert!(!surplus.is_empty());
        world.clock.advance(LEASE);
        block_on(second.keep()).unwrap();
        world.clock.advance(Duration::from_nanos(1));
        // The second was on time, the first is late by a nanosecond.
        let after = block_on(second.keep()).unwrap().held;
        assert_eq!(numbers(&after), [0, 1, 2]);
        assert!(after.iter().zip(&before).all(|(after, before)| after.token > before.token));

        let scope = Scope::new(world.store(), txn::Tenant::default());
        let write = |id: &str, held: &Held| {
            let mut change = Change::new(ChangeId::new(id).unwrap(), Fingerprint::of("write", id));
            change.fence.push(held.fence());
            block_on(scope.commit(change)).unwrap()
        };
        assert!(matches!(write("late", &before[1]), Outcome::Refused(Refusal::FenceStale { .. })));
        assert!(matches!(write("in-time", &after[1]), Outcome::Done(_)));

        // It comes back as another.
        let kept = block_on(first.keep()).unwrap();
        assert_eq!((kept.held, kept.members), (vec![], 2));
        assert_ne!(first.holder(), name);
    }
}

/// However many come, go, die and are slow: no lease is ever named by two who are both alive, and in the end each has its share.
#[test]
fn random_comings_and_goings_leave_every_lease_with_one_holder() {
    for (seed, world) in seeded(60, 3) {
        let world = &world;
        let dice = Dice::new(seed);
        let mut members: Vec<Leases> = (0..2).map(|_| leases(world, 7)).collect();
        let mut tokens: BTreeMap<u32, u64> = BTreeMap::new();
        for _ in 0..60 {
            let chosen = dice.choose(members.len());
            match dice.below(8) {
                0 => world.clock.advance(Duration::from_secs(4)),
                1 if members.len() < 5 => members.push(leases(world, 7)),
                2 if members.len() > 1 => drop(members.remove(chosen)),
                3 if members.len() > 1 => block_on(members.remove(chosen).leave()).unwrap(),
                _ => {
                    let kept = block_on(members[chosen].keep()).unwrap();
                    for held in &kept.held {
                        let highest = tokens.entry(held.number).or_default();
                        assert!(held.token >= *highest, "seed {seed}: a lease of an earlier holder came back");
                        *highest = held.token;
                    }
                    block_on(members[chosen].release(&kept.surplus)).unwrap();
                }
            }
        }
        world.clock.advance(LEASE + LEASE);
        for _ in 0..4 {
            for member in &mut members {
                let surplus = block_on(member.keep()).unwrap().surplus;
                block_on(member.release(&surplus)).unwrap();
            }
        }
        let held: Vec<Vec<u32>> =
            members.iter_mut().map(|member| numbers(&block_on(member.keep()).unwrap().held)).collect();
        let mut all = held.concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6], "seed {seed}: {held:?}");
        let (most, least) = (held.iter().map(Vec::len).max().unwrap(), held.iter().map(Vec::len).min().unwrap());
        assert!(most - least <= 1, "seed {seed}: {held:?}");
    }
}

/// Who has what by what was last told to it, and until when.
#[derive(Default)]
struct Told(BTreeMap<u32, (usize, u64, Timestamp)>);

impl Told {
    /// A member is told what it has, from a step that it began then. Nobody else may have any of it.
    fn tell(&mut self, member: usize, held: &[Held], until: Timestamp, now: Timestamp) {
        self.forget(member, |number| held.iter().all(|held| held.number != number));
        for held in held {
            if let Some((other, token, other_until)) = self.0.get(&held.number) {
                let is_over = *other == member || *other_until < now || until < now;
                assert!(is_over, "{other} has {} by {token} and {member} by {}", held.number, held.token);
            }
            self.0.insert(held.number, (member, held.token, until));
        }
    }

    fn forget(&mut self, member: usize, which: impl Fn(u32) -> bool) {
        self.0.retain(|number, (other, ..)| *other != member || !which(*number));
    }
}

type Step = Pin<Box<dyn Future<Output = Leases>>>;

/// The steps of several members, interleaved call by call, while time goes on: nobody is told to have what another was told to have and still may.
#[test]
fn steps_that_cross_each_other_never_give_a_lease_to_two() {
    for (seed, world) in seeded(400, 0) {
        let dice = Arc::new(Dice::new(seed));
        let store: Arc<dyn Store> =
            Arc::new(FlakyStore { store: world.store(), dice: Arc::clone(&dice), is_well: true.into() });
        let set = LeaseSet::new("reports").unwrap();
        let told = Rc::new(RefCell::new(Told::default()));
        let mut members = 0;
        let mut step = |leases: Option<(usize, Leases)>| -> (usize, Step) {
            let (member, mut leases) = leases.unwrap_or_else(|| {
                members += 1;
                (members, Leases::new(Arc::clone(&store), set.clone(), 4, LEASE))
            });
            let (told, clock) = (Rc::clone(&told), Arc::clone(&world.clock));
            let steps = async move {
                let until = Clock::now(&*clock).after(leases.lease() * 3 / 4).unwrap();
                let kept = leases.keep().await.unwrap();
                told.borrow_mut().tell(member, &kept.held, until, Clock::now(&*clock));
                told.borrow_mut().forget(member, |number| kept.surplus.contains(&number));
                leases.release(&kept.surplus).await.unwrap();
                leases
            };
            (member, Box::pin(steps))
        };
        let mut running: Vec<(usize, Step)> = (0..3).map(|_| step(None)).collect();
        for _ in 0..600 {
            let chosen = dice.choose(3);
            match dice.below(60) {
                0 => running[chosen] = step(None),
                1 | 2 => world.clock.advance(Duration::from_secs(4)),
                _ => {
                    let (member, future) = &mut running[chosen];
                    let member = *member;
                    if let Poll::Ready(leases) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        running[chosen] = step(Some((member, leases)));
                    }
                }
            }
        }
    }
}

#[test]
fn a_call_whose_answer_was_lost_is_made_again() {
    for (seed, world) in seeded(60, 3) {
        let store = FlakyStore { store: world.store(), dice: Arc::new(Dice::new(seed)), is_well: false.into() };
        let store: Arc<dyn Store> = Arc::new(store);
        let mut leases = Leases::new(store, LeaseSet::new("reports").unwrap(), 7, LEASE);
        let mut tries = 0;
        loop {
            match block_on(leases.keep()) {
                Ok(kept) if kept.held.len() == 7 => break,
                Ok(_) => {}
                Err(failure) => assert!(failure.is_retryable(), "seed {seed}: {failure}"),
            }
            tries += 1;
            assert!(tries < 100, "seed {seed}");
        }
    }
}

/// A process looks, and stands still before it takes what was free; meanwhile two others had it one after the other. It has come too late, and that is no failure.
#[test]
fn who_is_overtaken_by_two_takes_nothing_and_goes_on() {
    for stands_still_after in 0..20 {
        let world = in_memory();
        let store = FlakyStore { store: world.store(), dice: Arc::new(Dice::new(0)), is_well: true.into() };
        let others = [leases(&world, 1), leases(&world, 1)];
        let mut slow = Leases::new(Arc::new(store), LeaseSet::new("reports").unwrap(), 1, LEASE);
        let mut keeping = Box::pin(slow.keep());
        let mut poll = || keeping.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if (0..stands_still_after).any(|_| poll().is_ready()) {
            continue;
        }
        for mut other in others {
            block_on(other.keep()).unwrap();
            block_on(other.leave()).unwrap();
        }
        block_on(keeping).unwrap();
        assert_eq!(numbers(&block_on(slow.keep()).unwrap().held), [0]);
    }
}
