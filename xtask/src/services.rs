//! `cargo xtask services`: the servers of the tests, for tests that are started by hand.
//!
//! Alone it leaves them running and prints what a shell evaluates; asked again it finds them. `services stop` stops
//! exactly those, by process id. `services run` starts others for one program only.

mod state;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::cargo::Workspace;
use crate::servers::supervisor::quoted;
use crate::servers::{Running, Servers};

const STOP_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts the servers, or finds those of an earlier call, and prints their variables.
pub(crate) fn start(workspace: &Workspace) -> Result<(), String> {
    let kept = Kept::lock(workspace)?;
    let mut all = kept.read()?;
    if all.is_empty() || !all.iter().all(is_running) {
        // A part of them is no use to a test, and the rest would be lost with the new record.
        kept.stop(&all)?;
        let servers = Servers::start()?;
        all = servers.running();
        // Recorded before they are let go, so that none runs which `stop` does not know.
        kept.write(&all)?;
        servers.keep()?;
    }
    let variables: BTreeMap<_, _> = all.iter().flat_map(|running| running.variables.iter().cloned()).collect();
    for (name, value) in &variables {
        println!("export {name}={}", quoted(value));
    }
    println!("# in a shell: eval \"$(cargo xtask services)\"; they run until: cargo xtask services stop");
    Ok(())
}

/// Stops the servers that `start` left running, and removes their folders.
pub(crate) fn stop(workspace: &Workspace) -> Result<(), String> {
    let kept = Kept::lock(workspace)?;
    let all = kept.read()?;
    kept.stop(&all)?;
    match all.is_empty() {
        true => println!("no servers run"),
        false => all.iter().for_each(|running| println!("{} stopped (process {})", running.name, running.pid)),
    }
    Ok(())
}

/// Runs a program with servers of its own, which stop when it ends.
pub(crate) fn run(command: &[String]) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("no command to run")?;
    let servers = Servers::start()?;
    let status = Command::new(program).args(arguments).envs(servers.variables()).status();
    let status = status.map_err(|error| format!("`{program}` does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", command.join(" "))) }
}

/// What an earlier call left running, as its record in the target folder says. One process at a time.
struct Kept {
    record: PathBuf,
    _lock: File,
}

impl Kept {
    fn lock(workspace: &Workspace) -> Result<Self, String> {
        let path = workspace.target.join("services.lock");
        let locked = fs::create_dir_all(&workspace.target).and_then(|()| File::create(&path)).and_then(|file| {
            file.lock()?;
            Ok(file)
        });
        let lock = locked.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { record: workspace.target.join("services.json"), _lock: lock })
    }

    fn read(&self) -> Result<Vec<Running>, String> {
        if !self.record.exists() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(&self.record).map_err(|error| error.to_string());
        let all = text.and_then(|text| state::parse(&text));
        all.map_err(|problem| format!("{}: {problem}", self.record.display()))
    }

    fn write(&self, all: &[Running]) -> Result<(), String> {
        fs::write(&self.record, state::text(all)).map_err(|error| format!("{}: {error}", self.record.display()))
    }

    fn stop(&self, all: &[Running]) -> Result<(), String> {
        all.iter().try_for_each(stop_one)?;
        if self.record.exists() {
            fs::remove_file(&self.record).map_err(|error| format!("{}: {error}", self.record.display()))?;
        }
        Ok(())
    }
}

fn stop_one(running: &Running) -> Result<(), String> {
    if is_running(running) {
        let signal = format!("-{}", running.stop_signal);
        let killed = Command::new("kill").args([&signal, &running.pid.to_string()]).status();
        killed.map_err(|error| format!("kill does not start: {error}"))?;
    }
    let mut waited = Duration::ZERO;
    while is_running(running) {
        if waited >= STOP_WITHIN {
            let seconds = STOP_WITHIN.as_secs();
            return Err(format!("{} (process {}) still runs after {seconds} s", running.name, running.pid));
        }
        thread::sleep(LOOK_EVERY);
        waited = waited.saturating_add(LOOK_EVERY);
    }
    match fs::remove_dir_all(&running.folder) {
        Err(error) if running.folder.exists() => Err(format!("{}: {error}", running.folder.display())),
        _ => Ok(()),
    }
}

/// Whether the process is there and is this very server: an id comes back for others, the folder's name does not.
fn is_running(running: &Running) -> bool {
    let command_line = fs::read(format!("/proc/{}/cmdline", running.pid)).or_else(|_| {
        let pid = running.pid.to_string();
        Command::new("ps").args(["-o", "args=", "-p", &pid]).output().map(|output| output.stdout)
    });
    let folder = running.folder.to_string_lossy();
    command_line.is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*folder))
}

#[cfg(test)]
mod tests {
    use super::is_running;
    use crate::servers::Running;

    #[test]
    fn a_process_id_alone_is_not_our_server() {
        let mut running = Running {
            name: "Fig".to_owned(),
            pid: std::process::id(),
            folder: "/no/such/folder".into(),
            stop_signal: "TERM".to_owned(),
            variables: vec![],
        };
        assert!(!is_running(&running), "this process has nothing of that folder");
        running.folder = std::env::args().next().unwrap().into();
        assert!(is_running(&running), "this process was started with this argument");
        running.pid = u32::MAX;
        assert!(!is_running(&running), "no process has this id");
    }
}
