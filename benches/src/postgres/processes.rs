//! Callers in processes of their own: the runner starts itself so often, hands each its share, and lets all begin at once.
//!
//! A child is told its share in one line of JSON (not in arguments, where others would see the password), opens the store, answers `ready`, waits for `go`, commits, and answers `done`.

use std::{
    env,
    io::{BufRead, BufReader, Write, stdin, stdout},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use txn_bench::{
    callers,
    ledger::{Means, work},
};

use super::{OURS, check, ours, server::Server};

/// The area under which a child is started; not for people.
pub(crate) const AREA: &str = "postgres-process";

/// The share of one process.
#[derive(Serialize, Deserialize)]
struct Share {
    url: String,
    callers: usize,
    seed: u64,
    changes: usize,
}

/// Commits `changes` by `callers`, both split over so many processes on one fresh schema; gives the time until the last is done, and checks what they leave.
pub(super) fn run(
    runtime: &Runtime,
    server: &Server,
    processes: usize,
    callers: usize,
    changes: usize,
) -> Result<Duration, String> {
    let store = runtime.block_on(ours::fresh(server))?;
    runtime.block_on(ours::close(store));
    let (callers, changes) = (callers / processes, changes / processes);
    let share = |seed| Share { url: server.url.clone(), callers, seed, changes };
    let mut children: Vec<Process> =
        (1..).take(processes).map(|seed| Process::start(&share(seed))).collect::<Result<_, _>>()?;
    children.iter_mut().try_for_each(|child| child.expect("ready"))?;
    let began = Instant::now();
    children.iter_mut().try_for_each(|child| child.say("go"))?;
    children.iter_mut().try_for_each(|child| child.expect("done"))?;
    let time = began.elapsed();
    drop(children);
    runtime.block_on(check::is_sound(server, OURS, changes * processes))?;
    Ok(time)
}

/// A child; it ends with its parent's hold on it.
struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    fn start(share: &Share) -> Result<Self, String> {
        let program = env::current_exe().map_err(|error| format!("the runner cannot find itself: {error}"))?;
        let mut command = Command::new(program);
        let started = command.arg(AREA).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| format!("a child does not start: {error}"))?;
        let says = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut process = Self { child, says };
        process.say(&serde_json::to_string(share).expect("texts and numbers have a JSON form"))?;
        Ok(process)
    }

    fn say(&mut self, line: &str) -> Result<(), String> {
        let input = self.child.stdin.as_mut().expect("it was asked for");
        writeln!(input, "{line}").map_err(|error| format!("a child does not listen: {error}"))
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        let mut line = String::new();
        self.says.read_line(&mut line).map_err(|error| format!("a child cannot be heard: {error}"))?;
        if line.trim_end() == word { Ok(()) } else { Err(format!("a child said {line:?} instead of {word}")) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is done ends by itself when its input ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What a child does.
pub(crate) fn child() -> Result<(), String> {
    let mut lines = stdin().lines();
    let mut next = || lines.next().and_then(Result::ok).ok_or_else(|| "the parent is gone".to_owned());
    let share: Share = serde_json::from_str(&next()?).map_err(|error| error.to_string())?;
    let work = work(share.seed, share.changes, Means::Enough);
    let runtime = callers::runtime();
    let store = runtime.block_on(ours::open(&share.url))?;
    say("ready")?;
    if next()? != "go" {
        return Err("the parent did not say go".into());
    }
    ours::commit(&runtime, &store, share.callers, work)?;
    say("done")?;
    runtime.block_on(ours::close(store));
    Ok(())
}

fn say(word: &str) -> Result<(), String> {
    let mut output = stdout();
    writeln!(output, "{word}").and_then(|()| output.flush()).map_err(|error| error.to_string())
}
