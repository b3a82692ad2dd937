//! A server that does not outlive us: a shell starts it, and stops it when we end, however we end.
//!
//! The shell waits on a pipe whose other end is ours. When we let go of it, or are interrupted, or killed with no
//! chance to clean up, the kernel closes our end, and the shell stops its server by process id and removes its
//! folder, which it has made itself, so that there is no moment in which the folder is nobody's. It stands in a
//! process group of its own, which an interrupt from the keyboard does not reach. Only when told to does it leave
//! the server running.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::account::Account;

/// How often we look whether a server is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What makes a server and what runs it.
pub(super) struct Plan {
    /// Owner of everything; none is ourselves.
    pub(super) account: Option<Account>,
    /// Not there yet. Nobody else can enter it, and it goes away with the server.
    pub(super) folder: PathBuf,
    /// Their names in the folder and their texts.
    pub(super) files: Vec<(&'static str, String)>,
    /// Each runs to its end, in order, before the server; one that fails ends the start.
    pub(super) prepare: Vec<Step>,
    pub(super) serve: Vec<String>,
    /// What makes it stop at once: its data goes away, so there is nothing to save.
    pub(super) stop_signal: &'static str,
    /// A server that still runs after so many tenths of a second is killed.
    pub(super) stop_tenths_max: u32,
}

/// One program with what it reads on standard input.
pub(super) struct Step {
    pub(super) command: Vec<String>,
    pub(super) input: &'static str,
}

/// A running server, stopped together with this value.
pub(super) struct Supervised {
    shell: Child,
    /// Closes when the server has ended.
    lines: Receiver<String>,
    plan: Plan,
    kept: bool,
    pub(super) pid: u32,
}

impl Supervised {
    /// Returns once `ready` says so of the server's process id. An error holds the last lines of the server's log.
    pub(super) fn start(plan: Plan, limit: Duration, ready: impl Fn(u32) -> bool) -> Result<Self, String> {
        let mut shell = spawn(&plan)?;
        let lines = lines(&mut shell)?;
        // Owns the shell from here on, so that an early return stops everything.
        let mut supervised = Self { shell, lines, plan, kept: false, pid: 0 };
        match supervised.await_ready(limit, ready) {
            Ok(()) => Ok(supervised),
            Err(problem) => Err(format!("{problem}{}", supervised.end_of_log(20))),
        }
    }

    fn await_ready(&mut self, limit: Duration, ready: impl Fn(u32) -> bool) -> Result<(), String> {
        let (mut made, mut waited) = (false, Duration::ZERO);
        loop {
            match self.lines.recv_timeout(LOOK_EVERY) {
                Ok(line) if line == "made" => {
                    made = true;
                    self.write_files()?;
                    self.order("start\n")?;
                }
                Ok(line) => match line.strip_prefix("pid ").and_then(|pid| pid.parse().ok()) {
                    Some(pid) => self.pid = pid,
                    None => return Err(line),
                },
                Err(RecvTimeoutError::Disconnected) if !made => {
                    return Err(format!("its user cannot make the folder {}", self.plan.folder.display()));
                }
                Err(RecvTimeoutError::Disconnected) => return Err("the server ended at once".to_owned()),
                Err(RecvTimeoutError::Timeout) if self.pid != 0 && ready(self.pid) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if waited >= limit => {
                    return Err(format!("the server is not ready after {} s", limit.as_secs()));
                }
                Err(RecvTimeoutError::Timeout) => waited = waited.saturating_add(LOOK_EVERY),
            }
        }
    }

    fn write_files(&self) -> Result<(), String> {
        for (name, text) in &self.plan.files {
            let path = self.plan.folder.join(name);
            let written = fs::write(&path, text).and_then(|()| match self.plan.account {
                Some(account) => account.own(&path),
                None => Ok(()),
            });
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn order(&mut self, order: &str) -> Result<(), String> {
        let stdin = self.shell.stdin.as_mut().ok_or("the server is being stopped")?;
        stdin.write_all(order.as_bytes()).map_err(|error| format!("the server's shell is gone: {error}"))
    }

    fn end_of_log(&self, count: usize) -> String {
        let log = fs::read(self.plan.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(count));
        last.map(|line| format!("\n  | {line}")).collect()
    }

    /// Leaves the server running after us. Whoever stops it must also remove its folder.
    pub(super) fn keep(mut self) -> Result<(), String> {
        self.order("keep\n")?;
        let status = self.shell.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("the server's shell failed: {status}"));
        }
        self.kept = true;
        Ok(())
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Closing our end is the order to stop. Nothing is left to do about a failure.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        // As root we may remove what the shell, as somebody else, may not.
        if !self.kept {
            let _ = fs::remove_dir_all(&self.plan.folder);
        }
    }
}

fn spawn(plan: &Plan) -> Result<Child, String> {
    let mut command = Command::new("sh");
    command.args(["-c", &script(plan)]).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
    // A client's settings in our environment are not meant for this server.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C");
    in_group_of_its_own(&mut command);
    if let Some(account) = plan.account {
        account.assume(&mut command);
    }
    command.spawn().map_err(|error| format!("`sh` does not start as the server's user: {error}"))
}

/// Its own words must not end it when nobody is left to read them, so a broken pipe is trapped like an interrupt.
///
/// The server keeps the shell's standard output open and the shell itself lets go of it, so that the reader sees
/// its end when the server has ended.
fn script(plan: &Plan) -> String {
    let folder = quoted(&plan.folder.to_string_lossy());
    let mut prepare = String::new();
    for step in &plan.prepare {
        let program = step.command.first().map(String::as_str).unwrap_or_default();
        let (input, command, failed) = (quoted(step.input), line(&step.command), quoted(&format!("{program} failed")));
        prepare.push_str(&format!("  printf %s {input} | {command} >&2 || {{ echo {failed}; return 1; }}\n"));
    }
    let serve = line(&plan.serve);
    let signal = plan.stop_signal;
    let looks = plan.stop_tenths_max;
    format!(
        "\
trap : HUP INT PIPE TERM
umask 077
mkdir {folder} && cd {folder} || exit 1
exec 2>>log
echo made
prepare() {{
{prepare}  :
}}
pid=
order=
read -r order
if [ \"$order\" = start ]; then
  if prepare; then
    {serve} </dev/null &
    pid=$!
    echo \"pid $pid\"
  fi
  exec >&-
  order=
  read -r order
  if [ \"$order\" = keep ]; then exit 0; fi
fi
if [ -n \"$pid\" ]; then
  kill -{signal} \"$pid\"
  looks={looks}
  while [ $looks -gt 0 ] && kill -0 \"$pid\"; do sleep 0.1; looks=$((looks - 1)); done
  if [ $looks = 0 ]; then kill -KILL \"$pid\"; fi
  wait \"$pid\"
fi 2>/dev/null
cd /
exec rm -rf {folder}
"
    )
}

fn line(command: &[String]) -> String {
    command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// One word to a POSIX shell, whatever is in it.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn lines(shell: &mut Child) -> Result<Receiver<String>, String> {
    let output = shell.stdout.take().ok_or("the server's shell has no output")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

#[cfg(unix)]
fn in_group_of_its_own(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn in_group_of_its_own(_: &mut Command) {}

#[cfg(test)]
mod tests;
