//! The comparison runner: what txn does, beside the same work written by hand, in one run.
//!
//! ```text
//! cargo run --release -p txn-bench -- commit [--json] [--runs N] [--dir DIR]
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
//! The peers write the same columns of the same tables under the same unique indexes, on the same SQLite: WAL, `synchronous=FULL`, the same page size, cache and
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
#![allow(
    clippy::float_arithmetic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "measurements: rates and medians for people to read, and an overflow stops the program, as it should"
)]

mod commit;
mod medium;
mod report;

use std::{path::PathBuf, process::ExitCode};

use lexopt::{Arg, Parser, ValueExt};

const HELP: &str = "\
Usage: txn-bench <AREA> [OPTIONS]

Areas:
  commit       commits to sqlite and memory, beside hand-written peers
  help         this text

Options:
  --json       one line of JSON per measurement instead of a table
  --runs N     how often everything is measured: 1 to 99 (default 5)
  --dir DIR    where files are written (default: the system's temporary folder, or
               the current one when that is in memory)
";

/// What was asked for.
struct Options {
    is_json: bool,
    runs: usize,
    dir: Option<PathBuf>,
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
    let measurements = match area.as_str() {
        "commit" => commit::measure(options.runs, &medium::folder(options.dir)?, commit::FULL),
        other => return Err(format!("no area is named {other:?}; try `txn-bench help`")),
    };
    if options.is_json {
        report::json(&measurements)
    } else {
        report::table(&measurements)
    }
    Ok(())
}

/// The area and its options; `None` when help is asked for.
fn parse(mut parser: Parser) -> Result<Option<(String, Options)>, lexopt::Error> {
    let mut area = None;
    let mut options = Options { is_json: false, runs: 5, dir: None };
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("json") => options.is_json = true,
            Arg::Long("dir") => options.dir = Some(parser.value()?.into()),
            Arg::Long("runs") => {
                let value = parser.value()?.string()?;
                let runs = value.parse().ok().filter(|runs| (1..=99).contains(runs));
                options.runs = runs.ok_or_else(|| format!("--runs {value:?}: 1 to 99 are allowed"))?;
            }
            Arg::Value(value) if area.is_none() => area = Some(value.string()?),
            other => return Err(other.unexpected()),
        }
    }
    match area {
        Some(area) if area == "help" => Ok(None),
        Some(area) => Ok(Some((area, options))),
        None => Err("an area is missing; try `txn-bench help`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_area_and_options_and_anything_else_is_refused() {
        let parsed = |args: &[&str]| parse(Parser::from_args(args));
        let (area, options) = parsed(&["commit", "--json", "--runs", "7", "--dir", "."]).unwrap().unwrap();
        assert_eq!((area.as_str(), options.is_json, options.runs), ("commit", true, 7));
        assert!(parsed(&["help"]).unwrap().is_none());
        for bad in
            [&["commit", "again"][..], &[], &["commit", "--fast"], &["commit", "--runs", "0"], &["commit", "--runs"]]
        {
            assert!(parsed(bad).is_err(), "{bad:?}");
        }
    }
}
