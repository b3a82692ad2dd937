//! Liveness: a store that was hurt and opened again takes a fresh change, and brings to an end what was under way.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use txn_change::{Body, Change, ChangeId, Fingerprint};

use super::{
    check::{Report, check},
    side::SideFile,
    workload::Workload,
};
use crate::{
    admin::StoreAdmin,
    conformance::block_on,
    store::{Commit, Outcome, Store},
};

/// Commits a fresh change, asks for everything that has no certain end under its old id, asks for some that are done once more, and checks the store again. All of it must come to its end `within` this time.
///
/// # Errors
/// What the system says about the side file.
pub fn revive(
    store: &Arc<dyn StoreAdmin>,
    workload: &Workload,
    side: &SideFile,
    within: Duration,
) -> io::Result<Report> {
    let mut violations = Vec::new();
    if let Err(why) = fresh(store, within) {
        violations.push(why);
        return Ok(Report { violations, ..Report::default() });
    }
    let asked = side.read()?.0.keys().next_back().map_or(0, |last| last.saturating_add(1));
    let rest = Workload { changes: asked, patience: within, ..*workload };
    let plain: Arc<dyn Store> = Arc::new(Arc::clone(store));
    let ran = rest.run(&plain, side, &|_| false);
    if ran.given_up > 0 {
        violations.push(format!("{} changes did not come to an end within {within:?}", ran.given_up));
    }
    let known = side.read()?;
    if known.open() > 0 {
        violations.push(format!("{} changes have no certain end: {ran:?}", known.open()));
    }
    for (&number, history) in &known.0 {
        let Some(super::Told::Done { answer, .. }) = history.told.last() else { continue };
        match once(store, workload.change(number, None)) {
            Ok(Outcome::Done(receipt)) if receipt.replayed && receipt.answer.bytes() == answer.as_bytes() => {}
            other => violations.push(format!("{} asked once more is {other:?}", Workload::id(number))),
        }
    }
    let mut report = block_on(check(store, workload, &known));
    report.violations.splice(0..0, violations);
    Ok(report)
}

fn once(store: &Arc<dyn StoreAdmin>, change: Change) -> Result<Outcome, crate::Error> {
    let commit = Commit { tenant: Workload::tenant(), change };
    let nothing = || Err(crate::Error::new(crate::ErrorKind::Corrupt, "the store gave no result for a change"));
    block_on(store.commit(vec![commit])).pop().unwrap_or_else(nothing)
}

/// A change that nobody has asked before.
fn fresh(store: &Arc<dyn StoreAdmin>, within: Duration) -> Result<(), String> {
    let health = block_on(store.health()).map_err(|error| format!("the store says that it is not well: {error}"))?;
    let id = format!("faults-alive/{}", health.commits);
    let id = ChangeId::new(id).map_err(|error| error.to_string())?;
    let change = Change::new(id.clone(), Fingerprint::of_bytes("faults.alive", id.as_bytes()));
    let change = change.answer(Body::raw("faults.alive", 1, b"{}".to_vec()));
    let (tell, told) = mpsc::channel();
    let store = Arc::clone(store);
    // On a thread of its own, so that a store that never answers is a violation and not a test that hangs.
    thread::spawn(move || drop(tell.send(once(&store, change))));
    match told.recv_timeout(within) {
        Ok(Ok(Outcome::Done(_))) => Ok(()),
        Ok(other) => Err(format!("a fresh change is {other:?}")),
        Err(_) => Err(format!("a fresh change was not answered within {within:?}")),
    }
}
