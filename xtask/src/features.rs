//! `cargo xtask features`: each package compiles without features and with each of its features alone.
//!
//! A workspace build unites the features of all members, so a missing `cfg` or a missing `dep:` never shows there.

use crate::cargo::{self, Package, Workspace};

pub(crate) fn run(workspace: &Workspace) -> Result<(), String> {
    let mut failed = Vec::new();
    for package in &workspace.packages {
        for feature in alone(package) {
            let mut arguments = vec!["check", "--quiet", "--package", &package.name, "--no-default-features"];
            arguments.extend(feature.iter().flat_map(|feature| ["--features", feature]));
            if let Err(problem) = cargo::run(&workspace.root, arguments) {
                failed.push(problem);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\nxtask: ")) }
}

/// No feature, then each one. An empty `default` says nothing that "no feature" has not said.
fn alone(package: &Package) -> Vec<Option<&str>> {
    let features = package.features.iter().filter(|(feature, enables)| *feature != "default" || !enables.is_empty());
    std::iter::once(None).chain(features.map(|(feature, _)| Some(feature.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::alone;
    use crate::cargo::Package;

    #[test]
    fn each_feature_comes_alone_and_an_empty_default_is_left_out() {
        let mut package = Package {
            name: "p".to_owned(),
            manifest: "p/Cargo.toml".into(),
            features: [("default".to_owned(), vec![]), ("memory".to_owned(), vec![])].into(),
            dependencies: vec![],
        };
        assert_eq!(alone(&package), [None, Some("memory")]);
        package.features.insert("default".to_owned(), vec!["memory".to_owned()]);
        assert_eq!(alone(&package), [None, Some("default"), Some("memory")]);
    }
}
