//! `storefront`: run `cargo run --release -p storefront -- help`.

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode};

use lexopt::{Arg, Parser, ValueExt};
use storefront::{
    demo::{self, DemoStore},
    open::{Missing, StoreUrl},
    replay::{self, Prepared, ReplayError},
    totals::Totals,
};
use txn::{InertGateway, Txn};

const HELP: &str = "\
storefront: a starter shop on txn

  storefront demo [--orders N] [--seed S] [--store URL] [--json]
      makes a catalogue and N (1000) orders, and runs them side by side
  storefront replay FILE [--store URL] [--limit N] [--json]
      replays a retailer's invoices, plain or gzip, into the tenant `replay`
  storefront report --store URL [--json]
      the replay's totals, folded from the store alone
  storefront verify --store URL [--json]
      audits all tenants; status 1 and every violation named if there is one

  URL: memory: (demo, replay), sqlite:PATH or postgres://USER@HOST/DATABASE;
       demo and replay use sqlite:storefront.db when none is given";

/// What was asked for.
#[derive(Debug, Default)]
struct Arguments {
    command: Option<String>,
    file: Option<PathBuf>,
    store: Option<String>,
    orders: Option<u64>,
    seed: Option<u64>,
    limit: Option<u64>,
    is_json: bool,
}

impl Arguments {
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut parser = Parser::from_args(arguments);
        let mut parsed = Self::default();
        let number = |option: &str, parser: &mut Parser| -> Result<u64, String> {
            let value = parser.value().map_err(|error| error.to_string())?;
            let text = value.string().map_err(|error| error.to_string())?;
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_plain).ok_or_else(|| format!("{option} {text:?} is no whole number"))
        };
        while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
            match argument {
                Arg::Long("store") => {
                    let value = parser.value().map_err(|error| error.to_string())?;
                    parsed.store = Some(value.string().map_err(|error| error.to_string())?);
                }
                Arg::Long("orders") => parsed.orders = Some(number("--orders", &mut parser)?),
                Arg::Long("seed") => parsed.seed = Some(number("--seed", &mut parser)?),
                Arg::Long("limit") => parsed.limit = Some(number("--limit", &mut parser)?),
                Arg::Long("json") => parsed.is_json = true,
                Arg::Long("help") | Arg::Short('h') => parsed.command = Some("help".into()),
                Arg::Value(value) if parsed.command.is_none() => {
                    parsed.command = Some(value.string().map_err(|error| error.to_string())?);
                }
                Arg::Value(value) if parsed.file.is_none() && parsed.command.as_deref() == Some("replay") => {
                    parsed.file = Some(value.into());
                }
                argument => return Err(argument.unexpected().to_string()),
            }
        }
        parsed.check()?;
        Ok(parsed)
    }

    /// Every option belongs to its commands.
    fn check(&self) -> Result<(), String> {
        let command = self.command.as_deref().unwrap_or("help");
        let given = [
            ("--orders", self.orders.is_some(), &["demo"][..]),
            ("--seed", self.seed.is_some(), &["demo"][..]),
            ("--limit", self.limit.is_some(), &["replay"][..]),
            ("--store", self.store.is_some(), &["demo", "replay", "report", "verify"][..]),
            ("--json", self.is_json, &["demo", "replay", "report", "verify"][..]),
        ];
        match given.iter().find(|(_, is_given, commands)| *is_given && !commands.contains(&command)) {
            Some((option, ..)) => Err(format!("{option} does not go with {command}")),
            None => Ok(()),
        }
    }

    fn url(&self) -> Result<StoreUrl, String> {
        StoreUrl::parse(self.store.as_deref().unwrap_or("sqlite:storefront.db"))
    }
}

/// What goes wrong with status 2: one line.
type Fault = String;

async fn run(arguments: &Arguments) -> Result<ExitCode, Fault> {
    match arguments.command.as_deref().unwrap_or("help") {
        "help" => {
            say(HELP)?;
            Ok(ExitCode::SUCCESS)
        }
        "demo" => demo(arguments).await,
        "replay" => replay(arguments).await,
        "report" => report(arguments).await,
        "verify" => verify(arguments).await,
        other => Err(format!("{other:?} is no command; try: storefront help")),
    }
}

async fn demo(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let orders = arguments.orders.unwrap_or(demo::ORDERS_DEFAULT);
    let request = demo::Request::new(orders, arguments.seed.unwrap_or(demo::SEED_DEFAULT))?;
    let demo = demo::run(&DemoStore::open(&arguments.url()?).await?, request).await?;
    say(&if arguments.is_json { json(&demo)? } else { demo::text(&demo) })?;
    Ok(if demo.totals.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn replay(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let file = arguments.file.as_ref().ok_or("replay needs a FILE")?;
    let url = arguments.url()?;
    let line = |error: ReplayError| error.to_string();
    // The file is judged first: one that is refused makes no store.
    let prepared = Prepared::read(file, arguments.limit).map_err(line)?;
    let replay = prepared.run(url.open(Missing::Create).await?).await.map_err(line)?;
    if arguments.is_json {
        say(&json(&replay)?)?;
    } else {
        say(&storefront::totals::table(&replay.totals))?;
        say(&if replay.replayed {
            "Nothing was committed: this file had been replayed before.".into()
        } else {
            format!("{} s, {} orders a second", replay.seconds, replay.orders_per_second)
        })?;
    }
    Ok(status(replay.totals.violations))
}

/// What the audit found decides the status.
fn status(violations: u64) -> ExitCode {
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn report(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let store = arguments.store.as_ref().ok_or("report needs --store URL")?;
    let store = StoreUrl::parse(store)?.open(Missing::Refuse).await?;
    let txn = Txn::builder(store, std::sync::Arc::new(InertGateway::default())).build();
    let shop = txn.tenant(replay::tenant());
    if !replay::is_begun(&shop).await.map_err(|error| error.to_string())? {
        return Err("the store holds no replay".into());
    }
    let totals = Totals::fold(&txn, &shop).await?;
    say(&if arguments.is_json { json(&totals)? } else { storefront::totals::table(&totals) })?;
    Ok(status(totals.violations))
}

async fn verify(arguments: &Arguments) -> Result<ExitCode, Fault> {
    let store = arguments.store.as_ref().ok_or("verify needs --store URL")?;
    let store = StoreUrl::parse(store)?.open(Missing::Refuse).await?;
    let txn = Txn::builder(store, std::sync::Arc::new(InertGateway::default())).build();
    let report = txn.verify().await.map_err(|error| error.to_string())?;
    let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    if arguments.is_json {
        let line = serde_json::json!({ "violations": report.violations_total, "named": violations });
        say(&line.to_string())?;
    } else {
        violations.iter().try_for_each(|violation| say(violation))?;
        say(&format!("{} violations", report.violations_total))?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn json(value: &impl serde::Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

/// Writes an answer to standard output.
fn say(line: &str) -> Result<(), Fault> {
    match writeln!(std::io::stdout(), "{line}") {
        // Who closes a pipe does not want to read on.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    let outcome = Arguments::parse(std::env::args_os().skip(1)).and_then(|arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(run(&arguments))
    });
    match outcome {
        Ok(code) => code,
        Err(line) => {
            // An argument may hold line breaks; the answer is one line.
            eprintln!("storefront: {}", line.replace(['\n', '\r'], " "));
            ExitCode::from(2)
        }
    }
}
