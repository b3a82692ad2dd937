//! Random histories: every backend says what the naive model says, and ends as it ends.
//!
//! The seed is fixed, so that a run can be repeated. `TXN_HISTORIES_SEED` and `TXN_HISTORIES_CASES` explore further; a failure is shrunk and printed.

mod compare;
mod spec;

use std::{collections::BTreeMap, sync::Arc};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use txn_change::Limits;
use txn_store::{Ask, Clock, Commit, ManualClock, Outcome, StoreLimits};

use crate::{
    backends::Home,
    model::{Model, Said},
};
use spec::Batch;

/// Small, so that histories come to them.
const LIMITS: StoreLimits = StoreLimits {
    change: Limits {
        requires_max: 3,
        puts_max: 4,
        opens_max: 3,
        adds_max: 16,
        holds_max: 3,
        fences_max: 3,
        events_max: 4,
        terms_max: 4,
        body_bytes_max: 64,
        change_bytes_max: 1_024,
    },
    batch_max: 64,
    group_max: 3,
    group_bytes_max: 1 << 20,
    queue_max: 1_024,
    wait_max: core::time::Duration::from_secs(30),
    ask_keys_max: 1_024,
    page_max: 1_000,
};

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number in the environment"))
}

fn run(cases: u32, home: impl Fn() -> Home) {
    let seed = from_environment("TXN_HISTORIES_SEED", 20_100_101);
    let cases = from_environment("TXN_HISTORIES_CASES", cases.into());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: cases as u32, failure_persistence: None, max_shrink_iters: 4_096, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let counted = std::cell::RefCell::new(BTreeMap::<String, u64>::new());
    let history = proptest::collection::vec(spec::batch(), 1..16);
    let outcome = runner.run(&history.boxed(), |history| {
        let of_this = execute(&home(), &history).map_err(TestCaseError::fail)?;
        let mut counted = counted.borrow_mut();
        of_this.into_iter().for_each(|said| *counted.entry(said).or_default() += 1);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("seed {seed}: {failure}");
    }
    let counted = counted.into_inner();
    println!("{cases} histories of seed {seed}: {counted:?}");
    // Histories that never come to a refusal do not test it.
    let missing: Vec<_> = SAID.iter().filter(|said| !counted.contains_key(**said)).collect();
    assert!(missing.is_empty(), "no history came to {missing:?}: {counted:?}");
}

/// Everything that may be said of a change.
const SAID: [&str; 17] = [
    "Done",
    "Replayed",
    "Invalid",
    "KeyReused",
    "GivenUp",
    "FenceStale",
    "Conflict",
    "CounterExists",
    "CounterAbsent",
    "CounterDiffers",
    "CounterNotOpen",
    "ConditionFailed",
    "GuardBroken",
    "LaneNegative",
    "Overflow",
    "Unbalanced",
    "FactExists",
];

/// The variant's name.
fn name(said: &Said) -> String {
    match said {
        Said::Done { replayed: false, .. } => "Done".to_owned(),
        Said::Done { replayed: true, .. } => "Replayed".to_owned(),
        Said::Refused(refusal) => format!("{refusal:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
    }
}

/// Hands a history to a store and to the model; what was said of each change.
fn execute(home: &Home, history: &[Batch]) -> Result<Vec<String>, String> {
    let clock = Arc::new(ManualClock::at(txn_change::Timestamp::EPOCH));
    let mut store = home.open(clock.clone(), LIMITS);
    let mut model = Model::default();
    let mut now = txn_change::Timestamp::MIN;
    let mut counted = Vec::new();
    for (number, batch) in history.iter().enumerate() {
        let time = clock.now().as_nanos() + batch.seconds * 1_000_000_000;
        clock.set(txn_change::Timestamp::from_nanos(time));
        now = now.max(clock.now());
        // Asked for, since a store need not look at its clock for a change that no time could make right.
        let told = pollster::block_on(store.get(vec![Ask::new(spec::tenant(0))])).map_err(|e| e.to_string())?;
        if told.iter().any(|snapshot| snapshot.now != now) {
            return Err(format!("batch {number}: the model has the time {now}, the store {told:?}"));
        }
        let (mut commits, mut expected) = (Vec::new(), Vec::new());
        for spec in &batch.changes {
            let tenant = spec::tenant(spec.tenant);
            let change = spec.change(&model.house(&tenant));
            expected.push(model.commit(&tenant, &change, now, &LIMITS.change));
            commits.push(Commit { tenant, change });
        }
        let found = pollster::block_on(store.commit(commits.clone()));
        if found.len() != expected.len() {
            return Err(format!("batch {number}: {} results for {} changes", found.len(), expected.len()));
        }
        for ((found, expected), commit) in found.into_iter().zip(expected).zip(commits) {
            let said = match found {
                Ok(Outcome::Refused(refusal)) => Ok(Said::Refused(refusal)),
                Ok(Outcome::Done(receipt)) => Err((receipt.answer, receipt.recorded_at, receipt.replayed)),
                other => return Err(format!("batch {number}: {other:?} for {commit:#?}")),
            };
            counted.push(name(&expected));
            let wanted = match expected {
                Said::Refused(_) => Ok(expected),
                Said::Done { stored, replayed } => Err((stored.answer, stored.recorded_at, replayed)),
            };
            if said != wanted {
                return Err(format!("batch {number}: the model says {wanted:#?}, the store {said:#?}, of {commit:#?}"));
            }
        }
    }
    compare::compare(&*store, &model, now)?;
    if home.is_durable() {
        drop(store);
        store = home.open(clock.clone(), LIMITS);
        // Opened again, time goes on from the last commit.
        let answers = model.houses.values().flat_map(|house| house.answers.values());
        let last = answers.map(|stored| stored.recorded_at).max();
        compare::compare(&*store, &model, last.map_or(clock.now(), |last| last.max(clock.now())))?;
    }
    Ok(counted)
}

#[test]
fn memory_does_what_the_model_does() {
    run(400, || Home::Memory);
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_does_what_the_model_does() {
    run(100, Home::sqlite);
}

#[cfg(all(feature = "conformance", feature = "servers"))]
#[test]
fn postgres_does_what_the_model_does() {
    run(100, Home::postgres);
}
