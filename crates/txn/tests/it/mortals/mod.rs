//! Whole applications that are killed at any moment, over and over: they write to a store, relay its log to a queue, apply what comes through the inbox, and run processes. At the end each event has had its effects, once, and in its order.

mod errand;
mod live;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use txn::queue::{Group, GroupName, Topic};
use txn_suite::Mortal;

use errand::Elsewhere;
use live::App;

const VARIABLE: &str = "TXN_TEST_MORTAL";
/// How long may take what takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the store and the queue are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Medium {
    Files,
    #[cfg(feature = "servers")]
    Server {
        url: String,
        schema: String,
    },
}

/// What a process is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Life {
    medium: Medium,
    folder: String,
    place: usize,
}

fn group(name: &str) -> Group {
    Group::new(Topic::new("notes").unwrap(), GroupName::new(name).unwrap())
}

fn notes(folder: &Path, place: usize) -> PathBuf {
    folder.join(format!("notes-{place}"))
}

/// A process of this test.
fn start(test: &str, life: &Life) -> Mortal {
    let errors = Path::new(&life.folder).join("errors");
    let errors = fs::OpenOptions::new().append(true).create(true).open(errors).unwrap();
    Mortal::start(test, VARIABLE, &serde_json::to_string(life).unwrap(), errors).unwrap()
}

fn errors(folder: &Path) -> String {
    fs::read_to_string(folder.join("errors")).unwrap_or_default()
}

/// The messages that were asked for, or of which was told that they are committed: in one file of notes for each place.
fn noted(folder: &Path, places: usize, verb: &str) -> BTreeSet<String> {
    let of = |place: usize| {
        let notes = fs::read_to_string(notes(folder, place)).unwrap_or_default();
        let numbers = notes.lines().filter_map(|line| line.strip_prefix(verb)).map(str::trim);
        numbers.map(|number| format!("{place}-{number}/0")).collect::<Vec<_>>()
    };
    (0..places).flat_map(of).collect()
}

/// Processes are killed so often, at least, each after a while by chance, and others begin in their places. When they have not done enough by then they live longer, and longer: on a busy machine a process may take that long to begin.
#[allow(clippy::print_stdout, reason = "what the test came to")]
fn storm(test: &str, medium: &Medium, places: usize, kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let life = |place| Life { medium: medium.clone(), folder: folder.to_str().unwrap().to_owned(), place };
    let mut mortals: Vec<Mortal> = (0..places).map(|place| start(test, &life(place))).collect();
    let (mut dice, begun) = (0x5eed_u64, Instant::now());
    for nth in 0.. {
        if nth >= kills && noted(folder, places, "told").len() > 60 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "too little is done: {}", errors(folder));
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let longer = nth / kills + 1;
        thread::sleep(Duration::from_millis((100 + dice % 1_100) * longer / u64::try_from(places).unwrap()));
        let place = usize::try_from(dice >> 32).unwrap() % places;
        assert!(!mortals[place].has_ended().unwrap(), "a process ended by itself: {}", errors(folder));
        mortals[place].die().unwrap();
        mortals[place] = start(test, &life(place));
    }
    fs::write(folder.join("stop"), "").unwrap();
    let begun = Instant::now();
    while !(0..places).all(|place| folder.join(format!("written-{place}")).exists()) {
        assert!(begun.elapsed() < PATIENCE, "something is left to write: {}", errors(folder));
        thread::sleep(Duration::from_millis(20));
    }
    let (asked, told) = (noted(folder, places, "asked"), noted(folder, places, "told"));
    assert_eq!(asked, told, "all that was asked for was acknowledged");
    // The last step of the last errand ends it all.
    let elsewhere = Elsewhere::open(folder);
    while elsewhere.done().len() < 2 * told.len() {
        assert!(begun.elapsed() < PATIENCE, "errands are left: {} {}", elsewhere.done().len(), errors(folder));
        assert!(
            !mortals.iter_mut().any(|mortal| mortal.has_ended().unwrap()),
            "a process ended by itself: {}",
            errors(folder)
        );
        thread::sleep(Duration::from_millis(50));
    }
    drop(mortals);
    assert!(!errors(folder).contains("panicked"), "{}", errors(folder));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(check(medium, folder, &told));
    let (calls, done) = (elsewhere.calls(), elsewhere.done());
    println!("{} events, {calls} calls of {} steps", told.len(), done.len());
    let expected: Vec<(String, String)> =
        told.iter().flat_map(|id| ["bring", "fetch"].map(|step| (id.clone(), step.to_owned()))).collect();
    assert_eq!(done, expected, "each step was done once for its errand");
}

