//! `cargo xtask test`: every test, and the tutorial, built as a stranger would build it.
//!
//! The tests that need a server get a private one, which stops with this command. `--embedded` leaves out the
//! features of those tests, and with them the tests themselves: they are absent then, not skipped.

use std::collections::BTreeSet;

use crate::cargo::{self, Workspace};
use crate::servers::{Servers, strace};

/// The features whose tests run on a bare machine. Named rather than `--all-features`, so that a feature which
/// needs a server cannot slip in; a feature that stands in no list fails the command, so that none is forgotten.
const SERVERLESS: &[&str] = &[
    "txn-queue/conformance",
    "txn-queue/memory",
    "txn-queue/postgres",
    "txn-queue/sqlite",
    "txn-queue/worker",
    "txn-store/conformance",
    "txn-store/faults",
    "txn-store/memory",
    "txn-store/postgres",
    "txn-store/sqlite",
    "txn/cron",
    "txn/memory",
    "txn/postgres",
    "txn/sqlite",
    "txn/webhooks",
    "txn/worker",
];

/// The features whose tests need a server; they find it through the variables that `servers` hands out.
const SERVER: &[&str] = &[
    "host-tables/servers",
    "order-flow/servers",
    "storefront/servers",
    "txn-queue/servers",
    "txn-store/servers",
    "txn/servers",
    "xtask/servers",
];

/// The tutorial's code: outside the workspace, on path dependencies, as in a reader's own project.
const TUTORIAL: &str = "docs/first-hour/Cargo.toml";

/// Which tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suites {
    /// All of them, with servers.
    All,
    /// Those that need no server.
    Embedded,
}

/// `arguments` go to `cargo test` of the workspace. With any, only a part is wanted: the tutorial is left out.
pub(crate) fn run(workspace: &Workspace, suites: Suites, arguments: &[String]) -> Result<(), String> {
    unlisted(&declared(workspace), &[SERVERLESS, SERVER].concat())?;
    match suites {
        Suites::All => {
            strace::find()?;
            let servers = Servers::start()?;
            tests(workspace, &[SERVERLESS, SERVER].concat(), arguments, &servers.variables())?;
        }
        Suites::Embedded => tests(workspace, SERVERLESS, arguments, &[])?,
    }
    if arguments.is_empty() && workspace.root.join(TUTORIAL).exists() {
        for verb in ["build", "test"] {
            tutorial(workspace, verb)?;
        }
    }
    Ok(())
}

/// The tests that gain from running long, each so many times as long as in `test`: faults and histories of the store, the latter against the naive model and of many callers, and a queue whose workers die.
pub(crate) fn soak(workspace: &Workspace, factor: u64) -> Result<(), String> {
    strace::find()?;
    let servers = Servers::start()?;
    let mut variables = servers.variables();
    variables.push(("TXN_SOAK".to_owned(), factor.to_string()));
    variables.push(("TXN_HISTORIES_CASES".to_owned(), factor.saturating_mul(100).to_string()));
    for (package, tests) in [("txn-store", ["faults", "histories"].as_slice()), ("txn-queue", &["soak"])] {
        let features = [SERVERLESS, SERVER].concat();
        let own = |feature: &'static str| feature.strip_prefix(package)?.strip_prefix('/');
        let features = features.into_iter().filter_map(own).collect::<Vec<&str>>().join(",");
        let words = ["test", "--release", "-p", package, "--features", &features, "--test", "it", "--", "--nocapture"];
        cargo::run_with(&workspace.root, words.into_iter().chain(tests.iter().copied()), &variables)?;
    }
    Ok(())
}

fn tests(
    workspace: &Workspace,
    features: &[&str],
    arguments: &[String],
    variables: &[(String, String)],
) -> Result<(), String> {
    let features = features.join(",");
    let words = ["test", "--workspace", "--features", &features].into_iter();
    cargo::run_with(&workspace.root, words.chain(arguments.iter().map(String::as_str)), variables)
}

/// Same target folder and debug information as the workspace, so that dependencies compile once.
fn tutorial(workspace: &Workspace, verb: &str) -> Result<(), String> {
    let target = workspace.target.to_string_lossy();
    let debug = "profile.dev.debug='line-tables-only'";
    cargo::run(&workspace.root, [verb, "--manifest-path", TUTORIAL, "--target-dir", &target, "--config", debug])
}

fn declared(workspace: &Workspace) -> BTreeSet<String> {
    let features = workspace.packages.iter().flat_map(|package| {
        package
            .features
            .keys()
            .filter(|feature| *feature != "default")
            .map(|feature| format!("{}/{feature}", package.name))
    });
    features.collect()
}

fn unlisted(declared: &BTreeSet<String>, listed: &[&str]) -> Result<(), String> {
    let listed: BTreeSet<String> = listed.iter().map(|feature| (*feature).to_owned()).collect();
    if let Some(feature) = declared.difference(&listed).next() {
        return Err(format!("feature {feature} is in no test list: add it in xtask/src/test.rs"));
    }
    if let Some(feature) = listed.difference(declared).next() {
        return Err(format!("feature {feature} is listed in xtask/src/test.rs, but no manifest declares it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::unlisted;

    #[test]
    fn a_feature_in_no_list_and_a_list_without_a_feature_are_both_named() {
        let declared = ["a/x".to_owned(), "a/y".to_owned()].into();
        assert_eq!(unlisted(&declared, &["a/x", "a/y"]), Ok(()));
        assert!(unlisted(&declared, &["a/x"]).unwrap_err().contains("a/y is in no test list"));
        assert!(unlisted(&declared, &["a/x", "a/y", "a/z"]).unwrap_err().contains("a/z is listed"));
    }
}
