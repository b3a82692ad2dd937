//! Random histories: every backend says what the naive model says, and ends as it ends.
//!
//! The seed is fixed, so that a run can be repeated. `TXN_HISTORIES_SEED` and `TXN_HISTORIES_CASES` explore further; a failure is shrunk and printed.

mod compare;
mod run;
mod spec;
mod steps;

use std::collections::BTreeMap;

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use txn_change::Limits;
use txn_store::StoreLimits;

use crate::backends::Home;

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
    queue_bytes_max: 256 << 20,
    wait_max: core::time::Duration::from_secs(30),
    ask_keys_max: 1_024,
    get_keys_max: 65_536,
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
    let history = proptest::collection::vec(steps::step(), 1..24);
    let outcome = runner.run(&history.boxed(), |history| {
        let of_this = run::execute(&home(), &history).map_err(TestCaseError::fail)?;
        let mut counted = counted.borrow_mut();
        of_this.into_iter().for_each(|said| *counted.entry(said).or_default() += 1);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("seed {seed}: {failure}");
    }
    let counted = counted.into_inner();
    println!("{cases} histories of seed {seed}: {counted:?}");
    // Histories that never come to something do not test it.
    let missing: Vec<_> = SAID.iter().filter(|said| !counted.contains_key(**said)).collect();
    assert!(missing.is_empty(), "no history came to {missing:?}: {counted:?}");
}

/// Everything that may be said of a change, and what else a history comes to.
const SAID: [&str; 30] = [
    "Done",
    "Replayed",
    "Invalid",
    "KeyReused",
    "GivenUp",
    "FenceStale",
    "Late",
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
    "ResolvedDone",
    "ResolvedNotDone",
    "Erased",
    "ErasedNothing",
    "EraseRefused",
    "AnswersPurged",
    "AnswersPurgedInPart",
    "EventsPurged",
    "EventsPurgedInPart",
    "Acknowledged",
    "Retired",
    "TakenOver",
];

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
    run(50, Home::postgres);
}
