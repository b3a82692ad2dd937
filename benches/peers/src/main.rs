//! Peers of `txn-bench` that are crates of others. Started by the runner, not by people.
//!
//! ```text
//! cargo build --release --manifest-path benches/peers/Cargo.toml
//! ```
//!
//! The runner names the peer, and hands over one line of JSON: what to do, and on which database (not in arguments, where others would see the password). The peer makes ready, says `ready`,
//! waits for `go`, does it, and answers with one line of JSON: `{"seconds":1.5,"acknowledged":40960}`.

mod apalis;

use std::{
    env,
    io::{BufRead, Write, stdin, stdout},
    process::ExitCode,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// What to do: messages go through a queue from publishers to workers, all at work at once.
#[derive(Debug, Clone, Deserialize)]
struct Flow {
    url: String,
    publishers: usize,
    workers: usize,
    /// How many messages are published, and claimed, at once.
    batch: usize,
    /// How many batches there are.
    batches: usize,
    /// What a message says: a JSON object.
    payload: String,
}

#[derive(Serialize)]
struct Done {
    /// From the first publishing to the last acknowledgement.
    seconds: f64,
    acknowledged: u64,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("txn-bench-peers: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let peer = env::args().nth(1).ok_or("which peer? apalis is known")?;
    if peer != "apalis" {
        return Err(format!("no peer is named {peer:?}; apalis is"));
    }
    let flow: Flow = serde_json::from_str(&line()?).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let ready = runtime.block_on(apalis::Ready::new(&flow))?;
    say("ready")?;
    if line()? != "go" {
        return Err("the runner did not say go".into());
    }
    let (time, acknowledged): (Duration, u64) = runtime.block_on(ready.go())?;
    let done = Done { seconds: time.as_secs_f64(), acknowledged };
    say(&serde_json::to_string(&done).map_err(|error| error.to_string())?)
}

fn line() -> Result<String, String> {
    stdin().lock().lines().next().and_then(Result::ok).ok_or_else(|| "the runner is gone".to_owned())
}

fn say(line: &str) -> Result<(), String> {
    let mut output = stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(|error| error.to_string())
}
