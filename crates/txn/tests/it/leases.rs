//! Leases on both stores: one holder at a time, a fair share, no way back for who was late.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pollster::block_on;
use txn::{
    Leases,
    change::{Change, ChangeId, Fingerprint, Refusal},
    leases::{Held, LeaseSet},
    store::{Outcome, Scope, Store},
};

use crate::relay::{Dice, FlakyStore, World, seeded, worlds};

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
