//! Histories by chance, told to the queue in memory and to another at the same time: both answer the same, call by call, whenever the other is opened anew.

pub(crate) mod command;
#[cfg(feature = "servers")]
mod on_a_server;
mod pair;
pub(crate) mod world;

use std::{path::PathBuf, sync::Arc};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngSeed},
};
use txn_queue::{ManualClock, QueueAdmin, QueueLimits, sqlite::Sqlite};

use command::command;
use pair::{Pair, Subject};

/// A file, opened anew now and then.
struct InFile {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    limits: QueueLimits,
    open: Option<Arc<dyn QueueAdmin>>,
}

impl InFile {
    fn new(clock: &Arc<ManualClock>, steps_max: u64) -> Self {
        let limits = QueueLimits { steps_max, ..QueueLimits::default() };
        let mut file = Self { folder: tempfile::tempdir().unwrap(), clock: Arc::clone(clock), limits, open: None };
        file.reopen();
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }
}

impl Subject for InFile {
    fn queue(&mut self) -> Arc<dyn QueueAdmin> {
        Arc::clone(self.open.as_ref().unwrap())
    }

    fn reopen(&mut self) {
        self.open = None;
        self.open = Some(Arc::new(Sqlite::with(self.path(), Arc::clone(&self.clock) as _, self.limits).unwrap()));
    }
}

/// The same cases in every run: a failure is a failure for whoever runs it next.
pub(crate) fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 1_000,
        rng_seed: RngSeed::Fixed(0x7478_6e51),
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config(64))]

    /// Case Q29.
    #[test]
    fn a_file_that_is_opened_anew_answers_as_memory_does(
        steps_max in 1u64..6,
        commands in vec(command(), 1..120),
    ) {
        Pair::new(|clock| InFile::new(clock, steps_max)).run(&commands)?;
    }

    /// And so does one that stays open.
    #[test]
    fn a_file_that_stays_open_answers_as_memory_does(commands in vec(command(), 1..120)) {
        let commands: Vec<_> = commands.into_iter().filter(|c| !matches!(c, command::Command::Reopen)).collect();
        Pair::new(|clock| InFile::new(clock, 3)).run(&commands)?;
    }
}
