//! Commits [`Change`](txn_change::Change)s: one contract, many backends.
//!
//! [`Store`] is what a backend implements and what services are written against; its documentation is the contract. Domain code gets a
//! [`Scope`], bound to one tenant. Backends stand behind features named after their technology: `memory`, `sqlite`. The suite that every backend
//! passes is `conformance`.
//!
//! **Watching it.** `sqlite` and `postgres` speak to the facades of `metrics` and `tracing`, and install nothing. Labels hold the backend and an outcome, never a key, a
//! tenant or an amount. Each call of [`Store::commit`], [`Store::get`], [`Store::find`] and [`Store::read`] is a span at the level `debug`: `txn_store.commit{backend, changes, outcome}`, `txn_store.get{backend, asks, outcome}`,
//! `txn_store.find{backend, limit, outcome}`, `txn_store.read{backend, limit, outcome}`. A group is one too, `txn_store.group{backend, changes, outcome}`, and follows from those of the calls whose changes it holds.
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `txn_store_changes_total{backend, outcome}` | counter | changes answered: `done`, `replayed`, `conflict`, `refused`, `unknown`, `error` |
//! | `txn_store_host_changes_total{backend, outcome}` | counter | changes judged in hosts' transactions: `pending`, `replayed`, `refused`, `contended`, `error` |
//! | `txn_store_commit_seconds{backend}` | histogram | from the call to the answer of a change |
//! | `txn_store_group_changes{backend}` | histogram | changes in a group |
//! | `txn_store_skips_total{backend}` | counter | changes put off because another holds their rows (`postgres`) |
//! | `txn_store_retries_total{backend}` | counter | groups that were begun again (`postgres`) |
//! | `txn_store_queued_changes{backend}` | gauge | changes that wait |
//! | `txn_store_log_pages{backend}` | gauge | pages of 4 KiB in the write-ahead log; it grows while somebody reads an old state (`sqlite`) |
//! | `txn_store_unchained_changes{backend}` | gauge | changes that are committed and have no place in the log yet, as [`Health::unchained`] counts them, after the last step of the process' sequencer, or its last attempt at one (`postgres`): the lag of the log. Of more than 65536 groups, those of so many |
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! use std::sync::Arc;
//! use txn_change::{Body, Change, ChangeId, Fingerprint, Key, Kind, Tenant};
//! use txn_store::{memory::Memory, Outcome, Scope, Store};
//!
//! # fn block_on<F: Future>(f: F) -> F::Output { pollster::block_on(f) }
//! let store: Arc<dyn Store> = Arc::new(Memory::new());
//! let scope = Scope::new(store, Tenant::new("shop")?);
//! let note = Key::of(Kind::new("note")?).number(1).build();
//! let change = Change::new(ChangeId::new("note.write/1")?, Fingerprint::of("note.write", "hello"))
//!     .insert(note.clone(), Body::raw("note", 1, br#""hello""#.to_vec()), vec![]);
//! let outcome = block_on(scope.commit(change))?;
//! assert!(matches!(outcome, Outcome::Done(_)));
//! assert_eq!(block_on(scope.record(note))?.expect("written").version, 1);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admin;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cursor;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod encode;
mod error;
#[cfg(feature = "faults")]
pub mod faults;
mod follow;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod group;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod host;
mod limits;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod observe;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod place;
#[cfg(feature = "postgres")]
pub mod postgres;
mod query;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod reading;
mod scope;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod store;
mod tail;
pub mod views;
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
mod watch;

pub use admin::{Erase, Export, Health, Purge, Purged, Row, StoreAdmin};
pub use clock::{Clock, ManualClock, SystemClock};
pub use cursor::Cursor;
pub use error::{Error, ErrorKind};
pub use follow::{Consumer, Follow};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use host::{Pending, Tentative};
pub use limits::StoreLimits;
pub use query::{Found, Page, Query, Range};
pub use scope::Scope;
pub use store::{
    Ask, Commit, Freshness, LogItem, LogPage, Outcome, Position, Receipt, Recorded, Resolution, Snapshot, Store,
};
#[doc(hidden)]
pub use tail::{Mark, Tail};
