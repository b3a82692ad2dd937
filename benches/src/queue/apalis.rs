//! The peer apalis-postgres: a program of a package of its own, `benches/peers`, which says how it is set. It is told what to do through its standard input, and answers in lines.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, Serialize};
use txn_queue::Message;

use crate::postgres::server::Server;

/// Names the program, when it is not where [`program`] looks.
const VARIABLE: &str = "TXN_BENCH_PEERS";

#[derive(Serialize)]
struct Flow<'a> {
    url: &'a str,
    publishers: usize,
    workers: usize,
    batch: usize,
    batches: usize,
    payload: String,
}

#[derive(Deserialize)]
struct Done {
    seconds: f64,
    acknowledged: u64,
}

/// The program, or how to build it.
pub(super) fn program() -> Result<PathBuf, String> {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/target/release/txn-bench-peers");
    let program = env::var_os(VARIABLE).map_or_else(built, PathBuf::from);
    if program.is_file() {
        return Ok(program);
    }
    Err(format!(
        "there is no {}; build it with `cargo build --release --manifest-path benches/peers/Cargo.toml`, or name it in {VARIABLE}",
        program.display()
    ))
}

/// So many messages like this one through a fresh database, in batches, by so many publishers and workers; gives the seconds.
pub(super) fn flow(
    program: &Path,
    server: &Server,
    (publishers, workers): (usize, usize),
    batch: usize,
    batches: usize,
    message: &Message,
) -> Result<f64, String> {
    let flow = Flow { url: &server.url, publishers, workers, batch, batches, payload: message.to_structured() };
    let mut peer = Peer::start(program)?;
    peer.say(&serde_json::to_string(&flow).expect("texts and numbers have a JSON form"))?;
    let ready = peer.hear()?;
    if ready != "ready" {
        return Err(format!("the peer said {ready:?} instead of ready"));
    }
    peer.say("go")?;
    let done: Done = serde_json::from_str(&peer.hear()?).map_err(|error| format!("the peer's answer: {error}"))?;
    let count = (batch * batches) as u64;
    if done.acknowledged == count {
        Ok(done.seconds)
    } else {
        Err(format!("the peer acknowledged {} of {count} messages", done.acknowledged))
    }
}

/// The program; it ends with the runner's hold on it.
struct Peer {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Peer {
    fn start(program: &Path) -> Result<Self, String> {
        let started = Command::new(program).arg("apalis").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| format!("{} does not start: {error}", program.display()))?;
        let says = BufReader::new(child.stdout.take().expect("it was asked for"));
        Ok(Self { child, says })
    }

    fn say(&mut self, line: &str) -> Result<(), String> {
        let input = self.child.stdin.as_mut().expect("it was asked for");
        writeln!(input, "{line}").map_err(|error| format!("the peer does not listen: {error}"))
    }

    fn hear(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.says.read_line(&mut line).map_err(|error| format!("the peer cannot be heard: {error}"))?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One that waits for a word ends when there will be none.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
