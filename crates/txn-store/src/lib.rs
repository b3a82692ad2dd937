//! Commits [`Change`](txn_change::Change)s: one contract, many backends.
//!
//! [`Store`] is what a backend implements and what services are written against; its documentation is the contract. Domain code gets a
//! [`Scope`], bound to one tenant. Backends stand behind features named after their technology: `memory`, `sqlite`. The suite that every backend
//! passes is `conformance`.
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
mod error;
mod limits;
#[cfg(feature = "memory")]
pub mod memory;
mod query;
mod scope;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod store;
#[cfg(any(feature = "memory", feature = "sqlite"))]
mod watch;

pub use admin::{Export, Health, Row, StoreAdmin};
pub use clock::{Clock, ManualClock, SystemClock};
pub use cursor::Cursor;
pub use error::{Error, ErrorKind};
pub use limits::StoreLimits;
pub use query::{Found, Page, Query, Range};
pub use scope::Scope;
pub use store::{Ask, Commit, Freshness, LogItem, LogPage, Outcome, Position, Receipt, Snapshot, Store};
