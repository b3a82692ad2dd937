//! A process that is killed at a known moment of its store.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A running process that holds a store.
pub(crate) struct Process(Child);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with success, before it could be killed.
    Finished,
    /// Killed.
    Killed {
        /// Whether it held the right to write, between the beginning and the end of a commit.
        in_commit: bool,
    },
}

/// How long a process may take for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something to become so.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap())
    }

    /// Runs one test of this very executable as another process, which knows by `variable` that it is that.
    pub(crate) fn of_test(test: &str, variable: &str, value: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        Self::spawn(command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(variable, value))
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Kills it (`kill -9`).
    ///
    /// It is stopped first, every thread where it stands, and the kernel is asked for its locks: SQLite holds byte 120 of the `-shm` file exactly while a
    /// transaction that writes is open, and nothing beside it except while it recovers or merges the log (<https://sqlite.org/walformat.html>, 2.3.1). Then it
    /// is killed as it stands.
    pub(crate) fn kill(mut self, store: &Path) -> End {
        let pid = self.0.id();
        let stopped = Command::new("kill").args(["-STOP", &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
        if stopped.success() {
            wait_for("a process to stop", || self.is_over() || is_stopped(pid));
        }
        let in_commit = holds_write_lock(pid, store);
        // One that is over is not there to be killed.
        let _ = self.0.kill();
        let status = self.0.wait().unwrap();
        match status.code() {
            None => End::Killed { in_commit },
            Some(0) => End::Finished,
            Some(code) => panic!("the process failed with status {code}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        // The state follows the name, which stands in brackets and may hold anything.
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// Whether the kernel lists the lock of an open write transaction: `N: POSIX ADVISORY WRITE PID DEVICE:INODE 120 120`.
fn holds_write_lock(pid: u32, store: &Path) -> bool {
    let shared = format!("{}-shm", store.display());
    let Ok(inode) = fs::metadata(shared).map(|shared| shared.ino().to_string()) else { return false };
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "POSIX", _, "WRITE", owner, file, "120", "120"] = fields[..] else { return false };
        owner == pid.to_string() && file.rsplit(':').next() == Some(inode.as_str())
    })
}
