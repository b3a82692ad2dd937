//! Messages with leases, routing, order, delay and dead letters: one contract, many backends.
//!
//! [`Queue`] is what a backend implements; its documentation is the contract. Backends stand behind features named after their technology: `memory`, `sqlite`, `postgres`.
//! Workers, which run handlers over any of them, stand behind `worker`.
//! A [`Message`] is a CloudEvent. A topic keeps messages; each group of it is given all of them, and its workers share them; [`Routes`] say which topics a message
//! comes to that is published to an exchange.

mod admin;
mod capabilities;
mod clock;
mod cloudevents;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod durable;
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
mod engine;
mod error;
mod limits;
#[cfg(feature = "memory")]
pub mod memory;
mod message;
mod name;
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
mod observe;
#[cfg(feature = "postgres")]
pub mod postgres;
mod queue;
mod routes;
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres", feature = "worker"))]
mod spans;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod topology;
mod trace;
#[cfg(feature = "worker")]
pub mod worker;

pub use admin::{
    Control, GroupStats, QueueAdmin, Redrive, Redriven, Reschedule, Rescheduled, Stats, TopicStats, Which,
};
pub use capabilities::{Capabilities, Need};
pub use clock::{Clock, ManualClock, SystemClock};
pub use cloudevents::{Binary, CloudEventError};
pub use error::{Error, ErrorKind};
pub use limits::QueueLimits;
pub use message::{Attribute, Message, Priority, When};
pub use name::{
    AttributeName, DedupeId, ExchangeName, GroupName, Key, MessageId, MessageType, RoutingKey, ScheduleKey, Source,
    Topic, WorkerId,
};
pub use queue::{
    Action, Address, Delivery, Group, Lease, Position, Publish, Published, Queue, Receive, Received, Refusal, Seen,
    Settle, Settled, Wait,
};
pub use routes::{Criterion, ExchangeKind, Pattern, RouteError, Routes};
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres", feature = "worker"))]
pub use spans::{Context, Origin, Relation, Trace};
pub use topology::{BehindRetry, Cause, Death, GroupSpec, Order, Overflow, Rate, Start, TopicSpec, Topology};
pub use trace::{TraceError, TraceParent};
