//! The comparison runner: what txn does, beside the same work written by hand, in one run.
//!
//! ```text
//! cargo run --release -p txn-bench -- commit [--json] [--runs N] [--dir DIR]
//! cargo run --release -p txn-bench -- postgres [--json] [--runs N] [--postgres URL]
//! cargo run --release -p txn-bench -- scale --store sqlite|postgres [--changes N] [--accounts N] [--json] [--dir DIR] [--postgres URL]
//! cargo run --release -p txn-bench -- queue --backend memory|sqlite|postgres [--messages N] [--held SECONDS] [--overload SECONDS] [--json] [--runs N] [--dir DIR] [--postgres URL]
//! cargo run --release -p txn-bench -- queue-peers [--held SECONDS] [--json] [--runs N] [--postgres URL]
//! cargo run --release -p txn-bench -- relay --store memory|sqlite|postgres [--events N] [--json] [--runs N] [--dir DIR] [--postgres URL]
//! cargo run --release -p txn-bench -- help
//! ```
//!
//! Each subcommand measures one area. A measurement is made once per run, and the runs of all measurements that are compared alternate, so that a slow
//! minute of the machine falls on both sides; what is reported is the median over the runs, with the least and the greatest value of ours. Inputs are made from a
//! seed, outside the timed region. With `--json` every measurement is one line,
//! `{"name","unit","ours","peer","peer_value","ratio","runs","min","max"}`; `ratio` is `ours / peer_value`, and the peer's fields are `null` where there is no
//! peer. Accepted and refused work are reported apart, since refusing costs no flush.
//!
//! # commit
//!
//! The work is ledger-shaped changes: transfers between two of 1,000 accounts opened before, in pairs drawn from a seed. Each leaves ten rows: the change's id with
//! fingerprint and answer, two guarded counters, two entries with the balance after them, two events (a fact and a plain one), two index terms, and the
//! uniqueness of the fact in an index. Every run begins on a fresh file in a fresh folder; a folder in memory (tmpfs) is refused, since a flush there costs nothing.
//!
//! The peers write the same columns of the same tables under the same unique indexes, on the same SQLite (but index every entry by its counter, as one would, where ours leads from entry to entry): WAL, `synchronous=FULL`, the same page size, cache and
//! checkpoint interval as ours. They get more than they would have in an application: the change is there as finished bytes, a digest need not be
//! computed, and the account's row number is known. A guard is a condition of the `UPDATE`, and the balance for the entry comes back through `RETURNING`.
//!
//! - **sqlx, a transaction per change**: the usual way to write it. As [sqlx documents](https://docs.rs/sqlx/0.9.0/sqlx/struct.Pool.html#method.begin_with):
//!   a warm pool, `begin_with("BEGIN IMMEDIATE")`, statements prepared once and cached by the connection, rows of one table in one statement, `commit`. SQLite has
//!   one writer, so a pool of one connection, where callers wait for the connection, stands beside a pool of four, where they wait for the lock; the better
//!   of the two (by its median) is the peer.
//! - **groups by hand**: the fastest way we know to write it, with [rusqlite](https://docs.rs/rusqlite/0.39.0/rusqlite/struct.Connection.html#method.prepare_cached): one thread
//!   and no callers, every row ready (and freed once written, as ours frees a change), cached statements, and one transaction for so many changes as our store took together on average in the same
//!   run. Ours has the hand-over between tasks, idempotency, refusals and digests on top. Our groups are counted by the receipts: all changes of a group are recorded at
//!   one instant, so there are as many groups as instants.
//!
//! # postgres
//!
//! The same changes, on a server that is told by `--postgres` or `TXN_POSTGRES_URL`; the runner makes and drops the schemas `txn_bench_ours` and `txn_bench_peer` there. A server with `fsync` or
//! `synchronous_commit` off is refused. 256 callers commit one change after the other. Before anything is measured, all sides run at a tiny size and must leave the same rows and refuse the same overdrafts;
//! after each run of ours, debits must equal credits, entries be without a gap, and no change be missing.
//!
//! The peers write the same columns of the same tables under the same unique indexes; the account's row number is known to them, and a digest need not be computed.
//!
//! - **sqlx, a transaction per change**, as [sqlx documents](https://docs.rs/sqlx/0.9.0/sqlx/struct.Pool.html#method.begin): a warm pool without tests of its connections, statements prepared once
//!   and cached by the connection, rows of one table in one statement. BEGIN, the change with `ON CONFLICT DO NOTHING RETURNING`, two guarded `UPDATE … RETURNING` in the order of the accounts, entries, events, terms, COMMIT.
//!   Pools of 1, 4, 8, 16 and 32 connections are measured; the best of them (by its median) is the peer.
//! - **groups by hand**: one session and no callers, every row ready, and one transaction for so many changes as our store took together on average in the same run (counted by its receipts): one `SELECT … FOR UPDATE` of
//!   the accounts, guards and balances in Rust, and for each table one statement with [`unnest`](https://github.com/launchbadge/sqlx/blob/main/FAQ.md#how-can-i-bind-an-array-to-a-values-clause-how-can-i-do-bulk-inserts).
//! - **hot**: every transfer pays the same account; the peer is ours on uniform accounts.
//! - **processes**: the callers split over two processes on one schema, begun by one signal, to the end of the later; the peer is ours in one such process.
//! - **steady**: calls at random (Poisson) instants, a tenth as many a second as the peak of ours in the same run, each measured from the instant at which it was due; the peer is the best pool of transactions at the same load.
//! - **unchained**: how many changes the sequencer still had to chain when the last caller had its answer.
//!
//! # scale
//!
//! 5 million of the same changes over 100 thousand accounts, as a bulk loader would send them: eight tasks, each with a batch of 256 in one call. `last` compares the time of a change in the last fiftieth (100 thousand) with
//! that in the first; `memory` the largest resident size of this process, seen at every tenth, with that after the first tenth. It takes minutes, and some 10 GB of disk.
//!
//! # queue
//!
//! CloudEvents about orders with some 200 bytes of data, to one topic with one group, whose leases are of a minute. The backend is behind `dyn QueueAdmin`, as an application has it.
//!
//! **memory** stands beside a bounded channel of tokio, both with messages that are made beforehand, 256 at a time. `alone`: one task publishes a batch, receives a batch, settles it; the channel sends each and receives with
//! `recv_many`. `reserved` is the same with `reserve_many`, the channel's fastest. `across`: a publisher and a worker on two threads, with room for 1,024 messages. `keys`: each message has one of 10,000 keys, whose order is kept; the channel knows no keys.
//!
//! **postgres** runs in a database `txn_bench_queue` that is made anew for each side of each run, by a login that may do so.
//!
//! - **claim**: a backlog of 40,960 messages, drained by 1, 4 and 16 workers that claim and settle 32 or 256 at a time; the best of ours beside the best of the peer.
//! - **flow**: as many messages from their publishing to their settlement, 256 at a time, publishers and workers at once (1 and 1, 2 and 4, 4 and 16); the best of each.
//! - **held**: a steady load of 2,560 messages a second, published, claimed and settled 256 at a time by four tasks; the median time of claiming a batch in the last quarter of the time for which a transaction is held open (`--held`, 60 seconds), beside that before.
//! - **overload** (of every backend): publishers bring 25,600 messages a second into a topic that holds 32,768, and a worker settles half as many, for `--overload` seconds (10) each: with what finds no room given up, sent again when there is
//!   room, or in the place of the oldest. The largest resident size of this process beside that of the first third; every message must be accounted for, and the topic never hold more than it may.
//! - **backlog** (of every backend): a million messages (`--messages`) are published, and drained by four workers: the time of a message in the last tenth beside the first, and the resident size of this process in the middle and at the end beside that
//!   at the beginning.
//!
//! The peers:
//!
//! - **SKIP LOCKED by hand**: a table with a payload that is made beforehand, one update that claims the first rows of a partial index which nobody has locked and gives them a token and an end, one delete that checks both. Statements are prepared, connections
//!   warm, vacuum as eager as a table may be. It has one group, and no keys, delays, priorities, dedupe window or counts.
//! - **[apalis-postgres](https://docs.rs/apalis-postgres/1.0.0)**: in a process of its own (`cargo build --release --manifest-path benches/peers/Cargo.toml`), at the best settings we found, which that package tells.
//!
//! `queue-peers` measures the peers alone.
//!
//! # relay
//!
//! From a store's log to a queue, through a relay with the default settings that runs as in an application. The changes put one record and append one event of some 200 bytes; the events are of 10,000 subjects. The queue is of the
//! store's technology: on `postgres` both are in one database `txn_bench_relay` that is made anew for each measurement; on `sqlite` each is a file of its own. `.to-memory` is the same with a queue in memory, so that one sees what part is
//! the store's. `.apart` is a relay with handles of its own, as in a process of its own, that must be told of every commit by the server; `.two` are two such that share the lanes.
//!
//! - **steady**: changes at random (Poisson) instants, 1,000 a second in the mean, each committed by itself, for some 20 seconds while the relay is at work. `from-answer` is the time from when the committer had its answer to when
//!   the queue had answered the relay, by this process's clock; `by-server` from when the event was recorded to when the message was accepted, both by the server's clock.
//! - **drain**: 200 thousand events (`--events`) are committed, then the relay begins for the first time: events a second until the queue has answered for the last.
//! - **events-a-call**: events that went to the queue in one call, in the mean.
//!
//! After each, everything is taken out of the queue: exactly what was committed, none of it twice, those of one subject in the order of the log.
#![allow(
    clippy::float_arithmetic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "measurements: rates and medians for people to read, and an overflow stops the program, as it should"
)]

