//! How far a relay is behind.

use std::{collections::BTreeMap, time::Duration};

use txn_change::Timestamp;
use txn_store::{Consumer, ErrorKind};

use super::{Parts, reader::order};
use crate::failure::Failure;

/// How far a relay is behind the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Lag {
    /// Events that are committed and not done. Up to 10,000 are counted; above that it is what the log holds, which may be more.
    pub events: u64,
    /// How long ago the oldest of them was recorded, in the store's time; `None` when there is none.
    pub oldest_age: Option<Duration>,
}

/// Events that are counted, at most.
const COUNTED_MAX: u64 = 10_000;

pub(super) async fn of(parts: &Parts) -> Result<Lag, Failure> {
    let (prefix, mut cursors) = (parts.cursor(""), BTreeMap::new());
    for (name, position) in Consumer::list(&**parts.store()).await? {
        if let Some(lane) = name.strip_prefix(&prefix).and_then(|lane| lane.parse::<u64>().ok()) {
            cursors.insert(lane, position);
        }
    }
    let (mut after, mut limit) = (cursors.values().min().copied().unwrap_or_default(), parts.page_max);
    let (mut lag, mut oldest) = (Lag::default(), None);
    loop {
        let page = match parts.store().read(after, limit).await {
            Err(error) if error.kind() == ErrorKind::Invalid && limit > 1 => {
                limit = limit.div_euclid(2);
                continue;
            }
            page => page?,
        };
        for item in &page.items {
            let lane = order(&item.recorded).checked_rem(parts.lanes.into()).unwrap_or(0);
            if cursors.get(&lane).is_none_or(|cursor| *cursor < item.position) {
                lag.events = lag.events.saturating_add(1);
                oldest.get_or_insert(item.recorded.recorded_at);
            }
            after = item.position;
        }
        if page.items.is_empty() || page.head <= after {
            break;
        }
        if lag.events >= COUNTED_MAX {
            lag.events = lag.events.saturating_add(page.head.0.saturating_sub(after.0));
            break;
        }
    }
    if let Some(oldest) = oldest {
        let now = parts.scope.get(parts.scope.ask()).await?.now;
        lag.oldest_age = Some(age(oldest, now));
    }
    Ok(lag)
}

pub(super) fn age(recorded_at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_nanos(now.as_nanos().saturating_sub(recorded_at.as_nanos()).max(0).unsigned_abs())
}
