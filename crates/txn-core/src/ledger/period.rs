//! Periods: what lies before the end of the last closed one is no longer posted to.

use serde::{Deserialize, Serialize};
use txn_change::{Change, Event, Key, Kind, Timestamp};

use super::rejection::Rejection;
use crate::decide::{Context, Versioned, body, documents, key};

/// The kind of the one record that says how far periods are closed.
pub const PERIOD_KIND: Kind = Kind::reserved("ledger-period");

/// How far a tenant's periods are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Nothing that counts before this instant is recorded any more.
    pub closed_until: Timestamp,
}

/// `ledger.period-closed`: a period was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodClosed {
    /// Its end.
    pub until: Timestamp,
}

documents! {
    Period => "ledger.period", 1;
    PeriodClosed => "ledger.period-closed", 1;
}

/// The key of the record.
#[must_use]
pub fn period_key() -> Key {
    key(PERIOD_KIND, &[])
}

/// Close everything before an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosePeriod {
    /// The first instant that stays open; it has come already.
    pub until: Timestamp,
}

/// Closes a period: from then on whatever says that it counts before `until` is refused. It is never opened again.
///
/// # Errors
/// [`Rejection::PeriodNotOver`], [`Rejection::PeriodClosed`] when it is closed so far already.
pub fn close_period(
    context: &Context,
    period: Option<&Versioned<Period>>,
    command: &ClosePeriod,
) -> Result<Change, Rejection> {
    let until = command.until;
    if until > context.now {
        return Err(Rejection::PeriodNotOver { until, now: context.now });
    }
    if let Some(closed) = period.map(|period| period.value.closed_until).filter(|closed| until <= *closed) {
        return Err(Rejection::PeriodClosed { until: closed, effective_at: until });
    }
    let after = Period { closed_until: until };
    let expect = period.map_or(txn_change::Expect::Absent, Versioned::expect);
    let closed = Event::new(body(&PeriodClosed { until })).about(period_key());
    Ok(context.change().put(period_key(), expect, body(&after), alloc::vec![]).append(closed).answer(body(&after)))
}

/// Whether something may still count from an instant on.
///
/// # Errors
/// [`Rejection::PeriodClosed`].
pub fn check_period(period: Option<&Period>, effective_at: Timestamp) -> Result<(), Rejection> {
    match period.map(|period| period.closed_until) {
        Some(until) if effective_at < until => Err(Rejection::PeriodClosed { until, effective_at }),
        _ => Ok(()),
    }
}