mod commit;
mod medium;
mod postgres;
mod queue;
mod relay;
mod report;
mod rows;
mod scale;

use std::{env, ops::RangeInclusive, path::PathBuf, process::ExitCode, time::Duration};

use lexopt::{Arg, Parser, ValueExt};

const HELP: &str = "\
Usage: txn-bench <AREA> [OPTIONS]

Areas:
  commit          commits to sqlite and memory, beside hand-written peers
  postgres        commits to a PostgreSQL server, beside hand-written peers
  scale           millions of changes: whether the last are as fast as the first
  queue           messages through a queue, beside hand-written peers and others'
  queue-peers     the peers of the queue on a server alone
  relay           from commits to a queue
  help            this text

Options:
  --json          one line of JSON per measurement instead of a table
  --runs N        commit, postgres, queue, relay: how often everything is
                  measured: 1 to 99 (default 5)
  --dir DIR       commit, scale, queue, relay: where files are written (default:
                  the system's temporary folder, or the current one when that
                  is in memory)
  --postgres URL  postgres, scale, queue, relay: the server (default:
                  $TXN_POSTGRES_URL)
  --store NAME    scale, relay: sqlite or postgres; relay: or memory
  --changes N     scale: how many (default 5000000)
  --accounts N    scale: over how many (default 100000)
  --backend NAME  queue: memory, sqlite or postgres
  --messages N    queue: how many the backlog has; 0 for none (default 1000000)
  --held SECONDS  queue: how long a transaction is held open; 0 for not at all
                  (default 60)
  --overload SECONDS
                  queue: how long twice as much comes as is taken; 0 for not at
                  all (default 10)
  --events N      relay: how many the backlog has (default 200000)
