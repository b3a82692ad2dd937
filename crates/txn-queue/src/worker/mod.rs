//! Workers: what stands between a group of a queue and the handlers of an application.
//!
//! A handler is a [`tower_service::Service`] of [`Job`]; [`Handlers`] is one that chooses by the type of the message. [`Worker`] runs it, over any [`Queue`](crate::Queue), on tokio. Layers of ours and of the host's go
//! around it: [`Trace`], [`Timeout`], [`Classify`]. [`Batch`] gives several messages to one call.
//!
//! # What a worker promises
//!
//! 1. **One end.** Every message that it receives is settled once: acknowledged, tried again, dead, or put back. A handler that panics, hangs or is dropped is an outcome like others, and frees its place.
//! 2. **Bounded.** It receives no more than it has room for. It waits for messages, and never asks in a busy loop, whatever the queue answers.
//! 3. **Kept.** The leases of all that it holds, begun or not, are extended in one call each third of the lease, by a task of its own, until [`Worker::hold_max`] after their handlers began. A handler whose lease is lost is told, by [`Job::lost`], and what it says is not settled once
//!    the queue has said that the lease is over.
//! 4. **Tried again.** A settlement without an answer is repeated until the lease ends. One that comes too late is counted and no error.
//! 5. **Counted by the queue.** Waits are reckoned from [`Job::deliveries`], which the queue counts: the same, whichever processes had the message before.
//! 6. **Out is not dead.** A message that failed with [`Class::Unavailable`] goes back uncounted. When many do, the circuit opens, and one message at a time is tried until one is done.
//! 7. **Through trouble.** A queue that does not answer is asked again, after waits of a tenth of a second to five; the worker goes on where it was.
//! 8. **Drained.** On shutdown nothing more is received, what was not begun goes back at once, and what handlers have not done at the deadline goes back, uncounted.
//!
//! Handlers must expect a message twice: leases end, and processes die between an effect and its acknowledgement.
//!
//! # Metrics
//!
//! Of a worker, with the labels `topic` and `group`; none holds a key, an id or a payload.
//!
//! | name | kind | what |
//! |---|---|---|
//! | `txn_queue_processed_total` | counter | handlers that ended, by `outcome`: `done`, `settled`, `retry`, `fatal`, `release`, `unavailable`, `panic` |
//! | `txn_queue_wait_seconds` | histogram | from when a message was accepted, or first due, until its handler begins |
//! | `txn_queue_process_seconds` | histogram | what handlers took |
//! | `txn_queue_attempts` | histogram | deliveries of messages that are done or dead, each counted once |
//! | `txn_queue_residence_seconds` | histogram | from when a message was accepted, or first due, until the queue said that it is done |
//! | `txn_queue_dead_letters_total` | counter | messages that this worker made dead letters, by `reason`: `rejected`, `exhausted`; `txn_queue_dead_total` holds all, those of workers that died too |
//! | `txn_queue_settlements_total` | counter | settlements, by `result`: `applied`, `stale`, `gone`, `unknown` when no answer came in time, `refused` |
//! | `txn_queue_leases_lost_total` | counter | leases that ended while they were held |
//! | `txn_queue_receive_errors_total` | counter | calls of receiving or waiting that failed |
//! | `txn_queue_unknown_types_total` | counter | messages without a handler |
//! | `txn_queue_in_flight` | gauge | handlers that run |
//! | `txn_queue_circuit` | gauge | 0 closed, 1 trying one message at a time, 2 open |
//!
//! A message that becomes a dead letter is also an event of level warn, `dead-lettered`, with the message's id and the `reason`, in the span of its settlement.
//!
//! Of a queue, by [`observe`] and [`observe_every`], with the label `topic`, and `group` below the first two:
//!
//! | name | kind | what |
//! |---|---|---|
//! | `txn_queue_messages` | gauge | messages that a topic holds |
//! | `txn_queue_dropped_total` | counter | messages that went because it was full |
//! | `txn_queue_depth`, `txn_queue_waiting`, `txn_queue_leased` | gauge | messages that a group has not settled; those whose time has not come; those that a worker holds |
//! | `txn_queue_oldest_age_seconds` | gauge | the age of the oldest of them |
//! | `txn_queue_paused` | gauge | 1 when the group is paused |
//! | `txn_queue_delivered_total`, `txn_queue_acked_total`, `txn_queue_dead_total`, `txn_queue_expired_total` | counter | what became of messages since the queue was opened |

mod backoff;
mod batch;
mod circuit;
mod classify;
mod consume;
mod failure;
mod handlers;
mod held;
mod job;
mod leases;
mod observe;
mod retry;
mod run;
mod settle;
mod shared;
mod timeout;
mod trace;
mod work;

pub use crate::spans::{Origin, Relation, Trace};
pub use batch::Batch;
pub use circuit::CircuitPolicy;
pub use classify::{Classified, Classify};
pub use failure::{Class, Done, Failure};
pub use handlers::{Handlers, Unknown};
pub use job::Job;
pub use observe::{observe, observe_every};
pub use retry::{Jitter, RetryPolicy};
pub use run::Worker;
pub use shared::Drained;
pub use timeout::{Timed, Timeout};
pub use trace::Traced;
