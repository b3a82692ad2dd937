//! The workspace as cargo describes it, and the one way to call cargo.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The packages of this workspace and where it stands.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One member of the workspace, as its manifest says.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest: PathBuf,
    /// Each feature with what it enables.
    pub(crate) features: BTreeMap<String, Vec<String>>,
    /// Names of its dependencies of every kind, as published, not as renamed.
    pub(crate) dependencies: Vec<String>,
}

impl Workspace {
    /// Reads the workspace around the current folder.
    pub(crate) fn load() -> Result<Self, String> {
        let arguments = ["metadata", "--no-deps", "--format-version", "1"];
        Self::parse(&output(Path::new("."), arguments)?)
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// A path as a reader of a finding wants it: from the root of the workspace.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    fn parse(metadata: &str) -> Result<Self, String> {
        let metadata: Value =
            serde_json::from_str(metadata).map_err(|error| format!("cargo metadata is not JSON: {error}"))?;
        let packages = list(&metadata, "packages")?.iter().map(Package::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            root: PathBuf::from(text(&metadata, "workspace_root")?),
            target: PathBuf::from(text(&metadata, "target_directory")?),
            packages,
        })
    }
}

impl Package {
    fn parse(package: &Value) -> Result<Self, String> {
        let mut features = BTreeMap::new();
        let listed = package.get("features").and_then(Value::as_object).ok_or("cargo metadata has no `features`")?;
        for (feature, enables) in listed {
            let enables = enables.as_array().map(Vec::as_slice).unwrap_or_default();
            features.insert(feature.clone(), enables.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        let dependencies = list(package, "dependencies")?.iter();
        Ok(Self {
            name: text(package, "name")?.to_owned(),
            manifest: PathBuf::from(text(package, "manifest_path")?),
            features,
            dependencies: dependencies.map(|one| text(one, "name").map(str::to_owned)).collect::<Result<_, _>>()?,
        })
    }
}

/// Runs cargo in `folder` with its output shown; anything but success is an error that names the call.
pub(crate) fn run<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Result<(), String> {
    run_with(folder, arguments, &[])
}

/// As [`run`], with further environment variables.
pub(crate) fn run_with<A: AsRef<OsStr>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = A>,
    variables: &[(String, String)],
) -> Result<(), String> {
    let mut command = command(folder, arguments);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    println!("$ {}", shown(&command));
    let status = command.status().map_err(|error| format!("cargo does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", shown(&command))) }
}

/// Runs cargo in `folder` and returns what it printed on standard output.
pub(crate) fn output<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Result<String, String> {
    let mut command = command(folder, arguments);
    let output = command.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{}` failed: {}", shown(&command), why.trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{}` printed something that is not UTF-8", shown(&command)))
}

/// The cargo that started us, so that a toolchain chosen on the command line stays chosen.
pub(crate) fn command<A: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).args(arguments);
    command
}

fn shown(command: &Command) -> String {
    let mut line = "cargo".to_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str, String> {
    value.get(field).and_then(Value::as_str).ok_or_else(|| format!("cargo metadata has no text `{field}`"))
}

fn list<'a>(value: &'a Value, field: &str) -> Result<&'a [Value], String> {
    let list =
        value.get(field).and_then(Value::as_array).ok_or_else(|| format!("cargo metadata has no list `{field}`"))?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::Workspace;

    #[test]
    fn packages_come_with_their_features_and_dependencies() {
        let workspace = Workspace::parse(
            r#"{"workspace_root":"/w","target_directory":"/w/target","packages":[{"name":"a","manifest_path":"/w/a/Cargo.toml",
               "features":{"default":["x"],"x":["dep:b"]},"dependencies":[{"name":"b"}]}]}"#,
        )
        .unwrap();
        let package = workspace.package("a").unwrap();
        assert_eq!(package.features["default"], ["x"]);
        assert_eq!(package.features["x"], ["dep:b"]);
        assert_eq!(package.dependencies, ["b"]);
        assert_eq!(workspace.shown(&package.manifest).to_str(), Some("a/Cargo.toml"));
        assert!(workspace.package("b").is_none());
    }

    #[test]
    fn a_missing_field_is_named() {
        let problem = Workspace::parse(r#"{"packages":[],"target_directory":"t"}"#).err().unwrap();
        assert!(problem.contains("workspace_root"), "{problem}");
    }
}