";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    is_json: bool,
    runs: Option<usize>,
    dir: Option<PathBuf>,
    postgres: Option<String>,
    store: Option<String>,
    changes: Option<u64>,
    accounts: Option<u64>,
    backend: Option<queue::Backend>,
    messages: Option<u64>,
    held: Option<u64>,
    overload: Option<u64>,
    events: Option<u64>,
}

impl Options {
    fn runs(&self) -> usize {
        self.runs.unwrap_or(5)
    }

    fn url(&self) -> Result<String, String> {
        let told = self.postgres.clone().or_else(|| env::var("TXN_POSTGRES_URL").ok());
        told.ok_or_else(|| "no server is named; give --postgres or TXN_POSTGRES_URL".into())
    }

    fn scale(&self) -> scale::Size {
        let scale::Size { changes, accounts } = scale::FULL;
        scale::Size { changes: self.changes.unwrap_or(changes), accounts: self.accounts.unwrap_or(accounts) }
    }

    fn queue(&self) -> queue::Size {
        let full = queue::FULL;
        let held = self.held.map_or(full.held, Duration::from_secs);
        let overload = self.overload.map_or(full.overload, Duration::from_secs);
        queue::Size { backlog: self.messages.unwrap_or(full.backlog), held, overload, ..full }
    }

    fn relay(&self) -> relay::Size {
        relay::Size { events: self.events.unwrap_or(relay::FULL.events), ..relay::FULL }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("txn-bench: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let Some((area, options)) = parse(Parser::from_env()).map_err(|error| error.to_string())? else {
        print!("{HELP}");
        return Ok(());
    };
    let measurements = match (area.as_str(), options.store.as_deref()) {
        ("commit", _) => commit::measure(options.runs(), &medium::folder(options.dir.clone())?, commit::FULL),
        ("postgres", _) => postgres::measure(options.runs(), &options.url()?, postgres::FULL)?,
        ("scale", Some("sqlite")) => scale::sqlite(options.scale(), &medium::folder(options.dir.clone())?)?,
        ("scale", Some("postgres")) => scale::postgres(options.scale(), &options.url()?)?,
        ("scale", _) => return Err("a store is missing: --store sqlite or --store postgres".into()),
        ("queue", _) => {
            let backend = options.backend.ok_or("a backend is missing: --backend memory, sqlite or postgres")?;
            let medium = || medium::folder(options.dir.clone());
            queue::measure(backend, options.runs(), options.queue(), medium, || options.url())?
        }
        ("relay", store) => {
            let store = store.and_then(queue::Backend::named);
            let store = store.ok_or("a store is missing: --store memory, sqlite or postgres")?;
            let medium = || medium::folder(options.dir.clone());
            relay::measure(store, options.runs(), options.relay(), medium, || options.url())?
        }
        ("queue-peers", _) => queue::peers(options.runs(), &options.url()?, options.queue())?,
        (postgres::processes::AREA, _) => return postgres::processes::child(),
        (other, _) => return Err(format!("no area is named {other:?}; try `txn-bench help`")),
    };
    if options.is_json {
        report::json(&measurements)
    } else {
        report::table(&measurements)
    }
    Ok(())
}

/// The options that an area takes beside `--json`.
fn taken(area: &str) -> &'static [&'static str] {
    match area {
        "commit" => &["runs", "dir"],
        "postgres" => &["runs", "postgres"],
        "scale" => &["dir", "postgres", "store", "changes", "accounts"],
        "queue" => &["runs", "dir", "postgres", "backend", "messages", "held", "overload"],
        "queue-peers" => &["runs", "postgres", "held"],
        "relay" => &["runs", "dir", "postgres", "store", "events"],
        _ => &[],
    }
}

