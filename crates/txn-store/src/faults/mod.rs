//! Hurting a store, and finding out whether it kept its word: for every backend, in this crate or in another.
//!
//! A [`Workload`] asks a store for seeded changes from several threads, and notes in a [`SideFile`] what it is about to ask and what it was told. Whatever is done to the store meanwhile
//! (a process killed, a server stopped, a connection cut by a [`Proxy`]), the side file is not under fault. Afterwards [`check`] holds the store that was opened again against
//! the notes, and [`revive`] asks whether it still works, and brings every change that was under way to its end under the same id.
//!
//! It needs no runtime: its threads run futures with [`crate::conformance::block_on`]. It injects nothing by itself but what passes through the proxy.
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! use std::{sync::Arc, time::Duration};
//! use txn_store::{conformance::block_on, memory::Memory, Store, StoreAdmin};
//! use txn_store::faults::{check, revive, SideFile, Workload};
//!
//! let store: Arc<dyn StoreAdmin> = Arc::new(Memory::new());
//! let folder = tempfile::tempdir()?;
//! let workload = Workload { seed: 7, changes: 60, ..Workload::default() };
//!
//! // In the process that will be killed; here it is left in the middle of its work.
//! let side = SideFile::open(folder.path().join("side"))?;
//! let as_store: Arc<dyn Store> = Arc::new(Arc::clone(&store));
//! let ran = workload.run(&as_store, &side, &|ran| ran.done > 20);
//! assert!(ran.done > 20);
//!
//! // After it: everything that was acknowledged is there, nothing is half there, and the rest can be done.
//! let report = block_on(check(&store, &workload, &side.read()?));
//! assert!(report.violations.is_empty(), "{report:?}");
//! let report = revive(&store, &workload, &side, Duration::from_secs(20))?;
//! assert!(report.violations.is_empty(), "{report:?}");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod contents;
mod proxy;
mod revive;
mod side;
mod strike;
mod workload;

pub use check::{Report, check};
pub use proxy::Proxy;
pub use revive::revive;
pub use side::{Known, SideFile, Told};
pub use strike::{Fate, Place, Strike};
pub use workload::{Ran, Workload};