async fn check(medium: &Medium, folder: &Path, told: &BTreeSet<String>) {
    let app = App::open(medium, folder).await;
    // What a dead process held comes back when its leases are over; then nothing is left to be done.
    let quiet = async {
        while !app.is_quiet(told).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let quiet = tokio::time::timeout(PATIENCE, quiet);
    match select(std::pin::pin!(app.work()), std::pin::pin!(quiet)).await {
        Either::Left(_) => panic!("it works for ever"),
        Either::Right((quiet, _)) => quiet.expect("something is left to be done"),
    }
    let pass = app.processes.runner().run_once().await.unwrap();
    assert!(pass.failures.is_empty() && pass.next_due.is_none(), "{pass:?}");
    assert_eq!(app.relay().parked().list().await.unwrap(), []);
    let report = app.txn.verify().await.unwrap();
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    // In the order of each subject.
    let scope = txn::store::Scope::new(std::sync::Arc::clone(&app.store) as _, txn::Tenant::default());
    let mut had = Vec::new();
    let mut log: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    let mut after = txn::store::Position(0);
    loop {
        let page = app.store.read(after, 1_000).await.unwrap();
        let Some(last) = page.items.last() else { break };
        after = last.position;
        for item in &page.items {
            let recorded = &item.recorded;
            if recorded.event.body.type_name() == "note.written" {
                let subject = recorded.event.subject.as_ref().unwrap().to_string();
                log.entry(subject).or_default().push(format!("{}/0", recorded.change));
            }
        }
    }
    for (subject, events) in log {
        let record = scope.record(live::had(&subject)).await.unwrap().unwrap();
        let ids: Vec<String> = serde_json::from_slice(record.body.bytes()).unwrap();
        assert_eq!(ids, events, "what {subject} has had, in the order of the log");
        had.extend(ids);
    }
    assert_eq!(had.iter().cloned().collect::<BTreeSet<_>>(), *told, "each has had its effect");
    assert_eq!(had.len(), told.len(), "and once");
}

/// Whether this is one of the processes; then it has lived.
fn lived() -> bool {
    env::var(VARIABLE).map(|value| live::live(&value)).is_ok()
}

fn name(of: &str) -> String {
    let name = format!("{}::{of}", module_path!());
    name.split_once("::").unwrap().1.to_owned()
}

/// One process at a time, as a file has it. Cases Q22, Q34, Q59.
#[test]
fn an_application_on_files_that_is_killed_over_and_over_loses_and_doubles_nothing() {
    if !lived() {
        let name = name("an_application_on_files_that_is_killed_over_and_over_loses_and_doubles_nothing");
        storm(&name, &Medium::Files, 1, 18);
    }
}

/// Three processes at once, which take the lanes, the messages and the errands of those that die. Cases Q22, Q23, Q59.
#[cfg(feature = "servers")]
#[test]
fn applications_on_a_server_that_are_killed_over_and_over_lose_and_double_nothing() {
    if !lived() {
        let name = name("applications_on_a_server_that_are_killed_over_and_over_lose_and_double_nothing");
        let url = env::var("TXN_POSTGRES_URL");
        let url = url.expect("TXN_POSTGRES_URL is the URL of a server; `cargo xtask test` starts one");
        let started = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() % 10_000_000_000;
        let schema = format!("m{}_{started}", std::process::id());
        storm(&name, &Medium::Server { url, schema }, 3, 40);
    }
}