/// The area and its options; `None` when help is asked for.
fn parse(mut parser: Parser) -> Result<Option<(String, Options)>, lexopt::Error> {
    let mut area = None;
    let mut options = Options::default();
    let mut given = Vec::new();
    while let Some(arg) = parser.next()? {
        let name = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("json") => {
                options.is_json = true;
                continue;
            }
            Arg::Value(value) if area.is_none() => {
                area = Some(value.string()?);
                continue;
            }
            Arg::Long(name) => name.to_owned(),
            other => return Err(other.unexpected()),
        };
        match name.as_str() {
            "dir" => options.dir = Some(parser.value()?.into()),
            "runs" => {
                let runs = number(&mut parser, "--runs", 1..=99)?;
                options.runs = Some(usize::try_from(runs).expect("below 100"));
            }
            "postgres" => options.postgres = Some(parser.value()?.string()?),
            "store" => options.store = Some(parser.value()?.string()?),
            "changes" => options.changes = Some(number(&mut parser, "--changes", 20_000..=1_000_000_000)?),
            "accounts" => options.accounts = Some(number(&mut parser, "--accounts", 2..=10_000_000)?),
            "backend" => {
                let value = parser.value()?.string()?;
                let known = queue::Backend::named(&value);
                let backend = known.ok_or_else(|| format!("--backend {value:?}: memory, sqlite or postgres"))?;
                options.backend = Some(backend);
            }
            "messages" => options.messages = Some(number(&mut parser, "--messages", 0..=50_000_000)?),
            "events" => options.events = Some(number(&mut parser, "--events", 1..=50_000_000)?),
            "held" => options.held = Some(number(&mut parser, "--held", 0..=86_400)?),
            "overload" => options.overload = Some(number(&mut parser, "--overload", 0..=86_400)?),
            _ => return Err(Arg::Long(&name).unexpected()),
        }
        given.push(name);
    }
    let Some(area) = area else { return Err("an area is missing; try `txn-bench help`".into()) };
    if area == "help" {
        return Ok(None);
    }
    match given.iter().find(|name| !taken(&area).contains(&name.as_str())) {
        Some(name) => Err(format!("{area} takes no --{name}").into()),
        None => Ok(Some((area, options))),
    }
}

fn number(parser: &mut Parser, name: &str, allowed: RangeInclusive<u64>) -> Result<u64, lexopt::Error> {
    let value = parser.value()?.string()?;
    let number = value.parse().ok().filter(|number| allowed.contains(number));
    number.ok_or_else(|| format!("{name} {value:?}: {} to {} are allowed", allowed.start(), allowed.end()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_area_and_options_and_anything_else_is_refused() {
        let parsed = |args: &[&str]| parse(Parser::from_args(args));
        let (area, options) = parsed(&["commit", "--json", "--runs", "7", "--dir", "."]).unwrap().unwrap();
        assert_eq!((area.as_str(), options.is_json, options.runs()), ("commit", true, 7));
        let (_, options) = parsed(&["scale", "--store", "sqlite", "--changes", "20000"]).unwrap().unwrap();
        assert_eq!((options.store.as_deref(), options.scale().changes), (Some("sqlite"), 20_000));
        let (_, options) = parsed(&["queue", "--backend", "memory", "--messages", "0"]).unwrap().unwrap();
        assert_eq!((options.backend, options.queue().backlog), (Some(queue::Backend::Memory), 0));
        let (_, options) = parsed(&["relay", "--store", "postgres", "--events", "9"]).unwrap().unwrap();
        assert_eq!((options.store.as_deref(), options.relay().events), (Some("postgres"), 9));
        assert!(parsed(&["help"]).unwrap().is_none());
        for bad in [
            &["commit", "again"][..],
            &[],
            &["commit", "--fast"],
            &["commit", "--runs", "0"],
            &["commit", "--runs"],
            &["commit", "--store", "sqlite"],
            &["scale", "--changes", "10"],
            &["queue", "--backend", "kafka"],
            &["queue-peers", "--backend", "memory"],
            &["relay", "--events", "0"],
        ] {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }
}
