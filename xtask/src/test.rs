//! `cargo xtask test`: every test that needs no server, and the tutorial, built as a stranger would build it.

use std::collections::BTreeSet;

use crate::cargo::{self, Workspace};

/// The features whose tests run on a bare machine. Named rather than `--all-features`, so that a feature which
/// needs a server cannot slip in; a feature that stands in no list fails the command, so that none is forgotten.
const SERVERLESS: &[&str] =
    &["txn-store/conformance", "txn-store/memory", "txn-store/sqlite", "txn/memory", "txn/sqlite"];

/// The tutorial's code: outside the workspace, on path dependencies, as in a reader's own project.
const TUTORIAL: &str = "docs/first-hour/Cargo.toml";

pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    unlisted(&declared(workspace), SERVERLESS)?;
    cargo::run(&workspace.root, ["test", "--workspace", "--features", &SERVERLESS.join(",")])?;
    if workspace.root.join(TUTORIAL).exists() {
        for verb in ["build", "test"] {
            tutorial(workspace, verb)?;
        }
    }
    Ok(())
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
