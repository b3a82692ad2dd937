//! `host-tables`: run `cargo run -p host-tables`, or with `-- --postgres URL`.

use std::{io::Write as _, path::Path, process::ExitCode};

use host_tables::{Error, Shop, demo, postgres::PostgresShop, sqlite::SqliteShop};
use lexopt::{Arg, Parser, ValueExt};

async fn run() -> Result<Vec<String>, Error> {
    let mut parser = Parser::from_env();
    let mut postgres = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("postgres") => postgres = Some(parser.value()?.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let shop: Box<dyn Shop> = match postgres {
        Some(url) => Box::new(PostgresShop::open(&url, "txn", "public").await?),
        None => Box::new(SqliteShop::open(Path::new("host-tables.db"))?),
    };
    demo(&*shop).await
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(run()));
    match ended {
        // Who closes the pipe does not want to read on.
        Ok(lines) => lines
            .iter()
            .try_for_each(|line| writeln!(std::io::stdout(), "{line}"))
            .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("host-tables: {error}");
            ExitCode::from(2)
        }
    }
}
