//! A COMMIT that is cut off, at each of its bytes and at each byte of its answer.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use txn_change::{Change, ChangeId, Fingerprint, Refusal};
use txn_store::{
    Outcome, Resolution, Scope, Store, StoreAdmin,
    conformance::block_on,
    faults::{Fate, Place, Strike, Workload},
};

use super::{DEADLINE, PATIENT, Scene, terminate};
use crate::faults::{hit, rounds};

/// Bytes of a COMMIT, and of what the server says to it.
const COMMIT: usize = 12;
const DONE: usize = 18;

/// Every place at a COMMIT: before each of its bytes, behind it, and before each byte of the answer.
fn places() -> impl Iterator<Item = Place> {
    (0..=COMMIT).map(Place::Request).chain((0..DONE).map(Place::Reply))
}

/// A connection that is cut before all of COMMIT has been sent commits nothing; behind that, the answer is lost, and the store finds out. Either way every change ends in one settled answer, and none
/// is done twice.
///
/// Cases F32, F31.
#[test]
fn a_commit_that_is_cut_at_any_byte_ends_in_one_settled_answer() {
    let scene = Scene::new(Workload { seed: 32, changes: u64::MAX, workers: 2, ..Workload::default() });
    let (proxy, store) = scene.through_within(PATIENT);
    let mut asked = 0;
    for _ in 0..rounds(1) {
        for place in places() {
            proxy.strike(Strike::at_commit(place, Fate::Cut));
            asked += 1;
            let ran = scene.run(&store, &|_| proxy.strikes() >= asked);
            assert_eq!(proxy.strikes(), asked, "{place:?}");
            assert_eq!((ran.unknown, ran.given_up), (0, 0), "the server can be asked: {place:?} {ran:?}");
        }
    }
    hit("a connection cut at a byte of COMMIT or of its answer", proxy.strikes());
    drop(store);
    scene.end();
}

/// The same, but nobody is told: the connection stays, and nothing passes.
///
/// Cases F32, F53.
#[test]
fn a_commit_on_a_connection_that_hangs_ends_in_one_settled_answer() {
    let scene = Scene::new(Workload { seed: 53, changes: u64::MAX, workers: 2, ..Workload::default() });
    let (proxy, store) = scene.through();
    let (mut asked, mut unknown, mut failed) = (0, 0, 0);
    for _ in 0..rounds(1) {
        for place in
            [Place::Request(0), Place::Request(5), Place::Request(COMMIT), Place::Reply(0), Place::Reply(DONE - 1)]
        {
            proxy.strike(Strike::at_commit(place, Fate::Hang));
            asked += 1;
            let ran = scene.run(&store, &|_| proxy.strikes() >= asked);
            assert_eq!((proxy.strikes(), ran.given_up), (asked, 0), "{place:?} {ran:?}");
            assert!(ran.longest < Duration::from_secs(60), "no call waits for ever: {place:?} {ran:?}");
            unknown += ran.unknown;
            failed += ran.failed;
            proxy.cut();
        }
    }
    println!("{unknown} outcomes were unknown, {failed} calls were not executed");
    hit("a connection hung at COMMIT", proxy.strikes());
    drop(store);
    scene.end();
}

/// Before each round trip of a commit, and when it is done but not yet said, the session is ended by an operator.
///
/// Case F31.
#[test]
fn a_session_ended_before_any_statement_of_a_commit_has_done_all_or_nothing() {
    let scene = Scene::new(Workload { seed: 31, changes: u64::MAX, workers: 2, ..Workload::default() });
    let (proxy, store) = scene.through_within(PATIENT);
    let mut asked = 0;
    for _ in 0..rounds(2) {
        let later = (0..=6).map(|nth| Strike::from_begin(Place::Later(nth), Fate::Cut));
        let at_commit = [Place::Request(0), Place::Reply(0)].map(|place| Strike::at_commit(place, Fate::Cut));
        for strike in later.chain(at_commit) {
            let (url, place) = (scene.url.clone(), strike.place);
            proxy.strike(Strike { fate: Fate::Call(Box::new(move |seen_as| terminate(&url, seen_as))), ..strike });
            asked += 1;
            let ran = scene.run(&store, &|_| proxy.strikes() >= asked);
            assert_eq!((proxy.strikes(), ran.unknown, ran.given_up), (asked, 0, 0), "{place:?} {ran:?}");
        }
    }
    hit("a session ended between two statements of a commit", proxy.strikes());
    drop(store);
    scene.end();
}

fn change(id: &str) -> Change {
    Change::new(ChangeId::new(id).unwrap(), Fingerprint::of_bytes("late", id.as_bytes()))
}

/// Commits on a thread of its own, through the store that is being struck.
fn lost(store: &Arc<dyn StoreAdmin>, id: &str) -> mpsc::Receiver<Result<Outcome, txn_store::Error>> {
    let scope = Scope::new(Arc::clone(store) as Arc<dyn Store>, Workload::tenant());
    let (tell, told) = mpsc::channel();
    let change = change(id);
    thread::spawn(move || drop(tell.send(block_on(scope.commit(change)))));
    told
}

