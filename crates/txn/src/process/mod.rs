//! Process managers: what goes on over many events, timeouts and calls, in one versioned record for each instance.
//!
//! A [`Process`] is a table and a pure decision. The [`Definition`] says for every pair of state and event whether it is applied, ignored, deferred or refused, and is
//! verified when it is registered; the decision says what an applied event does: the next state, the host's records and outgoing events, timeouts, steps.
//! [`Processes::handle`] commits all of that in one change, under an id of the event, so that it is done once. A [`Runner`] does what is due.
//!
//! | what | where it is kept |
//! |---|---|
//! | state, data, events that wait, timeouts, steps | in the instance's record: of what comes at once, one is first |
//! | what is due when | in an index over the instances, by process, version and time |
//! | what happened | in the log: [`Processes::timeline`] |
//!
//! **Steps** are side effects outside the store. A step is claimed in one commit, called outside of any, and its result recorded in another. What became of a call that was not
//! answered is asked before it is called again, always under the same idempotency key; it is never undone while it is not known. [`Effects::undo`] undoes what was done, the last first.
//!
//! **A person** is asked where the rules end: an instance is [`Phase::Stuck`] then, counted, listed by [`Processes::list`], and helped by [`Processes::help`].
//!
//! **Versions.** An instance stays under the version that it began with. One whose version is not registered in a build is parked there: its events wait, and the others go on.
//! A table that was changed without a new version is refused.
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `txn_process_notes_total{process, what}` | counter | what happened to instances: `applied`, `ignored`, `deferred`, `rejected`, `timeout_dropped`, `step_begun`, `claimed`, `returned`, `undo_begun`, `stuck`, `helped`, `migrated` |
//! | `txn_process_calls_total{process, step, operation, result}` | counter | calls and queries of steps |
//! | `txn_process_parked_instances{process, version}` | gauge | instances that this build cannot run, at most 1000 of a version |

mod contract;
mod definition;
mod engine;
mod handled;
mod index;
mod limits;
mod name;
mod note;
mod operate;
mod processes;
mod record;
mod registry;
mod rejection;
mod runner;
mod step;
mod turn;
mod work;

pub use contract::{Arrived, Declined, Effects, Process, Standing};
pub use definition::{Definition, DefinitionError, Early, Policy, Table};
pub use handled::{Ending, Handled};
pub(crate) use index::{DEFINITION_KIND, PROCESS_KIND, begun_key};
pub use limits::ProcessLimits;
pub use name::{CorrelationId, IncomingId, ProcessName};
#[cfg(test)]
pub(crate) use note::Noted;
pub use note::What;
pub use operate::{Line, ListBy, Listed, Order, Remedy, Timeline};
pub use processes::{Incoming, Processes};
pub(crate) use record::Begun;
pub use record::{
    Cause, Elapsed, Instance, Payload, Phase, Status, StepFailed, StepRecord, Stuck, Timeout, Undone, Waiting, Work,
};
pub use registry::{Registry, RegistryBuilder};
pub use rejection::Rejection;
pub use runner::{Parked, Pass, Runner};
pub use step::{Call, Operation, Plan, Step, StepResult};
