//! The change: what txn writes when points are redeemed. Pure, and the same on every backend.

use std::sync::Arc;

use txn::{
    Tenant,
    change::{Add, Body, Change, ChangeId, Class, Event, FactId, Fingerprint, Guard, Key, Kind, Label, Lanes, Opening},
    store::{Ask, StoreAdmin},
};

use crate::{Error, Redeem};

/// All of this shop's data is one tenant's.
#[must_use]
pub fn tenant() -> Tenant {
    Tenant::default()
}

fn key(member: &str) -> Result<Key, Error> {
    Ok(Key::of(Kind::new("voucher")?).text(member)?.build())
}

/// A voucher that grows by the points, a fact for the log, and an answer to be given for ever. The fingerprint is that of the command, so that another one under the same id is refused.
///
/// # Errors
/// For an id or a name that is none.
pub fn change(redeem: &Redeem) -> Result<Change, Error> {
    let class = Class { name: "voucher".into(), signed: [false; 4], history: true, conserves: [None; 2] };
    let is_never_overdrawn = Some(Guard { weights: [1, 0, 0, 0], min: 0 });
    let opening = Opening { class: Arc::new(class), unit: "cent".into(), guards: [is_never_overdrawn, None] };
    let id = format!("redeem/{}", redeem.id);
    let body = Body::raw("redeemed", 1, redeem.points.to_string().into_bytes());
    let command = format!("{} {}", redeem.member, redeem.points);
    Ok(Change::new(ChangeId::new(&id)?, Fingerprint::of_bytes("redeem", command.as_bytes()))
        .add(Add {
            counter: key(&redeem.member)?,
            delta: Lanes([i128::from(redeem.points), 0, 0, 0]),
            or_open: Some(Arc::new(opening)),
            force: false,
            effective_at: None,
            label: Label::new("redeemed"),
        })
        .append(Event::new(body.clone()).with_id(FactId::new(&id)?).about(key(&redeem.member)?))
        .answer(body))
}

/// What a member's voucher is worth, in cents.
///
/// # Errors
/// What the store says.
pub async fn balance(store: &Arc<dyn StoreAdmin>, member: &str) -> Result<i128, Error> {
    let snapshots = store.get(vec![Ask::new(tenant()).counter(key(member)?)]).await?;
    let counters = snapshots.into_iter().flat_map(|snapshot| snapshot.counters);
    Ok(counters.flatten().map(|counter| counter.lanes.0[0]).next().unwrap_or_default())
}
