//! Why a process refused what was asked. Nothing has changed.

use super::name::{CorrelationId, IncomingId, ProcessName};

/// Why a process refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// No process of this name is registered.
    #[error("no process {process} is registered")]
    UnknownProcess {
        /// The process.
        process: ProcessName,
    },
    /// The version that is needed is not registered here.
    #[error("version {version} of {process} is not registered")]
    UnknownVersion {
        /// The process.
        process: ProcessName,
        /// The version.
        version: u32,
    },
    /// The process has no such event.
    #[error("{process} has no event {event:?}")]
    UnknownEvent {
        /// The process.
        process: ProcessName,
        /// The event.
        event: String,
    },
    /// There is no such instance.
    #[error("{process} has no instance {correlation}")]
    UnknownInstance {
        /// The process.
        process: ProcessName,
        /// The instance.
        correlation: CorrelationId,
    },
    /// Another table was registered under a version that has begun already.
    #[error(
        "the table of {process} version {version} is not the one that the version was begun with; a changed table is a new version"
    )]
    TableChanged {
        /// The process.
        process: ProcessName,
        /// The version.
        version: u32,
    },
    /// More of something than the limit allows.
    #[error("{found} {what}; at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A body that is erased, or not text.
    #[error("the body of the event {id} is not JSON text")]
    NotText {
        /// The event.
        id: IncomingId,
    },
    /// The decision cannot be applied.
    #[error("{event} cannot be applied: {reason}")]
    NotApplied {
        /// The event.
        event: String,
        /// Why.
        reason: String,
    },
    /// The instance waits for no person.
    #[error("{process} {correlation} is not stuck")]
    NotStuck {
        /// The process.
        process: ProcessName,
        /// The instance.
        correlation: CorrelationId,
    },
    /// The remedy does not fit why the instance is stuck.
    #[error("{remedy} does not fit: {reason}")]
    WrongRemedy {
        /// The remedy.
        remedy: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// The instance cannot be migrated so.
    #[error("{process} {correlation} cannot be migrated: {reason}")]
    NotMigrated {
        /// The process.
        process: ProcessName,
        /// The instance.
        correlation: CorrelationId,
        /// Why.
        reason: String,
    },
}
