//! `cargo xtask purity`: the absences that the architecture promises.
//!
//! The pure crates reach only crates on a list and never touch a clock, a thread, a source of randomness or the
//! outside; leaves do not import each other; a leaf with `memory` alone brings no runtime. A finding names
//! file and line. It is a text scan: it guards against slips, not against someone who wants to hide.

mod source;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{Package, Workspace};

/// Decisions and values: no I/O, no clock, no async, no `std`.
const PURE: &[&str] = &["txn-change", "txn-core"];

/// Each useful alone. Two of them meet in `txn` only.
const LEAVES: &[&str] = &["txn-core", "txn-store", "txn-queue", "txn-cache", "txn-upstream"];

/// One broken promise.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    let mut findings = BTreeSet::new();
    for name in PURE {
        let package = workspace.package(name).ok_or_else(|| format!("{name} is not in the workspace"))?;
        findings.extend(tree::strangers(workspace, package)?);
        findings.extend(impure_sources(workspace, package)?);
    }
    for package in LEAVES.iter().filter_map(|name| workspace.package(name)) {
        findings.extend(leaf_imports(workspace, package)?);
        if package.features.contains_key("memory") {
            findings.extend(tree::runtimes(workspace, package)?);
        }
    }
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("pure: {}", PURE.join(", "));
        Ok(())
    } else {
        Err(format!("purity: {} findings", findings.len()))
    }
}

fn leaf_imports(workspace: &Workspace, leaf: &Package) -> Result<Vec<Finding>, String> {
    let others = leaf.dependencies.iter().filter(|name| **name != leaf.name && LEAVES.contains(&name.as_str()));
    others
        .map(|other| {
            let line = dependency_line(&read(&leaf.manifest)?, other);
            let file = workspace.shown(&leaf.manifest).to_owned();
            let what = format!("leaf {} imports leaf {other}; two leaves meet in txn", leaf.name);
            Ok(Finding { file, line, what })
        })
        .collect()
}

fn impure_sources(workspace: &Workspace, package: &Package) -> Result<Vec<Finding>, String> {
    let folder = package.manifest.with_file_name("src");
    let mut files = Vec::new();
    rust_files(&folder, &mut files)?;
    let mut scanned = Vec::new();
    for file in files {
        let source = source::Source::read(&read(&file)?);
        scanned.push((file, source));
    }
    let test_only: Vec<PathBuf> = scanned
        .iter()
        .flat_map(|(file, source)| source.test_modules.iter().map(|name| submodule(file, name)))
        .collect();
    let mut findings = Vec::new();
    for (file, source) in &scanned {
        let stem = file.with_extension("");
        if test_only.iter().any(|module| stem.starts_with(module)) {
            continue;
        }
        let shown = workspace.shown(file).to_owned();
        if *file == folder.join("lib.rs") && !source.is_no_std() {
            let what = "a pure crate says #![no_std] or #![cfg_attr(not(test), no_std)]".to_owned();
            findings.push(Finding { file: shown.clone(), line: 1, what });
        }
        let impurities = source.impurities().into_iter();
        findings.extend(impurities.map(|(line, what)| Finding { file: shown.clone(), line, what }));
    }
    Ok(findings)
}

/// Where `mod name;` inside `file` lives, without `.rs`: the same path covers `name.rs` and the folder `name/`.
fn submodule(file: &Path, name: &str) -> PathBuf {
    let root = file.file_name().is_some_and(|file| file == "lib.rs" || file == "main.rs" || file == "mod.rs");
    if root { file.with_file_name(name) } else { file.with_extension("").join(name) }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// The line of a manifest that names a dependency; the first line when it is renamed.
fn dependency_line(manifest: &str, dependency: &str) -> usize {
    let names = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            || line.ends_with(&format!(".{dependency}]"))
    };
    manifest.lines().zip(1..).find(|(line, _)| names(line)).map_or(1, |(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::{dependency_line, submodule};
    use std::path::Path;

    #[test]
    fn a_dependency_is_found_by_its_whole_name() {
        let manifest = "[dependencies]\nserde_json.workspace = true\nserde = \"1\"\n[dev-dependencies.tokio]\n";
        assert_eq!(dependency_line(manifest, "serde"), 3);
        assert_eq!(dependency_line(manifest, "serde_json"), 2);
        assert_eq!(dependency_line(manifest, "tokio"), 4);
        assert_eq!(dependency_line(manifest, "absent"), 1);
    }

    #[test]
    fn a_submodule_lives_beside_a_root_and_below_a_module() {
        assert_eq!(submodule(Path::new("src/lib.rs"), "tests"), Path::new("src/tests"));
        assert_eq!(submodule(Path::new("src/money.rs"), "tests"), Path::new("src/money/tests"));
        assert_eq!(submodule(Path::new("src/money/mod.rs"), "tests"), Path::new("src/money/tests"));
    }
}