/// Whoever settles the id of a commit that still runs waits for its end, and says the same as it.
///
/// Case F32.
#[test]
fn settling_a_commit_that_still_runs_waits_for_it() {
    let scene = Scene::new(Workload::default());
    let (proxy, store) = scene.through();
    let other = Scope::new(scene.open() as Arc<dyn Store>, Workload::tenant());
    let (mut done, mut not_done) = (0, 0);
    for round in 0..rounds(3) {
        // COMMIT is on its way while another process settles the id, and arrives.
        let id = format!("late/{round}");
        let (begun, has_begun) = mpsc::channel();
        let wait = move |_| {
            begun.send(()).unwrap();
            thread::sleep(Duration::from_millis(150));
        };
        let before = proxy.strikes();
        proxy.strike(Strike::at_commit(Place::Request(0), Fate::Call(Box::new(wait))));
        let told = lost(&store, &id);
        has_begun.recv().unwrap();
        let resolved = settled(&other, &id);
        assert!(matches!(resolved, Resolution::Done(_)), "it was committed first: {resolved:?}");
        assert!(matches!(told.recv().unwrap(), Ok(Outcome::Done(_))));
        done += proxy.strikes() - before;

        // COMMIT never arrives, and its session hangs with the row that the settling wants.
        let id = format!("never/{round}");
        let before = proxy.strikes();
        proxy.strike(Strike::at_commit(Place::Request(6), Fate::Hang));
        let told = lost(&store, &id);
        crate::faults::wait_for("the strike", || proxy.strikes() > before);
        match settled(&other, &id) {
            Resolution::NotDone => {
                // Nothing comes after it, however late.
                let late = told.recv().unwrap();
                assert!(!matches!(late, Ok(Outcome::Done(_))), "{late:?}");
                let again = block_on(other.commit(change(&id))).unwrap();
                assert!(matches!(again, Outcome::Refused(Refusal::GivenUp { .. })), "{again:?}");
                not_done += 1;
            }
            Resolution::Done(_) => panic!("the COMMIT of {id} never reached the server"),
        }
        proxy.cut();
    }
    hit("an id settled while its commit was running", done);
    hit("an id settled whose commit hung", not_done);
}

/// A COMMIT that is on its way for longer than its sender waits. Whoever takes it for lost while its transaction still runs tries again, and tells its caller that the change had been done before.
///
/// Case F32.
#[test]
fn a_commit_that_arrives_late_is_waited_for() {
    let scene = Scene::new(Workload::default());
    let (proxy, store) = scene.through();
    let mut done = 0;
    for round in 0.. {
        // On a machine that is busy the settling may come too late as well.
        if round >= rounds(3) && (done > 0 || round >= 30) {
            break;
        }
        // Shorter than a session that stands still is left alone.
        let late = |_| thread::sleep(DEADLINE + Duration::from_millis(200));
        proxy.strike(Strike::at_commit(Place::Request(0), Fate::Call(Box::new(late))));
        match lost(&store, &format!("slow/{round}")).recv().unwrap() {
            Ok(Outcome::Done(receipt)) => {
                assert!(!receipt.replayed, "it was asked once, and is told that it had been done before");
                done += 1;
            }
            Ok(Outcome::Unknown(_)) => println!("the machine is slow"),
            other => panic!("it was committed: {other:?}"),
        }
    }
    hit("a COMMIT that arrived late", proxy.strikes());
    hit("a change that was done by then", done);
}

/// A server that cannot be asked leaves the outcome unknown; when it can be asked again, asking or settling tells what it was, for good.
///
/// Case F32.
#[test]
fn an_outcome_that_nobody_can_tell_is_unknown_until_it_is_asked_again_or_settled() {
    let scene = Scene::new(Workload::default());
    let (proxy, store) = scene.through();
    let proxy = Arc::new(proxy);
    let scope = Scope::new(Arc::clone(&store) as Arc<dyn Store>, Workload::tenant());
    let mut unknown = 0;
    for round in 0..rounds(2) {
        for (has_arrived, place) in [(false, Place::Request(0)), (true, Place::Reply(0))] {
            for by_settling in [false, true] {
                let id = format!("unknown/{round}/{has_arrived}/{by_settling}");
                let hand = Arc::clone(&proxy);
                proxy.strike(Strike::at_commit(place, Fate::Call(Box::new(move |_| hand.refuse()))));
                let told = lost(&store, &id).recv().unwrap().unwrap();
                assert!(matches!(told, Outcome::Unknown(_)), "{id}: {told:?}");
                unknown += 1;
                let error = block_on(scope.resolve(&ChangeId::new(&id).unwrap())).unwrap_err();
                assert!(error.is_retryable(), "{error}");
                proxy.flow();
                let again = || ended("a change", || block_on(scope.commit(change(&id))));
                match (by_settling.then(|| settled(&scope, &id)), again()) {
                    (None, Outcome::Done(receipt)) => assert_eq!(receipt.replayed, has_arrived, "{id}"),
                    (Some(Resolution::Done(_)), Outcome::Done(receipt)) => {
                        assert!(has_arrived && receipt.replayed, "{id}")
                    }
                    (Some(Resolution::NotDone), Outcome::Refused(Refusal::GivenUp { .. })) => {
                        assert!(!has_arrived, "{id}")
                    }
                    other => panic!("{id}: {other:?}"),
                }
            }
        }
    }
    hit("an outcome that nobody could tell", unknown);
}

fn settled(scope: &Scope, id: &str) -> Resolution {
    let id = ChangeId::new(id).unwrap();
    ended("an id to be settled", || block_on(scope.resolve(&id)))
}

/// What a call says that is made until it has an answer.
fn ended<T>(what: &str, call: impl Fn() -> Result<T, txn_store::Error>) -> T {
    let mut answer = None;
    crate::faults::wait_for(what, || {
        match call() {
            Ok(told) => answer = Some(told),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        answer.is_some()
    });
    answer.unwrap()
}
