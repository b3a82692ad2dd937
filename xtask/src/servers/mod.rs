//! The servers that tests need, private to one run: `cargo xtask test`, `plants` and `services` start them.
//!
//! Each technology has one file, which says how its server is made, run and reached. Everything else is shared:
//! finding or installing the programs, the account, the folder, and the supervisor that stops a server when we end.

mod account;
mod binaries;
mod postgres;
mod random;
pub(crate) mod strace;
pub(crate) mod supervisor;

use std::path::PathBuf;

use supervisor::Supervised;

/// Every server, running. They stop with this value, and when our process ends in any other way.
pub(crate) struct Servers {
    servers: Vec<(Supervised, Running)>,
}

/// What others need to know of a server that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) folder: PathBuf,
    /// What `kill` sends to stop it at once.
    pub(crate) stop_signal: String,
    /// Environment variables that tests read.
    pub(crate) variables: Vec<(String, String)>,
}

impl Servers {
    /// Starts all of them. An error says which one cannot run here, and what to install.
    pub(crate) fn start() -> Result<Self, String> {
        if !cfg!(unix) {
            return Err("servers are started on Unix only; `cargo xtask test --embedded` needs none".to_owned());
        }
        Ok(Self { servers: vec![postgres::start()?] })
    }

    pub(crate) fn running(&self) -> Vec<Running> {
        self.servers.iter().map(|(_, running)| running.clone()).collect()
    }

    /// All environment variables of all servers.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        self.servers.iter().flat_map(|(_, running)| running.variables.iter().cloned()).collect()
    }

    /// Leaves them running after us.
    pub(crate) fn keep(self) -> Result<(), String> {
        self.servers.into_iter().try_for_each(|(server, _)| server.keep())
    }
}
