//! `order-flow`: run `cargo run -p order-flow`, or with `-- --store sqlite:PATH` or `-- --store postgres://USER@HOST/DATABASE`.

use std::{io::Write as _, path::Path, process::ExitCode, time::Duration};

use lexopt::{Arg, Parser, ValueExt};
use order_flow::{Error, Line, app, backends};

async fn run() -> Result<Vec<Line>, Error> {
    let (mut parser, mut store) = (Parser::from_env(), "memory".to_owned());
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("store") => store = parser.value()?.string()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let backends = match store.split_once(':') {
        None if store == "memory" => backends::memory(),
        Some(("sqlite", path)) => backends::sqlite(Path::new(path))?,
        Some(("postgres", _)) => backends::postgres(&store, "txn").await?,
        _ => {
            return Err(
                format!("{store:?} is no store; use memory, sqlite:PATH or postgres://USER@HOST/DATABASE").into()
            );
        }
    };
    let app = tokio::time::timeout(Duration::from_secs(60), app(backends));
    app.await.map_err(|_| "a message was lost: it has not come for a minute")?
}

fn main() -> Result<ExitCode, Error> {
    let lines = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())?;
    let mut code = ExitCode::SUCCESS;
    for (what, found, wanted) in lines {
        let verdict = if found == wanted { "ok".to_owned() } else { format!("WRONG, should be {wanted}") };
        writeln!(std::io::stdout(), "{what:<42}{found:>4}  {verdict}")?;
        code = if found == wanted { code } else { ExitCode::FAILURE };
    }
    Ok(code)
}
