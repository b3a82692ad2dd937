//! What is committed: an order that is placed, with one event about it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::task::JoinSet;
use txn_change::{Body, Change, ChangeId, Event, Fingerprint, Key, Kind, Tenant};
use txn_store::{Commit, Outcome, Store};

const FITS: &str = "short and of allowed letters";

/// Customers whose events keep an order.
const SUBJECTS: u64 = 10_000;
/// Changes in a call that fills the log.
const BATCH: u64 = 256;
/// Calls that fill it at once.
const CALLS: u64 = 8;

/// A change as a service commits it: one record and one event, of some 200 bytes. Its number can be read from its id.
pub(super) fn commit(number: u64) -> Commit {
    let text = format!("{number:08}");
    let subject = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % SUBJECTS;
    let json = format!(
        r#"{{"order":"order-{text}","customer":"customer-{subject:06}","currency":"GBP","total":"{}","lines":[{{"sku":"85123A","quantity":6}},{{"sku":"71053","quantity":8}},{{"sku":"84406B","quantity":2}}],"placed":true}}"#,
        1_000 + number % 90_000,
    );
    let key = |kind: &'static str, text: &str| Key::of(Kind::new(kind).expect(FITS)).text(text).expect(FITS).build();
    let body = |kind: &'static str| Body::raw(kind, 1, json.clone().into_bytes());
    let about = key("buyer", &format!("{subject:06}"));
    let event = Event { subject: Some(about), ..Event::new(body("order.placed")) };
    let id = ChangeId::new(format!("order.place/{text}")).expect(FITS);
    let change = Change::new(id, Fingerprint::of("order.place", &number));
    let change = change.insert(key("placed", &text), body("placed"), Vec::new()).append(event);
    Commit { tenant: Tenant::default(), change }
}

/// The number of the change that a message comes from.
pub(super) fn number(message_id: &str) -> Option<u64> {
    message_id.strip_prefix("order.place/")?.strip_suffix("/0")?.parse().ok()
}

/// Commits one change.
pub(super) async fn place(store: &dyn Store, number: u64) -> Result<(), String> {
    is_done(store.commit(vec![commit(number)]).await)
}

/// Commits so many, as a bulk loader would.
pub(super) async fn fill(store: &Arc<dyn Store>, count: u64) -> Result<(), String> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks: JoinSet<Result<(), String>> = JoinSet::new();
    for _ in 0..CALLS {
        let (store, next) = (Arc::clone(store), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= count {
                    return Ok(());
                }
                is_done(store.commit((first..count.min(first + BATCH)).map(commit).collect()).await)?;
            }
        });
    }
    while let Some(filled) = tasks.join_next().await {
        filled.map_err(|error| error.to_string())??;
    }
    Ok(())
}

fn is_done(results: Vec<Result<Outcome, txn_store::Error>>) -> Result<(), String> {
    let is_new = |result: &Result<Outcome, _>| matches!(result, Ok(Outcome::Done(receipt)) if !receipt.replayed);
    match results.iter().find(|result| !is_new(result)) {
        None => Ok(()),
        Some(other) => Err(format!("a change that should be accepted ended with {other:?}")),
    }
}
