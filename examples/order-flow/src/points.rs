//! The effect of an order: a loyalty point, and an event that says so, in one change. Pure; that it is applied once is the inbox's to see to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use txn::{
    change::{Add, Body, Change, Class, Document, Event, Key, Kind, Label, Lanes, Opening},
    core::{Context, id::CustomerId, order::Placed},
    store::Scope,
};

use crate::Error;

/// Who has earned a point.
#[derive(Serialize, Deserialize)]
pub(crate) struct Earned(CustomerId);

impl Document for Earned {
    const TYPE: &'static str = "point.earned";
    const SCHEMA: u16 = 1;
}

fn key(customer: &str) -> Result<Key, Error> {
    Ok(Key::of(Kind::new("points")?).text(customer)?.build())
}

pub(crate) fn earn(context: &Context, placed: &Placed) -> Result<Change, Error> {
    let customer = placed.customer.clone().ok_or("an order without a customer")?;
    let class = Class { name: "points".into(), signed: [false; 4], history: true, conserves: [None; 2] };
    let point = Add {
        counter: key(customer.as_str())?,
        delta: Lanes([1, 0, 0, 0]),
        or_open: Some(Arc::new(Opening { class: Arc::new(class), unit: "point".into(), guards: [None; 2] })),
        force: false,
        effective_at: context.effective_at,
        label: Label::new("earned"),
    };
    let event = Event::new(Body::of(&Earned(customer.clone()))?).about(key(customer.as_str())?);
    Ok(Change::new(context.id.clone(), context.fingerprint).add(point).append(event))
}

pub(crate) async fn points(scope: &Scope, customer: &str) -> Result<u64, Error> {
    Ok(u64::try_from(scope.counter(key(customer)?).await?.map_or(0, |counter| counter.lanes.0[0]))?)
}
