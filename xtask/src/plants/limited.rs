//! A program with a time limit, and everything it printed in a file.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Success,
    Failure,
    /// Stopped at the limit, together with the programs it had started.
    TimeOut,
}

/// Runs a program without input and appends its output to `log`.
pub(super) fn run(command: &mut Command, log: &Path, limit: Duration) -> Result<Ended, String> {
    let unwritable = |error| format!("{}: {error}", log.display());
    let output = OpenOptions::new().append(true).create(true).open(log).map_err(unwritable)?;
    let errors = output.try_clone().map_err(unwritable)?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    in_group_of_its_own(command);
    let mut child = command.spawn().map_err(|error| format!("{:?} does not start: {error}", command.get_program()))?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(if status.success() { Ended::Success } else { Ended::Failure });
        }
        if start.elapsed() >= limit {
            stop(&mut child)?;
            return Ok(Ended::TimeOut);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// `cargo test` starts the test, and killing cargo alone would leave the test running.
#[cfg(unix)]
fn in_group_of_its_own(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn in_group_of_its_own(_: &mut Command) {}

fn stop(child: &mut Child) -> Result<(), String> {
    if cfg!(unix) {
        // Without `unsafe` the only way to signal a group is the program for it.
        let group = format!("-{}", child.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        killed.map_err(|error| format!("kill does not start: {error}"))?;
    } else {
        child.kill().map_err(|error| error.to_string())?;
    }
    child.wait().map(drop).map_err(|error| error.to_string())
}
