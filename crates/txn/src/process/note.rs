//! What an instance went through: an event of the log for everything that happened to it.

use serde::{Deserialize, Serialize};
use txn_change::{Document, Event};

use super::{
    index::{instance_key, of_instance},
    name::{CorrelationId, IncomingId, ProcessName},
    record::{Cause, documents},
    step::Operation,
};

/// Something that happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum What {
    /// An event was applied; `from` is missing for the one that began it.
    Applied {
        /// The event.
        event: String,
        /// Its id.
        id: IncomingId,
        /// The state before.
        from: Option<String>,
        /// The state after.
        to: String,
    },
    /// An event was dropped, as the table says.
    Ignored {
        /// The event.
        event: String,
        /// Its id.
        id: IncomingId,
    },
    /// An event waits.
    Deferred {
        /// The event.
        event: String,
        /// Its id.
        id: IncomingId,
    },
    /// An event was refused.
    Rejected {
        /// The event.
        event: String,
        /// Its id.
        id: IncomingId,
        /// Why.
        reason: String,
    },
    /// A timeout was still set at the end, and does not happen.
    TimeoutDropped {
        /// Its name.
        timeout: String,
    },
    /// A step was begun.
    StepBegun {
        /// Its number.
        number: u32,
        /// Its name.
        step: String,
    },
    /// An operation was claimed by a runner, to be called or to be asked about.
    Claimed {
        /// The step's number.
        number: u32,
        /// The operation.
        operation: Operation,
        /// How often it was claimed.
        claim: u32,
        /// Whether it is asked about, and not called.
        is_query: bool,
        /// The runner.
        holder: String,
    },
    /// A runner came back from an operation.
    Returned {
        /// The step's number.
        number: u32,
        /// The operation.
        operation: Operation,
        /// `done`, `failed`, `not-executed` or `unknown`.
        result: String,
        /// Why it failed.
        class: Option<String>,
    },
    /// The instance began to undo what its steps did.
    UndoBegun,
    /// The instance waits for a person.
    Stuck {
        /// Why.
        cause: Cause,
        /// The same for people.
        detail: String,
    },
    /// A person helped.
    Helped {
        /// What was done.
        remedy: String,
        /// Who.
        by: String,
        /// Why.
        note: String,
    },
    /// The instance runs under another version from now on.
    Migrated {
        /// The version before.
        from: u32,
        /// The version after.
        to: u32,
        /// Who.
        by: String,
        /// Why.
        note: String,
    },
}

impl What {
    /// The word by which it is counted.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Applied { .. } => "applied",
            Self::Ignored { .. } => "ignored",
            Self::Deferred { .. } => "deferred",
            Self::Rejected { .. } => "rejected",
            Self::TimeoutDropped { .. } => "timeout_dropped",
            Self::StepBegun { .. } => "step_begun",
            Self::Claimed { .. } => "claimed",
            Self::Returned { .. } => "returned",
            Self::UndoBegun => "undo_begun",
            Self::Stuck { .. } => "stuck",
            Self::Helped { .. } => "helped",
            Self::Migrated { .. } => "migrated",
        }
    }
}

/// A line in the life of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noted {
    /// The process.
    pub(crate) process: ProcessName,
    /// The instance.
    pub(crate) correlation: CorrelationId,
    /// What happened.
    pub(crate) what: What,
}

documents! {
    Noted => "process.noted", 1;
}

impl Noted {
    pub(super) fn event(self) -> Event {
        let (key, term) =
            (instance_key(&self.process, &self.correlation), of_instance(&self.process, &self.correlation));
        let body = txn_change::Body::of(&self).expect("a note is texts and numbers, which always have a JSON form");
        Event::new(body).about(key).with_term(term)
    }
}
