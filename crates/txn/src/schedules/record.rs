//! What is stored of a schedule, and what it appends.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use txn_change::{Body, Document, Key, KeyBuilder, Kind, Term, Timestamp};

use crate::process::Payload;

/// The kind of schedules.
pub(crate) const SCHEDULE_KIND: Kind = Kind::reserved("timer-schedule");
const BY_DUE: Kind = Kind::reserved("timer-schedule-due");

txn_change::name!(
    /// The name of a schedule within its tenant: 1 to 100 bytes of ASCII letters, digits and `-._~:`.
    ScheduleName, "schedule name", 100, "ASCII letters, digits and '-', '.', '_', '~', ':'",
    |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | ':')
);

/// What becomes of instants that were not fired in time, because nobody ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Missed {
    /// They are left out.
    Skip,
    /// They are fired as one, at the last of them.
    Coalesce,
    /// Each is fired, the oldest first, so many in a pass: 1 to 256.
    All {
        /// In a pass, at most.
        max: u32,
    },
}

/// A schedule to set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The expression.
    pub cron: String,
    /// The zone, by its IANA name.
    pub zone: String,
    /// What becomes of missed instants.
    pub missed: Missed,
    /// An instant is in time for so long; 60 seconds unless said otherwise.
    pub grace: Duration,
    /// What each [`Fired`] carries.
    pub payload: Option<Body>,
}

impl Plan {
    /// A schedule without a payload.
    pub fn new(cron: impl Into<String>, zone: impl Into<String>, missed: Missed) -> Self {
        Self { cron: cron.into(), zone: zone.into(), missed, grace: Duration::from_secs(60), payload: None }
    }

    /// What each [`Fired`] carries.
    #[must_use]
    pub fn payload(mut self, payload: Body) -> Self {
        self.payload = Some(payload);
        self
    }

    /// An instant is in time for so long.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// Whether a schedule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does.
    Active,
    /// Not until it is resumed.
    Paused,
    /// It was cancelled.
    Cancelled,
}

/// A schedule as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Schedule {
    /// Its name.
    pub name: ScheduleName,
    /// Its expression.
    pub cron: String,
    /// Its zone.
    pub zone: String,
    /// What becomes of missed instants.
    pub missed: Missed,
    /// How long an instant is in time, in milliseconds.
    pub grace_ms: u64,
    /// What each [`Fired`] carries.
    pub payload: Option<Payload>,
    /// Whether it fires.
    pub standing: Standing,
    /// Instants up to here are done with.
    pub after: Timestamp,
    /// The next instant.
    pub next: Option<Timestamp>,
}

/// An instant of a schedule: the body of the event that is appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Fired {
    /// The schedule.
    pub schedule: ScheduleName,
    /// The instant.
    pub due: Timestamp,
    /// How many instants before it were missed and are fired with it; counted up to 10000.
    pub missed: u32,
    /// What the schedule carries.
    pub payload: Option<Payload>,
}

impl Document for Schedule {
    const TYPE: &'static str = "timer.schedule";
    const SCHEMA: u16 = 1;
}

impl Document for Fired {
    const TYPE: &'static str = "timer.schedule-fired";
    const SCHEMA: u16 = 1;
}

const FITS: &str = "a schedule's name has at most 100 bytes";

pub(super) fn schedule_key(name: &ScheduleName) -> Key {
    Key::of(SCHEDULE_KIND).text(name).expect(FITS).build()
}

pub(super) fn by_due() -> KeyBuilder {
    Key::of(BY_DUE)
}

impl Schedule {
    pub(crate) fn key(&self) -> Key {
        schedule_key(&self.name)
    }

    /// The index entries of this content.
    pub(crate) fn terms(&self) -> Vec<Term> {
        let due = self.next.filter(|_| self.standing == Standing::Active);
        due.map(|due| by_due().time(due).text(&self.name).expect(FITS).build()).into_iter().collect()
    }
}
