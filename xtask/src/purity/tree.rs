//! What a package links, read from `cargo tree`.
//!
//! Macros are left out of the tree: they run while compiling and are not in the program. All targets are in it.

use std::collections::BTreeSet;

use super::{Finding, dependency_line, read};
use crate::cargo::{self, Package, Workspace};

/// What the pure crates may reach, direct or not. A new name here is a decision: it must not do I/O, read a clock
/// or make randomness in the features that we enable.
const REACHABLE: &[&str] = &[
    "txn-change",
    "txn-core",
    // Encoding: serde and JSON without `std`.
    "serde",
    "serde_core",
    "serde_json",
    "itoa",
    "memchr",
    "ryu",
    "zmij",
    // Digests: SHA-256 and what it is made of; libc only tells the processor's features on some targets.
    "sha2",
    "digest",
    "block-buffer",
    "crypto-common",
    "hybrid-array",
    "typenum",
    "cpufeatures",
    "cfg-if",
    "const-oid",
    "libc",
    // Values: decimals, ids made elsewhere, error texts.
    "rust_decimal",
    "arrayvec",
    "num-traits",
    "uuid",
    "thiserror",
];

/// A runtime chooses the executor for its host; with `memory` alone that choice is the host's.
const RUNTIMES: &[&str] = &["tokio", "async-std", "async-executor", "async-io", "smol"];

/// Crates that a pure package links although they are not on the list.
pub(super) fn strangers(workspace: &Workspace, package: &Package) -> Result<Vec<Finding>, String> {
    let unwelcome = |name: &str| !REACHABLE.contains(&name);
    findings(workspace, package, &["--all-features"], unwelcome, "is not on the list of what a pure crate may reach")
}

/// Runtimes that a leaf links with nothing but its `memory` backend.
pub(super) fn runtimes(workspace: &Workspace, package: &Package) -> Result<Vec<Finding>, String> {
    let features = ["--no-default-features", "--features", "memory"];
    let unwelcome = |name: &str| RUNTIMES.contains(&name);
    findings(workspace, package, &features, unwelcome, "is a runtime, and `memory` alone brings none")
}

fn findings(
    workspace: &Workspace,
    package: &Package,
    features: &[&str],
    unwelcome: impl Fn(&str) -> bool,
    why: &str,
) -> Result<Vec<Finding>, String> {
    let common = ["tree", "--package", &package.name, "--edges", "normal,no-proc-macro", "--target", "all"];
    let form = ["--prefix", "depth", "--no-dedupe", "--format", " {p}"];
    let arguments = common.iter().chain(&form).chain(features);
    let tree = cargo::output(&workspace.root, arguments)?;
    let manifest = read(&package.manifest)?;
    let found = paths(&tree)?.into_iter().filter(|path| unwelcome(&path.name));
    Ok(found
        .map(|Reached { name, through }| {
            let line = dependency_line(&manifest, &through);
            let chain = if through == name { String::new() } else { format!(" (through {through})") };
            let what = format!("{} links {name}{chain}: it {why}", package.name);
            Finding { file: workspace.shown(&package.manifest).to_owned(), line, what }
        })
        .collect())
}

/// A crate in the tree and the direct dependency that brings it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    name: String,
    through: String,
}

/// Reads lines of the form `depth name version …`, the package itself at depth 0.
fn paths(tree: &str) -> Result<BTreeSet<Reached>, String> {
    let mut through = String::new();
    let mut reached = BTreeSet::new();
    for line in tree.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(Ok(depth)), Some(name)) = (words.next().map(str::parse::<u32>), words.next()) else {
            return Err(format!("cargo tree printed a line that is not understood: {line:?}"));
        };
        match depth {
            0 => continue,
            1 => name.clone_into(&mut through),
            _ => {}
        }
        reached.insert(Reached { name: name.to_owned(), through: through.clone() });
    }
    if reached.is_empty() && tree.trim().is_empty() {
        return Err("cargo tree printed nothing".to_owned());
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::{Reached, paths};

    fn reached(name: &str, through: &str) -> Reached {
        Reached { name: name.to_owned(), through: through.to_owned() }
    }

    #[test]
    fn a_crate_is_named_with_the_dependency_that_brings_it() {
        let tree = "0 a v0.1.0 (/w/a)\n1 b v1.0.0\n2 tokio v1.0.0\n1 tokio v1.0.0\n";
        let expected = [reached("b", "b"), reached("tokio", "b"), reached("tokio", "tokio")];
        assert_eq!(paths(tree).unwrap().into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_package_without_dependencies_reaches_nothing() {
        assert!(paths("0 a v0.1.0 (/w/a)\n").unwrap().is_empty());
    }

    #[test]
    fn no_output_and_unknown_output_are_errors_and_not_clean_trees() {
        assert!(paths("").is_err());
        assert!(paths("├── b v1.0.0").is_err());
    }
}
