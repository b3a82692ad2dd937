//! Where a server's programs stand, and how they come onto a Debian machine that lacks them.
//!
//! Nothing is installed while the programs are anywhere to be found, and nothing but with Debian's own packages.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account;

/// The programs of one server.
pub(super) struct Binaries<'a> {
    /// As people call it: `PostgreSQL`.
    pub(super) server: &'a str,
    /// The environment variable that names the folder. When it is set, no other place is tried.
    pub(super) variable: &'a str,
    /// All of them must stand in one folder.
    pub(super) programs: &'a [&'a str],
    /// Folders beside those of `PATH`, the best first.
    pub(super) folders: Vec<PathBuf>,
    /// What `apt-get` installs.
    pub(super) package: &'a str,
    /// A file that must be there before the package is: its path and its text.
    pub(super) before: Option<(&'a Path, &'a str)>,
}

impl Binaries<'_> {
    /// The folder of the programs, which are installed if this machine has none and lets us.
    pub(super) fn find_or_install(&self) -> Result<PathBuf, String> {
        let named = std::env::var_os(self.variable);
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Some(folder) = self.find(named.as_deref(), &path)? {
            return Ok(folder);
        }
        let apt = std::env::split_paths(&path).any(|folder| folder.join("apt-get").is_file());
        if !apt || !account::is_root() {
            return Err(self.missing());
        }
        self.install().map_err(|problem| format!("{problem}\n{}", self.missing()))?;
        // Installing may have made folders that were not there to be listed before.
        self.find(None, &path)?.ok_or_else(|| format!("`{}` is installed; still: {}", self.package, self.missing()))
    }

    fn find(&self, named: Option<&OsStr>, path: &OsStr) -> Result<Option<PathBuf>, String> {
        let has = |folder: &Path, program: &str| folder.join(program).is_file();
        if let Some(folder) = named {
            let folder = PathBuf::from(folder);
            return match self.programs.iter().find(|program| !has(&folder, program)) {
                None => Ok(Some(folder)),
                Some(program) => Err(format!("{} is {}, which has no `{program}`", self.variable, folder.display())),
            };
        }
        let whole = |folder: &PathBuf| self.programs.iter().all(|program| has(folder, program));
        let found = std::env::split_paths(path).chain(self.folders.iter().cloned()).find(whole);
        // A folder of links seldom has all of a server's programs; the one that they lead to does.
        let behind = |folder: &PathBuf| {
            let first = fs::canonicalize(folder.join(self.programs.first()?)).ok()?;
            first.parent().map(Path::to_owned).filter(whole)
        };
        Ok(found.map(|folder| behind(&folder).unwrap_or(folder)))
    }

    fn missing(&self) -> String {
        format!(
            "{server} is missing: `{programs}` stand together neither in PATH nor in {server}'s usual folders.\n\
             Install it (Debian and Ubuntu: `apt-get install {package}`; as root we do so ourselves), or set {variable}\n\
             to the folder of its programs, or run what needs no server: `cargo xtask test --embedded`",
            server = self.server,
            programs = self.programs.join("` and `"),
            package = self.package,
            variable = self.variable,
        )
    }

    fn install(&self) -> Result<(), String> {
        eprintln!("{} is missing; installing Debian's package `{}`", self.server, self.package);
        if let Some((path, text)) = self.before
            && !path.exists()
        {
            let folder = path.parent().unwrap_or(path);
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        apt(&["update", "--quiet"])?;
        apt(&["install", "--quiet", "--yes", "--no-install-recommends", self.package])
    }
}

/// What it prints goes to standard error: standard output may be evaluated by a shell.
fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut apt = Command::new("apt-get");
    apt.args(["-o", "DPkg::Lock::Timeout=120"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    apt.stdin(Stdio::null()).stdout(io::stderr());
    let status = apt.status().map_err(|error| format!("apt-get does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`apt-get {}` failed: {status}", arguments.join(" "))) }
}

/// The subfolders of `parent` that are named by a version, newest first, each with `rest` below it.
pub(super) fn newest_first(parent: &Path, rest: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut versions: Vec<(Vec<u32>, String)> = names.filter_map(|name| Some((version(&name)?, name))).collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, name)| parent.join(name).join(rest)).collect()
}

fn version(name: &str) -> Option<Vec<u32>> {
    name.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::path::PathBuf;

    use super::{Binaries, newest_first};
    use crate::servers::random;

    /// Removed with the value, also when the test fails.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = random::path("txn-binaries").unwrap();
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn binaries(folders: Vec<PathBuf>) -> Binaries<'static> {
        Binaries {
            server: "Fig",
            variable: "FIG_BIN",
            programs: &["fig", "figctl"],
            folders,
            package: "fig",
            before: None,
        }
    }

    #[test]
    fn programs_are_taken_from_the_first_folder_that_has_all_of_them() {
        let folder = Folder::new();
        let part = |name: &str, programs: &[&str]| {
            let path = folder.0.join(name);
            fs::create_dir_all(&path).unwrap();
            programs.iter().for_each(|program| fs::write(path.join(program), "").unwrap());
            path
        };
        let (half, old, new) =
            (part("half", &["fig"]), part("9/bin", &["fig", "figctl"]), part("15/bin", &["fig", "figctl"]));
        part("current/bin", &["fig", "figctl"]);
        assert_eq!(newest_first(&folder.0, "bin"), [new.clone(), old.clone()], "15 is newer than 9");
        assert!(newest_first(&folder.0.join("nowhere"), "bin").is_empty());

        let fig = binaries(newest_first(&folder.0, "bin"));
        let real = |path: &PathBuf| Ok(Some(fs::canonicalize(path).unwrap()));
        assert_eq!(fig.find(None, half.as_os_str()), real(&new));
        assert_eq!(fig.find(None, old.as_os_str()), real(&old), "PATH comes first");
        assert_eq!(fig.find(Some(old.as_os_str()), OsStr::new("")), Ok(Some(old)));
        let problem = fig.find(Some(half.as_os_str()), OsStr::new("")).unwrap_err();
        assert!(problem.starts_with("FIG_BIN is ") && problem.ends_with("has no `figctl`"), "{problem}");
        assert_eq!(binaries(vec![]).find(None, half.as_os_str()), Ok(None));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_to_the_folder_that_has_every_program() {
        let folder = Folder::new();
        let (links, real) = (folder.0.join("links"), folder.0.join("real"));
        for path in [&links, &real] {
            fs::create_dir(path).unwrap();
        }
        for program in ["fig", "figctl"] {
            fs::write(real.join(program), "").unwrap();
            std::os::unix::fs::symlink(real.join(program), links.join(program)).unwrap();
        }
        let found = binaries(vec![]).find(None, links.as_os_str()).unwrap();
        assert_eq!(found, Some(fs::canonicalize(real).unwrap()));
    }

    #[test]
    fn a_missing_server_says_what_to_install_and_what_runs_without() {
        let problem = binaries(vec![]).missing();
        for said in ["Fig is missing", "`fig` and `figctl`", "apt-get install fig", "FIG_BIN", "--embedded"] {
            assert!(problem.contains(said), "{said} is missing from: {problem}");
        }
    }
}
