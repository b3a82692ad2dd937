//! The trunk of txn: what a transaction *is*, and the one function that judges it.
//!
//! A [`Change`] is a transaction as a plain value. [`evaluate`] judges it against a [`View`] of the stored
//! state and returns either a [`Refusal`] or the [`Effects`] that a storage writes. Every storage uses this one
//! evaluator, so that a rule is written once and holds everywhere.
//!
//! This crate is pure: it never awaits, locks, logs, reads a clock, makes an id or does I/O.
//!
//! ```
//! use txn_change::{evaluate, MapView, Change, ChangeId, Fingerprint, Key, Kind, Timestamp};
//! use txn_change::{Body, Verdict};
//!
//! let note = Key::of(Kind::new("note")?).text("n-1")?.build();
//! let id = ChangeId::new("note.write/n-1")?;
//! let change = Change::new(id, Fingerprint::of_bytes("note.write", b"hello"))
//!     .insert(note.clone(), Body::raw("note", 1, br#"{"text":"hello"}"#.to_vec()), vec![]);
//!
//! let mut view = MapView::default();
//! let Verdict::Accepted(effects) = evaluate(&view, &change, Timestamp::EPOCH)? else { panic!("new") };
//! view.apply(&change, &effects);
//! assert_eq!(view.records[&note].version, 1);
//! // Asking twice is safe: the stored answer comes back and nothing is written.
//! assert!(matches!(evaluate(&view, &change, Timestamp::EPOCH)?, Verdict::Replayed(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod body;
mod canon;
mod chain;
mod change;
mod clock;
mod counter;
mod evaluate;
mod fingerprint;
mod key;
mod limits;
mod log;
mod name;
mod refusal;
mod time;
mod view;

pub use body::{Body, BodyError, Document, Format};
pub use chain::{Group, GroupDigest, Link};
pub use change::{Add, Change, Condition, Expect, Fence, Hold, Invalid, Open, Put, Require, SetGuards};
pub use clock::{Clock, ManualClock};
pub use counter::{Class, Counter, Guard, Lanes, Opening, Status, Unit};
pub use evaluate::{CounterWrite, Effects, RecordWrite, Verdict, evaluate};
pub use fingerprint::Fingerprint;
pub use key::{Key, KeyBuilder, KeyError, Kind, Segment, Term};
pub use limits::Limits;
pub use log::{Entry, Event, digest, passing_digest};
#[doc(hidden)]
pub use name::check_name;
pub use name::{ChangeId, FactId, FenceName, Label, NameError, Tenant};
pub use refusal::Refusal;
pub use time::{TimeError, Timestamp};
pub use view::{Footprint, MapView, Record, Stored, View};

/// What the `name!` macro expands to.
#[doc(hidden)]
pub mod __private {
    pub use alloc::{string::String, sync::Arc};
    pub use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
}
