//! The isolation checker on every backend, and on stores with a planted weakness each: what finds nothing in a broken store proves nothing of a whole one.

mod weak;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use txn_store::conformance::{
    Backend, Harness, block_on,
    isolation::{Kind, Options, Report, Schedule, run},
};
use txn_store::{Clock, Error, StoreAdmin, StoreLimits};

use crate::backends::Home;
use weak::{Weak, Weakness};

const SEEDS: [u64; 3] = [1, 2, 3];

fn options(seed: u64) -> Options {
    Options { seed, schedule: Schedule::Turns, ..Options::default() }
}

fn report(backend: impl Backend, options: Options) -> Report {
    block_on(run(&Harness::new(backend), options)).unwrap()
}

/// Opens each store in a home of its own.
struct Whole {
    home: fn() -> Home,
    homes: Mutex<Vec<Home>>,
}

impl Whole {
    fn of(home: fn() -> Home) -> Self {
        Self { home, homes: Mutex::default() }
    }
}

#[async_trait]
impl Backend for Whole {
    async fn open(&self, _: &str, clock: Arc<dyn Clock>, limits: StoreLimits) -> Result<Arc<dyn StoreAdmin>, Error> {
        let home = (self.home)();
        let store = home.open(clock, limits);
        self.homes.lock().unwrap().push(home);
        Ok(store)
    }
}

struct Broken(Weakness);

#[async_trait]
impl Backend for Broken {
    async fn open(&self, _: &str, clock: Arc<dyn Clock>, limits: StoreLimits) -> Result<Arc<dyn StoreAdmin>, Error> {
        Ok(Arc::new(Weak::new(self.0, Home::Memory.open(clock, limits))))
    }
}

fn is_clean(home: fn() -> Home) {
    for options in SEEDS.map(options).into_iter().chain([Options { seed: 4, keys: 1, ..Options::default() }]) {
        let report = report(Whole::of(home), options);
        println!("{report}");
        assert!(report.is_clean(), "{report}");
        let tally = report.tally;
        assert!(tally.done > 50 && tally.refused > 10 && tally.readings > 100, "callers must meet: {report}");
        assert!(options.schedule != Schedule::Turns || tally.unknown > 0, "some calls were given up: {report}");
    }
}

#[test]
fn memory_is_strictly_serializable() {
    is_clean(|| Home::Memory);
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_is_strictly_serializable() {
    is_clean(Home::sqlite);
}

#[test]
fn a_seed_gives_one_history() {
    let run = |seed| report(Whole::of(|| Home::Memory), options(seed)).history;
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

/// The kinds that a weakness shows as, with each seed; `expected` is among them.
fn found(weakness: Weakness, expected: Kind) -> Vec<BTreeSet<Kind>> {
    let found = |seed| {
        let report = report(Broken(weakness), options(seed));
        let kinds: BTreeSet<Kind> = report.anomalies.iter().map(|anomaly| anomaly.kind).collect();
        println!("{weakness:?} with seed {seed}: {kinds:?}");
        let told = report.anomalies.iter().find(|anomaly| anomaly.kind == expected);
        println!("{}", told.unwrap_or_else(|| panic!("{weakness:?} with seed {seed}: no {expected:?} in {report}")));
        kinds
    };
    SEEDS.map(found).to_vec()
}

/// The weakness shows as this, and as nothing else.
fn found_only(weakness: Weakness, expected: Kind) {
    for kinds in found(weakness, expected) {
        assert_eq!(kinds, BTreeSet::from([expected]), "{weakness:?}");
    }
}

/// The weakness shows as this, and every write is there once and stays.
fn found_in_order(weakness: Weakness, expected: Kind) {
    for kinds in found(weakness, expected) {
        let order =
            [Kind::DirtyWrite, Kind::AbortedRead, Kind::CircularFlow, Kind::LostUpdate, Kind::IncompatibleOrders];
        let lost = order
            .into_iter()
            .chain([Kind::Duplicate, Kind::Invented, Kind::Internal])
            .find(|kind| kinds.contains(kind));
        assert_eq!(lost, None, "{weakness:?}");
    }
}

#[test]
fn a_dropped_requirement_is_write_skew() {
    found_in_order(Weakness::DropsRequire, Kind::WriteSkew);
}

#[test]
fn a_dropped_requirement_of_an_absent_record_is_write_skew() {
    found_in_order(Weakness::DropsRequireAbsent, Kind::WriteSkew);
}

#[test]
fn a_dropped_condition_on_a_counter_is_write_skew() {
    found(Weakness::DropsHold, Kind::WriteSkew);
}

#[test]
fn an_expectation_that_is_not_looked_at_loses_updates() {
    found(Weakness::IgnoresExpect, Kind::LostUpdate);
}

#[test]
fn a_row_from_yesterday_is_read_skew_and_out_of_time() {
    found_in_order(Weakness::ServesStale, Kind::ReadSkew);
    found_in_order(Weakness::ServesStale, Kind::RealTime);
}

#[test]
fn a_snapshot_of_two_instants_is_read_skew() {
    found_in_order(Weakness::TearsSnapshots, Kind::ReadSkew);
}

#[test]
fn a_page_without_its_newest_rows_is_out_of_time() {
    found_in_order(Weakness::HidesRows, Kind::RealTime);
}

#[test]
fn an_acknowledgement_without_a_commit_is_out_of_time() {
    found(Weakness::AcknowledgesOnly, Kind::RealTime);
}

#[test]
fn an_acknowledgement_before_the_commit_is_out_of_time() {
    found(Weakness::AcknowledgesEarly, Kind::RealTime);
}

#[test]
fn a_change_committed_twice_is_a_duplicate() {
    found_only(Weakness::CommitsTwice, Kind::Duplicate);
}

#[test]
fn a_refusal_that_writes_is_an_aborted_read() {
    found(Weakness::WritesWhatItRefuses, Kind::AbortedRead);
}

#[test]
fn an_id_settled_as_not_done_that_was_is_an_aborted_read() {
    found_only(Weakness::SettlesBlindly, Kind::AbortedRead);
}

#[test]
fn a_change_committed_in_halves_is_read_skew() {
    found(Weakness::CommitsInHalves, Kind::ReadSkew);
}

/// One wrote records before the other and counters after it.
#[test]
fn changes_whose_halves_pass_each_other_are_a_dirty_write() {
    found(Weakness::CommitsInHalves, Kind::DirtyWrite);
}

/// One saw the other's record and added to a counter before the other did.
#[test]
fn a_change_that_is_seen_before_it_is_whole_is_a_circular_flow() {
    found(Weakness::CommitsInHalves, Kind::CircularFlow);
}

/// Of two additions of one change to one counter, the first was seen alone.
#[test]
fn two_additions_of_one_change_that_are_seen_apart_are_an_intermediate_read() {
    found(Weakness::AddsOneByOne, Kind::IntermediateRead);
}

#[test]
fn a_page_that_ends_within_a_change_is_an_intermediate_read() {
    found_in_order(Weakness::HidesRows, Kind::IntermediateRead);
}

#[test]
fn a_refusal_that_names_an_old_version_is_out_of_time() {
    found_only(Weakness::MisstatesVersions, Kind::RealTime);
}
