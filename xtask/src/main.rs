//! Developer commands: `cargo xtask <command>`.
//!
//! Every command exits with 0 when all is well, with 1 when it found something (each finding is printed), and
//! with 2 and one line when it was asked wrongly. Nothing here is part of the SDK.
#![allow(clippy::print_stdout, reason = "a command line tool speaks through standard output")]

mod cargo;
mod features;
mod plants;
mod purity;
mod servers;
mod services;
mod test;

use std::iter::Peekable;
use std::process::ExitCode;

use cargo::Workspace;
use plants::Which;
use test::Suites;

const HELP: &str = "\
Developer commands of txn.

  cargo xtask test            build and run every test, on private servers, and the first-hour tutorial
      --embedded              only what needs no server
      -- ARGUMENTS            only what `cargo test` finds with these, without the tutorial
  cargo xtask soak [FACTOR]   run faults, histories and a queue FACTOR (10) times as long, on private servers
  cargo xtask services        start the tests' servers, or find them running, and print their variables
  cargo xtask services stop   stop them
  cargo xtask services run COMMAND
                              run a command with servers of its own, which stop with it
  cargo xtask features        check each package without features, and with each feature alone
  cargo xtask purity          check that the pure crates are pure and that no leaf imports another leaf
  cargo xtask plants [NAME]   plant each kept bug of plants/ (or those whose name contains NAME); tests must fail
      --embedded              only those whose test needs no server
      --turn N                a third of them: three numbers that follow each other come to all
  cargo xtask help            print this";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Test { suites: Suites, arguments: Vec<String> },
    Soak { factor: u64 },
    Services,
    ServicesStop,
    ServicesRun { command: Vec<String> },
    Features,
    Purity,
    Plants { suites: Suites, which: Which },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match parse(&arguments) {
        Ok(command) => command,
        Err(problem) => {
            eprintln!("xtask: {problem}; `cargo xtask help` lists the commands");
            return ExitCode::from(2);
        }
    };
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Command, String> {
    let mut words = arguments.iter().map(String::as_str);
    let command = match words.next() {
        None => return Err("no command".to_owned()),
        Some("help" | "--help" | "-h") => Command::Help,
        Some("soak") => match words.next() {
            None => Command::Soak { factor: 10 },
            Some(factor) => {
                let factor = factor.parse().ok().filter(|factor| (1..=100_000).contains(factor));
                Command::Soak { factor: factor.ok_or("soak takes a factor of 1 to 100000")? }
            }
        },
        Some("test") => {
            let mut rest = words.by_ref().peekable();
            let suites = embedded(&mut rest);
            let arguments = match rest.next() {
                Some("--") => rest.map(str::to_owned).collect(),
                Some(extra) => return Err(format!("unexpected argument {extra:?}; `--` stands before cargo's own")),
                None => Vec::new(),
            };
            Command::Test { suites, arguments }
        }
        Some("services") => match words.next() {
            None => Command::Services,
            Some("stop") => Command::ServicesStop,
            Some("run") => match words.by_ref().map(str::to_owned).collect::<Vec<_>>() {
                command if command.is_empty() => return Err("no command after \"run\"".to_owned()),
                command => Command::ServicesRun { command },
            },
            Some(other) => return Err(format!("unknown argument {other:?} of services")),
        },
        Some("features") => Command::Features,
        Some("purity") => Command::Purity,
        Some("plants") => {
            let mut rest = words.by_ref().peekable();
            let suites = embedded(&mut rest);
            let which = match rest.next() {
                None => Which::All,
                Some("--turn") => {
                    let turn = rest.next().and_then(|turn| turn.parse().ok());
                    Which::Turn(turn.ok_or("--turn takes a number")?)
                }
                Some(flag) if flag.starts_with('-') => return Err(format!("unknown flag {flag:?}")),
                Some(name) => Which::Named(name.to_owned()),
            };
            Command::Plants { suites, which }
        }
        Some(other) => return Err(format!("unknown command {other:?}")),
    };
    match words.next() {
        None => Ok(command),
        Some(extra) => Err(format!("unexpected argument {extra:?}")),
    }
}

/// Takes the flag that leaves out what needs a server.
fn embedded<'w>(words: &mut Peekable<impl Iterator<Item = &'w str>>) -> Suites {
    match words.next_if(|word| *word == "--embedded") {
        Some(_) => Suites::Embedded,
        None => Suites::All,
    }
}

fn run(command: &Command) -> Result<(), String> {
    match command {
        Command::Help => {
            println!("{HELP}");
            Ok(())
        }
        Command::Test { suites, arguments } => test::run(&Workspace::load()?, *suites, arguments),
        Command::Soak { factor } => test::soak(&Workspace::load()?, *factor),
        Command::Services => services::start(&Workspace::load()?),
        Command::ServicesStop => services::stop(&Workspace::load()?),
        Command::ServicesRun { command } => services::run(command),
        Command::Features => features::run(&Workspace::load()?),
        Command::Purity => purity::run(&Workspace::load()?),
        Command::Plants { suites, which } => plants::run(&Workspace::load()?, *suites, which),
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, HELP, Suites, Which, parse};

    fn parsed(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_command_parses_and_stands_in_the_help() {
        let commands = [
            ("help", Command::Help),
            ("test", Command::Test { suites: Suites::All, arguments: vec![] }),
            ("soak", Command::Soak { factor: 10 }),
            ("services", Command::Services),
            ("services stop", Command::ServicesStop),
            ("features", Command::Features),
            ("purity", Command::Purity),
            ("plants", Command::Plants { suites: Suites::All, which: Which::All }),
        ];
        for (word, command) in commands {
            assert_eq!(parsed(word), Ok(command));
            assert!(HELP.contains(&format!("cargo xtask {word}")), "{word} is missing from the help");
        }
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        let test = |suites, line| Ok(Command::Test { suites, arguments: words(line) });
        assert_eq!(parsed("test --embedded"), test(Suites::Embedded, ""));
        assert_eq!(parsed("test -- money --embedded"), test(Suites::All, "money --embedded"));
        assert_eq!(parsed("test --embedded -- -p txn -- --nocapture"), test(Suites::Embedded, "-p txn -- --nocapture"));
        assert_eq!(parsed("services run a --b c"), Ok(Command::ServicesRun { command: words("a --b c") }));
        let plants = |suites, which| Ok(Command::Plants { suites, which });
        let named = || Which::Named("guard".to_owned());
        assert_eq!(parsed("plants guard"), plants(Suites::All, named()));
        assert_eq!(parsed("plants --turn 4711"), plants(Suites::All, Which::Turn(4_711)));
        assert_eq!(parsed("plants --embedded"), plants(Suites::Embedded, Which::All));
        assert_eq!(parsed("plants --embedded guard"), plants(Suites::Embedded, named()));
    }

    #[test]
    fn what_is_not_understood_is_named_in_one_line() {
        for (line, named) in [
            ("", "no command"),
            ("tset", "\"tset\""),
            ("soak long", "soak takes a factor"),
            ("test --fast", "\"--fast\""),
            ("test money", "`--`"),
            ("services start", "\"start\""),
            ("services stop now", "\"now\""),
            ("services run", "no command"),
            ("plants --all", "\"--all\""),
            ("plants a b", "\"b\""),
            ("plants --turn", "--turn takes a number"),
            ("plants --turn 1 guard", "\"guard\""),
            ("purity now", "\"now\""),
        ] {
            let problem = parsed(line).unwrap_err();
            assert!(problem.contains(named), "{line}: {problem}");
            assert!(!problem.contains('\n'));
        }
    }
}
